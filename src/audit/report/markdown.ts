import type { Block, Cell } from "./blocks.ts";
import { describe } from "./document.ts";
import type { Report } from "./schema.ts";

/** The report as GitHub-flavoured Markdown; pictures are in the HTML one. */
export function toMarkdown(report: Report): string {
  const { title, verdict, verdictReason, facts, sections } = describe(report);
  const lines = [
    `# ${title}`,
    `**${verdict.toUpperCase()}**: ${escape(verdictReason)}.`,
    facts.map(([name, value]) => `- ${name}: ${escape(value)}`).join("\n"),
  ];
  for (const { title: heading, lead, blocks } of sections) {
    const shown = blocks.filter(({ type }) => type !== "pictures");
    if (shown.length === 0) continue;
    lines.push(`## ${heading}`, lead, ...shown.map(block));
  }
  return `${lines.join("\n\n")}\n`;
}

function block(one: Block): string {
  switch (one.type) {
    case "text":
      return escape(one.text);
    case "list":
      return one.items.map((item) => `- ${escape(item)}`).join("\n");
    case "table": {
      const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
      const rule = row(one.head.map(() => "---"));
      return [
        `**${one.caption}**\n`,
        row(one.head.map(escape)),
        rule,
        ...one.rows.map((cells) => row(cells.map(cell))),
      ].join("\n");
    }
    case "pictures":
      return "";
    default:
      return one satisfies never;
  }
}

function cell(value: Cell): string {
  if (typeof value === "string") return escape(value);
  const text = escape(value.text);
  if (value.kind === "words") return text;
  return value.kind === "code" || value.kind === "command"
    ? `\`${value.text.replaceAll("`", "'").replaceAll("|", "\\|")}\``
    : `**${text}**`;
}

function escape(text: string): string {
  return text.replaceAll(/[\\`*_<>|[\]]/g, String.raw`\$&`).replaceAll(/\s*\n\s*/g, " ");
}
