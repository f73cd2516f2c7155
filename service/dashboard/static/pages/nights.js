// Schedules: when they run, and what each night came to.

import { get, may, send, upTo } from "../api.js";
import { confirmed, h, put } from "../dom.js";
import { busy } from "../form_fields.js";
import { against, change, nightsInSmall, nightsOf } from "../form_nights.js";
import { onTheWall, scheduleForm } from "../form_schedule.js";
import { ago, digits, moment } from "../format.js";
import { read, write } from "../state.js";

const EVERY = 15_000; // milliseconds until it is read again
const REPORTED = 60; // nights that are read of each schedule at first, and when older ones are asked for
const LATEST = 10; // and at least when it is read again
const PAGE = 20; // schedules
const FEW = 3; // schedules that need no overview

let form = null; // kept when the page is begun again, with what was typed

export async function show(main, signal) {
  const [canSubmit] = await Promise.all([may("submitter")]);
  const place = { overview: h("nav", { "aria-label": "Schedules", hidden: true }), list: h("div", { class: "nights" }), more: h("button", { type: "button", hidden: true }, "More schedules"), wrong: h("p", { class: "problem", role: "alert" }), archived: h("input", { type: "checkbox", id: "archived" }) };
  const held = new Map();
  const about = { canSubmit, signal, turn: 0, shown: PAGE, edit: (schedule) => form.open({ schedule }), again: () => readAll(place, held, about) };
  const { again } = about;
  const isFirst = form === null;
  form ??= scheduleForm(() => window.dispatchEvent(new Event("schedulesaved")));
  window.addEventListener("schedulesaved", again, { signal });
  place.archived.checked = read("archived") === "1";
  place.archived.addEventListener("change", () => { write({ archived: place.archived.checked }); again(); }, { signal });
  put(main, h("div", { class: "row spread" }, h("h1", {}, "Nights"),
    canSubmit ? h("button", { type: "button", class: "main", onclick: () => form.open() }, "New schedule") : null),
  form.element, place.wrong, place.overview, place.list, place.more, h("label", { class: "check", for: "archived" }, place.archived, " With archived ones"));
  place.more.addEventListener("click", () => more(place, about), { signal });
  signal.addEventListener("abort", () => held.forEach((one) => one.end()), { once: true });
  await again();
  if (isFirst && read("from") && canSubmit) await begin(read("from"), place.wrong);
  let waits = false; // a service that is away is waited for once
  const timer = setInterval(() => {
    if (document.hidden || waits) return;
    waits = true;
    again().finally(() => { waits = false; });
  }, EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** The form with the document of a job. */
async function begin(from, wrong) {
  try {
    await form.open({ job: await get(`/jobs/${encodeURIComponent(from)}`) });
  } catch (error) {
    if (error.status !== 404) throw error;
    await form.open();
    put(wrong, error.message);
  }
}

async function readAll(place, held, about) {
  const mine = (about.turn += 1); // of several readings the last one counts
  try {
    const { items: found, next } = await upTo(about.shown, "/schedules", { archived: place.archived.checked ? "true" : null }, { signal: about.signal });
    const before = new Map(found.map((schedule) => [schedule.id, held.get(schedule.id)?.ticks]));
    const seen = await Promise.all(found.map(async (schedule) => [schedule, await ticks(schedule, before.get(schedule.id), about.signal)]));
    if (mine !== about.turn) return;
    for (const [id, one] of held) if (!before.has(id)) { one.end(); one.element.remove(); held.delete(id); }
    seen.forEach(([schedule, past], at) => {
      const one = held.get(schedule.id) ?? shown(schedule, about);
      held.set(schedule.id, one);
      if (one.ticks === before.get(schedule.id)) one.update(schedule, past); // else older ones were read meanwhile
      if (place.list.children[at] !== one.element) place.list.insertBefore(one.element, place.list.children[at] ?? null);
    });
    place.more.hidden = next === null;
    overview(place.overview, [...held.values()], next !== null);
    if (found.length) place.list.querySelector(".away")?.remove();
    else if (!place.list.firstChild) put(place.list, nothing(about.canSubmit));
    put(place.wrong);
  } catch (error) {
    if (about.signal.aborted || error.status === 401) return;
    put(place.wrong, error.message);
  }
}

async function more(place, about) {
  const before = place.list.children.length;
  about.shown += PAGE;
  place.more.disabled = true;
  await about.again().finally(() => { place.more.disabled = false; });
  place.list.children[before]?.querySelector("button, a")?.focus(); // the first that is new
}

const asked = (schedule, params, signal) => get(`/schedules/${encodeURIComponent(schedule.id)}/ticks`, params, { signal });
const isOpen = (tick) => tick.job !== null && (tick.report === null || tick.report.state === "HELD");

/** The past of a schedule as {items, next}; of what is known only what may have changed is read again. */
async function ticks(schedule, known, signal) {
  if (!known?.items.length) return asked(schedule, { limit: REPORTED }, signal);
  const open = known.items.findLastIndex(isOpen) + 1;
  const found = await asked(schedule, { limit: Math.min(200, Math.max(LATEST, open)) }, signal);
  const last = found.items.at(-1)?.at, newest = known.items[0].at;
  if (!found.items.some((tick) => tick.at === newest)) return asked(schedule, { limit: REPORTED }, signal); // it was away for long
  return { items: [...found.items, ...known.items.slice(known.items.findIndex((tick) => tick.at === last) + 1)], next: known.next };
}

// --- all of them in small -------------------------------------------------------------------------

function overview(place, all, isMore) {
  place.hidden = all.length <= FEW;
  const key = place.hidden ? "" : all.map((one) => one.key).join();
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  put(place, place.hidden ? null : [
    h("ul", { class: "multiples" }, all.map(small)),
    h("p", { class: "quiet small" }, `Hypervolume night by night, each on a scale of its own.${isMore ? " The newest schedules are shown." : ""}`)]);
}

function small({ schedule, ticks: { items } }) {
  const told = items.find((tick) => tick.report?.comparison);
  const stands = schedule.archived_at ? "archived" : schedule.paused ? "paused" : schedule.next_at ? `next ${ago(schedule.next_at)}` : "never again";
  return h("li", {},
    h("a", { href: `#at-${schedule.id}`, id: `small-${schedule.id}` }, schedule.name),
    nightsInSmall(schedule, items),
    h("div", { class: "small" }, told ? [h("strong", {}, digits(told.report.comparison.tonight.hypervolume)), " ", change(told), " · "] : items.length ? "no front · " : "no night yet · ", stands));
}

function nothing(canSubmit) {
  return h("p", { class: "quiet away" }, "No schedule yet. A schedule begins the same search every night, and compares what it came to with the night before. ",
    canSubmit ? "“New schedule” makes one." : "A submitter makes one.");
}

/** One schedule: what has not changed is left as it is, so that what has the focus keeps it. */
function shown(first, about) {
  const head = h("div", {}), facts = h("div", {}), wrong = h("p", { class: "problem", role: "alert" });
  const buttons = h("div", { class: "row" });
  const nights = nightsOf(older);
  const element = h("article", { class: "card", id: `at-${first.id}` }, head, facts, buttons, wrong, nights.element);
  let before = null, drawn = "", told = "";
  const one = { element, end: nights.end, ticks: undefined, schedule: first, key: "", update };

  function update(schedule, ticks) {
    const now = JSON.stringify([schedule, ticks, Math.floor(Date.now() / 60_000)]);
    one.ticks = ticks;
    if (now === drawn) return;
    [drawn, one.schedule, one.key] = [now, schedule, now];
    put(head, h("h2", {}, schedule.name, " ", state(schedule)));
    put(facts, factsOf(schedule, ticks.items));
    // Buttons are made anew only when they say or do something else.
    if (before?.version !== schedule.version) put(buttons, about.canSubmit && !schedule.archived_at ? actions(schedule, wrong, about) : null);
    const said = JSON.stringify([schedule.name, schedule.calendar, ticks]);
    if (said !== told) nights.update(schedule, ticks.items, ticks.next !== null);
    [before, told] = [schedule, said];
  }

  async function older() {
    nights.busy(true);
    put(wrong);
    try {
      const found = await asked(one.schedule, { limit: REPORTED, cursor: one.ticks.next }, about.signal);
      update(one.schedule, { items: [...one.ticks.items, ...found.items], next: found.next });
    } catch (error) {
      if (!about.signal.aborted) put(wrong, error.message);
    } finally {
      nights.busy(false);
    }
  }
  return one;
}

function state(schedule) {
  if (schedule.archived_at) return h("span", { class: "state" }, "archived");
  return schedule.paused ? h("span", { class: "state HELD" }, "paused") : h("span", { class: "state SUCCEEDED" }, "active");
}

const isTold = (tick) => Boolean(tick.report?.comparison?.last);

function factsOf(schedule, past) {
  const zone = schedule.calendar.timezone, last = past.find((one) => one.job !== null);
  const when = (at) => [onTheWall(at, zone), ` (${zone})`, onTheWall(at, zone) === moment(at) ? null : h("span", { class: "quiet" }, `; ${moment(at)} here`), h("span", { class: "quiet" }, `; ${ago(at)}`)];
  const policies = [
    `while the job before runs: ${schedule.overlap}`, `late by up to ${Math.round(schedule.catch_up_seconds / 60)} min`,
    schedule.jitter_seconds ? `jitter ${schedule.jitter_seconds} s` : "", schedule.continues ? "goes on from the night before" : "begins anew every night",
    schedule.pause_after_failures ? `pauses after ${schedule.pause_after_failures} failures in a row` : "",
  ];
  return h("dl", { class: "facts" },
    h("dt", {}, "When"), h("dd", {}, schedule.words, " ", h("code", {}, schedule.calendar.cron)),
    h("dt", {}, "Next"), h("dd", {}, schedule.next_at && !schedule.paused ? when(schedule.next_at) : schedule.paused ? "not while it is paused" : "never"),
    h("dt", {}, "Last"), h("dd", {}, last ? [when(last.at), ": ", h("a", { href: `/jobs/${encodeURIComponent(last.job.id)}`, id: `last-${schedule.id}` }, last.job.name), " ", h("span", { class: `state ${last.job.state}` }, last.job.state.toLowerCase()), isTold(last) ? [" ", change(last), " ", against(last, "last-against")] : null] : "it has not run yet"),
    schedule.paused ? [h("dt", {}, "Paused"), h("dd", {}, schedule.paused_why || "by hand")] : null,
    schedule.failures ? [h("dt", {}, "Failures"), h("dd", { class: "problem" }, `${schedule.failures} in a row`)] : null,
    h("dt", {}, "Search"), h("dd", {}, `${schedule.tracker}: ${schedule.job.spec.teacher ?? ""}`),
    h("dt", {}, "Policies"), h("dd", { class: "small" }, policies.filter(Boolean).join(" · ")));
}

function actions(schedule, wrong, about) {
  const at = `/schedules/${encodeURIComponent(schedule.id)}`;
  const doing = (method, path) => async () => { await send(method, path); await about.again(); };
  const id = (word) => ({ id: `${word}-${schedule.id}` });
  const remove = async () => {
    const sure = await confirmed(`Archive the schedule “${schedule.name}”? It ticks no more, and cannot be begun again; its jobs and its history stay.`, "Archive it");
    if (sure) await doing("DELETE", at)();
  };
  return [
    busy("Run now", doing("POST", `${at}/trigger`), wrong, id("now")),
    schedule.paused ? busy("Resume", doing("POST", `${at}/resume`), wrong, id("turn")) : busy("Pause", doing("POST", `${at}/pause`), wrong, id("turn")),
    h("button", { type: "button", ...id("edit"), onclick: () => about.edit(schedule) }, "Change …"),
    h("a", { class: "button", href: `/?schedule=${encodeURIComponent(schedule.id)}` }, "Its jobs"),
    busy("Archive …", remove, wrong, id("archive")),
  ];
}
