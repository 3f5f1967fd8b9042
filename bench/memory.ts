/** Resident memory of the gateway and of its engine host over 200,000 requests, shadow off. */
import { childrenOf, residentBytes, startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { print, quick, tableHead, tableRow } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";

const marks = quick ? [500, 1000, 2000] : [10_000, 50_000, 100_000, 150_000, 200_000];
const repository = await makeRepository([demo], { engines: 1, settings: ["shadow: { sampleRate: 0 }"] });
const gateway = await startGateway(repository.path);
const generator = startGenerator();
const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
print(`\n### ${demo.name}, binary, concurrency 4\n`);
print(
  tableHead([
    "requests",
    "gateway, MiB resident",
    "engine host, MiB resident",
    "requests/s since the last row",
  ]),
);
try {
  let done = 0;
  for (const mark of marks) {
    const mode = { kind: "closed", concurrency: 4, requests: mark - done } as const;
    const { result, ids } = await generator.run({ port: gateway.port, request: binaryRequest(demo), mode });
    if (result.failed > 0 || ids.answered !== ids.sent) throw new Error(result.errors.join("; "));
    const hosts = childrenOf(gateway.pid).map(residentBytes);
    const rate = (mark - done) / result.seconds;
    print(
      tableRow([
        mark,
        mib(residentBytes(gateway.pid)),
        mib(hosts.reduce((sum, bytes) => sum + bytes, 0)),
        rate.toFixed(0),
      ]),
    );
    done = mark;
  }
} finally {
  generator.close();
  await gateway.close();
  repository.remove();
}
