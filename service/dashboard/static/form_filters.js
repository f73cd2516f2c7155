// What the list of jobs shows: said in the address, changed by a form.

import { get } from "./api.js";
import { choice, flag, text } from "./form_fields.js";
import { h, put } from "./dom.js";
import { read, readAll, write } from "./state.js";

const STATES = ["QUEUED", "RUNNING", "PAUSING", "PAUSED", "STOPPING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED", "HELD"];
const KINDS = [[undefined, "all"], ["search", "searches"], ["tune_recipe", "tunings of a recipe"]];

/** What the address asks for, as parameters of the list. */
export function wanted() {
  return {
    text: read("text"), state: readAll("state"), label: readAll("label"), tracker: read("tracker"),
    kind: read("kind"), schedule: read("schedule"), archived: read("archived") === "1" ? "true" : null,
  };
}

/** Fill `form` with the filters; `changed` is called when one has been changed. */
export function filters(form, changed, signal) {
  const fields = {
    text: text({ label: "Name or id", type: "search" }),
    state: choice({ label: "State", options: [[undefined, "any"], ...several(readAll("state")), ...STATES.map((one) => [one, one.toLowerCase()])] }),
    label: text({ label: "Labels (with commas)" }),
    tracker: choice({ label: "Tracker", options: [[undefined, "any"]] }),
    kind: choice({ label: "Kind", options: KINDS }),
    archived: flag({ label: "With archived ones" }),
  };
  const now = wanted();
  fields.text.fill(now.text ?? undefined);
  fields.state.fill(now.state.length ? now.state.join() : undefined);
  fields.label.fill(now.label.join(", ") || undefined);
  fields.tracker.fill(now.tracker ?? undefined);
  fields.kind.fill(now.kind ?? undefined);
  fields.archived.fill(now.archived !== null);
  put(form, ofSchedule(changed), Object.values(fields).map((field) => field.element));
  families(fields.tracker, now.tracker);

  let timer = null;
  const apply = () => { write(said(fields)); changed(); };
  form.addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(apply, event.target.matches("input:not([type=checkbox])") ? 300 : 0);
  }, { signal });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); apply(); }, { signal });
}

// The page of nights leads here.
function ofSchedule(changed) {
  if (!read("schedule")) return null;
  const all = h("button", { type: "button", onclick: () => { write({ schedule: null }); note.remove(); changed(); } }, "Of all");
  const note = h("p", { class: "row" }, `Jobs of the schedule ${read("schedule")}`, all);
  return note;
}

// A link may ask for several states at once.
function several(states) {
  return states.length > 1 ? [[states.join(), states.join(" or ").toLowerCase()]] : [];
}

function said(fields) {
  const labels = (fields.label.read() ?? "").split(",").map((word) => word.trim()).filter(Boolean);
  return {
    text: fields.text.read(), state: fields.state.read()?.split(","), label: labels,
    tracker: fields.tracker.read(), kind: fields.kind.read(), archived: fields.archived.read() ?? false,
  };
}

async function families(field, chosen) {
  const found = await get("/trackers", { limit: 1 });
  const select = field.element.querySelector("select");
  for (const { name } of found.families) {
    if (![...select.options].some((one) => one.value === name)) select.append(new Option(name, name));
  }
  if (chosen) select.value = chosen;
}
