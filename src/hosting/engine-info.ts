import { z } from "zod";
import type { EngineInfo } from "../core/engine.ts";
import { datatypes } from "../core/tensor.ts";
import { rankLimit } from "./descriptor.ts";

const dimension = z.int().min(-1).max(Number.MAX_SAFE_INTEGER);
const tensor = z
  .object({
    name: z.string().min(1),
    datatype: z.enum(datatypes as readonly [(typeof datatypes)[number]]),
    shape: z.array(dimension).max(rankLimit),
    bounds: z.array(z.tuple([dimension.min(0), dimension.min(0)])).optional(),
  })
  .refine(({ shape, bounds }) => bounds === undefined || bounds.length === shape.length, {
    error: "bounds must have one entry per dimension",
  });
const tensors = z
  .array(tensor)
  .max(0xffff)
  .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, {
    error: "names must differ",
  });

const engineInfo = z.object({
  runtime: z.object({ name: z.string(), version: z.string() }),
  device: z.object({ kind: z.string(), name: z.string(), mps: z.boolean().optional() }),
  inputs: tensors,
  outputs: tensors.min(1),
});

/** LOAD's answer. @throws Error that says what is wrong with it */
export function parseEngineInfo(payload: Buffer): EngineInfo {
  const parsed = engineInfo.safeParse(JSON.parse(payload.toString()));
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error), { cause: parsed.error });
  return parsed.data;
}
