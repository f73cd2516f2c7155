// What the nights of a schedule came to: hypervolume as a line, and a table with the same figures.

import { h, table } from "./dom.js";
import { digits, percent } from "./format.js";
import { onTheWall } from "./form_schedule.js";
import { timeline } from "./thumb.js";

const SHOWN = 12; // nights in the table before it is unfolded

/** `past`: ticks, the latest first. `open`: whether all were shown before. */
export function nightsOf(schedule, past, open) {
  if (!past.length) return h("p", { class: "quiet" }, "No night yet.");
  const zone = schedule.calendar.timezone;
  const told = past.filter((one) => one.report?.comparison).reverse().map((one) => ({
    hypervolume: one.report.comparison.tonight.hypervolume, regressed: one.report.comparison.regressed,
    label: new Date(one.at).toLocaleDateString(undefined, { month: "short", day: "numeric", ...zoned(zone) }),
  }));
  const [first, rest] = [past.slice(0, SHOWN), past.slice(SHOWN)];
  return [
    told.length ? timeline(told, words(schedule, told)) : null,
    told.some((one) => one.regressed) ? h("p", { class: "small quiet" }, "✕ in the line: a night that regressed.") : null,
    nights(schedule, first, `Nights of ${schedule.name}, the latest first`),
    rest.length ? h("details", { class: "fold", open: open === true }, h("summary", {}, `${rest.length} nights before`), nights(schedule, rest, `Earlier nights of ${schedule.name}`)) : null,
  ];
}

function zoned(zone) {
  try {
    new Intl.DateTimeFormat(undefined, { timeZone: zone });
    return { timeZone: zone };
  } catch {
    return {}; // a zone that this browser has not heard of
  }
}

function words(schedule, told) {
  const worse = told.filter((one) => one.regressed).length;
  return `Hypervolume of ${schedule.name} over ${told.length} nights: from ${digits(told[0].hypervolume)} to ${digits(told.at(-1).hypervolume)}, ${worse} regressed`;
}

function nights(schedule, past, caption) {
  const zone = schedule.calendar.timezone;
  return table([
    ["Night", (one) => [onTheWall(one.at, zone), one.by_hand ? h("div", {}, h("span", { class: "tag" }, "by hand")) : null], { class: "line" }],
    ["Decision", (one) => [one.decision, one.note && one.note !== "on time" ? h("div", { class: "quiet small" }, one.note) : null]],
    ["Job", job],
    ["Hypervolume", (one) => (one.report?.comparison ? digits(one.report.comparison.tonight.hypervolume) : "–"), { class: "number" }],
    ["Change", change, { class: "line" }],
    ["What it came to", cameTo, { class: "long" }],
  ], past, { caption });
}

function job(tick) {
  if (tick.job === null) return "–";
  return [h("a", { href: `/jobs/${encodeURIComponent(tick.job.id)}`, id: `night-${tick.job.id}` }, tick.job.name), " ", h("span", { class: `state ${tick.job.state}` }, tick.job.state.toLowerCase())];
}

function change(tick) {
  const found = tick.report?.comparison;
  if (!found || found.change === null) return "–";
  const by = `${found.change >= 0 ? "+" : "−"}${percent(Math.abs(found.change))}`;
  return found.regressed ? h("span", { class: "problem" }, `✕ ${by} regressed`) : by;
}

function cameTo(tick) {
  if (tick.report === null) return "";
  const last = tick.report.comparison?.last;
  const query = last && tick.job ? `/compare?job=${encodeURIComponent(tick.job.id)}&job=${encodeURIComponent(last.job)}` : null;
  return [h("span", { class: "small" }, tick.report.words), query ? h("div", {}, h("a", { href: query, class: "small", id: `against-${tick.job.id}` }, "Compare with the night before")) : null];
}
