import { type Cell, code, table, type TableBlock, words } from "./blocks.ts";
import { percent, plain, share } from "./figures.ts";
import type { Report, ReportPair } from "./schema.ts";

/** A wider matrix than this is no picture any more; the list of pairs says the same. */
const widestMatrix = 12;

export function outputTables({ pairs, engines, model }: Report): TableBlock[] {
  const ids = engines.map(({ id }) => id).filter((id) => pairs.some((pair) => has(pair, id)));
  const against = pairs.filter(({ reference }) => reference === model.reference);
  const details = (against.length > 0 ? against : pairs).map((pair): Cell[] => [
    code(pair.reference),
    code(pair.candidate),
    String(pair.samples),
    share(pair.flips, pair.decided),
    percent(pair.flipUpperBoundRatio),
    percent(pair.samples === 0 ? null : pair.bitEqual / pair.samples),
    String(pair.diverged + pair.invalid),
    plain(pair.maxAbs),
    plain(pair.ulpP99),
    pair.minCosine === null ? "-" : pair.minCosine.toFixed(6),
    plain(pair.maxJsNats),
    pair.flipExposed === null ? "-" : share(pair.flipExposed, pair.samples),
  ]);
  const reasons = against.flatMap((pair): Cell[][] =>
    pair.reason === null ? [] : [[code(pair.candidate), words(pair.reason)]],
  );
  const unread = against.flatMap((pair): Cell[][] =>
    pair.undecidedReason === null
      ? []
      : [
          [
            code(pair.candidate),
            share(pair.samples - pair.decided, pair.samples),
            words(pair.undecidedReason),
          ],
        ],
  );
  const matrix = (caption: string, cell: (pair: ReportPair) => string): TableBlock[] =>
    ids.length < 3 || ids.length > widestMatrix
      ? []
      : table(
          caption,
          ids.map((row) => [
            code(row),
            ...ids.map((column) => {
              const pair = pairs.find((one) => row !== column && has(one, row) && has(one, column));
              return row === column ? "=" : pair === undefined ? "" : cell(pair);
            }),
          ]),
          ["", ...ids],
        );
  return [
    ...table("Against the reference", details, [
      "reference",
      "candidate",
      "inputs",
      "flips",
      "at most (95 %)",
      "bit-equal",
      "outside tolerance",
      "max abs",
      "ULP p99",
      "cosine",
      "JS (nats)",
      "flip-exposed",
    ]),
    ...decisionTables(against.length > 0 ? against : pairs),
    ...table("Decisions that could not be read", unread, ["candidate", "inputs", "why"]),
    ...table("First input outside the tolerance", reasons, ["candidate", "what"]),
    ...matrix("Flips, every two engines", ({ flips, decided }) => share(flips, decided)),
    ...matrix("Bit-equal inputs, every two engines", ({ bitEqual, samples }) =>
      percent(samples === 0 ? null : bitEqual / samples),
    ),
    ...matrix("Largest difference, every two engines", ({ maxAbs }) => plain(maxAbs)),
  ];
}

/** What a flip of detections or pixels is made of. */
function decisionTables(pairs: readonly ReportPair[]): TableBlock[] {
  const detections = pairs.flatMap(({ reference, candidate, detection: one }): Cell[][] =>
    one === null
      ? []
      : [
          [
            code(reference),
            code(candidate),
            String(one.reference),
            String(one.candidate),
            String(one.matched),
            String(one.changed),
            String(one.classFlips),
            plain(one.maxScoreDifference),
            plain(one.minIouRatio),
          ],
        ],
  );
  const segments = pairs.flatMap(({ reference, candidate, segmentation: one }): Cell[][] =>
    one === null
      ? []
      : [
          [
            code(reference),
            code(candidate),
            share(one.flips, one.pixels),
            percent(one.pixels === 0 ? null : one.flips / one.pixels),
            percent(one.worstInputFlipRatio),
          ],
        ],
  );
  return [
    ...table("Detections", detections, [
      "reference",
      "candidate",
      "the reference's",
      "the candidate's",
      "matched",
      "without a partner",
      "other class in place",
      "largest score difference",
      "smallest IoU",
    ]),
    ...table("Pixels", segments, ["reference", "candidate", "changed", "share", "worst input"]),
  ];
}

export function worstInputTable({ worstInputs }: Report): TableBlock[] {
  return table(
    "At most 20, changed decisions first",
    worstInputs.map((row) => [
      code(row.input),
      row.set,
      plain(row.label),
      code(row.engine),
      row.flip ? "yes" : "no",
      row.result.replace("_", "-"),
      plain(row.maxAbs),
      row.cosine === null ? "-" : row.cosine.toFixed(6),
      plain(row.margin),
    ]),
    ["input", "set", "label", "engine", "flip", "result", "max abs", "cosine", "margin"],
  );
}

function has({ reference, candidate }: ReportPair, id: string): boolean {
  return reference === id || candidate === id;
}
