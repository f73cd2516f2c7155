// What a plot shows, from back to front; with either pen.

import { tickText, title } from "./axes.js";
import { beside, labels } from "./plot_labels.js";

const NAMED = 4; // points of a front beside which its letter may stand

/** All of it. `drawPoints(pen)` draws what is on no front. */
export function scene(pen, plot, colours, drawPoints) {
  const { area, size } = plot;
  pen.rect(0, 0, size.width, size.height, { fill: colours.ground });
  pen.within(area, () => forbidden(pen, plot, colours));
  axes(pen, plot, colours);
  drawPoints(pen);
  pen.within(grown(area, 4), () => {
    for (const series of plot.series) best(pen, plot, series, colours);
  });
  const room = labels(area);
  for (const { left, top } of shownMarks(plot)) room.keep({ left: left - 7, right: left + 7, top: top - 7, bottom: top + 7 });
  tags(pen, plot, colours, room);
  pen.within(area, () => bounds(pen, plot, colours, room));
  marks(pen, plot, colours, room);
  if (plot.series.every(({ points }) => points.count === 0)) {
    pen.text("No trial yet", (area.left + area.right) / 2, (area.top + area.bottom) / 2, { colour: colours.quiet, size: 15 });
  }
}

const grown = ({ left, top, right, bottom }, by) => ({ left: left - by, top: top - by, right: right + by, bottom: bottom + by });

function axes(pen, plot, colours) {
  const { area, size, strips, x, y } = plot;
  if (strips.y) {
    pen.rect(area.left, area.bottom, area.right - area.left, 20, { fill: colours.line, alpha: 0.35 });
    pen.text("unknown", area.left - 7, area.bottom + 14, { colour: colours.quiet, align: "right", size: 10 });
  }
  if (strips.x) pen.rect(area.left - 20, area.top, 20, area.bottom - area.top, { fill: colours.line, alpha: 0.35 });
  for (const value of x.ticks) {
    const at = Math.round(x.scale.pixel(value)) + 0.5;
    pen.line([[at, area.top], [at, area.bottom]], { colour: colours.line });
    pen.text(tickText(value, x.ticks, x.words.factor), at, size.height - 29, { colour: colours.quiet });
  }
  for (const value of y.ticks) {
    const at = Math.round(y.scale.pixel(value)) + 0.5;
    pen.line([[area.left, at], [area.right, at]], { colour: colours.line });
    pen.text(tickText(value, y.ticks, y.words.factor), area.left - (strips.x ? 27 : 7), at + 4, { colour: colours.quiet, align: "right" });
  }
  pen.line([[area.left, area.top], [area.left, area.bottom], [area.right, area.bottom]], { colour: colours.quiet });
  const note = (axis) => (axis.log ? " (log)" : "");
  pen.text(title(x.metric, x.words) + note(x), (area.left + area.right) / 2, size.height - 8, { colour: colours.text, size: 13 });
  pen.text(title(y.metric, y.words) + note(y), 14, (area.top + area.bottom) / 2, { colour: colours.text, size: 13, turned: true });
}

/** Which parts a hard limit forbids: from pixel to pixel along its axis. */
function forbidden(pen, plot, colours) {
  const { area } = plot;
  for (const limit of plot.limits.filter((one) => one.hard)) {
    const scale = plot[limit.axis].scale;
    const ranges = [];
    if (limit.at_most !== null) ranges.push([limit.at_most, scale.high]);
    if (limit.at_least !== null) ranges.push([scale.low, limit.at_least]);
    for (const [low, high] of ranges.filter(([from, to]) => from < to)) {
      const ends = [scale.pixel(Math.max(low, scale.low)), scale.pixel(Math.min(high, scale.high))].sort((one, other) => one - other);
      const [x, width] = limit.axis === "x" ? [ends[0], ends[1] - ends[0]] : [area.left, area.right - area.left];
      const [y, height] = limit.axis === "y" ? [ends[0], ends[1] - ends[0]] : [area.top, area.bottom - area.top];
      pen.rect(x, y, width, height, { fill: colours.infeasible, alpha: 0.13 });
    }
  }
}

function bounds(pen, plot, colours, room) {
  const { area } = plot;
  for (const limit of plot.limits) {
    const { scale, words } = plot[limit.axis];
    for (const [bound, sign] of [[limit.at_most, "≤"], [limit.at_least, "≥"]]) {
      if (bound === null || bound < scale.low || bound > scale.high) continue;
      const at = scale.pixel(bound);
      const said = `${sign} ${Number((bound / words.factor).toPrecision(4))}${limit.hard ? "" : " (soft)"}`;
      const upright = limit.axis === "x";
      pen.line(upright ? [[at, area.top], [at, area.bottom]] : [[area.left, at], [area.right, at]],
        { colour: colours.infeasible, width: 1.5, dash: limit.hard ? [6, 3] : [2, 4] });
      const spot = room.place(upright ? along(area, at) : across(area, at), pen.width(said));
      if (spot) pen.text(said, spot.x, spot.y, { colour: colours.infeasible, align: spot.align });
    }
  }
}

