import type { CompileProgress } from "../building/compile-run.ts";

/** Shows how far a build is: one live line on a terminal, a line every few seconds elsewhere. */
export interface BuildProgress {
  show(id: string, progress: CompileProgress): void;
  /** A line that stays; the live line is cleared first. */
  print(line: string): void;
}

const quietSeconds = 5;

export function createBuildProgress(
  stream: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number },
  seconds: () => number,
): BuildProgress {
  const live = stream.isTTY === true;
  let shownAt = -Infinity;
  let shownPhase = "";
  return {
    show(id, progress) {
      const line = progressLine(id, progress);
      if (live) {
        stream.write(`\r\u001b[2K${line.slice(0, (stream.columns ?? 80) - 1)}`);
        return;
      }
      const phase = `${id} ${progress.phase}`;
      if (phase === shownPhase && seconds() - shownAt < quietSeconds) return;
      shownAt = seconds();
      shownPhase = phase;
      stream.write(`${line}\n`);
    },
    print(line) {
      stream.write(`${live ? "\r\u001b[2K" : ""}${line}\n`);
    },
  };
}

/** `autotvm-2: tuning, task 3 of 5, trial 17 of 64, best 210 us, 1 min 20 s left: conv2d 3x48x48` */
export function progressLine(id: string, progress: CompileProgress): string {
  const { phase, task, tasks, trial, trials, bestSeconds, secondsLeft, message } = progress;
  const parts = [phase];
  if (task !== undefined) parts.push(`task ${task}${tasks === undefined ? "" : ` of ${tasks}`}`);
  if (trial !== undefined) parts.push(`trial ${trial}${trials === undefined ? "" : ` of ${trials}`}`);
  if (bestSeconds !== undefined && Number.isFinite(bestSeconds))
    parts.push(`best ${shortSeconds(bestSeconds)}`);
  if (secondsLeft !== undefined && Number.isFinite(secondsLeft))
    parts.push(`${spelledSeconds(secondsLeft)} left`);
  return `${id}: ${parts.join(", ")}${message === undefined || message === "" ? "" : `: ${message}`}`;
}

/** A short time in the unit that suits it: `210 us`, `3.2 ms`, `1.50 s`. */
export function shortSeconds(value: number): string {
  if (value < 1e-3) return `${(value * 1e6).toFixed(value < 1e-5 ? 1 : 0)} us`;
  if (value < 1) return `${(value * 1e3).toFixed(value < 1e-2 ? 2 : 1)} ms`;
  return `${value.toFixed(2)} s`;
}

function spelledSeconds(value: number): string {
  const total = Math.max(0, Math.round(value));
  if (total < 60) return `${total} s`;
  const [minutes, hours] = [Math.floor(total / 60), Math.floor(total / 3600)];
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min ${total % 60} s`;
}
