// Whether searches can be compared at all: what they were not asked alike, in words.

import { h } from "./dom.js";

const LATENCY = "ms";

/** What may differ between searches: [title, what one was asked, why that matters]. */
const ASKED = [
  ["Judged on", judged, () => "Accuracies on different videos, or by different rules, say nothing of one another."],
  ["Device", (spec) => spec.device ?? "cpu", (metrics) => (metrics.some((one) => one.unit === LATENCY)
    ? "Latencies of different devices are no measure of the trackers." : "That matters for latencies, which are not shown here.")],
  ["Searched for", objectives, () => "A search that was not asked for what is shown here has not tried to be good at it."],
  ["Limits", limits, () => "What breaks a hard limit of its own search is not on its front."],
];

function judged({ data = {} }) {
  const { dataset = "synthetic", root, judged_on: part = "val", judged_count: count, rules } = data ?? {};
  return [dataset, part, root ? `at ${root}` : "", count ? `${count} sequences` : "", rules ? `rules ${rules}` : ""].filter(Boolean).join(", ");
}

function objectives({ accuracy = "average_overlap", costs = ["macs_frame"] }) {
  return [accuracy, ...[costs].flat()].join(" and ");
}

function limits({ limits: said = [] }) {
  return said?.length ? [...said].sort().join(", ") : "none";
}

/** A list of what differs between jobs, or null; `letters` are theirs, `metrics` are shown. */
export function differences(jobs, letters, metrics) {
  const found = ASKED.map(([title, of, why]) => [title, grouped(jobs, letters, of), why]).filter(([, groups]) => groups.length > 1);
  if (!found.length) return null;
  return h("section", { class: "card", "aria-labelledby": "differ" },
    h("h2", { id: "differ" }, "Not asked alike"),
    h("dl", { class: "facts" }, found.map(([title, groups, why]) => [
      h("dt", {}, title), h("dd", {}, groups.map(([said, who]) => h("div", {}, h("strong", {}, who.join(", ")), `: ${said}`)), h("div", { class: "quiet small" }, why(metrics)))])));
}

function grouped(jobs, letters, of) {
  const found = new Map();
  jobs.forEach((job, i) => {
    const said = of(job.spec ?? {});
    found.set(said, [...(found.get(said) ?? []), letters[i]]);
  });
  return [...found];
}
