import { attribute, byId, inside, keep, make, write } from "./dom.js";
import { by, clock } from "./format.js";
import { movement } from "./overview.js";

/** @import { Decision } from "./types.js" */

const shown = 50;

/** The decision log of one model and of the gateway itself, newest first. */
export function createDecisions() {
  const table = byId("decisions");
  const none = byId("noDecisions");

  return {
    /** @param {readonly Decision[]} decisions newest first */
    render(decisions) {
      table.hidden = decisions.length === 0;
      none.hidden = decisions.length > 0;
      keep(
        inside(table, "tbody"),
        decisions.slice(0, shown),
        ({ seq, hash }) => `${seq} ${hash}`,
        createRow,
        (row, { time }) => write(inside(row, "time"), clock(time)),
      );
    },
  };
}

/** @param {Decision} decision */
function createRow({ seq, time, type, from, to, reason, trigger, actor, hash }) {
  const cell = (
    /** @type {string} */ label,
    /** @type {string} */ className,
    /** @type {Node[]} */ ...children
  ) => make("td", { role: "cell", "data-label": label, class: className }, ...children);
  const row = make(
    "tr",
    { role: "row" },
    cell("No.", "number", make("span", String(seq))),
    cell("Time", "nowrap", make("time", { datetime: time })),
    make("th", { scope: "row", role: "rowheader", class: "type", text: type }),
    cell("Engines", "moved", make("span", movement(from, to) || "–")),
    cell("Reason", "wide reason", make("span", reason)),
    cell("By", "nowrap", make("span", by(trigger, actor))),
    cell("Hash", "", make("code", hash.slice(0, 8))),
  );
  attribute(row, "data-type", type);
  return row;
}
