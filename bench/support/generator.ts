import { fork } from "node:child_process";
import { once } from "node:events";
import type { LoadAnswer, LoadJob } from "./load-generator.ts";

/** A load generator in a process of its own, so that its work does not delay what it measures. */
export interface Generator {
  run(job: LoadJob): Promise<LoadAnswer>;
  close(): void;
}

export function startGenerator(): Generator {
  const child = fork(new URL("load-generator.ts", import.meta.url), {
    execArgv: ["--import", "tsx"],
    serialization: "advanced",
  });
  child.once("exit", (code) => {
    if (code !== null) throw new Error(`the load generator ended with ${code}`);
  });
  return {
    async run(job) {
      child.send(job);
      const [answer] = (await once(child, "message")) as [LoadAnswer];
      return answer;
    },
    close: () => void child.kill(),
  };
}
