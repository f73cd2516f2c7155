// Schedules: when they run, and what each night came to.

import { get, list, may, send } from "../api.js";
import { confirmed, h, put } from "../dom.js";
import { busy } from "../form_fields.js";
import { nightsOf } from "../form_nights.js";
import { onTheWall, scheduleForm } from "../form_schedule.js";
import { ago, moment } from "../format.js";
import { read, write } from "../state.js";

const EVERY = 15_000; // milliseconds until it is read again
const REPORTED = 60; // nights that are read of each schedule

let form = null; // kept when the page is begun again, with what was typed

export async function show(main, signal) {
  const [canSubmit] = await Promise.all([may("submitter")]);
  const place = { list: h("div", { class: "nights" }), wrong: h("p", { class: "problem", role: "alert" }), archived: h("input", { type: "checkbox", id: "archived" }) };
  const held = new Map();
  const about = { canSubmit, signal, turn: 0, edit: (schedule) => form.open({ schedule }), again: () => readAll(place, held, about) };
  const { again } = about;
  const isFirst = form === null;
  form ??= scheduleForm(() => window.dispatchEvent(new Event("schedulesaved")));
  window.addEventListener("schedulesaved", again, { signal });
  place.archived.checked = read("archived") === "1";
  place.archived.addEventListener("change", () => { write({ archived: place.archived.checked }); again(); }, { signal });
  put(main, h("div", { class: "row spread" }, h("h1", {}, "Nights"),
    canSubmit ? h("button", { type: "button", class: "main", onclick: () => form.open() }, "New schedule") : null),
  form.element, place.wrong, place.list, h("label", { class: "check", for: "archived" }, place.archived, " With archived ones"));
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
    const found = await list("/schedules", { archived: place.archived.checked ? "true" : null }, 200);
    const seen = await Promise.all(found.map(async (schedule) => [schedule, await ticks(schedule, about.signal)]));
    if (mine !== about.turn) return;
    for (const [id, one] of held) if (!found.some((schedule) => schedule.id === id)) { one.element.remove(); held.delete(id); }
    seen.forEach(([schedule, past], at) => {
      const one = held.get(schedule.id) ?? shown(about);
      held.set(schedule.id, one);
      one.update(schedule, past);
      if (place.list.children[at] !== one.element) place.list.insertBefore(one.element, place.list.children[at] ?? null);
    });
    if (found.length) place.list.querySelector(".away")?.remove();
    else if (!place.list.firstChild) put(place.list, nothing(about.canSubmit));
    put(place.wrong);
  } catch (error) {
    if (about.signal.aborted || error.status === 401) return;
    put(place.wrong, error.message);
  }
}

const ticks = async (schedule, signal) => (await get(`/schedules/${encodeURIComponent(schedule.id)}/ticks`, { limit: REPORTED }, { signal })).items;

function nothing(canSubmit) {
  return h("p", { class: "quiet away" }, "No schedule yet. A schedule begins the same search every night, and compares what it came to with the night before. ",
    canSubmit ? "“New schedule” makes one." : "A submitter makes one.");
}

/** One schedule: what has not changed is left as it is, so that what has the focus keeps it. */
function shown(about) {
  const head = h("div", {}), facts = h("div", {}), wrong = h("p", { class: "problem", role: "alert" }), nights = h("div", {});
  const buttons = h("div", { class: "row" });
  const element = h("article", { class: "card" }, head, facts, buttons, wrong, nights);
  let before = null, drawn = "";
  return {
    element,
    update(schedule, past) {
      const now = JSON.stringify([schedule, past, Math.floor(Date.now() / 60_000)]);
      if (now === drawn) return;
      drawn = now;
      put(head, h("h2", {}, schedule.name, " ", state(schedule)));
      put(facts, factsOf(schedule, past));
      // Buttons are made anew only when they say or do something else.
      if (before?.version !== schedule.version) put(buttons, about.canSubmit && !schedule.archived_at ? actions(schedule, wrong, about) : null);
      put(nights, nightsOf(schedule, past, nights.querySelector("details")?.open ?? null));
      before = schedule;
    },
  };
}

function state(schedule) {
  if (schedule.archived_at) return h("span", { class: "state" }, "archived");
  return schedule.paused ? h("span", { class: "state HELD" }, "paused") : h("span", { class: "state SUCCEEDED" }, "active");
}

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
    h("dt", {}, "Last"), h("dd", {}, last ? [when(last.at), ": ", h("a", { href: `/jobs/${encodeURIComponent(last.job.id)}`, id: `last-${schedule.id}` }, last.job.name), " ", h("span", { class: `state ${last.job.state}` }, last.job.state.toLowerCase())] : "it has not run yet"),
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
