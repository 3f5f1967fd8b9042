import { mkdirSync, writeFileSync } from "node:fs";
import { dashboards } from "./dashboards.ts";
import { metricsDocument } from "./metrics-document.ts";

/** Writes grafana/out/*.json and docs/metrics.md; `npm run dashboards`. A test holds them equal to the code. */
const out = new URL("out/", import.meta.url);
mkdirSync(out, { recursive: true });
for (const [name, dashboard] of Object.entries(dashboards())) {
  writeFileSync(new URL(`${name}.json`, out), `${JSON.stringify(dashboard, null, 2)}\n`);
}
writeFileSync(new URL("../docs/metrics.md", import.meta.url), metricsDocument());
