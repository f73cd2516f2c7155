// Fields of forms: a label, a control, help, and what is wrong with it, said where it is.
//
// A field is {element, pointer, read, fill, check, say}: `read()` is the value of a document, undefined
// where the default holds; `fill(value)` shows one; `say(text)` marks it; `check()` is what is wrong here.

import { h, put } from "./dom.js";

let made = 0;
const next = (word) => `${word}-${(made += 1)}`;

/** A field around a control: {label, help, pointer, read, fill}. */
export function around(control, { label, help = "", pointer = "", read, fill, check = null, labelled = control, after = null }) {
  const id = (labelled.id ||= next("field"));
  const about = h("p", { class: "help", id: `${id}-help` }, help);
  const wrong = h("p", { class: "problem", id: `${id}-wrong` });
  labelled.setAttribute("aria-describedby", `${id}-wrong ${id}-help`);
  const isInput = labelled.matches("input, select, textarea");
  const title = isInput ? h("label", { for: id }, label) : h("span", { class: "label", id: `${id}-label` }, label);
  if (!isInput) {
    labelled.setAttribute("role", "group");
    labelled.setAttribute("aria-labelledby", `${id}-label`);
  }
  const say = (text) => {
    put(wrong, text);
    if (isInput) labelled.toggleAttribute("aria-invalid", false);
    if (isInput && text) labelled.setAttribute("aria-invalid", "true");
  };
  const own = () => [...(isInput ? [labelled] : labelled.querySelectorAll("input, select, textarea"))]
    .map((one) => (one.validationMessage ? one.validationMessage : "")).find(Boolean) ?? "";
  return {
    element: h("div", { class: "field" }, title, control, after, about, wrong),
    pointer, read, fill, say,
    help: (text) => put(about, text),
    check: () => own() || check?.() || "",
    isFilled: () => [...control.querySelectorAll("input, select, textarea"), control].some((one) => one.value),
    focus: () => (isInput ? labelled : labelled.querySelector("input, select, textarea, button"))?.focus(),
  };
}

/** One line of text; "" is the default, and so is the word `otherwise`. */
export function text({ type = "text", otherwise, ...about }) {
  const { attributes = {}, ...words } = about;
  const control = h("input", { type, autocomplete: "off", spellcheck: "false", ...attributes });
  const said = () => control.value.trim() || undefined;
  return around(control, {
    ...words,
    read: () => (said() === otherwise ? undefined : said()),
    fill: (value) => { control.value = value ?? ""; },
  });
}

/** A number; empty is the default, which it names. */
export function number({ least = null, most = null, step = "any", otherwise = null, attributes = {}, ...about }) {
  const control = h("input", { type: "number", min: least, max: most, step, inputmode: "decimal", placeholder: otherwise, ...attributes });
  return around(control, {
    ...about,
    read: () => (control.value === "" || Number(control.value) === otherwise ? undefined : Number(control.value)),
    fill: (value) => { control.value = value ?? ""; },
  });
}

/** One of several: options are [value, words]; the first value may be undefined, the default. */
export function choice({ options, otherwise, about = {}, help = "", ...words }) {
  const control = h("select", {}, options.map(([value, label]) => h("option", { value: value ?? "" }, label)));
  const field = around(control, {
    ...words, help,
    read: () => (control.value === "" || control.value === String(otherwise ?? "") ? undefined : control.value),
    fill(value) {
      const said = value ?? otherwise ?? "";
      if (![...control.options].some((one) => one.value === said)) control.append(h("option", { value: said }, said));
      control.value = said;
      explain();
    },
  });
  function explain() {
    field.help([help, about[control.value] ?? ""].filter(Boolean).join(" "));
  }
  control.addEventListener("change", explain);
  field.fill(undefined);
  return field;
}

/** Several of some: options are [value, words]. Order is that of the options. */
export function several({ options, otherwise = [], ...words }) {
  const boxes = options.map(([value, label]) => {
    const box = h("input", { type: "checkbox", value });
    return [box, h("label", { class: "check" }, box, ` ${label}`)];
  });
  const picked = () => boxes.map(([box]) => box).filter((box) => box.checked).map((box) => box.value);
  const field = around(h("div", { class: "checks" }, boxes.map(([, label]) => label)), {
    ...words,
    read: () => (same(picked(), otherwise) ? undefined : picked()),
    fill: (value) => boxes.forEach(([box]) => { box.checked = (value ?? otherwise).includes(box.value); }),
  });
  field.fill(undefined);
  return field;
}

/** Yes or no. */
export function flag({ label, help = "", pointer = "", otherwise = false }) {
  const box = h("input", { type: "checkbox", id: next("field") });
  const field = around(box, {
    label, help, pointer,
    read: () => (box.checked === otherwise ? undefined : box.checked),
    fill: (value) => { box.checked = value ?? otherwise; },
  });
  const title = field.element.querySelector("label");
  title.className = "check";
  title.prepend(box);
  field.fill(undefined);
  return field;
}

