// The form of a schedule: when, what, and what happens when that does not go as planned.

import { ask, get, list } from "./api.js";
import { h, put } from "./dom.js";
import { checked, choice, flag, json, listed, number, refused, text } from "./form_fields.js";
import { documentOf, fill, proposing } from "./form_schema.js";
import { moment } from "./format.js";

const OVERLAP = {
  skip: "The tick is left out.", buffer: "One tick waits, and begins when the job before has ended.",
  cancel: "The job before is cancelled, the new one begins.", allow: "Both go on beside each other.",
};
const GAP = { shift: "It happens as long after the clock was put forward as it was asked for.", skip: "It does not happen on that day." };
const FOLD = { first: "The first of the two.", last: "The second of the two.", both: "Both of them." };
const EXAMPLES = [["30 2 * * *", "every night at 02:30"], ["0 22 * * 1-5", "at 22:00 from Monday to Friday"], ["0 3 * * 6", "Saturdays at 03:00"], ["0 1 1 * *", "the first of each month"], ["0 */6 * * *", "every six hours"]];

export const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** An instant by the clock of a zone. */
export function onTheWall(at, zone) {
  try {
    return new Date(at).toLocaleString(undefined, { timeZone: zone, dateStyle: "medium", timeStyle: "short" });
  } catch {
    return `${new Date(at).toISOString().slice(0, 16).replace("T", " ")} UTC`; // a zone that this browser has not heard of
  }
}

const entries = (choices) => Object.keys(choices).map((name) => [name, name]);

function scheduleFields() {
  const zones = Intl.supportedValuesOf?.("timeZone") ?? [];
  const zone = proposing({ id: "zone", label: "Time zone", pointer: "/calendar/timezone", attributes: { required: true }, help: "By whose clock: a name of IANA's, as Europe/London." }, [...new Set([here, "UTC", ...zones])].map((name) => [name, ""]));
  const cron = proposing({ id: "cron", label: "Cron", pointer: "/calendar/cron", attributes: { required: true, placeholder: "30 2 * * *", maxlength: 200 },
    help: "When: minute, hour, day of the month, month, day of the week; L is the last day, 5L the last Friday, 5#2 the second." }, EXAMPLES);
  return {
    name: text({ label: "Name", pointer: "/name", attributes: { required: true, maxlength: 200 }, help: "Of the schedule." }),
    cron, zone,
    gap: choice({ label: "A time that does not exist", pointer: "/calendar/gap", otherwise: "shift", options: entries(GAP), about: GAP, help: "When the clock is put forward." }),
    fold: choice({ label: "A time that comes twice", pointer: "/calendar/fold", otherwise: "first", options: entries(FOLD), about: FOLD, help: "When the clock is put back." }),
    spec: json({ label: "The job's document", pointer: "/job/spec", rows: 10, attributes: { required: true }, help: "As on the page of a new search; every tick begins such a job." }),
    labels: listed({ label: "Labels of its jobs", pointer: "/job/labels", help: "Words with commas between." }),
    priority: number({ label: "Priority of its jobs", pointer: "/job/priority", least: -100, most: 100, step: 1, otherwise: 0, help: "10 are worth an hour of waiting." }),
    overlap: choice({ label: "While the job before has not ended", pointer: "/overlap", otherwise: "skip", options: entries(OVERLAP), about: OVERLAP }),
    catchUp: number({ label: "Catch-up window, in seconds", pointer: "/catch_up_seconds", least: 0, most: 2_592_000, step: 1, otherwise: 3600, help: "So late a tick still begins, if no controller was there in time." }),
    jitter: number({ label: "Jitter, in seconds", pointer: "/jitter_seconds", least: 0, most: 3600, step: 1, otherwise: 0, help: "A job begins up to so many seconds after its tick, to spread beginnings." }),
    failures: number({ label: "Pause after failures", pointer: "/pause_after_failures", least: 1, most: 1000, step: 1, help: "So many in a row; empty: never." }),
    continues: flag({ label: "Go on from the night before", pointer: "/continues", otherwise: true, help: "Each night begins with the front of the night before, timed again." }),
  };
}

/**
 * A form for a new schedule, or for one that is there. {element, open({schedule} or {job})}.
 * `saved(schedule)` is called when it has been stored.
 */
export function scheduleForm(saved) {
  const by = scheduleFields(), fields = Object.values(by);
  const calendar = [by.cron, by.zone, by.gap, by.fold];
  const view = {
    by, fields, saved, editing: null, title: h("h2", { id: "schedule-form" }), wrong: h("p", { class: "problem", role: "alert" }),
    submit: h("button", { type: "submit", class: "main" }), from: h("select", { id: "from-job" }),
    coming: comingTicks(() => documentOf(fields).calendar ?? {}, (problem) => refused(calendar, problem, h("p"), false), [by.cron, by.zone]),
  };
  view.take = h("div", { class: "field" }, h("label", { for: "from-job" }, "Take the document of"), view.from,
    h("p", { class: "help" }, "A search that you have; it can be changed below."));
  view.from.addEventListener("change", async () => {
    if (view.from.value) startWith(view, await get(`/jobs/${encodeURIComponent(view.from.value)}`));
  });
  view.element = drawn(view);
  return { element: view.element, open: (begin) => open(view, begin) };
}

