import { expect, test } from "vitest";
import { createRandom } from "../../src/compare/statistics/random.ts";
import { type Pace, Pacer, paces } from "../../src/shadow/pace.ts";

/** How many are taken when it is asked each millisecond while live requests come evenly, after what was saved at first is gone. */
function taken(
  pace: Pace,
  livePerSecond: number,
  { seconds = 10, from = 0, requestsBy = (ms: number) => (livePerSecond * ms) / 1000 } = {},
): number {
  const load = { begun: from };
  const time = { seconds: 0 };
  const pacer = new Pacer(pace, { load, seconds: () => time.seconds });
  while (pacer.take());
  let count = 0;
  for (let ms = 1; ms <= 1000 * seconds; ms += 1) {
    time.seconds = ms / 1000;
    load.begun = (from + Math.floor(requestsBy(ms))) | 0;
    while (pacer.take()) count += 1;
  }
  return count / seconds;
}

test("a share of the live requests, or so many a second where that is more", () => {
  expect(taken(paces.usual, 0)).toBeCloseTo(150, 0);
  expect(taken(paces.usual, 450)).toBeCloseTo(150, 0);
  expect(taken(paces.usual, 1800)).toBeCloseTo(200, 0);
  expect(taken(paces.usual, 3600)).toBeCloseTo(400, 0);
  expect(taken({ share: 0.25, perSecond: 0 }, 400)).toBeCloseTo(100, 0);
});

test("no more where the share is about as many and requests come at random", () => {
  const random = createRandom(1);
  let requests = 0;
  // Mostly none in a millisecond, now and then several: 1.5 on average.
  const requestsBy = () => (requests += random.next() < 0.7 ? 0 : Math.floor(random.next() * 9) + 1);
  const count = taken(paces.usual, 0, { seconds: 60, requestsBy });
  const share = requests / 60 / 9;
  expect(share).toBeGreaterThan(150);
  expect(count / share).toBeGreaterThan(0.98);
  expect(count / share).toBeLessThan(1.02);
});

test("where processes have the GPU in turns, few however many requests come", () => {
  expect(taken(paces.inTurns, 4000)).toBeCloseTo(20, 0);
});

test("the count of live requests may go round", () => {
  expect(taken(paces.usual, 1800, { from: 2 ** 31 - 500 })).toBeCloseTo(200, 0);
});

test("little is saved up while nothing is to be run", () => {
  const load = { begun: 0 };
  const time = { seconds: 0 };
  const pacer = new Pacer(paces.usual, { load, seconds: () => time.seconds });
  time.seconds = 3600;
  load.begun = 1_000_000;
  let count = 0;
  while (pacer.take()) count += 1;
  expect(count).toBe(4);
});
