import { type Command, InvalidArgumentError } from "commander";
import { build as buildHistogram, type Histogram } from "hdr-histogram-js";
import { Pool } from "undici";
import { z } from "zod";
import { GatewayError } from "../core/errors.ts";
import { type Datatype, isDatatype, type Tensor } from "../core/tensor.ts";
import { generatedInput } from "../models/warm-up.ts";
import { parsed } from "./parsed.ts";
import { seconds } from "./seconds.ts";
import { httpUrl } from "./url.ts";

interface Options {
  readonly model: string;
  readonly rate?: number;
  readonly concurrency?: number;
  readonly seconds: number;
  readonly encoding: "binary" | "json";
  readonly engine?: string;
  readonly timeout: number;
  readonly json?: true;
}

export function registerBench(program: Command): void {
  program
    .command("bench")
    .argument("<url>", "of the gateway, such as http://127.0.0.1:8000", httpUrl)
    .description("load a model of a gateway (or of any V2 server) and print latency percentiles")
    .requiredOption("--model <name>", "the model")
    .option(
      "--rate <per second>",
      "open loop: requests arrive at this rate whatever the server does; latency counts from the scheduled arrival",
      positive,
    )
    .option(
      "--concurrency <n>",
      "closed loop: so many clients, each sends its next request after a reply (default 1)",
      wholeNumber,
    )
    .option("--seconds <s>", "how long", positive, 10)
    .option("--encoding <kind>", "binary or json", encoding, "binary")
    .option("--engine <id>", "pin this engine")
    .option("--timeout <seconds>", "for one answer; a later one has failed", seconds, 30)
    .option("--json", "print the result as JSON")
    .addHelpText("after", "\nThe API key, where the gateway wants one, is taken from CROSSCHECK_API_KEY.")
    .action(bench);
}

interface Result {
  readonly sent: number;
  readonly failed: number;
  readonly seconds: number;
  readonly histogram: Histogram;
  readonly errors: ReadonlyMap<string, number>;
}

async function bench(url: string, options: Options, command: Command): Promise<void> {
  if (options.rate !== undefined && options.concurrency !== undefined)
    command.error("error: give --rate (open loop) or --concurrency (closed loop), not both");
  if (options.rate !== undefined && options.rate * options.seconds < 1)
    command.error(
      `error: ${options.rate} per second for ${options.seconds} s sends no request; give more of either`,
    );
  const { origin } = new URL(url);
  const pool = new Pool(origin, {
    connections: options.rate === undefined ? (options.concurrency ?? 1) : 256,
    pipelining: 1,
    connectTimeout: options.timeout * 1000,
    headersTimeout: options.timeout * 1000,
    bodyTimeout: options.timeout * 1000,
  });
  try {
    const request = await prepare(pool, url, options);
    // A connection, and a model that loads on demand.
    await request().catch((cause: Error) => {
      throw new GatewayError("conflict", `${url} does not answer the first request: ${cause.message}`, {
        cause,
      });
    });
    const result =
      options.rate === undefined
        ? await closedLoop(request, options)
        : await openLoop(request, options.rate, options.seconds);
    if (result.sent === 0) throw new GatewayError("invalid", "no request was sent; give more --seconds");
    report(options, result);
    if (result.failed > 0) process.exitCode = 1;
  } finally {
    await pool.destroy();
  }
}

/** One request as a function; the body is made once. */
async function prepare(pool: Pool, url: string, options: Options): Promise<() => Promise<void>> {
  // What the address has before /v2 is the way through a proxy.
  const path = `${new URL(url).pathname.replace(/\/+$/, "")}/v2/models/${encodeURIComponent(options.model)}`;
  const key = process.env["CROSSCHECK_API_KEY"];
  const authorization = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const described = await pool
    .request({ method: "GET", path, headers: authorization })
    .catch((cause: Error) => {
      throw new GatewayError(
        "unavailable",
        `no server answers at ${url} (${cause.message}); start one with crosscheck serve, or name another`,
        { cause },
      );
    });
  const text = await described.body.text();
  const metadata = metadataSchema.safeParse(parsed(text)).data;
  if (described.statusCode !== 200 || metadata?.inputs === undefined) {
    const why =
      metadata?.error ?? `it answers ${described.statusCode} without a model's metadata; is it a V2 server?`;
    const code = described.statusCode === 404 ? "notFound" : "conflict";
    throw new GatewayError(code, `model "${options.model}" at ${url} cannot be asked for its inputs: ${why}`);
  }
  const inputs = metadata.inputs.map(({ name, datatype, shape }) => {
    if (!isDatatype(datatype))
      throw new GatewayError("invalid", `input "${name}" has datatype ${datatype}, which bench cannot make`);
    return generatedInput({ name, datatype, shape });
  });
  const { body, headers } =
    options.encoding === "json" ? jsonBody(inputs, options.engine) : binaryBody(inputs, options.engine);
  return async () => {
    const reply = await pool.request({
      method: "POST",
      path: `${path}/infer`,
      headers: { ...authorization, ...headers },
      body,
    });
    const answer = await reply.body.bytes();
    if (reply.statusCode !== 200)
      throw new Error(`${reply.statusCode} ${Buffer.from(answer).toString("utf8", 0, 200)}`);
  };
}

const metadataSchema = z.looseObject({
  error: z.string().optional(),
  inputs: z
    .array(z.looseObject({ name: z.string(), datatype: z.string(), shape: z.array(z.number()) }))
    .optional(),
});

