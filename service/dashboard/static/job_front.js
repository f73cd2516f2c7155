// A job's front, large: axes, kinds and reference points to choose, the plot, its trials as lists.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { chosenKey, chosenTable, frontTable } from "./job_tables.js";
import { markFields, readMarks } from "./job_marks.js";
import { scatter } from "./plot.js";
import { within } from "./plot_hands.js";
import { Points } from "./plot_points.js";
import { NAMES, icon } from "./plot_shapes.js";
import { read as readState, write as writeState } from "./state.js";

const SHOWN = ["front", "dominated", "infeasible", "stopped", "running", "teacher"];
const MOST_IN_URL = 200; // trials that are named one by one; more are told by their rectangle

/** Asks for what is drawn first; frontOf hears whether it went well. */
export function firstPoints(path, signal) {
  const asked = get(`${path}/points`, { x: readState("x"), y: readState("y") }, { signal });
  asked.catch(() => {}); // a job that tunes a recipe has none
  return asked;
}

/** The front in `place`: `read()` brings it up to date, `onChoose(hear)` tells what is selected. */
export function frontOf(place, path, job, early, signal) {
  const points = new Points();
  const heard = [];
  const state = { x: readState("x"), y: readState("y"), since: null, answer: null, metrics: new Map(), chosen: null, turn: 0 };
  const page = skeleton(place);
  const controls = controlsOf(page, redraw);
  let plot = null;

  function reread() {
    state.since = null;
    state.turn += 1;
    plot?.choose(null);
    plot?.view(null);
    return read();
  }

  /** What is new; with other axes, all. */
  async function read() {
    const turn = state.turn;
    const params = { x: state.x, y: state.y, since: state.since };
    const answer = await (early ?? get(`${path}/points`, params, { signal })).catch(known);
    early = null;
    if (turn !== state.turn || signal.aborted) return state.since; // meanwhile other axes were chosen
    const first = state.since === null;
    points.take(answer);
    Object.assign(state, { since: answer.events, answer });
    for (const metric of answer.metrics) state.metrics.set(metric.name, metric);
    if (first || told(answer) !== state.told) begin(answer); // a job that begins gets to know its teacher
    else plot.update();
    controls.axes(state);
    controls.counts(points.counts());
    lists();
    return answer.events;
  }

  /** An address may name a metric that nobody measured: the job's own are shown then. */
  function known(error) {
    if (error.status !== 422 || (state.x === null && state.y === null)) throw error;
    controls.fault(error.message);
    Object.assign(state, { x: null, y: null });
    writeState({ x: null, y: null });
    return get(`${path}/points`, {}, { signal });
  }

  function begin(answer) {
    state.told = told(answer);
    const given = { ...drawn(answer), series: [{ name: answer.name, tag: null, colour: null, points }] };
    if (plot === null) {
      plot = scatter(page.plot, {
        ...given, name: job.id, height: innerWidth < 640 ? 360 : 520, signal, view: viewRead(),
        onOpen: (_, number) => location.assign(`${path}/trials/${number}`), onChoose: choose, onView: viewWrite,
      });
      requestAnimationFrame(() => restore());
    } else plot.set(given);
  }

  const drawn = (answer) => ({
    x: { metric: answer.x, log: controls.log("x") }, y: { metric: answer.y, log: controls.log("y") },
    limits: answer.limits.map((limit) => ({ ...limit, axis: limit.metric === answer.x.name ? "x" : "y" })),
    marks: [...teacherMark(answer), ...readMarks()], hidden: controls.hidden(),
  });

  function redraw(changed = {}) {
    if (state.answer) plot?.set({ ...drawn(state.answer), ...changed });
  }

  function choose(chosen, rectangle) {
    const numbers = [...(chosen?.[0] ?? [])].filter((number) => points.row.has(number)).sort((one, other) => one - other);
    state.chosen = numbers.length ? numbers : null;
    const many = rectangle === null ? null : boxed(rectangle);
    writeState({ select: numbers.length > MOST_IN_URL ? many : numbers.join(",") });
    lists();
    for (const hear of heard) hear(state.chosen);
  }

  /** What the address says is selected. */
  function restore() {
    const said = readState("select");
    if (said === null || signal.aborted) return;
    const found = said.startsWith("r:") ? within(plot.plot, unboxed(said))[0] : new Set(said.split(",").map(Number).filter((number) => points.row.has(number)));
    if (found.size) plot.choose([found], said.startsWith("r:") ? unboxed(said) : null);
  }

  let [listed, shown] = ["", ""];
  function lists() {
    const { answer } = state;
    const key = JSON.stringify([answer.front, answer.knee, answer.x.name, answer.y.name]);
    if (key !== listed) frontTable(page.front, path, answer, points);
    listed = key;
    const picked = `${answer.x.name} ${answer.y.name} ${chosenKey(points, state.chosen)}`;
    if (picked !== shown) chosenTable(page.chosen, path, answer, points, state.chosen, () => plot.choose(null));
    shown = picked;
  }

  function onChoose(hear) {
    heard.push(hear);
    if (state.chosen) hear(state.chosen); // the address had said so before anybody listened
  }

  controls.onAxis((axis, name) => {
    state[axis] = name;
    writeState({ [axis]: name });
    return reread().catch((error) => controls.fault(error.message));
  });
  return { read, onChoose };
}

