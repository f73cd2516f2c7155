// Two ways to draw the same scene: on a canvas, and as the text of an SVG.

import { isHollow, outline, radius } from "./plot_shapes.js";

export const FONT = "system-ui, 'Segoe UI', sans-serif";

/** Draws on a canvas whose units are CSS pixels. */
export function canvasPen(context) {
  const paths = new Map();
  const path = (kind, r) => {
    const key = `${kind} ${r}`;
    if (!paths.has(key)) paths.set(key, new Path2D(outline(kind, r)));
    return paths.get(key);
  };
  return {
    line(points, { colour, width = 1, dash = [], alpha = 1 }) {
      if (points.length < 2) return;
      context.globalAlpha = alpha;
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(dash);
      context.beginPath();
      points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 1;
    },
    shape(kind, x, y, { colour, r = radius(kind), edge = null, width = 1.6 }) {
      context.save();
      context.translate(x, y);
      context.lineWidth = width;
      context.fillStyle = colour;
      context.strokeStyle = edge ?? colour;
      if (!isHollow(kind)) context.fill(path(kind, r));
      if (isHollow(kind) || edge) context.stroke(path(kind, r));
      context.restore();
    },
    rect(x, y, width, height, { fill, alpha = 1, stroke = null }) {
      context.globalAlpha = alpha;
      context.fillStyle = fill;
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
      if (stroke) {
        context.strokeStyle = stroke;
        context.lineWidth = 1;
        context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
      }
    },
    text(words, x, y, { colour, align = "center", size = 12, turned = false, bold = false, halo = null }) {
      context.save();
      context.translate(x, y);
      if (turned) context.rotate(-Math.PI / 2);
      context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
      context.fillStyle = colour;
      context.textAlign = align;
      if (halo) {
        context.strokeStyle = halo;
        context.lineWidth = 3;
        context.lineJoin = "round";
        context.strokeText(words, 0, 0);
      }
      context.fillText(words, 0, 0);
      context.restore();
    },
    width(words, size = 12) {
      context.font = `${size}px ${FONT}`;
      return context.measureText(words).width;
    },
    within({ left, top, right, bottom }, draw) {
      context.save();
      context.beginPath();
      context.rect(left, top, right - left, bottom - top);
      context.clip();
      draw();
      context.restore();
    },
  };
}

const escaped = (text) => String(text).replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
const short = (value) => Number(value.toFixed(2));

/** Collects an SVG; `text()` is all of it. */
export function svgPen(width, height, label) {
  const parts = [];
  const defined = new Map();
  const say = (tag, given, inside = "") => {
    const words = Object.entries(given).filter(([, value]) => value !== null);
    parts.push(`<${tag}${words.map(([name, value]) => ` ${name}="${escaped(value)}"`).join("")}${inside === "" ? "/>" : `>${inside}</${tag}>`}`);
  };
  return {
    line(points, { colour, width: thick = 1, dash = [], alpha = 1 }) {
      if (points.length < 2) return;
      const d = points.map(([x, y], i) => `${i ? "L" : "M"}${short(x)} ${short(y)}`).join("");
      say("path", { d, fill: "none", stroke: colour, "stroke-width": thick, "stroke-dasharray": dash.length ? dash.join(" ") : null, opacity: alpha });
    },
    shape(kind, x, y, { colour, r = radius(kind), edge = null, width: thick = 1.6 }) {
      const key = `${kind} ${r} ${colour} ${edge} ${thick}`;
      if (!defined.has(key)) {
        defined.set(key, { id: `s${defined.size}`, d: outline(kind, r), fill: isHollow(kind) ? "none" : colour, stroke: edge ?? (isHollow(kind) ? colour : "none"), thick });
      }
      parts.push(`<use href="#${defined.get(key).id}" x="${short(x)}" y="${short(y)}"/>`);
    },
    rect(x, y, wide, high, { fill, alpha = 1, stroke = null }) {
      say("rect", { x: short(x), y: short(y), width: short(wide), height: short(high), fill, "fill-opacity": alpha, stroke });
    },
    text(words, x, y, { colour, align = "center", size = 12, turned = false, bold = false, halo = null }) {
      const anchor = { center: "middle", left: "start", right: "end" }[align];
      const turn = turned ? `rotate(-90 ${short(x)} ${short(y)})` : null;
      say("text", { x: short(x), y: short(y), fill: colour, "text-anchor": anchor, "font-size": size, "font-weight": bold ? 600 : null, transform: turn, stroke: halo, "stroke-width": halo ? 3 : null, "stroke-linejoin": halo ? "round" : null, "paint-order": halo ? "stroke" : null }, escaped(words));
    },
    width: (words, size = 12) => words.length * size * 0.55,
    within({ left, top, right, bottom }, draw) {
      parts.push(`<svg x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" viewBox="${left} ${top} ${right - left} ${bottom - top}">`);
      draw();
      parts.push("</svg>");
    },
    all() {
      const shapes = [...defined.values()].map(({ id, d, fill, stroke, thick }) =>
        `<path id="${id}" d="${d}" fill="${escaped(fill)}" stroke="${escaped(stroke)}" stroke-width="${thick}"/>`);
      return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${escaped(FONT)}">` +
        `<title>${escaped(label)}</title><defs>${shapes.join("")}</defs>${parts.join("")}</svg>`;
    },
  };
}
