// A job's levers and gates: parallel coordinates, what each lever matters, where candidates fell.

import { Problem, get, list } from "./api.js";
import { bar } from "./bars.js";
import { h, put, table } from "./dom.js";
import { labelOf, metrics } from "./form_metrics.js";
import { decisions, funnel } from "./funnel.js";
import { inside, parallel, share, valueAt } from "./parallel.js";
import { read, readAll, write } from "./state.js";

const MOST = 2000; // trials that are drawn
const FIRST = 300; // of them that are read before anybody looks
const LOOKED_UP = 60; // chosen trials that are asked for one by one
const USUAL = 8; // levers with an axis, unless all are asked for
const AGAIN = 15_000; // milliseconds until a job that goes on is read again
const ENDS = { state: ["COMPLETE", "STOPPED", "INFEASIBLE"] };
const ENDED = ["SUCCEEDED", "FAILED", "CANCELLED"];

/**
 * Fills `place` for a job (as GET /jobs/{id} answers). select(numbers | null) shows the trials that were chosen
 * elsewhere; trials inside the ranges that are drawn here are told by the event "brushed" on `place`.
 */
export async function levers(place, job, signal) {
  const view = { place, job, signal, path: `/jobs/${encodeURIComponent(job.id)}`, trials: new Map(), chosen: null, shares: null, version: null };
  [view.known] = await Promise.all([metrics()]);
  layout(view);
  await refresh(view);
  keepReading(view);
  whenSeen(view);
  return { select: (numbers) => select(view, numbers), refresh: () => refresh(view) };
}

function layout(view) {
  view.lines = h("div", {}, h("p", { class: "quiet" }, "…"));
  view.note = h("p", { class: "quiet" });
  view.matter = h("div", {});
  view.gates = h("div", {});
  view.stopping = h("div", {});
  view.all = h("input", { id: "all-levers", type: "checkbox", checked: read("levers") === "all", onchange: () => { write({ levers: view.all.checked ? "all" : null }); draw(view); } });
  view.allLabel = h("label", { class: "check", for: "all-levers" }, view.all, " An axis for every lever");
  view.free = h("button", { type: "button", hidden: true, onclick: () => { brushed(view, new Map()); draw(view); } }, "Free all ranges");
  const section = (title, ...content) => h("section", { "aria-label": title }, h("h2", {}, title), content);
  const lines = h("div", {});
  view.place.classList.add("levers");
  put(view.place,
    section("Levers and objectives", h("div", { class: "row" }, view.allLabel, view.free), legend(), view.note, lines),
    section("What matters", view.matter), section("Tests on the way", view.gates), section("Early stopping", view.stopping));
  view.picture = parallel(lines, (kept) => brushed(view, kept), view.signal);
}

function legend() {
  const kinds = [["front", "thick: on the front"], ["dominated", "thin: dominated"], ["infeasible", "dashed: breaks a limit"], ["stopped", "dotted: stopped early"]];
  return h("p", { class: "legend quiet" }, kinds.map(([, words]) => h("span", {}, words)));
}

// --- reading --------------------------------------------------------------------------------------

async function refresh(view) {
  const { path, signal } = view;
  const [gates, importances, front, best] = await Promise.all([
    get(`${path}/gates`, {}, { signal }), get(`${path}/importances`, {}, { signal }),
    trials(view, { on_front: "true" }, 500), trials(view, ENDS, FIRST),
  ]);
  view.version = JSON.stringify(gates.states);
  view.shares = importances;
  for (const one of view.trials.values()) one.on_front = false; // the front moves
  for (const one of [...best, ...front]) view.trials.set(one.number, one);
  const job = view.job;
  put(view.gates, funnel(gates, job.id));
  put(view.stopping, h("p", { class: "quiet" }, `Rule: ${job.spec.early_stopping ?? "mo_asha"}.`), decisions(gates));
  put(view.matter, matters(importances, view.known));
  draw(view);
}

