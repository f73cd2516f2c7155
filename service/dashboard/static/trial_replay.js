// A trial on video: choose one of the sequences that it was judged on; it is made ready and played.

import { Problem, file, get, send } from "./api.js";
import { h, put } from "./dom.js";
import { digits } from "./format.js";
import { read, write } from "./state.js";
import { player } from "./trial_player.js";

const WAIT = 5; // seconds before it is asked again whether somebody else has made it
const TIMES = 30;

/** Fills `place` with what can be watched of a trial; `path` is the trial's in the API, `submits` a boolean. */
export async function onVideo(place, path, trial, submits, signal) {
  if (Object.keys(trial.measurement?.accuracy?.overlap_of ?? {}).length === 0) {
    put(place, h("p", { class: "quiet" }, "It was not judged by tracking, so there is nothing to watch."));
    return;
  }
  const refused = !trial.has_tracker ? "Its tracker was not kept, so this one cannot be made ready to be watched."
    : submits ? null : "Nobody has made this one ready to be watched; a submitter can do that here.";
  const found = await get(`${path}/replays`, {}, { signal }).catch((error) => error);
  if (found instanceof Error) {
    if (!(found instanceof Problem)) throw found;
    put(place, h("p", { class: "quiet" }, found.message));
    return;
  }
  const lines = new Map(found.items.map((one) => [one.sequence, one]));
  const choice = h("select", { id: "replay-sequence" }, found.items.map((one) => h("option", { value: one.sequence }, `${one.sequence} (${digits(one.overlap)})`)));
  const quick = ["best", "median", "worst"].map((which) => {
    const name = found[which];
    return h("button", { type: "button", "aria-pressed": "false", "data-name": name, onclick: () => open(name) }, `${which[0].toUpperCase()}${which.slice(1)} (${digits(lines.get(name).overlap)})`);
  });
  const said = h("p", { class: "problem", role: "alert" }), doing = h("div", { role: "status" }), screen = h("div", {});
  put(place, h("p", { class: "quiet" }, `The ${found.items.length} sequences that it was judged on, by average overlap.`),
    h("div", { class: "row" }, quick, h("label", { for: "replay-sequence" }, "Sequence"), choice,
      h("button", { type: "button", onclick: () => open(choice.value) }, "Show")), said, doing, screen);
  let playing = null;
  const asked = read("watch");
  if (lines.get(asked)?.made) await open(asked);

  async function open(name) {
    playing?.abort();
    const mine = playing = new AbortController();
    const either = AbortSignal.any([signal, mine.signal]);
    write({ watch: name });
    choice.value = name;
    for (const one of quick) one.setAttribute("aria-pressed", String(one.dataset.name === name));
    put(said);
    put(screen);
    try {
      const shown = await ready(name, either);
      if (shown === null || either.aborted) return;
      const pictures = await file(`${path}/replays/${encodeURIComponent(name)}/frames`);
      const bytes = await pictures.arrayBuffer();
      if (either.aborted) return;
      put(doing);
      player(screen, shown, bytes, either);
    } catch (error) {
      if (either.aborted) return;
      put(doing);
      if (!(error instanceof Problem)) throw error;
      put(said, error.message);
    }
  }

  /** The replay, made where it is not there; null: the caller may not make it. */
  async function ready(name, either) {
    const one = lines.get(name), at = `${path}/replays/${encodeURIComponent(name)}`;
    if (one.made) {
      tell("The frames are coming…");
      const there = await get(at, {}, { signal: either }).catch((error) => { if (error.status === 404) return null; throw error; });
      if (there !== null) return there;
    }
    if (refused) {
      put(doing, h("p", { class: "quiet" }, refused));
      return null;
    }
    tell("Frames and boxes are being put together. That takes up to two minutes.");
    for (let tried = 0; ; tried += 1) {
      try {
        const made = await send("POST", `${path}/replays?sequence=${encodeURIComponent(name)}`);
        one.made = true;
        return made;
      } catch (error) {
        if (error.code !== "in_flight" || tried === TIMES || either.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter ?? WAIT)));
      }
    }
  }

  function tell(text) {
    put(doing, h("p", {}, text), h("progress", { "aria-label": text }));
  }
}
