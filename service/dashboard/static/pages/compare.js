// Several searches' fronts in one plot, and who is ahead of whom, where.

import { get, list } from "../api.js";
import { h, put, table } from "../dom.js";
import { ago, digits, figure, percent } from "../format.js";
import { scatter } from "../plot.js";
import { Points } from "../plot_points.js";
import { icon } from "../plot_shapes.js";
import { unitOf } from "../plot_words.js";
import { read, readAll, write } from "../state.js";

const MOST = 6; // fronts in one comparison
const AGAIN = 5000; // milliseconds, while one of them goes on
const OVER = ["SUCCEEDED", "FAILED", "CANCELLED"];
const LETTERS = "ABCDEF";

/** Fills the page; goes on until `signal` aborts. */
export async function show(main, signal) {
  const places = Object.fromEntries(["choice", "plot", "said"].map((name) => [name, h("section", {})]));
  put(main, h("h1", {}, "Compare"), places.choice, places.plot, places.said);
  const known = await list("/jobs", { kind: "search" }, 200);
  const metrics = await list("/objectives");
  const view = { chosen: readAll("job").slice(0, MOST), plot: null, signal, metrics, known, places };
  await readToo(view);
  choice(view);
  await refresh(view);
}

/** A link may name jobs that are not among the newest. */
async function readToo(view) {
  for (const id of view.chosen.filter((id) => !view.known.some((job) => job.id === id))) {
    view.known.push(await get(`/jobs/${encodeURIComponent(id)}`));
  }
}

// --- what is compared ------------------------------------------------------------------------------

function choice(view) {
  const { chosen, known, metrics } = view;
  const others = known.filter((job) => !chosen.includes(job.id));
  const more = h("select", { id: "more", disabled: chosen.length >= MOST, onchange: (event) => add(event.target.value) },
    h("option", { value: "" }, chosen.length >= MOST ? `at most ${MOST}` : "Choose a search …"),
    others.map((job) => h("option", { value: job.id }, `${job.name}, ${job.state.toLowerCase()}, ${ago(job.created_at)}`)));
  const log = h("input", { id: "log", type: "checkbox", checked: read("log") === "1", onchange: (event) => changed({ log: event.target.checked }) });
  put(view.places.choice,
    h("ul", { class: "legend", "aria-label": "Compared" }, chosen.map((id, i) => compared(known.find((job) => job.id === id), i))),
    h("div", { class: "row" },
      h("span", {}, h("label", { for: "more" }, "Add a search"), more),
      axis("x", "Across", metrics.filter((one) => one.uses.includes("costs"))),
      axis("y", "Up", metrics.filter((one) => one.uses.includes("accuracy"))),
      h("label", { class: "check", for: "log" }, log, "Logarithmic cost")));

  function compared(job, i) {
    return h("li", {},
      icon("front", `--series-${i + 1}`), ` ${LETTERS[i]}: `,
      h("a", { href: `/jobs/${encodeURIComponent(job.id)}` }, job.name), ` (${job.tracker}) `,
      h("button", { type: "button", class: "plain", "aria-label": `Leave out ${job.name}`, onclick: () => chose(chosen.filter((id) => id !== job.id)) }, "×"));
  }

  function axis(name, title, offered) {
    const now = read(name);
    return h("span", {}, h("label", { for: name }, title),
      h("select", { id: name, onchange: (event) => changed({ [name]: event.target.value }) },
        h("option", { value: "" }, "As the searches had it"),
        offered.map((one) => h("option", { value: one.name, selected: one.name === now }, one.label))));
  }

  function add(id) {
    if (id) chose([...chosen, id]);
  }

  function chose(ids) {
    view.chosen = ids;
    write({ job: ids });
    choice(view);
    refresh(view);
  }

  function changed(words) {
    write(words);
    refresh(view);
  }
}

// --- what comes of it ------------------------------------------------------------------------------

async function refresh(view) {
  const { chosen, places, signal } = view;
  clearTimeout(view.timer);
  if (chosen.length < 2) {
    view.plot = null;
    put(places.plot);
    put(places.said, h("p", { class: "quiet" }, "Choose two searches or more."));
    return;
  }
  let found;
  try {
    found = await get("/jobs/compare", { jobs: chosen.join(","), ...axes() }, { signal });
  } catch (error) {
    if (signal.aborted) return;
    view.plot = null;
    put(places.plot);
    put(places.said, h("p", { class: "problem", role: "alert" }, error.message));
    return;
  }
  if (chosen !== view.chosen) return; // another choice was quicker
  drawn(view, found);
  tables(view, found);
  const goes = chosen.some((id) => !OVER.includes(view.known.find((job) => job.id === id)?.state));
  if (goes) view.timer = setTimeout(() => signal.aborted || refresh(view), AGAIN);
}

