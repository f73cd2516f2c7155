// A new search: a form, and beside it what the search would meet, while one types.

import { get, may } from "../api.js";
import { h, put } from "../dom.js";
import { beginning } from "../form_begin.js";
import { refused } from "../form_fields.js";
import { metrics } from "../form_metrics.js";
import { documentPart, jobOf, kinds, sending } from "../form_page.js";
import { previewOf, verdict } from "../form_preview.js";
import { fill, searchSchema } from "../form_schema.js";
import { aboutTeacher, catalogue, drawnSections, searchFields } from "../form_search.js";
import { read } from "../state.js";

const WHY_NOT = "Your role is viewer: you can look at what a search would meet; to begin one takes the role of a submitter.";
let kept = null; // the page may be begun again, after a login: what was typed stays

export async function show(main, signal) {
  if (read("kind") === "tune_recipe") {
    location.replace(`/jobs/tune${location.search}`);
    return;
  }
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

// --- the form -----------------------------------------------------------------------------------

function formOf(main, all, begin) {
  const view = { ...all };
  const made = () => jobOf(view.fields);
  view.sending = sending("Begin the search", () => everyField(view), made, WHY_NOT);
  view.document = documentPart(made, ["What is left out is as usual. Saved as a file it is what ", h("code", {}, "paretrack submit FILE"), " reads."]);
  view.preview = previewOf(all.known, (found, problem) => seen(view, found, problem));
  const form = h("form", { class: "form", novalidate: true, onsubmit: (event) => { event.preventDefault(); view.sending.send(); } },
    drawnSections(all.sections), view.document.element, view.sending.wrong, view.sending.whyNot, h("div", { class: "row" }, view.sending.button));
  fill(view.fields, begin);
  unfold(view.sections, form, begin);
  view.recipe.again();
  const changed = () => changedIn(view);
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  put(main, h("h1", {}, "New search"), kinds(), begin.missing ? h("p", { class: "problem" }, begin.missing) : null, h("div", { class: "columns" }, form, h("div", {}, view.preview.element)));
  return { changed, allow: view.sending.allow };
}

// What is folded away is shown where something in it is not as usual.
function unfold(sections, form, begin) {
  const folds = [...form.querySelectorAll(":scope > details")];
  sections.filter((section) => section.folded).forEach((section, at) => {
    folds[at].open = section.fields.some((field) => field.read() !== undefined) && begin.spec.name !== undefined;
  });
}

function changedIn(view) {
  put(view.sending.wrong);
  view.document.show();
  const made = jobOf(view.fields);
  teacherIs(view, made.spec.teacher);
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
    // The service has looked at this teacher: it is a folder, of which it does not tell the levers.
    if (error.status === 422) view.space.help("The levers of a teacher that is a folder cannot be shown here; those that the job has stay as they are.");
    else {
      view.leversOf = null;
      view.space.say(error.message);
    }
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
    const wrong = view.sending.tried || (field.isFilled?.() ?? true) ? field.check() : "";
    if (wrong) field.say(wrong);
  }
  // A teacher that is a trial, or a folder: only now its family is known.
  if (found && view.teacherNow && view.leversOf !== view.teacherNow) levers(view, found.family, view.teacherNow);
}

const everyField = (view) => [...view.fields, ...view.limits.parts()];
