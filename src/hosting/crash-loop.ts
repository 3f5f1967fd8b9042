/** Judges deaths of hosts: how long to wait before the next start, and when to give up. */
export interface CrashLoop {
  /** Counts a death. Returns the seconds to wait before the next start, or undefined when there shall be none. */
  died(death: { readonly started: boolean }): number | undefined;
  /** A request was answered: what died before that does not count any more. */
  served(): void;
}

const deathLimit = 5;
const windowSeconds = 60;
/** After the first, second, ... death; doubling, so that a broken engine does not eat the machine. */
const backOffSeconds = [0, 0.25, 0.5, 1];

export function createCrashLoop(seconds: () => number): CrashLoop {
  let deaths: { readonly atSeconds: number; readonly started: boolean }[] = [];
  return {
    died({ started }) {
      const now = seconds();
      // A host that never got up may take longer than the window to fail five times, and fails all the same.
      deaths = deaths.filter((death) => !death.started || now - death.atSeconds < windowSeconds);
      deaths.push({ atSeconds: now, started });
      return deaths.length >= deathLimit ? undefined : backOffSeconds[deaths.length - 1];
    },
    served() {
      if (deaths.length > 0) deaths = [];
    },
  };
}
