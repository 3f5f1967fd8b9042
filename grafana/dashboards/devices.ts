import type { DashboardBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import { createDashboard, deviceVariable, lines, rows, states } from "../panels.ts";
import { metric, rate } from "../queries.ts";

/** GPUs and boards, and the gateway's own process. */
export function devices(): DashboardBuilder {
  const gpu = "GPU {{device}}";
  return createDashboard({
    uid: "crosscheck-devices",
    title: "Crosscheck / Devices",
    description:
      "GPU or Jetson readings; timings taken while a device is throttled are kept apart from verdicts.",
    variables: [deviceVariable()],
  })
    .withPanel(
      rows({ title: "Devices", description: "Name, driver, power mode, source." }, metric("gpu_info"))
        .span(24)
        .height(5),
    )
    .withPanel(
      lines({ title: "Utilisation", description: "Share of time in which a kernel ran." }, "percentunit", [
        [metric("gpu_utilization_ratio"), gpu],
      ])
        .min(0)
        .max(1),
    )
    .withPanel(
      states(
        { title: "Throttling", description: "What holds the clocks down." },
        [[metric("gpu_throttled"), `${gpu} {{reason}}`]],
        { "0": { text: "no", color: "transparent" }, "1": { text: "yes", color: "red" } },
      ),
    )
    .withPanel(
      lines({ title: "Clocks", description: "A clock that moves makes latency move." }, "hertz", [
        [metric("gpu_clock_hertz"), `${gpu} {{domain}}`],
      ]),
    )
    .withPanel(
      lines({ title: "Temperature", description: "GPU core." }, "celsius", [
        [metric("gpu_temperature_celsius"), gpu],
      ]),
    )
    .withPanel(
      lines({ title: "Power", description: "Board, or the GPU's rail on a Jetson." }, "watt", [
        [metric("gpu_power_watts"), gpu],
      ]),
    )
    .withPanel(
      lines(
        {
          title: "Mean power from energy",
          description: "The energy counter's rate: no peak between readings is missed.",
        },
        "watt",
        [[rate(metric("gpu_energy_joules_total")), gpu]],
      ),
    )
    .withPanel(
      lines({ title: "Memory", description: "In use, and installed." }, "bytes", [
        [metric("gpu_memory_used_bytes"), `${gpu} used`],
        [metric("gpu_memory_total_bytes"), `${gpu} installed`],
      ]),
    )
    .withPanel(
      lines(
        { title: "Event loop delay", description: "How late the gateway's own event loop ran, over 10 s." },
        "s",
        [[metric("event_loop_delay_seconds"), "p{{percentile}}"]],
      ),
    );
}
