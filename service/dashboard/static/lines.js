// Step lines: what a figure was from one moment, trial or night to the next.

import { ticks, tickText, scale, widened } from "./axes.js";
import { h, put, s } from "./dom.js";

const MARGIN = { left: 52, right: 10, top: 10, bottom: 24 };
const LANE = 18; // pixels below the line, for what has no figure
const ROOM = 90; // pixels that a text of the axis takes
const DENSE = 7; // with less room than that each, steps have no dots

/**
 * What a step may be marked with, each by its own shape: `sign` is the same in text.
 * All but "worse" are of steps without a figure (y is null), and lie below the line.
 */
export const MARKS = {
  worse: { sign: "▼", colour: "--bad", d: "M-6 -17H6L0 -7Z", fills: true },
  failed: { sign: "✕", colour: "--bad", d: "M-4 -4L4 4M4 -4L-4 4", fills: false },
  skipped: { sign: "○", colour: "--quiet", d: "M4 0A4 4 0 1 1 -4 0A4 4 0 1 1 4 0Z", fills: false },
  missed: { sign: "□", colour: "--warn", d: "M-4 -4H4V4H-4Z", fills: false },
  empty: { sign: "–", colour: "--quiet", d: "M-4 0H4", fills: false },
  waits: { sign: "…", colour: "--accent", d: "M-5 0H-3M-1 0H1M3 0H5", fills: false },
};

/** A step line through pixels, as the path of an SVG: each holds up to the next, and to `until`. */
export function stepPath(pixels, until = null) {
  const near = (value) => Number(value.toFixed(1));
  const d = pixels.map(([x, y], i) => (i ? `H${near(x)}V${near(y)}` : `M${near(x)} ${near(y)}`)).join("");
  return d && until !== null ? `${d}H${near(until)}` : d || "M0 0";
}

/** A mark around 0, 0, as a part of a picture. */
export function mark(name, x, y) {
  const { colour, d, fills } = MARKS[name];
  const made = s("path", { d, "stroke-width": 2, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, class: `mark-${name}` });
  made.style.stroke = fills ? "none" : `var(${colour})`;
  made.style.fill = fills ? `var(${colour})` : "none";
  return made;
}

/**
 * Draws a step line into `place`. Given:
 *   label       what it shows: the aria-label's beginning;   each   what its steps are called
 *   steps       [{x, y, note?, mark?}] by x; each y holds from its x to the next that has one
 *   until       x up to which the last one holds; null: it ends there
 *   xText, yText   figures as text;   xTicks(most)   [{value, text}] instead of round numbers
 *   from        where x begins; null: at the first step;   whole   its ticks are whole numbers
 *   onOpen(step)   a click, or Enter; a finger shows a step first, and opens it when it comes again
 * Returns {set(changed), end()}.
 */
export function stepLine(place, given) {
  let said = { height: 160, each: "steps", until: null, xText: String, yText: String, xTicks: null, from: null, whole: false, dots: false, onOpen: null, ...given };
  const frame = h("div", { class: "picture line" });
  const hint = h("div", { class: "hint", role: "status", hidden: true });
  put(place, frame);
  frame.style.minHeight = `${said.height}px`;
  let at = -1, touched = null, drawn = 0;
  const size = new ResizeObserver(() => requestAnimationFrame(() => { if (frame.clientWidth !== drawn) draw(); }));
  size.observe(frame);

  function draw() {
    const width = (drawn = frame.clientWidth);
    if (width === 0) return;
    const plot = layOut(said, width);
    const cursor = s("circle", { r: 4.5, visibility: "hidden" });
    cursor.style.fill = "var(--accent)";
    const picture = s("svg", { viewBox: `0 0 ${width} ${said.height}`, height: said.height, role: "img", tabindex: "0", "aria-label": summary(said) },
      axes(said, plot, width), line(plot), dots(said, plot), marks(said, plot), cursor);
    const show = (i, byFinger = false) => tell(plot, cursor, width, i, byFinger);
    hear(picture, plot, show);
    const focused = frame.contains(document.activeElement);
    put(frame, picture, hint);
    if (focused) picture.focus({ preventScroll: true });
  }

  function hear(picture, plot, show) {
    picture.addEventListener("pointermove", (event) => show(under(said, plot, event.offsetX), event.pointerType === "touch"));
    picture.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && show(-1)); // a lifted finger leaves, too
    picture.addEventListener("blur", () => { touched = null; show(-1); });
    picture.addEventListener("click", (event) => {
      const byFinger = event.pointerType === "touch";
      show(under(said, plot, event.offsetX), byFinger);
      const again = touched === at;
      touched = byFinger ? at : null;
      picture.focus({ preventScroll: true });
      if (at >= 0 && (!byFinger || again)) said.onOpen?.(said.steps[at]);
    });
    picture.addEventListener("keydown", (event) => keyed(event, show));
  }

  function keyed(event, show) {
    const last = said.steps.length - 1;
    const next = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last, Escape: -1 }[event.key];
    if (next !== undefined) show(next);
    else if (event.key === "Enter" && at >= 0) said.onOpen?.(said.steps[at]);
    else return;
    event.preventDefault();
  }

  function tell(plot, cursor, width, i, byFinger) {
    at = i;
    const step = said.steps[i];
    hint.hidden = step === undefined;
    cursor.setAttribute("visibility", step ? "visible" : "hidden");
    if (!step) return;
    const [left, top] = spot(plot, step);
    cursor.setAttribute("cx", left);
    cursor.setAttribute("cy", top);
    put(hint, h("strong", {}, step.y === null ? step.note : said.yText(step.y)), h("div", {}, said.xText(step.x)),
      step.note && step.y !== null ? h("div", {}, step.note) : null,
      byFinger && said.onOpen ? h("div", { class: "quiet" }, "Tap again to open it.") : null);
    const right = left > width / 2;
    hint.style.left = right ? "auto" : `${left + 10}px`;
    hint.style.right = right ? `${width - left + 10}px` : "auto";
    hint.style.top = `${Math.max(0, Math.min(top, said.height - 80))}px`;
  }

  return {
    set(changed) {
      said = { ...said, ...changed };
      draw();
    },
    end: () => size.disconnect(),
  };
}

