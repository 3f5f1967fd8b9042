import type { Clock } from "../core/clock.ts";
import type { EngineInfo, Runner } from "../core/engine.ts";
import { elementBytes, elementCount, typedView, type Tensor, type TensorSpec } from "../core/tensor.ts";

const leastRuns = 10;
const mostRuns = 200;
const mostSeconds = 3;
const window = 5;
/** Two windows whose medians differ by less than this are the same speed. */
const settledWithin = 0.1;

/**
 * Runs the engine on generated inputs until its latency settles: the medians of two windows of runs in a row are within
 * 10 %, or 200 runs or 3 s have gone by. First runs are slow everywhere (lazy allocation, code paging, clocks).
 */
export async function warmUp(
  engine: Runner,
  info: EngineInfo,
  clock: Clock,
): Promise<{ firstSeconds: number; runs: number }> {
  const inputs = info.inputs.map(generatedInput);
  const started = clock.seconds();
  const seconds: number[] = [];
  let firstSeconds = 0;
  while (seconds.length < mostRuns && clock.seconds() - started < mostSeconds) {
    const result = await engine.infer({ inputs });
    if (seconds.length === 0) firstSeconds = clock.seconds() - started;
    seconds.push(result.engineSeconds);
    if (seconds.length >= leastRuns && settled(seconds)) break;
  }
  return { firstSeconds, runs: seconds.length };
}

const primingRuns = 3;

/**
 * A few runs of an engine that has been idle, so that the requests it is about to get meet warm caches and clocks. On
 * zeros, which cost the event loop nothing to make. An engine that fails on them is left to show it on real inputs.
 */
export async function prime(engine: Runner, info: EngineInfo): Promise<void> {
  const inputs = info.inputs.map(emptyInput);
  for (let run = 0; run < primingRuns; run += 1) {
    const failed = await engine.infer({ inputs }).catch(() => true);
    if (failed === true) return;
  }
}

function settled(seconds: readonly number[]): boolean {
  const now = median(seconds.slice(-window));
  const before = median(seconds.slice(-2 * window, -window));
  return Math.abs(now - before) <= settledWithin * before;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** A plausible input: a fixed pattern in 0..1 for floats, zeros and ones otherwise. */
export function generatedInput(spec: TensorSpec): Tensor {
  const tensor = emptyInput(spec);
  const view = typedView(spec.datatype, tensor.data);
  if (view instanceof Float32Array || view instanceof Float64Array)
    for (let i = 0; i < view.length; i++) view[i] = ((i * 2654435761) % 1024) / 1024;
  else if (spec.datatype === "BOOL" || spec.datatype === "UINT8")
    for (let i = 0; i < view.length; i++) view[i] = i & 1;
  return tensor;
}

/** Zeros; dynamic dimensions at their least. */
function emptyInput({ name, datatype, shape: dimensions, bounds }: TensorSpec): Tensor {
  const shape = dimensions.map((size, axis) => (size >= 0 ? size : Math.max(1, bounds?.[axis]?.[0] ?? 1)));
  return { name, datatype, shape, data: new Uint8Array(elementCount(shape) * elementBytes(datatype)) };
}
