import type { DashboardBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import { CustomVariableBuilder, RowBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import { latencyPercentiles } from "../../src/metrics/catalog.ts";
import { createDashboard, engineVariable, heat, lines, modelVariable, switchAnnotation } from "../panels.ts";
import { metric, quantile, rate, sumBy } from "../queries.ts";

/** Engine time per engine and role: percentiles, distribution, jitter, deadlines. */
export function latency(): DashboardBuilder {
  const perEngine = "{{model}} {{engine}} {{role}}";
  const buckets = (role: string) => metric("inference_duration_seconds", { role: `="${role}"` }, "_bucket");
  const jitter = (kind: string) => metric("jitter_seconds", { kind: `="${kind}"` });
  return createDashboard({
    uid: "crosscheck-latency",
    title: "Crosscheck / Latency and jitter",
    description:
      "Engine time by engine and role. Shadow times are for comparing with control, not for deadlines.",
    variables: [
      modelVariable(),
      engineVariable(),
      new CustomVariableBuilder("percentile")
        .label("Percentile")
        .values(latencyPercentiles.join(","))
        .current({ selected: true, text: "99", value: "99" }),
    ],
  })
    .annotation(switchAnnotation())
    .withPanel(
      lines(
        {
          title: "Engine time, chosen percentile",
          description: "Over a sliding 5 minutes; HDR histogram of 3 digits.",
        },
        "s",
        [
          [
            metric("latency_percentile_seconds", { percentile: '="$percentile"' }),
            `${perEngine} p{{percentile}}`,
          ],
        ],
      ),
    )
    .withPanel(
      lines(
        {
          title: "Active engine, all percentiles",
          description: "100 is the slowest run of the last 5 minutes.",
        },
        "s",
        [
          [
            metric("latency_percentile_seconds", { role: '="active"' }),
            "{{model}} {{engine}} p{{percentile}}",
          ],
        ],
      ),
    )
    .withPanel(
      lines({ title: "Mean engine time", description: "Sum over count of the histogram." }, "s", [
        [
          `${sumBy("model, engine, role", rate(metric("inference_duration_seconds", {}, "_sum")))} / ${sumBy("model, engine, role", rate(metric("inference_duration_seconds", {}, "_count")))}`,
          perEngine,
        ],
      ]),
    )
    .withPanel(
      lines({ title: "Runs", description: "Engine runs per second by role." }, "reqps", [
        [sumBy("model, engine, role", rate(metric("inference_duration_seconds", {}, "_count"))), perEngine],
      ]),
    )
    .withRow(new RowBuilder("Distribution"))
    .withPanel(
      heat(
        { title: "Active", description: "Engine time of clients' requests." },
        sumBy("le", rate(buckets("active"))),
      ),
    )
    .withPanel(
      heat(
        { title: "Candidates", description: "Engine time of candidates in the shadow." },
        sumBy("le", rate(buckets("shadow"))),
      ),
    )
    .withPanel(
      heat(
        { title: "Control", description: "The active engine once more, under the candidates' conditions." },
        sumBy("le", rate(buckets("control"))),
      ),
    )
    .withPanel(
      heat(
        {
          title: "Whole request",
          description: "Receipt to reply; exemplars lead to the trace or log line of a slow request.",
        },
        sumBy("le", rate(metric("request_duration_seconds", {}, "_bucket"))),
      ),
    )
    .withRow(new RowBuilder("Jitter"))
    .withPanel(
      lines(
        { title: "Delay variation (PDV)", description: "p99 of time above the window's fastest run." },
        "s",
        [[jitter("pdv"), perEngine]],
      ),
    )
    .withPanel(
      lines({ title: "Between consecutive runs (IPDV)", description: "p99 of |x_i - x_(i-1)|." }, "s", [
        [jitter("ipdv"), perEngine],
      ]),
    )
    .withPanel(
      lines({ title: "Interquartile range", description: "p75 minus p25: the typical spread." }, "s", [
        [jitter("iqr"), perEngine],
      ]),
    )
    .withRow(new RowBuilder("Deadlines"))
    .withPanel(
      lines(
        {
          title: "Deadline misses",
          description:
            "Share of clients' requests without a right answer within deadlineMs, by the engine that answered or failed.",
        },
        "percentunit",
        [
          [
            `${sumBy("model, engine", rate(metric("deadline_misses_total")))} / ${sumBy("model, engine", rate(metric("requests_total")))}`,
            "{{model}} {{engine}}",
          ],
        ],
      ),
    )
    .withPanel(
      lines({ title: "Waiting for an instance", description: "99th percentile of time in the queue." }, "s", [
        [quantile(0.99, "model", metric("queue_duration_seconds", {}, "_bucket")), "{{model}}"],
      ]),
    );
}
