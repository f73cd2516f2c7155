// The service over HTTP: who calls, what is wrong, what happens. A service that is away is waited for.

const API = "/api/v1";
const TOKEN = "paretrack.token";
const AGAIN = [500, 1000, 2000, 4000, 8000]; // milliseconds before a read is tried again, the last for ever
const PAGE = 500; // items of one answer at most
const SILENCE = 45_000; // without so much as a heartbeat: a stream that is dead

/** What the service says is wrong (RFC 9457), or that it says nothing (status 0). */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || "the service does not answer");
    this.status = status;
    this.code = document.code ?? "unreachable";
    this.errors = document.errors ?? [];
    this.retryAfter = document.retryAfter ?? null;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? localStorage.getItem(TOKEN),
  set(value, keep) {
    this.forget();
    (keep ? localStorage : sessionStorage).setItem(TOKEN, value);
  },
  forget() {
    sessionStorage.removeItem(TOKEN);
    localStorage.removeItem(TOKEN);
  },
};

// The shell hears of these: "away" and "back" (the service), "login" (a token is wanted).
export const news = new EventTarget();
let isAway = false;

function tell(kind, detail) {
  news.dispatchEvent(new CustomEvent(kind, { detail }));
}

function heard(reached) {
  if (reached === isAway) {
    isAway = !reached;
    tell(reached ? "back" : "away");
  }
}

/** One request; throws Problem. `json`: the body; `headers`: further ones. */
export async function ask(method, path, { params = {}, json, body, headers = {}, signal } = {}) {
  const url = address(path, params);
  const sent = { Accept: "application/json", ...headers };
  if (token.get()) sent.Authorization = `Bearer ${token.get()}`;
  if (json !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, {
      method, headers: sent, body: json === undefined ? body : JSON.stringify(json), signal,
      credentials: "omit", cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    heard(false);
    throw new Problem(0, { detail: "the service cannot be reached" });
  }
  heard(true);
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (answer.status === 401) tell("login", problem.message);
  throw problem;
}

async function problemOf(answer) {
  let said = {};
  try {
    said = await answer.json();
  } catch {
    // a proxy's own page: the status has to do
  }
  const after = Number(answer.headers.get("Retry-After"));
  return new Problem(answer.status, { title: answer.statusText, ...said, retryAfter: after || null });
}

export function address(path, params = {}) {
  const url = new URL((path.startsWith(API) ? "" : API) + path, location.origin);
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
  }
  return url;
}

/** What is at a path. The service is waited for: only a real refusal throws. */
export async function get(path, params = {}, { signal, patient = true, headers } = {}) {
  for (let tried = 0; ; tried += 1) {
    try {
      return await whole(await ask("GET", path, { params, signal, headers }), signal);
    } catch (error) {
      const mayPass = error instanceof Problem && [0, 429, 502, 503, 504].includes(error.status);
      if (!mayPass || !patient || signal?.aborted) throw error;
      await pause(error.retryAfter ? error.retryAfter * 1000 : AGAIN[Math.min(tried, AGAIN.length - 1)], signal);
    }
  }
}

/** The body of an answer, which may break off as any connection does. */
async function whole(answer, signal) {
  try {
    return await answer.json();
  } catch (error) {
    if (signal?.aborted || error instanceof SyntaxError) throw error;
    heard(false);
    throw new Problem(0, { detail: "the service was gone in the middle of an answer" });
  }
}

/** The first `most` items of a list, in as few requests as there may be, and `next`, where it goes on; null: nowhere. */
export async function upTo(most, path, params = {}, { signal } = {}) {
  const items = [];
  let next = null;
  do {
    const page = await get(path, { ...params, limit: Math.min(most - items.length, PAGE), cursor: next }, { signal });
    items.push(...page.items);
    next = page.next;
  } while (next !== null && items.length < most);
  return { items, next };
}

/** The same without a word of what comes after them. */
export async function list(path, params = {}, most = 500, options = {}) {
  return (await upTo(most, path, params, options)).items;
}

export async function send(method, path, json, headers = {}) {
  const answer = await ask(method, path, { json, headers });
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

/** A file of the service as a Blob: links cannot carry a token. */
export async function file(path, params = {}) {
  return (await ask("GET", path, { params, headers: { Accept: "*/*" } })).blob();
}

/** Who calls, and what they may do: {role: "viewer" | "submitter" | "operator", owner, token_name ...}. */
let me = null;
export async function whoami(anew = false) {
  if (me === null || anew) me = await get("/tokens/me");
  return me;
}

const RANKS = ["viewer", "submitter", "operator"];
export async function may(role) {
  return RANKS.indexOf((await whoami()).role) >= RANKS.indexOf(role);
}

/**
 * What happens to a job from the event after `after` on, until it has ended or `signal` aborts.
 * `onEvents` gets lists of {number, at, kind, data}; a stream that breaks goes on where it was.
 */
export async function follow(job, after, onEvents, signal) {
  for (let tried = 0; !signal.aborted; tried += 1) {
    try {
      for await (const events of stream(job, after, signal)) {
        tried = 0;
        const told = events.filter((event) => event.kind !== "end");
        if (told.length) {
          after = told.at(-1).number;
          onEvents(told);
        }
        if (events.length > told.length) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) {
        if (error.status !== 401) throw error;
      }
    }
    await pause(AGAIN[Math.min(tried, AGAIN.length - 1)], signal);
  }
}

async function* stream(job, after, signal) {
  const silent = new AbortController();
  const either = AbortSignal.any([signal, silent.signal]);
  const answer = await ask("GET", `/jobs/${encodeURIComponent(job)}/events`, {
    params: { after }, headers: { Accept: "text/event-stream" }, signal: either,
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const alarm = setTimeout(() => silent.abort(), SILENCE);
      const { done, value } = await reader.read().finally(() => clearTimeout(alarm));
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      const events = frames.map(eventOf).filter((event) => event !== null);
      if (events.length) yield events;
    }
  } catch (error) {
    if (!signal.aborted) heard(false);
    throw error;
  } finally {
    reader.cancel().catch(() => {});
  }
}

function eventOf(frame) {
  const lines = frame.split("\n");
  const data = lines.find((line) => line.startsWith("data: "));
  if (data === undefined) return null;
  const said = JSON.parse(data.slice(6));
  return lines.includes("event: end") ? { kind: "end", data: said } : said;
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
