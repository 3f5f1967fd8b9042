/** Work that is done when woken, one run at a time, and tried again, later each time, while it fails. */
export interface Persistent {
  /** There is something to do; never waits, never throws. */
  wake(): void;
  close(): void;
}

const firstRetryMs = 250;
const lastRetryMs = 15_000;

export function createPersistent(options: {
  readonly work: () => Promise<void>;
  /** Whether work makes sense now; whoever makes it true wakes. */
  readonly ready: () => boolean;
  readonly onFailed: (error: Error) => void;
  readonly onDone: () => void;
}): Persistent {
  const { work, ready, onFailed, onDone } = options;
  let wanted = false;
  let running = false;
  let closed = false;
  let retryMs = firstRetryMs;
  let timer: NodeJS.Timeout | undefined;

  async function run(): Promise<void> {
    running = true;
    try {
      while (wanted) {
        wanted = false;
        await work();
      }
      retryMs = firstRetryMs;
      onDone();
    } catch (error) {
      if (closed || !ready()) return;
      onFailed(error as Error);
      timer = setTimeout(wake, retryMs);
      timer.unref();
      retryMs = Math.min(2 * retryMs, lastRetryMs);
    } finally {
      running = false;
    }
  }

  function wake(): void {
    wanted = true;
    if (running || closed || !ready()) return;
    clearTimeout(timer);
    void run();
  }

  return {
    wake,
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
