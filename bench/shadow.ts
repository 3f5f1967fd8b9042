/**
 * What shadow runs do to live requests: every request is a candidate for the shadow (sampleRate 1), two candidates, open
 * loop at half of the capacity measured first. Two gateways, with shadow and without, take turns; each pair meets the
 * same arrivals, and its order alternates.
 */
import { metric, type Server, startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { latenciesMs } from "./support/load.ts";
import { print, quick, tableHead, tableRow, tell } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";
import { median, percentile } from "./support/statistics.ts";

const pairs = quick ? 2 : 5;
const seconds = quick ? 6 : 30;
const request = binaryRequest(demo);
const off = await makeRepository([demo], { engines: 3, settings: ["shadow: { sampleRate: 0 }"] });
const on = await makeRepository([demo], { engines: 3, settings: ["shadow: { sampleRate: 1 }"] });
const without = await startGateway(off.path);
const withShadow = await startGateway(on.path);
const generator = startGenerator();

interface Run {
  readonly p50: number;
  readonly p99: number;
  readonly requests: number;
  readonly compared: number;
}

async function load(gateway: Server, ratePerSecond: number, seed: number): Promise<Run> {
  const before = await compared(gateway);
  const mode = { kind: "open", ratePerSecond, seconds, seed } as const;
  const { result, ids } = await generator.run({ port: gateway.port, request, mode });
  if (result.failed > 0 || ids.answered !== ids.sent) throw new Error(result.errors.join("; "));
  const after = await compared(gateway);
  const latencies = latenciesMs(result);
  // What is still queued is worked off before the other gateway's turn.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    requests: latencies.length,
    compared: after - before,
  };
}

/** Requests whose outputs of a candidate were compared with the reference's: those of the one with fewer. */
async function compared(gateway: Server): Promise<number> {
  const counts = ["onnxruntime-2", "onnxruntime-3"].map((candidate) =>
    metric(gateway, "comparisons_total", { candidate }),
  );
  return Math.min(...(await Promise.all(counts)));
}

try {
  const capacities: number[] = [];
  const mode = { kind: "closed", concurrency: 4, seconds: 3 } as const;
  for (let n = 0; n < 3; n += 1) {
    const { result } = await generator.run({ port: without.port, request, mode });
    if (n > 0) capacities.push(result.doneMs.length / result.seconds);
    await generator.run({ port: withShadow.port, request, mode });
  }
  const capacity = median(capacities);
  const rate = Math.round(capacity / 2);
  tell(`capacity ${capacity.toFixed(0)}/s; half of it for ${seconds} s at a time`);
  await load(withShadow, rate, 99);
  const runs: { readonly off: Run; readonly on: Run }[] = [];
  for (let pair = 0; pair < pairs; pair += 1) {
    const first = pair % 2 === 0 ? without : withShadow;
    const one = await load(first, rate, pair);
    const other = await load(first === without ? withShadow : without, rate, pair);
    runs.push(first === without ? { off: one, on: other } : { off: other, on: one });
    tell(`pair ${pair + 1}: ${JSON.stringify(runs.at(-1))}`);
  }
  report(capacity, rate, runs);
} finally {
  generator.close();
  await Promise.all([without.close(), withShadow.close()]);
  off.remove();
  on.remove();
}

function report(capacity: number, rate: number, runs: readonly { off: Run; on: Run }[]): void {
  const ms = (value: number): string => value.toFixed(3);
  print(
    `\n${demo.name}, binary, open loop (Poisson), ${rate}/s of a capacity of ${capacity.toFixed(0)}/s at concurrency 4, ` +
      `${seconds} s a run, latency from the scheduled arrival.\n`,
  );
  print(
    tableHead([
      ...["pair", "p50 ms without", "p50 ms with", "ratio", "p99 ms without", "p99 ms with", "ratio"],
      ...["compared", "pairs/s"],
    ]),
  );
  for (const [at, { off, on }] of runs.entries())
    print(
      tableRow([
        ...[at + 1, ms(off.p50), ms(on.p50), ms(on.p50 / off.p50)],
        ...[ms(off.p99), ms(on.p99), ms(on.p99 / off.p99)],
        `${((100 * on.compared) / on.requests).toFixed(1)} %`,
        (on.compared / seconds).toFixed(0),
      ]),
    );
  for (const key of ["p50", "p99"] as const) {
    const base = runs.map(({ off }) => off[key]);
    const spread = base.map((value) => (value / median(base)).toFixed(3)).join(", ");
    const ratio = median(runs.map(({ off, on }) => on[key] / off[key]));
    print(
      `\n- ${key}: ratio with to without, median of the pairs: ${ratio.toFixed(3)}; runs without, over their median: ${spread}`,
    );
  }
}
