import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { EngineInfo } from "../core/engine.ts";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import { compareOutputs } from "../compare/compare.ts";
import type { CompareOptions } from "../compare/options.ts";
import { buildShare } from "../compare/statistics/build-share.ts";
import { type Jitter, jitter } from "../compare/statistics/jitter.ts";
import { percentile, quantileUpperBound } from "../compare/statistics/order-statistic.ts";
import type { Random } from "../compare/statistics/random.ts";
import type { Pool } from "../hosting/pool.ts";
import type { EngineManifest } from "../models/manifest.ts";
import { warmUp } from "../models/warm-up.ts";
import type { Families } from "./families.ts";
import { openEngine } from "./open-engine.ts";

/** How much builds of one compiler with one set of settings differ; field names carry their units. */
export interface Lottery {
  readonly compiler: string;
  readonly precision: string;
  readonly inputs: number;
  /** Timed requests per build. */
  readonly runs: number;
  readonly builds: readonly BuildRow[];
  /** Every two builds on the same inputs, the earlier one as reference. */
  readonly pairs: readonly BuildPair[];
  /** Builds that are bit-equal on every input are one function. */
  readonly distinctFunctions: number;
  readonly distinctFingerprints: number;
  readonly distinctArtifacts: number;
  readonly spread: {
    /** X1: largest median over smallest, and the same for p99. */
    readonly p50Ratio: number;
    readonly p99Ratio: number;
    /** X2: share of the variance that lies between builds, of medians of blocks of runs. */
    readonly betweenBuildShare: number;
  };
  /** Lowest p99, which is what a deadline meets. */
  readonly best: string;
}

export interface BuildRow {
  readonly id: string;
  readonly artifactSha256: string;
  readonly fingerprint: string;
  /** Builds with one letter gave bit-equal outputs on every input. */
  readonly function: string;
  readonly p50Seconds: number;
  readonly p99Seconds: number;
  /** 95 % confident; null from fewer than 299 runs. */
  readonly p99UpperBoundSeconds: number | null;
  readonly jitter: Jitter;
  readonly artifactBytes: number;
  readonly buildSeconds: number;
}

export interface BuildPair {
  readonly a: string;
  readonly b: string;
  readonly samples: number;
  /** Samples with every output bit-equal. */
  readonly bitEqual: number;
  readonly flips: number;
  /** Samples whose decision could not be read. */
  readonly undecided: number;
  readonly undecidedReason: string;
  readonly maxAbs: number;
}

export interface LotteryEngine {
  readonly id: string;
  readonly directory: string;
  readonly manifest: EngineManifest;
}

export interface LotteryOptions {
  readonly families: Pick<Families, "hostCommand">;
  readonly compare: CompareOptions;
  /** Timed requests per build. */
  readonly runs: number;
  readonly inputsFor: (info: EngineInfo) => Promise<readonly Tensor[][]>;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
  readonly onProgress: (progress: { phase: string; trial?: number; trials?: number }) => void;
  readonly signal?: AbortSignal | undefined;
}

const blocks = 20;

/**
 * Loads the builds side by side in real hosts, runs each on every input once for its outputs, then times them
 * interleaved: every round asks all builds in a new random order, so that drifting clocks and neighbours hit all alike.
 * Times are the hosts' engine times.
 *
 * @throws GatewayError when a build does not load or fails on an input.
 */
export async function runLottery(
  engines: readonly LotteryEngine[],
  options: LotteryOptions,
): Promise<Lottery> {
  const { families, runs, random, clock, log, onProgress, signal } = options;
  const [first] = engines;
  if (first === undefined || engines.length < 2)
    throw new GatewayError("invalid", "a lottery needs at least two builds");
  const pools = engines.map((engine) =>
    openEngine(engine, families.hostCommand(engine.manifest.compiler.name), { clock, log }),
  );
  try {
    onProgress({ phase: `loading ${engines.length} builds` });
    const infos: EngineInfo[] = [];
    for (const pool of pools) {
      const info = await pool.start();
      await warmUp(pool, info, clock);
      infos.push(info);
    }
    const inputs = await options.inputsFor(infos[0] as EngineInfo);
    onProgress({ phase: `comparing outputs on ${inputs.length} inputs` });
    const outputs: Tensor[][][] = [];
    for (const pool of pools) outputs.push(await allOutputs(pool, inputs));
    const seconds = await time(pools, inputs, { runs, random, onProgress, signal });

    const functions = letters(outputs.map(digest));
    const builds: BuildRow[] = [];
    for (const [i, engine] of engines.entries()) {
      const series = seconds[i] as readonly number[];
      builds.push(await toRow(engine, functions[i] as string, series));
    }
    const medians = builds.map((build) => build.p50Seconds);
    const tails = builds.map((build) => build.p99Seconds);
    const distinct = (pick: (build: BuildRow) => string): number => new Set(builds.map(pick)).size;
    return {
      compiler: first.manifest.compiler.name,
      precision: first.manifest.precision,
      inputs: inputs.length,
      runs,
      builds,
      pairs: comparePairs(engines, outputs, options.compare),
      distinctFunctions: distinct((build) => build.function),
      distinctFingerprints: distinct((build) => build.fingerprint),
      distinctArtifacts: distinct((build) => build.artifactSha256),
      spread: {
        p50Ratio: Math.max(...medians) / Math.min(...medians),
        p99Ratio: Math.max(...tails) / Math.min(...tails),
        betweenBuildShare: buildShare(seconds.map(blockMedians)).icc,
      },
      best: builds.reduce((best, build) => (build.p99Seconds < best.p99Seconds ? build : best)).id,
    };
  } finally {
    await Promise.all(pools.map((pool) => pool.close()));
  }
}

