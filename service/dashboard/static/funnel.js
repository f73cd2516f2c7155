// How candidates fared at the tests on their way: came, fell and why, and what each test cost.

import { bar } from "./bars.js";
import { h, table } from "./dom.js";
import { percent, seconds } from "./format.js";

const WORDS = {
  cost: "Costs counted", build: "Cut and built", refit: "Refitted to the teacher", "inherited accuracy": "Accuracy as inherited",
  recovery: "Recovery", accuracy: "Tracking", "known before": "Known from another job", "limits on accuracy": "Limits on accuracy",
  lost: "Lost with its worker", unrecorded: "Not recorded where",
};
const COLOURS = { INFEASIBLE: "--infeasible", STOPPED: "--stopped", FAILED: "--bad", COMPLETE: "--infeasible" };
const FALLEN = { INFEASIBLE: "broke a limit", STOPPED: "stopped early", FAILED: "failed", COMPLETE: "broke a limit" };

/** A stage's name as people read it. */
export function named(stage) {
  if (stage.name.startsWith("rung ")) return `Compared at ${stage.name}, after ${stage.steps} steps`;
  if (stage.name.startsWith("latency, ")) return `Latency (${stage.name.slice(9)})`;
  if (stage.name.startsWith("latency by layer, ")) return `Where its time goes (${stage.name.slice(18)})`;
  return WORDS[stage.name] ?? stage.name;
}

const lost = (stage) => stage.fell.reduce((sum, one) => sum + one.count, 0);

/** The funnel as a table with bars; `gates` is what GET .../gates answers. */
export function funnel(gates, job) {
  const most = Math.max(1, ...gates.stages.map((stage) => stage.came));
  const took = gates.stages.reduce((sum, stage) => sum + (stage.seconds ?? 0), 0);
  const columns = [
    ["Test", (stage) => named(stage)],
    ["Came, and fell", (stage) => share(stage, most)],
    ["Came", (stage) => stage.came.toLocaleString("en"), { class: "number" }],
    ["Fell", (stage) => lost(stage).toLocaleString("en"), { class: "number" }],
    ["Why", (stage) => why(stage, job), { class: "words" }],
    ["All together", (stage) => (stage.seconds === null ? "–" : seconds(stage.seconds)), { class: "number" }],
    ["Share of time", (stage) => stage.seconds === null || !took ? "–" : [bar([[stage.seconds / took, "--accent"]], { width: 60 }), " ", percent(stage.seconds / took)], { class: "number" }],
    ["Median", (stage) => (stage.median === null ? "–" : seconds(stage.median)), { class: "number" }],
  ];
  return [
    h("p", {}, summary(gates, took)),
    table(columns, gates.stages, { caption: "The tests of this job, the cheapest first", empty: "No candidate has ended yet." }),
  ];
}

function share(stage, most) {
  const fell = Object.keys(COLOURS).map((state) => [
    stage.fell.filter((one) => one.state === state).reduce((sum, one) => sum + one.count, 0) / most, COLOURS[state],
  ]);
  return bar([[(stage.came - lost(stage)) / most, "--accent"], ...fell], { outline: stage.came / most });
}

function why(stage, job) {
  if (!stage.fell.length) return "–";
  return h("ul", { class: "why" }, stage.fell.map((one) => h("li", {},
    `${one.count.toLocaleString("en")} ${FALLEN[one.state] ?? one.state}`, one.reason ? `: ${one.reason}` : "", " (",
    h("a", { href: `/jobs/${encodeURIComponent(job)}/trials/${one.example}` }, `trial ${one.example}`), one.count > 1 ? " and others)" : ")")));
}

function summary(gates, took) {
  const of = (state) => gates.states[state] ?? 0;
  const parts = [
    [of("INFEASIBLE"), "broke a limit"], [of("STOPPED"), "stopped early"],
    [of("FAILED"), "failed"], [of("RUNNING"), "running or waiting"], [of("COMPLETE"), "judged to the end"],
  ].filter(([count]) => count > 0).map(([count, words]) => `${count.toLocaleString("en")} ${words}`);
  return `${gates.asked.toLocaleString("en")} candidates: ${parts.join(", ") || "none yet"}.${took ? ` Workers spent ${seconds(took)} on them.` : ""}`;
}

/** What early stopping decided, in short. */
export function decisions(gates) {
  const rungs = gates.stages.filter((stage) => stage.name.startsWith("rung "));
  if (!rungs.length) return h("p", { class: "quiet" }, "Nobody was compared at a rung.");
  return h("ul", {}, rungs.map((stage) => {
    const stopped = lost(stage);
    const reasons = stage.fell.map((one) => `${one.count.toLocaleString("en")} ${one.reason || "for no reason that was kept"}`).join("; ");
    return h("li", {}, `After ${stage.steps} steps: ${stage.came.toLocaleString("en")} compared, ${(stage.came - stopped).toLocaleString("en")} went on, ` +
      `${stopped.toLocaleString("en")} stopped${stopped ? ` (${reasons})` : ""}.`);
  }));
}
