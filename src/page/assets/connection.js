const kinds = /** @type {const} */ (["state", "metrics", "verdict", "decision"]);
/** Figures come every second: longer silence is no silence but a dead line. */
const silenceMs = 6000;
const retryMs = 2000;

/**
 * The stream of events, held open. The browser comes back by itself with Last-Event-ID; what it gives up on (a line
 * that died silently, an answer that is no stream) is begun anew here.
 *
 * @param {{
 *   onEvent: (kind: typeof kinds[number], data: any) => void,
 *   onStatus: (status: "live" | "lost") => void,
 *   onRefused: (status: number, words: string) => void,
 * }} options
 * @returns {{ open(): void, close(): void }}
 */
export function createConnection({ onEvent, onStatus, onRefused }) {
  /** @type {EventSource | undefined} */
  let source;
  let heardAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let retry;

  function open() {
    close();
    const mine = (source = new EventSource("v1/events"));
    heardAt = Date.now();
    for (const kind of kinds)
      mine.addEventListener(kind, (event) => {
        heardAt = Date.now();
        onStatus("live");
        onEvent(kind, JSON.parse(event.data));
      });
    mine.addEventListener("error", () => {
      if (mine.readyState !== EventSource.CLOSED) onStatus("lost");
      else if (mine === source) void explain(mine);
    });
  }

  /** EventSource does not tell why it was refused. @param {EventSource} failed */
  async function explain(failed) {
    const stop = new AbortController();
    try {
      const response = await fetch("v1/events", {
        signal: stop.signal,
        headers: { accept: "text/event-stream" },
      });
      if (response.status === 401 || response.status === 403) {
        const { error } = await response.json();
        if (failed === source) onRefused(response.status, error);
        return;
      }
    } catch {
      // Not reachable; below it is tried again.
    } finally {
      stop.abort();
    }
    if (failed !== source) return;
    onStatus("lost");
    retry = setTimeout(open, retryMs);
  }

  function close() {
    clearTimeout(retry);
    source?.close();
    source = undefined;
  }

  setInterval(() => {
    if (source?.readyState !== EventSource.OPEN || Date.now() - heardAt < silenceMs) return;
    onStatus("lost");
    open();
  }, 1000);

  return { open, close };
}
