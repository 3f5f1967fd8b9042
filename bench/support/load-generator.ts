/** The load generator's process: runs one load after another as the bench tells it. */
import { createHttpClient, type IdTally, type PreparedRequest } from "./http-client.ts";
import { type LoadMode, type LoadResult, runLoad } from "./load.ts";

export interface LoadJob {
  readonly port: number;
  readonly request: PreparedRequest;
  readonly mode: LoadMode;
}

export type LoadAnswer = { readonly result: LoadResult; readonly ids: IdTally };

/** What arrives in this time is under way at once where the server pauses for so long. */
const pauseSeconds = 0.02;

async function run({ port, request, mode }: LoadJob): Promise<LoadAnswer> {
  const client = createHttpClient(port, { ...request, bytes: Buffer.from(request.bytes) });
  // Who cannot connect is told when it sends.
  if (mode.kind === "open") await client.open(Math.ceil(mode.ratePerSecond * pauseSeconds)).catch(() => {});
  const result = await runLoad(() => client.send(), mode);
  client.close();
  return { result, ids: client.ids };
}

process.on("message", (job: LoadJob) => void run(job).then((answer) => process.send?.(answer)));
