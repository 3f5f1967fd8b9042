import type { Families } from "../../building/families.ts";
import { type LotteryEngine, shuffle } from "../../building/lottery.ts";
import { openEngine } from "../../building/open-engine.ts";
import { decidedClass } from "../../compare/classification.ts";
import { compareOutputs } from "../../compare/compare.ts";
import type { Difference } from "../../compare/difference.ts";
import type { CompareOptions } from "../../compare/options.ts";
import type { Random } from "../../compare/statistics/random.ts";
import type { Clock } from "../../core/clock.ts";
import type { EngineInfo, EngineResult } from "../../core/engine.ts";
import { GatewayError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { warmUp } from "../../models/warm-up.ts";
import { createEvidence, type DeviceState } from "../evidence.ts";
import type { EngineRecord } from "./engine-record.ts";
import { type HostCpu, watchHostCpu } from "./host-cpu.ts";
import type { AuditInput, AuditInputs } from "./inputs.ts";
import { createPairFigures, type PairFigures } from "./pair-figures.ts";
import { checkAgain, checkRows } from "./self-checks.ts";
import { mostStreams } from "./streams.ts";
import { createWorstInputs, type WorstInputs } from "./worst-inputs.ts";

export interface MeasureOptions {
  readonly model: string;
  readonly families: Pick<Families, "hostCommand">;
  readonly compare: CompareOptions;
  /** Timed requests per engine. */
  readonly runs: number;
  readonly deadlineSeconds: number | undefined;
  /** How long to look for the most streams that an engine holds; 0: not at all. */
  readonly streamsSeconds: number;
  /** Largest share of late answers there. */
  readonly targetMissRatio: number;
  readonly openInputs: (info: EngineInfo) => Promise<AuditInputs>;
  /** Whether times on this engine's device can be judged now. */
  readonly deviceState: (engine: LotteryEngine) => DeviceState;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
  readonly onProgress: (progress: AuditProgress) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface AuditProgress {
  readonly phase: string;
  readonly trial?: number;
  readonly trials?: number;
}

export interface Measurement {
  /** The reference first. */
  readonly records: readonly EngineRecord[];
  readonly notLoaded: readonly { readonly engine: LotteryEngine; readonly error: string }[];
  readonly inputs: AuditInputs;
  readonly pairs: readonly PairFigures[];
  readonly worst: WorstInputs;
  readonly seconds: number;
}

/** Inputs that each engine is asked a second time, here and in another process. */
const mostRemembered = 32;

/**
 * Loads the engines side by side, each in a process of its own, and sends them the same inputs one at a time: every
 * round asks all of them in a new random order, so that drifting clocks and neighbours hit all alike and the paired
 * rules hold. The first round over the inputs also compares every two engines. What is learnt goes into the evidence
 * that the live verdicts are made of; one round is one block.
 *
 * @throws GatewayError when the reference does not load, or the inputs cannot be read.
 */
export async function measure(
  reference: LotteryEngine,
  others: readonly LotteryEngine[],
  options: MeasureOptions,
): Promise<Measurement> {
  const { onProgress, clock } = options;
  const started = clock.seconds();
  const records: EngineRecord[] = [];
  const notLoaded: Measurement["notLoaded"][number][] = [];
  try {
    for (const engine of [reference, ...others]) {
      onProgress({ phase: `loading and warming ${engine.id}` });
      try {
        records.push(await load(engine, reference, options));
      } catch (error) {
        if (engine === reference) throw error;
        notLoaded.push({ engine, error: (error as Error).message });
      }
    }
    const inputs = await options.openInputs((records[0] as EngineRecord).info);
    const worst = createWorstInputs();
    const pairs = await runRounds(records, inputs, worst, options);
    await runSelfChecks(records, options);
    await runStreams(records, inputs, options);
    return { records, notLoaded, inputs, pairs, worst, seconds: clock.seconds() - started };
  } finally {
    await Promise.all(records.map(({ pool }) => pool.close()));
  }
}

async function load(
  engine: LotteryEngine,
  reference: LotteryEngine,
  { model, families, clock, log, random, deadlineSeconds }: MeasureOptions,
): Promise<EngineRecord> {
  const pool = openEngine(engine, families.hostCommand(engine.manifest.compiler.name), { clock, log });
  try {
    const info = await pool.start();
    await warmUp(pool, info, clock);
    const key = {
      model,
      engine: engine.id,
      referenceDigest: reference.manifest.artifact.sha256,
      engineDigest: engine.manifest.artifact.sha256,
    };
    const evidence = createEvidence({ key, deadlineSeconds, seed: Math.floor(random.next() * 2 ** 32) });
    return {
      engine,
      pool,
      info,
      evidence,
      outcomes: [],
      classes: [],
      remembered: [],
      selfChecks: [],
      failures: 0,
      residentBytes: 0,
      cpuSeconds: null,
      streams: null,
    };
  } catch (error) {
    await pool.close();
    throw error;
  }
}

async function runRounds(
  records: readonly EngineRecord[],
  { inputs }: AuditInputs,
  worst: WorstInputs,
  options: MeasureOptions,
): Promise<PairFigures[]> {
  const { runs, random, onProgress, signal, compare } = options;
  const pairs = everyTwo(records.length).map(([a, b]) => ({
    a,
    b,
    figures: createPairFigures(
      (records[a] as EngineRecord).engine.id,
      (records[b] as EngineRecord).engine.id,
    ),
  }));
  const order = records.map((_, i) => i);
  const rounds = Math.max(runs, inputs.length);
  const cpu = records.map(({ pool }) => watchHostCpu(pool));
  for (let round = 0; round < rounds; round += 1) {
    signal?.throwIfAborted();
    if (round % 20 === 0) onProgress({ phase: "measuring", trial: round, trials: rounds });
    const input = inputs[round % inputs.length] as AuditInput;
    shuffle(order, random);
    const results: (EngineResult | undefined)[] = [];
    for (const place of order) results[place] = await attempt(records[place] as EngineRecord, input);
    const [first] = records;
    if (first?.pool.failure !== undefined)
      throw new GatewayError("engineFailed", `reference "${first.engine.id}" gave up: ${first.pool.failure}`);
    noteFailures(records, results, round, options);
    if (round < runs) noteTimes(records, results, order, round, options);
    else noteAnswers(records, results, round);
    if (round === runs - 1)
      for (const [place, record] of records.entries())
        record.cpuSeconds = (cpu[place] as HostCpu).usedSeconds();
    if (round >= inputs.length) continue;
    const decisive = first?.info.outputs[0]?.name;
    for (const [place, record] of records.entries())
      remember(record, input, results[place], compare.task === "classification" ? decisive : undefined);
    for (const { a, b, figures } of pairs) {
      const [ours, theirs] = [results[a], results[b]];
      if (ours === undefined || theirs === undefined) continue;
      const difference = compareOutputs(ours.outputs, theirs.outputs, compare);
      figures.add(difference);
      if (a === 0) noteDifference(records[b] as EngineRecord, input, difference, round, worst);
    }
  }
  for (const record of records) {
    record.evidence.flush();
    record.residentBytes = record.pool.residentBytes();
  }
  return pairs.map(({ figures }) => figures);
}

async function attempt(record: EngineRecord, input: AuditInput): Promise<EngineResult | undefined> {
  try {
    return await record.pool.infer({ inputs: input.tensors });
  } catch {
    record.failures += 1;
    return undefined;
  }
}

/** An input that the reference refuses too says nothing against the others. A timed one that failed is late as well. */
function noteFailures(
  records: readonly EngineRecord[],
  results: readonly (EngineResult | undefined)[],
  round: number,
  { runs, deadlineSeconds }: Pick<MeasureOptions, "runs" | "deadlineSeconds">,
): void {
  const timed = round < runs;
  for (const [place, { evidence, outcomes }] of records.entries()) {
    if (results[place] !== undefined || (place !== 0 && results[0] === undefined)) continue;
    if (timed) outcomes.push(null);
    evidence.add({ type: "error", blockId: round });
    if (timed && deadlineSeconds !== undefined)
      evidence.add({ type: "late", blockId: round, timeValid: true });
  }
}

/** Inputs beyond the timed requests: that the engine did not fail is known all the same. */
function noteAnswers(
  records: readonly EngineRecord[],
  results: readonly (EngineResult | undefined)[],
  round: number,
): void {
  for (const [place, { evidence }] of records.entries())
    if (results[place] !== undefined) evidence.add({ type: "ran", blockId: round });
}

function noteTimes(
  records: readonly EngineRecord[],
  results: readonly (EngineResult | undefined)[],
  order: readonly number[],
  round: number,
  { deadlineSeconds = Infinity, deviceState }: MeasureOptions,
): void {
  const control = results[0];
  const states = records.map(({ engine }) => deviceState(engine));
  for (const [place, { evidence, outcomes }] of records.entries()) {
    const result = results[place];
    const state = states[place] as DeviceState;
    if (evidence.device.state !== state) evidence.add({ type: "device", state });
    if (result === undefined) continue;
    const took = result.engineSeconds;
    outcomes.push(took);
    const common = { blockId: round, phase: "steady" } as const;
    const timeValid = state !== "throttled";
    evidence.add({ ...common, type: "live", seconds: took, missed: took > deadlineSeconds, timeValid });
    if (place === 0 || control === undefined) continue;
    evidence.add({
      ...common,
      type: "pair",
      alsoLive: true,
      controlSeconds: control.engineSeconds,
      candidateSeconds: took,
      order: order.indexOf(0) < order.indexOf(place) ? "controlFirst" : "candidateFirst",
      timeValid: timeValid && states[0] !== "throttled",
    });
  }
}

function remember(
  record: EngineRecord,
  { tensors }: AuditInput,
  result: EngineResult | undefined,
  decisive: string | undefined,
): void {
  const scores = result?.outputs.find(({ name }) => name === decisive);
  record.classes.push(scores === undefined ? null : decidedClass(scores));
  if (result === undefined || record.remembered.length >= mostRemembered) return;
  record.remembered.push({ tensors, outputs: result.outputs });
}

function noteDifference(
  { engine, evidence }: EngineRecord,
  input: AuditInput,
  difference: Difference,
  round: number,
  worst: WorstInputs,
): void {
  evidence.add({ type: "comparison", blockId: round, difference });
  worst.add(input, engine.id, difference);
}

async function runSelfChecks(records: readonly EngineRecord[], options: MeasureOptions): Promise<void> {
  const { families, clock, log, random, onProgress, compare, signal } = options;
  for (const record of records) {
    signal?.throwIfAborted();
    const { engine, pool, remembered } = record;
    // In a random order: a fault that comes in a rhythm would strike the same inputs again in the same order.
    shuffle(remembered, random);
    onProgress({ phase: `asking ${engine.id} again, here and in another process` });
    const other = openEngine(engine, families.hostCommand(engine.manifest.compiler.name), { clock, log });
    try {
      // A process that does not start answers nothing, which the check counts.
      await other.start().catch(() => undefined);
      record.selfChecks = [
        await checkAgain("rerun", pool, remembered, compare),
        await checkAgain("process", other, remembered, compare),
        ...(await checkRows(pool, record.info.inputs, remembered, compare)),
      ];
    } finally {
      await other.close();
    }
  }
}

async function runStreams(
  records: readonly EngineRecord[],
  { inputs }: AuditInputs,
  options: MeasureOptions,
): Promise<void> {
  const { deadlineSeconds, streamsSeconds, onProgress } = options;
  if (deadlineSeconds === undefined || streamsSeconds === 0) return;
  for (const record of records) {
    onProgress({ phase: `sending streams to ${record.engine.id}` });
    record.streams = await mostStreams(record.pool, {
      ...options,
      periodSeconds: deadlineSeconds,
      limitSeconds: streamsSeconds,
      inputs,
    });
  }
}

/** (0, 1), (0, 2), ..., (1, 2), ... */
function everyTwo(count: number): [number, number][] {
  return Array.from({ length: count }, (_, a) => a).flatMap((a) =>
    Array.from({ length: count - a - 1 }, (_, i): [number, number] => [a, a + 1 + i]),
  );
}
