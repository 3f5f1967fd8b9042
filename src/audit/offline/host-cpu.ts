import { processCpuSeconds } from "../../devices/process-cpu.ts";
import type { Pool } from "../../hosting/pool.ts";

/** Processor time of an engine's host over a stretch of requests. */
export interface HostCpu {
  /** Seconds since this was made; null where /proc does not tell, or the host was started anew meanwhile. */
  usedSeconds(): number | null;
}

export function watchHostCpu(pool: Pick<Pool, "processes">): HostCpu {
  const [first] = pool.processes;
  const before = first?.pid === undefined ? undefined : processCpuSeconds(first.pid);
  return {
    usedSeconds() {
      const pid = pool.processes[0]?.pid;
      if (before === undefined || pid === undefined || pid !== first?.pid) return null;
      const now = processCpuSeconds(pid);
      return now === undefined ? null : now - before;
    },
  };
}
