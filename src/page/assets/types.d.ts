/** What the server-sent events carry (src/live-events.ts, src/services.ts), as far as the page reads it. */
export interface Summary {
  readonly count: number;
  /** By percentile: 50, 90, 95, 99, 99.9, 100; seconds. */
  readonly percentiles: Readonly<Record<string, number>>;
  /** By percentile: 0, 1, 5, 10, 25, 75; seconds. */
  readonly spread: Readonly<Record<string, number>>;
  readonly jitter: { readonly pdv: number; readonly ipdv: number; readonly iqr: number };
}

export interface Divergence {
  readonly output: string;
  readonly metric: string;
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
}

export type LatencyRole = "active" | "control" | "shadow";

export interface Engine {
  readonly id: string;
  state: string;
  reason: string | null;
  role: string;
  readonly compiler: string;
  readonly precision: string;
  readonly artifactSha256: string;
  readonly share?: number;
  readonly residentBytes?: number;
  readonly latency?: Partial<Record<LatencyRole, Summary>>;
  readonly counts?: {
    readonly comparisons: number;
    readonly undecided: number;
    readonly flips: number;
    readonly bitEqual: number;
  } | null;
  readonly undecidedReason?: string | null;
  readonly divergence?: readonly Divergence[];
}

export interface Model {
  readonly model: string;
  active: string;
  reference: string | null;
  state: string;
  reason: string | null;
  readonly deadlineMs: number | null;
  readonly policy: string;
  readonly limits: readonly { output: string; abs: number; rel: number; cosine?: number }[];
  readonly queueLength: number;
  readonly requests: { readonly succeeded: number; readonly failed: number };
  engines: Engine[];
}

export interface Verdict {
  readonly rule: string;
  readonly verdict: "pass" | "fail" | "inconclusive";
  readonly value: number | null;
  readonly threshold: number;
  readonly lower: number | null;
  readonly upper: number | null;
  readonly have: number;
  readonly need: number | null;
  readonly alpha: number;
  readonly unit: string;
  readonly source: string;
  readonly scope: string;
  readonly reason: string;
}

export interface Audit {
  readonly model: string;
  readonly candidates: readonly { engine: string; state: string; verdicts: readonly Verdict[] }[];
}

export interface Decision {
  readonly seq: number;
  readonly time: string;
  readonly type: string;
  readonly model: string | null;
  readonly from: string | null;
  readonly to: string | null;
  readonly trigger: string;
  readonly actor: string;
  readonly reason: string;
  readonly hash: string;
}

export interface Device {
  readonly device: string;
  readonly uuid: string;
  readonly name: string;
  readonly driver: string;
  readonly powerMode?: string;
  readonly utilizationRatio?: number;
  readonly memoryUsedBytes?: number;
  readonly memoryTotalBytes?: number;
  readonly powerWatts?: number;
  readonly temperatureCelsius?: number;
  readonly clocksHertz: Readonly<Record<string, number>>;
  readonly throttleReasons: Readonly<Record<string, boolean>>;
  readonly throttled: boolean;
}

export interface Board {
  readonly cpuPressureRatio?: number;
  readonly cpuThrottledRatio?: number;
  readonly cpuFrequencyRatio?: number;
  readonly temperatureCelsius?: number;
  readonly starved: boolean;
}

export interface Metrics {
  readonly time: string;
  readonly models: Model[];
  readonly devices: readonly Device[];
  readonly board: Board;
  readonly lastDecision: number;
  /** What is wrong with the gateway's store; null when all is well. */
  readonly storeTrouble: string | null;
}

/** One second of one model, kept for the charts. */
export interface Point {
  /** Unix seconds. */
  readonly time: number;
  /** By series, `engine/role`: percentile to seconds. */
  readonly latency: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** By engine, then `metric/output`: the p99 of the window. */
  readonly divergence: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly succeeded: number;
  readonly failed: number;
}

export interface Series {
  readonly label: string;
  readonly color: string;
  readonly dash?: readonly number[];
  readonly width: number;
}
