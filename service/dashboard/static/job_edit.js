// Another name, other labels, another priority, against what somebody else may change meanwhile.

import { get, send } from "./api.js";
import { h, put } from "./dom.js";

const TRIES = 4; // a job that runs has a new version every half second

/** Asks for the new words; `done(job)` once they are kept. */
export function editDialog(path, job, done) {
  const name = h("input", { id: "edit-name", required: true, maxlength: "200", value: job.name });
  const labels = h("input", { id: "edit-labels", value: job.labels.join(", "), "aria-describedby": "edit-labels-help" });
  const priority = h("input", { id: "edit-priority", type: "number", min: "-100", max: "100", step: "1", value: job.priority });
  const said = h("p", { class: "problem", role: "alert" });
  const close = () => { dialog.close(); dialog.remove(); };
  const dialog = h("dialog", { "aria-labelledby": "edit-title", oncancel: close },
    h("form", { onsubmit: keep },
      h("h2", { id: "edit-title" }, "Edit this job"), said,
      h("label", { for: "edit-name" }, "Name"), name,
      h("label", { for: "edit-labels" }, "Labels"), labels,
      h("p", { class: "quiet", id: "edit-labels-help" }, "With commas between them."),
      h("label", { for: "edit-priority" }, "Priority"), priority,
      h("p", { class: "quiet" }, "From -100 to 100; 10 are worth an hour of waiting."),
      h("div", { class: "row" },
        h("button", { type: "button", onclick: close }, "Leave it"),
        h("button", { type: "submit", class: "main" }, "Keep"))));
  document.body.append(dialog);
  dialog.showModal();

  async function keep(event) {
    event.preventDefault();
    const words = { name: name.value.trim(), labels: list(labels.value), priority: Number(priority.value) };
    try {
      done(await patched(path, job, words));
      close();
    } catch (error) {
      const fields = error.errors?.map((fault) => fault.pointer ?? "").join(" ") ?? "";
      for (const [field, input] of Object.entries({ name, labels, priority })) {
        input.setAttribute("aria-invalid", String(fields.includes(field)));
      }
      put(said, error.message);
    }
  }
}

const list = (text) => [...new Set(text.split(",").map((one) => one.trim()).filter(Boolean))];

/** A version that only progress has changed is no reason to refuse. */
async function patched(path, before, words) {
  for (let tried = 1; ; tried += 1) {
    const now = await get(path);
    const same = ["name", "priority"].every((field) => now[field] === before[field]) && String(now.labels) === String(before.labels);
    if (!same) throw new Error(`Somebody has changed it meanwhile: it is called ${now.name}, its labels are ${now.labels.join(", ") || "none"}, its priority is ${now.priority}. Close this and begin anew.`);
    try {
      return await send("PATCH", path, words, { "If-Match": `"${now.version}"` });
    } catch (error) {
      if (error.code !== "changed_meanwhile" || tried === TRIES) throw error;
    }
  }
}
