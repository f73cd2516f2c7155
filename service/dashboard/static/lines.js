// A small step line: what a figure was from one moment, or trial, to the next.

import { ticks, tickText, scale, widened } from "./axes.js";
import { h, put, s } from "./dom.js";

const MARGIN = { left: 52, right: 10, top: 8, bottom: 24 };

/**
 * Draws a step line into `place`. Given:
 *   label       what it shows: the aria-label's beginning
 *   steps       [{x, y, note?, bad?}] by x; each y holds from its x to the next
 *   until       x up to which the last one holds; null: it ends there
 *   xText, yText   figures as text;   xTicks   [{value, text}] instead of round numbers
 *   from        where x begins; null: at the first step;   whole   its ticks are whole numbers
 *   low, high   of y, so that several lines can be compared; else those of the steps
 *   onOpen(step)   a click, or Enter
 * Returns {set(changed), end()}.
 */
export function stepLine(place, given) {
  let said = { height: 160, until: null, xText: String, yText: String, xTicks: null, from: null, whole: false, low: null, high: null, onOpen: null, ...given };
  const frame = h("div", { class: "picture" });
  const hint = h("div", { class: "hint", hidden: true });
  put(place, frame);
  let at = -1;
  const size = new ResizeObserver(() => draw());
  size.observe(frame);

  function draw() {
    const width = frame.clientWidth;
    if (width === 0) return;
    const plot = layOut(said, width);
    const cursor = s("circle", { r: 4.5, visibility: "hidden" });
    cursor.style.fill = "var(--accent)";
    const picture = s("svg", { viewBox: `0 0 ${width} ${said.height}`, height: said.height, role: "img", tabindex: "0", "aria-label": summary(said) },
      axes(said, plot, width), line(plot), marks(said, plot), cursor);
    const show = (i) => tell(plot, cursor, width, i);
    picture.addEventListener("pointermove", (event) => show(under(said, plot, event.offsetX)));
    picture.addEventListener("pointerleave", () => show(-1));
    picture.addEventListener("blur", () => show(-1));
    picture.addEventListener("click", () => at >= 0 && said.onOpen?.(said.steps[at]));
    picture.addEventListener("keydown", (event) => keyed(event, show));
    const focused = frame.contains(document.activeElement);
    put(frame, picture, hint);
    if (focused) picture.focus({ preventScroll: true });
  }

  function keyed(event, show) {
    const last = said.steps.length - 1;
    const next = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last, Escape: -1 }[event.key];
    if (next !== undefined) show(next);
    else if (event.key === "Enter" && at >= 0) said.onOpen?.(said.steps[at]);
    else return;
    event.preventDefault();
  }

  function tell(plot, cursor, width, i) {
    at = i;
    const step = said.steps[i];
    hint.hidden = step === undefined;
    cursor.setAttribute("visibility", step ? "visible" : "hidden");
    if (!step) return;
    const [left, top] = [plot.x.pixel(step.x), plot.y.pixel(step.y)];
    cursor.setAttribute("cx", left);
    cursor.setAttribute("cy", top);
    put(hint, h("strong", {}, said.yText(step.y)), h("div", {}, said.xText(step.x)), step.note ? h("div", {}, step.note) : null);
    const right = left > width / 2;
    hint.style.left = right ? "auto" : `${left + 10}px`;
    hint.style.right = right ? `${width - left + 10}px` : "auto";
    hint.style.top = `${Math.min(top, said.height - 60)}px`;
  }

  return {
    set(changed) {
      said = { ...said, ...changed };
      draw();
    },
    end: () => size.disconnect(),
  };
}

function layOut(said, width) {
  const xs = said.steps.map((step) => step.x);
  const ys = said.steps.map((step) => step.y);
  const [first, last] = [said.from ?? Math.min(...xs), Math.max(...xs, said.until ?? -Infinity)];
  const [low, high] = widened(said.low ?? Math.min(...ys), said.high ?? Math.max(...ys), false);
  const empty = said.steps.length === 0;
  return {
    x: scale(empty ? 0 : first, empty ? 1 : Math.max(last, first + 1e-9), false, MARGIN.left, width - MARGIN.right),
    y: scale(low, high, false, said.height - MARGIN.bottom, MARGIN.top),
    steps: said.steps,
    until: said.until,
  };
}

/** The step that holds at a pixel. */
function under(said, plot, pixel) {
  const x = plot.x.value(pixel);
  let found = said.steps.length ? 0 : -1;
  said.steps.forEach((step, i) => { if (step.x <= x) found = i; });
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
  const up = ticks(plot.y, 36);
  const round = ticks(plot.x, 90).filter((value) => !said.whole || Number.isInteger(value));
  const across = said.xTicks ?? round.map((value) => ({ value, text: said.xText(value) }));
  const bottom = said.height - MARGIN.bottom;
  return [
    up.map((value) => [
      rule(MARGIN.left, plot.y.pixel(value), width - MARGIN.right, plot.y.pixel(value)),
      words(tickText(value, up, 1), MARGIN.left - 6, plot.y.pixel(value) + 4, "end"),
    ]),
    across.map(({ value, text }) => words(text, Math.min(plot.x.pixel(value), width - 24), bottom + 16, "middle")),
  ];
}

function line(plot) {
  let d = "";
  for (const { x, y } of plot.steps) d += d ? `H${plot.x.pixel(x)}V${plot.y.pixel(y)}` : `M${plot.x.pixel(x)} ${plot.y.pixel(y)}`;
  if (plot.until !== null && d) d += `H${plot.x.pixel(plot.until)}`;
  const path = s("path", { d: d || "M0 0", fill: "none", "stroke-width": 2 });
  path.style.stroke = "var(--front)";
  return path;
}

/** Steps that somebody should look at are marked by a shape, too. */
function marks(said, plot) {
  return said.steps.filter((step) => step.bad).map((step) => {
    const [x, y] = [plot.x.pixel(step.x), plot.y.pixel(step.y)];
    const made = s("path", { d: `M${x} ${y + 9}L${x + 6} ${y + 19}H${x - 6}Z` });
    made.style.fill = "var(--bad)";
    return made;
  });
}

function summary(said) {
  const [first, last] = [said.steps[0], said.steps.at(-1)];
  if (!first) return `${said.label}: nothing yet.`;
  return `${said.label}: from ${said.yText(first.y)} (${said.xText(first.x)}) to ${said.yText(last.y)} (${said.xText(last.x)}), ${said.steps.length} steps. Arrow keys walk along it.`;
}
