import { readdirSync } from "node:fs";
import { constants, setPriority } from "node:os";
import koffi from "koffi";
import { coreSplit, keepThreadTo } from "./cores.ts";

const schedOther = 0;
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
  if (!setPolicy(0, schedIdle)) setPriority(constants.priority.PRIORITY_LOW);
}

/**
 * Gives the idle threads of this process their usual priority back, for them to end soon. It takes CAP_SYS_NICE (or
 * RLIMIT_NICE); without it nothing changes.
 */
export function leaveIdleClass(): void {
  if (process.platform !== "linux") return;
  for (const thread of readdirSync("/proc/self/task").map(Number))
    if (policyOf(thread) === schedIdle) setPolicy(thread, schedOther);
}

/** False where it is not allowed, or the C library cannot do it (musl). Thread 0 is the calling one. */
function setPolicy(thread: number, policy: number): boolean {
  try {
    // The only field of struct sched_param is a number.
    const setScheduler = koffi
      .load(null)
      .func("int sched_setscheduler(int pid, int policy, const int *param)");
    return setScheduler(thread, policy, [0]) === 0;
  } catch {
    return false;
  }
}

/** -1 where the thread has ended, or the C library cannot tell. */
function policyOf(thread: number): number {
  try {
    return koffi.load(null).func("int sched_getscheduler(int pid)")(thread) as number;
  } catch {
    return -1;
  }
}
