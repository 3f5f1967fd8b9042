/**
 * What watching does to live requests: one gateway, three engines, shadow runs as by default, open loop. In turns nobody
 * watches, and somebody does: a page's event stream is read and /metrics is scraped once a second. Each pair meets the
 * same arrivals, and its order alternates.
 */
import { startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { latenciesMs } from "./support/load.ts";
import { print, quick, tableHead, tableRow, tell } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";
import { median, percentile } from "./support/statistics.ts";

const pairs = quick ? 2 : 7;
const seconds = quick ? 5 : 15;
const ratePerSecond = 300;
const request = binaryRequest(demo);
const repository = await makeRepository([demo], { engines: 3, settings: [] });
const gateway = await startGateway(repository.path);
const url = `http://127.0.0.1:${gateway.port}`;
const generator = startGenerator();

interface Run {
  readonly p50: number;
  readonly p99: number;
}

async function load(watched: boolean, seed: number): Promise<Run> {
  const stop = watched ? watch() : async () => ({ events: 0, scrapes: 0 });
  const mode = { kind: "open", ratePerSecond, seconds, seed } as const;
  const { result, ids } = await generator.run({ port: gateway.port, request, mode });
  const { events, scrapes } = await stop();
  if (result.failed > 0 || ids.answered !== ids.sent) throw new Error(result.errors.join("; "));
  if (watched && (events < seconds / 2 || scrapes < seconds / 2))
    throw new Error(`watched in name only: ${events} events, ${scrapes} scrapes in ${seconds} s`);
  const latencies = latenciesMs(result);
  return { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) };
}

/** As a page and a Prometheus do at once. */
function watch(): () => Promise<{ events: number; scrapes: number }> {
  const leave = new AbortController();
  const counts = { events: 0, scrapes: 0 };
  const reading = (async () => {
    const stream = await fetch(`${url}/v1/events`, { signal: leave.signal });
    for await (const chunk of stream.body ?? [])
      counts.events += Buffer.from(chunk).toString().split("event: metrics").length - 1;
  })().catch((error: unknown) => {
    if (!leave.signal.aborted) throw error;
  });
  let scraping: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    scraping = scraping.then(async () => {
      const answer = await fetch(`${url}/metrics`);
      if (answer.status === 200 && (await answer.text()).includes("crosscheck_")) counts.scrapes += 1;
    });
  }, 1000);
  return async () => {
    clearInterval(timer);
    await scraping;
    leave.abort();
    await reading;
    return counts;
  };
}

try {
  await load(true, 98);
  await load(false, 99);
  const runs: { readonly off: Run; readonly on: Run }[] = [];
  for (let pair = 0; pair < pairs; pair += 1) {
    const watchedFirst = pair % 2 === 1;
    const one = await load(watchedFirst, pair);
    const other = await load(!watchedFirst, pair);
    runs.push(watchedFirst ? { off: other, on: one } : { off: one, on: other });
    tell(`pair ${pair + 1}: ${JSON.stringify(runs.at(-1))}`);
  }
  report(runs);
} finally {
  generator.close();
  await gateway.close();
  repository.remove();
}

function report(runs: readonly { off: Run; on: Run }[]): void {
  const ms = (value: number): string => value.toFixed(3);
  print(
    `\n${demo.name}, binary, three engines, shadow runs as by default, open loop (Poisson), ${ratePerSecond}/s, ${seconds} s a run; ` +
      "watched: one event stream, one scrape a second.\n",
  );
  print(
    tableHead([
      "pair",
      "p50 ms without",
      "p50 ms watched",
      "ratio",
      "p99 ms without",
      "p99 ms watched",
      "ratio",
    ]),
  );
  for (const [at, { off, on }] of runs.entries())
    print(
      tableRow([
        ...[at + 1, ms(off.p50), ms(on.p50), ms(on.p50 / off.p50)],
        ...[ms(off.p99), ms(on.p99), ms(on.p99 / off.p99)],
      ]),
    );
  for (const key of ["p50", "p99"] as const) {
    const base = runs.map(({ off }) => off[key]);
    const spread = base.map((value) => (value / median(base)).toFixed(3)).join(", ");
    const ratio = median(runs.map(({ off, on }) => on[key] / off[key]));
    print(
      `\n- ${key}: ratio of watched to not, median of the pairs: ${ratio.toFixed(3)}; runs without, over their median: ${spread}`,
    );
  }
}
