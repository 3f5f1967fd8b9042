import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { allowedCores, coresOf, splitCores } from "../../src/core/cores.ts";
import { childrenOf } from "../_processes.ts";
import { control, infer, openWorkplace, root, serve, type Server, type Workplace } from "./_serve.ts";

const onnx = join(root, "models/traffic-signs/model.onnx");
const image = { name: "image", shape: [1, 3, 48, 48], values: new Float32Array(3 * 48 * 48).fill(0.5) };
const split = process.platform === "linux" ? splitCores(allowedCores()) : undefined;
/** Of sched_setscheduler(2): SCHED_OTHER and SCHED_IDLE. */
const policies: Readonly<Record<string, string>> = { 0: "other", 5: "idle" };
let place: Workplace;
let server: Server;

beforeAll(async () => {
  place = await openWorkplace();
  await place.writeModel("signs", { shadow: { maxUtilization: 1 } });
  await place.compile(onnx, "signs", "--compiler", "onnxruntime", "--builds", "2");
  server = await serve(place);
}, 240_000);
afterAll(async () => {
  await server?.stop();
  await place?.remove();
});

/** Scheduling policy and cores of a process's first thread. */
function schedulingOf(pid: number): { policy: string | undefined; cores: number[] } {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ");
  return { policy: policies[fields?.[38] ?? ""], cores: coresOf(pid) };
}

/** Engine hosts that any thread of the gateway has started. */
function hosts(): number[] {
  return childrenOf(server.pid).filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("onnxruntime/host"),
  );
}

function idleFirst(a: { policy: string | undefined }, b: { policy: string | undefined }): number {
  return Number(b.policy === "idle") - Number(a.policy === "idle");
}

it.skipIf(split === undefined)(
  "shadow work has one half of the cores, the thread that serves the other; its host stays off a single one",
  async () => {
    const { all, serving, shadow } = split as NonNullable<typeof split>;
    expect((await infer(server.url, "signs", [image])).status).toBe(200);
    const own = { policy: "other", cores: serving.length === 1 ? shadow : all };
    const idle = { policy: "idle", cores: shadow };
    // The active engine's host, and one in the shadow for each of the two; each takes policy and cores on as it starts.
    await expect
      .poll(() => hosts().map(schedulingOf).toSorted(idleFirst), { timeout: 60_000 })
      .toEqual([idle, idle, own]);
    expect(schedulingOf(server.pid)).toEqual({ policy: "other", cores: serving });
  },
  120_000,
);

it.skipIf(split === undefined)(
  "an engine in the gateway's own process with more threads than its half has cores gets them all",
  async () => {
    const { all, serving } = split as NonNullable<typeof split>;
    expect(coresOf(server.pid)).toEqual(serving);
    await place.writeModel("wide", { isolation: "inline", threads: all.length });
    await place.compile(onnx, "wide", "--compiler", "onnxruntime");
    await control(server.url, "/v2/repository/models/wide/load", {});
    expect((await infer(server.url, "wide", [image])).status).toBe(200);
    expect(coresOf(server.pid)).toEqual(all);
  },
  120_000,
);
