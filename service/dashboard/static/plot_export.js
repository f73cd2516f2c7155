// What is shown, to take away: as a picture, as a drawing, as a table.

import { KINDS } from "./plot_shapes.js";
import { save } from "./dom.js";
import { svgPen } from "./plot_pens.js";
import { scene } from "./plot_scene.js";

/** Every shown trial as {series, number, kind, x, y, point}; `point`: what the front knows of it. */
export function* visible(plot) {
  for (const series of plot.series) {
    const { points, where } = series;
    const best = new Map(points.front.map((point) => [point.number, point]));
    for (let row = 0; row < points.count; row += 1) {
      const number = points.number[row];
      const point = best.get(number) ?? null;
      if (point !== null || Number.isNaN(where.x[row])) continue;
      yield { series, number, kind: KINDS[points.kind[row]], x: points.x[row], y: points.y[row], left: where.x[row], top: where.y[row], point };
    }
    if (plot.hidden.has("front")) continue;
    for (const point of points.front) {
      const [left, top] = plot.place(point.x, point.y);
      if (!Number.isNaN(left)) yield { series, number: point.number, kind: "front", x: point.x, y: point.y, left, top, point };
    }
  }
}

export function toSvg(plot, colours, label) {
  const pen = svgPen(plot.size.width, plot.size.height, label);
  scene(pen, plot, colours, () => {
    for (const { series, kind, left, top } of visible(plot)) {
      if (kind === "front") continue; // drawn with its line
      pen.shape(kind, left, top, { colour: series.colour ? colours.of(series.colour) : colours[kind], width: 1.2 });
    }
  });
  return pen.all();
}

const FORMULA = /^[=+\-@\t\r\n|%]/;

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : String(value); // a spreadsheet would run it
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const known = (value) => (Number.isNaN(value) ? null : value);

export function toCsv(plot) {
  const [x, y] = [plot.x.metric.name, plot.y.metric.name];
  const lines = [["series", "trial", "kind", x, `${x}_low`, `${x}_high`, y, `${y}_low`, `${y}_high`]];
  for (const { series, number, kind, x: across, y: up, point } of visible(plot)) {
    lines.push([series.name, number, kind, known(across), point?.xLow, point?.xHigh, known(up), point?.yLow, point?.yHigh]);
  }
  for (const mark of plot.marks) lines.push([mark.name, null, mark.kind, mark.x, null, null, mark.y, null, null]);
  return lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Hand one of the three to the browser. */
export function download(kind, plot, canvas, colours, label, name) {
  if (kind === "svg") save(toSvg(plot, colours, label), `${name}.svg`, "image/svg+xml");
  else if (kind === "csv") save(toCsv(plot), `${name}.csv`, "text/csv");
  else canvas.toBlob((blob) => save(blob, `${name}.png`, "image/png"));
}
