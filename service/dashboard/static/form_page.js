// What the forms for jobs have in common: which kind it is, the document that is sent, and sending it.

import { ask } from "./api.js";
import { h, put } from "./dom.js";
import { checked, copies, refused } from "./form_fields.js";
import { documentOf } from "./form_schema.js";
import { yaml } from "./form_text.js";

const KINDS = [["/jobs/new", "A search"], ["/jobs/tune", "A tuning of a recipe"]];
const NOTHING = "# nothing yet";

/** Which kind of job the form is for, as links to the others. */
export function kinds() {
  return h("nav", { class: "row", "aria-label": "Kind of job" }, KINDS.map(([href, words]) => {
    const isHere = location.pathname === href;
    return h("a", { class: isHere ? "button main" : "button", href, "aria-current": isHere ? "page" : null }, words);
  }));
}

/** The name of a job that is asked for once more. */
export function again(name) {
  const [, plain, count] = /^(.*?) again(?: (\d+))?$/.exec(name) ?? [null, null, null];
  return plain === null ? `${name} again` : `${plain} again ${Number(count ?? 1) + 1}`;
}

/** The document as it is sent: {element, show()}. `made()`: all of it; `note`: elements that explain. */
export function documentPart(made, note) {
  const shown = h("pre", { tabindex: "0", "aria-label": "The document that is sent", class: "small" });
  const text = () => JSON.stringify(made(), null, 2);
  return {
    element: h("details", { class: "fold", open: true }, h("summary", {}, h("h2", {}, "The document")),
      h("p", { class: "quiet small" }, note), shown,
      h("div", { class: "row" }, copies("Copy as YAML", () => `${yaml(made().spec ?? {})}\n`), copies("Copy as JSON for the API", text))),
    show() {
      const { spec = {}, kind, ...beside } = made();
      const lines = [Object.keys(spec).length ? yaml(spec) : NOTHING];
      if (Object.keys(beside).length) lines.push(`# beside it\n${yaml(beside)}`);
      put(shown, lines.join("\n"));
    },
  };
}

/** The button that sends a form: {button, whyNot, wrong, tried, send(), allow(canSubmit)}. */
export function sending(words, fields, made, whyNot) {
  const self = {
    button: h("button", { type: "submit", class: "main" }, words),
    whyNot: h("p", { class: "quiet" }), wrong: h("p", { class: "problem", role: "alert" }),
    tried: false, key: newKey(),
    send: () => send(self, words, fields, made),
    allow(canSubmit) {
      self.button.hidden = !canSubmit;
      put(self.whyNot, canSubmit ? null : whyNot);
    },
  };
  return self;
}

async function send(self, words, fields, made) {
  put(self.wrong);
  self.tried = true;
  if (!checked(fields())) {
    put(self.wrong, "Something in the form is not as it must be; it is marked.");
    return;
  }
  self.button.disabled = true;
  put(self.button, "Looking at it …");
  try {
    const answer = await ask("POST", "/jobs", { json: made(), headers: { "Idempotency-Key": self.key } });
    const job = await answer.json();
    location.assign(`/jobs/${encodeURIComponent(job.id)}`);
  } catch (problem) {
    if (problem.code === "other_body") self.key = newKey(); // that one is a job already, this is another
    refused(fields(), problem, self.wrong);
    if (problem.code === "other_body") put(self.wrong, "This form has begun a job before its words were changed. Press again to begin this one beside it.");
    self.button.disabled = false;
    put(self.button, words);
  }
}

/** The document that some fields make, of a kind of job. */
export const jobOf = (fields, kind = null) => {
  const made = documentOf(fields);
  made.spec ??= {};
  return kind === null ? made : { kind, ...made };
};

// One for each form, so that pressing twice, or again after a broken connection, is one job.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `form-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