/** Values in one line with commas between; `kind` is "integer", "number" or "string". */
export function listed({ kind = "string", otherwise = [], attributes = {}, ...about }) {
  const control = h("input", { type: "text", autocomplete: "off", placeholder: otherwise.join(", "), ...attributes });
  const words = () => control.value.split(",").map((word) => word.trim()).filter(Boolean);
  const value = (word) => (kind === "string" ? word : Number(word));
  return around(control, {
    ...about,
    read() {
      const said = words().map(value).map((one) => (Number.isNaN(one) ? null : one));
      return control.value.trim() === "" || same(said, otherwise) ? undefined : said;
    },
    fill: (values) => { control.value = (values ?? []).join(", "); },
    check: () => (kind !== "string" && words().some((word) => Number.isNaN(Number(word))) ? "Numbers with commas between, please." : ""),
  });
}

/** Anything as JSON. */
export function json({ rows = 4, attributes = {}, ...about }) {
  const control = h("textarea", { rows, spellcheck: "false", ...attributes });
  const parsed = () => { try { return JSON.parse(control.value); } catch { return undefined; } };
  return around(control, {
    ...about,
    read: () => (control.value.trim() === "" ? undefined : parsed()),
    fill: (value) => { control.value = value === undefined ? "" : JSON.stringify(value, null, 1); },
    check: () => (control.value.trim() !== "" && parsed() === undefined ? "This is not JSON." : ""),
  });
}

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** What can be seen to be wrong before anything is sent; true: nothing is. */
export function checked(fields) {
  let first = null;
  for (const field of fields) {
    const wrong = field.check();
    field.say(wrong);
    if (wrong) first ??= field;
  }
  if (first) show(first);
  return first === null;
}

/**
 * Say what the service refused: each error at the field that its pointer (or parameter) names, the
 * others at `place`. `move`: go to the first.
 */
export function refused(fields, problem, place, move = true) {
  const rest = [], said = new Map();
  for (const error of problem.errors ?? []) {
    const at = error.pointer ?? (error.parameter ? `?${error.parameter}` : null);
    const field = fieldAt(fields, at) ?? fieldNamed(fields, at, error.detail);
    if (field) said.set(field, [...(said.get(field) ?? []), error.detail]);
    else rest.push(error.detail);
  }
  for (const field of fields) field.say((said.get(field) ?? []).join("; "));
  const message = said.size && !rest.length ? "" : rest.join("; ") || problem.message;
  put(place, message);
  const first = fields.find((field) => said.has(field));
  if (move && first) show(first);
  else if (move) place.scrollIntoView?.({ block: "nearest" });
}

function fieldAt(fields, pointer) {
  if (!pointer) return null;
  const fits = fields.filter((one) => one.pointer && (pointer === one.pointer || pointer.startsWith(`${one.pointer}/`)));
  return fits.sort((a, b) => b.pointer.length - a.pointer.length)[0] ?? null;
}

// Of the whole document something is wrong: perhaps the word that a field has, which is quoted.
function fieldNamed(fields, pointer, detail) {
  const inside = fields.filter((one) => pointer && one.pointer.startsWith(`${pointer}/`));
  return inside.find((one) => typeof one.read?.() === "string" && detail.includes(`'${one.read()}'`)) ?? null;
}

function show(field) {
  for (let at = field.element.parentElement; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  field.element.scrollIntoView({ block: "center" });
  field.focus();
}

/** A button that copies a text, and says that it has. */
export function copies(words, content) {
  const said = h("span", { role: "status", class: "good" });
  const button = h("button", { type: "button", onclick: copy }, words);
  async function copy() {
    const wanted = content();
    try {
      await navigator.clipboard.writeText(wanted); // not over plain http: there is no clipboard then
      put(said, " copied");
    } catch {
      put(said, byHand(wanted) ? " copied" : " mark it and copy it by hand");
    }
    setTimeout(() => put(said), 4000);
  }
  return h("span", {}, button, said);
}

function byHand(wanted) {
  const area = h("textarea", { readonly: true, "aria-hidden": "true" }, wanted);
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** What is shown once: a secret with its name, a copy button, and a button that puts it away. */
export function secret(title, value, note) {
  const box = h("div", { class: "secret", role: "alert" },
    h("h2", {}, title), h("p", {}, note), h("p", {}, h("code", {}, value)),
    h("div", { class: "row" }, copies("Copy", () => value),
      h("button", { type: "button", onclick: () => box.remove() }, "I have it; put it away")));
  return box;
}

/** A button that works while it works: disabled meanwhile, its refusal said at `place`. */
export function busy(words, work, place, given = {}) {
  const button = h("button", { type: "button", ...given, onclick: press }, words);
  async function press() {
    button.disabled = true;
    put(place);
    try {
      await work();
    } catch (error) {
      put(place, error.message ?? String(error));
    } finally {
      button.disabled = false;
    }
  }
  return button;
}
