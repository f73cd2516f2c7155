// Many points quickly: each kind is drawn once, and its pixels are copied to every point.

import { KINDS, isHollow, outline, radius } from "./plot_shapes.js";

const MANY = 4000; // points from which on the dominated ones are thinner

/** A layer of pixels over a plot; it is kept from one drawing to the next. */
export function layer() {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  let image = null;
  return {
    canvas,
    begin(width, height) {
      if (image === null || image.width !== width || image.height !== height) {
        canvas.width = width;
        canvas.height = height;
        image = new ImageData(width, height);
      } else {
        image.data.fill(0);
      }
    },
    /** One series: `where` are its points' pixels (NaN: not shown), `which(row)` those to draw. */
    stamp(points, where, colours, ratio, which = () => true) {
      for (let kind = 0; kind < KINDS.length; kind += 1) {
        if (KINDS[kind] === "failed") continue;
        const made = sprite(KINDS[kind], colours[KINDS[kind]], ratio, where.shown > MANY);
        for (let row = 0; row < points.count; row += 1) {
          if (points.kind[row] !== kind || points.isBest[row] || Number.isNaN(where.x[row]) || !which(row)) continue;
          press(image, made, Math.round(where.x[row] * ratio), Math.round(where.y[row] * ratio));
        }
      }
    },
    end() {
      context.putImageData(image, 0, 0);
    },
  };
}

/** The pixels of a shape: where they are from its middle, and what they are. */
function sprite(kind, colour, ratio, many) {
  const size = radius(kind) * (many ? 0.65 : 1) * ratio;
  const half = Math.ceil(size + ratio + 1);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = half * 2 + 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.translate(half + 0.5, half + 0.5);
  context.globalAlpha = many ? 0.6 : 0.85;
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 1.2 * ratio;
  const path = new Path2D(outline(kind, size));
  if (isHollow(kind)) context.stroke(path);
  else context.fill(path);
  return pixels(context.getImageData(0, 0, canvas.width, canvas.height), half);
}

function pixels({ data, width, height }, half) {
  const found = [];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 4;
      if (data[at + 3] > 8) found.push(x - half, y - half, data[at], data[at + 1], data[at + 2], data[at + 3]);
    }
  }
  return Int16Array.from(found);
}

function press({ data, width, height }, sprite, x, y) {
  for (let i = 0; i < sprite.length; i += 6) {
    const left = x + sprite[i];
    const top = y + sprite[i + 1];
    if (left < 0 || top < 0 || left >= width || top >= height) continue;
    const at = (top * width + left) * 4;
    const over = sprite[i + 5];
    const under = (data[at + 3] * (255 - over)) / 255;
    const whole = over + under;
    data[at] = (sprite[i + 2] * over + data[at] * under) / whole;
    data[at + 1] = (sprite[i + 3] * over + data[at + 1] * under) / whole;
    data[at + 2] = (sprite[i + 4] * over + data[at + 2] * under) / whole;
    data[at + 3] = whole;
  }
}
