import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { devices } from "./dashboards/devices.ts";
import { divergence } from "./dashboards/divergence.ts";
import { latency } from "./dashboards/latency.ts";
import { overview } from "./dashboards/overview.ts";
import { switching } from "./dashboards/switching.ts";

/** Every dashboard, by the name of its file under grafana/out. */
export function dashboards(): Readonly<Record<string, Dashboard>> {
  return {
    overview: overview().build(),
    latency: latency().build(),
    divergence: divergence().build(),
    switching: switching().build(),
    devices: devices().build(),
  };
}
