// Parallel coordinates on a canvas: one upright axis for each lever and objective, one line for each trial.

import { h, put } from "./dom.js";
import { digits, figure } from "./format.js";

const TALL = 300, TOP = 46, BOTTOM = 24, SIDE = 46, NARROW = 84; // pixels; NARROW: the least between two axes
const GRAB = 16; // so far from an axis a press belongs to it
const FEW = 60; // chosen lines that are drawn thick
const STEP = 1 / 20; // of an axis, that a key moves an end of its range
// Lines differ by more than colour: their dashes, how thick they are.
const LINES = {
  infeasible: ["--infeasible", 1, [6, 4], 0.35], stopped: ["--stopped", 1, [1.5, 4], 0.45], dominated: ["--dominated", 1, [], 0.4],
  running: ["--accent", 1, [2, 2], 0.4], failed: ["--bad", 1, [2, 6], 0.4], front: ["--front", 2, [], 0.95],
};
const CHOSEN = ["--accent", 2.5, [], 1];

/**
 * Fills `place`; `changed(ranges)` hears of brushes. What it returns: draw({axes, rows, chosen, ranges}).
 * axes: [{name, label, kind: "number" | "choice", low, high, choices}]; rows: [{number, kind, values}].
 */
export function parallel(place, changed, signal) {
  const canvas = h("canvas", { tabindex: "0", role: "application", "aria-roledescription": "parallel coordinates" });
  const said = h("p", { class: "quiet", role: "status" });
  const ranges = h("div", {});
  put(place, h("div", { class: "picture" }, canvas), said,
    h("p", { class: "quiet" }, "Drag along an axis to keep the trials in that range; a click, or a tap, on the axis frees it. By keys: ← → choose an axis, ↑ ↓ move the lower end of its range, with Shift the upper, Escape frees it."),
    h("details", {}, h("summary", {}, "Ranges as numbers"), ranges));
  const view = { canvas, said, fields: ranges, changed, axes: [], rows: [], chosen: null, kept: new Map(), at: 0, frame: 0 };
  hands(view, signal);
  const later = (event) => (event?.detail === "now" ? paint(view) : redraw(view));
  window.addEventListener("themechange", later, { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later, { signal });
  const sized = new ResizeObserver(later);
  sized.observe(place);
  signal.addEventListener("abort", () => { sized.disconnect(); cancelAnimationFrame(view.frame); });
  return {
    draw(given) {
      Object.assign(view, given, given.ranges ? { kept: new Map(given.ranges) } : {});
      view.at = Math.min(view.at, Math.max(view.axes.length - 1, 0));
      inputs(view);
      redraw(view);
    },
  };
}

/** Whether a trial lies in all ranges; what it has no value of, it is out of. */
export function inside(row, axes, kept) {
  for (const [name, [low, high]] of kept) {
    const axis = axes.find((one) => one.name === name);
    if (!axis) continue;
    const at = share(axis, row.values[name]);
    if (at === null || at < low - 1e-9 || at > high + 1e-9) return false;
  }
  return true;
}

/** Where a value is on its axis, from 0 at the bottom to 1. */
export function share(axis, value) {
  if (value === undefined || value === null) return null;
  if (axis.kind === "choice") return axis.choices.length < 2 ? 0.5 : axis.choices.indexOf(String(value)) / (axis.choices.length - 1);
  return axis.high === axis.low ? 0.5 : (value - axis.low) / (axis.high - axis.low);
}

/** What stands at a share of an axis, in words. */
export function valueAt(axis, at, round = Math.round) {
  const near = (value) => (Math.abs(value - Math.round(value)) < 0.01 ? Math.round(value) : round(value));
  if (axis.kind === "choice") return axis.choices[near(at * (axis.choices.length - 1))];
  const value = axis.low + at * (axis.high - axis.low);
  return axis.whole ? String(near(value)) : Math.abs(value) >= 1000 ? figure(value) : digits(value);
}

// --- drawing --------------------------------------------------------------------------------------

function redraw(view) {
  cancelAnimationFrame(view.frame);
  view.frame = requestAnimationFrame(() => paint(view));
}

function paint(view) {
  const { canvas, axes, rows, kept, chosen } = view;
  const wide = Math.max(canvas.parentElement.clientWidth, SIDE * 2 + (axes.length - 1) * NARROW);
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: Math.round(wide * ratio), height: Math.round(TALL * ratio) });
  Object.assign(canvas.style, { width: `${wide}px`, height: `${TALL}px` });
  const style = getComputedStyle(document.documentElement);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  view.x = axes.map((_, i) => SIDE + (axes.length < 2 ? 0.5 : i / (axes.length - 1)) * (wide - 2 * SIDE));
  const colour = (name) => style.getPropertyValue(name).trim();
  const held = rows.map((row) => inside(row, axes, kept));
  const bright = rows.filter((row, i) => held[i] && (chosen === null || chosen.has(row.number))).length;
  const crowd = Math.min(2, Math.max(0.3, 300 / bright)), dim = Math.min(0.15, 24 / rows.length); // many lines have to be fainter than few
  const lit = (row, i) => held[i] && (chosen === null || chosen.has(row.number));
  const order = ["failed", "running", "infeasible", "stopped", "dominated", "front"];
  const sorted = rows.map((row, i) => i).sort((a, b) => lit(rows[a], a) - lit(rows[b], b) || order.indexOf(rows[a].kind) - order.indexOf(rows[b].kind));
  for (const i of sorted) {
    const row = rows[i], picked = chosen !== null && chosen.has(row.number) && held[i];
    const [name, thick, dashes, clear] = picked && row.kind !== "front" ? CHOSEN : LINES[row.kind] ?? LINES.dominated;
    const clearly = row.kind === "front" || (picked && bright <= FEW) ? clear : Math.min(0.8, clear * crowd);
    line(pen, view, row, colour(name), bright <= FEW || row.kind === "front" ? thick : 1, dashes, lit(row, i) ? clearly : dim);
  }
  pen.globalAlpha = 1;
  pen.setLineDash([]);
  axes.forEach((axis, i) => paintAxis(pen, view, axis, i, colour));
  tell(view, held);
}

