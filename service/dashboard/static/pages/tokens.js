// Tokens: who you are, what you may, your tokens or all of them; made by operators, shown once.

import { ask, get, may, send, whoami } from "../api.js";
import { confirmed, h, put, table } from "../dom.js";
import { busy, checked, choice, refused, secret, text } from "../form_fields.js";
import { documentOf, fill } from "../form_schema.js";
import { ago, moment } from "../format.js";

const ROLES = {
  viewer: "Looks at what is theirs or their project's.",
  submitter: "Makes, changes and ends jobs, schedules, trackers and webhooks of their own or of their project.",
  operator: "Sees and does everything: tokens, owners, the audit.",
};
const PAGE = 100;

let form = null; // kept when the page is begun again, with what was typed
const news = h("div", {}); // a secret that is shown once stays while the page does

export async function show(main, signal) {
  const [me, isOperator] = await Promise.all([whoami(), may("operator")]);
  const place = h("div", {}), wrong = h("p", { class: "problem", role: "alert" });
  const about = { me, wrong, items: [], next: null, place, signal };
  form ??= tokenForm();
  window.addEventListener("tokenmade", () => reread(about), { signal });
  put(main, h("h1", {}, "Tokens"), yourself(me), news, isOperator ? form : h("p", { class: "quiet" }, "An operator makes tokens; you see and revoke your own."),
    h("h2", {}, isOperator ? "All tokens" : "Your tokens"), wrong, place);
  await reread(about);
}

function yourself(me) {
  return h("section", { class: "card" }, h("h2", {}, "You"), h("dl", { class: "facts" },
    h("dt", {}, "Owner"), h("dd", {}, me.owner), h("dt", {}, "Role"), h("dd", {}, h("strong", {}, me.role), `: ${ROLES[me.role]}`),
    me.project ? [h("dt", {}, "Project"), h("dd", {}, me.project)] : null,
    h("dt", {}, "Token"), h("dd", {}, me.token_id === null ? "none: this service has one user, who needs none" : me.token_name),
    me.expires_at ? [h("dt", {}, "Valid until"), h("dd", {}, moment(me.expires_at))] : null));
}

function tokenForm() {
  const until = text({ label: "Valid until", type: "datetime-local", pointer: "/expires_at", help: "By your clock; empty: for ever." });
  const fields = [
    text({ label: "Name", pointer: "/name", attributes: { required: true, maxlength: 200 }, help: "What it is for: laptop, CI." }),
    text({ label: "Owner", pointer: "/owner", attributes: { required: true, maxlength: 200 }, help: "Whose things are made with it." }),
    choice({ label: "Role", pointer: "/role", otherwise: "submitter", options: Object.keys(ROLES).map((name) => [name, name]), about: ROLES }),
    text({ label: "Project", pointer: "/project", attributes: { maxlength: 200 }, help: "Shares what it makes with this project; empty: with nobody." }),
    until,
    text({ label: "Why", pointer: "/why", attributes: { maxlength: 500 }, help: "For the audit." }),
  ];
  const wrong = h("p", { class: "problem", role: "alert" }), submit = h("button", { type: "submit", class: "main" }, "Make the token");
  return h("details", { class: "fold card" }, h("summary", {}, h("h2", {}, "New token")),
    h("form", { class: "form", novalidate: true, onsubmit: make }, h("div", { class: "fields" }, fields.map((field) => field.element)), wrong, submit));

  async function make(event) {
    event.preventDefault();
    put(wrong);
    if (!checked(fields)) return;
    submit.disabled = true;
    try {
      const asked = documentOf(fields);
      if (asked.expires_at) asked.expires_at = new Date(asked.expires_at).toISOString();
      const made = await (await ask("POST", "/tokens", { json: asked })).json();
      put(news, secret(`Token ${made.name}`, made.token, "It is shown this once: only its SHA-256 is kept. As a login here, or in PARETRACK_TOKEN."));
      news.scrollIntoView({ block: "nearest" });
      fill(fields, {});
      window.dispatchEvent(new Event("tokenmade"));
    } catch (problem) {
      refused(fields, problem, wrong);
    } finally {
      submit.disabled = false;
    }
  }
}

async function reread(about) {
  about.items = [];
  about.next = null;
  await further(about);
}

async function further(about) {
  try {
    const found = await get("/tokens", { limit: PAGE, cursor: about.next }, { signal: about.signal });
    about.items.push(...found.items);
    about.next = found.next;
    draw(about);
  } catch (error) {
    if (about.signal.aborted || error.status === 401) return;
    put(about.wrong, error.message);
  }
}

function draw(about) {
  put(about.place, table([
    ["Name", (one) => [one.name, one.id === about.me.token_id ? h("span", { class: "tag" }, "this one") : null]],
    ["Owner", (one) => [one.owner, one.project ? h("div", { class: "quiet small" }, `project ${one.project}`) : null]],
    ["Role", (one) => one.role],
    ["State", stateOf],
    ["Last used", (one) => (one.last_used_at ? ago(one.last_used_at) : "never"), { class: "line" }],
    ["Made", (one) => [ago(one.created_at), h("div", { class: "quiet small" }, `by ${one.created_by}`)]],
    ["What to do", (one) => (one.revoked_at ? "" : busy("Revoke …", () => revoke(one, about), about.wrong, { class: "danger", "aria-label": `Revoke …: ${one.name}` }))],
  ], about.items, { caption: "Tokens, the newest first", empty: "There is no token." }),
  about.next ? h("button", { type: "button", onclick: () => further(about) }, "More") : null);
}

function stateOf(one) {
  if (one.revoked_at) return h("span", { class: "quiet" }, `revoked ${ago(one.revoked_at)}`);
  if (!one.expires_at) return "valid";
  return new Date(one.expires_at) < Date.now() ? h("span", { class: "problem" }, `expired ${ago(one.expires_at)}`) : `until ${moment(one.expires_at)}`;
}

async function revoke(one, about) {
  const own = one.id === about.me.token_id ? " It is the one that you use now: you are asked for another at once." : "";
  if (!await confirmed(`Revoke the token “${one.name}” of ${one.owner}? It is of no use any more, for ever.${own}`, "Revoke it")) return;
  await send("DELETE", `/tokens/${encodeURIComponent(one.id)}`);
  await reread(about);
}
