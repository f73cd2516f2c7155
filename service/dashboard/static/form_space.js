// What may be cut: everything, or levers one by one, as the teacher's own schema has them.

import { h, put } from "./dom.js";
import { around } from "./form_fields.js";
import { layersLever, widthLever } from "./form_levers.js";
import { many } from "./form_metrics.js";

let made = 0;

/** The field of /spec/space. `load(schema)`: GET /spaces/FAMILY?teacher=; null: it is not known. */
export function spaceField(about) {
  const name = `space-${(made += 1)}`;
  const radio = (value, words) => {
    const box = h("input", { type: "radio", name, value });
    return [box, h("label", { class: "check" }, box, " ", words)];
  };
  const all = h("span", {}, "Everything that can be cut");
  const [every, everyLabel] = radio("everything", all), [choose, chooseLabel] = radio("chosen", "Only what I choose");
  const place = h("div", { hidden: true });
  const state = { schema: null, levers: null, pending: undefined };
  const field = around(h("div", {}, h("div", { class: "checks" }, everyLabel, chooseLabel), place), {
    ...about,
    read() {
      if (every.checked) return undefined;
      if (state.levers === null) return state.pending ?? {};
      const found = readAll(state.levers);
      return alike(found, state.schema.default) ? undefined : found;
    },
    fill(space) {
      state.pending = space;
      (space === undefined ? every : choose).checked = true;
      draw(state, place, choose.checked);
    },
    check: () => (choose.checked && state.levers ? [...state.levers.values()].map((one) => one.check()).find(Boolean) ?? "" : ""),
  });
  for (const box of [every, choose]) box.addEventListener("change", () => draw(state, place, choose.checked));
  field.load = (schema) => {
    // What was chosen for one teacher is kept for the next where the names are the same.
    if (state.levers !== null && choose.checked) state.pending = readAll(state.levers);
    state.schema = schema;
    state.levers = null;
    put(all, "Everything that can be cut", schema ? ` (default: ${many(schema["x-candidates"])} candidates)` : "");
    draw(state, place, choose.checked);
  };
  every.checked = true;
  return field;
}

function draw(state, place, chosen) {
  place.hidden = !chosen;
  if (!chosen) return;
  if (state.schema === null) {
    put(place, h("p", { class: "quiet" }, "The levers of this teacher are shown when it is known."));
    return;
  }
  if (state.levers === null || state.pending !== undefined) {
    const begin = state.pending ?? state.schema.default;
    state.pending = undefined;
    state.levers = leversOf(state.schema, begin);
    put(place, drawn(state.schema, state.levers, begin));
  }
}

function leversOf(schema, begin) {
  const levers = new Map();
  const units = new Map((schema["x-units"] ?? []).map((one) => [one.name, one]));
  for (const [name, one] of Object.entries(schema.properties)) {
    if (name === "round_to") levers.set(name, roundTo(one));
    else if (name === "layers") levers.set(name, layersLever(one, schema["x-layers"] ?? []));
    else levers.set(name, widthLever(name, one, units.get(name)));
    levers.get(name).fill(begin[name]);
  }
  return levers;
}

function drawn(schema, levers, begin) {
  const single = (schema["x-units"] ?? []).map((one) => one.name).filter((name) => levers.has(name));
  const whole = [...levers.keys()].filter((name) => !single.includes(name) && name !== "round_to");
  const elements = (names) => names.map((name) => levers.get(name).element);
  const used = single.some((name) => begin[name] !== undefined);
  const unknown = Object.keys(begin).filter((name) => !levers.has(name));
  return [
    h("p", { class: "help" }, "What has no lever stays as the teacher has it. Widths are shares (0.25 or 25 %) or numbers of units (24)."),
    unknown.length ? h("p", { class: "problem" }, `This teacher has no ${unknown.join(", ")}: left out.`) : null,
    elements(whole), levers.has("round_to") ? levers.get("round_to").element : null,
    single.length ? h("details", { class: "fold", open: used },
      h("summary", {}, `Single layers (${single.length}), each instead of its kind`), elements(single)) : null,
  ];
}

function roundTo(schema) {
  const input = h("input", { type: "number", min: 1, step: 1, id: `round-${(made += 1)}`, placeholder: schema.default });
  return {
    element: h("div", { class: "lever" },
      h("div", { class: "about" }, h("label", { for: input.id }, "round_to"), h("span", { class: "help" }, schema.description)), h("div", {}, input)),
    read: () => (input.value === "" ? undefined : Number(input.value)),
    fill: (value) => { input.value = value ?? ""; },
    check: () => (input.validationMessage ? `round_to: ${input.validationMessage}` : ""),
  };
}

function readAll(levers) {
  const found = {};
  for (const [name, lever] of levers) {
    const value = lever.read();
    if (value !== undefined) found[name] = value;
  }
  return found;
}

function alike(a, b) {
  const isUsual = (key, value) => key === "most" && value === 1; // all, as where it is left out
  const sorted = (value) => (value && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.keys(value).filter((key) => !isUsual(key, value[key])).sort().map((key) => [key, sorted(value[key])])) : value);
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}
