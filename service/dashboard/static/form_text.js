// A document as YAML that people read: enough of it for jobs.

const PLAIN = /^[A-Za-z_][A-Za-z0-9_.\-/ ]*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n|~)$/i;

/** Plain data as YAML; flow style where it is short. */
export function yaml(value, indent = "") {
  if (!isNested(value)) return scalar(value);
  const lines = [];
  for (const [key, one] of entries(value)) {
    const head = Array.isArray(value) ? `${indent}-` : `${indent}${scalar(String(key))}:`;
    const short = flow(one);
    if (!isNested(one) || short.length + head.length < 76) lines.push(`${head} ${short}`);
    else lines.push(`${head}\n${yaml(one, `${indent}  `)}`);
  }
  return lines.join("\n");
}

const isNested = (value) => value !== null && typeof value === "object" && Object.keys(value).length > 0;
const entries = (value) => (Array.isArray(value) ? value.map((one, at) => [at, one]) : Object.entries(value));

function flow(value) {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (value !== null && typeof value === "object") return `{${Object.entries(value).map(([k, v]) => `${scalar(k)}: ${flow(v)}`).join(", ")}}`;
  return scalar(value, true);
}

function scalar(value) {
  // YAML 1.1 takes 1e-7 for text, and 1.0e-7 for a number.
  if (typeof value === "number") return JSON.stringify(value).replace(/^(-?\d+)e/, "$1.0e");
  if (typeof value !== "string") return JSON.stringify(value);
  return PLAIN.test(value) && !WORDS.test(value) && value.trim() === value ? value : JSON.stringify(value);
}
