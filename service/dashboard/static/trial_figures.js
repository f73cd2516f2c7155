// A trial's figures beside its teacher's: all together, by attribute of the videos, by video.

import { besideLegend, beside } from "./bars.js";
import { h, table } from "./dom.js";
import { labelOf } from "./form_metrics.js";
import { digits, percent, told } from "./format.js";

const COSTS = { peak_memory: "peak_memory_frame" };

/** {value, low, high} of a metric in a measurement; null where it was not measured. */
export function figureOf(measurement, name) {
  if (!measurement) return null;
  const timed = /^(step|track|init)_ms\.(.+)$/.exec(name);
  if (timed) {
    const found = measurement.latency?.[timed[2]]?.[timed[1]];
    return found ? { value: found.median_ms, low: found.p10_ms, high: found.p90_ms } : null;
  }
  const pairs = { one_step_iou: "one_step_iou", pair_loss: "loss" }[name];
  const value = pairs ? (measurement.recovered ?? measurement.inherited)?.[pairs] : measurement.cost?.[COSTS[name] ?? name];
  if (value !== undefined && value !== null) return { value };
  return measurement.accuracy?.[name]?.value === undefined ? null : measurement.accuracy[name];
}

/** All figures of the trial in a table beside the teacher's. */
export function figuresTable(trial, teacher, known) {
  const measured = [...known.keys()].filter((name) => figureOf(trial.measurement, name) !== null);
  const rows = [...new Set([...Object.keys(trial.figures), ...measured])].map((name) => {
    const [low, high] = trial.ranges[name] ?? [], found = figureOf(trial.measurement, name);
    const mine = { ...found, value: trial.figures[name] ?? found.value, ...(low === undefined ? {} : { low, high }) };
    return { name, mine, other: figureOf(teacher.measurement, name) ?? (name in teacher.figures ? { value: teacher.figures[name] } : null) };
  });
  return table([
    ["Figure", ({ name }) => labelOf(known, name)],
    ["This trial", ({ name, mine }) => told(known, name, mine.value), { class: "number" }],
    ["between", ({ name, mine }) => between(known, name, mine), { class: "number" }],
    ["Teacher", ({ name, other }) => told(known, name, other?.value), { class: "number" }],
    ["between", ({ name, other }) => between(known, name, other), { class: "number" }],
    ["This one has", ({ name, mine, other }) => compared(known.get(name), mine, other), { class: "number" }],
  ], rows, { caption: "Figures beside the teacher's. Between: 95 % confidence of an accuracy, 10th and 90th percentile of a latency", empty: "Nothing was measured that is kept." });
}

const between = (known, name, one) =>
  one?.low === undefined || one.low === null ? "–" : `${told(known, name, one.low)} to ${told(known, name, one.high)}`;

function compared(metric, mine, other) {
  if (!other || !metric) return "–";
  const good = metric.better === "higher" ? mine.value >= other.value : mine.value <= other.value;
  if (metric.unit === "share") {
    const away = mine.value - other.value;
    return h("span", { class: good ? "better" : "worse" }, `${digits(Math.abs(away))} ${away < 0 ? "less" : "more"}`);
  }
  if (!other.value) return "–";
  return h("span", { class: good ? "better" : "worse" }, `${percent(mine.value / other.value)} of it`);
}

/** Accuracy by attribute and by sequence. */
export function accuracyParts(mine, teacher) {
  if (!mine) return [h("p", { class: "quiet" }, "It was not judged by tracking.")];
  const found = [h("p", {}, `Judged on ${mine.sequences} sequences by the rules ${mine.rules}.`), besideLegend()];
  const attributes = attributeRows(mine, teacher);
  if (attributes.length) found.push(h("h3", {}, "By attribute of the sequences"), accuracyTable(attributes, "Attribute", "Average overlap by attribute"));
  const sequences = sequenceRows(mine, teacher);
  if (sequences.length) {
    const list = accuracyTable(sequences, "Sequence", "Average overlap by sequence, where it lost most first");
    found.push(h("h3", {}, "By sequence"), sequences.length > 20
      ? h("details", {}, h("summary", {}, `All ${sequences.length} sequences`), list) : list);
  }
  return found;
}

function attributeRows(mine, teacher) {
  return Object.entries(mine.by_attribute ?? {}).map(([name, one]) => ({
    name: name.replaceAll("_", " "), count: one.sequences, mine: one.interval, other: teacher?.by_attribute?.[name]?.interval ?? null,
  }));
}

function sequenceRows(mine, teacher) {
  const rows = Object.entries(mine.overlap_of ?? {}).map(([name, value]) => {
    const other = teacher?.overlap_of?.[name];
    return { name, mine: { value }, other: other === undefined ? null : { value: other } };
  });
  const away = (row) => (row.other ? row.mine.value - row.other.value : row.mine.value);
  return rows.sort((a, b) => away(a) - away(b));
}

function accuracyTable(rows, first, caption) {
  const counted = rows.some((row) => row.count !== undefined);
  const interval = (one) => (one?.low === undefined ? null : ` (${digits(one.low)} to ${digits(one.high)})`);
  const columns = [
    [first, (row) => row.name],
    ["0 to 1", (row) => beside(row.mine, row.other)],
    ["This trial", (row) => [digits(row.mine.value), interval(row.mine)], { class: "number" }],
    ["Teacher", (row) => (row.other ? [digits(row.other.value), interval(row.other)] : "–"), { class: "number" }],
    ["Difference", (row) => difference(row), { class: "number" }],
  ];
  if (counted) columns.push(["Sequences", (row) => row.count, { class: "number" }]);
  return table(columns, rows, { caption });
}

function difference(row) {
  if (!row.other) return "–";
  const away = row.mine.value - row.other.value;
  return h("span", { class: away < 0 ? "worse" : "better" }, `${away < 0 ? "−" : "+"}${digits(Math.abs(away))}`);
}
