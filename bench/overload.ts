/**
 * What is left for those who are answered when more clients than the model's queue holds (64 running and 256 waiting) ask
 * again as soon as they were turned away.
 */
import { firstThreadSeconds } from "./support/cpu-time.ts";
import { startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { print, quick, tableHead, tableRow } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";

const seconds = quick ? 1 : 5;
const clients = [4, 64, 300, 400, 800, 1600, 4];
const request = binaryRequest(demo);
const repository = await makeRepository([demo], { engines: 1, settings: ["shadow: { sampleRate: 0 }"] });
const generator = startGenerator();
const gateway = await startGateway(repository.path);
const run = (concurrency: number) =>
  generator.run({ port: gateway.port, request, mode: { kind: "closed", concurrency, seconds } });
try {
  // Warms it up.
  await run(4);
  print(`\n${demo.name}, binary, closed loop, ${seconds} s each.\n`);
  print(tableHead(["clients", "answered/s", "turned away/s", "serving thread, us a request"]));
  for (const concurrency of clients) {
    const before = firstThreadSeconds(gateway.pid);
    const { result, ids } = await run(concurrency);
    const other = result.errors.find((error) => !error.startsWith("429"));
    if (other !== undefined || ids.answered + result.failed !== ids.sent)
      throw new Error(other ?? `${ids.sent} sent, ${ids.answered} answered, ${result.failed} turned away`);
    const answered = result.doneMs.length;
    const spent = firstThreadSeconds(gateway.pid) - before;
    print(
      tableRow([
        ...[concurrency, (answered / result.seconds).toFixed(0), (result.failed / result.seconds).toFixed(0)],
        ((1e6 * spent) / (answered + result.failed)).toFixed(0),
      ]),
    );
  }
} finally {
  generator.close();
  await gateway.close();
  repository.remove();
}
