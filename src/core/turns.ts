/** One piece of work at a time for each name; different names do not hold each other up. */
export interface Turns {
  /** Runs the work when all that was asked for before has ended, whether well or not. */
  take<T>(name: string, work: () => Promise<T> | T): Promise<T>;
}

export function createTurns(): Turns {
  const last = new Map<string, Promise<unknown>>();
  return {
    take(name, work) {
      const mine = (last.get(name) ?? Promise.resolve()).then(work);
      const settled = mine.catch(() => undefined);
      last.set(name, settled);
      void settled.then(() => last.get(name) === settled && last.delete(name));
      return mine;
    },
  };
}
