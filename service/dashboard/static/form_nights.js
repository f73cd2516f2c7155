// What the nights of a schedule came to: hypervolume as a line, what was remarkable in words, and a table.

import { h, put, table } from "./dom.js";
import { onTheWall } from "./form_schedule.js";
import { digits, percent } from "./format.js";
import { MARKS, stepLine } from "./lines.js";
import { spark } from "./thumb.js";

const SHOWN = innerWidth < 640 ? 2 : 5; // nights in the table before it is unfolded
const NAMED = 4; // regressed nights that are named; the others are counted
const BAD = ["FAILED", "HELD"], OVER = ["SUCCEEDED", "FAILED", "CANCELLED", "HELD"];

/** The nights of one schedule: {element, update(schedule, past, more)}; ticks are the latest first. */
export function nightsOf(older) {
  const picture = h("div", {}), words = h("div", { class: "told" }), latest = h("div", {});
  const earlier = h("div", {}), count = h("summary", {});
  const more = h("button", { type: "button", onclick: older }, "Older nights");
  const fold = h("details", { class: "fold", hidden: true }, count, earlier, more);
  let line = null;
  return {
    element: h("div", {}, picture, words, latest, fold),
    end: () => line?.end(),
    busy: (is) => { more.disabled = is; },
    update(schedule, past, hasMore) {
      const steps = stepsOf(schedule, past);
      if (steps.some((step) => step.y !== null)) {
        const given = { steps, ...dated(schedule, steps), label: `Hypervolume of ${schedule.name}` };
        if (line) line.set(given);
        else line = stepLine(picture, { height: 170, each: "nights", dots: true, yText: digits, onOpen: open, ...given });
      }
      put(words, said(schedule, past, hasMore));
      const [first, rest] = [past.slice(0, SHOWN), past.slice(SHOWN)];
      put(latest, past.length ? nights(schedule, first, `Nights of ${schedule.name}, the latest first`) : h("p", { class: "quiet" }, "No night yet."));
      fold.hidden = !rest.length;
      put(count, `${rest.length}${hasMore ? " and more" : ""} nights before`);
      put(earlier, rest.length ? nights(schedule, rest, `Earlier nights of ${schedule.name}`) : null);
      more.hidden = !hasMore;
    },
  };
}

function open(step) {
  if (step.job) location.assign(`/jobs/${encodeURIComponent(step.job)}`);
}

/** Its nights in small: a picture with its words; null: there is nothing to draw. */
export function nightsInSmall(schedule, past) {
  const steps = stepsOf(schedule, past);
  const told = steps.filter((step) => step.y !== null);
  if (!steps.length) return null;
  const count = (name) => steps.filter((step) => step.mark === name).length;
  const marked = ["worse", "failed", "skipped", "missed"].filter(count).map((name) => `${count(name)} ${name === "worse" ? "regressed" : name}`);
  const from = told.length ? [`hypervolume from ${digits(told[0].y)} to ${digits(told.at(-1).y)}`] : [];
  return spark(steps, `${steps.length} nights: ${[...from, ...marked].join(", ") || "nothing to show yet"}`);
}

// --- as a line --------------------------------------------------------------------------------

/** The kind of mark that a night has; undefined: none. */
function markOf(tick) {
  if (tick.report?.comparison) return tick.report.comparison.regressed ? "worse" : undefined;
  if (tick.decision === "skipped" || tick.decision === "missed") return tick.decision;
  if (BAD.includes(tick.job?.state)) return "failed";
  const goesOn = tick.job ? !OVER.includes(tick.job.state) || (tick.job.state === "SUCCEEDED" && tick.report === null) : tick.decision === "buffered";
  return goesOn ? "waits" : "empty"; // what was cancelled, and what had found nothing
}

function stepsOf(schedule, past) {
  return [...past].reverse().map((tick) => {
    const found = tick.report?.comparison, name = markOf(tick);
    const changed = found && found.change !== null ? changeText(found) : "";
    const why = tick.job ? tick.job.state.toLowerCase() : `${tick.decision}: ${tick.note}`;
    return { x: new Date(tick.at).getTime(), y: found ? found.tonight.hypervolume : null, mark: name, job: tick.job?.id, note: found ? changed : why };
  });
}

function dated(schedule, steps) {
  const zone = schedule.calendar.timezone;
  return {
    xText: (value) => onTheWall(value, zone),
    xTicks: (most) => {
      const count = Math.min(most, steps.length);
      const each = Array.from({ length: count }, (_, i) => steps[Math.round((i * (steps.length - 1)) / Math.max(count - 1, 1))].x);
      return apart([...new Set(each)], most).map((value) => ({ value, text: day(value, zone) }));
    },
  };
}

/** Of moments those that have room beside each other: nights need not be evenly spaced. */
function apart(moments, most) {
  const room = (moments.at(-1) - moments[0]) / (most + 0.5), found = [];
  for (const moment of moments) if (!found.length || moment - found.at(-1) >= room) found.push(moment);
  return found;
}

