/** Where the gateway's state outlives it: active engines, quarantines, evidence. One gateway writes a store at a time. */
export interface Store {
  /** The JSON document under a key, or undefined. */
  read(key: string): Promise<unknown>;
  /**
   * Replaces the document as a whole; it is durable on this machine when the promise resolves.
   * @throws GatewayError `conflict` when the disk does not take it; the old document stays.
   */
  write(key: string, document: unknown): Promise<void>;
  /**
   * Hands decisions on to whoever follows the store from elsewhere, each once and in order, starting with those not
   * handed on before. The source is the decision log itself, so nothing is lost while the store is away.
   */
  deliver(source: DecisionSource): Delivery;
  /**
   * Calls back for commands given from elsewhere in the fleet, also before this gateway ran; each at most once, one
   * after another. A driver without such a way never does. Returns how to stop, which waits for the one under way.
   */
  onCommand(handler: (command: StoreCommand) => Promise<unknown>): () => Promise<void>;
  /** What is wrong with it now; undefined when all is well. Serving never waits for it. */
  readonly trouble: string | undefined;
  close(): Promise<void>;
}

export interface DecisionSource {
  /** Entries with seq > after, oldest first. */
  read(
    after: number,
    limit: number,
  ): Promise<{ readonly entries: readonly { readonly seq: number; readonly hash: string }[] }>;
  readonly lastSeq: number;
}

export interface Delivery {
  /** There is a new entry; never waits, never throws. */
  wake(): void;
}

export interface StoreCommand {
  readonly id: string;
  readonly type: "switch" | "rollback";
  readonly model: string;
  readonly engine: string | undefined;
  readonly reason: string;
  readonly actor: string;
}
