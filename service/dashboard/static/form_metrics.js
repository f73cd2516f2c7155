// Metrics by name, as people read them: labels and units are the service's.

import { list } from "./api.js";
import { digits, figure } from "./format.js";

let known = null;

/** All metrics by name: {name, label, unit, better, uses}. */
export async function metrics() {
  known ??= list("/objectives").then((items) => new Map(items.map((one) => [one.name, one])));
  known.catch(() => { known = null; });
  return known;
}

const UNITS = { bytes: "B", share: "", parameters: "", loss: "" };

/** A figure of a metric with its unit; `all` is what metrics() answers. */
export function told(all, name, value) {
  if (value === null || value === undefined) return "–";
  const unit = all.get(name)?.unit ?? "";
  if (unit === "share") return digits(value);
  if (unit === "ms") return `${digits(value)} ms`;
  return figure(value, UNITS[unit] ?? unit).trim();
}

export const labelOf = (all, name) => all.get(name)?.label ?? name;

/** How many candidates there are, as a power of ten where it is many. */
export function many(count) {
  if (count < 100_000) return Math.round(count).toLocaleString("en");
  const power = Math.floor(Math.log10(count));
  const superscript = [...String(power)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
  return `${(count / 10 ** power).toFixed(1)} × 10${superscript}`;
}