const known = (steps) => steps.filter((step) => step.y !== null);

function layOut(said, width) {
  const xs = said.steps.map((step) => step.x);
  const ys = known(said.steps).map((step) => step.y);
  const [first, last] = [said.from ?? Math.min(...xs), Math.max(...xs, said.until ?? -Infinity)];
  const [low, high] = widened(Math.min(...ys), Math.max(...ys), false);
  const empty = said.steps.length === 0;
  const lane = ys.length < xs.length ? LANE : 0;
  const bottom = said.height - MARGIN.bottom;
  const inset = said.dots ? 8 : 0; // the first and the last have a shape of their own
  return {
    x: scale(empty ? 0 : first, empty ? 1 : Math.max(last, first + 1e-9), false, MARGIN.left + inset, width - MARGIN.right - inset),
    y: scale(low, high, false, bottom - lane, MARGIN.top),
    steps: known(said.steps), until: said.until, bottom, lane: bottom - lane / 2 + 2,
  };
}

const spot = (plot, step) => [plot.x.pixel(step.x), step.y === null ? plot.lane : plot.y.pixel(step.y)];

/** The step that holds at a pixel; where each is a moment of its own, the nearest. */
function under(said, plot, pixel) {
  const x = plot.x.value(pixel);
  let found = said.steps.length ? 0 : -1;
  const nearer = (step) => !said.dots || Math.abs(step.x - x) < Math.abs(said.steps[found].x - x);
  said.steps.forEach((step, i) => { if ((said.dots || step.x <= x) && nearer(step)) found = i; });
  return found;
}

function words(text, x, y, anchor) {
  const made = s("text", { x, y, "text-anchor": anchor, "font-size": 11 }, text);
  made.style.fill = "var(--quiet)";
  return made;
}

function rule(x1, y1, x2, y2) {
  const made = s("line", { x1, y1, x2, y2 });
  made.style.stroke = "var(--line)";
  return made;
}

function axes(said, plot, width) {
  const up = plot.steps.length ? ticks(plot.y, 36) : [];
  const round = () => ticks(plot.x, ROOM).filter((value) => !said.whole || Number.isInteger(value)).map((value) => ({ value, text: said.xText(value) }));
  const across = said.xTicks?.(Math.max(2, Math.floor((width - MARGIN.left) / ROOM))) ?? round();
  return [
    up.map((value) => [
      rule(MARGIN.left, plot.y.pixel(value), width - MARGIN.right, plot.y.pixel(value)),
      words(tickText(value, up, 1), MARGIN.left - 6, plot.y.pixel(value) + 4, "end"),
    ]),
    across.map(({ value, text }) => words(text, Math.min(plot.x.pixel(value), width - 24), plot.bottom + 16, "middle")),
  ];
}

function line(plot) {
  const path = s("path", { d: stepPath(plot.steps.map((step) => spot(plot, step)), plot.until === null ? null : plot.x.pixel(plot.until)), fill: "none", "stroke-width": 2 });
  path.style.stroke = "var(--front)";
  return path;
}

function dots(said, plot) {
  if (!said.dots || (plot.x.to - plot.x.from) / Math.max(plot.steps.length, 1) < DENSE) return [];
  return plot.steps.map((step) => {
    const [cx, cy] = spot(plot, step);
    const made = s("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 2.6 });
    made.style.fill = "var(--front)";
    return made;
  });
}

/** Steps that somebody should look at are marked by a shape, too. */
const marks = (said, plot) => said.steps.filter((step) => step.mark).map((step) => mark(step.mark, ...spot(plot, step)));

function summary(said) {
  const told = known(said.steps), rest = said.steps.length - told.length;
  const [first, last] = [told[0], told.at(-1)];
  if (!first) return `${said.label}: nothing yet.`;
  const without = rest ? `, ${rest} of them without a figure` : "";
  return `${said.label}: from ${said.yText(first.y)} (${said.xText(first.x)}) to ${said.yText(last.y)} (${said.xText(last.x)}), ${said.steps.length} ${said.each}${without}. Arrow keys walk along it.`;
}
