// Bounds that a candidate must hold, one in a row: metric, at most or at least, figure.

import { h, put } from "./dom.js";
import { around } from "./form_fields.js";

const LIMIT = /^\s*([\w.]+)\s*(<=|>=|≤|≥)\s*(.*)$/;
const FIGURE = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*[a-zA-Zµ%]*\s*$/i;
const PLAIN = { "≤": "<=", "≥": ">=" };
const USUAL = "step_ms.onnx_runtime";

/** `objectives`: those that may be bounded. */
export function limitsField(objectives, about) {
  const place = h("div", { class: "rows" });
  const add = h("button", { type: "button", onclick: () => { append().metric.focus(); told(); } }, "Add a limit");
  let rows = [];
  const group = h("div", {}, place, add);
  const field = around(group, {
    ...about,
    read: () => { const said = texts(); return said.length ? said : undefined; },
    fill(limits) {
      rows = [];
      put(place);
      for (const limit of limits ?? []) append(limit);
    },
  });
  const given = () => rows.filter((row) => row.value.value.trim() !== "");
  const texts = () => given().map((row) => `${row.metric.value}${row.way.value}${row.value.value.trim()}`);
  const told = () => group.dispatchEvent(new Event("input", { bubbles: true }));

  function append(limit = "") {
    const row = limitRow(objectives, limit, () => { rows = rows.filter((one) => one !== row); row.element.remove(); add.focus(); told(); });
    rows.push(row);
    place.append(row.element);
    return row;
  }

  /** Rows as fields of their own: errors are said in them. */
  field.parts = () => given().map((row, at) => ({ ...row, pointer: `${about.pointer}/${at}` }));
  /** What a preview has seen of each: [text, class]. */
  field.seen = (found) => given().forEach((row, at) => row.tell(...(found[at] ?? ["", "quiet"])));
  return field;
}

function limitRow(objectives, limit, remove) {
  const [, metricSaid, waySaid, valueSaid] = LIMIT.exec(limit) ?? [];
  const metric = h("select", { "aria-label": "Metric" }, objectives.map((one) => h("option", { value: one.name }, `${one.label} · ${one.name}`)));
  const usual = objectives.some((one) => one.name === USUAL) ? USUAL : objectives[0]?.name;
  metric.value = metricSaid ?? usual;
  const way = h("select", { "aria-label": "At most or at least", class: "short" }, h("option", { value: "<=" }, "≤"), h("option", { value: ">=" }, "≥"));
  const value = h("input", { type: "text", "aria-label": "Figure", placeholder: "8 or 10M", autocomplete: "off" });
  const unit = h("span", { class: "quiet" }), seen = h("span", { class: "quiet small", role: "status" }), wrong = h("p", { class: "problem" });
  const gone = h("button", { type: "button", class: "plain", "aria-label": "Remove this limit", onclick: remove }, "✕");
  const one = () => objectives.find((each) => each.name === metric.value);
  const fit = (event) => {
    put(unit, one()?.unit ?? "");
    if (event) way.value = one()?.better === "higher" ? ">=" : "<=";
  };
  metric.addEventListener("change", fit);
  fit();
  way.value = PLAIN[waySaid] ?? waySaid ?? (one()?.better === "higher" ? ">=" : "<=");
  value.value = valueSaid ?? "";
  const line = h("div", { class: "row" }, metric, way, value, unit, gone);
  return {
    element: h("div", {}, line, seen, wrong), metric, way, value,
    say(text) { put(wrong, text); value.setAttribute("aria-invalid", text ? "true" : "false"); },
    tell(text, kind) { put(seen, text); seen.className = `small ${kind}`; },
    check: () => (FIGURE.test(value.value) ? "" : `Expected a number as 8, 8 ms or 10M, got “${value.value.trim()}”.`), focus: () => value.focus(),
  };
}
