// The form that uploads a tracker.

import { h, put } from "./dom.js";
import { around, checked, choice, json, refused, text } from "./form_fields.js";
import { digestOf, upload } from "./form_upload.js";
import { figure } from "./format.js";

const FILE_SAYS = "the file says it (a model.safetensors of Paretrack)", OWN = "own";

function trackerFields(families) {
  const input = h("input", { type: "file", required: true, accept: ".pth,.pt,.tar,.safetensors" });
  const presets = families.flatMap((one) => one.presets.map((preset) => [preset, `${one.name}: ${preset}`]));
  return {
    input,
    file: around(input, { label: "File", help: "safetensors, or a .pth of PyTorch: nothing in it is ever executed. Archives of PyTracking and OSTrack (.pth.tar) too." }),
    name: text({ label: "Name", pointer: "?name", attributes: { required: true, maxlength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*" }, help: "By which jobs take it as their teacher; it is given once. Letters, digits, dots, dashes." }),
    preset: choice({ label: "Network", pointer: "?preset", options: [[undefined, FILE_SAYS], ...presets, [OWN, "an architecture.json of my own …"]], help: "That the weights belong to." }),
    architecture: json({ label: "architecture.json", pointer: "?architecture", rows: 8, help: "What Paretrack stores beside a tracker's weights." }),
    note: text({ label: "Note", pointer: "?note", attributes: { maxlength: 500 }, help: "For people: where it comes from." }),
  };
}

/** `families`: of GET /trackers; `done(tracker)`. */
export function trackerForm(families, done) {
  const { input, ...by } = trackerFields(families);
  const view = {
    input, by, done, fields: Object.values(by), bar: h("progress", { max: 1, value: 0, "aria-label": "Sent", hidden: true }),
    said: h("p", { class: "small", role: "status" }), wrong: h("p", { class: "problem", role: "alert" }),
    submit: h("button", { type: "submit", class: "main" }, "Upload"), stop: h("button", { type: "button", hidden: true }, "Stop"),
  };
  const own = () => { by.architecture.element.hidden = by.preset.read() !== OWN; };
  by.preset.element.addEventListener("change", own);
  own();
  return h("form", { class: "form", novalidate: true, onsubmit: (event) => { event.preventDefault(); send(view); } },
    h("div", { class: "fields" }, [by.file, by.name, by.preset, by.note].map((one) => one.element)), by.architecture.element,
    view.bar, view.said, view.wrong, h("div", { class: "row" }, view.submit, view.stop));
}

async function send(view) {
  put(view.wrong);
  if (!checked(view.fields)) return;
  const ending = new AbortController();
  view.stop.onclick = () => ending.abort();
  moving(view, true);
  try {
    const [tracker, isSummed] = await sent(view, ending.signal);
    put(view.said, `${tracker.name} is there${isSummed ? ", its bytes as they were sent (SHA-256)" : ""}.`);
    view.input.value = "";
    view.done(tracker);
  } catch (error) {
    put(view.said, error.name === "AbortError" ? "Stopped; nothing of it was kept." : null);
    if (error.name !== "AbortError") refused(view.fields, placed(error), view.wrong);
  } finally {
    moving(view, false);
  }
}

// What only the file could have said is asked for at the field that says it.
function placed(error) {
  if (error.errors?.length || !error.message.includes("?preset=")) return error;
  return { errors: [{ pointer: "?preset", detail: error.message }] };
}

async function sent({ input, by, bar, said }, signal) {
  const file = input.files[0], isOwn = by.preset.read() === OWN;
  put(said, "Reading it, for its digest …");
  const digest = await digestOf(file);
  const params = { preset: isOwn ? null : by.preset.read(), architecture: isOwn ? JSON.stringify(by.architecture.read()) : null, note: by.note.read() };
  const progress = (loaded, all) => {
    bar.value = all ? loaded / all : 1;
    put(said, loaded < all ? `${figure(loaded, "B")} of ${figure(all, "B")}` : "All is sent; it is read and tried there …");
  };
  const headers = { "Content-Digest": digest };
  return [await upload(`/trackers/${encodeURIComponent(by.name.read())}`, file, { params, headers, progress, signal }), digest !== null];
}

function moving(view, on) {
  view.bar.hidden = view.stop.hidden = !on;
  view.submit.disabled = on;
  view.bar.value = 0;
}