/** The rest of the lines is read when they come into sight: the page above has to be there first. */
function whenSeen(view) {
  const watch = new IntersectionObserver(async (entries) => {
    if (!entries.some((one) => one.isIntersecting) || view.seen) return;
    view.seen = true;
    watch.disconnect();
    if (view.trials.size < FIRST) return;
    for (const one of await trials(view, ENDS, MOST)) if (!view.trials.has(one.number)) view.trials.set(one.number, one);
    draw(view);
  }, { rootMargin: "200px" });
  watch.observe(view.place);
  view.signal.addEventListener("abort", () => watch.disconnect());
}

/** Trials, the newest first. */
function trials({ path, signal }, params, most) {
  return list(`${path}/trials`, { sort: "-number", ...params }, most, { signal });
}

function keepReading(view) {
  if (ENDED.includes(view.job.state)) return;
  const timer = setInterval(async () => {
    if (document.hidden || view.reading) return;
    view.reading = true;
    try {
      const [gates, job] = await Promise.all([get(`${view.path}/gates`, {}, { signal: view.signal }), get(view.path, {}, { signal: view.signal })]);
      view.job = job;
      if (JSON.stringify(gates.states) !== view.version) await refresh(view);
      if (ENDED.includes(job.state)) clearInterval(timer);
    } catch (error) {
      if (!view.signal.aborted && !(error instanceof Problem)) throw error; // a refusal: the page says so
    } finally {
      view.reading = false;
    }
  }, AGAIN);
  view.signal.addEventListener("abort", () => clearInterval(timer));
}

/** Shows what was chosen elsewhere; null: nothing in particular. */
async function select(view, numbers) {
  view.chosen = numbers === null || numbers === undefined ? null : new Set(numbers);
  draw(view);
  const missing = [...(view.chosen ?? [])].filter((number) => !view.trials.has(number)).slice(0, LOOKED_UP);
  if (!missing.length) return;
  const found = await Promise.all(missing.map((number) => get(`${view.path}/trials/${number}`, {}, { signal: view.signal }).catch((error) => {
    if (error instanceof Problem) return null;
    throw error;
  })));
  for (const one of found) if (one !== null) view.trials.set(one.number, one);
  draw(view);
}

// --- showing --------------------------------------------------------------------------------------

const KINDS = { COMPLETE: "dominated", INFEASIBLE: "infeasible", STOPPED: "stopped", RUNNING: "running", FAILED: "failed" };

function draw(view) {
  const chosen = view.chosen;
  const first = (one) => (one.on_front ? 0 : chosen?.has(one.number) ? 1 : 2);
  const drawn = [...view.trials.values()].sort((a, b) => first(a) - first(b) || b.number - a.number).slice(0, MOST);
  const rows = drawn.map((one) => ({
    number: one.number, kind: one.on_front ? "front" : one.feasible ? KINDS[one.state] ?? "dominated" : "infeasible", values: { ...one.params, ...one.figures },
  }));
  const axes = axesOf(view, drawn);
  const asked = Object.values(JSON.parse(view.version ?? "{}")).reduce((sum, count) => sum + count, 0);
  const missing = chosen ? [...chosen].filter((number) => !view.trials.has(number)).length : 0;
  put(view.note, drawn.length < asked ? `${drawn.length.toLocaleString("en")} of ${asked.toLocaleString("en")} trials are drawn: the front and what was chosen first, then the newest. ` : "",
    chosen ? `${chosen.size.toLocaleString("en")} chosen${missing ? `, of which ${missing.toLocaleString("en")} are not drawn` : ""}.` : "");
  view.rows = rows;
  view.axes = axes;
  view.picture.draw({ axes, rows, chosen, ranges: rangesOf(axes) });
  view.free.hidden = readAll("brush").length === 0;
}

