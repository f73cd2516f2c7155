// What each layer costs, of the teacher and of what is left: MACs beside parameters, or beside where the milliseconds go.

import { bar } from "./bars.js";
import { h, put, table } from "./dom.js";
import { digits, figure, percent } from "./format.js";
import { read, write } from "./state.js";

export const count = (value) => (value < 1000 ? String(value) : figure(value));

const PARAMETERS = "parameters";
const HOW = {
  onnx_runtime: "by ONNX Runtime's own profiler",
  eager: "by a clock that is read before and after each module",
};

/** Costs by layer: those inside a layer that may be left out together, the others by two steps of their path. */
export function costs(cut) {
  const shown = h("div", {});
  const measured = (cut.spreads ?? []).filter((one) => one.left || one.teacher);
  const asked = read("beside") ?? measured.findLast((one) => one.left)?.probe ?? PARAMETERS;
  const choice = h("select", { id: "beside" }, h("option", { value: PARAMETERS }, "parameters"),
    measured.map((one) => h("option", { value: one.probe }, `milliseconds (${one.probe})`)));
  choice.value = asked;
  if (choice.selectedIndex < 0) choice.value = PARAMETERS;
  const draw = () => put(shown, tables(cut, measured.find((one) => one.probe === choice.value)));
  choice.addEventListener("change", () => { write({ beside: choice.value }); draw(); });
  draw();
  return h("div", {}, h("h3", {}, "What each layer costs"),
    h("div", { class: "row" }, h("label", { for: "beside" }, "MACs beside "), choice), missing(cut), shown);
}

/** Why there are no milliseconds of a trial that was timed. */
function missing(cut) {
  const without = (cut.spreads ?? []).filter((one) => !one.left);
  const quietly = without.filter((one) => !one.why).map((one) => one.probe);
  const said = without.filter((one) => one.why).map((one) => `Where its milliseconds go with ${one.probe} could not be measured: ${one.why}`);
  if (quietly.length) said.push(`Where its milliseconds go with ${quietly.join(" and ")} was not measured: only trials that are judged to the end are looked at, and older versions did not look.`);
  return said.map((words) => h("p", { class: "quiet" }, words));
}

function tables(cut, spread) {
  const groups = new Map();
  for (const part of cut.parts) {
    const layer = cut.layers.find((one) => part.path === one.path || part.path.startsWith(`${one.path}.`));
    const name = layer?.path ?? (part.path.split(".").slice(0, 2).join(".") || "");
    const group = groups.get(name) ?? { path: name, gone: layer && !layer.kept, costs: {} };
    for (const [what, [before, left]] of Object.entries(costsOf(part, spread))) {
      const sums = group.costs[what] ?? [0, 0];
      group.costs[what] = [sum(sums[0], before), sum(sums[1], left)];
    }
    groups.set(name, group);
  }
  const rows = [...groups.values()].filter(says);
  const parts = cut.parts.map((part) => ({ ...part, costs: costsOf(part, spread) })).filter((part) => says(part) || part.parameters);
  const what = spread ? "milliseconds" : "parameters";
  const [layer, ...columns] = costColumns(parts, spread);
  return [
    h("p", { class: "quiet" }, "The outline is the teacher's, what remains is filled.", spread ? [" ", told(cut, spread)] : null),
    table(costColumns(rows, spread), rows, { caption: `MACs a frame and ${what} by layer` }),
    h("details", {}, h("summary", {}, `All ${parts.length} modules`),
      table([layer, ["Kind", (one) => one.kind], ...columns], parts, { caption: `MACs a frame and ${what} by module` })),
  ];
}

/** Some parts are there for their milliseconds alone. */
const says = (one) => Object.values(one.costs).flat().some((value) => value);

const sum = (one, other) => (one === null || other === null ? null : one + other);

/** [of the teacher, left] by what is counted; null: not measured. */
const costsOf = (part, spread) => ({
  macs: [part.macs, part.macs_left],
  ...(spread ? { ms: [part.ms[spread.probe], part.ms_left[spread.probe]] } : { parameters: [part.parameters, part.parameters_left] }),
});

/** How the milliseconds were measured, and what they do not say. */
function told(cut, spread) {
  const ms = (name) => [spread.left, spread.teacher].map((one) => (one ? `${digits(one[name])} ms` : null));
  const pair = ([mine, other]) => (mine && other ? `${mine} (teacher: ${other})` : mine ?? `${other} of the teacher`);
  const outside = cut.parts.find((part) => part.path === "");
  const share = [[outside?.ms_left, spread.left], [outside?.ms, spread.teacher]]
    .map(([own, one]) => (one ? percent((own?.[spread.probe] ?? 0) / (one.parts_ms || 1)) : null));
  const runs = (spread.left ?? spread.teacher).runs;
  return `Milliseconds are each module's own in a step with ${spread.probe}, ${HOW[spread.probe] ?? "as the probe tells modules apart"}: medians of ${runs} runs after the tracking. ` +
    `All parts together take ${pair(ms("parts_ms"))}; of that, ${pair(share)} is of no module. A whole step took ${pair(ms("profiled_ms"))} while it was looked at, and ${pair(ms("step_ms"))} when it was timed: looking takes time too, so small parts seem larger than they are. ` +
    `${spread.probe === "onnx_runtime" ? "What ONNX Runtime merges into a neighbour, such as a normalisation into its convolution, and what" : "What"} only the template needs has no time of its own.`;
}

function costColumns(rows, spread) {
  const columns = ["macs", spread ? "ms" : "parameters"].flatMap((what) => threeColumns(rows, what));
  const total = spread?.left?.parts_ms;
  if (total) columns.push(["Of its time", (one) => percent(one.costs.ms[1] / total), { class: "number" }]);
  return [["Layer", (one) => [one.path || "the tracker itself", one.gone ? " (left out)" : ""], { class: "path" }], ...columns];
}

const TITLES = { macs: "MACs a frame", parameters: "Parameters", ms: "Milliseconds" };

function threeColumns(rows, what) {
  const most = Math.max(...rows.flatMap((one) => one.costs[what].map((value) => value ?? 0))) || 1;
  const said = (value) => (value === null ? "–" : what === "ms" ? digits(value) : count(value));
  const words = (one) => {
    const [before, left] = one.costs[what];
    if (!before && !left) return what === "ms" && left === 0 && one.parameters ? "none of its own" : "–";
    return before === null ? said(left) : `${said(left)} of ${said(before)}`;
  };
  const removed = ([before, left]) => (before && left !== null ? percent(1 - left / before) : "–");
  return [
    [TITLES[what], ({ costs: { [what]: [before, left] } }) => bar([[(left ?? 0) / most, "--accent"]], { outline: before ? before / most : null, width: 110 })],
    ["Left", words, { class: "number" }],
    ["Removed", (one) => removed(one.costs[what]), { class: "number" }],
  ];
}
