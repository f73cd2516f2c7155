// Plays a judged sequence: frames with the boxes of truth, teacher and trial, and their overlaps.

import { h, put, s } from "./dom.js";
import { digits } from "./format.js";

const RATE = 25; // frames a second, where the video does not say
const READY = 24; // pictures that are kept decoded
const WIDEST = 720; // CSS pixels of the screen
const SPEEDS = [0.1, 0.25, 0.5, 1, 2];
// Told apart by how the line is drawn, too. Widths are in CSS pixels.
const LINES = [
  { name: "Ground truth", colour: "--text", width: 1.5, dash: [] },
  { name: "Teacher", colour: "--teacher", width: 2.5, dash: [7, 5] },
  { name: "This trial", colour: "--front", width: 4, dash: [] },
];

/** Puts a player of `found` (a replay) and its `bytes` (the JPEGs) into `place`; ends with `signal`. */
export function player(place, found, bytes, signal) {
  const pictures = decoded(found.lengths, bytes, signal);
  const canvas = h("canvas", { tabindex: "0", role: "img" });
  const button = h("button", { type: "button", class: "main", onclick: () => turn() }, "Play");
  const scrubber = h("input", { id: "replay-frame", type: "range", min: 0, max: found.numbers.length - 1, value: 0, step: 1, oninput: () => { stop(); go(Number(scrubber.value)); } });
  const speed = h("select", { id: "replay-speed" }, SPEEDS.map((one) => h("option", { value: one, selected: one === 1 }, `${one} ×`)));
  const told = h("p", {}), chart = overlapChart(found, place.clientWidth, (at) => { stop(); go(at); });
  scrubber.style.flex = "1 1 12rem";
  const screen = h("div", { class: "picture" }, canvas);
  const hands = h("div", { class: "row" }, button,
    h("button", { type: "button", "aria-label": "One frame back", onclick: () => step(-1) }, "◀"),
    h("button", { type: "button", "aria-label": "One frame on", onclick: () => step(1) }, "▶"),
    h("label", { for: "replay-frame" }, "Frame"), scrubber, h("label", { for: "replay-speed" }, "Speed"), speed);
  screen.style.maxWidth = chart.picture.style.maxWidth = hands.style.maxWidth = `${WIDEST}px`;
  const box = h("div", { onkeydown: keyed }, legend(), screen, hands, told, h("h3", {}, "Overlap over time"), chart.picture, about(found));
  let at = 0, shown = null, timer = null;
  put(place, box);
  const redraw = () => shown && paint(canvas, found, shown.picture, shown.at);
  resized(screen, redraw, signal);
  window.addEventListener("themechange", redraw, { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });
  signal.addEventListener("abort", stop, { once: true });
  go(0);

  async function go(to) {
    at = Math.max(0, Math.min(to, found.numbers.length - 1));
    const mine = at, picture = await pictures.get(mine);
    if (picture === null || signal.aborted || mine !== at) return;
    shown = { picture, at: mine };
    redraw();
    const text = spoken(found, mine);
    scrubber.value = mine;
    scrubber.setAttribute("aria-valuetext", `Frame ${found.numbers[mine]} of ${found.total}`);
    put(told, text);
    chart.mark(mine);
    if (timer === null) canvas.setAttribute("aria-label", `${found.sequence}, boxes of ground truth, teacher and this trial. ${text} Space plays, arrow keys step.`);
  }

  function turn() {
    if (timer !== null) return stop();
    if (at === found.numbers.length - 1) at = -1;
    put(button, "Pause");
    timer = 0;
    next();
  }

  async function next() {
    const began = performance.now(), pace = (1000 * found.every) / (found.rate ?? RATE) / Number(speed.value);
    await go(at + 1);
    if (timer === null) return;
    if (at >= found.numbers.length - 1) return stop();
    timer = setTimeout(next, Math.max(0, pace - (performance.now() - began)));
  }

  function stop() {
    if (timer === null) return;
    clearTimeout(timer);
    timer = null;
    put(button, "Play");
    if (!signal.aborted) go(at);
  }

  function step(by) {
    stop();
    go(at + by);
  }

  function keyed(event) {
    const own = event.target.closest("input, select, button");
    if (own || event.altKey || event.ctrlKey || event.metaKey) return;
    const does = { " ": turn, ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => step(-Infinity), End: () => step(Infinity) }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}

/** Pictures by number, decoded when they are asked for, those behind them soon after. */
function decoded(lengths, bytes, signal) {
  const starts = [0];
  for (const length of lengths) starts.push(starts.at(-1) + length);
  const kept = new Map();
  const one = (i) => {
    const known = kept.get(i) ?? createImageBitmap(new Blob([bytes.slice(starts[i], starts[i + 1])], { type: "image/jpeg" })).catch(() => null);
    kept.delete(i);
    kept.set(i, known);
    return known;
  };
  const drop = (i) => { kept.get(i).then((picture) => picture?.close()); kept.delete(i); };
  signal.addEventListener("abort", () => [...kept.keys()].forEach(drop), { once: true });
  return { get(i) {
    for (let ahead = Math.min(i + 3, lengths.length - 1); ahead > i; ahead -= 1) one(ahead);
    const found = one(i);
    while (kept.size > READY) drop(kept.keys().next().value);
    return found;
  } };
}

function resized(element, redraw, signal) {
  const size = new ResizeObserver(redraw);
  size.observe(element);
  signal.addEventListener("abort", () => size.disconnect(), { once: true });
}

function paint(canvas, found, picture, at) {
  const wide = canvas.clientWidth, [width, height] = found.video_size;
  if (!wide) return;
  const dense = window.devicePixelRatio || 1, scale = wide / width;
  canvas.width = Math.round(wide * dense);
  canvas.height = Math.round(height * scale * dense);
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  pen.scale(dense, dense);
  const colours = getComputedStyle(document.documentElement);
  [found.candidate.boxes[at], found.teacher.boxes[at], found.truth[at]].forEach((box, i) => {
    if (box) outline(pen, box.map((value) => value * scale), LINES[2 - i], colours);
  });
}

/** A box, on a rim of the ground's colour: so that it can be seen on any picture. */
function outline(pen, [x, y, w, h], line, colours) {
  pen.setLineDash([]);
  pen.lineWidth = line.width + 2;
  pen.strokeStyle = colours.getPropertyValue("--ground");
  pen.strokeRect(x, y, w, h);
  pen.setLineDash(line.dash);
  pen.lineWidth = line.width;
  pen.strokeStyle = colours.getPropertyValue(line.colour);
  pen.strokeRect(x, y, w, h);
}

const stroke = (line, given) => s("path", { fill: "none", stroke: `var(${line.colour})`, "stroke-width": line.width, "stroke-dasharray": line.dash.join(" ") || null, ...given });

function legend() {
  return h("ul", { class: "legend" }, LINES.map((line) => {
    const sample = s("svg", { viewBox: "0 0 40 12", "aria-hidden": "true" }, stroke(line, { d: "M0 6H40" }));
    sample.style.width = "40px";
    return h("li", {}, sample, ` ${line.name}`);
  }));
}

function spoken(found, at) {
  const said = (value) => (value === null ? "not counted" : digits(value));
  const absent = found.present[at] ? "" : " The target cannot be seen.";
  return `Frame ${found.numbers[at]} of ${found.total}. Overlap with the truth: this trial ${said(found.candidate.overlap[at])}, teacher ${said(found.teacher.overlap[at])}.${absent}`;
}

function about(found) {
  const every = found.every > 1 ? ` Of its ${found.total} frames, one in ${found.every} is shown.` : "";
  const again = ["candidate", "teacher"].filter((who) => !found[who].as_judged).map((who) => (who === "teacher" ? "the teacher" : "this trial"));
  const tracked = again.length ? ` The boxes of ${again.join(" and ")} were not kept: it was tracked again for this.` : "";
  const attributes = found.attributes.length ? ` Attributes: ${found.attributes.join(", ").replaceAll("_", " ")}.` : "";
  return h("p", { class: "quiet" }, `Overlaps by the rules ${found.rules}.${attributes}${every}${tracked}`);
}

const HIGH = 120, LEFT = 30, TOP = 8, BOTTOM = 18;

/** Overlaps of both over the frames, as wide as there is room; `onPick(at)` hears of a click. */
function overlapChart(found, room, onPick) {
  const wide = Math.min(Math.max(room, 240), WIDEST) - 2;
  const last = Math.max(found.numbers.length - 1, 1);
  const x = (at) => LEFT + (at / last) * (wide - LEFT - 8), y = (value) => TOP + (1 - value) * (HIGH - TOP - BOTTOM);
  const moment = s("path", { stroke: "var(--accent)", "stroke-width": 2, d: "" });
  const grid = [0, 0.5, 1].flatMap((value) => [
    s("path", { d: `M${LEFT} ${y(value)}H${wide - 8}`, stroke: "var(--line)" }),
    s("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end", fill: "var(--quiet)", "font-size": 11 }, String(value))]);
  const frames = [0, last].map((at, i) => s("text", { x: x(at), y: HIGH - 4, "text-anchor": i ? "end" : "start", fill: "var(--quiet)", "font-size": 11 }, `frame ${found.numbers[Math.min(at, found.numbers.length - 1)]}`));
  const mean = (side) => (side.average_overlap === null ? "unknown" : digits(side.average_overlap));
  const label = `Overlap with the truth over the frames. On average this trial has ${mean(found.candidate)}, the teacher ${mean(found.teacher)}.`;
  const drawn = s("svg", { viewBox: `0 0 ${wide} ${HIGH}`, role: "img", "aria-label": label }, grid, frames,
    stroke(LINES[2], { d: path(found.candidate.overlap, x, y), "stroke-width": 2.5, "stroke-linejoin": "round" }),
    stroke(LINES[1], { d: path(found.teacher.overlap, x, y), "stroke-width": 2, "stroke-linejoin": "round" }), moment);
  const pick = (event) => {
    const box = drawn.getBoundingClientRect(), along = ((event.clientX - box.left) / box.width) * wide;
    onPick(Math.round(((along - LEFT) / (wide - LEFT - 8)) * last));
  };
  let held = false; // by the mouse, or by a finger that goes sideways
  drawn.style.touchAction = "pan-y";
  drawn.addEventListener("click", pick);
  drawn.addEventListener("pointerdown", (event) => { held = true; drawn.setPointerCapture(event.pointerId); });
  drawn.addEventListener("pointermove", (event) => held && pick(event));
  for (const kind of ["pointerup", "pointercancel"]) drawn.addEventListener(kind, () => { held = false; });
  return {
    picture: h("div", { class: "picture" }, drawn),
    mark: (at) => moment.setAttribute("d", `M${x(at)} ${TOP}V${HIGH - BOTTOM}`),
  };
}

/** A line with a gap where there is no value. */
function path(values, x, y) {
  return values.map((value, at) => (value === null ? "" : `${at === 0 || values[at - 1] === null ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)).join("");
}