const up = (at) => TALL - BOTTOM - at * (TALL - BOTTOM - TOP);

function line(pen, view, row, colour, thick, dashes, clear) {
  pen.globalAlpha = clear;
  pen.strokeStyle = colour;
  pen.lineWidth = thick;
  pen.setLineDash(dashes);
  pen.beginPath();
  let down = false; // a lever that the trial does not have interrupts its line
  view.axes.forEach((axis, i) => {
    const at = share(axis, row.values[axis.name]);
    if (at === null) { down = false; return; }
    if (down) pen.lineTo(view.x[i], up(at));
    else pen.moveTo(view.x[i], up(at));
    down = true;
  });
  pen.stroke();
}

function paintAxis(pen, view, axis, i, colour) {
  const x = view.x[i], here = document.activeElement === view.canvas && view.at === i;
  pen.strokeStyle = colour(here ? "--accent" : "--quiet");
  pen.lineWidth = here ? 2.5 : 1;
  pen.beginPath();
  pen.moveTo(x, up(0));
  pen.lineTo(x, up(1));
  pen.stroke();
  const range = view.kept.get(axis.name);
  if (range) {
    pen.fillStyle = colour("--select");
    pen.strokeStyle = colour("--accent");
    pen.lineWidth = 1.5;
    const box = [x - 7, up(range[1]) - 4, 14, up(range[0]) - up(range[1]) + 8]; // of a single value, too
    pen.fillRect(...box);
    pen.strokeRect(...box);
  }
  pen.fillStyle = colour(axis.objective ? "--text" : "--quiet");
  pen.textAlign = "center";
  const room = (view.x.length > 1 ? view.x[1] - view.x[0] : 200) * (view.axes.length > 1 ? 1.9 : 1);
  const at = Math.min(Math.max(x, SIDE), view.x.at(-1));
  pen.fillText(fitted(pen, axis.label, Math.min(room, i === 0 || i === view.axes.length - 1 ? 2 * SIDE : room)), at, i % 2 ? 12 : 26);
  pen.fillStyle = colour("--quiet");
  pen.fillText(valueAt(axis, 1), x, up(1) - 5);
  pen.fillText(valueAt(axis, 0), x, up(0) + 14);
}

function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let short = text;
  while (short.length > 3 && pen.measureText(`…${short}`).width > room) short = short.slice(1);
  return `…${short}`;
}

function tell(view, held) {
  const many = held.filter(Boolean).length;
  const brushed = [...view.kept].filter(([name]) => view.axes.some((one) => one.name === name)).map(([name, range]) => {
    const axis = view.axes.find((one) => one.name === name);
    return `${axis.label} from ${valueAt(axis, range[0], Math.ceil)} to ${valueAt(axis, range[1], Math.floor)}`;
  });
  const words = brushed.length ? `${brushed.join("; ")}: ${many} of ${view.rows.length} trials. ` : "";
  if (view.said.textContent !== words) put(view.said, words);
  const axis = view.axes[view.at];
  view.canvas.setAttribute("aria-label", `Parallel coordinates of ${view.rows.length} trials over ${view.axes.length} axes: ${view.axes.map((one) => one.label).join(", ")}. ${words}${axis ? `Axis chosen: ${axis.label}, from ${valueAt(axis, 0)} to ${valueAt(axis, 1)}.` : ""}`);
}

// --- hands ----------------------------------------------------------------------------------------

function set(view, name, range) {
  if (range === null) view.kept.delete(name);
  else view.kept.set(name, range);
  inputs(view);
  redraw(view);
  view.changed(view.kept);
}

