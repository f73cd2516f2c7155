// The form of a webhook, new or there, and what was sent to it.

import { ask, get, send } from "./api.js";
import { h, put, table } from "./dom.js";
import { busy, checked, choice, refused, several, text } from "./form_fields.js";
import { documentOf, fill } from "./form_schema.js";
import { ago, moment } from "./format.js";

export const KINDS = {
  state: "a job's state changes", front: "a front moves", trial_finished: "a trial has finished",
  night: "a night was compared with the one before", regressed: "a night came out worse", schedule_paused: "a schedule was paused by its failures",
};

/** `hook`: one to change, or null. `done(answer)`; `close()`. */
export function webhookForm(hook, done, close) {
  const secret = { label: "Secret", pointer: "/secret", attributes: { minlength: 16, maxlength: 200, autocomplete: "off" } };
  const fields = [
    text({ label: "URL", type: "url", pointer: "/url", attributes: { required: true, maxlength: 2000, placeholder: "https://ci.example.com/paretrack" }, help: "http or https, of a public host, unless the operator allows others; redirects are not followed." }),
    several({ label: "Tell of", pointer: "/kinds", otherwise: hook ? [] : ["state"], options: Object.entries(KINDS).map(([name, words]) => [name, `${name}: ${words}`]) }),
    text({ ...secret, help: hook ? "Another one, of at least 16 characters; empty: the one it has." : "That signs what is sent, at least 16 characters; empty: one is made." }),
  ];
  const wrong = h("p", { class: "problem", role: "alert" }), submit = h("button", { type: "submit", class: "main" }, hook ? "Save" : "Make the webhook");
  fill(fields, hook ?? {});
  return h("form", { class: "form", novalidate: true, onsubmit: store }, fields.map((field) => field.element), wrong,
    h("div", { class: "row" }, submit, close ? h("button", { type: "button", onclick: close }, "Close") : null));

  async function store(event) {
    event.preventDefault();
    put(wrong);
    if (!checked(fields)) return;
    submit.disabled = true;
    try {
      const made = documentOf(fields);
      const path = hook ? `/webhooks/${encodeURIComponent(hook.id)}` : "/webhooks";
      const headers = hook ? { "If-Match": `"${hook.version}"` } : {};
      const answer = await (await ask(hook ? "PATCH" : "POST", path, { json: made, headers })).json();
      if (!hook) fill(fields, {});
      done(answer);
    } catch (problem) {
      refused(fields, problem, wrong);
      if (problem.code === "changed_meanwhile") {
        hook = await get(`/webhooks/${encodeURIComponent(hook.id)}`);
        put(wrong, `${problem.message}. Press Save again to have it as it is here.`);
      }
    } finally {
      submit.disabled = false;
    }
  }
}

const WORDS = { PENDING: "waits", DELIVERED: "arrived", GIVEN_UP: "given up" };

/** What was sent to a webhook, newest first; with "Send again". {element, again()} */
export function deliveries(hook, signal) {
  const place = h("div", {}), wrong = h("p", { class: "problem", role: "alert" });
  const state = choice({ label: "State", options: [[undefined, "any"], ...Object.entries(WORDS)] });
  let shown = 25, asked = 0;
  const path = `/webhooks/${encodeURIComponent(hook.id)}/deliveries`;
  state.element.addEventListener("change", () => again());

  async function again() {
    const mine = (asked += 1);
    try {
      const found = await get(path, { limit: Math.min(shown, 500), state: state.read() }, { signal });
      if (mine === asked) put(place, drawn(found));
    } catch (error) {
      if (!signal.aborted && error.status !== 401) put(wrong, error.message);
    }
  }

  function drawn(found) {
    const replay = (one) => busy("Send again", async () => { await send("POST", `${path}/${encodeURIComponent(one.id)}/replay`); await again(); }, wrong, { "aria-label": `Send again: ${one.event_id}`, id: `replay-${one.id}` });
    return [table([
      ["Event", (one) => [h("strong", {}, one.kind), h("div", { class: "quiet small" }, one.event_id)], { class: "long" }],
      ["State", (one) => [h("span", { class: one.state === "DELIVERED" ? "good" : one.state === "GIVEN_UP" ? "problem" : "" }, WORDS[one.state]),
        h("div", { class: "quiet small" }, `${one.attempts} attempts${one.next_at ? `, next ${ago(one.next_at)}` : ""}`)]],
      ["Answer", (one) => [one.last_status ?? "–", one.last_error ? h("div", { class: "small" }, one.last_error) : null], { class: "long" }],
      ["When", (one) => h("span", { title: moment(one.created_at) }, ago(one.created_at)), { class: "line" }],
      ["Body", (one) => h("details", {}, h("summary", {}, "Show"), h("pre", { tabindex: "0", class: "small" }, JSON.stringify(one.body, null, 1)))],
      ["What to do", replay, { class: "line" }],
    ], found.items, { caption: `Deliveries to ${hook.url}, kept for 30 days`, empty: "Nothing was sent yet." }),
    found.next && shown < 500 ? h("button", { type: "button", onclick: () => { shown += 50; again(); } }, "More") : null];
  }

  // What waits is looked at again while it can be seen.
  const timer = setInterval(() => { if (place.isConnected && !document.hidden && !place.querySelector("details[open]")) again(); }, 5000);
  signal.addEventListener("abort", () => clearInterval(timer));
  again();
  return { element: h("div", {}, state.element, wrong, place), again };
}
