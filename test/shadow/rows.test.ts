import { expect, test } from "vitest";
import type { Tensor } from "../../src/core/tensor.ts";
import { packAnswers, packJobs, unpackAnswers, unpackJobs } from "../../src/shadow/rows.ts";
import type { JobRun, ShadowAnswer, ShadowJob } from "../../src/shadow/run-job.ts";

/** As they cross from one thread to another. */
const cross = <T>(value: T): T => structuredClone(value);

const run = (place: number): JobRun => ({
  place,
  startedSeconds: 1.5,
  endedSeconds: 2.25,
  engineSeconds: 0.125,
  overlapped: place === 1,
  predicted: place === 0 ? null : 3,
  error: undefined,
});

const output = (name: string) => ({
  name,
  datatype: "FP32" as const,
  bitEqual: false,
  notComparable: 2,
  cosine: 0.5,
  absMax: Infinity,
  relMax: 1e-3,
  ulpMax: 12,
});

test("answers come out as they went in: errors, what is not known, and none at all", () => {
  const error = { class: "Error", message: "out of memory", stack: "there" } as const;
  const answers: ShadowAnswer[] = [
    {
      runs: [run(2), run(0), { ...run(1), engineSeconds: Number.NaN, predicted: null, error }],
      busy: false,
      comparisons: [
        {
          reference: 0,
          candidate: 2,
          difference: {
            result: "diverged",
            flip: undefined,
            undecided: "labels alone",
            kl: Number.NaN,
            outputs: [output("scores"), output("boxes")],
          },
        },
        {
          reference: 0,
          candidate: 0,
          difference: { result: "bit_equal", flip: false, undecided: undefined, kl: undefined, outputs: [] },
        },
      ],
      error: undefined,
    },
    { runs: [], busy: true, comparisons: [], error },
  ];
  expect([...unpackAnswers(cross(packAnswers(answers)))]).toEqual(answers);
  expect([...unpackAnswers(cross(packAnswers([])))]).toEqual([]);
});

test("jobs come out with their hosts, one copy of the options they share, and the same memory", () => {
  const shared = new SharedArrayBuffer(16);
  const tensor = (name: string, shape: readonly number[], at: number): Tensor => ({
    name,
    datatype: "UINT8",
    shape,
    data: new Uint8Array(shared, at, 8),
  });
  const options = { task: "classification" } as const;
  const other = { task: "tensor", tolerance: { abs: 0.1 } } as const;
  const job = (change: Partial<ShadowJob<string>> = {}): ShadowJob<string> => ({
    hosts: ["b", "a"],
    inputs: [tensor("x", [2, 4], 0), tensor("scalar", [], 8)],
    reply: [tensor("y", [8], 8)],
    base: 1,
    replied: undefined,
    options,
    maxUtilization: 0.7,
    idleSeconds: Infinity,
    patienceSeconds: 5,
    ...change,
  });
  const jobs = [job(), job({ options: other, hosts: [], inputs: [], base: undefined, replied: 0 }), job()];
  const names = ["a", "b"];
  const rows = cross(packJobs(jobs, (host) => names.indexOf(host)));
  expect(rows.table.filter((value) => typeof value === "object" && !(value instanceof Uint8Array))).toEqual([
    options,
    other,
  ]);
  const read = unpackJobs(rows, (number) => names[number] as string);
  expect(read).toEqual(jobs);
  expect(read[2]?.options).toBe(read[0]?.options);
  new Uint8Array(shared).fill(7);
  expect(read[0]?.inputs[0]?.data).toEqual(new Uint8Array(8).fill(7));
});
