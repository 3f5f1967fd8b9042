import type { Readable } from "node:stream";

/** Longest line kept; the rest of a longer one is dropped. */
const lineLimit = 2000;
/** Lines a second and stream; a host that floods its standard error must not flood the gateway's log. */
const linesPerSecond = 100;

/**
 * Hands a stream's lines on, bounded in length and number. Dropped lines are counted in a line of their own.
 * The stream is always read, so that a host never blocks on writing.
 */
export function eachLine(stream: Readable, onLine: (line: string) => void): void {
  let partial = "";
  let second = 0;
  let lines = 0;
  let dropped = 0;

  function take(line: string): void {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      if (dropped > 0) onLine(`(${dropped} more lines in that second were dropped)`);
      second = now;
      lines = dropped = 0;
    }
    lines += 1;
    if (lines > linesPerSecond) dropped += 1;
    else onLine(line);
  }

  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const parts = text.split("\n");
    for (let index = 0; index < parts.length; index += 1) {
      if (partial.length < lineLimit)
        partial += (parts[index] as string).slice(0, lineLimit - partial.length);
      if (index < parts.length - 1) {
        if (partial !== "") take(partial);
        partial = "";
      }
    }
  });
  stream.on("end", () => {
    if (partial !== "") take(partial);
  });
  stream.on("error", () => {});
}