/** Objectives, then levers, those first that matter most. */
function axesOf(view, drawn) {
  const objectives = [view.job.spec.accuracy ?? "average_overlap", ...(view.job.spec.costs ?? ["macs_frame"])];
  const names = new Set(drawn.flatMap((one) => Object.keys(one.params)));
  const weight = (name) => objectives.reduce((sum, one) => sum + (view.shares?.shares[one]?.[name] ?? 0), 0);
  const sorted = [...names].sort((a, b) => weight(b) - weight(a) || a.localeCompare(b, "en", { numeric: true }));
  const ranged = readAll("brush").map((text) => text.split(":")[0]);
  const shown = sorted.filter((name, i) => view.all.checked || i < USUAL || ranged.includes(name));
  put(view.allLabel, view.all, ` An axis for every lever (${sorted.length})`);
  view.allLabel.hidden = sorted.length <= USUAL;
  const found = shown.map((name) => axis(name, named(name), drawn.map((one) => one.params[name])));
  return [...found, ...objectives.map((name) => ({ ...axis(name, labelOf(view.known, name), drawn.map((one) => one.figures[name])), objective: true }))];
}

/** "width.layer1.0.conv1" as people read it. */
export const named = (lever) => lever.replace(/^width\./, "").replace(/^keep\.(.*)$/, "keep $1").replace("backbone.", "");

function axis(name, label, all) {
  const values = all.filter((value) => value !== undefined && value !== null);
  if (values.some((value) => typeof value !== "number")) {
    return { name, label, kind: "choice", choices: [...new Set(values.map(String))].sort() };
  }
  const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return { name, label, kind: "number", whole: values.every(Number.isInteger) && high < 10_000, low: low <= high ? low : 0, high: low <= high ? high : 1 };
}

/** Ranges as shares of the axes; in the address are values, an end that is open is left out: "brush=width.stem:8:". */
function rangesOf(axes) {
  return readAll("brush").flatMap((text) => {
    const [, name, ...ends] = /^(.+):([^:]*):([^:]*)$/.exec(text) ?? [];
    const one = axes.find((other) => other.name === name);
    if (!one) return [];
    const [low, high] = ends.map((end, i) => (end === "" ? i : share(one, one.kind === "choice" ? decodeURIComponent(end) : Number(end))));
    return low <= high ? [[name, [Math.max(0, low), Math.min(1, high)]]] : [];
  });
}

function brushed(view, kept) {
  const end = (one, at, i) => (at === i ? "" : one.kind === "choice" ? encodeURIComponent(valueAt(one, at)) : Number((one.low + at * (one.high - one.low)).toPrecision(5)));
  write({ brush: [...kept].flatMap(([name, range]) => {
    const one = view.axes.find((other) => other.name === name);
    return one ? [`${name}:${end(one, range[0], 0)}:${end(one, range[1], 1)}`] : [];
  }) });
  view.free.hidden = kept.size === 0;
  const numbers = kept.size ? view.rows.filter((row) => inside(row, view.axes, kept)).map((row) => row.number) : null;
  view.place.dispatchEvent(new CustomEvent("brushed", { detail: numbers }));
}

function matters(found, known) {
  const objectives = Object.keys(found.shares);
  const names = new Set(objectives.flatMap((one) => Object.keys(found.shares[one])));
  if (!names.size) return h("p", { class: "quiet" }, "Too few trials are complete to say which levers matter.");
  const top = (name) => Math.max(...objectives.map((one) => found.shares[one][name] ?? 0));
  const rows = [...names].sort((a, b) => top(b) - top(a));
  const columns = [["Lever", (name) => named(name), { class: "path" }], ...objectives.flatMap((one) => [
    [labelOf(known, one), (name) => bar([[found.shares[one][name] ?? 0, "--accent"]], { outline: 1 })],
    ["Share", (name) => (found.shares[one][name] ?? 0).toFixed(2), { class: "number" }],
  ])];
  const shown = (some, caption) => table(columns, some, { caption });
  return [
    h("p", { class: "quiet" }, `The share of an objective's differences among ${found.looked_at.toLocaleString("en")} of ${found.of.toLocaleString("en")} complete trials that a lever explains alone: what went together, not what causes what.`),
    shown(rows.slice(0, 12), "Importance of levers for each objective"),
    rows.length > 12 ? h("details", {}, h("summary", {}, `The other ${rows.length - 12} levers`), shown(rows.slice(12), "Importance of the other levers")) : null,
  ];
}
