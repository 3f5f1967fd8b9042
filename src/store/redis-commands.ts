import { readFile } from "node:fs/promises";
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Log } from "../core/log.ts";
import { checkValue } from "../core/yaml-file.ts";
import { replaceFile } from "./replace-file.ts";
import type { StoreCommand } from "./store.ts";
import { triedAgain, type Troubles } from "./troubles.ts";

/** A command older than this when it is read is not carried out: who gave it no longer expects it. */
const mostAgeMs = 3_600_000;
const blockMs = 1000;
const pauseMs = 200;

const commandSchema = z.object({
  type: z.enum(["switch", "rollback"]),
  model: z.string(),
  engine: z.string().optional(),
  reason: z.string().min(1),
  actor: z.string().default("redis"),
});

/**
 * Takes commands from the stream, one after another, from where the last gateway stopped: those given while none ran are
 * not lost. Each at most once: its id is on disk before it is carried out. Returns how to stop.
 */
export function readCommands(options: {
  /** A connection of its own, since it waits for the next command. */
  readonly redis: Redis;
  readonly stream: string;
  readonly cursorFile: string;
  readonly handler: (command: StoreCommand) => Promise<unknown>;
  readonly ready: () => boolean;
  readonly troubles: Troubles;
  readonly log: Log;
}): () => Promise<void> {
  const { redis, stream, cursorFile, handler, ready, troubles, log } = options;
  const state = { stopped: false };
  let after: string | undefined;

  async function advance(id: string): Promise<void> {
    await replaceFile(cursorFile, id);
    after = id;
  }

  async function begin(): Promise<void> {
    const stored = await readFile(cursorFile, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (stored !== undefined && /^\d+-\d+$/.test(stored)) after = stored;
    // A device that took over an id from another: what that one has done is not known, so only what comes from now on.
    else await advance((await redis.xrevrange(stream, "+", "-", "COUNT", 1))[0]?.[0] ?? "0-0");
  }

  async function take(): Promise<void> {
    if (after === undefined) await begin();
    const reply = await redis.xread("COUNT", 10, "BLOCK", blockMs, "STREAMS", stream, after ?? "0-0");
    const entries = reply?.[0]?.[1] ?? [];
    if (entries.length === 0) return;
    // Ids are times of Redis's clock, as its age must be: a device's own may be off by years.
    const nowMs = Number((await redis.time())[0]) * 1000;
    for (const [id, fields] of entries) {
      if (state.stopped || !ready()) return;
      await advance(id);
      await carryOut(id, fields, nowMs);
    }
  }

  function understood(id: string, fields: readonly string[]): z.output<typeof commandSchema> | undefined {
    try {
      return checkValue(Object.fromEntries(pairs(fields)), commandSchema, `command ${id}`);
    } catch (error) {
      log.warn({ id, reason: (error as Error).message }, "a command in Redis is not understood");
      return undefined;
    }
  }

  async function carryOut(id: string, fields: readonly string[], nowMs: number): Promise<void> {
    const command = understood(id, fields);
    if (!command) return;
    const ageSeconds = Math.round((nowMs - Number(id.split("-")[0])) / 1000);
    if (ageSeconds * 1000 > mostAgeMs)
      return log.warn({ id, ageSeconds, command }, "a command in Redis is too old, so it is dropped");
    await handler({ id, ...command, engine: command.engine }).catch((error: unknown) =>
      log.error({ id, err: error }, "a command from Redis failed"),
    );
  }

  async function run(): Promise<void> {
    while (!state.stopped) {
      const able = redis.status === "ready" && ready();
      try {
        if (able) await take();
        else await pause();
        if (able) troubles.clear("commands");
      } catch (error) {
        // That Redis is away the other connection tells.
        if (!state.stopped && redis.status === "ready")
          troubles.set(
            "commands",
            `commands are not taken from Redis: ${(error as Error).message}; ${triedAgain}`,
          );
        await pause();
      }
    }
  }

  const finished = run();
  return async () => {
    state.stopped = true;
    redis.disconnect();
    await finished;
  };
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pauseMs).unref());
}

function pairs(fields: readonly string[]): [string, string][] {
  return fields.flatMap((field, at) =>
    at % 2 === 0 ? [[field, fields[at + 1] ?? ""] as [string, string]] : [],
  );
}
