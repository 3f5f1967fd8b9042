import type { LotteryEngine } from "../../building/lottery.ts";
import { lotteryGroups } from "../../building/lottery-groups.ts";
import type { Report, ReportPair } from "../report/schema.ts";

type Rebuild = Report["rebuilds"][number];

/**
 * Did building again make the same engine? Builds with the same settings are held against the first of them, replays of a
 * log against the engine that left it. Nothing is built for this.
 */
export function rebuilds(engines: readonly LotteryEngine[], pairs: readonly ReportPair[]): Rebuild[] {
  return lotteryGroups(engines).flatMap((group) => {
    const [first] = group as readonly [LotteryEngine];
    const log = replayed(first);
    const original = log === undefined ? first : (engines.find((one) => leftLog(one, log)) ?? first);
    return group
      .filter((again) => again !== original)
      .map((again) => ({
        how: log === undefined ? ("sameSettings" as const) : ("replay" as const),
        engine: original.id,
        again: again.id,
        fingerprintEqual: original.manifest.fingerprint === again.manifest.fingerprint,
        artifactEqual: original.manifest.artifact.sha256 === again.manifest.artifact.sha256,
        logEqual: sameLog(original, again),
        ...outputsOf(original.id, again.id, pairs),
      }));
  });
}

function replayed({ manifest }: LotteryEngine): unknown {
  return manifest.notes?.["replaySha256"];
}

function leftLog(engine: LotteryEngine, sha256: unknown): boolean {
  return replayed(engine) === undefined && logOf(engine) === sha256;
}

function logOf({ manifest: { tuningLog, timingCache } }: LotteryEngine): string | undefined {
  return (tuningLog ?? timingCache)?.sha256;
}

function sameLog(a: LotteryEngine, b: LotteryEngine): boolean | null {
  const [ours, theirs] = [logOf(a), logOf(b)];
  return ours === undefined || theirs === undefined ? null : ours === theirs;
}

function outputsOf(
  a: string,
  b: string,
  pairs: readonly ReportPair[],
): Pick<Rebuild, "samples" | "bitEqual"> {
  const pair = pairs.find(
    ({ reference, candidate }) =>
      (reference === a && candidate === b) || (reference === b && candidate === a),
  );
  return { samples: pair?.samples ?? 0, bitEqual: pair?.bitEqual ?? 0 };
}
