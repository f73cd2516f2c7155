// Webhooks: who is told of what happens, and how that went.

import { ask, list, may, send } from "../api.js";
import { confirmed, h, put } from "../dom.js";
import { busy, secret } from "../form_fields.js";
import { deliveries, webhookForm } from "../form_webhooks.js";
import { ago } from "../format.js";
import { read, write } from "../state.js";

let form = null; // kept when the page is begun again, with what was typed
const news = h("div", {}); // a secret that is shown once stays while the page does

export async function show(main, signal) {
  const [canSubmit] = await Promise.all([may("submitter")]);
  const head = [h("h1", {}, "Webhooks"), h("p", { class: "quiet" }, "An address that is told of what happens to your jobs, each call signed with the webhook's secret.")];
  if (!canSubmit) {
    put(main, head, h("p", {}, "Your role is viewer. Webhooks are for submitters: their addresses are often secrets by themselves."));
    return;
  }
  const place = h("div", { class: "nights" }), wrong = h("p", { class: "problem", role: "alert" });
  const about = { signal, wrong, open: new Set([read("hook")].filter(Boolean)), again: () => reread(place, about) };
  form ??= h("details", { class: "fold card" }, h("summary", {}, h("h2", {}, "New webhook")), webhookForm(null, made));
  window.addEventListener("webhookmade", about.again, { signal });
  put(main, head, news, form, wrong, place);
  await about.again();
}

function made(hook) {
  put(news, secret(`Secret of ${hook.url}`, hook.secret, "It is shown this once. Whoever is called checks with it that a call is ours."));
  news.scrollIntoView({ block: "nearest" });
  window.dispatchEvent(new Event("webhookmade"));
}

async function reread(place, about) {
  try {
    const found = await list("/webhooks", {}, 500);
    put(place, found.length ? found.map((hook) => card(hook, about)) : h("p", { class: "quiet away" }, "No webhook yet."));
    put(about.wrong);
  } catch (error) {
    if (!about.signal.aborted && error.status !== 401) put(about.wrong, error.message);
  }
}

function card(hook, about) {
  const place = { sent: h("div", {}), edit: h("div", {}), wrong: h("p", { class: "problem", role: "alert" }), said: h("p", { class: "small", role: "status" }) };
  const fold = folding(hook, about, place.sent);
  return h("article", { class: "card" }, h("h2", {}, hook.url, " ", state(hook)),
    h("dl", { class: "facts" }, h("dt", {}, "Told of"), h("dd", {}, hook.kinds.join(", ")),
      h("dt", {}, "Whose jobs"), h("dd", {}, hook.project ? `the project ${hook.project}` : hook.owner),
      hook.failures ? [h("dt", {}, "Failures"), h("dd", { class: "problem" }, `${hook.failures} attempts in a row; 24 set it inactive`)] : null,
      h("dt", {}, "Made"), h("dd", {}, ago(hook.created_at))),
    h("div", { class: "row" }, fold.button, actions(hook, about, place, fold)),
    place.said, place.wrong, place.edit, place.sent);
}

/** A button that shows what was sent, and hides it. */
function folding(hook, about, place) {
  let shown = null;
  const button = h("button", { type: "button", id: `sent-${hook.id}`, "aria-expanded": "false", onclick: () => unfold(shown === null) }, "Deliveries");
  function unfold(on) {
    button.setAttribute("aria-expanded", String(on));
    if (on) about.open.add(hook.id); else about.open.delete(hook.id);
    write({ hook: on ? hook.id : null });
    if (on && shown !== null) shown.again();
    else {
      shown = on ? deliveries(hook, about.signal) : null;
      put(place, shown?.element ?? null);
    }
  }
  if (about.open.has(hook.id)) unfold(true);
  return { button, unfold };
}

function actions(hook, about, place, fold) {
  const at = `/webhooks/${encodeURIComponent(hook.id)}`;
  const turn = async () => {
    await ask("PATCH", at, { json: { active: !hook.active }, headers: { "If-Match": `"${hook.version}"` } });
    await about.again();
  };
  const ping = async () => {
    await send("POST", `${at}/ping`);
    put(place.said, "A ping is on its way; its delivery says whether it has arrived.");
    fold.unfold(true);
  };
  const remove = async () => {
    if (!await confirmed(`Delete the webhook ${hook.url}? Nothing is sent to it any more; what waits is given up.`, "Delete it")) return;
    await send("DELETE", at);
    await about.again();
  };
  const change = () => put(place.edit, webhookForm(hook, about.again, () => put(place.edit)));
  const button = (words, work, id) => busy(words, work, place.wrong, { id: `${id}-${hook.id}` });
  return [button("Send a ping", ping, "ping"), button(hook.active ? "Pause" : "Go on", turn, "turn"),
    h("button", { type: "button", id: `edit-${hook.id}`, onclick: change }, "Change …"), button("Delete …", remove, "gone")];
}

const state = (hook) => (hook.active ? h("span", { class: "state SUCCEEDED" }, "active") : h("span", { class: "state HELD" }, "paused"));
