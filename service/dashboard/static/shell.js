// What all pages share: who is there, what is away, light or dark; then the page itself.

import { news, token, whoami } from "./api.js";
import { h, put } from "./dom.js";

const page = document.documentElement.dataset.page;
const main = document.getElementById("main");
const notice = document.getElementById("notice");
const who = document.getElementById("who");
const THEME = "paretrack.theme";

theme(localStorage.getItem(THEME));
here();
news.addEventListener("away", () => tell("The service does not answer. This page goes on by itself when it is back."));
news.addEventListener("back", () => tell(""));
news.addEventListener("login", (event) => login(event.detail));
window.addEventListener("unhandledrejection", (event) => failed(event.reason));
let shown = null; // a page can be begun again: it ends what it follows then
start();

async function start() {
  try {
    greet(await whoami(true));
    shown?.abort();
    shown = new AbortController();
    const { show } = await import(`./pages/${page}.js`);
    await show(main, shown.signal);
  } catch (error) {
    failed(error);
  }
}

function failed(error) {
  if (error?.name === "AbortError" || error?.status === 401) return;
  const line = h("p", { class: "problem", role: "alert" }, error?.message ?? String(error));
  main.querySelector(":scope > .problem")?.remove();
  const title = main.querySelector("h1");
  if (title) title.after(line);
  else main.prepend(line);
  if (!(error?.status >= 400)) console.error(error);
}

function tell(text) {
  put(notice, text);
  notice.classList.toggle("shown", text !== "");
}

function greet(me) {
  const dark = h("button", { type: "button", class: "plain", "aria-label": "Light or dark", onclick: turn }, "◐");
  const out = h("button", { type: "button", class: "plain", onclick: leave }, "Leave");
  put(who, me.token_name ? h("span", { class: "quiet" }, `${me.token_name} (${me.role})`) : null, dark, me.token_name ? out : null);
}

function leave() {
  token.forget();
  location.assign("/");
}

function turn() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, next);
  theme(next);
  window.dispatchEvent(new Event("themechange")); // canvases have colours of their own
}

/** On paper all is light; canvases have to be drawn before the printer looks. */
window.addEventListener("beforeprint", () => {
  const before = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  window.dispatchEvent(new CustomEvent("themechange", { detail: "now" }));
  window.addEventListener("afterprint", () => {
    if (before) document.documentElement.dataset.theme = before;
    else delete document.documentElement.dataset.theme;
    window.dispatchEvent(new Event("themechange"));
  }, { once: true });
});

function theme(name) {
  if (name === "dark" || name === "light") document.documentElement.dataset.theme = name;
}

function here() {
  for (const link of document.querySelectorAll("header nav a")) {
    const at = new URL(link.href).pathname;
    const inside = at === "/" ? location.pathname === "/" || location.pathname.startsWith("/jobs") : location.pathname.startsWith(at);
    if (inside) link.setAttribute("aria-current", "page");
  }
}

function login(why) {
  if (document.getElementById("login")) return;
  const field = h("input", { id: "token", name: "token", type: "password", autocomplete: "current-password", required: true });
  const keep = h("input", { id: "keep", type: "checkbox" });
  const said = h("p", { class: "problem", role: "alert" }, token.get() ? why : "");
  const dialog = h("dialog", { id: "login", "aria-labelledby": "login-title", oncancel: (event) => event.preventDefault() },
    h("form", { onsubmit: enter },
      h("h2", { id: "login-title" }, "Your token, please"),
      h("p", { class: "quiet" }, "An operator makes one with: paretrack token create NAME"),
      said,
      h("label", { for: "token" }, "Token"), field,
      h("label", { class: "check", for: "keep" }, keep, " Keep it on this machine"),
      h("button", { type: "submit", class: "main" }, "Enter")));
  document.body.append(dialog);
  dialog.showModal();

  async function enter(event) {
    event.preventDefault();
    token.set(field.value.trim(), keep.checked);
    try {
      await whoami(true);
      dialog.remove();
      start();
    } catch (error) {
      put(said, error.message);
      field.select();
    }
  }
}
