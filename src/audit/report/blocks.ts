import type { Outcome } from "./schema.ts";

export type Block =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "list"; readonly items: readonly string[] }
  | { readonly type: "pictures" }
  | TableBlock;

export interface TableBlock {
  readonly type: "table";
  readonly caption: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export type Cell = string | { readonly text: string; readonly kind: Outcome | "code" | "command" | "words" };

/** A table, unless it would be empty. */
export function table(
  caption: string,
  rows: readonly (readonly Cell[])[],
  head: readonly string[],
): TableBlock[] {
  return rows.length === 0 ? [] : [{ type: "table", caption, head, rows }];
}

export function outcome(verdict: Outcome | null): Cell {
  return verdict === null ? "not judged" : { text: verdict.toUpperCase(), kind: verdict };
}

export const code = (text: string): Cell => ({ text, kind: "code" });
/** Long enough to wrap. */
export const command = (text: string): Cell => ({ text, kind: "command" });
/** A column that may wrap takes room, which a short text does not need. */
export const words = (text: string): Cell => (text.length <= 24 ? text : { text, kind: "words" });
