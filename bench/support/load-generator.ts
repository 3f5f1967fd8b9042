/** The load generator's process: runs one load after another as the bench tells it. */
import { createHttpClient, type IdTally, type PreparedRequest } from "./http-client.ts";
import { type LoadMode, type LoadResult, runLoad } from "./load.ts";

export interface LoadJob {
  readonly port: number;
  readonly request: PreparedRequest;
  readonly mode: LoadMode;
}

export type LoadAnswer = { readonly result: LoadResult; readonly ids: IdTally };

process.on("message", ({ port, request, mode }: LoadJob) => {
  const client = createHttpClient(port, { ...request, bytes: Buffer.from(request.bytes) });
  void runLoad(() => client.send(), mode).then((result) => {
    client.close();
    process.send?.({ result, ids: client.ids } satisfies LoadAnswer);
  });
});
