import { afterAll, beforeAll, expect, test } from "vitest";
import { newFolder, openScene, writeModel, type Scene } from "./_gateway.ts";

interface Reported {
  readonly id: string;
  readonly failures: number;
  /** Null as long as all requests were its first ones. */
  readonly realTime: { readonly misses: number } | null;
}

let scene: Scene;

async function reported(id: string): Promise<Reported | undefined> {
  const report = String(await scene.services.audit?.report("m", "json"));
  return (JSON.parse(report) as { engines: Reported[] }).engines.find((each) => each.id === id);
}

beforeAll(async () => {
  const folder = await newFolder();
  await writeModel(
    folder,
    "m",
    { good: {}, bad: { fault: "crash", rate: 0.2 } },
    { reference: "good", deadlineMs: 2000, shadow: { sampleRate: 0 }, policy: { mode: "off", blockMs: 1 } },
  );
  scene = await openScene(folder);
  await scene.services.switching?.switch("m", "bad", "r", "t");
});

afterAll(() => scene.end());

test(
  "an engine that is lost under a request has missed its deadline, also where another answers in time",
  { timeout: 60_000 },
  async () => {
    const enough = async () => {
      await scene.infer("m");
      return ((await reported("bad"))?.failures ?? 0) > 2 && (await reported("good"))?.realTime !== null;
    };
    await expect.poll(enough, { timeout: 30_000, interval: 10 }).toBe(true);
    const bad = await reported("bad");
    expect(bad?.realTime?.misses).toBe(bad?.failures);
    expect(await reported("good")).toMatchObject({ failures: 0, realTime: { misses: 0 } });
    const audit = await scene.services.audit?.verdicts("m");
    const verdicts = audit?.candidates.find(({ engine }) => engine === "bad")?.verdicts;
    expect(verdicts?.find(({ rule }) => rule === "deadlineMissRatio")?.value).toBeGreaterThan(0);
  },
);
