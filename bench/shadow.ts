/**
 * What shadow runs do to live requests: every request is a candidate for the shadow (sampleRate 1), two candidates, open
 * loop at half of the capacity measured first. Each run starts a gateway anew, whose model has the shadow switched on and
 * off every few seconds, by sampleRate in model.yaml and a reload, which keeps the engines: what the machine does to one
 * it does to the other. Both turns of a pair meet the same arrivals, and the order alternates.
 *
 * So it is what taking, sending, running and telling of inputs costs; that engines have evidence to be judged, once a
 * second, is part of both. `--apart` has two gateways take turns instead, one with shadow and one without; whose turn it is
 * not is stopped. There "without" has never had a shadow, but two processes of one program differ by 10 % and more,
 * whatever they do: by what the compiler of JavaScript made of it and where its memory lies.
 *
 * `--turns=N` has each side take so many turns a run. `--model=models/NAME --engines=ACTIVE,CANDIDATE,CANDIDATE` does it
 * with engines of yours, as on a GPU, instead of three builds of the demo model by ONNX Runtime.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { parse, stringify } from "yaml";
import { cpuShares, cpuTime, firstThreadSeconds } from "./support/cpu-time.ts";
import { metric, type Server, startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import type { PreparedRequest } from "./support/http-client.ts";
import { latenciesMs } from "./support/load.ts";
import { option, places, print, quick, serverCores, tableHead, tableRow, tell } from "./support/options.ts";
import { binaryRequest, copyModel, demo, makeRepository, modelServedAt } from "./support/repository.ts";
import { median, medianInterval, percentile } from "./support/statistics.ts";
import { nearMs, watchStolen } from "./support/stolen.ts";

const runCount = quick ? 2 : 5;
const turns = Number(option("turns") ?? (quick ? 2 : 9));
if (!Number.isInteger(turns) || turns < 2) throw new Error(`--turns=${option("turns")}: 2 or more`);
/** Of a turn, and how much of its beginning is left out: connections are opened, and what rested is cold. */
const seconds = quick ? 3 : 4;
const warmUpMs = 1000;
/** What is still queued for the shadow is worked off before the other side's turn. */
const restMs = 500;
/** After a stop every timer is due at once; after a reload there is something to clear away. */
const settleMs = 300;
/**
 * Half of the capacity is two thirds of two cores already, and the load generator may take its part of them: with the
 * default of 0.7 shadow runs would hardly begin there.
 */
const maxUtilization = 0.85;
const folder = option("model");
const model = folder === undefined ? demo.name : basename(resolve(folder));
const engines = option("engines")?.split(",") ?? ["onnxruntime-1", "onnxruntime-2", "onnxruntime-3"];
if ((folder === undefined) !== (option("engines") === undefined) || engines.length < 2)
  throw new Error(
    "--model and --engines belong together: a model's folder, and its active engine and one candidate or more",
  );
const apart = process.argv.includes("--apart");
const settings = {
  without: { sampleRate: 0, maxUtilization },
  with: { sampleRate: 1, maxUtilization },
} as const;
type Name = keyof typeof settings;
// One after the other: the first compiles what is not there yet.
const off = apart ? await repositoryWith(settings.without) : undefined;
const on = await repositoryWith(settings.with);
const generator = startGenerator();

async function repositoryWith(shadow: object): Promise<{ readonly path: string; remove(): void }> {
  if (folder === undefined)
    return makeRepository([demo], {
      engines: engines.length,
      settings: [`shadow: ${JSON.stringify(shadow)}`],
    });
  const settings = { active: engines[0], reference: engines[0], policy: { mode: "off" }, shadow };
  return copyModel(resolve(folder), { engines, settings });
}

/** One side's turns of a run. */
class Side {
  /** Of a turn each; of the requests that the hypervisor left alone. */
  readonly latencies: Float64Array[] = [];
  /** The same of all requests. */
  readonly whole: Float64Array[] = [];
  /** How late requests were sent, p99 of each turn. */
  readonly lateMs: number[] = [];
  requests = 0;
  failed = 0;
  compared = 0;
  stolen = 0;
  busy = 0;
  /** Processor time of the thread that serves. */
  threadSeconds = 0;

