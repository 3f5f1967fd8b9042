import type { DashboardBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import { RowBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import type { Unit } from "../panels.ts";
import { createDashboard, lines, modelVariable, switchAnnotation } from "../panels.ts";
import { metric, rate, sumBy } from "../queries.ts";

/** How far candidates are from the reference, pair by pair and output by output. */
export function divergence(): DashboardBuilder {
  const pair = "model, reference, candidate";
  const comparisons = rate(metric("comparisons_total"));
  const builder = createDashboard({
    uid: "crosscheck-divergence",
    title: "Crosscheck / Divergence",
    description: "Differences of candidates from the reference on the same live inputs.",
    variables: [modelVariable()],
  })
    .annotation(switchAnnotation())
    .withPanel(
      lines(
        {
          title: "Changed decisions",
          description: "Share of comparisons with another class, detections or pixels.",
        },
        "percentunit",
        [
          [
            `${sumBy(pair, rate(metric("flips_total")))} / ${sumBy(pair, comparisons)}`,
            "{{model}} {{candidate}}",
          ],
        ],
      ),
    )
    .withPanel(
      lines(
        { title: "Bit for bit equal", description: "Share of comparisons without any difference." },
        "percentunit",
        [
          [
            `${sumBy(pair, rate(metric("comparisons_total", { result: '="bit_equal"' })))} / ${sumBy(pair, comparisons)}`,
            "{{model}} {{candidate}}",
          ],
        ],
      ),
    )
    .withPanel(
      lines(
        {
          title: "Comparisons by result",
          description: "invalid: wrong shape or type, NaN, infinity, or no answer.",
        },
        "reqps",
        [[sumBy(`${pair}, result`, comparisons), "{{model}} {{candidate}} {{result}}"]],
      ),
    )
    .withPanel(
      lines(
        { title: "Decisions changed so far", description: "Counted since the gateway started." },
        "short",
        [[metric("flips_total"), "{{model}} {{candidate}}"]],
      ),
    )
    .withRow(new RowBuilder("Per pair and output"));
  for (const { kind, title, unit, description } of differences) {
    builder.withPanel(
      lines({ title, description }, unit, [
        [
          metric("divergence", { metric: `="${kind}"` }),
          "{{model}} {{candidate}} {{output}} p{{percentile}}",
        ],
      ]),
    );
  }
  return builder
    .withPanel(
      lines(
        { title: "Noise floor", description: "An engine against itself: differences below it mean nothing." },
        "none",
        [[metric("noise_floor", { engine: '=~".+"' }), "{{model}} {{engine}} {{output}} {{metric}}"]],
      ),
    )
    .withRow(new RowBuilder("Shadow"))
    .withPanel(
      lines({ title: "Shadow runs", description: "Candidates and control runs per second." }, "reqps", [
        [
          sumBy("model, engine, role", rate(metric("shadow_runs_total", { engine: '=~".+"' }))),
          "{{model}} {{engine}} {{role}}",
        ],
      ]),
    )
    .withPanel(
      lines(
        {
          title: "Inputs not shadowed",
          description: "Served inputs per second that were not run, by reason.",
        },
        "reqps",
        [[sumBy("model, reason", rate(metric("shadow_dropped_total"))), "{{model}} {{reason}}"]],
      ),
    );
}

const differences: readonly { kind: string; title: string; unit: Unit; description: string }[] = [
  {
    kind: "max_abs",
    title: "Largest absolute difference",
    unit: "none",
    description: "In the output's own unit.",
  },
  {
    kind: "max_rel",
    title: "Largest relative difference",
    unit: "percentunit",
    description: "Of the reference's value.",
  },
  {
    kind: "ulp",
    title: "Largest difference in ULP",
    unit: "short",
    description: "Representable values apart.",
  },
  {
    kind: "cosine",
    title: "Cosine similarity",
    unit: "none",
    description: "1 is the same direction; low percentiles are the bad ones.",
  },
  {
    kind: "kl",
    title: "KL divergence",
    unit: "none",
    description: "In nats, where the output is a distribution.",
  },
];
