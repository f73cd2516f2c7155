// The head of a job's page: what it is, how far it is, and what may be done to it.

import { ask, may, send } from "./api.js";
import { budgetBars } from "./budget.js";
import { confirmed, h, put, save } from "./dom.js";
import { figure, ago, moment, percent } from "./format.js";
import { editDialog } from "./job_edit.js";

const ENDED = ["SUCCEEDED", "FAILED", "CANCELLED"];
// What people may ask of a job, and in which states.
const VERBS = {
  pause: { words: "Pause", states: ["QUEUED", "RUNNING"] },
  resume: { words: "Resume", states: ["PAUSED", "PAUSING", "HELD"] },
  stop: {
    words: "Stop", states: ["QUEUED", "RUNNING", "PAUSING", "PAUSED", "HELD"],
    sure: "Stop this job? It begins nothing new and ends when what runs has finished; its front is kept.", yes: "Stop it",
  },
  cancel: {
    words: "Cancel", states: ["QUEUED", "RUNNING", "PAUSING", "PAUSED", "STOPPING", "HELD"],
    sure: "Cancel this job? What runs for it is ended now.", yes: "Cancel it",
  },
};

/** Shows a job in `place`; `set(job)` shows it as it is now. */
export function headOf(place, path, job, signal) {
  const said = h("p", { class: "problem", role: "alert" });
  const title = h("h1", {});
  const facts = h("div", {});
  const buttons = h("div", { class: "row" });
  put(place, title, facts, buttons, said);
  let shown = "";
  const self = {
    job,
    set(now) {
      self.job = now;
      document.title = `${now.name} · Paretrack`;
      put(title, `${now.name} `, h("span", { class: `state ${now.state}` }, now.state.toLowerCase()));
      put(facts, progress(now), doing(now), about(now));
      const key = `${now.state} ${now.archived_at}`;
      if (key !== shown) offer(now); // else the focus would be lost each second
      shown = key;
    },
  };

  async function offer(now) {
    const mine = (await may("submitter")) && !now.archived_at;
    const button = (words, onclick, kind = null) => h("button", { type: "button", class: kind, onclick, id: `do-${words.toLowerCase().replaceAll(" ", "-")}` }, words);
    const verbs = mine ? Object.entries(VERBS).filter(([, { states }]) => states.includes(now.state)) : [];
    put(buttons,
      verbs.map(([verb, { words, sure, yes }]) => button(words, () => act("POST", `${path}/${verb}`, sure, yes), verb === "resume" ? "main" : null)),
      mine ? button("Edit", () => editDialog(path, self.job, self.set)) : null,
      mine && ENDED.includes(now.state) ? button("Archive", () => act("DELETE", path, "Archive this job? It leaves the list; nothing is deleted.", "Archive it")) : null,
      h("a", { class: "button", href: `/jobs/new?from=${encodeURIComponent(now.id)}` }, "Duplicate"),
      now.kind === "search" ? [
        h("a", { class: "button", href: `/compare?job=${encodeURIComponent(now.id)}` }, "Compare"),
        button("Trials as CSV", () => tried(() => table(path, now.id))),
      ] : null);
  }

  async function act(method, to, sure, yes) {
    if (sure && !(await confirmed(sure, yes))) return;
    await tried(async () => self.set(await send(method, to, method === "POST" ? {} : undefined)));
  }

  async function tried(action) {
    put(said);
    try {
      await action();
    } catch (error) {
      if (!signal.aborted) put(said, error.message);
    }
  }

  self.set(job);
  return self;
}

async function table(path, id) {
  const answer = await ask("GET", `${path}/trials`, { headers: { Accept: "text/csv" } });
  save(await answer.blob(), `${id}.csv`);
}

/** Of each bound; trials that pass the tests before training use the budget up. */
function progress(job) {
  const states = Object.entries(job.summary.states ?? {}).map(([state, count]) => `${count} ${state.toLowerCase()}`);
  return [budgetBars(job), states.length ? h("p", { class: "quiet" }, states.join(" · ")) : null];
}

/** What runs now, one line each. */
function doing(job) {
  const now = job.summary.now ?? [];
  if (!now.length) return null;
  const line = ({ number, step, done, total }) => {
    const who = number === null || number === undefined ? "Before the first trial" : `Trial ${number}`;
    return `${who}: ${step ?? "begins"}${total ? `, ${figure(done)} of ${figure(total)}` : ""}`;
  };
  return h("ul", { "aria-label": "What runs now" }, now.slice(0, 8).map((one) => h("li", {}, line(one))));
}

function about(job) {
  const { front_size: size, hypervolume } = job.summary;
  const parts = [
    job.reason, job.archived_at ? `archived ${ago(job.archived_at)}` : null,
    size !== undefined ? `${size} on the front` : null,
    hypervolume !== undefined ? `hypervolume ${percent(hypervolume)}` : null,
    `tracker ${job.spec.teacher ?? job.tracker}`, `of ${job.owner}`, job.priority ? `priority ${job.priority}` : null,
    job.labels.length ? `labels ${job.labels.join(", ")}` : null,
    job.started_at ? `begun ${moment(job.started_at)}` : `queued ${moment(job.queued_at)}`, job.ended_at ? `ended ${moment(job.ended_at)}` : null,
  ];
  return h("p", { class: "quiet" }, parts.filter(Boolean).join(" · "));
}
