// What the form for a search begins with: what the address asks for.

import { get } from "./api.js";
import { again } from "./form_page.js";
import { read } from "./state.js";

const LONGER = 4; // times the steps that a trial had
const STEPS = 100; // of a recovery, where none was trained before
// What decides what a candidate is and how it is judged; the rest decides which are tried. Limits do so too: one that
// was within them by a hair should not fall at them when it is timed again.
const OF_A_CANDIDATE = [
  "teacher", "space", "accuracy", "costs", "recipe", "pruning", "recovery", "refit", "probes", "data", "device", "seed",
];

/** {spec, labels, priority, missing}: a job's document, a trial that is to be trained longer, a teacher. */
export async function beginning() {
  const made = { spec: {}, missing: "" };
  try {
    if (read("longer")) Object.assign(made, await longer(read("longer")));
    else if (read("from")) Object.assign(made, await before(read("from")));
  } catch (error) {
    if (error.status !== 404) throw error;
    made.missing = `${error.message}: the form begins empty.`;
  }
  if (read("teacher")) made.spec.teacher = read("teacher");
  if (read("recipe")) made.spec.recipe = read("recipe");
  if (read("steps") && Number.isFinite(Number(read("steps")))) made.spec.steps = Number(read("steps"));
  return made;
}

async function before(id) {
  const job = await get(`/jobs/${encodeURIComponent(id)}`);
  if (job.kind === "tune_recipe") location.replace(`/jobs/tune?from=${encodeURIComponent(id)}`);
  return { spec: { ...structuredClone(job.spec), name: again(job.name) }, labels: job.labels, priority: job.priority || undefined };
}

/** One candidate alone, as it is, with more steps of recovery. */
async function longer(name) {
  const [id, number] = [name.slice(0, name.lastIndexOf("/")), name.slice(name.lastIndexOf("/") + 1)];
  const path = `/jobs/${encodeURIComponent(id)}`;
  const [job, trial] = await Promise.all([get(path), get(`${path}/trials/${encodeURIComponent(number)}`)]);
  const kept = Object.fromEntries(Object.entries(structuredClone(job.spec)).filter(([field]) => OF_A_CANDIDATE.includes(field)));
  const timed = Object.keys(trial.measurement?.latency ?? {}); // also where only a limit asked for it
  if (timed.length) kept.probes = [...new Set([...(kept.probes ?? []), ...timed])];
  const steps = trial.measurement?.steps ?? job.spec.steps ?? STEPS;
  const spec = {
    ...kept, name: `${job.name.slice(0, 160)}, trial ${number} longer`, first: [name],
    steps: steps > 0 ? LONGER * steps : STEPS, early_stopping: "none", budget: { trials: 1, asked: 1 },
  };
  return { spec, labels: job.labels };
}
