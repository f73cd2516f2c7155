// Jobs that are chosen to be compared: in the address, and in a bar below the list.

import { h, put } from "./dom.js";
import { write } from "./state.js";

const MOST = 6; // that the service compares

/** `bar`: where it is said; `begun`: ids. `box(id, name)` is a checkbox that follows. */
export function choices(bar, begun) {
  const picked = new Set(begun);
  const boxes = new Map();
  const words = h("span", { role: "status" });
  const go = h("a", { class: "button main" }, "Compare");
  const none = h("button", { type: "button", onclick: forget }, "Choose none");
  put(bar, words, h("span", { class: "row" }, go, none));
  tell();

  function box(id, name) {
    const made = h("input", { type: "checkbox", class: "picks", "aria-label": `Choose ${name} to compare` });
    made.checked = picked.has(id);
    made.addEventListener("change", () => { if (made.checked) picked.add(id); else picked.delete(id); tell(); });
    boxes.set(id, [...(boxes.get(id) ?? []).filter((one) => one.isConnected), made]);
    return made;
  }

  function forget() {
    picked.clear();
    tell();
  }

  function tell() {
    const ids = [...picked];
    for (const [id, made] of boxes) for (const one of made) one.checked = picked.has(id);
    write({ pick: ids });
    bar.hidden = ids.length === 0;
    const fits = ids.length >= 2 && ids.length <= MOST;
    const why = ids.length < 2 ? "choose one more to compare" : ids.length > MOST ? `at most ${MOST} can be compared` : "";
    put(words, `${ids.length} chosen${why ? `: ${why}` : ""}`);
    go.hidden = !fits;
    go.setAttribute("href", `/compare?${ids.map((id) => `job=${encodeURIComponent(id)}`).join("&")}`);
  }

  return { box };
}