async function allOutputs(pool: Pool, inputs: readonly Tensor[][]): Promise<Tensor[][]> {
  const outputs: Tensor[][] = [];
  for (const input of inputs) outputs.push([...(await pool.infer({ inputs: input })).outputs]);
  return outputs;
}

/** Engine times per build, in the order measured. */
async function time(
  pools: readonly Pool[],
  inputs: readonly Tensor[][],
  { runs, random, onProgress, signal }: Pick<LotteryOptions, "runs" | "random" | "onProgress" | "signal">,
): Promise<number[][]> {
  const seconds = pools.map((): number[] => []);
  const order = pools.map((_, i) => i);
  for (let run = 0; run < runs; run += 1) {
    signal?.throwIfAborted();
    if (run % 50 === 0) onProgress({ phase: "timing", trial: run, trials: runs });
    shuffle(order, random);
    for (const i of order) {
      const pool = pools[i] as Pool;
      const result = await pool.infer({ inputs: inputs[run % inputs.length] as Tensor[] });
      (seconds[i] as number[]).push(result.engineSeconds);
    }
  }
  return seconds;
}

async function toRow(engine: LotteryEngine, letter: string, seconds: readonly number[]): Promise<BuildRow> {
  const { id, directory, manifest } = engine;
  const sorted = Float64Array.from(seconds).sort();
  return {
    id,
    artifactSha256: manifest.artifact.sha256,
    fingerprint: manifest.fingerprint,
    function: letter,
    p50Seconds: percentile(sorted, 0.5),
    p99Seconds: percentile(sorted, 0.99),
    p99UpperBoundSeconds: quantileUpperBound(sorted, 0.99, 0.95) ?? null,
    jitter: jitter(seconds),
    artifactBytes: (await stat(join(directory, manifest.artifact.file))).size,
    buildSeconds: manifest.buildSeconds,
  };
}

function comparePairs(
  engines: readonly LotteryEngine[],
  outputs: readonly Tensor[][][],
  compare: CompareOptions,
): BuildPair[] {
  const pairs: BuildPair[] = [];
  for (const [i, a] of engines.entries()) {
    for (const [offset, b] of engines.slice(i + 1).entries()) {
      const [ours, theirs] = [outputs[i] as Tensor[][], outputs[i + 1 + offset] as Tensor[][]];
      const differences = ours.map((sample, k) => compareOutputs(sample, theirs[k] as Tensor[], compare));
      pairs.push({
        a: a.id,
        b: b.id,
        samples: differences.length,
        bitEqual: differences.filter(({ result }) => result === "bit_equal").length,
        flips: differences.filter(({ flip }) => flip).length,
        undecided: differences.filter(({ flip }) => flip === undefined).length,
        undecidedReason: differences.find(({ undecided }) => undecided !== undefined)?.undecided ?? "",
        maxAbs: Math.max(
          0,
          ...differences.flatMap((difference) => difference.outputs.map(({ abs }) => abs.max)),
        ),
      });
    }
  }
  return pairs;
}

function digest(outputs: readonly Tensor[][]): string {
  const hash = createHash("sha256");
  for (const tensor of outputs.flat()) {
    hash.update(`${tensor.name} ${tensor.datatype} ${tensor.shape.join("x")}\n`);
    hash.update(tensor.data);
  }
  return hash.digest("hex");
}

/** A, B, ... in order of appearance; after Z: A1, B1, ... */
function letters(digests: readonly string[]): string[] {
  const known = [...new Set(digests)];
  return digests.map((text) => {
    const index = known.indexOf(text);
    const letter = String.fromCodePoint(65 + (index % 26));
    return index < 26 ? letter : `${letter}${Math.floor(index / 26)}`;
  });
}

/** Single runs are autocorrelated; medians of blocks are nearly not (reference B2, X2). */
export function blockMedians(seconds: readonly number[]): number[] {
  const size = Math.max(1, Math.floor(seconds.length / blocks));
  const medians: number[] = [];
  for (let start = 0; start + size <= seconds.length; start += size) {
    medians.push(percentile(Float64Array.from(seconds.slice(start, start + size)).sort(), 0.5));
  }
  return medians;
}

/** Fisher and Yates. */
export function shuffle(order: unknown[], random: Random): void {
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random.next() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
}
