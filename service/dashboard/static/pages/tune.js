// A new tuning of a recipe: a form, and beside it the document and the trial that it is for.

import { get, may } from "../api.js";
import { h, put } from "../dom.js";
import { OF_A_TRIAL } from "../form_first.js";
import { metrics, labelOf } from "../form_metrics.js";
import { again, documentPart, jobOf, kinds, sending } from "../form_page.js";
import { fill, tuningSchema } from "../form_schema.js";
import { drawnSections } from "../form_search.js";
import { tuningCatalogue, tuningFields } from "../form_tuning.js";
import { told } from "../format.js";
import { read } from "../state.js";

const KIND = "tune_recipe";
const QUIET = 400; // milliseconds without a change, before a trial is looked up
const WHY_NOT = "Your role is viewer: to begin a tuning takes the role of a submitter.";
let kept = null; // the page may be begun again, after a login: what was typed stays

export async function show(main, signal) {
  const canSubmit = await may("submitter");
  if (kept === null) {
    const [known, schema, found, begin] = await Promise.all([metrics(), tuningSchema(), tuningCatalogue(), beginning()]);
    if (signal.aborted) return;
    kept = formOf(main, { known, ...tuningFields(schema, found) }, begin);
  }
  kept.allow(canSubmit);
  kept.changed();
}

/** What the address asks to begin with: the document of a tuning, or the trial that one is for. */
async function beginning() {
  const made = { spec: {}, missing: "", job: null };
  const [from, of] = [read("from"), read("of")];
  try {
    if (from) Object.assign(made, asBefore(await get(`/jobs/${encodeURIComponent(from)}`)));
  } catch (error) {
    if (error.status !== 404) throw error;
    made.missing = `${error.message}: the form begins empty.`;
  }
  if (of) made.spec = { ...made.spec, of, name: made.spec.name ?? await nameFor(of) };
  return made;
}

function asBefore(job) {
  if (job.kind !== KIND) return { missing: `${job.name} is a search: a tuning is for one of its trials, JOB/NUMBER.` };
  return { spec: { ...structuredClone(job.spec), name: again(job.name) }, labels: job.labels, priority: job.priority || undefined, job };
}

async function nameFor(of) {
  const job = await get(jobPath(of)).catch((error) => { if (error.status === 404) return null; throw error; });
  return job ? `recipe of ${job.name.slice(0, 150)} ${of.slice(of.lastIndexOf("/") + 1)}`.replaceAll(/[\\/]/g, " ") : undefined;
}

const jobPath = (of) => `/jobs/${encodeURIComponent(of.slice(0, of.lastIndexOf("/")))}`;

// --- the form -----------------------------------------------------------------------------------

function formOf(main, all, begin) {
  const view = { ...all, about: h("div", { role: "status" }), timer: null };
  const made = () => jobOf(view.fields, KIND);
  view.teacher.check = () => (view.of.read() || view.teacher.read() ? "" : "Say a teacher, or the trial that it is for.");
  view.sending = sending("Begin the tuning", () => view.fields, made, WHY_NOT);
  view.document = documentPart(made, ["What is left out is as usual, or as the trial has it. ", h("code", {}, "POST /jobs"), " takes it as JSON."]);
  const form = h("form", { class: "form", novalidate: true, onsubmit: (event) => { event.preventDefault(); view.sending.send(); } },
    drawnSections(all.sections), view.sending.wrong, view.sending.whyNot, h("div", { class: "row" }, view.sending.button));
  fill(view.fields, begin);
  unfold(view.sections, form);
  const changed = () => changedIn(view);
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  put(main, h("h1", {}, "Tune a recipe"), kinds(), begin.missing ? h("p", { class: "problem" }, begin.missing) : null, useful(begin.job),
    h("div", { class: "columns" }, form, h("div", {}, h("section", { class: "card", "aria-label": "What it is for" }, view.about, view.document.element))));
  return { changed, allow: view.sending.allow };
}

/** What else one may want who comes from a tuning that has ended well. */
function useful(job) {
  if (job?.state !== "SUCCEEDED") return null;
  const to = `/jobs/new?recipe=${encodeURIComponent(job.id)}&teacher=${encodeURIComponent(job.spec.teacher)}`;
  return h("p", { class: "quiet" }, "To use what it has come to: ", h("a", { href: to }, "a search with its recipe"), ".");
}

function unfold(sections, form) {
  const folds = [...form.querySelectorAll(":scope > details")];
  sections.filter((section) => section.folded).forEach((section, at) => {
    folds[at].open = section.fields.some((field) => field.read() !== undefined);
  });
}

function changedIn(view) {
  put(view.sending.wrong);
  view.document.show();
  const teacher = view.teacher.read();
  if (teacher !== view.teacherNow) view.recipe.again();
  view.teacherNow = teacher;
  for (const field of view.fields) if (view.sending.tried || field.isFilled()) field.say(field.check());
  trialIs(view, view.of.read());
}

// --- the trial that it is for ---------------------------------------------------------------------

function trialIs(view, name) {
  if (name === view.trialNow) return;
  view.trialNow = name;
  clearTimeout(view.timer);
  if (name === undefined) put(view.about, h("p", { class: "quiet small" }, "For the cut that is described, or for a trial of a search."));
  else if (OF_A_TRIAL.test(name)) view.timer = setTimeout(() => look(view, name), QUIET);
}

async function look(view, name) {
  try {
    const number = name.slice(name.lastIndexOf("/") + 1);
    const [job, trial] = await Promise.all([get(jobPath(name)), get(`${jobPath(name)}/trials/${number}`)]);
    if (view.trialNow === name) put(view.about, aboutTrial(view.known, job, trial));
  } catch (error) {
    if (view.trialNow !== name) return;
    put(view.about);
    view.of.say(error.message);
  }
}

function aboutTrial(known, job, trial) {
  const figures = Object.entries(trial.figures).filter(([name]) => known.has(name)).slice(0, 4);
  return [
    h("p", {}, h("strong", {}, h("a", { href: `/jobs/${encodeURIComponent(job.id)}/trials/${trial.number}` }, `Trial ${trial.number} of ${job.name}`))),
    h("dl", { class: "facts small" }, h("dt", {}, "Teacher"), h("dd", {}, String(job.spec.teacher)),
      figures.map(([name, value]) => [h("dt", {}, labelOf(known, name)), h("dd", {}, told(known, name, value))])),
  ];
}
