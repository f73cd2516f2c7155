// A scatter plot of searches: 50,000 trials on a canvas, with their fronts; live, by mouse and by keyboard.

import { scale, ticks, widened, wording } from "./axes.js";
import { h, put } from "./dom.js";
import { download } from "./plot_export.js";
import { hands } from "./plot_hands.js";
import { canvasPen } from "./plot_pens.js";
import { scene } from "./plot_scene.js";
import { KINDS, palette } from "./plot_shapes.js";
import { layer } from "./plot_stamps.js";
import { summary, told } from "./plot_words.js";

const STRIP = 20; // pixels for those of which one of the figures is not known
const KEYS = "Arrow keys walk along the front, Enter opens a trial, Space selects it, plus and minus zoom.";
const MOST_RINGS = 300; // chosen trials that are ringed

/**
 * A plot in `place`, until `signal` aborts. Given: name (of its files), height, and what `set` takes:
 *   x, y      {metric: {name, label, unit, better}, log}
 *   series    [{name, tag, colour: "--name" or null, points: Points}]
 *   limits    [{axis: "x" | "y", at_most, at_least, hard}]
 *   marks     [{kind: "teacher" | "reference", name, x, y}]
 *   hidden    Set of kinds;   view   {x: [low, high], y: [low, high]} or null: all
 *   chosen    a Set of numbers for each series, or null
 * and what it calls: onOpen(series, number), onChoose([Set of each series] or null, rectangle), onView(view).
 */
export const scatter = (place, given) => new Scatter(place, given);

class Scatter {
  constructor(place, { name = "front", height = 480, signal = new AbortController().signal, onOpen, onChoose, onView, ...given }) {
    this.name = name;
    this.heard = { onOpen, onChoose, onView };
    this.canvas = h("canvas", { role: "img", tabindex: "0" });
    this.hint = h("div", { class: "hint", hidden: true });
    this.said = h("p", { class: "quiet", "aria-live": "polite" });
    this.frame = h("div", { class: "picture" }, this.canvas, this.hint);
    this.canvas.style.height = `${height}px`;
    this.canvas.style.touchAction = "pan-y";
    this.plot = { size: { width: 0, height }, series: [], limits: [], marks: [], hidden: new Set(), view: null, chosen: null, at: null, drag: null };
    this.layer = layer();
    this.colours = palette();
    this.due = 0; // a drawing: 1 of what lies above the points, 2 of all
    put(place, this.frame, h("div", { class: "row" }, hands(this)), this.said);
    this.watch(signal);
    this.set(given);
  }