/** The first metric is the one that is driven up. One alone is completed by the searches' own. */
function axes() {
  const [x, y] = [read("x"), read("y")];
  if (!x && !y) return {};
  return { x: x || "macs_frame", y: y || "average_overlap" };
}

function drawn(view, found) {
  const [up, across] = found.metrics;
  const series = found.fronts.map((front, i) => ({
    name: front.name, tag: LETTERS[i], colour: `--series-${i + 1}`, points: Points.ofFront(front, across.name, up.name),
  }));
  const marks = found.fronts.flatMap((front, i) =>
    across.name in front.teacher && up.name in front.teacher
      ? [{ kind: "teacher", name: `Teacher of ${LETTERS[i]}`, x: front.teacher[across.name], y: front.teacher[up.name] }] : []);
  const now = { x: { metric: across, log: read("log") === "1" }, y: { metric: up, log: false }, series, marks, limits: bounds(found) };
  if (view.plot) view.plot.set(now);
  else view.plot = scatter(view.places.plot, { name: "compared", height: 460, signal: view.signal, onOpen: (i, number) => open(found, i, number), ...now });
}

function open(found, i, number) {
  location.assign(`/jobs/${encodeURIComponent(found.fronts[i].job)}/trials/${number}`);
}

function bounds(found) {
  const axis = { [found.metrics[1].name]: "x", [found.metrics[0].name]: "y" };
  return found.fronts.flatMap((front) => front.limits).filter((limit) => limit.metric in axis)
    .map((limit) => ({ ...limit, axis: axis[limit.metric] }));
}

function tables({ places }, found) {
  const named = Object.fromEntries(found.fronts.map((front, i) => [front.job, `${LETTERS[i]}: ${front.name}`]));
  const least = Math.max(...found.fronts.map((front) => front.hypervolume));
  const number = { class: "number" };
  put(places.said,
    h("h2", {}, "Hypervolume"),
    table([
      ["search", (front) => named[front.job]],
      ["points", (front) => front.points.length, number],
      ["hypervolume", (front) => h("span", {}, percent(front.hypervolume), front.hypervolume === least ? " (the most)" : ""), number],
      ["best", (front) => best(front, found), number],
      ["cheapest", (front) => cheapest(front, found), number],
    ], found.fronts, { caption: "All from one reference: the worst of the searches' own" }),
    h("h2", {}, "Who is ahead of whom"),
    table([
      ["search", (pair) => named[pair.job]],
      ["against", (pair) => named[pair.other]],
      ["lacks", (pair) => lacks(pair.epsilon), number],
      ["its points that are dominated", (pair) => pair.dominated, number],
      ["that are its alone", (pair) => pair.alone.length, number],
      ["shared", (pair) => pair.shared, number],
    ], found.pairs, { caption: "What a front lacks to be nowhere behind the other, as a share of both fronts' range" }),
    found.leads.length ? leads(found, named) : null);
}

function lacks(epsilon) {
  if (epsilon === null) return "–";
  return epsilon <= 0 ? "nothing" : digits(epsilon);
}

function best(front, found) {
  const up = found.metrics[0];
  const values = front.points.map((point) => point.figures[up.name]);
  return values.length ? figure(Math[up.better === "higher" ? "max" : "min"](...values), unitOf(up)) : "–";
}

function cheapest(front, found) {
  const across = found.metrics[1];
  return front.points.length ? figure(Math.min(...front.points.map((point) => point.figures[across.name])), unitOf(across)) : "–";
}

function leads(found, named) {
  const across = found.metrics[1];
  const unit = unitOf(across);
  return [
    h("h2", {}, "Who leads where"),
    table([
      [`${across.label} from`, (lead) => figure(lead.start, unit), { class: "number" }],
      ["to", (lead) => (lead.end === null ? "on" : figure(lead.end, unit)), { class: "number" }],
      ["the best accuracy for that cost", (lead) => lead.jobs.map((job) => named[job]).join("; ") || "nobody yet"],
    ], found.leads, { caption: "Ranges of the cost, and who has the best there" }),
  ];
}
