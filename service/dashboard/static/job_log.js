// What happened to a job lately: states, moves of the front, decisions of early stopping.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { ago, moment } from "./format.js";

const MOST = 30; // lines
const BACK = 200; // events that are looked through for the first of them

/** A list in `place`: `begin(last)` reads what was, `add(events)` what comes. */
export function logOf(place, path, signal) {
  const items = h("ol", { reversed: true, "aria-label": "What happened lately", tabindex: "0" });
  items.style.maxHeight = "22rem";
  items.style.overflowY = "auto";
  items.style.listStyle = "none";
  items.style.padding = "0";
  const empty = h("p", { class: "quiet" }, "Nothing yet.");
  put(place, h("h2", {}, "What happened"), empty, items);
  const add = (events) => {
    const lines = events.map(line).filter((one) => one !== null).slice(-MOST);
    if (!lines.length) return;
    empty.hidden = true;
    items.prepend(...lines.reverse());
    while (items.childElementCount > MOST) items.lastElementChild.remove();
  };
  return {
    add,
    async begin(last) {
      const page = await get(`${path}/events`, { once: true, after: Math.max(0, last - BACK), limit: BACK }, { signal });
      add(page.items.filter((event) => event.number <= last));
    },
  };

  function line(event) {
    const words = told(event, path);
    if (words === null) return null;
    return h("li", {}, h("time", { class: "quiet", datetime: event.at, title: moment(event.at) }, `${ago(event.at)} `), words);
  }
}

/** An event as a sentence; null: it says nothing that is worth a line. */
function told({ kind, data }, path) {
  const trial = () => h("a", { href: `${path}/trials/${data.number}` }, `trial ${data.number}`);
  switch (kind) {
    case "state":
      return [`${data.from ? `${data.from.toLowerCase()} → ` : ""}${data.to.toLowerCase()}`, data.why ? `: ${data.why}` : ""];
    case "front":
      return ["◆ ", trial(), " moved the front"];
    case "trial_rung":
      return data.note ? [trial(), `: ${data.note}`] : null;
    case "trial_finished":
      return data.state === "COMPLETE" ? null : [trial(), ` ${data.state.toLowerCase()}${data.note ? `: ${data.note}` : ""}`];
    case "edited":
      return [`edited: ${Object.keys(data).join(", ")}`];
    case "trial_asked":
      return null;
    default:
      return [kind.replaceAll("_", " "), data.why ? `: ${data.why}` : ""];
  }
}
