// Where latencies were measured, and how repeatable they are there: all devices, or one of them.

import { get, list } from "../api.js";
import { h, put, table } from "../dom.js";
import { ago, moment, percent, range } from "../format.js";
import { read } from "../state.js";

const SHOWN = ["python", "torch", "onnxruntime"]; // packages in the list; all of them in a device's own view
const NEWEST = 40; // trials in a device's own view

export async function show(main, signal) {
  const chosen = read("device");
  await (chosen === null ? showAll(main, signal) : showOne(main, chosen, signal));
}

// --- all of them ---------------------------------------------------------------------------------

async function showAll(main, signal) {
  const place = h("div", {}, h("p", { class: "quiet" }, "looking …"));
  put(main, h("h1", {}, "Devices"),
    h("p", {}, "Latencies are measured where the workers run: on the machine, and with the number of threads, that a controller was started with. Every search that you may see counts here."), place);
  const found = await list("/devices", {}, 500);
  if (signal.aborted) return;
  put(place, found.length ? h("div", { class: "cards" }, found.map(card))
    : h("p", { class: "quiet away" }, "No search has measured a latency yet. A limit or a cost in milliseconds asks for one, and so does a probe."));
}

const address = (device) => `/devices?device=${encodeURIComponent(device.id)}`;

function card(device) {
  return h("article", { class: "card", "aria-label": device.name },
    h("h2", {}, h("a", { href: address(device) }, device.name)),
    h("p", { class: "quiet" }, machine(device)),
    h("dl", { class: "facts" },
      ...fact("Timed", `${many(device.trials, "trial")} of ${many(device.job_count, "search", "searches")}, last ${ago(device.last_at)}`),
      ...device.probes.flatMap((probe) => fact(probe.probe, repeatable(probe).map((line) => h("div", {}, line)))),
      ...fact("Software", SHOWN.filter((name) => device.versions[name]).map((name) => `${name} ${device.versions[name][0]}`).join(", ") || "not told"),
      ...fact("Searches", searches(device.jobs.slice(0, 3), device.job_count))));
}

const fact = (name, content) => [h("dt", {}, name), h("dd", {}, content)];
const many = (count, one, more = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;

function machine(device) {
  const threads = device.threads.length ? `${device.threads.join(" or ")} ${device.threads.at(-1) === 1 ? "thread" : "threads"} a candidate` : null;
  return [device.machine || "a machine that does not say which", device.cores ? many(Number(device.cores), "core") : null, threads].filter(Boolean).join(", ");
}

function searches(jobs, all) {
  const lines = jobs.map((job) => h("div", {}, h("a", { href: `/jobs/${encodeURIComponent(job.id)}` }, job.name), h("span", { class: "quiet" }, `, ${many(job.trials, "trial")}, ${ago(job.last_at)}`)));
  return all > jobs.length ? [...lines, h("div", { class: "quiet" }, `and ${all - jobs.length} more`)] : lines;
}

const signed = (share) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`;

/** How repeatable a probe's figures are, a line for each that is known. */
function repeatable({ interval, spread, again }) {
  const lines = [];
  if (interval !== null) lines.push(`${percent(interval)} between the 10th and 90th percentile of a trial's calls`);
  if (spread !== null) lines.push(`${percent(spread)} from round to round`);
  if (again) lines.push(`${signed(again.median)} since the time before (${signed(again.lowest)} to ${signed(again.highest)}, ${many(again.timings, "candidate")} timed again)`);
  return lines.length ? lines : ["nothing is known"];
}

// --- one of them ---------------------------------------------------------------------------------

async function showOne(main, id, signal) {
  put(main, h("h1", {}, "Device"), h("p", { class: "quiet" }, "looking …"));
  const device = await get(`/devices/${encodeURIComponent(id)}`, { trials: NEWEST }, { signal });
  if (signal.aborted) return;
  document.title = `${device.name} · Paretrack`;
  put(main,
    h("p", { class: "crumbs" }, h("a", { href: "/devices" }, "Devices")),
    h("h1", {}, device.name),
    h("p", { class: "quiet" }, machine(device)),
    h("dl", { class: "facts" },
      ...fact("Timed", `${many(device.trials, "trial")} of ${many(device.job_count, "search", "searches")}`),
      ...fact("First", moment(device.first_at)), ...fact("Last", moment(device.last_at))),
    h("h2", {}, "How repeatable"), h("p", { class: "quiet" }, "Shares of a trial's median; of all trials the middle one."), probes(device),
    h("h2", {}, "Newest timings"), timings(device),
    h("div", { class: "pair" },
      h("section", {}, h("h2", {}, "Searches"), h("div", {}, searches(device.jobs, device.job_count))),
      h("section", {}, h("h2", {}, "Software"), h("dl", { class: "facts" }, Object.entries(device.versions).flatMap(([name, all]) => fact(name, all.join(", ")))))));
}

function probes(device) {
  return h("dl", { class: "facts" }, device.probes.flatMap((one) => fact(one.probe, [
    h("div", {}, `calls it ${one.names.join(", or ")}; ${many(one.timings, "timing")}`), repeatable(one).map((line) => h("div", {}, line)),
  ])));
}

function timings(device) {
  const trial = (job, number, name) => h("a", { href: `/jobs/${encodeURIComponent(job)}/trials/${number}` }, name);
  return table([
    ["Trial", (one) => trial(one.job, one.number, String(one.number)), { class: "number" }],
    ["Search", (one) => h("a", { href: `/jobs/${encodeURIComponent(one.job)}` }, one.job_name), { class: "long" }],
    ["Probe", (one) => one.probe],
    ["A step (10th to 90th percentile)", (one) => range(one.median_ms, one.p10_ms, one.p90_ms, "ms"), { class: "number" }],
    ["From round to round", (one) => percent(one.spread), { class: "number" }],
    ["Since the time before", (one) => (one.change === null ? "–" : [`${signed(one.change)} `, trial(one.before_job, one.before_number, `(trial ${one.before_number})`)]), { class: "line" }],
    ["Ended", (one) => ago(one.at), { class: "line" }],
  ], device.timings, { caption: `The newest ${NEWEST} trials that were timed here`, empty: "None." });
}