  /** Of all turns together, or of every other one. */
  percentile(share: number, which: (turn: number) => boolean = () => true): number {
    return percentile(together(this.latencies.filter((_, at) => which(at))), share);
  }
}

function together(turns: readonly Float64Array[]): Float64Array {
  return Float64Array.from(turns.flatMap((of) => [...of]));
}

interface Run {
  readonly without: Side;
  readonly with: Side;
}

/** Who serves a side's turns. */
interface Party {
  readonly gateway: Server;
  /** Brings it into the state in which its turns are, and back. */
  begin(): Promise<void>;
  end(): void;
}

/** The gateways of a run, by side: one, or two of which one is stopped while the other has its turn. */
async function openParties(): Promise<Record<Name, Party> & { close(): Promise<void> }> {
  const gateway = await startGateway(on.path);
  if (!off) {
    const party = (name: Name): Party => ({ gateway, begin: () => shade(gateway, name), end() {} });
    return { without: party("without"), with: party("with"), close: () => gateway.close() };
  }
  const other = await startGateway(off.path);
  const party = (of: Server): Party => {
    process.kill(of.pid, "SIGSTOP");
    return {
      gateway: of,
      begin: () => Promise.resolve(void process.kill(of.pid, "SIGCONT")),
      end: () => void process.kill(of.pid, "SIGSTOP"),
    };
  };
  return {
    without: party(other),
    with: party(gateway),
    async close() {
      for (const { pid } of [gateway, other]) process.kill(pid, "SIGCONT");
      await Promise.all([gateway.close(), other.close()]);
    },
  };
}

/** Switches the shadow of the gateway's model on or off. */
async function shade(gateway: Server, name: Name): Promise<void> {
  const file = join(on.path, model, "model.yaml");
  const config = parse(readFileSync(file, "utf8")) as object;
  writeFileSync(file, stringify({ ...config, shadow: settings[name] }));
  const url = `http://127.0.0.1:${gateway.port}/v2/repository/models/${model}/load`;
  const response = await fetch(url, { method: "POST" });
  if (!response.ok) throw new Error(`reload: ${response.status} ${await response.text()}`);
}

interface Load {
  readonly request: PreparedRequest;
  readonly ratePerSecond: number;
}

async function turn(party: Party, { request, ratePerSecond }: Load, seed: number, side: Side): Promise<void> {
  const { gateway } = party;
  await party.begin();
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const before = await compared(gateway);
  const time = cpuTime(serverCores);
  const threadBefore = firstThreadSeconds(gateway.pid);
  const mode = { kind: "open", ratePerSecond, seconds, seed } as const;
  const watch = await watchStolen();
  const { result, ids } = await generator.run({ port: gateway.port, request, mode });
  const taken = await watch?.stop();
  if (ids.answered + result.failed !== ids.sent) throw new Error(result.errors.join("; "));
  if (result.failed > 0) tell(`${result.failed} failed: ${result.errors[0]}`);
  side.failed += result.failed;
  const { busy } = cpuShares(time, serverCores);
  await new Promise((resolve) => setTimeout(resolve, restMs));
  const begin = Math.min(...result.dueMs) + warmUpMs;
  side.compared += (await compared(gateway)) - before;
  side.threadSeconds += firstThreadSeconds(gateway.pid) - threadBefore;
  party.end();
  const counts = result.dueMs.map((due) => (due < begin ? 0 : taken?.near(due) ? 1 : 2));
  side.whole.push(latenciesMs(result).filter((_, at) => counts[at] !== 0));
  side.latencies.push(latenciesMs(result).filter((_, at) => counts[at] === 2));
  side.lateMs.push(
    percentile(
      result.sentMs.map((sent, at) => sent - (result.dueMs[at] ?? Number.NaN)),
      0.99,
    ),
  );
  side.requests += result.doneMs.length;
  side.busy += busy / turns;
  side.stolen += (taken?.share ?? Number.NaN) / turns;
}

