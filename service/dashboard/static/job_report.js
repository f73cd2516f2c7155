// A job's page as one file, to be mailed or kept: pictures, tables and style are in it, nothing is asked for.

import { h, save } from "./dom.js";
import { moment } from "./format.js";

// What only a living page is good for.
const LIVING = "button, select, input, textarea, progress, noscript, .hint, [role='status'], [role='alert']";

/** Saves what `main` shows as an HTML file that stands by itself. */
export async function saveReport(main, job) {
  const made = document.implementation.createHTMLDocument(job.name); // one that shows nothing, so that nothing in it is loaded
  const copy = made.importNode(main, true);
  pictured(main, copy, made);
  copy.querySelectorAll(LIVING).forEach((each) => each.remove());
  copy.querySelectorAll("label").forEach((each) => each.childElementCount || each.remove());
  copy.querySelectorAll("details").forEach((each) => { each.open = true; });
  copy.querySelectorAll("a[href]").forEach((each) => { each.href = new URL(each.getAttribute("href"), location.href).href; });
  copy.querySelectorAll("[tabindex], [id]").forEach((each) => { each.removeAttribute("tabindex"); each.removeAttribute("id"); });
  copy.append(h("h2", {}, "What was asked for"), h("pre", {}, JSON.stringify(job.spec, null, 2)),
    h("p", { class: "quiet" }, `Job ${job.id} of ${location.origin}, as it was ${moment(new Date())}.`));
  save(await standing(copy, made), `${job.id}.html`, "text/html");
}

/** Canvases are empty in a copy: their pictures take their places. */
function pictured(main, copy, made) {
  const drawn = [...main.querySelectorAll("canvas")];
  copy.querySelectorAll("canvas").forEach((canvas, i) => {
    const picture = made.createElement("img");
    picture.src = drawn[i].toDataURL("image/png");
    picture.alt = drawn[i].getAttribute("aria-label") ?? "";
    picture.style.maxWidth = "100%";
    canvas.replaceWith(picture);
  });
}

async function standing(copy, made) {
  made.documentElement.lang = "en";
  made.documentElement.dataset.theme = themeNow(); // the pictures were drawn in it
  const meta = made.createElement("meta");
  meta.setAttribute("charset", "utf-8");
  const style = made.createElement("style");
  style.textContent = (await Promise.all(sheets().map(text))).join("\n");
  made.head.prepend(meta);
  made.head.append(style);
  made.body.append(copy);
  return `<!doctype html>\n${made.documentElement.outerHTML}\n`;
}

const sheets = () => [...document.querySelectorAll("link[rel='stylesheet']")].map((link) => link.href);
const text = async (url) => (await fetch(url)).text();

function themeNow() {
  return document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
