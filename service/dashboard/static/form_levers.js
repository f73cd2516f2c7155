// One lever in a row: how wide units may be, or which layers may be left out.

import { h } from "./dom.js";

let made = 0;
const labelled = (words, control) => {
  control.id ||= `lever-${(made += 1)}`;
  return h("span", {}, h("label", { for: control.id }, words), control);
};

/** Widths of a kind of units, or of one group of them (`unit`: {kind, width}). */
export function widthLever(name, schema, unit = null) {
  const mode = h("select", { "aria-label": `${name}: how` }, h("option", { value: "" }, unit ? `as all ${unit.kind}` : "stay whole"),
    h("option", { value: "range" }, "a range"), h("option", { value: "fixed" }, "one width"));
  const number = (given) => h("input", { type: "text", inputmode: "decimal", autocomplete: "off", ...given });
  const least = number({ placeholder: "1 unit" }), most = number({ placeholder: "all" }), width = number({ placeholder: "24 or 0.5" });
  const by = h("select", {}, h("option", { value: "choices" }, "at most … widths"), h("option", { value: "step" }, "… units apart"));
  const count = h("input", { type: "number", min: 1, step: 1, placeholder: "16" });
  const range = h("span", { class: "row" }, labelled("least", least), labelled("most", most), labelled("how", by), labelled("how many", count));
  const fixed = h("span", { class: "row" }, labelled("width", width));
  const whole = unit?.width ?? null;
  const show = () => { range.hidden = mode.value !== "range"; fixed.hidden = mode.value !== "fixed"; };
  mode.addEventListener("change", show);
  show();
  return {
    element: row(name, unit ? `${unit.kind} of ${unit.layer}: ${unit.width}` : schema.description, mode, range, fixed),
    read() {
      if (mode.value === "") return undefined;
      if (mode.value === "fixed") return fixedOf(width.value, whole);
      return compact({ least: units(least.value, whole), most: most.value.trim() ? parsed(most.value) : undefined, [by.value]: count.value === "" ? undefined : Number(count.value) });
    },
    fill(value) {
      mode.value = value === undefined || value === null ? "" : typeof value === "number" ? "fixed" : "range";
      width.value = typeof value === "number" ? value : "";
      const said = typeof value === "object" && value !== null ? value : {};
      least.value = said.least ?? "";
      most.value = said.most === 1 ? "" : said.most ?? "";
      by.value = said.step ? "step" : "choices";
      count.value = said.step ?? said.choices ?? "";
      show();
    },
    check() {
      const said = { "": [], range: [least, most], fixed: [width] }[mode.value];
      const wrong = said.find((one) => one.value.trim() !== "" && !(parsed(one.value) > 0));
      if (mode.value === "fixed" && width.value.trim() === "") return `${name}: say the width.`;
      return wrong ? `${name}: expected a share as 0.5, or a number of units, got “${wrong.value}”.` : "";
    },
  };
}

// In JSON as browsers write it 1.0 is 1, and 1 is one unit: a whole width is said in another way.
function fixedOf(text, whole) {
  const value = parsed(text);
  if (isWhole(text)) return whole ?? undefined;
  return value;
}

function units(text, whole) {
  if (text.trim() === "") return undefined;
  return isWhole(text) && whole ? whole : parsed(text);
}

const isWhole = (text) => /^\s*(1\.0+|100\s*%)\s*$/.test(text);
const parsed = (text) => (text.trim().endsWith("%") ? Number(text.trim().slice(0, -1)) / 100 : Number(text));
const compact = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

/** Which layers may be left out. */
export function layersLever(schema, layers) {
  const mode = h("select", { "aria-label": "layers: how" }, h("option", { value: "" }, "all stay"), h("option", { value: "range" }, "some may go"), h("option", { value: "only" }, "these stay"));
  const { minimum, maximum } = schema.properties.least;
  const least = h("input", { type: "number", min: minimum, max: maximum, step: 1, placeholder: minimum });
  const boxes = layers.map((path, at) => h("input", { type: "checkbox", value: at }));
  const atLeast = h("span", { class: "row" }, labelled("at least so many stay", least));
  const only = h("span", { class: "checks" }, layers.map((path, at) => h("label", { class: "check" }, boxes[at], ` ${at}: ${path}`)));
  const show = () => { atLeast.hidden = mode.value !== "range"; only.hidden = mode.value !== "only"; };
  mode.addEventListener("change", show);
  show();
  return {
    element: row("layers", schema.description, mode, atLeast, only),
    read() {
      if (mode.value === "") return undefined;
      if (mode.value === "range") return compact({ least: least.value === "" ? undefined : Number(least.value) });
      return { kept_only: boxes.filter((box) => box.checked).map((box) => Number(box.value)) };
    },
    fill(value) {
      mode.value = value === undefined || value === null ? "" : value.kept_only ? "only" : "range";
      least.value = value?.least ?? "";
      for (const box of boxes) box.checked = value?.kept_only?.includes(Number(box.value)) ?? true;
      show();
    },
    check: () => (mode.value === "range" && least.validationMessage ? `layers: ${least.validationMessage}` : ""),
  };
}

function row(name, about, ...controls) {
  return h("div", { class: "lever" },
    h("div", { class: "about" }, h("code", {}, name), h("div", { class: "help" }, about)),
    h("div", { class: "row" }, controls));
}
