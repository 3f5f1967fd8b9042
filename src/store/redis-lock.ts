import type { Redis } from "ioredis";

/** A lease in Redis: who holds it may write. Lost when it was not renewed in time, or another took it. */
export interface RedisLock {
  readonly held: boolean;
  /** Takes or renews it; returns who holds it now. One left by a killed process of this owner is taken over. */
  take(): Promise<string>;
  /** The connection went: nothing is known until it is taken again. */
  forget(): void;
  /** Gives it back, if it is this owner's. */
  release(): Promise<void>;
}

const takeScript = `
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
if holder then redis.call("PEXPIRE", KEYS[1], ARGV[2]) else redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2]) end
return ARGV[1]`;

const releaseScript = `
if redis.call("GET", KEYS[1]) == ARGV[1] then redis.call("DEL", KEYS[1]) end`;

export function createRedisLock(options: {
  readonly redis: Redis;
  readonly key: string;
  readonly owner: string;
  readonly leaseMs: number;
}): RedisLock {
  const { redis, key, owner, leaseMs } = options;
  let heldUntilMs = 0;
  return {
    get held() {
      return performance.now() < heldUntilMs;
    },
    async take() {
      const beganMs = performance.now();
      const holder = String(await redis.eval(takeScript, 1, key, owner, leaseMs));
      heldUntilMs = holder === owner ? beganMs + leaseMs : 0;
      return holder;
    },
    forget() {
      heldUntilMs = 0;
    },
    async release() {
      heldUntilMs = 0;
      await redis.eval(releaseScript, 1, key, owner);
    },
  };
}
