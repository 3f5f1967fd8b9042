import { attribute, byId, figures, inside, keep, make, write } from "./dom.js";
import { bytes, digits, percent } from "./format.js";

/** @import { Board, Device } from "./types.js" */

/** GPUs and the board's CPU side. */
export function createDevices() {
  const table = byId("devices");
  const body = inside(table, "tbody");

  return {
    /** @param {readonly Device[]} devices @param {Board} board */
    render(devices, board) {
      table.hidden = devices.length === 0;
      byId("noDevices").hidden = devices.length > 0;
      keep(body, devices, ({ device, uuid }) => `${device} ${uuid}`, createRow, updateRow);
      figures(byId("board"), [
        ...(board.cpuPressureRatio === undefined
          ? []
          : [
              /** @type {const} */ ([
                "some task waited for a CPU",
                `${percent(board.cpuPressureRatio)} of the time`,
              ]),
            ]),
        ...(board.cpuThrottledRatio === undefined
          ? []
          : [/** @type {const} */ (["held back by the CPU quota", percent(board.cpuThrottledRatio)])]),
        ...(board.cpuFrequencyRatio === undefined
          ? []
          : [/** @type {const} */ (["CPU clock", `${percent(board.cpuFrequencyRatio)} of its most`])]),
        ...(board.temperatureCelsius === undefined
          ? []
          : [/** @type {const} */ (["hottest zone", `${digits(board.temperatureCelsius)} °C`])]),
        ...(board.starved
          ? [/** @type {const} */ (["timings", "say more of this machine than of the engines", "bad"])]
          : []),
      ]);
    },
  };
}

function createRow() {
  const cell = (/** @type {string} */ label, /** @type {string} */ className) =>
    make("td", { role: "cell", "data-label": label, class: className });
  return make(
    "tr",
    { role: "row" },
    make(
      "th",
      { scope: "row", role: "rowheader", class: "name" },
      make("span", { class: "id" }),
      make("small"),
    ),
    cell("Busy", "number busy"),
    cell("Memory", "number memory"),
    cell("Power", "number power"),
    cell("Temperature", "number temperature"),
    cell("Clocks", "clocks"),
    cell("Power mode", "mode"),
    cell("Throttling", "throttling"),
  );
}

/** @param {HTMLElement} row @param {Device} device */
function updateRow(row, device) {
  const part = (/** @type {string} */ selector) => inside(row, selector);
  const { memoryUsedBytes: used, memoryTotalBytes: total } = device;
  write(part(".id"), `${device.device} ${device.name}`);
  write(part("small"), `driver ${device.driver}`);
  write(part(".busy"), percent(device.utilizationRatio));
  write(part(".memory"), used === undefined ? "–" : `${bytes(used)} of ${bytes(total)}`);
  write(part(".power"), device.powerWatts === undefined ? "–" : `${digits(device.powerWatts)} W`);
  write(
    part(".temperature"),
    device.temperatureCelsius === undefined ? "–" : `${digits(device.temperatureCelsius)} °C`,
  );
  write(
    part(".clocks"),
    Object.entries(device.clocksHertz)
      .map(([domain, hertz]) => `${domain} ${digits(hertz / 1e6)} MHz`)
      .join(", ") || "–",
  );
  write(part(".mode"), device.powerMode ?? "–");
  const reasons = Object.entries(device.throttleReasons).flatMap(([reason, on]) => (on ? [reason] : []));
  write(part(".throttling"), reasons.join(", ") || "none");
  attribute(part(".throttling"), "data-tone", device.throttled ? "bad" : undefined);
}
