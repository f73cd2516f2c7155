// Fields from a JSON Schema, and documents from fields.

import { get } from "./api.js";
import { h } from "./dom.js";
import { choice, flag, json, listed, number, several, text } from "./form_fields.js";

/** The schema of a search, as the API describes it. */
export const searchSchema = () => schemaWith("space");

/** The schema of a tuning of a recipe. */
export const tuningSchema = () => schemaWith("vary");

async function schemaWith(field) {
  // Below the API's own path there is none; an address goes up from there.
  const found = await get("/api/v1/../../openapi.json");
  const { spec } = found.components.schemas.JobCreate.properties;
  return spec.anyOf.find((one) => one.properties?.[field]);
}

/** "train_count" as a person reads it. */
export const words = (name) => {
  const plain = name.replaceAll("_", " ").replace(/\b[cg]pu\b/, (word) => word.toUpperCase());
  return plain[0].toUpperCase() + plain.slice(1);
};

/** A field for a property: {label, options, about} beat what the schema says. */
export function fieldOf(name, said, pointer, more = {}) {
  const schema = withoutNull(said);
  const types = [schema.type ?? []].flat();
  const given = { label: words(name), help: schema.description ?? "", pointer, otherwise: schema.default ?? undefined, ...more };
  const names = schema.enum?.filter((one) => one !== null);
  if (names) return choice({ ...given, options: options(names, schema.default, given.labels) });
  if (types.includes("boolean")) return flag(given);
  if (types.includes("integer") || types.includes("number")) return number({ ...given, otherwise: schema.default ?? null, ...bounds(schema, types) });
  if (types.includes("array")) return ofArray(schema, given);
  if (types.includes("string")) return text({ ...given, attributes: { placeholder: schema.default, ...given.attributes } });
  return json(given);
}

// "Some, or null" is a field that may be left empty.
function withoutNull(schema) {
  const members = schema.type ? [] : (schema.anyOf ?? []).filter((one) => one.type !== "null");
  return members.length === 1 ? { ...schema, ...members[0] } : schema;
}

function options(names, usual, labels = {}) {
  const said = (name) => `${labels[name] ?? name}${name === usual ? " (default)" : ""}`;
  const all = names.map((name) => [name, said(name)]);
  return usual === undefined || usual === null ? [[undefined, "default"], ...all] : all;
}

function bounds(schema, types) {
  const over = schema.exclusiveMinimum;
  return {
    least: schema.minimum ?? over ?? null,
    most: schema.maximum ?? schema.exclusiveMaximum ?? null,
    step: types.includes("integer") && !types.includes("number") ? 1 : "any",
  };
}

function ofArray(schema, given) {
  const items = schema.items ?? {};
  if (items.enum) return several({ ...given, options: items.enum.map((name) => [name, given.labels?.[name] ?? name]) });
  const kinds = [items.type ?? []].flat();
  if (kinds.includes("integer") || kinds.includes("number")) return listed({ ...given, kind: "number" });
  if (kinds.includes("string")) return listed({ ...given, kind: "string" });
  return json(given);
}

/** A text field that proposes words. */
export function proposing(given, proposals) {
  const id = `${given.id}-list`;
  const all = h("datalist", { id });
  const field = text({ ...given, attributes: { list: id, ...given.attributes }, after: all });
  field.propose = (found) => all.replaceChildren(...found.map(([value, about]) => h("option", { value }, about ?? "")));
  field.propose(proposals);
  return field;
}

const parts = (pointer) => pointer.split("/").slice(1);

/** The document that fields make; what is default is left out. */
export function documentOf(fields) {
  const made = {};
  for (const field of fields) {
    const value = field.read?.();
    if (value === undefined) continue;
    const path = parts(field.pointer), last = path.pop();
    let at = made;
    for (const part of path) at = at[part] ??= {};
    at[last] = value;
  }
  return made;
}

/** Show a document in its fields. */
export function fill(fields, document) {
  for (const field of fields) {
    const value = parts(field.pointer).reduce((at, part) => at?.[part], document);
    field.fill?.(value ?? undefined);
  }
}
