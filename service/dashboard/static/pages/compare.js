// Several searches' fronts in one plot, and who is ahead of whom, where.

import { get, list } from "../api.js";
import { differences } from "../comparable.js";
import { h, put, table } from "../dom.js";
import { ago, digits, figure, percent, unitOf } from "../format.js";
import { scatter } from "../plot.js";
import { Points } from "../plot_points.js";
import { icon } from "../plot_shapes.js";
import { read, readAll, write } from "../state.js";

const MOST = 6; // fronts in one comparison
const AGAIN = 5000; // milliseconds, while one of them goes on
const OVER = ["SUCCEEDED", "FAILED", "CANCELLED"];
const LETTERS = "ABCDEF";
const [UP, ACROSS] = ["average_overlap", "macs_frame"]; // what every search knows

/** Fills the page; goes on until `signal` aborts. */
export async function show(main, signal) {
  const places = Object.fromEntries(["choice", "wrong", "plot", "said"].map((name) => [name, h("section", {})]));
  put(main, h("h1", {}, "Compare"), places.choice, places.wrong, places.plot, places.said);
  const known = await list("/jobs", { kind: "search" }, 200);
  const metrics = await list("/objectives");
  const view = { chosen: readAll("job").slice(0, MOST), plot: null, signal, metrics, known, places };
  await readToo(view);
  choice(view);
  await refresh(view);
}

/** A link may name jobs that are not among the newest, and such as are gone. */
async function readToo(view) {
  const gone = [];
  for (const id of view.chosen.filter((id) => !view.known.some((job) => job.id === id))) {
    try {
      view.known.push(await get(`/jobs/${encodeURIComponent(id)}`));
    } catch (error) {
      if (error.status !== 404) throw error;
      gone.push(id);
    }
  }
  if (!gone.length) return;
  view.chosen = view.chosen.filter((id) => !gone.includes(id));
  view.gone = `Left out, as there is no such search that you may see: ${gone.join(", ")}.`;
}

// --- what is compared ------------------------------------------------------------------------------

