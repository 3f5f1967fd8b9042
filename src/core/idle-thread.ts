import { constants, setPriority } from "node:os";
import koffi from "koffi";
import { coreSplit, keepThreadTo } from "./cores.ts";

const schedIdle = 5;

/**
 * Lets the calling thread run only where no other wants to, and off the cores of the thread that serves. On Linux by the
 * idle class: under EEVDF a thread of nice 19 keeps the slice it has begun when another wakes, one of the idle class is
 * pushed aside at once. A slice ends with a timer tick: at 250 Hz, whoever wakes waits for up to 4 ms (seen: an NVML
 * reader in a live request's way, 8 ms).
 */
export function makeThreadIdle(): void {
  // Elsewhere it would be the whole gateway's priority.
  if (process.platform !== "linux") return;
  const split = coreSplit();
  if (split) keepThreadTo(split.shadow);
  if (!enterIdleClass()) setPriority(constants.priority.PRIORITY_LOW);
}

/** False where it is not allowed, or the C library cannot do it (musl). */
function enterIdleClass(): boolean {
  try {
    // The only field of struct sched_param is a number; process 0 is the calling thread.
    const setScheduler = koffi
      .load(null)
      .func("int sched_setscheduler(int pid, int policy, const int *param)");
    return setScheduler(0, schedIdle, [0]) === 0;
  } catch {
    return false;
  }
}
