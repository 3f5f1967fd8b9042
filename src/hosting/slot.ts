import type { EngineInfo } from "../core/engine.ts";
import { encodeInferPayload, type TensorDescriptor } from "./descriptor.ts";
import { encodeFrame, frameType } from "./frame.ts";
import type { Job } from "./job.ts";
import { layOut, type SlotLayout } from "./slot-layout.ts";

/** One of an instance's two places for a request: the next one is written into one while the other one runs. */
export interface Slot {
  readonly index: number;
  job: Job | undefined;
  /** Layout and frame of the request; kept while requests of the same shapes follow one another. */
  layout: SlotLayout | undefined;
  frame: Buffer | undefined;
  base: number;
  /** Of the last layout, to see whether it still holds. */
  outputs: readonly number[];
  space: readonly number[];
}

export function createSlot(index: number): Slot {
  return { index, job: undefined, layout: undefined, frame: undefined, base: 0, outputs: [], space: [] };
}

/** Brings the slot's layout in line with the job's shapes; a static engine's is made once. */
export function arrange(
  slot: Slot,
  info: EngineInfo,
  job: Pick<Job, "inputs" | "outputs">,
  space: readonly number[],
): SlotLayout {
  if (slot.layout !== undefined && isSame(slot, slot.layout, job, space)) return slot.layout;
  slot.layout = layOut(
    info,
    job.inputs.map(({ shape }) => shape),
    job.outputs,
    space,
  );
  slot.outputs = job.outputs;
  slot.space = space;
  slot.frame = undefined;
  return slot.layout;
}

function isSame(
  slot: Slot,
  layout: SlotLayout,
  job: Pick<Job, "inputs" | "outputs">,
  space: readonly number[],
): boolean {
  // The list of spaces is replaced, never changed.
  if (slot.space !== space || !sameNumbers(slot.outputs, job.outputs)) return false;
  for (let index = 0; index < layout.inputs.length; index += 1) {
    const have = (layout.inputs[index] as TensorDescriptor).shape;
    if (!sameNumbers(have, job.inputs[index]?.shape ?? [])) return false;
  }
  return true;
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
}

/** The INFER frame for a slot that begins at `base` of the shared file. */
export function frameOf(slot: Slot, layout: SlotLayout, base: number, generation: number): Buffer {
  if (slot.frame !== undefined && slot.base === base) return slot.frame;
  const shift = (list: readonly TensorDescriptor[]) =>
    list.map((descriptor) => ({ ...descriptor, offset: base + descriptor.offset }));
  slot.base = base;
  slot.frame = encodeFrame(
    { type: frameType.infer, generation, slot: slot.index, sequence: 0 },
    encodeInferPayload({ inputs: shift(layout.inputs), outputs: shift(layout.outputs) }),
  );
  return slot.frame;
}
