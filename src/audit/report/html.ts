import { colourOf, drawPictures } from "./charts.ts";
import type { Block, Cell } from "./blocks.ts";
import { describe, type Section } from "./document.ts";
import type { Report } from "./schema.ts";
import { style } from "./style.ts";

/** One page that needs nothing else: no script, no request to anywhere, readable in the dark, on a phone, on paper. */
export function toHtml(report: Report): string {
  const { title, verdict, verdictReason, facts, sections } = describe(report);
  const body = [
    `<header><h1>${escape(title)}</h1>`,
    `<p class="verdict ${verdict}"><strong>${verdict.toUpperCase()}</strong> ${escape(verdictReason)}.</p>`,
    `<dl>${facts.map(([name, value]) => `<div><dt>${escape(name)}</dt><dd>${escape(value)}</dd></div>`).join("")}</dl></header>`,
    `<nav aria-label="Sections">${sections.map((one) => `<a href="#${anchor(one)}">${escape(one.title)}</a>`).join("")}</nav>`,
    "<main>",
    ...sections.map((one) => section(one, report)),
    "</main>",
  ];
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    `<title>${escape(title)}: ${verdict.toUpperCase()}</title><style>${style}</style></head><body>`,
    ...body,
    "</body></html>",
  ].join("\n");
}

function section(one: Section, report: Report): string {
  const blocks = one.blocks.map((part) => block(part, report)).join("\n");
  return `<section id="${anchor(one)}"><h2>${escape(one.title)}</h2><p class="lead">${escape(one.lead)}</p>${blocks}</section>`;
}

function block(one: Block, report: Report): string {
  switch (one.type) {
    case "text":
      return `<p>${escape(one.text)}</p>`;
    case "list":
      return `<ul>${one.items.map((item) => `<li>${escape(item)}</li>`).join("")}</ul>`;
    case "table": {
      const head = one.head.map((text) => `<th scope="col">${escape(text)}</th>`).join("");
      const rows = one.rows.map((cells) => `<tr>${cells.map(cell).join("")}</tr>`).join("\n");
      return `<div class="table" tabindex="0" role="region" aria-label="${escape(one.caption)}"><table><caption>${escape(one.caption)}</caption><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
    }
    case "pictures":
      return pictures(report);
    default:
      return one satisfies never;
  }
}

function pictures(report: Report): string {
  const drawn = drawPictures(report);
  if (drawn.length === 0) return "<p>No times yet.</p>";
  const key = report.engines
    .filter(({ distribution }) => distribution !== null)
    .map(({ id }, i) => `<li><i style="background:${colourOf(i)}"></i>${escape(id)}</li>`)
    .join("");
  const figures = drawn.map(
    ({ title, description, svg }) =>
      `<figure><figcaption><strong>${escape(title)}.</strong> ${escape(description)}</figcaption>${svg}</figure>`,
  );
  return `<ul class="key">${key}</ul><div class="figures">${figures.join("\n")}</div>`;
}

function cell(value: Cell): string {
  if (typeof value === "string") {
    const number = /^(?:[-+<>]?\s?[\d.]|-$)/.test(value) ? ' class="number"' : "";
    return `<td${number}>${escape(value)}</td>`;
  }
  const text = escape(value.text);
  switch (value.kind) {
    case "code":
      return `<td><code>${text}</code></td>`;
    case "command":
      return `<td class="words command"><code>${text}</code></td>`;
    case "words":
      return `<td class="words">${text}</td>`;
    case "pass":
    case "fail":
    case "inconclusive":
      return `<td><span class="chip ${value.kind}">${text}</span></td>`;
    default:
      return value.kind satisfies never;
  }
}

function anchor({ title }: Section): string {
  return title.toLowerCase().replaceAll(/[^a-z]+/g, "-");
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
}
