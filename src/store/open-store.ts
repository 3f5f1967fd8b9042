import type { Log } from "../core/log.ts";
import { openFileStore } from "./file-store.ts";
import type { Store } from "./store.ts";

export interface StoreOptions {
  readonly kind: "file" | "redis";
  /** Folder of the local state and of the decision log, whichever kind it is. */
  readonly path: string;
  readonly url?: string | undefined;
}

/** The store that the settings name. */
export function openStore(options: StoreOptions, _log: Log): Promise<Store> {
  return openFileStore(options);
}
