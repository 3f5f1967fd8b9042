import { execFileSync } from "node:child_process";
import { workerData } from "node:worker_threads";
import { makeThreadIdle } from "../../../src/core/idle-thread.ts";

makeThreadIdle();
// Until somebody opens the other end; Node does not end a thread that waits for a program.
execFileSync("sh", ["-c", "echo > started; read line < gate"], { cwd: workerData as string });
