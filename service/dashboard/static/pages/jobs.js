// What runs now, and all other jobs. Both are read again by themselves; what has not changed is left alone.

import { get, may, upTo } from "../api.js";
import { h, put } from "../dom.js";
import { metrics } from "../form_metrics.js";
import { filters, wanted } from "../form_filters.js";
import { card, row } from "../form_job_rows.js";
import { choices } from "../form_choices.js";
import { readAll } from "../state.js";

export const WORKED_ON = ["RUNNING", "PAUSING", "STOPPING", "CANCELLING"];
const RESTING = ["QUEUED", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLED", "HELD"];
const SOON = 3000, LATER = 15_000; // milliseconds until lists are read again: while something runs, else
const PAGE = 50, MOST_RUNNING = 30;

export async function show(main, signal) {
  const [known, canSubmit] = await Promise.all([metrics(), may("submitter")]);
  const place = layout(main, canSubmit);
  const chosen = choices(place.bar, readAll("pick"));
  const about = { known, chosen, canSubmit };
  const view = {
    running: rows(place.running, (job) => card(job, about)),
    others: rows(place.others, (job) => row(job, about)),
    next: null, shown: PAGE, signal,
  };
  filters(place.filters, () => { view.shown = PAGE; return readOthers(view, place); }, signal);
  place.more.addEventListener("click", () => more(view, place), { signal });
  await Promise.all([readRunning(view, place), readOthers(view, place)]);
  keepReading(view, place, signal);
}

function layout(main, canSubmit) {
  const place = {
    running: h("div", { class: "cards" }), none: h("p", { class: "quiet" }),
    others: h("ul", { class: "jobs" }), empty: h("div", {}), filters: h("form", { class: "filters", role: "search", "aria-label": "Filter jobs" }),
    more: h("button", { type: "button", hidden: true }, "More"), bar: h("div", { class: "bar row spread", hidden: true }),
    wrong: h("p", { class: "problem", role: "alert" }),
  };
  put(main,
    h("div", { class: "row spread" }, h("h1", {}, "Jobs"),
      canSubmit ? h("a", { class: "button main", href: "/jobs/new" }, "New search") : null),
    h("section", { "aria-labelledby": "now" }, h("h2", { id: "now" }, "Running now"), place.none, place.running),
    h("section", { "aria-labelledby": "others" }, h("h2", { id: "others" }, "Jobs"),
      place.filters, place.wrong, place.others, place.empty, place.more),
    place.bar);
  return place;
}

/** Children of a list by their job, so that only what has changed is made anew. */
function rows(list, make) {
  const held = new Map();
  return {
    get size() { return held.size; },
    get ids() { return [...held.keys()]; },
    show(jobs) {
      const seen = new Set(jobs.map((job) => job.id));
      for (const [id, one] of held) if (!seen.has(id)) { one.element.remove(); held.delete(id); }
      jobs.forEach((job, at) => {
        const one = held.get(job.id) ?? make(job);
        held.set(job.id, one);
        one.update(job);
        // Moving an element takes its focus: only those that are out of their place are moved.
        if (list.children[at] !== one.element) list.insertBefore(one.element, list.children[at] ?? null);
      });
    },
  };
}

async function readRunning(view, place) {
  const found = await get("/jobs", { state: WORKED_ON, limit: MOST_RUNNING }, { signal: view.signal });
  const before = view.running.ids.join();
  view.running.show(found.items);
  const more = found.next === null ? "" : " The newest are shown; filter by state for all.";
  put(place.none, found.items.length ? more : "Nothing runs now.");
  return view.running.ids.join() !== before;
}

let asked = 0; // of several reads under way the last one counts
async function readOthers(view, place) {
  const mine = (asked += 1);
  const said = wanted();
  const params = { ...said, state: said.state.length ? said.state : RESTING };
  try {
    const found = await upTo(view.shown, "/jobs", params, { signal: view.signal });
    if (mine !== asked) return;
    view.next = found.next;
    view.others.show(found.items);
    place.more.hidden = found.next === null;
    put(place.wrong);
    put(place.empty, found.items.length ? null : nothing(said, view.running.size));
  } catch (error) {
    if (view.signal.aborted || mine !== asked) return;
    if (error.status === 401) throw error;
    put(place.wrong, error.message);
  }
}

async function more(view, place) {
  const before = view.others.size;
  view.shown += PAGE;
  place.more.disabled = true;
  await readOthers(view, place).finally(() => { place.more.disabled = false; });
  place.others.children[before]?.querySelector("a")?.focus(); // the first that is new
}

function nothing(said, running) {
  const filtered = said.text || said.label.length || said.tracker || said.kind || said.schedule || said.state.length;
  if (filtered) return h("p", { class: "quiet" }, "No job fits these filters.");
  return h("p", { class: "quiet away" }, running ? "No other job yet." : ["No job yet. A search begins with “New search”, or with ", h("code", {}, "paretrack submit"), "."]);
}

function keepReading(view, place, signal) {
  let timer = null, last = Date.now();
  const again = () => { clearTimeout(timer); if (!signal.aborted) timer = setTimeout(turn, view.running.size ? SOON : LATER / 3); };
  async function turn() {
    if (document.hidden || signal.aborted) return; // visibilitychange begins again
    try {
      const changed = await readRunning(view, place);
      if (changed || Date.now() - last > LATER) {
        last = Date.now();
        await readOthers(view, place);
      }
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      put(place.wrong, error.message);
    }
    again();
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) turn(); }, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  again();
}
