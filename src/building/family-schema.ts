import { z } from "zod";

/** `engines/<family>/family.yaml`, as engines/README.md describes it. */
const nameSchema = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, "must be lower-case letters, digits and '-'");
const commandSchema = z.array(z.string().min(1)).min(1);
const pythonSchema = z.strictObject({
  setting: z.string().regex(/^CROSSCHECK_[A-Z0-9_]+$/, "must begin with CROSSCHECK_"),
  default: z.string().min(1),
});

const common = { description: z.string(), default: z.union([z.number(), z.boolean(), z.string()]).nullish() };
const optionSchema = z.discriminatedUnion("type", [
  z.strictObject({ ...common, type: z.literal("integer"), min: z.int().optional(), max: z.int().optional() }),
  z.strictObject({
    ...common,
    type: z.literal("number"),
    min: z.number().optional(),
    max: z.number().optional(),
  }),
  z.strictObject({ ...common, type: z.literal("boolean") }),
  z.strictObject({ ...common, type: z.literal("string"), values: z.array(z.string()).min(1).optional() }),
]);

/** What a compiler may say for itself and takes from its family otherwise. */
const commands = {
  python: pythonSchema.optional(),
  setup: commandSchema.optional(),
  probe: commandSchema.optional(),
  compile: commandSchema.optional(),
  host: commandSchema.optional(),
  /** Module whose `load` the host serves, for models with `isolation: inline`. */
  inline: z.string().min(1).optional(),
  env: z.record(z.string(), z.string()).default({}),
};

const compilerSchema = z.strictObject({
  description: z.string().default(""),
  precisions: z.array(nameSchema).min(1).default(["fp32"]),
  /** Precisions that are built from calibration inputs. */
  calibrated: z.array(nameSchema).default(["int8"]),
  options: z.record(z.string().regex(/^[A-Za-z][A-Za-z0-9]*$/, "must be one word"), optionSchema).default({}),
  ...commands,
});

export const familySchema = z.strictObject({
  family: nameSchema,
  description: z.string(),
  compilers: z.record(nameSchema, compilerSchema),
  ...commands,
});

export type FamilyFile = z.output<typeof familySchema>;
export type CompilerEntry = z.output<typeof compilerSchema>;
export type OptionDeclaration = z.output<typeof optionSchema>;