function drawn(view) {
  const { by, coming } = view;
  const policies = ["overlap", "catchUp", "jitter", "failures", "continues", "gap", "fold"];
  const form = h("form", { class: "form card", novalidate: true, hidden: true, "aria-labelledby": "schedule-form" }, view.title,
    h("div", { class: "columns" },
      h("div", {}, h("div", { class: "fields" }, by.name.element, by.cron.element, by.zone.element), coming.element),
      h("div", {}, view.take, by.spec.element, by.labels.element, by.priority.element)),
    h("details", { class: "fold" }, h("summary", {}, h("h3", {}, "When it does not go as planned")),
      h("div", { class: "fields" }, policies.map((name) => by[name].element))),
    view.wrong, h("div", { class: "row" }, view.submit, h("button", { type: "button", onclick: () => close(view) }, "Close")));
  form.addEventListener("input", coming.ask);
  form.addEventListener("change", coming.ask);
  form.addEventListener("submit", (event) => { event.preventDefault(); send(view); });
  return form;
}

/** Begin: with nothing, with {schedule} to change it, or with {job} whose document is taken. */
async function open(view, { schedule = null, job = null } = {}) {
  view.editing = schedule;
  put(view.title, schedule ? `Change ${schedule.name}` : "New schedule");
  put(view.submit, schedule ? "Save" : "Create the schedule");
  put(view.wrong);
  view.take.hidden = schedule !== null;
  for (const field of view.fields) field.say("");
  fill(view.fields, schedule ?? { calendar: { timezone: here } });
  view.element.hidden = false;
  if (job) startWith(view, job);
  view.coming.ask();
  view.by.name.focus();
  if (schedule || view.from.options.length) return;
  const jobs = await list("/jobs", { kind: "search" }, 50);
  put(view.from, h("option", { value: "" }, "–"), jobs.map((one) => h("option", { value: one.id }, one.name)));
  view.from.value = job?.id ?? "";
}

function startWith({ by }, job) {
  by.spec.fill(job.spec);
  by.labels.fill(job.labels);
  if (!by.name.read()) by.name.fill(job.name);
}

function close(view) {
  view.element.hidden = true;
  view.editing = null;
}

async function send(view) {
  put(view.wrong);
  if (!checked(view.fields)) return;
  view.submit.disabled = true;
  try {
    view.saved(await store(view.editing, documentOf(view.fields)));
    close(view);
  } catch (problem) {
    refused(view.fields, problem, view.wrong);
    if (problem.code === "changed_meanwhile") {
      view.editing = await get(`/schedules/${encodeURIComponent(view.editing.id)}`);
      put(view.wrong, `${problem.message}. Press Save again to have it as it is here, or close this to see what it is now.`);
    }
  } finally {
    view.submit.disabled = false;
  }
}

async function store(editing, made) {
  if (editing === null) return (await ask("POST", "/schedules", { json: made })).json();
  // All of it is said, so that a field that was emptied is as usual again.
  const whole = {
    overlap: "skip", catch_up_seconds: 3600, jitter_seconds: 0, continues: true, pause_after_failures: null, ...made,
    job: { labels: [], priority: 0, ...made.job },
  };
  const headers = { "If-Match": `"${editing.version}"` };
  return (await ask("PATCH", `/schedules/${encodeURIComponent(editing.id)}`, { json: whole, headers })).json();
}

/** The next ten ticks of a calendar while it is typed. */
function comingTicks(calendar, refuse, needed) {
  const words = h("p", { role: "status" }), ticks = h("ol", { class: "small" });
  const element = h("div", { class: "preview-ticks" }, h("h3", {}, "The next ten times"), words, ticks);
  let timer = null, running = null;
  async function look() {
    const asked = calendar();
    running?.abort();
    if (needed.some((field) => field.read() === undefined)) {
      put(words, "Say when, and by whose clock.");
      put(ticks);
      return;
    }
    const mine = (running = new AbortController());
    try {
      const found = await (await ask("POST", "/schedules/preview", { json: { calendar: asked, count: 10 }, signal: mine.signal })).json();
      if (mine.signal.aborted) return;
      for (const field of needed) field.say("");
      put(words, found.words);
      put(ticks, found.ticks.map((one) => h("li", {}, onTheWall(one.at, asked.timezone), onTheWall(one.at, asked.timezone) === moment(one.at) ? null : h("span", { class: "quiet" }, ` (${moment(one.at)} here)`))));
    } catch (error) {
      if (mine.signal.aborted) return;
      put(ticks);
      put(words, error.status === 422 ? "" : error.message);
      if (error.status === 422) refuse(error);
    }
  }
  return { element, ask: () => { clearTimeout(timer); timer = setTimeout(look, 400); } };
}
