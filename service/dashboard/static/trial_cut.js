// What was cut: the teacher's layers as bars, what remains filled; and what each layer costs.

import { h, s, table } from "./dom.js";
import { percent } from "./format.js";
import { costs, count } from "./trial_costs.js";

const KINDS = {
  channels: ["Width", "channels"], heads: ["Attention heads", "heads"], head_dims: ["Size of each head", "dimensions"],
};
const TALL = 110, STEP = 26, THICK = 20, GAP = 10;

/** Everything about the cut; `cut` is what GET .../layers answers. */
export function cutParts(cut) {
  const removed = (before, left) => (before ? percent(1 - left / before) : "–");
  return [
    h("p", {}, `${removed(cut.macs, cut.macs_left)} of the MACs a frame and ${removed(cut.parameters, cut.parameters_left)} of the parameters were removed: `,
      `${count(cut.macs_left)} of ${count(cut.macs)} MACs and ${count(cut.parameters_left)} of ${count(cut.parameters)} parameters are left.`),
    depth(cut),
    ...tokens(cut),
    h("div", { class: "pair" }, Object.keys(KINDS).map((kind) => widths(cut, kind))),
    costs(cut),
  ];
}

function depth(cut) {
  if (!cut.layers.length) return null;
  const kept = cut.layers.filter((one) => one.kept).length;
  const items = cut.layers.map((one) => ({ label: short(one.path), whole: 1, left: one.kept ? 1 : 0 }));
  const said = cut.layers.length === 1 ? `The one layer that may be left out ${kept ? "stayed" : "is gone"}.` : `${kept} of the ${cut.layers.length} layers that may be left out stayed.`;
  const gone = cut.layers.filter((one) => !one.kept).map((one) => one.path);
  return h("div", {}, h("h3", {}, "Depth"), h("p", {}, said, gone.length ? ` Left out: ${gone.join(", ")}.` : ""),
    picture("Depth", items, said, 26));
}

function tokens(cut) {
  const some = cut.layers.filter((one) => one.tokens !== null);
  if (!some.length) return [];
  const items = some.map((one) => ({ label: short(one.path), whole: one.tokens, left: one.tokens_left ?? 0 }));
  const changed = some.some((one) => one.kept && one.tokens !== one.tokens_left);
  const fewest = Math.min(...some.filter((one) => one.kept).map((one) => one.tokens_left));
  const said = `Tokens that leave each layer; the fewest: ${fewest}. ${changed ? "" : "No layer that stayed lost any."}`;
  return [h("div", {}, h("h3", {}, "Tokens"), h("p", {}, said), picture("Tokens", items, said, TALL),
    text("Tokens as a table", [["Layer", (one) => one.path, { class: "path" }], ["Teacher", (one) => one.tokens, { class: "number" }],
      ["Left", (one) => one.tokens_left ?? 0, { class: "number" }]], some))];
}

function widths(cut, kind) {
  const some = cut.widths.filter((one) => one.kind === kind);
  if (!some.length) return null;
  const [title, unit] = KINDS[kind];
  const [before, left] = ["width", "left"].map((name) => some.reduce((sum, one) => sum + one[name], 0));
  const said = `${left.toLocaleString("en")} of ${before.toLocaleString("en")} ${unit} are left in ${some.length} places.`;
  const items = some.map((one, i) => ({ label: `${i + 1}: ${one.name}`, whole: one.width, left: one.left }));
  return h("div", {}, h("h3", {}, title), h("p", {}, said), picture(title, items, `${title}: ${said}`, TALL),
    text(`${title} as a table`, [
      ["Bar", (one) => some.indexOf(one) + 1, { class: "number" }], ["Place", (one) => one.name, { class: "path" }], ["Teacher", (one) => one.width, { class: "number" }],
      ["Left", (one) => (one.left ? one.left : "none: the layer is gone"), { class: "number" }],
      ["Removed", (one) => percent(1 - one.left / one.width), { class: "number" }],
    ], some));
}

const short = (path) => path.split(".").slice(1).join(".") || path;

const text = (title, columns, rows) => h("details", {}, h("summary", {}, title), table(columns, rows, { caption: title }));

/** Bars: the outline is the teacher's, what is left is filled; a bar that is gone is dashed and crossed out. */
function picture(title, items, said, tall) {
  const most = Math.max(...items.map((one) => one.whole));
  const width = items.length * STEP + 2 * GAP, base = tall + 8;
  const drawn = items.map((one, i) => {
    const x = GAP + i * STEP, high = Math.max((one.whole / most) * tall, 6), full = (one.left / most) * tall;
    const outline = { x: x + 0.5, y: base - high, width: THICK, height: high, fill: "none", stroke: "var(--quiet)" };
    const marks = [s("title", {}, one.whole === 1 && tall < TALL ? `${one.label}: ${one.left ? "stayed" : "left out"}` : `${one.label}: ${one.left} of ${one.whole}`)];
    if (one.left > 0) marks.push(s("rect", { x: x + 0.5, y: base - full, width: THICK, height: full, fill: "var(--accent)" }), s("rect", outline));
    else marks.push(s("rect", { ...outline, "stroke-dasharray": "3 3" }),
      s("path", { d: `M${x + 0.5} ${base - high}l${THICK} ${high}m0 ${-high}l${-THICK} ${high}`, stroke: "var(--infeasible)", fill: "none" }));
    return s("g", {}, marks, items.length <= 40 && i % (items.length > 20 ? 5 : 1) === 0 ? s("text", { x: x + THICK / 2, y: base + 14, "text-anchor": "middle" }, i + 1) : null);
  });
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Picture: ${title}` },
    s("svg", { class: "cut", role: "img", "aria-label": `${said} Each bar is a place in the network's order, as high as the teacher's; what remains is filled.`, width, height: base + 20, viewBox: `0 0 ${width} ${base + 20}` }, drawn));
}
