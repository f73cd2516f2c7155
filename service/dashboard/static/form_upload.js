// A file on its way to the service: with its digest before it goes, and progress while it does.

import { address, Problem, token } from "./api.js";

const MOST_SUMMED = 1 << 30; // bytes: the browser's digest wants all of them in memory

/** "sha-256=:...:" of a file; null where this browser cannot, or may not over plain http, sum it. */
export async function digestOf(file) {
  if (!globalThis.crypto?.subtle || file.size > MOST_SUMMED) return null;
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return `sha-256=:${btoa(String.fromCharCode(...sum))}:`;
}

/** PUT a file; `progress(sent, all)`. Throws Problem, as ask() does; `signal` ends it. */
export function upload(path, file, { params = {}, headers = {}, progress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch() tells nothing of what has been sent
    request.open("PUT", address(path, params));
    const sent = { Accept: "application/json", "Content-Type": "application/octet-stream", ...headers };
    if (token.get()) sent.Authorization = `Bearer ${token.get()}`;
    for (const [name, value] of Object.entries(sent)) if (value) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.loaded, file.size);
    request.onload = () => {
      const said = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300) resolve(said);
      else reject(new Problem(request.status, { title: request.statusText, ...said }));
    };
    request.onerror = () => reject(new Problem(0, { detail: "the service cannot be reached, or broke off; the file is still chosen: send it again" }));
    request.onabort = () => reject(new DOMException("the upload was ended", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return {}; }
}
