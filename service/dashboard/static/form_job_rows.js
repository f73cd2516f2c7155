// One job in a list: as a card while it is worked on, as a row else.

import { budgetBars } from "./budget.js";
import { h, put } from "./dom.js";
import { ago, digits, moment, seconds, told } from "./format.js";
import { labelOf } from "./form_metrics.js";
import { thumbnail } from "./thumb.js";

const address = (job) => `/jobs/${encodeURIComponent(job.id)}`;
const TUNING = "tune_recipe";

/** A card that shows a job that is worked on, and follows it: {element, update(job)}. */
export function card(job, about) {
  const picture = h("div", {}), head = h("div", {}), words = h("div", { class: "run" });
  const box = job.kind === TUNING ? h("span", {}) : about.chosen.box(job.id, job.name);
  const element = h("article", { class: "card run", "aria-label": job.name },
    h("div", { class: "head" }, box, head, h("div", {})), picture, words);
  const state = element.querySelector(".head").lastChild;
  return following(element, (now) => {
    put(head, h("h3", {}, link(now, "run")), labels(now));
    put(state, stateOf(now));
    put(picture, job.kind === TUNING ? null : thumbnail(now.summary, pictured(now)));
    put(words, progress(now), best(now, about.known), doing(now), h("p", { class: "quiet small" }, runsFor(now)));
  });
}

/** A row of the list of all others. */
export function row(job, about) {
  const box = job.kind === TUNING ? h("span", {}) : about.chosen.box(job.id, job.name);
  const picture = h("div", {}), what = h("div", { class: "what" }), stands = h("div", { class: "stands" }), came = h("div", { class: "came" });
  const element = h("li", {}, box, picture, what, stands, came);
  return following(element, (now) => {
    put(picture, now.kind === TUNING ? h("span", { class: "quiet small" }, "recipe") : thumbnail(now.summary, pictured(now)));
    put(what, h("p", {}, link(now, "row")), h("p", { class: "quiet small" }, kindOf(now)), labels(now));
    put(stands, h("p", {}, stateOf(now), now.archived_at ? h("span", { class: "tag" }, "archived") : null),
      h("p", { class: "quiet small" }, now.reason || waits(now)));
    put(came, h("p", { class: "small" }, outcome(now, about.known)), h("p", { class: "quiet small" }, when(now)),
      about.canSubmit && now.kind !== TUNING ? h("p", { class: "small" }, again(now)) : null);
  });
}

// Only what is said is compared: figures of the same moment are the same.
function following(element, draw) {
  let shown = null;
  return {
    element,
    update(job) {
      const now = JSON.stringify([job.state, job.reason, job.name, job.labels, job.summary, job.archived_at, Math.floor(Date.now() / 60_000)]);
      const marked = getSelection();
      if (now === shown || (!marked.isCollapsed && element.contains(marked.anchorNode))) return; // what one marks to copy it stays
      shown = now;
      draw(job);
    },
  };
}

const link = (job, where) => h("a", { href: address(job), id: `${where}-${job.id}` }, job.name);
const stateOf = (job) => h("span", { class: `state ${job.state}` }, job.state.toLowerCase());
const labels = (job) => (job.labels.length ? h("p", { class: "row" }, job.labels.map((one) => h("span", { class: "tag" }, one))) : null);
const again = (job) => h("a", { href: `/jobs/new?from=${encodeURIComponent(job.id)}`, id: `again-${job.id}`, "aria-label": `Again …: ${job.name}` }, "Again …");

function kindOf(job) {
  const teacher = job.spec.teacher ?? job.spec.of ?? "";
  return [job.kind === TUNING ? "tunes a recipe" : job.tracker, teacher, job.owner].filter(Boolean).join(" · ");
}

function pictured(job) {
  const size = job.summary.front_size;
  const best = bestOf(job.summary)?.[0];
  return `Front of ${job.name}: ${size ? `${size} points, best accuracy ${digits(best)}` : "no points yet"}`;
}

const waits = (job) => ({ QUEUED: "waits for a controller", PAUSED: "waits to be resumed", HELD: "an operator must look" })[job.state] ?? "";

// --- how far it is ------------------------------------------------------------------------------

function progress(job) {
  const bars = budgetBars(job), states = job.summary.states ?? {};
  if (!bars || !job.summary.asked) return h("p", { class: "quiet small" }, "begins");
  const beside = [[states.RUNNING, "on their way"], [states.INFEASIBLE, "infeasible beside them"]];
  return h("div", {}, bars, h("p", { class: "small quiet" }, beside.filter(([many]) => many).map(([many, words]) => `${many} ${words}`).join(" · ")));
}

/** The most accurate point that the summary has. */
function bestOf(summary) {
  const points = [...(summary.front ?? []), summary.best].filter(Boolean);
  return points.reduce((top, one) => (top === null || one[0] > top[0] ? one : top), null);
}

function best(job, known) {
  const { metrics, hypervolume } = job.summary, point = bestOf(job.summary);
  if (!point || !metrics) return null;
  const said = metrics.map((name, at) => `${lowered(labelOf(known, name))} ${told(known, name, point[at])}`);
  return h("p", {}, `Best: ${said.join(", ")}; hypervolume ${digits(hypervolume ?? 0)}`);
}

// "Average overlap" in the middle of a sentence, and "MACs a frame".
const lowered = (label) => (/^[A-Z][a-z]/.test(label) ? label[0].toLowerCase() + label.slice(1) : label);

function doing(job) {
  const now = job.summary.now ?? [];
  if (!now.length) return null;
  const said = now.slice(0, 3).map((one) => {
    const who = one.number === null || one.number === undefined ? "before the first" : `trial ${one.number}`;
    return h("li", {}, `${who}: ${one.step}${one.total ? ` ${one.done}/${one.total}` : ""}`);
  });
  const more = now.length > 3 ? h("li", {}, `and ${now.length - 3} more`) : null;
  return h("ul", { class: "small quiet", "aria-label": "What is done now" }, said, more);
}

const runsFor = (job) => (job.started_at ? `began ${ago(job.started_at)}` : `waits since ${moment(job.queued_at)}`);

function outcome(job, known) {
  const { hypervolume, front_size: size, metrics } = job.summary;
  if (job.kind === TUNING) return job.summary.holds === true ? "a better recipe" : job.summary.holds === false ? "the starting recipe stays" : "";
  if (!size) return job.summary.asked ? "no point on the front" : "";
  return `hypervolume ${digits(hypervolume)}, ${size} on the front, best ${told(known, metrics[0], bestOf(job.summary)?.[0])}`;
}

function when(job) {
  if (job.ended_at && job.started_at) return `ended ${ago(job.ended_at)}, ran ${seconds((new Date(job.ended_at) - new Date(job.started_at)) / 1000)}`;
  if (job.ended_at) return `ended ${ago(job.ended_at)}`;
  return `made ${ago(job.created_at)}`;
}
