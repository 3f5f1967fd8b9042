/** An event for whoever watches the gateway; `data` is plain JSON. */
export interface FeedEvent {
  readonly id: string;
  readonly type: "state" | "metrics" | "verdict" | "decision";
  readonly data: unknown;
}

/** Events to many listeners, the last ones remembered for those who come back. A listener that throws is dropped. */
export interface EventFeed {
  emit(type: FeedEvent["type"], data: unknown): void;
  /** Calls `listener` for every remembered event after `lastEventId`, then for new ones; returns how to stop. */
  subscribe(listener: (event: FeedEvent) => void, lastEventId?: string): () => void;
  /** Nobody listens: expensive events need not be made. */
  readonly quiet: boolean;
}

const remembered = 256;

export function createEventFeed(): EventFeed {
  const listeners = new Set<(event: FeedEvent) => void>();
  const ring: FeedEvent[] = [];
  let next = 1;

  function tell(listener: (event: FeedEvent) => void, event: FeedEvent): void {
    try {
      listener(event);
    } catch {
      listeners.delete(listener);
    }
  }

  return {
    emit(type, data) {
      const event = { id: String(next++), type, data };
      ring.push(event);
      if (ring.length > remembered) ring.shift();
      for (const listener of listeners) tell(listener, event);
    },
    subscribe(listener, lastEventId) {
      const after = Number(lastEventId ?? Number.NaN);
      listeners.add(listener);
      if (Number.isFinite(after))
        for (const event of ring) if (Number(event.id) > after) tell(listener, event);
      return () => void listeners.delete(listener);
    },
    get quiet() {
      return listeners.size === 0;
    },
  };
}
