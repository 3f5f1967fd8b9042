import type { Difference } from "../../compare/difference.ts";
import type { Report } from "../report/schema.ts";
import type { AuditInput } from "./inputs.ts";

type WorstInput = Report["worstInputs"][number];

/** The inputs on which engines differ most from the reference: changed decisions first, then the largest difference. */
export interface WorstInputs {
  add(input: AuditInput, engine: string, difference: Difference): void;
  list(): WorstInput[];
}

const kept = 20;

export function createWorstInputs(): WorstInputs {
  let rows: WorstInput[] = [];
  return {
    add(input, engine, difference) {
      const { result, flip, outputs, classification } = difference;
      if (result === "bit_equal") return;
      rows.push({
        input: input.id,
        set: input.set,
        label: input.label,
        engine,
        flip: flip === true,
        result,
        maxAbs: outputs.length === 0 ? null : Math.max(...outputs.map(({ abs }) => abs.max)),
        cosine: outputs.length === 0 ? null : Math.min(...outputs.map(({ cosine }) => cosine)),
        margin:
          classification !== undefined && Number.isFinite(classification.margin)
            ? classification.margin
            : null,
      });
      if (rows.length > 50 * kept) rows = best(rows);
    },
    list: () => best(rows),
  };
}

function best(rows: readonly WorstInput[]): WorstInput[] {
  return rows.toSorted((a, b) => rank(b) - rank(a) || (b.maxAbs ?? 0) - (a.maxAbs ?? 0)).slice(0, kept);
}

function rank({ flip, result }: WorstInput): number {
  return (result === "invalid" ? 2 : 0) + (flip ? 1 : 0);
}
