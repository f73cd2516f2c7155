// Metrics by name, as people read them: labels are the service's. Figures with their units: format.js.

import { list } from "./api.js";

let known = null;

/** All metrics by name: {name, label, unit, better, uses}. */
export async function metrics() {
  known ??= list("/objectives").then((items) => new Map(items.map((one) => [one.name, one])));
  known.catch(() => { known = null; });
  return known;
}

export const labelOf = (all, name) => all.get(name)?.label ?? name;

/** How many candidates there are, as a power of ten where it is many. */
export function many(count) {
  if (count < 100_000) return Math.round(count).toLocaleString("en");
  const power = Math.floor(Math.log10(count));
  const superscript = [...String(power)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
  return `${(count / 10 ** power).toFixed(1)} × 10${superscript}`;
}
