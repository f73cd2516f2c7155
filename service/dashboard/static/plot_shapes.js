// What stands for what in a plot: kinds of points differ by shape as well as by colour.

import { s } from "./dom.js";

/** Kinds of trials, in the order in which they are drawn; `front` comes last. */
export const KINDS = ["dominated", "infeasible", "stopped", "running", "failed"];

export const NAMES = {
  front: "On the front", dominated: "Dominated", infeasible: "Breaks a limit", stopped: "Stopped early",
  running: "Running", failed: "Failed", teacher: "Teacher", reference: "Reference", knee: "Knee",
};

const COLOURS = {
  front: "--front", dominated: "--dominated", infeasible: "--infeasible", stopped: "--stopped",
  running: "--accent", teacher: "--teacher", reference: "--text", knee: "--front", chosen: "--accent",
};
const HOLLOW = new Set(["infeasible", "stopped", "running", "knee", "chosen"]);
const RADIUS = {
  front: 5.5, dominated: 2.6, infeasible: 2.8, stopped: 2.8, running: 3.4, teacher: 8, reference: 6, knee: 9.5, chosen: 7,
};

/** A kind's outline around 0, 0 as the path of an SVG; canvases understand it too. */
export function outline(kind, r = RADIUS[kind]) {
  switch (kind) {
    case "front": return `M0 ${-r}L${r} 0L0 ${r}L${-r} 0Z`;
    case "infeasible": return `M${-r} ${-r}H${r}V${r}H${-r}Z`;
    case "stopped": return `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`;
    case "reference": return `M0 ${-r}L${r} ${r * 0.8}H${-r}Z`;
    case "teacher": return star(r);
    default: return `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0Z`;
  }
}

function star(r) {
  const corners = Array.from({ length: 10 }, (_, i) => {
    const [length, angle] = [i % 2 ? r * 0.42 : r, (i * Math.PI) / 5 - Math.PI / 2];
    return `${(length * Math.cos(angle)).toFixed(2)} ${(length * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${corners.join("L")}Z`;
}

export const isHollow = (kind) => HOLLOW.has(kind);
export const radius = (kind) => RADIUS[kind];

/** The theme's colours by name; asked for again whenever the theme changes. */
export function palette() {
  const said = getComputedStyle(document.documentElement);
  const of = (name) => said.getPropertyValue(name).trim();
  const named = Object.fromEntries(Object.entries(COLOURS).map(([kind, name]) => [kind, of(name)]));
  for (const name of ["ground", "line", "text", "quiet", "accent", "select", "bad", "warn"]) named[name] = of(`--${name}`);
  return { ...named, of: (colour) => (colour.startsWith("--") ? of(colour) : colour) };
}

/** A kind as a picture in a line of text; its colour follows the theme. */
export function icon(kind, colour = COLOURS[kind]) {
  const path = s("path", { d: outline(kind, Math.min(RADIUS[kind] * 1.5, 7)) });
  const paint = `var(${colour})`;
  path.style.fill = isHollow(kind) ? "none" : paint;
  path.style.stroke = paint;
  path.style.strokeWidth = "1.6";
  const made = s("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, path);
  made.style.width = made.style.height = "1em";
  made.style.verticalAlign = "-0.12em";
  return made;
}

/** "dominated" ... of a trial, by its state's name; whether it is on the front is said elsewhere. */
export function kindOf(state, feasible) {
  if (state === "STOPPED") return 2;
  if (state === "RUNNING") return 3;
  if (state === "FAILED") return 4;
  return state === "COMPLETE" && feasible ? 0 : 1;
}
