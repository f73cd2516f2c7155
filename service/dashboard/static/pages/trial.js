// One trial: what was cut, what it is worth beside its teacher, how it came about, its files.

import { Problem, follow, get, list, may } from "../api.js";
import { h, put, table } from "../dom.js";
import { metrics } from "../form_metrics.js";
import { moment, seconds } from "../format.js";
import { cutParts } from "../trial_cut.js";
import { accuracyParts, figuresTable } from "../trial_figures.js";
import { files } from "../trial_files.js";
import { onVideo } from "../trial_replay.js";
import { decisionsTable, facts, gatesTable, latencyParts, recoveryParts, versions } from "../trial_story.js";

const STATES = {
  RUNNING: "is on its way", COMPLETE: "was judged to the end", INFEASIBLE: "broke a limit", STOPPED: "was stopped early", FAILED: "failed",
};

export async function show(main, signal) {
  const [, , id, , number] = location.pathname.split("/").map(decodeURIComponent);
  const path = `/jobs/${encodeURIComponent(id)}/trials/${encodeURIComponent(number)}`;
  const [trial, job, known, submits] = await Promise.all([
    get(path, {}, { signal }), get(`/jobs/${encodeURIComponent(id)}`, {}, { signal }), metrics(), may("submitter"),
  ]);
  document.title = `Trial ${trial.number} · ${job.name} · Paretrack`;
  const places = Object.fromEntries(["around", "figures", "cut", "accuracy", "video", "latency", "files"].map((name) => [name, h("div", {}, h("p", { class: "quiet" }, "…"))]));
  put(main, h("div", { class: "trial" }, head(trial, job, places), actions(trial, job, submits), sections(trial, job, places, known)));
  const later = [
    beside(places, trial, job, known, path, signal),
    neighbours(places.around, trial, job, signal),
    onVideo(places.video, path, trial, submits, signal),
    files(places.files, path, `${job.name}-${trial.number}`.replaceAll(/[^\w.-]+/g, "_"), submits, signal),
  ];
  for (const one of later) one.catch((error) => { if (!signal.aborted) Promise.reject(error); });
  if (trial.state === "RUNNING") again(main, signal, job, trial);
}

const href = (job, number) => `/jobs/${encodeURIComponent(job.id)}/trials/${number}`;

function head(trial, job, places) {
  return [
    h("p", { class: "crumbs" }, h("a", { href: `/jobs/${encodeURIComponent(job.id)}` }, job.name)),
    h("div", { class: "trial-head" }, h("h1", {}, `Trial ${trial.number}`), places.around),
    h("p", {}, h("span", { class: `state ${trial.state}` }, trial.state), " It ", STATES[trial.state] ?? "", trial.on_front ? " and is on the front" : "",
      trial.feasible || trial.state === "INFEASIBLE" ? "" : " and breaks a limit of the job", trial.reason ? `: ${trial.reason.replace(/\.?$/, ".")}` : ".",
      trial.moved ? " It moved the front when it ended." : ""),
    trial.flag ? h("p", { class: "problem" }, `Look twice: ${trial.flag}.`) : null,
  ];
}

function actions(trial, job, submits) {
  const mine = encodeURIComponent(`${job.id}/${trial.number}`);
  if (!submits || !trial.has_tracker || trial.state !== "COMPLETE") return null;
  return h("div", { class: "row" },
    h("a", { class: "button", href: `/jobs/new?teacher=${mine}` }, "Use as teacher"),
    h("a", { class: "button", href: `/jobs/new?longer=${mine}`, title: "This candidate alone, with more steps of recovery" }, "Recover longer"),
    h("a", { class: "button", href: `/jobs/tune?of=${mine}` }, "Tune a recipe for this trial"));
}

const section = (title, ...content) => h("section", { "aria-label": title }, h("h2", {}, title), content);

function sections(trial, job, places, known) {
  const found = trial.measurement;
  return [
    section("Figures", places.figures),
    section("What was cut", places.cut),
    section("Accuracy", places.accuracy),
    section("On video", places.video),
    section("Recovery", recoveryParts(trial)),
    section("Early stopping", decisionsTable(trial, known)),
    section("Latency as measured", places.latency),
    section("Where its time went", gatesTable(found)),
    section("Files", places.files),
    section("Parameters", parameters(trial)),
    section("Where it comes from", origin(trial, job, found)),
  ];
}

