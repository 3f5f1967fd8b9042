import { Refusal, post } from "./api.js";
import { byId, byKind, keep, make, write } from "./dom.js";
import { plural } from "./format.js";

/** @import { Model, Verdict } from "./types.js" */

/**
 * The dialog that asks for a reason, and for an engine where none was chosen, before a switch or a roll-back.
 *
 * @param {{
 *   verdicts: (model: string, engine: string) => readonly Verdict[],
 *   onDone: (words: string) => void,
 * }} options
 */
export function createActions({ verdicts, onDone }) {
  const dialog = byKind(HTMLDialogElement, "act");
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  const engine = byKind(HTMLSelectElement, "actEngine");
  const reason = byKind(HTMLTextAreaElement, "actReason");
  const submit = byKind(HTMLButtonElement, "actDo");
  /** @type {{ model: Model, kind: "switch" | "rollback" } | undefined} */
  let asked;

  function open() {
    write(byId("actError"), "");
    reason.value = "";
    dialog.showModal();
    reason.focus();
  }

  /** What speaks against the chosen engine, before it is chosen. */
  function warn() {
    if (!asked) return;
    const { model, kind } = asked;
    const failing =
      kind === "switch"
        ? verdicts(model.model, engine.value).filter(({ verdict }) => verdict === "fail")
        : [];
    const chosen = model.engines.find(({ id }) => id === engine.value);
    const words = [
      failing.length > 0
        ? `It fails ${plural(failing.length, "rule")}: ${failing.map(({ rule }) => rule).join(", ")}.`
        : "",
      kind === "switch" && chosen?.state === "quarantined" ? "It is quarantined; the switch lifts that." : "",
      kind === "switch" && chosen?.state === "failed"
        ? `It failed: ${chosen.reason ?? "no reason known"}`
        : "",
    ];
    write(byId("actWarning"), words.filter(Boolean).join(" "));
  }

  engine.addEventListener("change", warn);
  byId("actCancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void act();
  });

  async function act() {
    if (!asked || submit.disabled) return;
    const { model, kind } = asked;
    const said = reason.value.trim();
    if (said === "") {
      write(byId("actError"), "A reason is needed; it goes into the decision log.");
      reason.focus();
      return;
    }
    submit.disabled = true;
    write(byId("actError"), "");
    try {
      const body = kind === "switch" ? { engine: engine.value, reason: said } : { reason: said };
      const { to, decision } = await post(`v1/models/${encodeURIComponent(model.model)}/${kind}`, body);
      dialog.close();
      onDone(`${to} serves ${model.model} now, decision ${decision?.seq ?? "logged"}.`);
    } catch (error) {
      write(byId("actError"), error instanceof Refusal ? error.message : String(error));
    } finally {
      submit.disabled = false;
    }
  }

  return {
    /** @param {Model} model @param {string} [to] */
    switch(model, to) {
      asked = { model, kind: "switch" };
      const choices = model.engines.filter(({ id }) => id !== model.active);
      write(byId("actTitle"), `Switch ${model.model}`);
      write(
        byId("actWords"),
        `${model.active || "No engine"} serves it now. Requests in flight end where they began.`,
      );
      byId("actTarget").hidden = false;
      keep(
        engine,
        choices,
        ({ id }) => id,
        ({ id }) => make("option", { value: id, text: id }),
        () => {},
      );
      if (to !== undefined) engine.value = to;
      else engine.selectedIndex = 0;
      write(submit, "Switch");
      submit.disabled = choices.length === 0;
      warn();
      open();
    },
    /** @param {Model} model */
    rollback(model) {
      asked = { model, kind: "rollback" };
      write(byId("actTitle"), `Roll back ${model.model}`);
      write(byId("actWords"), `From ${model.active || "no engine"} to the last good engine before it.`);
      byId("actTarget").hidden = true;
      write(submit, "Roll back");
      submit.disabled = false;
      warn();
      open();
    },
  };
}
