import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { dashboards } from "../../grafana/dashboards.ts";

/** A PromQL expression of a panel, an annotation or a rule. */
export interface Expression {
  /** "latency / Jitter", for messages. */
  readonly where: string;
  readonly text: string;
  /** Labels that the legend shows, so every result must carry them. */
  readonly legendLabels: readonly string[];
}

interface Target {
  readonly expr: string;
  readonly legendFormat?: string;
}

export function dashboardExpressions(): Expression[] {
  return Object.entries(dashboards()).flatMap(([name, dashboard]) => {
    const panels = (dashboard.panels ?? []) as { title?: string; targets?: Target[] }[];
    const annotations = dashboard.annotations?.list ?? [];
    return [
      ...panels.flatMap((panel) =>
        (panel.targets ?? []).map((target) => ({
          where: `${name} / ${panel.title ?? ""}`,
          text: target.expr,
          legendLabels: [...(target.legendFormat ?? "").matchAll(/{{(\w+)}}/g)].map(
            (match) => match[1] as string,
          ),
        })),
      ),
      ...annotations
        .filter((annotation) => annotation.expr !== undefined)
        .map((annotation) => ({
          where: `${name} / annotation ${annotation.name}`,
          text: annotation.expr as string,
          legendLabels: ["model", "engine"],
        })),
    ];
  });
}

/** Grafana's variables filled in as it does for "All", the window 30 s. */
export function filled({ text }: Expression): string {
  return text
    .replaceAll(/\$(model|engine|uuid)\b/g, ".*")
    .replaceAll("$percentile", "99")
    .replaceAll(/\$__(rate_)?interval/g, "30s");
}

interface RuleFile {
  readonly groups: readonly {
    readonly rules: readonly { expr: string; record?: string; alert?: string }[];
  }[];
}

export const rulesFolder = new URL("../../grafana/rules/", import.meta.url);

export function rules(file: "recording.yaml" | "alerts.yaml"): { name: string; text: string }[] {
  const content = parse(readFileSync(new URL(file, rulesFolder), "utf8")) as RuleFile;
  return content.groups.flatMap((group) =>
    group.rules.map((rule) => ({ name: rule.record ?? rule.alert ?? "", text: rule.expr })),
  );
}

/** Instant selectors in an expression, matchers included: the parts that need data for it to have any. */
export function selectors(expression: string): string[] {
  return [...expression.matchAll(/\b(?:\w+:)?crosscheck_[\w:]+(?:\{[^}]*\})?/g)].map((match) => match[0]);
}
