// Where latencies are measured: on the machines of the workers. What they were is in the trials.

import { get } from "../api.js";
import { h, put, table } from "../dom.js";
import { ago } from "../format.js";

const LOOKED_AT = 8; // searches, the newest that have a front: one trial of each is read

export async function show(main, signal) {
  const place = h("div", {}, h("p", { class: "quiet" }, "looking …"));
  put(main, h("h1", {}, "Devices"),
    h("p", {}, "Latencies are measured where the workers run: on the machine, and with the number of threads, that a controller was started with. Devices of their own, to which candidates are sent to be timed, there are none yet."),
    h("h2", {}, "Where recent searches were measured"),
    h("p", { class: "quiet" }, `Of the newest ${LOOKED_AT} searches that have a front, one trial each; every trial's page says where it was measured itself.`), place);
  const found = await measured(signal);
  if (!signal.aborted) put(place, shown(found));
}

/** [{job, latencies: [{probe, device, versions, threads ...}], environment}], the newest first. */
async function measured(signal) {
  const { items } = await get("/jobs", { kind: "search", limit: 50 }, { signal });
  const withFront = items.filter((job) => job.summary.front_size).slice(0, LOOKED_AT);
  const all = await Promise.all(withFront.map((job) => oneTrial(job, signal)));
  return all.filter((one) => one !== null);
}

async function oneTrial(job, signal) {
  const at = `/jobs/${encodeURIComponent(job.id)}`;
  try {
    const { points } = await get(`${at}/front`, {}, { signal });
    if (!points.length) return null;
    const { measurement } = await get(`${at}/trials/${points[0].number}`, {}, { signal });
    return measurement ? { job, number: points[0].number, latency: measurement.latency ?? {}, environment: measurement.environment ?? {} } : null;
  } catch (error) {
    if (error.status === 404) return null; // archived meanwhile, or not ours any more
    throw error;
  }
}

function shown(found) {
  const groups = new Map();
  for (const one of found) {
    const key = JSON.stringify([where(one), one.environment]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return table([
    ["Device", ([one]) => where(one).map((line) => h("div", {}, line)), { class: "long" }],
    ["Machine", ([one]) => [one.environment.machine ?? "–", one.environment.cores ? h("div", { class: "quiet small" }, `${one.environment.cores} cores, ${one.environment.threads} threads a candidate, trained on ${one.environment.device}`) : null], { class: "long" }],
    ["Versions", ([one]) => h("span", { class: "small" }, versions(one.environment)), { class: "long" }],
    ["Latency was measured by", ([one]) => Object.keys(one.latency).join(", ") || "nothing: no latency was asked for"],
    ["Searches", (all) => all.map((one) => h("div", { class: "small" }, h("a", { href: `/jobs/${encodeURIComponent(one.job.id)}/trials/${one.number}` }, one.job.name), `, ${ago(one.job.created_at)}`)), { class: "long" }],
  ], [...groups.values()], { caption: "Environments of recent trials", empty: "No search has a front yet, so nothing was measured." });
}

function where(one) {
  const named = [...new Set(Object.values(one.latency).map((probe) => probe.device).filter(Boolean))];
  return named.length ? named : [one.environment.device ?? "unknown"];
}

function versions(environment) {
  const aside = new Set(["machine", "cores", "threads", "device"]);
  return Object.entries(environment).filter(([name]) => !aside.has(name)).map(([name, version]) => `${name} ${version}`).join(", ") || "–";
}
