// A job that tunes a recipe: what was tried, what came of it, whether it holds.

import { follow, get } from "./api.js";
import { h, put, table } from "./dom.js";
import { digits, seconds } from "./format.js";
import { headOf } from "./job_head.js";
import { logOf } from "./job_log.js";

const APART = 1000; // milliseconds between two reads

/** Fills the page; goes on until `signal` aborts. */
export async function showRecipe(main, job, signal) {
  const path = `/jobs/${encodeURIComponent(job.id)}`;
  const [place, found, log] = [h("section", {}), h("section", {}), h("section", {})];
  put(main, place, found, log);
  const head = headOf(place, path, job, signal);
  const lines = logOf(log, path, signal);
  const read = async () => put(found, recipe(await get(`${path}/recipe`, {}, { signal })));
  await read();
  await lines.begin(job.events);
  let timer = null;
  const soon = () => {
    timer ??= setTimeout(async () => {
      timer = null;
      if (signal.aborted) return;
      head.set(await get(path, {}, { signal }));
      await read();
    }, APART);
  };
  follow(job.id, job.events, (events) => { lines.add(events); soon(); }, signal).then(() => signal.aborted || soon());
}

function recipe(found) {
  const names = [...new Set(found.trials.flatMap((trial) => Object.keys(trial.values)))];
  const columns = [
    ["Recipe", (trial) => `${trial.number}${trial.number === 0 ? " (start)" : ""}${trial.number === found.winner ? " (winner)" : ""}`],
    [found.metric ?? "Figure", (trial) => (trial.figure === null ? "–" : digits(trial.figure)), { class: "number" }],
    ["State", (trial) => trial.state.toLowerCase()],
    ["Step", (trial) => String(trial.step), { class: "number" }],
    ["Time", (trial) => seconds(trial.seconds), { class: "number" }],
    ...names.map((name) => [name, (trial) => value(trial.values[name]), { class: "number" }]),
  ];
  return [
    h("h2", {}, "Recipes that were tried"), verdict(found),
    table(columns, found.trials, { caption: "The starting recipe and the best ten", empty: "None has been tried yet." }),
    found.gains.length ? [h("h2", {}, "Start and winner with one seed"), table([
      ["Seed", (gain) => String(gain.seed), { class: "number" }], ["Start", (gain) => digits(gain.start), { class: "number" }],
      ["Winner", (gain) => digits(gain.winner), { class: "number" }], ["Better by", (gain) => digits(gain.better), { class: "number" }],
    ], found.gains)] : null,
    found.recipe ? [h("h2", {}, "The recipe"), h("pre", { tabindex: "0" }, JSON.stringify(found.recipe, null, 2))] : null,
  ];
}

function verdict({ holds, winner }) {
  if (holds === null) return h("p", { class: "quiet" }, "Which one is to be used is known when the job has ended.");
  return holds
    ? h("p", { class: "good" }, `Recipe ${winner} holds: each of its runs was better than each of the start's.`)
    : h("p", {}, "Nothing held against the starting recipe; that is the one to use.");
}

const value = (said) => (said === undefined ? "–" : typeof said === "number" ? String(Number(said.toPrecision(4))) : String(said));
