import { createEvidence, type Evidence, type EvidenceEvent } from "../../src/audit/evidence.ts";
import type { Random } from "../../src/compare/statistics/random.ts";

/** Ten requests a block: 10 a second at the default blockMs. */
export const perBlock = 10;

export function freshEvidence(seed = 1, deadlineSeconds?: number): Evidence {
  return createEvidence({
    key: { model: "m", engine: "e", referenceDigest: "r", engineDigest: "e" },
    seed,
    deadlineSeconds,
  });
}

export function pair(
  request: number,
  controlSeconds: number,
  candidateSeconds: number,
  change: Partial<Extract<EvidenceEvent, { type: "pair" }>> = {},
): EvidenceEvent {
  return {
    type: "pair",
    blockId: Math.floor(request / perBlock),
    controlSeconds,
    candidateSeconds,
    order: request % 2 === 0 ? "controlFirst" : "candidateFirst",
    timeValid: true,
    phase: "steady",
    ...change,
  };
}

/** How values follow each other: each generator is one engine's or one input stream's. */
export type Dependence = "independent" | "autocorrelated" | "bursty";
export const dependences: readonly Dependence[] = ["independent", "autocorrelated", "bursty"];

/** Latencies in seconds around 1 ms; bursts are ten runs at five times the time, 1 % of all runs. */
export function latencies(dependence: Dependence, random: Random): () => number {
  const noise = () => normal(random);
  if (dependence === "independent") return () => 1e-3 * Math.exp(0.2 * noise());
  if (dependence === "autocorrelated") {
    let state = noise();
    return () => {
      state = 0.9 * state + Math.sqrt(1 - 0.81) * noise();
      return 1e-3 * Math.exp(0.2 * state);
    };
  }
  const slow = events("bursty", 0.01, random);
  return () => 1e-3 * Math.exp(0.1 * noise()) * (slow() ? 5 : 1);
}

/** Events with the given long-run rate: independent, from a thresholded AR(1) of 0.9, or in bursts of ten. */
export function events(dependence: Dependence, rate: number, random: Random): () => boolean {
  if (dependence === "independent") return () => random.next() < rate;
  if (dependence === "autocorrelated") {
    let state = normal(random);
    // The level that a standard normal exceeds with probability 0.01 and 0.001: the rates used here.
    const level = rate === 0.01 ? 2.3263478740408408 : 3.090232306167813;
    return () => {
      state = 0.9 * state + Math.sqrt(1 - 0.81) * normal(random);
      return state > level;
    };
  }
  let left = 0;
  return () => {
    // A burst begins with probability q when none is on: its share of time is then 10 q / (1 + 9 q) = rate.
    if (left === 0 && random.next() < rate / (10 - 9 * rate)) left = 10;
    if (left === 0) return false;
    left -= 1;
    return true;
  };
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}
