import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { dashboards } from "../../grafana/dashboards.ts";
import { metricsDocument } from "../../grafana/metrics-document.ts";
import { catalog, metricPrefix } from "../../src/metrics/catalog.ts";
import { dashboardExpressions, rules, selectors } from "./_expressions.ts";

const grafana = new URL("../../grafana/", import.meta.url);
const text = (path: string, base = grafana) => readFileSync(new URL(path, base), "utf8");

/** The catalogue's name in a selector, a histogram's suffix taken off. */
function metricName(selector: string): string {
  const name = selector.replace(/\{.*$/, "").slice(metricPrefix.length);
  const histogram = name.replace(/_(bucket|sum|count)$/, "");
  return histogram in catalog ? histogram : name;
}

describe("dashboards", () => {
  it("are what the code generates (npm run dashboards)", () => {
    expect(readdirSync(new URL("out/", grafana)).sort()).toEqual(
      Object.keys(dashboards())
        .map((name) => `${name}.json`)
        .sort(),
    );
    for (const [name, dashboard] of Object.entries(dashboards())) {
      expect(text(`out/${name}.json`), name).toBe(`${JSON.stringify(dashboard, null, 2)}\n`);
    }
    expect(text("../docs/metrics.md")).toBe(metricsDocument());
  });

  it("show every metric of the catalogue, and no other", () => {
    const shown = new Set(
      dashboardExpressions().flatMap(({ text: expr }) => selectors(expr).map(metricName)),
    );
    expect([...shown].sort()).toEqual(Object.keys(catalog).sort());
  });

  it("ask for labels that the metric has", () => {
    for (const { where, text: expr } of dashboardExpressions()) {
      for (const selector of selectors(expr)) {
        const labels: readonly string[] = catalog[metricName(selector) as keyof typeof catalog].labels;
        for (const [, label] of selector.matchAll(/[{,](\w+)(?:=|!)/g)) {
          expect([...labels, "le"], `${where}: ${selector}`).toContain(label);
        }
      }
    }
  });

  it("use only variables they define", () => {
    for (const [name, dashboard] of Object.entries(dashboards())) {
      const defined = (dashboard.templating?.list ?? []).map((variable) => variable.name);
      const used = [...JSON.stringify(dashboard).matchAll(/\$\{?(\w+)\}?/g)].map(
        (match) => match[1] as string,
      );
      const own = used.filter((variable) => !variable.startsWith("__"));
      expect(
        own.filter((variable) => !defined.includes(variable)),
        name,
      ).toEqual([]);
    }
  });

  it("have panels with a title, a description and an address of their own", () => {
    const uids = Object.values(dashboards()).map((dashboard) => dashboard.uid);
    expect(new Set(uids).size).toBe(uids.length);
    for (const [name, dashboard] of Object.entries(dashboards())) {
      const panels = (dashboard.panels ?? []) as { type: string; title?: string; description?: string }[];
      const titles = panels.filter((panel) => panel.type !== "row").map((panel) => panel.title);
      expect(new Set(titles).size, name).toBe(titles.length);
      for (const panel of panels) {
        if (panel.type !== "row") expect(panel.description, `${name} / ${panel.title}`).toBeTruthy();
      }
    }
  });
});

describe("rules", () => {
  it("read metrics that exist, recorded ones included", () => {
    const recorded = rules("recording.yaml").map((rule) => rule.name);
    for (const rule of [...rules("recording.yaml"), ...rules("alerts.yaml")]) {
      for (const selector of selectors(rule.text)) {
        const name = selector.replace(/\{.*$/, "");
        const known = recorded.includes(name) || metricName(selector) in catalog;
        expect(known, `${rule.name}: ${selector}`).toBe(true);
      }
    }
  });

  it("are each tested by promtool's unit tests", () => {
    const tests = text("rules/rules.test.yaml");
    for (const rule of [...rules("recording.yaml"), ...rules("alerts.yaml")])
      expect(tests).toContain(rule.name);
  });
});

describe("provisioning", () => {
  it("names the folder and the data source that dashboards and compose use", () => {
    const datasource = parse(text("provisioning/datasources/prometheus.yaml"));
    expect(datasource.datasources[0]).toMatchObject({ type: "prometheus", url: "http://prometheus:9090" });
    const provider = parse(text("provisioning/dashboards/crosscheck.yaml"));
    expect(provider.providers[0].options.path).toBe("/var/lib/grafana/dashboards/crosscheck");
    const prometheus = parse(text("prometheus.yaml"));
    expect(prometheus.scrape_configs[0].job_name).toBe("crosscheck");
    expect(prometheus.rule_files).toEqual([
      "/etc/prometheus/rules/recording.yaml",
      "/etc/prometheus/rules/alerts.yaml",
    ]);
  });
});