function day(at, zone) {
  return new Date(at).toLocaleDateString(undefined, { month: "short", day: "numeric", ...zoned(zone) });
}

function zoned(zone) {
  try {
    new Intl.DateTimeFormat(undefined, { timeZone: zone });
    return { timeZone: zone };
  } catch {
    return {}; // a zone that this browser has not heard of
  }
}

// --- in words ---------------------------------------------------------------------------------

const link = (job, text) => h("a", { href: `/jobs/${encodeURIComponent(job)}` }, text);

/** What was remarkable; it explains the marks of the line as well. */
function said(schedule, past, hasMore) {
  const zone = schedule.calendar.timezone, told = past.filter((one) => one.report?.comparison);
  const share = (one) => one.report.comparison.tonight.hypervolume;
  const lines = [];
  if (told.length > 1) {
    const best = told.reduce((most, one) => (share(one) > share(most) ? one : most));
    const [last, first] = [told[0], told.at(-1)];
    lines.push(["Hypervolume ", link(last.job.id, digits(share(last))), ` on ${day(last.at, zone)}, after `, link(first.job.id, digits(share(first))), ` on ${day(first.at, zone)}`,
      best === last ? ": the best." : ["; the best ", link(best.job.id, digits(share(best))), ` on ${day(best.at, zone)}.`]]);
  }
  const worse = told.filter((one) => one.report.comparison.regressed);
  if (worse.length) {
    const named = worse.slice(0, NAMED).map((one, i) => [i ? ", " : "", link(one.job.id, day(one.at, zone)), ` (${signed(one.report.comparison.change)})`]);
    lines.push([h("span", { class: "problem" }, `${MARKS.worse.sign} ${worse.length} regressed: `), named, worse.length > NAMED ? `, and ${worse.length - NAMED} before.` : "."]);
  }
  const count = (name) => past.filter((one) => markOf(one) === name).length;
  const rest = Object.entries({ failed: "failed", skipped: "skipped", missed: "missed", waits: "not over yet", empty: "with nothing to compare" })
    .filter(([name]) => count(name)).map(([name, words]) => `${MARKS[name].sign} ${count(name)} ${words}`);
  if (rest.length) lines.push(`Without a front: ${rest.join(", ")}.`);
  if (hasMore && lines.length) lines.push(h("span", { class: "quiet" }, `Of the latest ${past.length} nights.`));
  return lines.map((one) => h("p", { class: "small" }, one));
}

const signed = (change) => `${Math.abs(change) < 0.0005 ? "±" : change > 0 ? "+" : "−"}${percent(Math.abs(change))}`;
const changeText = (found) => (found.regressed ? `${MARKS.worse.sign} ${signed(found.change)} regressed` : signed(found.change));

// --- as a table -------------------------------------------------------------------------------

function nights(schedule, past, caption) {
  const zone = schedule.calendar.timezone;
  return table([
    ["Night", (one) => [onTheWall(one.at, zone), one.by_hand ? h("div", {}, h("span", { class: "tag" }, "by hand")) : null], { class: "line" }],
    ["Decision", decision],
    ["Job", job, { class: "name" }],
    ["Hypervolume", (one) => (one.report?.comparison ? digits(one.report.comparison.tonight.hypervolume) : "–"), { class: "number" }],
    ["Change", change, { class: "line" }],
    ["What it came to", cameTo, { class: "long" }],
  ], past, { caption, stacks: true });
}

function decision(tick) {
  const sign = MARKS[tick.decision]?.sign;
  return [sign ? h("strong", {}, `${sign} ${tick.decision}`) : tick.decision, tick.note && tick.note !== "on time" ? h("div", { class: "quiet small" }, tick.note) : null];
}

function job(tick) {
  if (tick.job === null) return "–";
  return [h("a", { href: `/jobs/${encodeURIComponent(tick.job.id)}`, id: `night-${tick.job.id}` }, tick.job.name), " ", h("span", { class: `state ${tick.job.state}` }, tick.job.state.toLowerCase())];
}

/** How a night moved the hypervolume, as an element or text. */
export function change(tick) {
  const found = tick.report?.comparison;
  if (!found || found.change === null) return "–";
  return found.regressed ? h("strong", { class: "worse" }, changeText(found)) : changeText(found);
}

/** A link to the comparison with the night before; null: there was none. */
export function against(tick, id) {
  const last = tick.report?.comparison?.last;
  if (!last || !tick.job) return null;
  return h("a", { href: `/compare?job=${encodeURIComponent(tick.job.id)}&job=${encodeURIComponent(last.job)}`, class: "small", id: `${id}-${tick.job.id}` }, "Compare with the night before");
}

function cameTo(tick) {
  if (tick.report === null) return "";
  const link = against(tick, "against");
  return [h("span", { class: "small" }, tick.report.words), link ? h("div", {}, link) : null];
}
