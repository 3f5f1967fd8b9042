import { toHtml } from "./html.ts";
import { toMarkdown } from "./markdown.ts";
import type { Report } from "./schema.ts";

export type ReportFormat = "html" | "md" | "json";

export function renderReport(report: Report, format: ReportFormat): string {
  switch (format) {
    case "html":
      return toHtml(report);
    case "md":
      return toMarkdown(report);
    case "json":
      return `${JSON.stringify(report, null, 1)}\n`;
    default:
      return format satisfies never;
  }
}
