import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { findSpace } from "./redis-space.ts";
import { hashIn } from "./redis-delivery.ts";
import type { StoreOptions } from "./open-store.ts";

/** A decision that something other than the log knows of, so that the log must have it. */
export interface KnownDecision {
  readonly where: string;
  readonly seq: number;
  /** Undefined where only the number is known. */
  readonly hash: string | undefined;
}

const connectMs = 2_000;

/** The newest decisions that the store knows of. It only reads: a gateway may be using the store. */
export async function knownDecisions({ kind, path, url }: StoreOptions): Promise<{
  readonly known: readonly KnownDecision[];
  /** Why Redis could not be asked; undefined when it was, or is not used. */
  readonly unasked: string | undefined;
}> {
  const known = await inState(join(path, "state"));
  if (kind === "file" || url === undefined) return { known, unasked: undefined };
  try {
    return { known: [...known, ...(await inStreams(path, url))], unasked: undefined };
  } catch (error) {
    return { known, unasked: `Redis at ${new URL(url).host} was not asked: ${(error as Error).message}` };
  }
}

/** A model's state names the decision that it comes from; beside the models' lies where the log ends. */
async function inState(directory: string): Promise<KnownDecision[]> {
  const names = await readdir(directory, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  let newest: KnownDecision | undefined;
  for (const name of names) {
    // Deeper lie evidence and the like, which come from no decision.
    if (!/^([^/]+\/)?[^/]+\.json$/.test(name)) continue;
    const where = join(directory, name);
    const text = await readFile(where, "utf8");
    const seq = Number(/"decision":(\d+)/.exec(text)?.[1] ?? 0);
    const hash = /"decisionHash":"([0-9a-f]{64})"/.exec(text)?.[1];
    if (seq > (newest?.seq ?? 0)) newest = { where: `state file "${where}"`, seq, hash };
  }
  return newest ? [newest] : [];
}

/** Of the stream, and of those put aside when a log was begun anew, the last entry. */
async function inStreams(path: string, url: string): Promise<KnownDecision[]> {
  const space = await findSpace(path);
  if (space === undefined) return [];
  const { Redis } = await import("ioredis");
  const redis = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: connectMs,
    commandTimeout: connectMs,
  });
  let failure: Error | undefined;
  redis.on("error", (error) => (failure = error));
  try {
    await redis.connect();
    const known: KnownDecision[] = [];
    for await (const keys of redis.scanStream({ match: `${space}:decisions*`, count: 1000 }))
      for (const key of keys as string[]) {
        const [last] = await redis.xrevrange(key, "+", "-", "COUNT", 1);
        if (!last) continue;
        known.push({
          where: `Redis stream "${key}"`,
          seq: Number(last[0].split("-")[0]),
          hash: hashIn(last[1]),
        });
      }
    return known;
  } catch (error) {
    throw failure ?? error;
  } finally {
    redis.disconnect();
  }
}
