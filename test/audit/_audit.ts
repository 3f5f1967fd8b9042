import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { auditModel, type AuditOptions } from "../../src/audit/offline/audit.ts";
import { type Report, reportSchema } from "../../src/audit/report/schema.ts";
import { type Families, readFamilies } from "../../src/building/families.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { writeNpz } from "../../src/models/npz.ts";
import { type ScriptedEngine, writeModel } from "../gateway/_gateway.ts";

/** Families whose engines have faults on demand. */
export const scripted: Promise<Families> = readFamilies({
  root: join(import.meta.dirname, "../gateway/package"),
  environment: process.env,
});

export interface ScriptedScene {
  readonly folder: string;
  readonly repository: string;
  readonly inputs: string;
}

/** A model of scripted engines, `a` the reference, with `count` random inputs and the class of each as its label. */
export async function scriptedScene(
  engines: Readonly<Record<string, ScriptedEngine>>,
  { settings = {}, count = 300 }: { settings?: object; count?: number } = {},
): Promise<ScriptedScene> {
  const folder = await mkdtemp(join(tmpdir(), "crosscheck-audit-"));
  await writeModel(folder, "m", engines, { task: "classification", reference: "a", ...settings });
  const random = createRandom(7);
  const values = Float32Array.from({ length: count * 4 }, () => random.next());
  const labels = BigInt64Array.from({ length: count }, (_, i) => {
    const row = values.subarray(i * 4, i * 4 + 4);
    return BigInt(row.indexOf(Math.max(...row)));
  });
  const inputs = join(folder, "inputs.npz");
  await writeNpz(
    inputs,
    new Map([
      ["x", { datatype: "FP32" as const, shape: [count, 4], data: new Uint8Array(values.buffer) }],
      ["labels", { datatype: "INT64" as const, shape: [count], data: new Uint8Array(labels.buffer) }],
    ]),
  );
  return { folder, repository: join(folder, "models"), inputs };
}

/** Runs an audit and holds its report to the schema, as it comes back from JSON. */
export async function audited(
  options: Pick<AuditOptions, "repository" | "model" | "families" | "runs"> & Partial<AuditOptions>,
): Promise<Report> {
  const report = await auditModel({
    engines: undefined,
    inputs: undefined,
    streamsSeconds: 0,
    seed: 1,
    readings: () => [],
    deviceState: () => "ok",
    crosscheckVersion: "test",
    clock: systemClock,
    log: silentLog,
    onProgress: () => {},
    ...options,
  });
  return reportSchema.parse(JSON.parse(JSON.stringify(report)));
}

/** Verdicts of one engine by rule. */
export function verdictsOf(report: Report, engine: string): Record<string, string> {
  const found = report.engines.find(({ id }) => id === engine);
  return Object.fromEntries((found?.verdicts ?? []).map(({ rule, verdict }) => [rule, verdict]));
}

/** Copies the first samples of a labelled set, so that a test need not run them all. */
export async function writeSamples(
  path: string,
  image: { readonly shape: readonly number[]; readonly data: Uint8Array },
  labels: readonly number[],
  count: number,
): Promise<void> {
  const bytes = image.data.byteLength / (image.shape[0] as number);
  await mkdir(join(path, ".."), { recursive: true });
  await writeNpz(
    path,
    new Map([
      [
        "image",
        {
          datatype: "UINT8" as const,
          shape: [count, ...image.shape.slice(1)],
          data: image.data.subarray(0, count * bytes),
        },
      ],
      [
        "labels",
        {
          datatype: "INT64" as const,
          shape: [count],
          data: new Uint8Array(BigInt64Array.from(labels.slice(0, count), BigInt).buffer),
        },
      ],
    ]),
  );
}
