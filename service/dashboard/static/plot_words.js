// A plot in words: a trial beside its point, and all of it for who does not see it.

import { figure, range, unitOf } from "./format.js";
import { NAMES } from "./plot_shapes.js";

/** What is known of a trial at a point, line by line. */
export function told(plot, { series, number, kind, x, y, point }) {
  const many = plot.series.length > 1;
  const knee = kind === "front" && plot.series[series].points.knee === number;
  return [
    `${many ? `${plot.series[series].name}, trial` : "Trial"} ${number}: ${NAMES[kind].toLowerCase()}${knee ? ", the knee" : ""}`,
    `${plot.y.metric.label}: ${Number.isNaN(y) ? "not measured" : range(y, point?.yLow, point?.yHigh, unitOf(plot.y.metric))}`,
    `${plot.x.metric.label}: ${Number.isNaN(x) ? "not measured" : range(x, point?.xLow, point?.xHigh, unitOf(plot.x.metric))}`,
    ...(point?.flag ? [point.flag] : []),
  ];
}

/** The plot in words, for who does not see it. */
export function summary(plot) {
  const axis = ({ metric }) => metric.label;
  const parts = plot.series.map(({ name, points }) => {
    const counts = points.counts();
    const kinds = Object.entries(counts).filter(([, count]) => count).map(([kind, count]) => `${count} ${NAMES[kind].toLowerCase()}`);
    const [first, last] = [points.front[0], points.front.at(-1)];
    const from = ({ x, y }) => `${figure(y, unitOf(plot.y.metric))} at ${figure(x, unitOf(plot.x.metric))}`;
    return `${name}: ${kinds.join(", ") || "no trials"}.${first ? ` The front goes from ${from(first)} to ${from(last)}.` : ""}`;
  });
  return `${axis(plot.y)} against ${axis(plot.x)}. ${parts.join(" ")}`;
}
