import type { DashboardBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import {
  bars,
  createDashboard,
  engineVariable,
  lines,
  modelVariable,
  states,
  switchAnnotation,
} from "../panels.ts";
import { metric, sumBy } from "../queries.ts";

/** What the rules say of each candidate, how much evidence is missing, and what was switched. */
export function switching(): DashboardBuilder {
  const have = metric("evidence_samples", { kind: '="have"' });
  const need = metric("evidence_samples", { kind: '="need"' });
  return createDashboard({
    uid: "crosscheck-switching",
    title: "Crosscheck / Switching",
    description: "Verdicts, evidence and switches. Marks show where another engine became active.",
    variables: [modelVariable(), engineVariable()],
  })
    .annotation(switchAnnotation())
    .withPanel(
      states(
        { title: "Verdicts", description: "Newest verdict of each rule on each candidate." },
        [[metric("verdict"), "{{model}} {{candidate}} {{rule}}"]],
        {
          "-1": { text: "fail", color: "red" },
          "0": { text: "inconclusive", color: "yellow" },
          "1": { text: "pass", color: "green" },
        },
      ),
    )
    .withPanel(
      states(
        { title: "Active engine", description: "Who answered clients when." },
        [[metric("active_engine"), "{{model}} {{engine}}"]],
        { "0": { text: "not active", color: "transparent" }, "1": { text: "active", color: "green" } },
      ),
    )
    .withPanel(
      bars(
        { title: "Evidence", description: "Samples there are, as a share of those a decision needs." },
        "percentunit",
        1,
        [
          [
            `${sumBy("model, candidate, rule", have)} / ${sumBy("model, candidate, rule", need)}`,
            "{{model}} {{candidate}} {{rule}}",
          ],
        ],
      ),
    )
    .withPanel(
      lines({ title: "Samples still needed", description: "0 once a rule has decided." }, "short", [
        [
          `clamp_min(${sumBy("model, candidate, rule", need)} - ${sumBy("model, candidate, rule", have)}, 0)`,
          "{{model}} {{candidate}} {{rule}}",
        ],
      ]),
    )
    .withPanel(
      states(
        {
          title: "Engine states",
          description: "observing, eligible, canary, promoted, watch, quarantined and the rest.",
        },
        [[`${metric("engine_state")} == 1`, "{{model}} {{engine}} {{state}}"]],
        { "1": { text: "in this state", color: "blue" } },
      ),
    )
    .withPanel(
      lines({ title: "Share of traffic", description: "Canary steps." }, "percentunit", [
        [metric("traffic_share_ratio"), "{{model}} {{engine}}"],
      ]),
    )
    .withPanel(
      lines(
        { title: "Switches so far", description: "By what asked for them, since the gateway started." },
        "short",
        [
          [
            sumBy("model, from, to, trigger", metric("switches_total")),
            "{{model}} {{from}} to {{to}} ({{trigger}})",
          ],
        ],
      ),
    )
    .withPanel(
      lines({ title: "Fail-overs so far", description: "Requests moved because a host was lost." }, "short", [
        [sumBy("model, engine, reason", metric("failovers_total")), "{{model}} {{engine}} {{reason}}"],
      ]),
    );
}
