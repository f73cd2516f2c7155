// How a front grew: its hypervolume over trials, or over time.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { percent, seconds } from "./format.js";
import { stepLine } from "./lines.js";
import { read as readState, write as writeState } from "./state.js";

/** A line in `place`; `read()` brings it up to date. */
export function growthOf(place, path, job, signal) {
  const picture = h("div", {});
  const said = h("p", { class: "quiet" });
  const over = h("select", { id: "growth-over", onchange: () => { writeState({ over: over.value === "trials" ? null : over.value }); draw(); } },
    h("option", { value: "trials" }, "trials"), h("option", { value: "time" }, "time"));
  over.value = readState("over", "trials") === "time" ? "time" : "trials";
  put(place, h("h2", {}, "Hypervolume"), h("div", { class: "row" }, h("label", { for: "growth-over" }, "Over"), over), picture, said);
  const open = (step) => location.assign(`${path}/trials/${step.number}`);
  const line = stepLine(picture, { label: "Hypervolume", steps: [], yText: percent, height: 220, onOpen: open });
  signal.addEventListener("abort", () => line.end(), { once: true });
  let growth = null;

  function draw() {
    if (growth === null) return;
    const began = new Date(growth.began_at ?? growth.until).getTime();
    const after = (at) => (new Date(at).getTime() - began) / 1000;
    const byTime = over.value === "time";
    const steps = growth.steps.map((step) => ({
      x: byTime ? after(step.at) : step.number + 1, y: step.hypervolume, number: step.number, note: `Trial ${step.number} moved it`,
    }));
    steps.sort((one, other) => one.x - other.x);
    if (!byTime) upwards(steps);
    line.set({
      steps, until: byTime ? after(growth.until) : growth.trials, from: 0, whole: !byTime,
      xText: byTime ? (value) => seconds(Math.max(0, value)) : (value) => String(Math.round(value)),
    });
    put(said, growth.steps.length ? `${percent(growth.last)} of a perfect accuracy at no cost, after ${growth.trials} trials; it moved ${growth.steps.length} times.` : "The front has no trial yet.");
  }

  return {
    async read() {
      growth = await get(`${path}/hypervolume`, {}, { signal });
      draw();
    },
  };
}

/** Trials end in another order than they begin; what was reached is never lost. */
function upwards(steps) {
  let most = 0;
  for (const step of steps) most = step.y = Math.max(most, step.y);
}
