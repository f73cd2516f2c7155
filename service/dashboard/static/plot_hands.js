// How a plot is used: pointing, selecting, zooming, moving; everything by keyboard too.

import { h } from "./dom.js";
import { begun, fingers, move } from "./plot_fingers.js";
import { told } from "./plot_words.js";

const REACH = 12; // pixels from the pointer within which a point is found
const FINGER = 24; // and from a finger
const STILL = 4; // pixels that a click may move

/** Makes a plot listen; its buttons. */
export function hands(self) {
  const { canvas } = self;
  let held = null; // {left, top, moves, scales}: where the button, or the finger, went down
  const letGo = () => { [held, self.plot.drag] = [null, null]; };
  fingers(self, letGo);
  canvas.addEventListener("pointermove", (event) => {
    if (self.pinched) return;
    const [left, top] = at(event);
    if (held?.moves) return move(self, held, left, top);
    if (held && Math.hypot(left - held.left, top - held.top) > STILL) {
      self.plot.drag = [held.left, held.top, left, top];
      return self.tell(null);
    }
    if (held) return; // a press that has not moved yet
    self.tell(nearest(self, left, top));
    canvas.style.cursor = self.plot.at ? "pointer" : "crosshair";
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || self.pinched || !self.plot.area) return;
    held = begun(self, event, event.shiftKey);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held === null || self.pinched) return;
    const { moves } = held;
    held = null;
    if (self.plot.drag) return selected(self);
    if (!moves) pressed(self, nearest(self, ...at(event), event.pointerType === "touch" ? FINGER : REACH), event.pointerType);
  });
  canvas.addEventListener("pointerleave", (event) => {
    if (held || event.pointerType === "touch") return; // a finger that is lifted leaves, and what it touched stays
    self.tell(null);
  });
  canvas.addEventListener("pointercancel", () => { // the page scrolls
    letGo();
    self.tell(null);
  });
  canvas.addEventListener("wheel", (event) => {
    const wanted = event.ctrlKey || event.metaKey || document.activeElement === canvas;
    if (!wanted) return; // the page scrolls
    event.preventDefault();
    zoom(self, Math.exp(Math.max(-1, Math.min(1, event.deltaY / 400))), ...at(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", () => self.view(null));
  canvas.addEventListener("keydown", (event) => keyed(self, event, letGo));
  canvas.addEventListener("blur", () => {
    self.hint.hidden = true;
    self.plot.touched = null;
  });
  return buttons(self);
}

const at = (event) => [event.offsetX, event.offsetY];

function buttons(self) {
  const one = (words, label, onclick) => h("button", { type: "button", "aria-label": label, title: label, onclick }, words);
  return [
    one("+", "Zoom in", () => zoom(self, 1 / 1.6)),
    one("−", "Zoom out", () => zoom(self, 1.6)),
    one("All", "Show all of it", () => self.view(null)),
    one("PNG", "Save the plot as PNG", () => self.download("png")),
    one("SVG", "Save the plot as SVG", () => self.download("svg")),
    one("CSV", "Save what is shown as CSV", () => self.download("csv")),
  ];
}

/** The trial nearest to a place, if one is within reach; those of a front first. */
export function nearest(self, left, top, reach = REACH) {
  const { plot } = self;
  if (!plot.area) return null;
  return nearestOfFront(self, left, top, reach) ?? nearestOfAll(plot, left, top, reach);
}

function nearestOfFront(self, left, top, reach) {
  const { plot } = self;
  let [best, found] = [reach, null];
  if (plot.hidden.has("front")) return null;
  plot.series.forEach(({ points }, series) => {
    for (const point of points.front) {
      const [x, y] = self.place(point.x, point.y);
      const away = Math.hypot(x - left, y - top);
      if (away < best) [best, found] = [away, onFront(series, point, x, y)];
    }
  });
  return found;
}

const onFront = (series, point, left, top) => ({ series, number: point.number, kind: "front", x: point.x, y: point.y, left, top, point });

/** All places are looked at: of 50,000 in 0.1 ms, less than an index of them takes to be made. */
function nearestOfAll(plot, left, top, reach) {
  let [best, found] = [reach * reach, null];
  plot.series.forEach(({ points, where }, series) => {
    if (!where) return;
    for (let row = 0; row < where.x.length; row += 1) {
      const [x, y] = [where.x[row] - left, where.y[row] - top];
      const away = x * x + y * y; // NaN is never less
      if (away < best && !points.isBest[row]) {
        best = away;
        found = { series, row };
      }
    }
  });
  if (found === null) return null;
  const { points, where } = plot.series[found.series];
  const { row, series } = found;
  return { series, number: points.number[row], kind: points.kindAt(row), x: points.x[row], y: points.y[row], left: where.x[row], top: where.y[row], point: null };
}

function pressed(self, found, pointer) {
  self.canvas.focus({ preventScroll: true });
  const byFinger = pointer === "touch", before = self.plot.touched;
  self.plot.touched = found && byFinger ? `${found.series} ${found.number}` : null;
  const again = before !== null && before === self.plot.touched;
  self.tell(found, byFinger);
  // A finger cannot hover: the first touch shows the hint, the second opens.
  if (found && (!byFinger || again)) self.open(found.series, found.number);
}

function selected(self) {
  const [left, top, right, bottom] = self.plot.drag;
  self.plot.drag = null;
  const { x, y } = self.plot;
  const sorted = (...pair) => pair.sort((one, other) => one - other);
  const rectangle = {
    x: sorted(x.scale.value(left), x.scale.value(right)), y: sorted(y.scale.value(top), y.scale.value(bottom)),
  };
  const chosen = within(self.plot, rectangle);
  const count = chosen.reduce((sum, set) => sum + set.size, 0);
  self.say(`${count} trials selected. Escape leaves them.`);
  self.choose(count ? chosen : null, rectangle);
}

/** The shown trials inside {x: [low, high], y: [low, high]}: a Set of numbers for each series. */
export function within(plot, rectangle) {
  const inside = (value, [low, high]) => value >= low && value <= high;
  return plot.series.map(({ points }) => {
    const found = new Set();
    for (let row = 0; row < points.count; row += 1) {
      const kind = points.kindAt(row);
      if (kind === "failed" || plot.hidden.has(kind)) continue;
      if (inside(points.x[row], rectangle.x) && inside(points.y[row], rectangle.y)) found.add(points.number[row]);
    }
    return found;
  });
}

/** Closer for a factor below 1; around a place, or the middle. */
function zoom(self, factor, left = null, top = null) {
  const { plot } = self;
  const { area } = plot;
  const middle = { x: left ?? (area.left + area.right) / 2, y: top ?? (area.top + area.bottom) / 2 };
  const view = {};
  for (const name of ["x", "y"]) {
    const { scale } = plot[name];
    const ends = [scale.from, scale.to].map((end) => scale.value(middle[name] + (end - middle[name]) * factor));
    if (!ends.every(Number.isFinite) || ends[0] >= ends[1]) return;
    view[name] = ends;
  }
  self.view(view);
}

function keyed(self, event, letGo) {
  const { plot } = self;
  const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
  if (event.key in steps) walk(self, steps[event.key], 0);
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") walk(self, 0, event.key === "ArrowDown" ? 1 : -1);
  else if (event.key === "Enter" && plot.at) self.open(plot.at.series, plot.at.number);
  else if (event.key === " " && plot.at) toggled(self);
  else if (event.key === "+" || event.key === "=") zoom(self, 1 / 1.6);
  else if (event.key === "-") zoom(self, 1.6);
  else if (event.key === "0") self.view(null);
  else if (event.key === "Escape") {
    letGo();
    plot.drag = null;
    self.tell(null);
    self.say("");
    if (plot.chosen) self.choose(null);
  } else return;
  event.preventDefault();
}

/** To the next trial of the front, or to the next front. */
function walk(self, step, change) {
  const { plot } = self;
  const fronts = plot.series.map(({ points }) => points.front.map((point) => [point, ...self.place(point.x, point.y)]).filter(([, left]) => left === left));
  const now = plot.at;
  let series = now?.series ?? 0;
  if (change) series = (series + change + fronts.length) % fronts.length;
  const front = fronts[series];
  if (!front?.length) return self.say("There is no front in view.");
  const here = front.findIndex(([point]) => point.number === now?.number && series === now?.series);
  const next = here < 0 ? 0 : here + step;
  const [point, left, top] = front[Math.max(0, Math.min(front.length - 1, next))];
  self.tell(onFront(series, point, left, top));
  self.say(told(plot, plot.at).join(". "));
}

function toggled(self) {
  const { plot } = self;
  const { series, number } = plot.at;
  const chosen = plot.series.map((_, i) => new Set(plot.chosen?.[i] ?? []));
  if (!chosen[series].delete(number)) chosen[series].add(number);
  const count = chosen.reduce((sum, set) => sum + set.size, 0);
  self.say(`${count} trials selected.`);
  self.choose(count ? chosen : null);
}
