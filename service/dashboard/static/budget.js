// What a job has used of each bound of its budget: a bar and its words for every bound that was given.

import { h } from "./dom.js";
import { percent, seconds } from "./format.js";

/** [{name, used, of, words}] of the bounds of a job, as its summary says it; used: null where nobody knows. */
export function bounds(job) {
  const { summary } = job, budget = summary.budget ?? job.spec.budget ?? {}, spent = summary.spent ?? {};
  const asked = summary.asked ?? 0, count = (value) => Math.max(0, value).toLocaleString("en");
  const lines = [
    ["trials", asked - (summary.states?.INFEASIBLE ?? 0), count, "trials"],
    ["asked", asked, count, "candidates of all kinds"],
    ["seconds", spent.seconds ?? ran(job), seconds, ""],
    ["cpu_seconds", spent.cpu_seconds ?? null, seconds, "of processors"],
    ["gpu_seconds", spent.gpu_seconds ?? null, seconds, "of GPUs"],
    ["hypervolume", summary.hypervolume ?? 0, percent, "hypervolume"],
    ["plateau", spent.since_gain ?? null, count, "trials since the front moved"],
  ];
  return lines.filter(([name]) => budget[name] !== null && budget[name] !== undefined).map(([name, used, told, what]) => ({
    name, used, of: budget[name], words: `${used === null ? "?" : told(used)} of ${told(budget[name])} ${what}`.trim(),
  }));
}

/** Of jobs whose controller did not tell: from the beginning to the end, interruptions and all. */
function ran(job) {
  if (!job.started_at) return 0;
  return ((job.ended_at ? new Date(job.ended_at) : Date.now()) - new Date(job.started_at)) / 1000;
}

/** A bar and its words for each; null before anything is known. */
export function budgetBars(job) {
  const found = bounds(job);
  if (!found.length) return null;
  return h("ul", { class: "budget", "aria-label": `Budget of ${job.name}` }, found.map(({ used, of, words }) =>
    h("li", {}, h("span", {}, words), h("progress", { max: of, value: Math.min(used ?? 0, of), "aria-label": words }))));
}