function hands(view, signal) {
  const { canvas } = view;
  let drag = null;
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    const at = view.x?.reduce((best, one, i) => (Math.abs(one - x) < Math.abs(view.x[best] - x) ? i : best), 0) ?? 0;
    return { i: view.x?.length && Math.abs(view.x[at] - x) <= GRAB ? at : null, share: Math.min(1, Math.max(0, (up(0) - y) / (up(0) - up(1)))) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    const found = where(event);
    if (found.i === null) return;
    drag = { i: found.i, from: found.share, moved: false };
    view.at = found.i;
    canvas.setPointerCapture(event.pointerId);
  }, { signal });
  // A finger that goes along an axis marks a range there; everywhere else, and across, it scrolls.
  let finger = null;
  canvas.addEventListener("touchstart", (event) => {
    const [touch] = event.touches;
    finger = event.touches.length === 1 && where(touch).i !== null ? touch : null;
  }, { signal, passive: true });
  canvas.addEventListener("touchmove", (event) => {
    if (finger === null || !event.cancelable) return;
    const [now] = event.touches;
    if (Math.abs(now.clientY - finger.clientY) > Math.abs(now.clientX - finger.clientX)) event.preventDefault();
  }, { signal, passive: false });
  canvas.addEventListener("pointermove", (event) => {
    const found = where(event);
    canvas.style.cursor = found.i === null ? "" : "ns-resize";
    if (!drag) return;
    if (Math.abs(found.share - drag.from) > 0.02) drag.moved = true;
    if (drag.moved) set(view, view.axes[drag.i].name, [Math.min(drag.from, found.share), Math.max(drag.from, found.share)]);
  }, { signal });
  const end = () => {
    if (drag && !drag.moved) set(view, view.axes[drag.i].name, null);
    drag = null;
  };
  canvas.addEventListener("pointerup", end, { signal });
  canvas.addEventListener("pointercancel", () => { drag = null; }, { signal });
  canvas.addEventListener("keydown", (event) => keys(view, event), { signal });
  for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => redraw(view), { signal });
}

function keys(view, event) {
  const axis = view.axes[view.at];
  const [low, high] = view.kept.get(axis?.name) ?? [0, 1];
  const by = event.key === "ArrowUp" ? STEP : -STEP;
  if (!axis || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    view.at = (view.at + (event.key === "ArrowRight" ? 1 : -1) + view.axes.length) % view.axes.length;
    const box = view.canvas.parentElement; // the axis has to be seen
    box.scrollLeft = Math.max(0, view.x[view.at] - box.clientWidth / 2);
    redraw(view);
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    const range = event.shiftKey ? [low, Math.min(1, Math.max(low, high + by))] : [Math.max(0, Math.min(high, low + by)), high];
    set(view, axis.name, range[0] <= 0 && range[1] >= 1 ? null : range);
  } else if (event.key === "Escape") set(view, axis.name, null);
  else return;
  event.preventDefault();
}

/** The ranges once more as fields; they stay while the axes do, so that nobody loses the focus. */
function inputs(view) {
  const key = JSON.stringify(view.axes.map((axis) => [axis.name, axis.low, axis.high, axis.choices]));
  if (view.fieldsOf !== key) {
    view.fieldsOf = key;
    view.pairs = view.axes.map((axis, i) => ["low", "high"].map((which) => field(view, axis, which, i)));
    put(view.fields, view.axes.map((axis, i) => h("fieldset", { class: "ranges" }, h("legend", {}, axis.label), view.pairs[i][0], h("span", {}, "to"), view.pairs[i][1])));
  }
  view.axes.forEach((axis, i) => {
    const range = view.kept.get(axis.name) ?? [0, 1];
    view.pairs[i].forEach((one, end) => {
      if (axis.kind === "choice") one.selectedIndex = Math.round(range[end] * (axis.choices.length - 1));
      else one.value = Number((axis.low + range[end] * (axis.high - axis.low)).toPrecision(6));
    });
  });
}

function field(view, axis, which, i) {
  const about = { id: `range-${which}-${i}`, "aria-label": `${axis.label}, ${which === "low" ? "from" : "to"}` };
  if (axis.kind === "choice") {
    const last = Math.max(axis.choices.length - 1, 1);
    return h("select", { ...about, onchange: (event) => typed(view, axis, which, event.target.selectedIndex / last) }, axis.choices.map((one) => h("option", {}, one)));
  }
  const at = (value) => (axis.high === axis.low ? 0.5 : (value - axis.low) / (axis.high - axis.low));
  return h("input", { ...about, type: "number", step: "any", onchange: (event) => typed(view, axis, which, event.target.value === "" ? NaN : at(Number(event.target.value))) });
}

function typed(view, axis, which, at) {
  const [low, high] = view.kept.get(axis.name) ?? [0, 1];
  const held = Math.min(1, Math.max(0, Number.isFinite(at) ? at : which === "low" ? 0 : 1));
  const range = which === "low" ? [held, Math.max(held, high)] : [Math.min(low, held), held];
  set(view, axis.name, range[0] <= 0 && range[1] >= 1 ? null : range);
}
