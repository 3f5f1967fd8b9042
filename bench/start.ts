/** From the start of `crosscheck serve` to ready, the model with three engines, once everything is set up. */
import { startGateway } from "./support/gateway.ts";
import { print, quick } from "./support/options.ts";
import { demo, makeRepository } from "./support/repository.ts";
import { median } from "./support/statistics.ts";

const repository = await makeRepository([demo], { engines: 3, settings: [] });
const ready: number[] = [];
const all: number[] = [];
for (let n = quick ? 4 : 0; n < 5; n += 1) {
  const began = performance.now();
  const gateway = await startGateway(repository.path);
  ready.push(gateway.readySeconds);
  // The engines that do not serve are loaded for shadow runs, beside the traffic.
  const loaded = async (): Promise<boolean> => {
    const reply = await fetch(`http://127.0.0.1:${gateway.port}/v1/models/${demo.name}/engines`);
    const { engines } = (await reply.json()) as { engines: { state: string }[] };
    return engines.every(({ state }) => state === "ready");
  };
  while (!(await loaded())) await new Promise((resolve) => setTimeout(resolve, 20));
  all.push((performance.now() - began) / 1000);
  await gateway.close();
}
repository.remove();
const list = (values: readonly number[]): string => values.map((value) => value.toFixed(2)).join(", ");
print(`\n- start to ready, median of ${ready.length}: ${median(ready).toFixed(2)} s (${list(ready)})`);
print(
  `- all three engines loaded, the candidates for shadow runs: ${median(all).toFixed(2)} s (${list(all)})`,
);
