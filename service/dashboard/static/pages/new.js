// A new search: a form, and beside it what the search would meet, while one types.

import { ask, get, may } from "../api.js";
import { h, put } from "../dom.js";
import { checked, copies, refused } from "../form_fields.js";
import { metrics } from "../form_metrics.js";
import { previewOf, verdict } from "../form_preview.js";
import { documentOf, fill, searchSchema } from "../form_schema.js";
import { aboutTeacher, catalogue, drawnSections, searchFields } from "../form_search.js";
import { yaml } from "../form_text.js";
import { read } from "../state.js";

let kept = null; // the page may be begun again, after a login: what was typed stays

export async function show(main, signal) {
  const canSubmit = await may("submitter");
  if (kept !== null) {
    kept.allow(canSubmit);
    kept.changed();
    return;
  }
  const [known, schema, found, begin] = await Promise.all([metrics(), searchSchema(), catalogue(), beginning()]);
  if (signal.aborted) return;
  kept = formOf(main, { known, found, ...searchFields(schema, found, known) }, begin);
  kept.allow(canSubmit);
  kept.changed();
}

/** What the address asks to begin with: a job's document, a teacher, steps. */
async function beginning() {
  const from = read("from");
  const made = { spec: {}, missing: "" };
  try {
    if (from) Object.assign(made, asBefore(await get(`/jobs/${encodeURIComponent(from)}`)));
  } catch (error) {
    if (error.status !== 404) throw error;
    made.missing = `${error.message}: the form begins empty.`;
  }
  if (read("teacher")) made.spec.teacher = read("teacher");
  if (read("recipe")) made.spec.recipe = read("recipe");
  if (read("steps") && Number.isFinite(Number(read("steps")))) made.spec.steps = Number(read("steps"));
  return made;
}

function asBefore(job) {
  if (job.kind === "tune_recipe") return { spec: { teacher: job.spec.teacher, recipe: job.id } };
  return { spec: { ...structuredClone(job.spec), name: again(job.name) }, labels: job.labels, priority: job.priority || undefined };
}

function again(name) {
  const [, plain, count] = /^(.*?) again(?: (\d+))?$/.exec(name) ?? [null, null, null];
  return plain === null ? `${name} again` : `${plain} again ${Number(count ?? 1) + 1}`;
}

// --- the form -----------------------------------------------------------------------------------

function formOf(main, all, begin) {
  const view = {
    ...all, shown: h("pre", { tabindex: "0", "aria-label": "The document that is sent", class: "small" }),
    wrong: h("p", { class: "problem", role: "alert" }), key: newKey(),
    submit: h("button", { type: "submit", class: "main" }, "Begin the search"),
    whyNot: h("p", { class: "quiet" }),
  };
  view.preview = previewOf(all.known, (found, problem) => seen(view, found, problem));
  const form = h("form", { class: "form", novalidate: true, onsubmit: (event) => { event.preventDefault(); send(view); } },
    drawnSections(all.sections), document(view), view.wrong, view.whyNot, h("div", { class: "row" }, view.submit));
  fill(view.fields, begin);
  unfold(view.sections, form, begin);
  view.recipe.again();
  const changed = () => changedIn(view);
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  put(main, h("h1", {}, "New search"), begin.missing ? h("p", { class: "problem" }, begin.missing) : null, h("div", { class: "columns" }, form, h("div", {}, view.preview.element)));
  return {
    changed,
    allow(canSubmit) {
      view.submit.hidden = !canSubmit;
      put(view.whyNot, canSubmit ? null : "Your role is viewer: you can look at what a search would meet; to begin one takes the role of a submitter.");
    },
  };
}

// What is folded away is shown where something in it is not as usual.
function unfold(sections, form, begin) {
  const folds = [...form.querySelectorAll(":scope > details")];
  sections.filter((section) => section.folded).forEach((section, at) => {
    folds[at].open = section.fields.some((field) => field.read() !== undefined) && begin.spec.name !== undefined;
  });
}

function document(view) {
  view.text = () => JSON.stringify(documentOf(view.fields), null, 2);
  return h("details", { class: "fold", open: true }, h("summary", {}, h("h2", {}, "The document")),
    h("p", { class: "quiet small" }, "What is left out is as usual. Saved as a file it is what ",
      h("code", {}, "paretrack submit FILE"), " reads."),
    view.shown,
    h("div", { class: "row" },
      copies("Copy as YAML", () => `${yaml(documentOf(view.fields).spec ?? {})}\n`),
      copies("Copy as JSON for the API", view.text)));
}

function changedIn(view) {
  const made = documentOf(view.fields);
  made.spec ??= {};
  put(view.wrong);
  const { spec, ...beside } = made;
  const lines = [Object.keys(spec).length ? yaml(spec) : "# nothing yet"];
  if (Object.keys(beside).length) lines.push(`# beside it\n${yaml(beside)}`);
  put(view.shown, lines.join("\n"));
  teacherIs(view, spec.teacher);
  view.preview.ask(made);
}

// --- the teacher decides what can be cut ---------------------------------------------------------

function teacherIs(view, name) {
  if (name === view.teacherNow) return;
  view.teacherNow = name;
  const tracker = view.found.trackers.find((one) => one.name === name);
  view.teacher.help(aboutTeacher(tracker, view.known) || "A tracker that ships or was uploaded, or JOB/NUMBER: what trial NUMBER of a job has come to.");
  view.recipe.again();
  if (tracker) levers(view, tracker.family, name);
}

async function levers(view, family, name) {
  if (view.leversOf === name) return;
  view.leversOf = name;
  try {
    const schema = await get(`/spaces/${encodeURIComponent(family)}`, { teacher: name });
    if (view.leversOf !== name) return;
    view.space.load(schema);
    changedIn(view);
  } catch (error) {
    if (view.leversOf !== name) return;
    view.leversOf = null;
    view.space.say(error.message);
  }
}

// --- what the service says of it -----------------------------------------------------------------

function seen(view, found, problem) {
  view.limits.seen((found?.limits ?? []).map((one) => verdict(view.known, one, found.teacher)));
  const fields = everyField(view);
  if (problem) refused(fields, problem, h("p"), false);
  else for (const field of fields) field.say("");
  for (const field of fields) {
    // What was not sent as it stands here, the service cannot say; what is not filled in yet is no error yet.
    const wrong = view.tried || (field.isFilled?.() ?? true) ? field.check() : "";
    if (wrong) field.say(wrong);
  }
  // A teacher that is a trial, or a folder: only now its family is known.
  if (found && view.teacherNow && view.leversOf !== view.teacherNow) levers(view, found.family, view.teacherNow);
}

const everyField = (view) => [...view.fields, ...view.limits.parts()];

async function send(view) {
  put(view.wrong);
  view.tried = true;
  if (!checked(everyField(view))) {
    put(view.wrong, "Something in the form is not as it must be; it is marked.");
    return;
  }
  view.submit.disabled = true;
  put(view.submit, "Looking at it …");
  try {
    const answer = await ask("POST", "/jobs", { json: documentOf(view.fields), headers: { "Idempotency-Key": view.key } });
    const job = await answer.json();
    location.assign(`/jobs/${encodeURIComponent(job.id)}`);
  } catch (problem) {
    if (problem.code === "other_body") view.key = newKey(); // that one is a job already, this is another
    refused(everyField(view), problem, view.wrong);
    if (problem.code === "other_body") put(view.wrong, "This form has begun a job before its words were changed. Press again to begin this one beside it.");
    view.submit.disabled = false;
    put(view.submit, "Begin the search");
  }
}

// One for each form, so that pressing twice, or again after a broken connection, is one job.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `form-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
