// A trial's files: what there is, downloads, the export to ONNX.

import { ask, file, get, send } from "./api.js";
import { h, put, save } from "./dom.js";
import { figure } from "./format.js";

const LARGE = 4 << 20; // bytes, from which a download shows how far it is

/** Fills `place` with the files of a trial; `path` is the trial's in the API, `mayExport` a boolean. */
export async function files(place, path, name, mayExport, signal) {
  const list = h("ul", { class: "files" }), note = h("p", { class: "quiet" });
  const button = h("button", { type: "button", onclick: () => exported() }, "Export ONNX");
  const said = h("p", { class: "problem", role: "alert" }), doing = h("p", { role: "status" });
  put(place, list, note, mayExport ? h("div", { class: "row" }, button) : null, doing, said);
  show(await get(`${path}/artefacts`, {}, { signal }));

  function show(found) {
    put(list, found.items.map((one) => item(one, path, name)));
    const can = found.items.some((one) => one.name === "model.safetensors");
    button.hidden = found.exported || !can;
    put(note, !mayExport && can && !found.exported ? "It was not exported to ONNX; a submitter can do that here." : can && !found.exported ? "ONNX files are made on request." : found.note);
  }

  async function exported() {
    button.disabled = true;
    put(said);
    put(doing, "It is being exported and compared with the network. That takes up to two minutes.");
    try {
      await send("POST", `${path}/export`);
      show(await get(`${path}/artefacts`, {}, { signal }));
      put(doing, "Exported. template.onnx and frame.onnx are in the list.");
    } catch (error) {
      put(doing);
      put(said, error.message);
    } finally {
      button.disabled = false;
    }
  }
}

function item(one, path, name) {
  const state = h("span", { role: "status" });
  const button = h("button", { type: "button", onclick: async () => {
    button.disabled = true;
    try {
      const blob = await fetched(`${path}/artefacts/${encodeURIComponent(one.name)}`, one.bytes, state);
      save(blob, `${name}-${one.name}`);
      put(state, "");
    } catch (error) {
      put(state, h("span", { class: "problem" }, error.message));
    } finally {
      button.disabled = false;
    }
  } }, `Download ${one.name}`);
  return h("li", {}, h("div", { class: "row" }, button, h("span", {}, figure(one.bytes, "B").replace(".0 B", " B")), h("span", { class: "quiet" }, one.about), state),
    h("details", {}, h("summary", { class: "quiet" }, `Checksum of ${one.name}`), h("code", {}, `sha256 ${one.sha256}`)));
}

/** The file as a Blob; a large one with a bar that says how much is there. */
async function fetched(path, bytes, state) {
  if (bytes < LARGE) return file(path);
  const bar = h("progress", { max: bytes, value: 0, "aria-label": "Downloaded" });
  put(state, bar);
  const answer = await ask("GET", path, { headers: { Accept: "*/*" } });
  const parts = [], reader = answer.body.getReader();
  for (let there = 0; ;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts, { type: answer.headers.get("Content-Type") ?? "" });
    parts.push(value);
    there += value.length;
    bar.value = there;
  }
}
