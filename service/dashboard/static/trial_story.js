// How a trial came to its figures: recovery by rung, decisions, latency as measured, where the time went.

import { bar } from "./bars.js";
import { h, s, table } from "./dom.js";
import { labelOf } from "./form_metrics.js";
import { digits, moment, percent, seconds, told } from "./format.js";

const WIDE = 560, TALL = 200, LEFT = 52, BOTTOM = 28, ROOM = 10;

/** The recovery: one-step IoU at each rung, and the loss of training. */
export function recoveryParts(trial) {
  const found = trial.measurement;
  const judged = judgements(trial, found);
  const curve = (found?.curve ?? []).map((one) => ({ x: one.step, y: one.loss }));
  if (judged.length < 2 && !curve.length) return [h("p", { class: "quiet" }, "It was not recovered, or not far enough to say anything.")];
  const parts = [];
  if (judged.length > 1) parts.push(h("div", {}, h("h3", {}, "One-step IoU"), chart(judged, "One-step IoU by steps of recovery", true),
    text("One-step IoU as a table", [["Steps", (p) => p.x, { class: "number" }], ["One-step IoU", (p) => digits(p.y), { class: "number" }], ["When", (p) => p.what]], judged)));
  if (curve.length > 1) parts.push(h("div", {}, h("h3", {}, "Loss of training"), chart(curve, "Loss of training by steps of recovery", false),
    text("Loss as a table", [["Steps", (p) => p.x, { class: "number" }], ["Loss", (p) => digits(p.y), { class: "number" }]], curve)));
  return [h("div", { class: "pair" }, parts)];
}

function judgements(trial, found) {
  const at = new Map();
  if (found?.inherited) at.set(0, { x: 0, y: found.inherited.one_step_iou, what: "as inherited" });
  for (const one of trial.decisions) {
    if (typeof one.values.one_step_iou === "number") at.set(one.steps, { x: one.steps, y: one.values.one_step_iou, what: `rung ${one.rung}` });
  }
  if (found?.recovered) at.set(found.steps, { x: found.steps, y: found.recovered.one_step_iou, what: "at the end" });
  return [...at.values()].sort((a, b) => a.x - b.x);
}

function chart(points, said, marks) {
  const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
  const [lowX, highX] = [Math.min(0, ...xs), Math.max(...xs)];
  const gap = (Math.max(...ys) - Math.min(...ys)) * 0.12 || 0.05;
  const [lowY, highY] = [Math.min(...ys) - gap, Math.max(...ys) + gap];
  const x = (value) => LEFT + ((value - lowX) / (highX - lowX || 1)) * (WIDE - LEFT - ROOM);
  const y = (value) => TALL - BOTTOM - ((value - lowY) / (highY - lowY)) * (TALL - BOTTOM - ROOM);
  const ticks = [0, 0.5, 1].map((share) => lowY + share * (highY - lowY));
  const steps = [...new Set([lowX, Math.round((lowX + highX) / 2), highX])];
  return s("svg", { class: "curve", role: "img", viewBox: `0 0 ${WIDE} ${TALL}`, "aria-label": `${said}: ${points.length > 12 ? `from ${digits(ys[0])} to ${digits(ys.at(-1))}` : points.map((p) => `${digits(p.y)} after ${p.x}`).join(", ")}` },
    ticks.map((value) => [s("line", { x1: LEFT, x2: WIDE - ROOM, y1: y(value), y2: y(value), stroke: "var(--line)" }),
      s("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, digits(value))]),
    steps.map((value) => s("text", { x: x(value), y: TALL - 10, "text-anchor": value === highX ? "end" : "middle" }, `${value}${value === highX ? " steps" : ""}`)),
    s("path", { d: `M${points.map((p) => `${x(p.x)} ${y(p.y)}`).join("L")}`, fill: "none", stroke: "var(--accent)", "stroke-width": 2 }),
    marks ? points.map((p) => s("path", { d: `M${x(p.x)} ${y(p.y) - 5}l5 5l-5 5l-5-5z`, fill: "var(--front)" }, s("title", {}, `${p.what}: ${digits(p.y)} after ${p.x} steps`))) : null);
}

const text = (title, columns, rows) => h("details", {}, h("summary", {}, title), table(columns, rows, { caption: title }));

const VERDICTS = { go_on: "may go on", wait: "waits", stop: "stopped", went_on: "went on" };

export function decisionsTable(trial, known) {
  return table([
    ["Rung", (one) => one.rung, { class: "number" }], ["Steps", (one) => one.steps, { class: "number" }],
    ["Verdict", (one) => VERDICTS[one.verdict] ?? one.verdict],
    ["From", (one) => Object.entries(one.values).map(([name, value]) => `${labelOf(known, name)} ${told(known, name, value)}`).join(", ") || "–", { class: "words" }],
    ["Note", (one) => one.note, { class: "words" }], ["When", (one) => moment(one.decided_at)],
  ], trial.decisions, { caption: "Decisions of early stopping", empty: "It was not compared at a rung." });
}

const PARTS = { init: "Template, once a video", step: "Network, a frame", track: "Whole, a frame", reference: "Reference network" };

/** Latency as each probe measured it, beside the teacher's. */
export function latencyParts(mine, teacher) {
  const probes = Object.entries(mine?.latency ?? {});
  if (!probes.length) return [h("p", { class: "quiet" }, "No latency was measured.")];
  return probes.flatMap(([probe, one]) => {
    const rows = Object.entries(PARTS).filter(([name]) => one[name]).map(([name, what]) => ({ what, mine: one[name], other: teacher?.latency?.[probe]?.[name] }));
    const milliseconds = (value) => (value === undefined ? "–" : `${digits(value)} ms`);
    return [h("h3", {}, `Probe ${probe}`), table([
      ["Timed", (row) => row.what], ["Median", (row) => milliseconds(row.mine.median_ms), { class: "number" }],
      ["10th to 90th percentile", (row) => `${digits(row.mine.p10_ms)} to ${milliseconds(row.mine.p90_ms)}`, { class: "number" }],
      ["Spread", (row) => percent(row.mine.spread), { class: "number" }], ["Runs", (row) => row.mine.runs, { class: "number" }],
      ["Teacher's median", (row) => milliseconds(row.other?.median_ms), { class: "number" }],
    ], rows, { caption: `Measured on ${one.device}` }), facts([
      ["Device", one.device], ["Threads", one.threads], ["Load of the machine", one.load_average === undefined || one.load_average === null ? null : digits(one.load_average)],
      ["Of the reference's time", one.relative === null || one.relative === undefined ? null : `${percent(one.relative)} (spread ${percent(one.relative_spread)})`],
      ["Versions", versions(one.versions)],
    ])];
  });
}

export const versions = (of) => Object.entries(of ?? {}).map(([name, version]) => `${name} ${version}`).join(", ") || null;

/** A list of [name, content], without those that have none. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, content]) => content !== null && content !== undefined && content !== "")
    .flatMap(([name, content]) => [h("dt", {}, name), h("dd", {}, content)]));
}

/** Where its time went. */
export function gatesTable(measurement) {
  const gates = measurement?.gates ?? [];
  const most = Math.max(1e-9, ...gates.map((one) => one.seconds));
  return table([
    ["Test", (one) => one.name], ["Share", (one) => bar([[one.seconds / most, "--accent"]])],
    ["Took", (one) => seconds(one.seconds), { class: "number" }], ["Verdict", (one) => one.verdict], ["Note", (one) => one.note || "–", { class: "words" }],
  ], gates, { caption: "Tests on its way", empty: "No test is recorded." });
}
