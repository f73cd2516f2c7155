// Figures and times as people read them.

// What stands behind a figure. Counts are told bare, "12.15 M": what is counted is the label beside it, as on an axis.
const UNITS = { bytes: "B", share: "", loss: "", MACs: "", parameters: "" };
const WHOLE = ["ms", "s"]; // are not told in thousands

/** A metric's unit as it stands behind a figure. */
export const unitOf = (metric) => UNITS[metric?.unit] ?? metric?.unit ?? "";

/** A figure of the metric called `name` with its unit; `all` is what metrics() answers. */
export const told = (all, name, value) => figure(value, unitOf(all.get(name)));

/** A figure, with the interval in which it lies. */
export function range(value, low, high, unit) {
  const known = low !== null && low !== undefined && high !== null && high !== undefined;
  return figure(value, unit) + (known ? ` (${figure(low, unit)} to ${figure(high, unit)})` : "");
}

/** A figure with its unit, three or four digits that say something. */
export function figure(value, unit = "") {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const bare = WHOLE.includes(unit) || (unit === "" && Math.abs(value) < 1000);
  const [scaled, prefix] = bare ? [value, ""] : scale(value);
  const counted = unit === "" && prefix === "" && Number.isInteger(value); // has no decimals
  const text = counted ? String(value) : digits(scaled);
  return unit || prefix ? `${text} ${prefix}${unit}`.trimEnd() : text;
}

function scale(value) {
  const size = Math.abs(value);
  for (const [length, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= length) return [value / length, prefix];
  }
  return [value, ""];
}

export function digits(value) {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1000) return String(Math.round(value));
  if (size >= 100) return value.toFixed(1);
  if (size >= 10) return value.toFixed(2);
  if (size >= 0.001) return value.toFixed(3);
  return value.toExponential(2);
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 100) return `${digits(value)} s`;
  const minutes = value / 60;
  if (minutes < 100) return `${Math.round(minutes)} min`;
  return minutes < 60 * 48 ? `${few(minutes / 60)} h` : `${few(minutes / 60 / 24)} d`;
}

const few = (value) => String(Number(value.toPrecision(3))); // and no zeros behind them

/** "3 min ago", "in 2 h". */
export function ago(at, now = Date.now()) {
  if (!at) return "–";
  const away = (now - new Date(at).getTime()) / 1000;
  const size = Math.abs(away);
  for (const [length, unit] of [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    if (size >= length) {
      const told = `${Math.floor(size / length)} ${unit}`;
      return away >= 0 ? `${told} ago` : `in ${told}`;
    }
  }
  return "now";
}

export function moment(at) {
  return at ? new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–";
}

export const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)} %`);
