/** Where the gateway's state outlives it: active engines, quarantines, evidence. One gateway writes a store at a time. */
export interface Store {
  /** The JSON document under a key, or undefined. */
  read(key: string): Promise<unknown>;
  /**
   * Replaces the document as a whole; it is durable on this machine when the promise resolves.
   * @throws GatewayError `conflict` when the disk does not take it; the old document stays.
   */
  write(key: string, document: unknown): Promise<void>;
  /** Hands a decision to whoever follows the store from elsewhere, once and in order; never throws, never waits. */
  publish(decision: Published): void;
  /** Calls back for commands given from elsewhere in the fleet; a driver without such a way never does. */
  onCommand(handler: (command: StoreCommand) => void): void;
  /** What is wrong with it now, for /v2/health and the log; undefined when all is well. */
  readonly trouble: string | undefined;
  close(): Promise<void>;
}

/** A log entry as far as a store cares. */
export interface Published {
  /** 1, 2, 3 ... without gaps. */
  readonly seq: number;
}

export interface StoreCommand {
  readonly id: string;
  readonly type: "switch" | "rollback";
  readonly model: string;
  readonly engine: string | undefined;
  readonly reason: string;
  readonly actor: string;
}
