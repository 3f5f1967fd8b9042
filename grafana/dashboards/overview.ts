import type { DashboardBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import { RowBuilder } from "@grafana/grafana-foundation-sdk/dashboard";
import {
  createDashboard,
  engineVariable,
  lines,
  modelVariable,
  number,
  rows,
  switchAnnotation,
} from "../panels.ts";
import { metric, quantile, rate, sumBy } from "../queries.ts";

/** The first look: traffic, errors, latency, what serves, and whether anything restarts. */
export function overview(): DashboardBuilder {
  const requests = rate(metric("requests_total"));
  const errors = rate(metric("requests_total", { code: '=~"5.."' }));
  const activeTail = metric("latency_percentile_seconds", { role: '="active"', percentile: '="99"' });
  return createDashboard({
    uid: "crosscheck-overview",
    title: "Crosscheck / Overview",
    description: "Traffic, errors, latency, active engines and their hosts.",
    variables: [modelVariable(), engineVariable()],
  })
    .annotation(switchAnnotation())
    .withPanel(
      number(
        { title: "Requests", description: "Clients' requests answered per second." },
        "reqps",
        `sum(${requests})`,
      ),
    )
    .withPanel(
      number(
        { title: "Server errors", description: "Share of requests answered 5xx." },
        "percentunit",
        `(sum(${errors}) or vector(0)) / sum(${requests})`,
      ),
    )
    .withPanel(
      number(
        {
          title: "Worst active p99",
          description: "Largest 99th percentile of engine time over 5 minutes among active engines.",
        },
        "s",
        `max(${activeTail})`,
      ),
    )
    .withPanel(
      number(
        { title: "Waiting", description: "Requests waiting for an engine instance." },
        "short",
        `sum(${metric("queue_length")})`,
      ),
    )
    .withPanel(
      number(
        {
          title: "Event loop p99",
          description: "How late the gateway's event loop is, 99th percentile of 10 s.",
        },
        "s",
        `max(${metric("event_loop_delay_seconds", { percentile: '="99"' })})`,
      ),
    )
    .withPanel(
      number(
        {
          title: "Failing candidates",
          description: "Pairs of candidate and rule whose newest verdict is fail.",
        },
        "short",
        `sum(${metric("verdict")} == bool -1)`,
      ),
    )
    .withRow(new RowBuilder("Traffic"))
    .withPanel(
      lines(
        {
          title: "Requests by engine",
          description: "Answered requests per second; code is the HTTP status.",
        },
        "reqps",
        [[sumBy("model, engine, code", requests), "{{model}} {{engine}} {{code}}"]],
      ),
    )
    .withPanel(
      lines({ title: "Time of a request", description: "Receipt to reply, from the histogram." }, "s", [
        [quantile(0.5, "model", metric("request_duration_seconds", {}, "_bucket")), "{{model}} p50"],
        [quantile(0.99, "model", metric("request_duration_seconds", {}, "_bucket")), "{{model}} p99"],
      ]),
    )
    .withPanel(
      lines({ title: "Queue", description: "Requests waiting now." }, "short", [
        [metric("queue_length"), "{{model}}"],
      ]),
    )
    .withPanel(
      lines(
        {
          title: "Share of traffic",
          description: "What the policy sends where; several engines during a canary.",
        },
        "percentunit",
        [[metric("traffic_share_ratio"), "{{model}} {{engine}}"]],
      ),
    )
    .withRow(new RowBuilder("Engines"))
    .withPanel(
      rows(
        { title: "Active engines", description: "Who answers clients now." },
        `${metric("active_engine")} == 1`,
      ),
    )
    .withPanel(
      rows(
        { title: "Engine states", description: "The state of every engine now." },
        `${metric("engine_state")} == 1`,
      ),
    )
    .withPanel(
      rows(
        { title: "Where engines come from", description: "Provenance from the manifests." },
        metric("engine_info"),
      ),
    )
    .withPanel(
      rows({ title: "Gateway", description: "Version of the gateway and of Node." }, metric("build_info")),
    )
    .withPanel(
      lines(
        { title: "Host memory", description: "Resident memory of the engines' host processes." },
        "bytes",
        [[metric("host_resident_bytes"), "{{model}} {{engine}} {{instance}}"]],
      ),
    )
    .withPanel(
      lines(
        { title: "Cold starts", description: "Decision to load until the first answer, 90th percentile." },
        "s",
        [
          [
            quantile(0.9, "model, engine", metric("cold_start_seconds", {}, "_bucket")),
            "{{model}} {{engine}}",
          ],
        ],
      ),
    )
    .withPanel(
      lines(
        { title: "Host restarts", description: "Hosts started again after a death, hang or protocol fault." },
        "short",
        [[sumBy("model, engine, reason", metric("host_restarts_total")), "{{model}} {{engine}} {{reason}}"]],
      ),
    )
    .withPanel(
      lines(
        {
          title: "Fail-overs",
          description: "Requests moved to another instance or engine; the client saw none of it.",
        },
        "short",
        [[sumBy("model, engine, reason", metric("failovers_total")), "{{model}} {{engine}} {{reason}}"]],
      ),
    );
}