function skeleton(place) {
  const page = Object.fromEntries(["fields", "plot", "marks", "chosen", "front"].map((name) => [name, h("div", {})]));
  put(place, h("h2", {}, "The front"), page.fields, page.plot, page.chosen, page.marks, page.front);
  return page;
}

/** What is drawn beside the trials. */
const told = ({ teacher, limits, name }) => JSON.stringify([teacher, limits, name]);

function teacherMark({ teacher, x, y }) {
  const [across, up] = [teacher[x.name], teacher[y.name]];
  return across === undefined || up === undefined ? [] : [{ kind: "teacher", name: "Teacher", x: across, y: up }];
}

// --- the view in the address --------------------------------------------------------------------

const numbers = (text) => text.split(",").map(Number);
const boxed = ({ x, y }) => `r:${[...x, ...y].map((value) => Number(value.toPrecision(6))).join(",")}`;
function unboxed(text) {
  const [left, right, low, high] = numbers(text.slice(2));
  return { x: [left, right], y: [low, high] };
}

function viewRead() {
  const said = numbers(readState("view", ""));
  if (said.length !== 4 || !said.every(Number.isFinite) || said[0] >= said[1] || said[2] >= said[3]) return null;
  return { x: said.slice(0, 2), y: said.slice(2) };
}

let writing = null;
function viewWrite(view) {
  clearTimeout(writing); // browsers refuse an address that changes a hundred times a second
  const said = view && [...view.x, ...view.y].map((value) => Number(value.toPrecision(6))).join(",");
  writing = setTimeout(() => writeState({ view: said }), 300);
}

// --- what can be chosen -------------------------------------------------------------------------

/** Axes, log, kinds, reference points; `redraw(changed)` when anything but the axes changes. */
function controlsOf(page, redraw) {
  const hidden = new Set((readState("hide") ?? "").split(",").filter((kind) => SHOWN.includes(kind)));
  const logs = new Set(["x", "y"].filter((axis) => (readState("log") ?? "").includes(axis)));
  const counts = new Map(SHOWN.map((kind) => [kind, h("span", { class: "quiet" })]));
  const said = h("p", { class: "problem", role: "alert" });
  let chosen = null; // called with an axis and a metric's name
  const select = (axis) => {
    const made = h("select", { id: `axis-${axis}`, onchange: (event) => { put(said); chosen(axis, event.target.value); } });
    made.style.maxWidth = "min(18rem, 52vw)";
    return made;
  };
  const selects = { x: select("x"), y: select("y") };
  const log = (axis) => h("label", { class: "check", for: `log-${axis}` },
    h("input", { type: "checkbox", id: `log-${axis}`, checked: logs.has(axis), onchange: (event) => {
      if (event.target.checked) logs.add(axis); else logs.delete(axis);
      writeState({ log: [...logs].sort().join("") });
      redraw({ view: null });
    } }), "log");
  const kind = (name) => h("label", { class: "check", for: `kind-${name}` },
    h("input", { type: "checkbox", id: `kind-${name}`, checked: !hidden.has(name), onchange: (event) => {
      if (event.target.checked) hidden.delete(name); else hidden.add(name);
      writeState({ hide: [...hidden].join(",") });
      redraw();
    } }), icon(name), NAMES[name], counts.get(name));
  put(page.fields,
    h("div", { class: "row" }, [["y", "Up"], ["x", "Across"]].map(([axis, words]) =>
      h("div", { class: "row" }, h("label", { for: `axis-${axis}` }, words), selects[axis], log(axis)))),
    h("div", { class: "row legend", role: "group", "aria-label": "Shown kinds of trials" }, SHOWN.map(kind)), said);
  markFields(page.marks, () => redraw());
  let listed = "";
  return {
    log: (axis) => logs.has(axis),
    hidden: () => new Set(hidden),
    onAxis: (act) => { chosen = act; },
    fault: (text) => put(said, text),
    axes({ metrics, answer }) {
      const key = `${[...metrics.keys()]} ${answer.x.name} ${answer.y.name}`;
      if (key === listed) return;
      listed = key;
      for (const axis of ["x", "y"]) {
        const other = axis === "x" ? "y" : "x";
        put(selects[axis], [...metrics.values()].filter((metric) => metric.name !== answer[other].name).map(({ name, label }) => h("option", { value: name }, label)));
        selects[axis].value = answer[axis].name;
      }
    },
    counts: (found) => counts.forEach((place, name) => { if (name in found) put(place, ` ${found[name].toLocaleString("en")}`); }),
  };
}