function choice(view) {
  const { chosen, known, metrics } = view;
  const others = known.filter((job) => !chosen.includes(job.id));
  const more = h("select", { id: "more", disabled: chosen.length >= MOST, onchange: (event) => add(event.target.value) },
    h("option", { value: "" }, chosen.length >= MOST ? `at most ${MOST}` : "Choose a search …"),
    others.map((job) => h("option", { value: job.id }, `${short(job.name)}, ${job.state.toLowerCase()}, ${ago(job.created_at)}`)));
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
      h("a", { href: `/jobs/${encodeURIComponent(job.id)}` }, job.name), ` (${job.tracker}${job.archived_at ? ", archived" : ""}) `,
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

const short = (name) => (name.length > 50 ? `${name.slice(0, 48)} …` : name);

// --- what comes of it ------------------------------------------------------------------------------

async function refresh(view) {
  const { chosen, places, signal } = view;
  clearTimeout(view.timer);
  put(places.wrong, view.gone ? h("p", { class: "problem", role: "alert" }, view.gone) : null);
  if (chosen.length < 2) {
    view.plot = null;
    put(places.plot);
    put(places.said, h("p", { class: "quiet" }, view.known.length < 2 ? ["There are not two searches yet. ", h("a", { href: "/jobs/new" }, "Begin one"), "."] : "Choose two searches or more."));
    return;
  }
  let found, differ = false, devices;
  try {
    [[found, differ], devices] = await Promise.all([compared(view), timedOn(view)]);
  } catch (error) {
    if (signal.aborted || chosen !== view.chosen) return;
    view.plot = null;
    put(places.plot);
    put(places.said, h("p", { class: "problem", role: "alert" }, error.message));
    return;
  }
  if (chosen !== view.chosen) return; // another choice was quicker
  drawn(view, found);
  tables(view, found, differ, devices);
  await goOn(view);
}

/** Searches that were over different objectives are shown over what all searches know. */
async function compared({ chosen, signal }) {
  const ask = (said) => get("/jobs/compare", { jobs: chosen.join(","), ...said }, { signal });
  try {
    return [await ask(axes()), false];
  } catch (error) {
    if (error.status !== 422 || read("x") || read("y")) throw error;
    return [await ask({ x: UP, y: ACROSS }), true];
  }
}

/** By job, the devices that it was timed on; one that is gone meanwhile was on none. */
async function timedOn({ chosen, signal }) {
  const one = async (job) => [job, (await get("/devices", { job }, { signal }).catch(missing)).items];
  return Object.fromEntries(await Promise.all(chosen.map(one)));
}

function missing(error) {
  if (error.status !== 404) throw error;
  return { items: [] };
}

/** Again soon, while one of them goes on. */
async function goOn(view) {
  const { chosen, known, signal } = view;
  const going = chosen.map((id) => known.findIndex((job) => job.id === id)).filter((at) => !OVER.includes(known[at].state));
  if (!going.length) return;
  view.timer = setTimeout(async () => {
    if (signal.aborted) return;
    for (const at of going) known[at] = await get(`/jobs/${encodeURIComponent(known[at].id)}`, {}, { signal }).catch(() => known[at]);
    if (!signal.aborted && chosen === view.chosen) refresh(view);
  }, AGAIN);
}

/** The service calls x what it names first, which is driven up here. One alone is completed by the usual. */
function axes() {
  const [across, up] = [read("x"), read("y")];
  return across || up ? { x: up || UP, y: across || ACROSS } : {};
}

function drawn(view, found) {
  const [up, across] = found.metrics;
  const series = found.fronts.map((front, i) => ({
    name: front.name, tag: LETTERS[i], colour: `--series-${i + 1}`, points: Points.ofFront(front, across.name, up.name),
  }));
  const marks = teachers(found).map((one) => ({ kind: "teacher", ...one }));
  const now = { x: { metric: across, log: read("log") === "1" }, y: { metric: up, log: false }, series, marks, limits: bounds(found) };
  const height = innerWidth < 640 ? 360 : 460;
  if (view.plot) view.plot.set(now);
  else view.plot = scatter(view.places.plot, { name: "compared", height, signal: view.signal, onOpen: (i, number) => open(found, i, number), ...now });
}

/** Searches often have the same teacher: those that lie on each other are one. */
function teachers(found) {
  const [up, across] = found.metrics, all = [];
  found.fronts.forEach(({ teacher }, i) => {
    if (!(across.name in teacher && up.name in teacher)) return;
    const [x, y] = [teacher[across.name], teacher[up.name]];
    const same = all.find((one) => one.x === x && one.y === y);
    if (same) same.letters.push(LETTERS[i]);
    else all.push({ letters: [LETTERS[i]], x, y });
  });
  const every = all.length === 1 && all[0].letters.length === found.fronts.length;
  return all.map(({ letters, x, y }) => ({ name: every ? "Teacher of all" : `Teacher of ${letters.join(", ")}`, x, y }));
}

function open(found, i, number) {
  location.assign(`/jobs/${encodeURIComponent(found.fronts[i].job)}/trials/${number}`);
}

function bounds(found) {
  const axis = { [found.metrics[1].name]: "x", [found.metrics[0].name]: "y" };
  return found.fronts.flatMap((front) => front.limits).filter((limit) => limit.metric in axis)
    .map((limit) => ({ ...limit, axis: axis[limit.metric] }))
    .filter((limit, i, all) => all.findIndex((one) => JSON.stringify(one) === JSON.stringify(limit)) === i); // often the same in all
}

function tables({ places, known, chosen }, found, differ, devices) {
  const named = Object.fromEntries(found.fronts.map((front, i) => [front.job, `${LETTERS[i]}: ${short(front.name)}`]));
  const least = Math.max(...found.fronts.map((front) => front.hypervolume));
  const number = { class: "number" };
  const name = { class: "name" };
  const stars = teachers(found), [up, across] = found.metrics;
  put(places.said,
    stars.length ? h("ul", { class: "legend", "aria-label": "Teachers" }, stars.map(({ name, x, y }) => h("li", {}, icon("teacher"), ` ${name}: ${figure(y, unitOf(up))} at ${figure(x, unitOf(across))}`))) : null,
    notes(found, differ),
    differences(chosen.map((id) => known.find((job) => job.id === id)), LETTERS, devices, found.metrics),
    h("h2", {}, "Hypervolume"),
    table([
      ["search", (front) => named[front.job], name],
      ["points", (front) => front.points.length, number],
      ["hypervolume", (front) => h("span", {}, percent(front.hypervolume), front.hypervolume === least ? " (the most)" : ""), number],
      ["best", (front) => best(front, found), number],
      ["cheapest", (front) => cheapest(front, found), number],
    ], found.fronts, { caption: "All from one reference: the worst of the searches' own", stacks: true }),
    h("h2", {}, "Who is ahead of whom"),
    table([
      ["search", (pair) => named[pair.job], name],
      ["against", (pair) => named[pair.other], name],
      ["lacks", (pair) => lacks(pair.epsilon), number],
      ["its points that are dominated", (pair) => pair.dominated, number],
      ["that are its alone", (pair) => pair.alone.length, number],
      ["shared", (pair) => pair.shared, number],
    ], found.pairs, { caption: "What a front lacks to be nowhere behind the other, as a share of both fronts' range", stacks: true }),
    found.leads.length ? leads(found, named) : null);
}

/** What the picture alone does not say. */
function notes(found, differ) {
  const empty = found.fronts.map((front, i) => (front.points.length ? null : LETTERS[i])).filter(Boolean);
  const said = [
    differ ? `They were searched for different objectives: shown are ${found.metrics[0].label.toLowerCase()} and ${found.metrics[1].label}. Choose other axes above.` : "",
    empty.length ? `${empty.join(", ")} ${empty.length > 1 ? "have" : "has"} no front yet.` : "",
    found.metrics.length > 2 ? `Hypervolume, and who is ahead, are counted over ${found.metrics.map((one) => one.label).join(", ")}; the plot shows the first two of them.` : "",
  ].filter(Boolean);
  return said.map((one) => h("p", {}, one));
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
      ["the best accuracy for that cost", (lead) => lead.jobs.map((job) => named[job]).join("; ") || "nobody yet", { class: "name" }],
    ], found.leads, { caption: "Ranges of the cost, and who has the best there", stacks: true }),
  ];
}
