// The style of a trial's page and of a job's levers and gates, from the same origin.

import { h } from "./dom.js";

const href = new URL("./trial_style.css", import.meta.url).href;
/** Resolves when the style is there, so that nothing is shown without it. */
export const styled = new Promise((resolve) => {
  document.head.append(h("link", { rel: "stylesheet", href, onload: resolve, onerror: resolve }));
});
