import { readFileSync } from "node:fs";

/** A compile program's end of the contract in engines/README.md. */
export interface Job {
  readonly model: { readonly name: string; readonly file: string; readonly sha256: string };
  readonly precision: string;
  readonly threads: number;
  readonly options: {
    readonly graphOptimizationLevel: OptimizationLevel;
    readonly executionProvider: ExecutionProvider;
    readonly calibrationMethod: "minmax" | "entropy" | "percentile";
    readonly perChannel: boolean;
    readonly reduceRange: boolean;
  };
  readonly replay: string | null;
  readonly calibration: string | null;
  readonly workDirectory: string;
  readonly outDirectory: string;
}

export type OptimizationLevel = "disabled" | "basic" | "extended" | "layout" | "all";
export type ExecutionProvider = "cpu" | "cuda" | "tensorrt";

/** Why a model cannot be compiled, and what would help. */
export class CompileError extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string) {
    super(message);
    this.name = "CompileError";
    this.remedy = remedy;
  }
}

/** Runs `compile` on the job from standard input and writes its one result or error. */
export async function runJob(compile: (job: Job) => Promise<object>): Promise<void> {
  process.on("SIGINT", () => process.exit(130));
  try {
    // The gateway's own code wrote it, checked against family.yaml.
    const job = JSON.parse(readFileSync(0, "utf8")) as Job;
    emit({ type: "result", ...(await compile(job)) });
  } catch (error) {
    const remedy = error instanceof CompileError ? error.remedy : "the build's log has the details";
    if (!(error instanceof CompileError)) console.error(error);
    emit({ type: "error", error: (error as Error).message, remedy });
    process.exitCode = 1;
  }
}

export function progress(phase: string, message: string): void {
  emit({ type: "progress", phase, message });
}

function emit(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}
