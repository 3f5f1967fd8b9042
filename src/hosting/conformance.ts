import type { Log } from "../core/log.ts";
import { engineChecks } from "./conformance-engine.ts";
import { protocolChecks, type Check } from "./conformance-protocol.ts";
import { startRawHost, type RawEngine, type RawHost } from "./raw-host.ts";

export interface ConformanceOptions {
  readonly workingDirectory: string;
  /** The whole environment of the host. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly threads: number;
  readonly log: Log;
  /** An engine that the host can load; without one only the frames are tested. */
  readonly engine?: RawEngine | undefined;
  /** For one answer, loading included. Default 60. */
  readonly timeoutSeconds?: number;
}

export interface ConformanceReport {
  readonly checks: readonly ConformanceCheck[];
}

export interface ConformanceCheck {
  readonly name: string;
  readonly passed: boolean;
  /** What went wrong; empty when it passed. */
  readonly detail: string;
}

/** Tells whether a host program keeps to docs/engine-host.md. Never throws for what the program does. */
export async function runConformance(
  command: readonly string[],
  options: ConformanceOptions,
): Promise<ConformanceReport> {
  const { engine, timeoutSeconds = 60, threads } = options;
  const checks: ConformanceCheck[] = [];
  const named: Record<string, Check> = {
    ...protocolChecks,
    ...(engine === undefined ? {} : engineChecks(engine, threads)),
  };
  for (const [name, check] of Object.entries(named)) {
    const started: RawHost[] = [];
    const start = async (): Promise<RawHost> => {
      const host = await startRawHost({ ...options, command, priority: "serving" }, engine, timeoutSeconds);
      started.push(host);
      return host;
    };
    let detail = "";
    try {
      await check(start);
    } catch (error) {
      detail = error instanceof Error ? error.message : String(error);
    }
    await Promise.all(started.map((host) => host.kill()));
    checks.push({ name, passed: detail === "", detail });
  }
  return { checks };
}
