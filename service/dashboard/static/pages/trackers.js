// Trackers to start from: those that ship, those uploaded; families; a form to upload one.

import { get, may, send } from "../api.js";
import { confirmed, h, put, table } from "../dom.js";
import { busy } from "../form_fields.js";
import { labelOf, metrics } from "../form_metrics.js";
import { trackerForm } from "../form_tracker.js";
import { ago, figure, told } from "../format.js";
import { read, write } from "../state.js";

let form = null; // kept when the page is begun again, with what was typed

export async function show(main, signal) {
  const archived = read("archived") === "1";
  const [known, canSubmit, found] = await Promise.all([metrics(), may("submitter"), everything(archived, signal)]);
  const wrong = h("p", { class: "problem", role: "alert" }), place = h("div", {});
  const box = h("input", { type: "checkbox", id: "archived", checked: archived });
  const about = { known, canSubmit, wrong, again: async () => put(place, shown(await everything(box.checked, signal), about)) };
  form ??= h("details", { class: "fold card" }, h("summary", {}, h("h2", {}, "Upload a tracker")),
    trackerForm(found.families, () => window.dispatchEvent(new Event("trackeruploaded"))));
  window.addEventListener("trackeruploaded", () => about.again().catch((error) => put(wrong, error.message)), { signal });
  box.addEventListener("change", () => { write({ archived: box.checked }); about.again().catch((error) => put(wrong, error.message)); }, { signal });
  put(place, shown(found, about));
  put(main, h("h1", {}, "Trackers"), h("p", { class: "quiet" }, "A job names one of these as its teacher. The tracker of a trial can be one, too: JOB/NUMBER."),
    canSubmit ? form : null, wrong, place, h("label", { class: "check", for: "archived" }, box, " With archived ones"),
    h("h2", {}, "Families"), families(found.families));
}

async function everything(archived, signal) {
  const items = [];
  let families = [], cursor = null;
  do {
    const found = await get("/trackers", { limit: 200, cursor, archived: archived ? "true" : null }, { signal });
    if (cursor === null) families = found.families;
    items.push(...found.items);
    cursor = found.next;
  } while (cursor !== null);
  return { families, items };
}

function shown(found, about) {
  return table([
    ["Name", (one) => [h("strong", {}, one.name), " ", one.archived_at ? h("span", { class: "tag" }, "archived") : null,
      h("div", { class: "quiet small" }, one.kind === "shipped" ? "ships with Paretrack" : `uploaded by ${one.owner}${one.project ? `, project ${one.project}` : ""}, ${ago(one.created_at)}`)], { class: "long" }],
    ["Family", (one) => one.family],
    ["Accuracy", (one) => figures(one.accuracy, about.known), { class: "line small" }],
    ["Cost", (one) => figures(one.cost, about.known), { class: "line small" }],
    ["Weights", (one) => [figure(one.weights_bytes, "B"), one.sha256 ? h("div", { class: "quiet small", title: one.sha256 }, `sha256 ${one.sha256.slice(0, 12)}…`) : null], { class: "line" }],
    ["Note", (one) => one.note, { class: "long small" }],
    ["What to do", (one) => actions(one, about), { class: "line" }],
  ], found.items, { caption: "Trackers that ship, then those uploaded" });
}

function figures(found, known) {
  const rows = Object.entries(found);
  return rows.length ? rows.map(([name, value]) => h("div", {}, `${labelOf(known, name)} ${told(known, name, value)}`)) : "–";
}

function actions(tracker, about) {
  if (tracker.archived_at || !about.canSubmit) return "";
  const remove = async () => {
    const sure = await confirmed(`Archive the tracker “${tracker.name}”? No new job may name it, and its name stays taken. Jobs that have it go on.`, "Archive it");
    if (!sure) return;
    await send("DELETE", `/trackers/${encodeURIComponent(tracker.name)}`);
    await about.again();
  };
  return h("div", { class: "row" },
    h("a", { class: "button", href: `/jobs/new?teacher=${encodeURIComponent(tracker.name)}`, "aria-label": `Search from ${tracker.name}` }, "Search"),
    tracker.kind === "uploaded" ? busy("Archive …", remove, about.wrong, { "aria-label": `Archive …: ${tracker.name}` }) : null);
}

function families(found) {
  return table([
    ["Family", (one) => h("strong", {}, one.name)],
    ["What it is", (one) => one.about, { class: "long" }],
    ["Networks known by name", (one) => one.presets.join(", "), { class: "long" }],
  ], found, { caption: "Tracker families" });
}
