// What a search would meet, asked for while the form is filled in: the last answer wins.

import { ask } from "./api.js";
import { h, put, table } from "./dom.js";
import { digits, seconds, told } from "./format.js";
import { labelOf, many } from "./form_metrics.js";

const QUIET = 600; // milliseconds without a change, before it is asked for
const AGAIN = 4000; // before it is asked for once more, where something was away

/**
 * A panel and its refresh: {element, ask(document)}. `heard(preview, problem)` is told what came;
 * `known`: metrics() of form_metrics.js.
 */
export function previewOf(known, heard) {
  const state = h("p", { class: "quiet small", role: "status" }, "Say a teacher to see what its search would meet.");
  const wrong = h("p", { class: "problem" }), place = h("div", {});
  const element = h("section", { class: "card preview", "aria-labelledby": "preview-title" },
    h("h2", { id: "preview-title" }, "What it would meet"), state, wrong, place);
  let timer = null, running = null;

  function request(document) {
    clearTimeout(timer);
    running?.abort();
    if (!document.spec.teacher) return;
    element.classList.add("stale");
    timer = setTimeout(() => look(document), QUIET);
  }

  async function look(document) {
    const mine = (running = new AbortController());
    put(state, "looking …");
    try {
      const found = await preview(document, mine.signal);
      if (running !== mine) return;
      put(state, !found.preview && place.firstChild ? "Below, what it was before the last change:" : "");
      put(wrong, found.problem ? found.problem.message : "");
      if (found.preview) put(place, facts(known, found.preview, document.spec));
      element.classList.toggle("stale", !found.preview);
      heard(found.preview, found.problem);
    } catch (error) {
      if (mine.signal.aborted || running !== mine) return;
      put(state, `${error.message}; it is asked again by itself.`);
      if (error.status !== 401) timer = setTimeout(() => look(document), (error.retryAfter ?? 0) * 1000 || AGAIN);
    }
  }

  return { element, ask: request, stop: () => { clearTimeout(timer); running?.abort(); } };
}

const post = async (document, signal) => (await ask("POST", "/jobs/preview", { json: document, signal })).json();
const isRefusal = (error) => error.status === 422 || error.status === 400;

/** What is known of a document: of one with a limit that cannot be held, also what can be. */
async function preview(document, signal) {
  const named = { ...document, spec: { ...document.spec, name: document.spec.name || "preview" } };
  try {
    return { preview: await post(named, signal), problem: null };
  } catch (problem) {
    if (!isRefusal(problem)) throw problem;
    if (problem.code !== "unreachable_limit") return { preview: null, problem };
    const { limits, ...spec } = named.spec;
    return { preview: { ...(await post({ ...named, spec }, signal)), limits: null, asked: limits }, problem };
  }
}

function facts(known, found, spec) {
  const cuts = [found.layers_free ? `${found.layers_free} layers that may go` : "", `${found.widths_free} widths`];
  return [
    h("dl", { class: "facts" },
      h("dt", {}, "Candidates"), h("dd", {}, `${many(found.size)} (${cuts.filter(Boolean).join(", ")})`),
      h("dt", {}, "Tried"), h("dd", {}, tried(found)),
      h("dt", {}, "Tracker"), h("dd", {}, found.family),
      h("dt", {}, "Time"), h("dd", {}, found.seconds === null ? "No earlier search of this family tells how long it takes." : `about ${seconds(found.seconds)}, judging by earlier searches`)),
    limits(known, found),
    h("h3", {}, "What costs it can reach"),
    table([
      ["Cost", (row) => labelOf(known, row.metric)],
      ["Smallest", (row) => told(known, row.metric, row.smallest), { class: "number" }],
      ["Teacher", (row) => told(known, row.metric, row.teacher), { class: "number" }],
    ], found.costs, { caption: "Costs from the smallest candidate to the teacher" }),
    teacher(known, found.teacher, spec.teacher),
  ];
}

/** How many candidates the budget lets be tried, and how many of them are named. */
function tried({ trials, asked, first }) {
  const named = first > trials ? trials : first;
  if (trials === 1) return `one candidate${named ? ", the one that is named to be first" : ""}${asked > 1 ? `; up to ${asked} where some break a limit` : ""}`;
  return `up to ${trials} candidates${named ? `, ${named} of them named to be first` : ""}`;
}

function limits(known, found) {
  if (!found.limits?.length) return null;
  const said = found.limits.map((one) => {
    const [words, kind] = verdict(known, one, found.teacher);
    return h("li", { class: kind }, h("code", {}, one.limit), ` ${words}`);
  });
  return [h("h3", {}, "Can its limits be held?"), h("ul", {}, said)];
}

/** Whether a limit can be held, in words and a class. */
export function verdict(known, seen, teacher) {
  if (seen.satisfiable === true) return [`✓ can be held: ${seen.note}`, "good"];
  if (seen.satisfiable === false) return [`✗ cannot be held: ${seen.note}`, "problem"];
  const [, name, way, bound] = /^([\w.]+)(<=|>=)(.*)$/.exec(seen.limit) ?? [];
  const now = teacher[name];
  if (now === undefined) return [`? ${seen.note}`, "quiet"];
  const figure = Number(bound), holds = way === "<=" ? now <= figure : now >= figure;
  if (holds) return [`✓ the teacher holds it already: it was measured with ${told(known, name, now)}`, "good"];
  if (way === "<=") return [`? the teacher has ${told(known, name, now)}: ${Math.round(100 * (1 - figure / now))} % less is wanted; ${seen.note}`, "quiet"];
  return [`? the teacher has ${told(known, name, now)}; ${seen.note}`, "quiet"];
}

function teacher(known, figures, name) {
  const rows = Object.entries(figures);
  if (!rows.length) return h("p", { class: "quiet small" }, `Nothing was measured of ${name} yet: the search begins with that.`);
  return h("details", { class: "fold" }, h("summary", {}, "The teacher, as an earlier job measured it"),
    h("dl", { class: "facts small" }, rows.map(([metric, value]) => [
      h("dt", {}, labelOf(known, metric)), h("dd", {}, known.has(metric) ? told(known, metric, value) : digits(value)),
    ])));
}
