// Whether searches can be compared at all: what they were not asked alike, in words.

import { h } from "./dom.js";

const LATENCY = "ms";

/** What may differ between searches: [title, what one was asked, and on which devices, why that matters]. */
const ASKED = [
  ["Judged on", judged, () => "Accuracies on different videos, or by different rules, say nothing of one another."],
  ["Device", (spec, devices) => device(spec, devices), (metrics) => (metrics.some((one) => one.unit === LATENCY)
    ? "Latencies of different devices are no measure of the trackers." : "That matters for latencies, which are not shown here.")],
  ["Searched for", objectives, () => "A search that was not asked for what is shown here has not tried to be good at it."],
  ["Limits", limits, () => "What breaks a hard limit of its own search is not on its front."],
];

/** Where it was timed; before that, where it is to be trained. */
function device(spec, devices) {
  const threads = ({ threads: some }) => (some.length ? `, ${some.join(" or ")} thread${String(some) === "1" ? "" : "s"} a candidate` : "");
  return devices.map((one) => `${one.name} (${one.machine}${one.cores ? `, ${one.cores} cores` : ""}${threads(one)})`).sort().join(" and ") || `${spec.device ?? "cpu"}, and no latency was measured`;
}

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

/** A list of what differs between jobs, or null; `letters` are theirs, `devices` by job, `metrics` are shown. */
export function differences(jobs, letters, devices, metrics) {
  const found = ASKED.map(([title, of, why]) => [title, grouped(jobs, letters, (job) => of(job.spec ?? {}, devices[job.id] ?? [])), why]).filter(([, groups]) => groups.length > 1);
  if (!found.length) return null;
  return h("section", { class: "card", "aria-labelledby": "differ" },
    h("h2", { id: "differ" }, "Not asked alike"),
    h("dl", { class: "facts" }, found.map(([title, groups, why]) => [
      h("dt", {}, title), h("dd", {}, groups.map(([said, who]) => h("div", {}, h("strong", {}, who.join(", ")), `: ${said}`)), h("div", { class: "quiet small" }, why(metrics)))])));
}

function grouped(jobs, letters, of) {
  const found = new Map();
  jobs.forEach((job, i) => {
    const said = of(job);
    found.set(said, [...(found.get(said) ?? []), letters[i]]);
  });
  return [...found];
}
