// The trials of a front, and those that are selected, as tables.

import { file, get } from "./api.js";
import { h, put, save, table } from "./dom.js";
import { figure, range, unitOf } from "./format.js";
import { NAMES, icon } from "./plot_shapes.js";

const MOST = 100; // selected trials that are listed

function trialLink(path, number) {
  const link = h("a", { href: `${path}/trials/${number}` }, `Trial ${number}`);
  link.style.whiteSpace = "nowrap";
  return link;
}

/** What is said of the selected trials that are listed; as long as it is the same, so is the table. */
export function chosenKey(points, rows) {
  if (rows === null) return "";
  const said = (number) => {
    const row = points.row.get(number);
    return [number, points.kindAt(row), points.x[row], points.y[row]];
  };
  return `${rows.length} ${rows.slice(0, MOST).map(said).join(" ")}`;
}

/** The front's trials by x. */
export function frontTable(place, path, answer, points) {
  const { x, y, objectives, knee } = answer;
  const columns = [
    ["Trial", (point) => [trialLink(path, point.number), point.number === knee ? [" ", icon("knee"), "knee"] : null]],
    [y.label, (point) => range(point.y, point.yLow, point.yHigh, unitOf(y)), { class: "number" }],
    [x.label, (point) => range(point.x, point.xLow, point.xHigh, unitOf(x)), { class: "number" }],
    ...(points.front.some((point) => point.flag) ? [["Worth a look", (point) => point.flag]] : []),
    ["Tracker", (point) => (point.hasTracker ? files(path, point.number) : "–")],
  ];
  const own = objectives.length === 2 && objectives.includes(x.name) && objectives.includes(y.name);
  const note = own ? null : h("p", { class: "quiet" }, `This is the front over these two; the search itself goes by ${objectives.length} objectives: ${objectives.join(", ")}.`);
  put(place, h("h2", {}, `On the front: ${points.front.length}`), note,
    table(columns, points.front, { caption: `${y.label} with its interval where that is known`, empty: "No trial is complete and keeps all limits yet." }));
  low(place);
}

/** A long table scrolls in itself. */
function low(place) {
  const region = place.querySelector(".wide");
  if (region === null) return;
  region.style.maxHeight = "24rem";
  region.style.overflowY = "auto";
}

/** A button that becomes the tracker's files: links cannot carry a token. */
function files(path, number) {
  const base = `${path}/trials/${number}/artefacts`;
  const place = h("span", { class: "row" });
  const show = async () => {
    try {
      const found = await get(base, {}, { patient: false });
      const offer = (one) => h("button", { type: "button", title: one.about, onclick: () => hand(one.name) }, `${one.name} (${figure(one.bytes, "B")})`);
      put(place, found.items.length ? found.items.map(offer) : h("span", { class: "quiet" }, found.note || "No files are here."));
    } catch (error) {
      put(place, h("span", { class: "problem", role: "alert" }, error.message));
    }
  };
  const hand = async (name) => {
    try {
      save(await file(`${base}/${encodeURIComponent(name)}`), name);
    } catch (error) {
      put(place, h("span", { class: "problem", role: "alert" }, error.message));
    }
  };
  put(place, h("button", { type: "button", "aria-label": `Download the tracker of trial ${number}`, onclick: show }, "Download"));
  return place;
}

/** What is selected, numbers in their order; null: nothing is. */
export function chosenTable(place, path, answer, points, rows, leave) {
  if (rows === null) return void put(place);
  const { x, y } = answer;
  const at = (column) => (number) => figure(points[column][points.row.get(number)], unitOf(column === "x" ? x : y));
  const kind = (number) => points.kindAt(points.row.get(number));
  const columns = [
    ["Trial", (number) => trialLink(path, number)],
    ["Kind", (number) => [icon(kind(number)), ` ${NAMES[kind(number)]}`]],
    [y.label, at("y"), { class: "number" }], [x.label, at("x"), { class: "number" }],
  ];
  const more = rows.length > MOST ? `, the first ${MOST} by number` : "";
  put(place, h("h2", {}, `Selected: ${rows.length}`),
    h("div", { class: "row" }, h("button", { type: "button", onclick: leave }, "Select none")),
    table(columns, rows.slice(0, MOST), { caption: `Selected trials${more}` }));
  low(place);
}