/** Where the words of an upright limit may stand: near its upper end, on either side; of a level one: near its right. */
const along = (area, at) => [0, 1, 2, 3].flatMap((line) => [["left", 5], ["right", -5]].map(([align, by]) => ({ x: at + by, y: area.top + 14 + 16 * line, align })));
const across = (area, at) => [0, 1, 2, 3].flatMap((step) => [-5, 15].map((by) => ({ x: area.right - 6 - 90 * step, y: at + by, align: "right" })));

/** The front as steps: at every cost, the best for no more than that. */
export function steps(plot, front) {
  const { x, y, area } = plot;
  const costs = x.metric.better === "lower";
  const shown = front.filter((point) => x.scale.log ? point.x > 0 : true);
  const sorted = costs ? shown : [...shown].reverse();
  const found = [];
  for (const point of sorted) {
    const [left, top] = [x.scale.pixel(point.x), y.scale.pixel(point.y)];
    if (found.length) found.push([left, found.at(-1)[1]]);
    else found.push([left, y.metric.better === "higher" ? area.bottom + 4 : area.top - 4]);
    found.push([left, top]);
  }
  if (found.length) found.push([costs ? area.right + 4 : area.left - 4, found.at(-1)[1]]);
  return found;
}

function best(pen, plot, series, colours) {
  if (plot.hidden.has("front")) return;
  const { front, knee } = series.points;
  const colour = series.colour ? colours.of(series.colour) : colours.front;
  const { x, y } = plot;
  pen.line(steps(plot, front), { colour, width: 1.6, alpha: 0.8 });
  const places = front.filter((point) => inside(x.scale, point.x) && inside(y.scale, point.y));
  for (const point of places) whiskers(pen, plot, point, colour);
  for (const point of places) {
    const [left, top] = [x.scale.pixel(point.x), y.scale.pixel(point.y)];
    pen.shape("front", left, top, { colour, edge: colours.ground, width: 1 });
    if (point.number === knee) pen.shape("knee", left, top, { colour });
  }
}

/** The letter of each front, near its dear end; none of them lies on another. */
function tags(pen, plot, colours, room) {
  if (plot.hidden.has("front")) return;
  for (const { tag, colour, points } of plot.series.filter((series) => series.tag)) {
    const places = points.front.filter((point) => inside(plot.x.scale, point.x) && inside(plot.y.scale, point.y));
    const spots = places.slice(-NAMED).reverse().flatMap((point) => around(plot.x.scale.pixel(point.x), plot.y.scale.pixel(point.y)));
    const spot = room.place(spots, pen.width(tag) + 2);
    if (spot) pen.text(tag, spot.x, spot.y, { colour: colours.of(colour), align: "left", bold: true, halo: colours.ground });
  }
}

const around = (left, top) => [[8, -8], [8, 16], [-16, -8], [8, -22], [-16, 16], [22, -8]].map(([x, y]) => ({ x: left + x, y: top + y, align: "left" }));

const inside = (scale, value) => value >= scale.low && value <= scale.high;

function whiskers(pen, plot, point, colour) {
  const [x, y] = [plot.x.scale, plot.y.scale];
  const style = { colour, width: 1.2, alpha: 0.75 };
  if (point.yLow !== null && point.yHigh !== null) {
    const at = x.pixel(point.x);
    const [low, high] = [y.pixel(Math.max(point.yLow, y.log ? y.low : -Infinity)), y.pixel(point.yHigh)];
    pen.line([[at, low], [at, high]], style);
    for (const end of [low, high]) pen.line([[at - 3, end], [at + 3, end]], style);
  }
  if (point.xLow !== null && point.xHigh !== null) {
    const at = y.pixel(point.y);
    const [low, high] = [x.pixel(Math.max(point.xLow, x.log ? x.low : -Infinity)), x.pixel(point.xHigh)];
    pen.line([[low, at], [high, at]], style);
    for (const end of [low, high]) pen.line([[end, at - 3], [end, at + 3]], style);
  }
}

const shownMarks = (plot) => plot.marks
  .filter((mark) => !plot.hidden.has(mark.kind) && inside(plot.x.scale, mark.x) && inside(plot.y.scale, mark.y))
  .map((mark) => ({ mark, left: plot.x.scale.pixel(mark.x), top: plot.y.scale.pixel(mark.y) }));

/** A name that has room nowhere is left out: what lists the marks beside the plot has it. */
function marks(pen, plot, colours, room) {
  const shown = shownMarks(plot);
  for (const { mark, left, top } of shown) pen.shape(mark.kind, left, top, { colour: colours[mark.kind], edge: colours.ground, width: 1 });
  for (const { mark, left, top } of shown) {
    const spot = room.place(beside(left, top), pen.width(mark.name));
    if (spot) pen.text(mark.name, spot.x, spot.y, { colour: colours.text, align: spot.align, halo: colours.ground });
  }
}
