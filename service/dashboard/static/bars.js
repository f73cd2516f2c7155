// Bars in the cells of tables: the figures beside them are their text, so they are hidden from readers.

import { h, s } from "./dom.js";

const HEIGHT = 12;

/** A bar of 1 = full width: `parts` are [share, colour variable] from the left; `outline`: where it could end. */
export function bar(parts, { width = 120, outline = null } = {}) {
  let at = 0;
  const filled = parts.filter(([share]) => share > 0).map(([share, colour]) => {
    const long = Math.max(Math.min(share, 1) * width, 1);
    const rect = s("rect", { x: at, y: 1, width: Math.min(long, width - at), height: HEIGHT - 2, fill: `var(${colour})` });
    at = Math.min(at + long, width);
    return rect;
  });
  const edge = outline === null ? null : s("rect", {
    x: 0.5, y: 1.5, width: Math.max(Math.min(outline, 1) * width - 1, 1), height: HEIGHT - 3, fill: "none", stroke: "var(--quiet)",
  });
  return s("svg", { class: "inline", "aria-hidden": "true", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` }, filled, edge);
}

/** Where two figures lie between `low` and `high`: a filled diamond with its range, and the teacher's hollow circle. */
export function beside(mine, other, { low = 0, high = 1, width = 160 } = {}) {
  const room = 6, tall = 16, middle = tall / 2;
  const x = (value) => room + ((value - low) / (high - low || 1)) * (width - 2 * room);
  const marks = [s("line", { x1: room, x2: width - room, y1: middle, y2: middle, stroke: "var(--line)" })];
  const range = (figure, colour, dy) => figure?.low === undefined || figure.low === null ? null : s("line", {
    x1: x(figure.low), x2: x(figure.high), y1: middle + dy, y2: middle + dy, stroke: `var(${colour})`, "stroke-width": 2,
  });
  if (other) {
    marks.push(range(other, "--teacher", -3));
    marks.push(s("circle", { cx: x(other.value), cy: middle, r: 4, fill: "var(--ground)", stroke: "var(--teacher)", "stroke-width": 2 }));
  }
  if (mine) {
    marks.push(range(mine, "--front", 3));
    marks.push(s("path", { d: `M${x(mine.value)} ${middle - 5}l5 5l-5 5l-5-5z`, fill: "var(--front)" }));
  }
  return s("svg", { class: "inline", "aria-hidden": "true", width, height: tall, viewBox: `0 0 ${width} ${tall}` }, marks.filter(Boolean));
}

/** What the marks of `beside` mean. */
export function besideLegend() {
  const shape = (...marks) => s("svg", { "aria-hidden": "true", viewBox: "0 0 12 12" }, marks);
  return h("p", { class: "legend" },
    h("span", {}, shape(s("path", { d: "M6 1l5 5l-5 5l-5-5z", fill: "var(--front)" })), " this trial"),
    h("span", {}, shape(s("circle", { cx: 6, cy: 6, r: 4, fill: "none", stroke: "var(--teacher)", "stroke-width": 2 })), " its teacher"),
    h("span", { class: "quiet" }, "lines: between what the figure lies"));
}
