// A front in small, and nights in small: pictures for lists, each with its words.

import { s } from "./dom.js";
import { digits } from "./format.js";
import { mark, stepPath } from "./lines.js";

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
const stairs = (points, x, y) => stepPath(points.map(([accuracy, cost]) => [x(cost), y(accuracy)]));

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
 * Nights in small: steps as those of stepLine, the oldest first. `words`: what a screen reader says
 * of it. There is one scale for each: hypervolumes of different searches say nothing of one another.
 */
export function spark(steps, words) {
  const wide = 180, high = 56, lane = high - EDGE;
  const told = steps.filter((step) => step.y !== null);
  const x = (at) => (steps.length === 1 ? wide / 2 : EDGE + (at / (steps.length - 1)) * (wide - 2 * EDGE));
  const y = scale(told.map((step) => step.y), lane - 10, 20);
  const at = new Map(steps.map((step, i) => [step, x(i)]));
  const spot = (step) => [at.get(step), step.y === null ? lane : y(step.y)];
  const last = told.at(-1);
  return s("svg", { class: "thumb", viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": words },
    s("path", { d: stepPath(told.map(spot)), fill: "none", stroke: "var(--front)", "stroke-width": 1.6 }),
    last ? s("circle", { cx: near(spot(last)[0]), cy: near(spot(last)[1]), r: 3, fill: "var(--front)" }) : null,
    steps.filter((step) => step.mark).map((step) => mark(step.mark, ...spot(step))));
}