function parameters(trial) {
  const rows = Object.entries(trial.params);
  const told = ([, value]) => (typeof value === "boolean" ? (value ? "yes" : "no") : String(value));
  return h("details", {}, h("summary", {}, `The ${rows.length} levers of the search`),
    table([["Lever", ([name]) => name, { class: "path" }], ["Value", told, { class: "number" }]], rows, { caption: "Levers" }));
}

function origin(trial, job, found) {
  const candidate = found?.candidate ?? {}, data = candidate.data ?? {};
  return [facts([
    ["Began", moment(trial.began_at)], ["Ended", trial.ended_at ? moment(trial.ended_at) : null],
    ["Took", trial.ended_at ? seconds((new Date(trial.ended_at) - new Date(trial.began_at)) / 1000) : null],
    ["Teacher", job.spec.teacher], ["Pruning", candidate.pruning], ["Recovery", candidate.recipe ? `${candidate.recovery}, ${found.steps} steps` : candidate.recovery],
    ["Refitted on", candidate.refit === undefined ? null : `${candidate.refit} pairs`], ["Seed", candidate.seed],
    ["Data", data.dataset ? `${data.dataset}: learnt from ${data.train}${count(data.train_count)}, judged on ${data.judged_on}${count(data.judged_count)}` : null],
    ["Version of the data", found?.dataset_version], ["Environment", versions(found?.environment)],
    ["Weights of the teacher", found?.teacher_sha256 ? h("code", {}, `sha256 ${found.teacher_sha256}`) : null],
    ["Candidate", h("code", {}, trial.digest)],
  ]), documented("Recipe", candidate.recipe), documented("Architecture", trial.architecture)];
}

const count = (many) => (many ? ` (${many} sequences)` : "");
const documented = (title, value) => value ? h("details", {}, h("summary", {}, title), h("pre", { tabindex: "0" }, JSON.stringify(value, null, 1))) : null;

/** What needs the teacher: it is asked of a process that has to begin first, so the rest is there already. */
async function beside(places, trial, job, known, path, signal) {
  const front = get(`/jobs/${encodeURIComponent(job.id)}/front`, {}, { signal });
  const draw = (measurement, figures) => {
    put(places.figures, figuresTable(trial, { measurement, figures }, known));
    put(places.accuracy, accuracyParts(trial.measurement?.accuracy, measurement?.accuracy));
    put(places.latency, latencyParts(trial.measurement, measurement));
  };
  const cut = get(`${path}/layers`, {}, { signal }).catch((error) => error);
  const { teacher } = await front;
  draw(null, teacher);
  put(places.cut, h("p", { class: "quiet", role: "status" }, "The networks are being built…"));
  const found = await cut;
  if (found instanceof Error) {
    if (!(found instanceof Problem)) throw found;
    put(places.cut, h("p", { class: "quiet" }, found.message));
    return;
  }
  put(places.cut, cutParts(found));
  draw(found.teacher, teacher);
}

/** Links to the trials beside this one on the front, by cost. */
async function neighbours(place, trial, job, signal) {
  const front = await list(`/jobs/${encodeURIComponent(job.id)}/trials`, { on_front: "true", sort: secondOf(job) }, 2000).catch((error) => {
    if (error instanceof Problem) return [];
    throw error;
  });
  if (signal.aborted) return;
  const at = front.findIndex((one) => one.number === trial.number);
  const metric = (job.spec.costs ?? ["macs_frame"])[0], mine = trial.figures[metric];
  const before = at > 0 ? front[at - 1] : at < 0 ? front.filter((one) => one.figures[metric] <= mine).at(-1) : null;
  const after = at >= 0 ? front[at + 1] : front.find((one) => one.figures[metric] > mine);
  const link = (one, rel, text) => (one ? h("a", { class: "button", rel, href: href(job, one.number) }, text) : null);
  put(place, h("nav", { class: "row", "aria-label": "Trials on the front" },
    link(before, "prev", "← Cheaper on the front"), at >= 0 ? h("span", { class: "quiet" }, `${at + 1} of ${front.length} on the front`) : null,
    link(after, "next", "Dearer on the front →")));
}

const secondOf = (job) => (job.spec.costs ?? ["macs_frame"])[0];

/** A trial that is on its way is shown again when something happens to it. */
function again(main, signal, job, trial) {
  follow(job.id, job.events, (events) => {
    const mine = events.some((one) => one.kind === "trial_finished" && one.data.number === trial.number);
    if (mine && !signal.aborted) show(main, signal);
  }, signal).catch((error) => { if (!signal.aborted) Promise.reject(error); });
}
