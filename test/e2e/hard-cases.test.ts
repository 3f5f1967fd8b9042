import { once } from "node:events";
import { appendFile, readFile, readdir, writeFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mayMount, onSmallDisk } from "../_small-disk.ts";
import {
  control,
  crosscheck,
  infer,
  inferRequest,
  openWorkplace,
  root,
  serve,
  type Server,
  type Workplace,
} from "./_serve.ts";

/** What a gateway must stand, from outside: a real process, real engines, real sockets, a real full disk. */
const onnx = join(root, "models/traffic-signs/model.onnx");
const image = { name: "image", shape: [1, 3, 48, 48], values: new Float32Array(3 * 48 * 48).fill(0.5) };
let place: Workplace;

beforeAll(async () => {
  place = await openWorkplace();
  await place.writeModel("signs", { watchdogMs: 2000, shadow: { sampleRate: 0 } });
  await place.compile(onnx, "signs", "--compiler", "onnxruntime", "--builds", "2");
}, 240_000);
afterAll(() => place.remove());

/** Clients that send without pause until told to stop. */
function load(url: string, clients: number): { stop(): Promise<{ answered: number; failed: string[] }> } {
  const state = { done: false, answered: 0, failed: [] as string[] };
  const work = Array.from({ length: clients }, async () => {
    while (!state.done) {
      const { status, error } = await infer(url, "signs", [image]).catch((cause: Error) => ({
        status: 0,
        error: cause.message,
      }));
      if (status === 200) state.answered++;
      else state.failed.push(`${status} ${error}`);
    }
  });
  return {
    async stop() {
      state.done = true;
      await Promise.all(work);
      return state;
    },
  };
}

/** Engine hosts of a gateway, the oldest first. */
async function hostsOf(gateway: number): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir("/proc")) {
    const stat = /^\d+$/.test(entry) && (await readFile(`/proc/${entry}/stat`, "latin1").catch(() => ""));
    if (!stat) continue;
    const [, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const command = await readFile(`/proc/${entry}/cmdline`, "latin1").catch(() => "");
    if (Number(parent) === gateway && command.includes("onnxruntime")) found.push(Number(entry));
  }
  return found.toSorted((a, b) => a - b);
}

/** Signals the oldest host that is there: one that was killed before may be listed and gone. */
async function hit(gateway: number, signal: NodeJS.Signals): Promise<void> {
  for (;;) {
    const [host] = await hostsOf(gateway);
    try {
      if (host !== undefined) return void process.kill(host, signal);
    } catch {
      // Gone since it was listed.
    }
    await pause(20);
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("a gateway under load", () => {
  it("loses no request to hosts that are killed or stopped, and ends at SIGTERM with every request answered", async () => {
    const server: Server = await serve(place);
    const change = (engine: string) =>
      control(server.url, "/v1/models/signs/switch", { engine, reason: "warm" });
    await change("onnxruntime-2");
    await change("onnxruntime-1");
    const clients = load(server.url, 4);
    for (const signal of ["SIGKILL", "SIGSTOP", "SIGKILL"] as const) {
      await pause(700);
      await hit(server.pid, signal);
    }
    await pause(4000);
    const { answered, failed } = await clients.stop();
    expect(failed).toEqual([]);
    expect(answered).toBeGreaterThan(100);

    // Sent while the gateway stands still: the kernel has taken the connections, the gateway none of them yet.
    process.kill(server.pid, "SIGSTOP");
    const { headers, body } = inferRequest([image]);
    const last = Array.from({ length: 20 }, () => {
      const sent = request(`${server.url}/v2/models/signs/infer`, { method: "POST", headers, agent: false });
      sent.end(body);
      return { sent, reply: once(sent, "response") as Promise<[IncomingMessage]> };
    });
    await Promise.all(last.map(({ sent }) => once(sent, "finish")));
    process.kill(server.pid, "SIGTERM");
    process.kill(server.pid, "SIGCONT");
    for (const [{ statusCode }] of await Promise.all(last.map(({ reply }) => reply)))
      expect(statusCode).toBe(200);
    expect(await server.ended).toBe(0);
  }, 120_000);

  it("refuses a body that is shorter than its head says, and goes on", async () => {
    const server = await serve(place);
    const lie = (path: string, headers: Record<string, string>, body: Uint8Array | string) =>
      fetch(server.url + path, { method: "POST", headers, body: Buffer.from(body) });
    const head = JSON.stringify({
      inputs: [{ ...image, values: undefined, datatype: "FP32", parameters: { binary_data_size: 27_648 } }],
    });
    const binary = { "inference-header-content-length": String(head.length) };
    for (const [headers, body] of [
      [binary, head],
      [{ "inference-header-content-length": "999999" }, head],
      [{ "content-type": "application/json", "content-encoding": "gzip" }, "no gzip"],
    ] as const) {
      const reply = await lie("/v2/models/signs/infer", headers, body);
      expect(reply.status).toBe(400);
      expect(((await reply.json()) as { error: string }).error.length).toBeGreaterThan(10);
    }
    expect((await infer(server.url, "signs", [image])).status).toBe(200);
    expect(await server.stop()).toBe(0);
  }, 60_000);

  it.skipIf(!mayMount)(
    "full disk: it goes on serving, a switch is refused with the reason and not made",
    (context) => {
      const disk = join(place.folder, "disk");
      return onSmallDisk(context, { folder: disk, kB: 256 }, async () => {
        const server = await serve(place, { CROSSCHECK_STORE_PATH: join(disk, "var") });
        await appendFile(join(disk, "filler"), Buffer.alloc(256 * 1024)).catch(() => undefined);
        const reply = await fetch(`${server.url}/v1/models/signs/switch`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ engine: "onnxruntime-2", reason: "x".repeat(500) }),
        });
        expect(reply.status).toBe(409);
        expect(await reply.json()).toMatchObject({ error: expect.stringMatching(/not made.*store\.path/s) });
        const { status, engine } = await infer(server.url, "signs", [image]);
        expect([status, engine]).toEqual([200, "onnxruntime-1"]);
        expect(await server.stop()).toBe(0);
      });
    },
    60_000,
  );
});

describe("a gateway that cannot start says why", () => {
  const start = (...args: readonly string[]) =>
    crosscheck(["serve", "--repository", place.repository, "--port", "0", ...args], {
      CROSSCHECK_STORE_PATH: join(place.folder, "other"),
    });

  it("a port in use: 1", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as AddressInfo;
    const { code, stderr } = await start("--port", String(port));
    taken.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`${port}.*--port`, "s"));
  });

  it("an unknown key in crosscheck.yaml: 2, as what is asked for wrongly", async () => {
    const file = join(place.folder, "crosscheck.yaml");
    await writeFile(file, "limits:\n  bodyByte: 5\n");
    const { code, stderr } = await start("--config", file);
    expect(code).toBe(2);
    expect(stderr).toMatch(/crosscheck\.yaml.*limits.*bodyByte.*did you mean "bodyBytes"/s);
  });
});
