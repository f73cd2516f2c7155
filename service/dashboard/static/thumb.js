// A front in small, and nights in a line: pictures for lists, each with its words.

import { s } from "./dom.js";
import { digits } from "./format.js";

const WIDE = 120, HIGH = 72, EDGE = 7;

/**
 * The front of a job from its summary: cost to the right, accuracy upwards, the teacher as a star.
 * `words`: what a screen reader says of it. null: there is nothing to draw.
 */
export function thumbnail(summary, words = "") {
  const front = (summary?.front ?? []).filter((point) => point.length > 1 && point.every(Number.isFinite));
  const [accuracy, cost] = summary?.metrics ?? [];
  const teacher = [summary?.teacher?.[accuracy], summary?.teacher?.[cost]];
  const hasTeacher = teacher.every(Number.isFinite);
  if (front.length === 0 && !hasTeacher) return blank(words || "No front yet");
  const all = hasTeacher ? [...front, teacher] : front;
  const x = scale(all.map((point) => point[1]), EDGE, WIDE - EDGE);
  const y = scale(all.map((point) => point[0]), HIGH - EDGE, EDGE);
  const points = [...front].sort((a, b) => a[1] - b[1]);
  const size = points.length > 25 ? 1.8 : 2.8;
  return frame(words || describe(summary, front.length),
    hasTeacher ? star(x(teacher[1]), y(teacher[0])) : null,
    points.length > 1 && summary.metrics.length === 2 ? s("path", { d: stairs(points, x, y), fill: "none", stroke: "var(--front)", "stroke-opacity": 0.55 }) : null,
    points.map((point) => diamond(x(point[1]), y(point[0]), size)));
}

function describe(summary, size) {
  if (size === 0) return "Only the teacher: no point on the front yet";
  const best = summary.best?.[0];
  return `Front of ${summary.front_size ?? size} points${Number.isFinite(best) ? `, best accuracy ${digits(best)}` : ""}`;
}

function frame(words, ...parts) {
  const axes = `M${EDGE / 2} ${EDGE / 2}V${HIGH - EDGE / 2}H${WIDE - EDGE / 2}`;
  return s("svg", { class: "thumb", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": words },
    s("path", { d: axes, fill: "none", stroke: "var(--line)" }), parts);
}

function blank(words) {
  return frame(words, s("text", { x: WIDE / 2, y: HIGH / 2 + 3, "text-anchor": "middle", "font-size": 9, fill: "var(--quiet)", "aria-hidden": "true" }, "no points yet"));
}

function scale(values, from, to) {
  const least = Math.min(...values), most = Math.max(...values);
  const span = most - least || Math.abs(most) || 1;
  const low = most === least ? least - span / 2 : least;
  return (value) => from + ((value - low) / span) * (to - from);
}

// The front as what it dominates: a candidate of that cost has at best that accuracy.
function stairs(points, x, y) {
  return points.map(([accuracy, cost], at) =>
    (at === 0 ? `M${near(x(cost))} ${near(y(accuracy))}` : `H${near(x(cost))}V${near(y(accuracy))}`)).join("");
}

const near = (value) => value.toFixed(1);
const diamond = (x, y, r) => s("path", { d: `M${near(x)} ${near(y - r)}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`, fill: "var(--front)" });

function star(x, y) {
  const tips = Array.from({ length: 10 }, (_, at) => {
    const r = at % 2 ? 1.9 : 4.6, turn = (Math.PI * at) / 5 - Math.PI / 2;
    return `${near(x + r * Math.cos(turn))},${near(y + r * Math.sin(turn))}`;
  });
  return s("polygon", { points: tips.join(" "), fill: "var(--teacher)" });
}

/**
 * Hypervolume night by night, the oldest first: nights are {at, hypervolume, regressed, label}.
 * A night that came out worse is a cross, the others are circles; the line breaks at none.
 */
export function timeline(nights, words) {
  const wide = 480, high = 130, left = 48, bottom = 24;
  const values = nights.map((night) => night.hypervolume);
  const least = Math.min(...values), most = Math.max(...values);
  const pad = (most - least || most || 1) * 0.12;
  const y = scale([Math.max(0, least - pad), most + pad], high - bottom, 8);
  const x = (at) => (nights.length === 1 ? (left + wide) / 2 : left + 10 + (at / (nights.length - 1)) * (wide - left - 24));
  const line = nights.map((night, at) => `${at ? "L" : "M"}${near(x(at))} ${near(y(night.hypervolume))}`).join("");
  const label = (text, at, more) => s("text", { "font-size": 13, fill: "var(--quiet)", y: at, ...more }, text);
  return s("svg", { class: "thumb", viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": words },
    s("path", { d: `M${left} 4V${high - bottom}H${wide - 4}`, fill: "none", stroke: "var(--line)" }),
    label(digits(most), y(most) + 4, { x: left - 4, "text-anchor": "end" }),
    most > least ? label(digits(least), y(least) + 4, { x: left - 4, "text-anchor": "end" }) : null,
    s("path", { d: line, fill: "none", stroke: "var(--accent)", "stroke-width": 1.5 }),
    nights.map((night, at) => mark(x(at), y(night.hypervolume), night)),
    label(nights[0].label, high - 6, { x: left + 4 }),
    nights.length > 1 ? label(nights.at(-1).label, high - 6, { x: wide - 4, "text-anchor": "end" }) : null);
}

function mark(x, y, night) {
  const told = s("title", {}, `${night.label}: ${digits(night.hypervolume)}${night.regressed ? ", regressed" : ""}`);
  if (!night.regressed) return s("circle", { cx: near(x), cy: near(y), r: 3.4, fill: "var(--accent)" }, told);
  const d = `M${near(x - 4)} ${near(y - 4)}l8 8m0 -8l-8 8`;
  return s("path", { d, fill: "none", stroke: "var(--bad)", "stroke-width": 2.5 }, told);
}
