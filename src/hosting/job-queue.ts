import type { Job } from "./job.ts";

/** Jobs in the order they came; short, since admission bounds what a model may hold. */
export interface JobQueue {
  readonly first: Job | undefined;
  readonly length: number;
  push(job: Job): void;
  /** Back to the front, in this order. */
  unshift(jobs: readonly Job[]): void;
  shift(): void;
  remove(job: Job): void;
  /** Takes out those that match, or all. */
  splice(matches?: (job: Job) => boolean): readonly Job[];
}

export function createJobQueue(): JobQueue {
  let jobs: Job[] = [];
  return {
    get first() {
      return jobs[0];
    },
    get length() {
      return jobs.length;
    },
    push: (job) => void jobs.push(job),
    unshift: (more) => void jobs.unshift(...more),
    shift: () => void jobs.shift(),
    remove(job) {
      const at = jobs.indexOf(job);
      if (at !== -1) jobs.splice(at, 1);
    },
    splice(matches = () => true) {
      const taken = jobs.filter(matches);
      jobs = jobs.filter((job) => !taken.includes(job));
      return taken;
    },
  };
}
