import { elementCount, type Tensor } from "../core/tensor.ts";
import { BestScores } from "./best-scores.ts";
import type { DetectionDifference } from "./difference.ts";
import { numbers } from "./elements.ts";
import type { DetectionOptions } from "./options.ts";

/**
 * Decodes both sides (score threshold, non-maximum suppression per class) and matches their detections greedily, the
 * reference's best score first, by class and IoU. Scores [N, A, C], boxes [N, A, 4]; coordinates in any unit. Both sides
 * have the same outputs.
 *
 * @returns why there is nothing to compare, with the remedy, when no outputs have these names and shapes.
 */
export function compareDetections(
  reference: readonly Tensor[],
  candidate: readonly Tensor[],
  options: DetectionOptions,
): DetectionDifference | string {
  const layout = layoutOf(reference, options);
  if (typeof layout === "string") return layout;
  const a = detectionsOf(reference, layout, options);
  const b = detectionsOf(candidate, layout, options);
  const total = {
    reference: 0,
    candidate: 0,
    matched: 0,
    classFlips: 0,
    changed: 0,
    maxScoreDifference: 0,
    minIou: 1,
  };
  for (const [image, found] of a.entries()) {
    const other = b[image] ?? [];
    const { pairs, left, leftOther } = match(found, other, options.matchIou, true);
    total.reference += found.length;
    total.candidate += other.length;
    total.matched += pairs.length;
    total.changed += left.length + leftOther.length;
    total.classFlips += match(left, leftOther, options.matchIou, false).pairs.length;
    for (const pair of pairs) {
      total.maxScoreDifference = Math.max(total.maxScoreDifference, Math.abs(pair.a.score - pair.b.score));
      total.minIou = Math.min(total.minIou, pair.iou);
    }
  }
  return total;
}

interface Detection {
  readonly type: number;
  readonly score: number;
  readonly box: Box;
}

type Box = readonly [x1: number, y1: number, x2: number, y2: number];

/** Best candidates that go into suppression: it is quadratic, and a broken engine may pass every anchor. */
const mostBoxes = 400;
const best = new BestScores(mostBoxes);

interface Layout {
  readonly images: number;
  readonly anchors: number;
  readonly classes: number;
}

function layoutOf(outputs: readonly Tensor[], { scores, boxes }: DetectionOptions): Layout | string {
  const scoreTensor = outputs.find((output) => output.name === scores);
  const boxTensor = outputs.find((output) => output.name === boxes);
  if (scoreTensor === undefined) return noOutput("scores", scores, outputs);
  if (boxTensor === undefined) return noOutput("boxes", boxes, outputs);
  const { shape } = boxTensor;
  const images = shape.length > 2 ? (shape[0] as number) : 1;
  const anchors = images === 0 ? 0 : elementCount(shape) / 4 / images;
  const classes = anchors === 0 ? 1 : elementCount(scoreTensor.shape) / (anchors * images);
  // Scores with the classes before the anchors would be read as something else.
  const readable = classes === 1 || (Number.isInteger(classes) && scoreTensor.shape.at(-1) === classes);
  if (shape.at(-1) === 4 && readable) return { images, anchors, classes };
  return (
    `detections are read from boxes [N, A, 4] and scores [N, A, C], but the outputs are ${shown(outputs)}: ` +
    "let detection.boxes and detection.scores in model.yaml name outputs of these shapes, or give the model another task"
  );
}

function noOutput(key: "scores" | "boxes", name: string, outputs: readonly Tensor[]): string {
  return `there is no output "${name}", the outputs are ${shown(outputs)}: set detection.${key} in model.yaml`;
}

function shown(outputs: readonly Tensor[]): string {
  return outputs.map(({ name, shape }) => `"${name}" [${shape.join(",")}]`).join(", ");
}

function detectionsOf(
  outputs: readonly Tensor[],
  { images, anchors, classes }: Layout,
  options: DetectionOptions,
): Detection[][] {
  const scores = numbers(outputs.find(({ name }) => name === options.scores) as Tensor, 0);
  const boxes = numbers(outputs.find(({ name }) => name === options.boxes) as Tensor, 1);
  // Were the only class the background, nothing would ever be found.
  const background = classes === 1 ? undefined : options.background;
  return Array.from({ length: images }, (_, image) => {
    best.clear();
    for (let at = image * anchors; at < (image + 1) * anchors; at += 1) {
      for (let type = 0; type < classes; type += 1) {
        const score = scores[at * classes + type] as number;
        if (score > options.scoreThreshold && type !== background) best.add(score, at * classes + type);
      }
    }
    const found = best.places().map((place): Detection => {
      const at = Math.floor(place / classes);
      const box = boxAt(boxes, at * 4, options.format);
      return { type: place - at * classes, score: scores[place] as number, box };
    });
    return suppress(found, options.nmsIou);
  });
}

function boxAt(boxes: ArrayLike<number>, at: number, format: DetectionOptions["format"]): Box {
  const [a, b, c, d] = [boxes[at], boxes[at + 1], boxes[at + 2], boxes[at + 3]] as [
    number,
    number,
    number,
    number,
  ];
  return format === "center" ? boxOf(a - c / 2, b - d / 2, a + c / 2, b + d / 2) : boxOf(a, b, c, d);
}

/** From any two opposite corners: a box turned inside out, or of negative size, would not even match itself. */
function boxOf(x1: number, y1: number, x2: number, y2: number): Box {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

/** Greedy non-maximum suppression within each class; `found` by falling score. */
function suppress(found: readonly Detection[], nmsIou: number): Detection[] {
  const kept: Detection[] = [];
  for (const detection of found) {
    if (!kept.some((k) => k.type === detection.type && iou(k.box, detection.box) > nmsIou))
      kept.push(detection);
  }
  return kept;
}

interface Pair {
  readonly a: Detection;
  readonly b: Detection;
  readonly iou: number;
}

function match(
  found: readonly Detection[],
  other: readonly Detection[],
  matchIou: number,
  sameClass: boolean,
): { pairs: Pair[]; left: Detection[]; leftOther: Detection[] } {
  const open = [...other];
  const pairs: Pair[] = [];
  const left: Detection[] = [];
  for (const a of found) {
    let at = -1;
    let best = matchIou;
    for (const [i, b] of open.entries()) {
      const overlap = iou(a.box, b.box);
      if (overlap >= best && (!sameClass || a.type === b.type)) {
        best = overlap;
        at = i;
      }
    }
    const [b] = at === -1 ? [] : open.splice(at, 1);
    if (b === undefined) left.push(a);
    else pairs.push({ a, b, iou: best });
  }
  return { pairs, left, leftOther: open };
}

/** Intersection over union: 1 for a box and itself whatever it is like, else 0 where it has no area. */
function iou(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width > 0 && height > 0) {
    const shared = width * height;
    const overlap = shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared);
    // Infinite boxes, and those so small that their area is 0, have none.
    if (overlap > 0) return overlap;
  }
  return same(a[0], b[0]) && same(a[1], b[1]) && same(a[2], b[2]) && same(a[3], b[3]) ? 1 : 0;
}

function same(x: number, y: number): boolean {
  return x === y || (Number.isNaN(x) && Number.isNaN(y));
}
