import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { type BuildEvent, buildEngines, type BuildRequest } from "../../src/building/build-engines.ts";
import { BuildInterrupted } from "../../src/building/compile-run.ts";
import { type Compiler, readFamilies } from "../../src/building/families.ts";
import { systemClock } from "../../src/core/clock.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { parseYamlFile } from "../../src/core/yaml-file.ts";
import { engineSchema } from "../../src/models/manifest.ts";
import { writeNpz } from "../../src/models/npz.ts";

const onnx = join(packageRoot(), "models/traffic-signs/model.onnx");
let root: string;
let repository: string;
let compiler: Compiler;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "crosscheck-build-"));
  repository = join(root, "models");
  await mkdir(join(root, "engines/toy"), { recursive: true });
  for (const file of ["family.yaml", "compile.mjs"]) {
    await copyFile(join(packageRoot(), "test/fixtures/building", file), join(root, "engines/toy", file));
  }
  compiler = (await readFamilies({ root, environment: { PATH: process.env["PATH"] } })).compiler("toy");
});

interface Given extends Partial<BuildRequest> {
  act?: string;
}

async function build({ act = "good", ...given }: Given = {}, signal?: AbortSignal, onWaiting = () => {}) {
  const events: BuildEvent[] = [];
  const request = {
    onnx,
    model: "signs",
    repository,
    compiler,
    builds: 1,
    precision: "fp32",
    options: [`act=${act}`],
  };
  const onEvent = (event: BuildEvent): void => {
    events.push(event);
    if (event.type === "progress" && event.progress.phase === "waiting") onWaiting();
  };
  const ids = await buildEngines({ ...request, ...given }, { clock: systemClock, onEvent, signal });
  return { ids, events };
}

/** Every path below a folder; empty when it is not there. */
async function tree(directory: string): Promise<string[]> {
  const paths: string[] = await readdir(directory, { recursive: true }).catch(() => []);
  return paths.sort();
}