/** What a compared input takes of the thread that serves, in microseconds. */
function costOf({ without, with: withShadow }: Run): number {
  const usual = (without.threadSeconds / without.requests) * withShadow.requests;
  return (1e6 * (withShadow.threadSeconds - usual)) / withShadow.compared;
}

/** Requests whose outputs of a candidate were compared with the reference's: those of the one with fewer. */
async function compared(gateway: Server): Promise<number> {
  const counts = engines.slice(1).map((candidate) => metric(gateway, "comparisons_total", { candidate }));
  return Math.min(...(await Promise.all(counts)));
}

async function capacityOf(party: Party, request: PreparedRequest): Promise<number> {
  const mode = { kind: "closed", concurrency: 4, seconds: 3 } as const;
  await party.begin();
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const { result } = await generator.run({ port: party.gateway.port, request, mode });
  await new Promise((resolve) => setTimeout(resolve, restMs));
  party.end();
  return result.doneMs.length / result.seconds;
}

/**
 * Where the engine is fast it is the thread that serves whose capacity it is, and a request that comes alone costs that
 * thread up to twice of what one of several does: half of the capacity in a closed loop would be nearly all of it. What one
 * costs depends on the rate in turn, so it is measured at the rate that the last measurement told, a few times.
 */
async function halfLoad(party: Party, request: PreparedRequest, most: number): Promise<number> {
  let rate = most;
  for (let at = 0; at < 4; at += 1) {
    const side = new Side();
    await turn(party, { request, ratePerSecond: rate }, 90 + at, side);
    const busy = side.threadSeconds / seconds;
    tell(`at ${rate}/s the serving thread is busy for ${percent(busy)} of the time`);
    if (busy < 0.53 && (rate === most || busy > 0.47)) break;
    rate = Math.min(most, Math.round((rate * 0.5) / busy));
  }
  return rate;
}

/** @param rate requests a second; half load of the gateway without shadow when it is not known yet */
async function measure(index: number, rate: number | undefined): Promise<{ run: Run; rate: number }> {
  const parties = await openParties();
  try {
    const { without, with: withShadow } = parties;
    await without.begin();
    const request = binaryRequest(await modelServedAt(without.gateway.port, model));
    without.end();
    // The first of each warms it up.
    await capacityOf(without, request);
    await capacityOf(withShadow, request);
    const capacity = await capacityOf(without, request);
    await capacityOf(withShadow, request);
    // And by arrivals, which are on many connections.
    const ratePerSecond = rate ?? (await halfLoad(without, request, Math.round(capacity / 2)));
    const load = { request, ratePerSecond };
    await turn(without, load, 99, new Side());
    await turn(withShadow, load, 99, new Side());
    const run = { without: new Side(), with: new Side() };
    for (let at = 0; at < turns; at += 1) {
      // A B, B A, A B, ...: what drifts meets both alike.
      const order: Name[] = ["without", "with"];
      if ((at + index) % 2 === 1) order.reverse();
      for (const name of order) await turn(parties[name], load, 100 * index + at, run[name]);
    }
    return { run, rate: load.ratePerSecond };
  } finally {
    await parties.close();
  }
}

