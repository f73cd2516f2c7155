// The style of lists and forms: loaded by the pages that have them, from the same origin.

import { h } from "./dom.js";

const href = new URL("./form_style.css", import.meta.url).href;
/** Resolves when the style is there, so that nothing is shown without it. */
export const styled = new Promise((resolve) => {
  const link = h("link", { rel: "stylesheet", href, onload: resolve, onerror: resolve });
  document.head.append(link);
});