  watch(signal) {
    const size = new ResizeObserver(() => {
      this.plot.size = { ...this.plot.size, width: this.frame.clientWidth };
      this.ask(2);
    });
    size.observe(this.frame);
    const repaint = (event) => {
      this.colours = palette();
      this.ask(2);
      if (event.detail === "now") this.draw();
    };
    window.addEventListener("themechange", repaint, { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint, { signal });
    signal.addEventListener("abort", () => size.disconnect(), { once: true });
  }

  ask(what) {
    if (this.due === 0) requestAnimationFrame(() => this.draw());
    this.due = Math.max(this.due, what);
  }

  draw() {
    const { plot, canvas } = this;
    const all = this.due === 2;
    if (this.due === 0) return; // it was drawn at once
    this.due = 0;
    if (plot.size.width === 0 || !plot.x) return;
    const ratio = window.devicePixelRatio || 1;
    if (all) this.lay(ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const pen = canvasPen(context);
    scene(pen, plot, this.colours, () => context.drawImage(this.layer.canvas, 0, 0, plot.size.width, plot.size.height));
    pen.within(plot.area, () => this.above(pen));
    if (all && plot.series.some((series) => series.points.count) && !performance.getEntriesByName("first-plot").length) {
      performance.mark("first-plot");
    }
  }

  /** Axes and points anew. */
  lay(ratio) {
    const { plot, canvas, colours } = this;
    const [wide, high] = [Math.round(plot.size.width * ratio), Math.round(plot.size.height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    layOut(plot);
    this.layer.begin(wide, high);
    const tinted = (colour) => Object.fromEntries(KINDS.map((kind) => [kind, colour]));
    plot.series.forEach((series, i) => {
      const { points, colour } = series;
      series.where = placed(plot, series);
      this.layer.stamp(points, series.where, colour ? tinted(colours.of(colour)) : colours, ratio);
      const chosen = plot.chosen?.[i];
      if (chosen?.size > MOST_RINGS) { // too many for rings: they are drawn again in another colour
        this.layer.stamp(points, series.where, tinted(colours.accent), ratio, (row) => chosen.has(points.number[row]));
      }
    });
    this.layer.end();
    canvas.setAttribute("aria-label", `${summary(plot)} ${KEYS}`);
  }

  above(pen) {
    const { plot, colours } = this;
    for (const [left, top] of ringed(plot)) pen.shape("chosen", left, top, { colour: colours.accent });
    if (plot.at) pen.shape("chosen", plot.at.left, plot.at.top, { colour: colours.text, r: 9, width: 2 });
    if (plot.drag) {
      const [left, top, right, bottom] = plot.drag;
      pen.rect(Math.min(left, right), Math.min(top, bottom), Math.abs(right - left), Math.abs(bottom - top), { fill: colours.select, stroke: colours.accent });
    }
  }

  /** Other axes, series, limits, view ...; what is left out stays. */
  set(changed) {
    Object.assign(this.plot, changed);
    this.tell(null);
    this.ask(2);
  }

  /** The points have changed. */
  update() {
    this.ask(2);
  }

  /** Where a pair of figures is, in pixels; NaN: not in view. */
  place(x, y) {
    return spot(this.plot, x, y);
  }

  /** Show what is known of a trial beside it; null: of none. */
  tell(found, byFinger = false) {
    this.plot.at = found;
    this.hint.hidden = found === null;
    if (found) showHint(this.plot, this.hint, found, byFinger && this.heard.onOpen);
    this.ask(1);
  }

  say(text) {
    put(this.said, text);
  }

  view(view) {
    this.plot.view = view;
    this.heard.onView?.(view);
    this.ask(2);
  }

  /** A Set of numbers for each series, or null: none. */
  choose(chosen, rectangle = null) {
    this.plot.chosen = chosen;
    this.heard.onChoose?.(chosen, rectangle);
    this.ask(2);
  }

  open(series, number) {
    this.heard.onOpen?.(series, number);
  }

  /** "png", "svg" or "csv" of what is shown. */
  download(kind) {
    const { plot, canvas, colours, name } = this;
    download(kind, { ...plot, place: (x, y) => spot(plot, x, y) }, canvas, colours, summary(plot), name);
  }
}

/** Axes for what there is to show, or for the view that was zoomed to. */
function layOut(plot) {
  const narrow = plot.size.width < 500;
  plot.strips = unknown(plot);
  const [left, bottom] = [narrow ? 54 : 66, 46];
  plot.area = {
    left: left + (plot.strips.x ? STRIP : 0), top: 12,
    right: plot.size.width - 12, bottom: plot.size.height - bottom - (plot.strips.y ? STRIP : 0),
  };
  const { area } = plot;
  for (const name of ["x", "y"]) {
    const axis = plot[name];
    const [low, high] = plot.view?.[name] ?? widened(...extent(plot, name), axis.log);
    axis.scale = name === "x" ? scale(low, high, axis.log, area.left, area.right) : scale(low, high, axis.log, area.bottom, area.top);
    axis.words = wording(axis.metric.unit, low, high);
    axis.ticks = ticks(axis.scale, name === "x" ? 76 : 44);
  }
}

function extent(plot, name) {
  const { log } = plot[name];
  let [low, high] = [Infinity, -Infinity];
  const take = (value) => {
    if (log && !(value > 0)) return;
    if (value < low) low = value;
    if (value > high) high = value;
  };
  for (const { points } of plot.series) {
    for (let row = 0; row < points.count; row += 1) {
      if (shows(plot, points, row)) take(points[name][row]);
    }
    if (plot.hidden.has("front")) continue;
    for (const point of points.front) [point[name], point[`${name}Low`] ?? point[name], point[`${name}High`] ?? point[name]].forEach(take);
  }
  for (const mark of plot.marks) if (!plot.hidden.has(mark.kind)) take(mark[name]);
  const room = (high - low) / 2; // a limit nearby is worth some of it
  for (const limit of plot.limits.filter((one) => one.axis === name)) {
    [limit.at_most, limit.at_least].filter((bound) => bound !== null && bound > low - room && bound < high + room).forEach(take);
  }
  return [low, high];
}

const shows = (plot, points, row) => points.kind[row] !== 4 && !plot.hidden.has(points.kindAt(row));

/** Whether there are trials of which x, or y, was never measured: they have a strip of their own. */
function unknown(plot) {
  const found = { x: false, y: false };
  for (const { points } of plot.series) {
    for (let row = 0; row < points.count; row += 1) {
      const [x, y] = [Number.isNaN(points.x[row]), Number.isNaN(points.y[row])];
      if (x !== y && shows(plot, points, row)) found[x ? "x" : "y"] = true;
    }
  }
  return found;
}

/** Where the points of a series are, in pixels; NaN where one is not shown. */
function placed(plot, { points }) {
  const [x, y] = [new Float32Array(points.count), new Float32Array(points.count)];
  let shown = 0;
  for (let row = 0; row < points.count; row += 1) {
    const [left, top] = shows(plot, points, row) ? spotOrStrip(plot, points, row) : [NaN, NaN];
    x[row] = left;
    y[row] = top;
    if (left === left) shown += 1;
  }
  return { x, y, shown };
}

/** In the strips they lie scattered, by their number. */
function spotOrStrip(plot, points, row) {
  const { area, x: across, y: up } = plot;
  const [x, y, aside] = [points.x[row], points.y[row], ((points.number[row] * 7) % 11) - 5];
  const inside = (value, { scale }) => value >= scale.low && value <= scale.high;
  if (Number.isNaN(y)) return inside(x, across) ? [across.scale.pixel(x), area.bottom + STRIP / 2 + aside] : [NaN, NaN];
  if (Number.isNaN(x)) return inside(y, up) ? [area.left - STRIP / 2 - aside, up.scale.pixel(y)] : [NaN, NaN];
  return spot(plot, x, y);
}

function spot({ x, y }, across, up) {
  const seen = across >= x.scale.low && across <= x.scale.high && up >= y.scale.low && up <= y.scale.high;
  return seen ? [x.scale.pixel(across), y.scale.pixel(up)] : [NaN, NaN];
}

function ringed(plot) {
  const found = [];
  plot.series.forEach(({ points, where }, i) => {
    const chosen = plot.chosen?.[i] ?? new Set();
    const all = chosen.size <= MOST_RINGS; // else those of the front only
    for (const number of chosen) {
      const row = points.row.get(number);
      if (row === undefined || row >= where.x.length || Number.isNaN(where.x[row])) continue;
      if (all || points.isBest[row]) found.push([where.x[row], where.y[row]]);
    }
  });
  return found;
}

function showHint(plot, hint, found, opens) {
  put(hint, told(plot, found).map((line, i) => h(i ? "div" : "strong", {}, line)), opens ? h("div", { class: "quiet" }, "Tap again to open it.") : null);
  const right = found.left > plot.size.width / 2;
  hint.style.left = right ? "auto" : `${found.left + 14}px`;
  hint.style.right = right ? `${plot.size.width - found.left + 14}px` : "auto";
  hint.style.top = `${Math.max(4, Math.min(found.top + 12, plot.size.height - 110))}px`;
}
