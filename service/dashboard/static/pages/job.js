// One job: what it is doing, its front, what it came to; live.

import { follow, get, whoami } from "../api.js";
import { h, put } from "../dom.js";
import { firstPoints, frontOf } from "../job_front.js";
import { headOf } from "../job_head.js";
import { growthOf } from "../job_growth.js";
import { logOf } from "../job_log.js";

const APART = 250; // milliseconds between two reads of what is new
const HEAD_APART = 1000; // and between two of the job itself

/** Fills the page; goes on until `signal` aborts. */
export async function show(main, signal) {
  const id = decodeURIComponent(location.pathname.split("/")[2]);
  const path = `/jobs/${encodeURIComponent(id)}`;
  const points = firstPoints(path, signal); // at once, not after the job is known
  const [job] = await Promise.all([get(path, {}, { signal }), whoami()]);
  if (job.kind === "tune_recipe") {
    const { showRecipe } = await import("../job_recipe.js");
    return showRecipe(main, job, signal);
  }
  return showSearch(main, path, job, points, signal);
}

async function showSearch(main, path, job, points, signal) {
  const places = Object.fromEntries(["head", "front", "levers", "growth", "log"].map((name) => [name, h("section", {})]));
  const report = h("button", { type: "button", onclick: () => saved(main, head.job) }, "Save this page as a report");
  put(main, places.head, places.front, places.levers, h("div", { class: "columns" }, places.growth, places.log), h("div", { class: "row" }, report));
  const head = headOf(places.head, path, job, signal);
  const front = frontOf(places.front, path, job, points, signal);
  const growth = growthOf(places.growth, path, job, signal);
  const log = logOf(places.log, path, signal);
  const since = await front.read();
  if (signal.aborted) return;
  showLevers(places.levers, job, front, signal);
  await Promise.all([log.begin(since), growth.read()]);
  live(path, since, { head, front, growth, log }, signal);
}

async function saved(main, job) {
  const { saveReport } = await import("../job_report.js");
  await saveReport(main, job);
}

/** The levers are a module of their own: the page works without them. */
async function showLevers(place, job, front, signal) {
  try {
    const { levers } = await import("../job_levers.js");
    const shown = await levers(place, job, signal);
    front.onChoose((numbers) => shown?.select(numbers));
  } catch (error) {
    if (!signal.aborted) console.warn("no levers are shown", error);
  }
}

/** Reads what is new, a few times a second at most, however much happens. */
function live(path, since, { head, front, growth, log }, signal) {
  const soon = seldom(signal, {
    points: [APART, () => front.read()],
    growth: [HEAD_APART, () => growth.read()],
    head: [HEAD_APART, async () => head.set(await get(path, {}, { signal }))],
  });
  follow(path.split("/").at(-1), since, (events) => {
    log.add(events);
    const kinds = new Set(events.map((event) => event.kind));
    if ([...kinds].some((kind) => /^(trial_|front$|state$|taken_up$)/.test(kind))) soon("points");
    if (kinds.has("front") || kinds.has("state")) soon("growth");
    soon("head");
  }, signal).then(() => signal.aborted || ["points", "growth", "head"].forEach(soon), (error) => signal.aborted || Promise.reject(error));
}

/** Things that are done soon after they were asked for, once for all that asked meanwhile. */
function seldom(signal, things) {
  const due = new Map();
  const done = async (name) => {
    const [apart, act] = things[name];
    due.set(name, "runs");
    const began = performance.now();
    try {
      await act();
    } catch (error) {
      if (!signal.aborted) console.warn(`${name} could not be read`, error);
    }
    setTimeout(() => {
      const again = due.get(name) === "again"; // only now: it may be asked for while nothing may be read yet
      due.delete(name);
      if (again) ask(name);
    }, Math.max(0, apart - (performance.now() - began)));
  };
  function ask(name) {
    if (signal.aborted) return;
    if (due.has(name)) due.set(name, due.get(name) === "waits" ? "waits" : "again");
    else {
      due.set(name, "waits");
      setTimeout(() => done(name), 50);
    }
  }
  return ask;
}
