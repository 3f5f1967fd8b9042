import * as bargauge from "@grafana/grafana-foundation-sdk/bargauge";
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import * as heatmap from "@grafana/grafana-foundation-sdk/heatmap";
import * as prometheus from "@grafana/grafana-foundation-sdk/prometheus";
import * as stat from "@grafana/grafana-foundation-sdk/stat";
import * as statetimeline from "@grafana/grafana-foundation-sdk/statetimeline";
import * as table from "@grafana/grafana-foundation-sdk/table";
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";
import { metric } from "./queries.ts";

/** One query of a panel: PromQL, and Grafana's legend template. */
export type Query = readonly [expression: string, legend: string];

export interface PanelText {
  readonly title: string;
  /** What a reader should know to read it right. */
  readonly description: string;
}

/** Grafana's unit ids. */
export type Unit =
  | "s"
  | "reqps"
  | "percentunit"
  | "short"
  | "bytes"
  | "watt"
  | "joule"
  | "celsius"
  | "hertz"
  | "none";

const source: common.DataSourceRef = { type: "prometheus", uid: "${datasource}" };

export function lines(text: PanelText, unit: Unit, queries: readonly Query[]): timeseries.PanelBuilder {
  const panel = new timeseries.PanelBuilder()
    .title(text.title)
    .description(text.description)
    .datasource(source)
    .unit(unit)
    .span(12)
    .height(8)
    .fillOpacity(5)
    .showPoints(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi));
  return targets(panel, queries);
}

export function number(text: PanelText, unit: Unit, expression: string): stat.PanelBuilder {
  const panel = new stat.PanelBuilder()
    .title(text.title)
    .description(text.description)
    .datasource(source)
    .unit(unit)
    .span(4)
    .height(4)
    .noValue("-");
  return panel.withTarget(query(expression, "", "A").instant());
}

/** Buckets of a histogram over time; the expression is grouped by `le`. */
export function heat(text: PanelText, expression: string): heatmap.PanelBuilder {
  return new heatmap.PanelBuilder()
    .title(text.title)
    .description(text.description)
    .datasource(source)
    .span(12)
    .height(9)
    .calculate(false)
    .yAxis(new heatmap.YAxisConfigBuilder().unit("s"))
    .withTarget(query(expression, "{{le}}", "A").format(prometheus.PromQueryFormat.Heatmap).exemplar(true));
}

/** Label values as columns, one row a series. */
export function rows(text: PanelText, expression: string): table.PanelBuilder {
  return new table.PanelBuilder()
    .title(text.title)
    .description(text.description)
    .datasource(source)
    .span(12)
    .height(8)
    .withTarget(query(expression, "", "A").format(prometheus.PromQueryFormat.Table).instant())
    .withTransformation({
      id: "organize",
      options: { excludeByName: { Time: true, Value: true, __name__: true, instance: true, job: true } },
    });
}

/** A value that stands for a state, as coloured bands. */
export function states(
  text: PanelText,
  queries: readonly Query[],
  meanings: Readonly<Record<string, { readonly text: string; readonly color: string }>>,
): statetimeline.PanelBuilder {
  const panel = new statetimeline.PanelBuilder()
    .title(text.title)
    .description(text.description)
    .datasource(source)
    .span(12)
    .height(9)
    .mergeValues(true)
    .mappings([{ type: dashboard.MappingType.ValueToText, options: meanings }] as dashboard.ValueMapping[]);
  return targets(panel, queries);
}

export function bars(
  text: PanelText,
  unit: Unit,
  max: number,
  queries: readonly Query[],
): bargauge.PanelBuilder {
  const panel = new bargauge.PanelBuilder()
    .title(text.title)
    .description(text.description)
    .datasource(source)
    .unit(unit)
    .min(0)
    .max(max)
    .span(12)
    .height(9)
    .orientation(common.VizOrientation.Horizontal);
  return targets(panel, queries, true);
}

export interface DashboardText {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly variables: readonly Builder<dashboard.VariableModel>[];
}

/** An empty dashboard with the variables and, on every dashboard, a mark where the active engine changed. */
export function createDashboard(text: DashboardText): dashboard.DashboardBuilder {
  const datasource = new dashboard.DatasourceVariableBuilder("datasource")
    .label("Data source")
    .type("prometheus");
  const builder = new dashboard.DashboardBuilder(text.title)
    .uid(text.uid)
    .description(text.description)
    .tags(["crosscheck"])
    .timezone("browser")
    .time({ from: "now-1h", to: "now" })
    .refresh("10s")
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .link(
      new dashboard.DashboardLinkBuilder("Crosscheck")
        .type(dashboard.DashboardLinkType.Dashboards)
        .tags(["crosscheck"])
        .asDropdown(true)
        .keepTime(true)
        .includeVars(true),
    )
    .withVariable(datasource);
  for (const variable of text.variables) builder.withVariable(variable);
  return builder;
}

/** Marks on every panel when another engine became active. */
export function switchAnnotation(): dashboard.AnnotationQueryBuilder {
  const active = metric("active_engine", { engine: '=~".+"' });
  return new dashboard.AnnotationQueryBuilder()
    .name("Switches")
    .datasource(source)
    .enable(true)
    .iconColor("purple")
    .expr(`${active} == 1 and changes(${active}[$__interval]) > 0`)
    .titleFormat("{{model}}: {{engine}} is active")
    .step("15s");
}

export const modelVariable = (): dashboard.QueryVariableBuilder =>
  labelVariable("model", "Model", "label_values(crosscheck_active_engine, model)");
export const engineVariable = (): dashboard.QueryVariableBuilder =>
  labelVariable("engine", "Engine", 'label_values(crosscheck_engine_state{model=~"$model"}, engine)');
export const deviceVariable = (): dashboard.QueryVariableBuilder =>
  labelVariable("uuid", "GPU", "label_values(crosscheck_gpu_info, uuid)");

function labelVariable(name: string, label: string, definition: string): dashboard.QueryVariableBuilder {
  return new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(source)
    .query({ query: definition, refId: name })
    .definition(definition)
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .multi(true)
    .includeAll(true)
    .allValue(".*")
    .current({ selected: true, text: "All", value: "$__all" });
}

function query(expression: string, legend: string, refId: string): prometheus.DataqueryBuilder {
  const builder = new prometheus.DataqueryBuilder().datasource(source).expr(expression).refId(refId);
  return legend === "" ? builder : builder.legendFormat(legend);
}

function targets<P extends { withTarget(target: prometheus.DataqueryBuilder): P }>(
  panel: P,
  queries: readonly Query[],
  instant = false,
): P {
  for (const [at, [expression, legend]] of queries.entries()) {
    const target = query(expression, legend, String.fromCodePoint(65 + at));
    panel.withTarget(instant ? target.instant() : target.range());
  }
  return panel;
}
