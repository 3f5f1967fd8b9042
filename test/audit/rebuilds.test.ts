import { expect, it } from "vitest";
import { rebuilds } from "../../src/audit/offline/rebuilds.ts";
import type { ReportPair } from "../../src/audit/report/schema.ts";
import type { LotteryEngine } from "../../src/building/lottery.ts";

function built(
  id: string,
  made: { artifact: string; log?: string; replay?: string; trials?: number },
): LotteryEngine {
  const { artifact, log, replay, trials = 64 } = made;
  return {
    id,
    directory: "",
    manifest: {
      id,
      compiler: { name: "c", version: "1" },
      precision: "fp32",
      options: replay === undefined ? { trials } : {},
      source: { sha256: "model" },
      artifact: { sha256: artifact },
      tuningLog: log === undefined ? null : { sha256: log },
      timingCache: null,
      fingerprint: `functions of ${artifact}`,
      notes: replay === undefined ? {} : { replaySha256: replay },
    },
  } as unknown as LotteryEngine;
}

const pair = (reference: string, candidate: string, bitEqual: number) =>
  ({ reference, candidate, samples: 10, bitEqual }) as unknown as ReportPair;

it("holds builds with the same settings against the first, and replays against the engine that left the log", () => {
  const engines = [
    built("c-1", { artifact: "x", log: "log 1" }),
    built("c-2", { artifact: "y", log: "log 2" }),
    built("c-3", { artifact: "y", log: "log 2", replay: "log 2" }),
    built("c-4", { artifact: "z", log: "log 9", trials: 8 }),
  ];
  const found = rebuilds(engines, [pair("c-1", "c-2", 4), pair("c-2", "c-3", 10)]);
  expect(found).toEqual([
    {
      how: "sameSettings",
      engine: "c-1",
      again: "c-2",
      fingerprintEqual: false,
      artifactEqual: false,
      logEqual: false,
      samples: 10,
      bitEqual: 4,
    },
    {
      how: "replay",
      engine: "c-2",
      again: "c-3",
      fingerprintEqual: true,
      artifactEqual: true,
      logEqual: true,
      samples: 10,
      bitEqual: 10,
    },
  ]);
});

it("holds replays of a log that nobody here left against the first of them", () => {
  const engines = [
    built("c-1", { artifact: "x", log: "l", replay: "lost" }),
    built("c-2", { artifact: "x", replay: "lost" }),
  ];
  expect(rebuilds(engines, [])).toMatchObject([
    { how: "replay", engine: "c-1", again: "c-2", artifactEqual: true, logEqual: null, samples: 0 },
  ]);
});
