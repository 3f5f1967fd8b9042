import type { Log } from "../core/log.ts";
import { openFileStore } from "./file-store.ts";
import type { Store } from "./store.ts";

export interface StoreOptions {
  readonly kind: "file" | "redis";
  /** Folder of the local state and of the decision log, whichever kind it is. */
  readonly path: string;
  readonly url?: string | undefined;
}

/** The store that the settings name; ioredis is loaded only when it is wanted. */
export async function openStore({ kind, path, url }: StoreOptions, log: Log): Promise<Store> {
  if (kind === "file" || url === undefined) return openFileStore({ path });
  const { openRedisStore } = await import("./redis-store.ts");
  return openRedisStore({ url, path, log });
}