const manifestOf = (id: string) =>
  parseYamlFile(join(repository, "signs/engines", id, "engine.yaml"), engineSchema);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("buildEngines", () => {
  it("makes a model and its engines, with digests of everything", async () => {
    const { ids, events } = await build({ builds: 2 });
    expect(ids).toEqual(["toy-1", "toy-2"]);
    expect(await tree(join(repository, "signs"))).toEqual([
      "engines",
      ...["toy-1", "toy-2"].flatMap((id) => [
        `engines/${id}`,
        ...["build.log", "engine.yaml", "log.json", "toy.bin"].map((file) => `engines/${id}/${file}`),
      ]),
      "model.onnx",
      "model.yaml",
    ]);
    const bytes = await readFile(onnx);
    expect(await readFile(join(repository, "signs/model.onnx"))).toEqual(bytes);
    expect(await readFile(join(repository, "signs/model.yaml"), "utf8")).toBe('name: "signs"\n');
    expect(await manifestOf("toy-2")).toMatchObject({
      schema: 1,
      id: "toy-2",
      model: "signs",
      compiler: { name: "toy", version: "1.2.3" },
      build: 2,
      precision: "fp32",
      options: { act: "good" },
      source: { file: "model.onnx", sha256: sha256(bytes) },
      artifact: { file: "toy.bin", sha256: sha256(Buffer.from("artifact 2")) },
      tuningLog: {
        file: "log.json",
        sha256: sha256(Buffer.from("{}")),
        tasksHit: ["a"],
        tasksFallenBack: [],
      },
      timingCache: null,
      fingerprint: "abc",
    });
    // Each build is a process of its own.
    const pids = await Promise.all(ids.map(async (id) => (await manifestOf(id)).notes?.["pid"]));
    expect(new Set(pids).size).toBe(2);
    const log = await readFile(join(repository, "signs/engines/toy-1/build.log"), "utf8");
    expect(log).toContain("a line for the log");
    expect(log).toContain("a library that prints");
    expect(events.find((event) => event.type === "progress")).toMatchObject({
      id: "toy-1",
      progress: {
        phase: "tuning",
        task: 1,
        tasks: 2,
        trial: 3,
        trials: 4,
        bestSeconds: 1e-4,
        secondsLeft: 9,
      },
    });
  });

  it("numbers on from what is there and keeps a model's own files", async () => {
    await build();
    await writeFile(join(repository, "signs/model.yaml"), "name: signs\nthreads: 2\n");
    await mkdir(join(repository, "signs/engines/toy-7"));
    expect((await build({ onnx: join(repository, "signs/model.onnx") })).ids).toEqual(["toy-8"]);
    expect(await readFile(join(repository, "signs/model.yaml"), "utf8")).toBe("name: signs\nthreads: 2\n");
    expect(await manifestOf("toy-8")).toMatchObject({ threads: 2, build: 8 });
  });

  it("refuses another model under the same name", async () => {
    await build();
    const other = join(root, "other.onnx");
    await writeFile(other, Buffer.concat([await readFile(onnx), Buffer.from([0x12, 1, 65])]));
    const before = await tree(repository);
    await expect(build({ onnx: other })).rejects.toThrow(
      'model "signs" is there already with another model.onnx',
    );
    expect(await tree(repository)).toEqual(before);
  });

  it.each([
    ["error", 'toy could not build "signs": operator Foo is not supported by toy 1; export without Foo'],
    ["full", /the disk is full: .*No space left.*run the same command again/],
    ["crash", /ended with signal SIGKILL and no result; the machine may be out of memory; see .*\.log/],
    ["silent", "ended with exit code 0 and no result"],
    ["late", "ended with exit code 3 and a result"],
    ["absent", 'names the file "other.bin", which is not there'],
    ["outside", 'artifact: "../../../../model.onnx" must be the name of a file in outDirectory'],
    ["link", 'names the file "link.bin", which is not a plain file'],
    ["empty", 'names the file "empty.bin", which is empty'],
    ["log", 'names the file "none.json", which is not there'],
    ["garbage", "artifact: 7 is not a text"],
  ])("leaves the repository as it was after a build that ends in %s", async (act, message) => {
    await expect(build({ act })).rejects.toThrow(message);
    expect(await tree(repository)).toEqual([]);
    await build();
    const before = await tree(repository);
    await expect(build({ act })).rejects.toThrow(message);
    expect(await tree(repository)).toEqual(before);
  });

  it("leaves nothing behind on a disk that is really full", async (context) => {
    await mkdir(repository);
    // Less than the model's own file takes.
    const mount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=200k", "tmpfs", repository]);
    if (mount.status !== 0) context.skip("mounting a small file system needs root");
    try {
      await expect(build()).rejects.toThrow(/the disk is full: ENOSPC.*run the same command again/);
      expect(await tree(repository)).toEqual([]);
    } finally {
      spawnSync("umount", [repository]);
    }
  });

  it("notes what a replayed build was made from", async () => {
    const replay = join(root, "log.json");
    await writeFile(replay, "a tuning log");
    await build({ replay });
    expect((await manifestOf("toy-1")).notes?.["replaySha256"]).toBe(sha256(Buffer.from("a tuning log")));
  });

  it("fails a build that does not pass its check", async () => {
    const request = { onnx, model: "signs", repository, compiler, builds: 1, precision: "fp32", options: [] };
    const seen: string[] = [];
    const verify = async ({ id, directory }: { id: string; directory: string }): Promise<void> => {
      seen.push(id, ...(await readdir(directory)).sort());
      throw new Error("it does not load");
    };
    await expect(buildEngines(request, { clock: systemClock, onEvent: () => {}, verify })).rejects.toThrow(
      "it does not load",
    );
    expect(seen).toEqual(["toy-1", "engine.yaml", "log.json", "toy.bin"]);
    expect(await tree(repository)).toEqual([]);
  });

  it("says what is wrong with a request before anything runs", async () => {
    const junk = join(root, "junk.onnx");
    await writeFile(junk, "this is no model at all");
    await expect(build({ onnx: junk })).rejects.toThrow("is not an ONNX model");
    await expect(build({ onnx: join(root, "none.onnx") })).rejects.toThrow("there is no such file");
    await expect(build({ model: "../up" })).rejects.toThrow('"../up" must be 1 to 64 letters');
    await expect(build({ precision: "fp16" })).rejects.toThrow('does not build precision "fp16"');
    await expect(build({ options: ["akt=good"] })).rejects.toThrow('did you mean "act"?');
    await expect(build({ replay: join(root, "none.json") })).rejects.toThrow("--replay");
    expect(await tree(repository)).toEqual([]);
  });

  it("keeps what is done when it is interrupted, and goes on from there", async () => {
    const stop = new AbortController();
    const events: BuildEvent[] = [];
    const request = {
      onnx,
      model: "signs",
      repository,
      compiler,
      builds: 3,
      precision: "fp32",
      options: ["act=second"],
    };
    const running = buildEngines(request, {
      clock: systemClock,
      signal: stop.signal,
      onEvent: (event) => {
        events.push(event);
        if (event.type === "progress" && event.progress.phase === "waiting") stop.abort();
      },
    });
    await expect(running).rejects.toBeInstanceOf(BuildInterrupted);
    const staged = (await tree(join(repository, "signs/engines"))).filter((path) => !path.includes("/"));
    expect(staged).toEqual([expect.stringMatching(/^\.staging-/), "toy-1"]);

    // The second build resumes at once from its work directory; the third waits again.
    const again = new AbortController();
    const second: BuildEvent[] = [];
    const resumed = buildEngines(request, {
      clock: systemClock,
      signal: again.signal,
      onEvent: (event) => {
        second.push(event);
        if (event.type === "progress" && event.progress.phase === "waiting") again.abort();
      },
    });
    await expect(resumed).rejects.toBeInstanceOf(BuildInterrupted);
    expect(second[0]).toEqual({ type: "resumed", done: ["toy-1"], builds: 3 });
    expect(second.filter((event) => event.type === "placed").map((event) => event.id)).toEqual(["toy-2"]);
    const { ids } = await build({ builds: 3, act: "second" });
    expect(ids).toEqual(["toy-1", "toy-2", "toy-3"]);
    expect(await tree(join(repository, "signs/engines"))).toSatisfy((paths: string[]) =>
      paths.every((path) => !path.startsWith(".staging")),
    );
  });

  it("counts the time of interrupted attempts", async () => {
    // Every look at the clock is a second later: one attempt takes one.
    let now = 0;
    const clock = { seconds: () => (now += 1), now: () => new Date(0) };
    const request = {
      onnx,
      model: "signs",
      repository,
      compiler,
      builds: 1,
      precision: "fp32",
      options: ["act=wait"],
    };
    const stop = new AbortController();
    const onEvent = (event: BuildEvent): void => {
      if (event.type === "progress" && event.progress.phase === "waiting") stop.abort();
    };
    await expect(buildEngines(request, { clock, onEvent, signal: stop.signal })).rejects.toBeInstanceOf(
      BuildInterrupted,
    );
    await buildEngines(request, { clock, onEvent });
    expect((await manifestOf("toy-1")).buildSeconds).toBe(2);
  });

  it("leaves no model behind when the first build is interrupted, only what resuming needs", async () => {
    const stop = new AbortController();
    const running = build({ act: "wait" }, stop.signal, () => stop.abort());
    await expect(running).rejects.toBeInstanceOf(BuildInterrupted);
    expect(await readdir(join(repository, "signs"))).toEqual(["engines"]);
    expect((await build({ act: "wait" })).ids).toEqual(["toy-1"]);
    expect((await manifestOf("toy-1")).fingerprint).toBe("resumed");
  });

  it("keeps finished builds when a later one fails", async () => {
    await expect(build({ builds: 5, act: "third" })).rejects.toThrow("the third one fails; stop at two");
    expect(
      (await readdir(join(repository, "signs/engines"))).filter((name) => name.startsWith("toy")),
    ).toEqual(["toy-1", "toy-2"]);
  });

  it("refuses the same build twice at once, and takes over from one that was killed", async () => {
    const stop = new AbortController();
    let running: Promise<unknown> = Promise.resolve();
    await new Promise<void>((waiting) => {
      running = build({ act: "wait" }, stop.signal, waiting);
    });
    await expect(build({ act: "wait" })).rejects.toThrow("the same build is running already");
    stop.abort();
    await expect(running).rejects.toBeInstanceOf(BuildInterrupted);
    const [staging] = await readdir(join(repository, "signs/engines"));
    await writeFile(join(repository, "signs/engines", staging ?? "", "lock"), "4194304");
    expect((await build({ act: "wait" })).ids).toEqual(["toy-1"]);
  });

  it("calibrates from given inputs or the model's own samples, and says so when there are none", async () => {
    await expect(build({ precision: "int8" })).rejects.toThrow('model "signs" has none; give --inputs');
    expect(await tree(repository)).toEqual([]);
    const inputs = join(root, "inputs.npz");
    const data = new Uint8Array(2 * 3 * 48 * 48);
    await writeNpz(inputs, new Map([["wrong", { datatype: "UINT8", shape: [2, 3, 48, 48], data }]]));
    await expect(build({ precision: "int8", inputs })).rejects.toThrow('has no array "');
    const samples = join(packageRoot(), "models/traffic-signs/samples/clean.npz");
    await expect(build({ precision: "int8", inputs: samples })).rejects.toThrow(
      "say in model.yaml how they become",
    );
    const floats = Float32Array.from({ length: 2 * 3 * 48 * 48 }, (_, i) => (i % 256) / 255);
    const array = {
      datatype: "FP32" as const,
      shape: [2, 3, 48, 48],
      data: new Uint8Array(floats.buffer),
    };
    await writeNpz(inputs, new Map([["image", array]]));
    expect((await build({ precision: "int8", inputs })).ids).toEqual(["toy-int8-1"]);
    expect((await manifestOf("toy-int8-1")).notes?.["calibration"]).toBe(true);
    await mkdir(join(repository, "signs/samples"));
    await copyFile(samples, join(repository, "signs/samples/clean.npz"));
    const config = "samples: { clean: samples/clean.npz }\npreprocess: { size: [48, 48], scale: 0.0039 }\n";
    await writeFile(join(repository, "signs/model.yaml"), `name: signs\n${config}`);
    expect((await build({ precision: "int8" })).ids).toEqual(["toy-int8-2"]);
  });

  it("names a compile program that cannot be started", async () => {
    await rm(join(root, "engines/toy/compile.mjs"));
    await expect(build()).rejects.toThrow("ended with exit code 1 and no result");
    const missing = { ...compiler, compile: { ...compiler.compile, file: join(root, "no-python") } };
    await expect(build({ compiler: missing })).rejects.toThrow(
      /compiler "toy" cannot be started: .*see engines\/toy/,
    );
    expect(await tree(repository)).toEqual([]);
  });
});
