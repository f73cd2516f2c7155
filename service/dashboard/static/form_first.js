// Candidates to be tried before all others: a line each, JOB/NUMBER of a trial or parameters as JSON.

import { h } from "./dom.js";
import { around } from "./form_fields.js";

export const OF_A_TRIAL = /^[^/]+\/\d{1,9}$/;

/** The field of /spec/first. */
export function firstField(about) {
  const control = h("textarea", { rows: 2, spellcheck: "false", autocomplete: "off", placeholder: "street-3f9c0a17be/12" });
  const lines = () => control.value.split("\n").map((line) => line.trim()).filter(Boolean);
  return around(control, {
    ...about,
    read: () => (lines().length ? lines().map((line) => params(line) ?? line) : undefined),
    fill(values) {
      const said = (values ?? []).map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
      control.value = said.join("\n");
      control.rows = Math.min(8, Math.max(2, said.length));
    },
    check() {
      const at = lines().findIndex((line) => params(line) === null && !OF_A_TRIAL.test(line));
      return at < 0 ? "" : `Line ${at + 1}: expected JOB/NUMBER, as street-3f9c0a17be/12, or parameters as {"width.neck3": 4}.`;
    },
  });
}

/** Parameters where a line begins like some; null: it is no such line. */
function params(line) {
  if (!line.startsWith("{")) return null;
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