function header(
  inputs: readonly Tensor[],
  engine: string | undefined,
  data: (input: Tensor) => object,
): object {
  return {
    inputs: inputs.map((input) => ({
      name: input.name,
      datatype: input.datatype,
      shape: input.shape,
      ...data(input),
    })),
    ...(engine === undefined ? {} : { parameters: { engine } }),
  };
}

function binaryBody(inputs: readonly Tensor[], engine: string | undefined) {
  const json = Buffer.from(
    JSON.stringify({
      ...header(inputs, engine, ({ data }) => ({ parameters: { binary_data_size: data.byteLength } })),
      parameters: { binary_data_output: true, ...(engine === undefined ? {} : { engine }) },
    }),
  );
  return {
    body: Buffer.concat([json, ...inputs.map(({ data }) => data)]),
    headers: {
      "content-type": "application/octet-stream",
      "inference-header-content-length": String(json.byteLength),
    },
  };
}

function jsonBody(inputs: readonly Tensor[], engine: string | undefined) {
  const numbers = ({ datatype, data }: Tensor) => ({ data: numbersOf(datatype, data) });
  return {
    body: Buffer.from(JSON.stringify(header(inputs, engine, numbers))),
    headers: { "content-type": "application/json" },
  };
}

function numbersOf(datatype: Datatype, data: Uint8Array): number[] {
  if (datatype === "FP32") return Array.from(new Float32Array(data.slice().buffer));
  if (datatype === "FP64") return Array.from(new Float64Array(data.slice().buffer));
  throw new GatewayError(
    "invalid",
    `--encoding json makes FP32 and FP64 inputs, not ${datatype}; use binary`,
  );
}

/** Each client waits for its reply: latency hides what a stalled server would have done to others, so prefer --rate. */
async function closedLoop(
  request: () => Promise<void>,
  { concurrency = 1, seconds }: Options,
): Promise<Result> {
  const tally = createTally();
  const end = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() < end) await tally.time(request, performance.now());
    }),
  );
  return tally.result(seconds);
}

/** Requests begin when they are due, or as soon after as this process can, and are timed from when they were due. */
async function openLoop(request: () => Promise<void>, rate: number, seconds: number): Promise<Result> {
  const tally = createTally();
  const started = performance.now();
  const total = Math.floor(rate * seconds);
  const pending = new Set<Promise<void>>();
  for (let sent = 0; sent < total;) {
    const now = performance.now();
    for (; sent < total && started + (sent * 1000) / rate <= now; sent++) {
      const one = tally.time(request, started + (sent * 1000) / rate);
      pending.add(one);
      void one.finally(() => pending.delete(one));
    }
    await new Promise((resolve) =>
      setTimeout(resolve, Math.max(0, started + (sent * 1000) / rate - performance.now() - 0.5)),
    );
  }
  await Promise.all(pending);
  return tally.result((performance.now() - started) / 1000);
}

function createTally() {
  const histogram = buildHistogram({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 600_000_000,
    numberOfSignificantValueDigits: 3,
  });
  const errors = new Map<string, number>();
  let sent = 0;
  return {
    async time(request: () => Promise<void>, dueMs: number): Promise<void> {
      sent++;
      try {
        await request();
        histogram.recordValue(Math.max(1, Math.round((performance.now() - dueMs) * 1000)));
      } catch (error) {
        const message = (error as Error).message;
        errors.set(message, (errors.get(message) ?? 0) + 1);
      }
    },
    result: (seconds: number): Result => ({
      sent,
      failed: [...errors.values()].reduce((sum, count) => sum + count, 0),
      seconds,
      histogram,
      errors,
    }),
  };
}

const percentiles = [50, 90, 95, 99, 99.9, 100];

function report(options: Options, { sent, failed, seconds: took, histogram, errors }: Result): void {
  const latencySeconds = Object.fromEntries(
    percentiles.map((p) => [`p${p}`, histogram.getValueAtPercentile(p) / 1e6]),
  );
  const requestsPerSecond = (sent - failed) / took;
  if (options.json) {
    process.stdout.write(
      `${JSON.stringify(
        {
          model: options.model,
          sent,
          failed,
          errors: Object.fromEntries(errors),
          seconds: took,
          requestsPerSecond,
          latencySeconds,
        },
        null,
        2,
      )}\n`,
    );
    return;
  }
  const how =
    options.rate === undefined
      ? `closed loop, concurrency ${options.concurrency ?? 1}`
      : `open loop, ${options.rate} per second, from scheduled arrival`;
  process.stdout.write(`${options.model}: ${how}, ${options.encoding}\n`);
  process.stdout.write(
    `${sent} requests in ${took.toFixed(1)} s, ${requestsPerSecond.toFixed(0)}/s, ${failed} failed\n`,
  );
  for (const p of percentiles)
    process.stdout.write(
      `  p${String(p).padEnd(5)} ${(histogram.getValueAtPercentile(p) / 1000).toFixed(3)} ms\n`,
    );
  for (const [message, count] of errors) process.stdout.write(`  ${count} x ${message}\n`);
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError("give a number above 0");
  return value;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= 10_000) return value;
  throw new InvalidArgumentError("It must be a whole number from 1 to 10000.");
}

function encoding(text: string): "binary" | "json" {
  if (text === "binary" || text === "json") return text;
  throw new InvalidArgumentError("give binary or json");
}