try {
  const runs: Run[] = [];
  let rate: number | undefined;
  for (let index = 0; index < runCount; index += 1) {
    const measured = await measure(index, rate);
    rate = measured.rate;
    runs.push(measured.run);
    const { without, with: withShadow } = measured.run;
    const ratio = (share: number) => (withShadow.percentile(share) / without.percentile(share)).toFixed(3);
    tell(
      `run ${index + 1} of ${runCount}, ${rate}/s: p50 ratio ${ratio(0.5)}, p99 ratio ${ratio(0.99)}, ` +
        `${percent(withShadow.compared / withShadow.requests)} compared, each ${costOf(measured.run).toFixed(0)} us of the serving thread`,
    );
  }
  report(rate ?? Number.NaN, runs);
} finally {
  generator.close();
  off?.remove();
  on.remove();
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function report(rate: number, runs: readonly Run[]): void {
  const ms = (value: number): string => value.toFixed(3);
  print(
    `\n${model}, ${engines.join(", ")} (the first is active), binary, open loop (Poisson), ${rate}/s: half of the capacity at concurrency 4, or less where that would keep the serving thread busy for more than half of the time${places(", ")}; a run is ` +
      `${turns} turns of ${seconds} s each with shadow and without${apart ? ", two gateways" : ", one gateway"}, the first ${warmUpMs / 1000} s of each left out, latency from the scheduled arrival; maxUtilization ${maxUtilization}. ` +
      `Latencies are of requests that did not arrive within ${nearMs} ms of a moment when the hypervisor had a core ("stolen"). ` +
      `The load generator sent them up to ${ms(median(runs.flatMap((run) => [...run.without.lateMs, ...run.with.lateMs])))} ms late (p99, median of the turns).\n`,
  );
  print(
    tableHead([
      ...["run", "p50 ms without", "p50 ms with", "ratio", "p99 ms without", "p99 ms with", "ratio"],
      ...[
        "failed",
        "compared",
        "pairs/s",
        "serving thread, us each",
        "serving thread busy without",
        "with",
        "cores busy without",
        "with",
        "stolen without",
        "stolen with",
      ],
    ]),
  );
  for (const [at, { without, with: withShadow }] of runs.entries()) {
    const figures = [0.5, 0.99].flatMap((share) => {
      const [base, value] = [without.percentile(share), withShadow.percentile(share)];
      return [ms(base), ms(value), ms(value / base)];
    });
    print(
      tableRow([
        ...[at + 1, ...figures],
        without.failed + withShadow.failed,
        percent(withShadow.compared / withShadow.requests),
        (withShadow.compared / (turns * seconds)).toFixed(0),
        costOf({ without, with: withShadow }).toFixed(0),
        ...[without, withShadow].map((side) => percent(side.threadSeconds / (turns * seconds))),
        ...[percent(without.busy), percent(withShadow.busy)],
        ...[percent(without.stolen), percent(withShadow.stolen)],
      ]),
    );
  }
  for (const [name, share] of [
    ["p50", 0.5],
    ["p99", 0.99],
  ] as const) {
    const base = runs.map(({ without }) => without.percentile(share));
    const spread = base.map((value) => (value / median(base)).toFixed(3)).join(", ");
    const ratio = median(
      runs.map(({ without, with: withShadow }) => withShadow.percentile(share) / without.percentile(share)),
    );
    // The same comparison where there is no difference: what the measurement itself can tell apart.
    const nothing = runs.map(({ without }) =>
      ms(
        without.percentile(share, (turn) => turn % 2 === 1) /
          without.percentile(share, (turn) => turn % 2 === 0),
      ),
    );
    // Neighbours in time, so that what befalls the machine for some seconds is in few of them.
    const pairs = runs.flatMap(({ without, with: withShadow }) =>
      without.latencies.map(
        (of, turn) => percentile(withShadow.latencies[turn] ?? [], share) / percentile(of, share),
      ),
    );
    const { lower, upper } = medianInterval(pairs, 0.95);
    const whole = median(
      runs.map(
        ({ without, with: withShadow }) =>
          percentile(together(withShadow.whole), share) / percentile(together(without.whole), share),
      ),
    );
    print(
      `\n- ${name}: ratio with to without, median of the runs: ${ratio.toFixed(3)} (${whole.toFixed(3)} of all requests, undisturbed or not); of the ${pairs.length} pairs of turns ${median(pairs).toFixed(3)}, between ${lower.toFixed(3)} and ${upper.toFixed(3)} (95 %); runs without, over their median: ${spread}; ` +
        `every other turn without over the others (${apart ? "which differ in nothing" : "half of them follow a turn with shadow"}): ${nothing.join(", ")}`,
    );
  }
}
