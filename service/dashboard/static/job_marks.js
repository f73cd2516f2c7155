// Reference points that somebody enters by hand: a published tracker, last year's. They are in the address.

import { h, put } from "./dom.js";
import { readAll, write } from "./state.js";

const PREFIXES = { "": 1, k: 1e3, m: 1e6, g: 1e9, "%": 0.01 };

/** "12.5M", "60%", "0.61" as a number; NaN: it is none. */
export function number(text) {
  const read = /^\s*([-+]?[0-9]*[.,]?[0-9]+(?:e[-+]?[0-9]+)?)\s*([kmg%]?)\s*$/i.exec(text);
  return read ? Number(read[1].replace(",", ".")) * PREFIXES[read[2].toLowerCase()] : NaN;
}

/** The reference points that the address names. */
export function readMarks() {
  return readAll("ref").flatMap((said) => {
    const [x, y, ...name] = said.split(";");
    const mark = { kind: "reference", name: name.join(";") || "Reference", x: number(x), y: number(y ?? "") };
    return Number.isFinite(mark.x) && Number.isFinite(mark.y) ? [mark] : [];
  });
}

const keep = (marks) => write({ ref: marks.map(({ name, x, y }) => `${x};${y};${name}`) });

/** Fields to enter and to drop them; `changed()` after either. */
export function markFields(place, changed) {
  const fields = { name: field("name", "Name", "SiamRPN"), x: field("x", "Across", "12.5M"), y: field("y", "Up", "0.61") };
  const said = h("p", { class: "problem", role: "alert" });
  const there = h("ul", {});
  const form = h("form", { class: "row", onsubmit: add },
    Object.values(fields).map(({ label, input }) => [label, input]), h("button", { type: "submit" }, "Add"));
  put(place, h("details", { open: readMarks().length > 0 }, h("summary", {}, "Reference points"), form, said, there));
  list();

  function add(event) {
    event.preventDefault();
    const mark = { name: fields.name.input.value.trim() || "Reference", x: number(fields.x.input.value), y: number(fields.y.input.value) };
    const wrong = ["x", "y"].filter((axis) => !Number.isFinite(mark[axis]));
    for (const axis of ["x", "y"]) fields[axis].input.setAttribute("aria-invalid", String(wrong.includes(axis)));
    put(said, wrong.length ? "A place on each axis, please: a number such as 0.61, 12.5M or 60%." : "");
    if (wrong.length) return fields[wrong[0]].input.focus();
    keep([...readMarks(), mark]);
    form.reset();
    list();
    changed();
  }

  function list() {
    const marks = readMarks();
    put(there, marks.map((mark, i) => h("li", {}, `${mark.name}: ${mark.x} across, ${mark.y} up `,
      h("button", { type: "button", "aria-label": `Drop ${mark.name}`, onclick: () => {
        keep(marks.filter((_, other) => other !== i));
        list();
        changed();
      } }, "Drop"))));
  }
}

function field(name, label, example) {
  const id = `mark-${name}`;
  return { label: h("label", { for: id }, label), input: h("input", { id, size: "9", placeholder: example, autocomplete: "off" }) };
}
