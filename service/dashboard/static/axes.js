// Axes: values to pixels and back, ticks at round values, and units as people say them.

/** Values from `low` to `high` on pixels from `from` to `to`; both ways. */
export function scale(low, high, log, from, to) {
  const inner = log ? Math.log10 : (value) => value;
  const outer = log ? (value) => 10 ** value : (value) => value;
  const start = inner(low);
  const span = inner(high) - start || 1;
  return {
    low, high, log, from, to,
    pixel: (value) => from + ((inner(value) - start) / span) * (to - from),
    value: (pixel) => outer(start + ((pixel - from) / (to - from)) * span),
  };
}

/** What to show of values that go from `low` to `high`: some room beyond both; what can be shown. */
export function widened(low, high, log) {
  if (!(low <= high)) return log ? [1, 10] : [0, 1];
  if (log) {
    const room = Math.max(Math.log10(high / low) * 0.04, 0.02);
    return [low / 10 ** room, high * 10 ** room];
  }
  const room = (high - low) * 0.04 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

const STEPS = [1, 2, 5, 10];

/** Round values on a scale, about one every `room` pixels. */
export function ticks(scale, room) {
  const most = Math.max(2, Math.floor(Math.abs(scale.to - scale.from) / room));
  return scale.log && scale.high / scale.low > 8 ? decades(scale, most) : evenly(scale, most);
}

function evenly({ low, high }, most) {
  const rough = (high - low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * STEPS.find((one) => one * size >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

function decades({ low, high }, most) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const choices = [[1, 2, 5], [1, 3], [1]];
  const inside = (list) => list.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  for (const digits of choices) {
    const found = [];
    for (let power = first; power <= last; power += 1) found.push(...digits.map((digit) => digit * 10 ** power));
    if (inside(found).length <= most || digits.length === 1) return inside(found);
  }
  return [];
}

const SIZES = [[1e9, "G", "billions"], [1e6, "M", "millions"], [1e3, "k", "thousands"], [1, "", ""]];

/** How figures of a unit are told between two values: what they are divided by, and its words. */
export function wording(unit, low, high) {
  const largest = Math.max(Math.abs(low), Math.abs(high));
  const [factor, letter, word] = SIZES.find(([size]) => largest >= size) ?? SIZES.at(-1);
  if (unit === "bytes") return { factor, unit: `${letter}B` };
  if (unit === "MACs" || unit === "parameters") return { factor, unit: word };
  return { factor: 1, unit: unit === "ms" ? "ms" : "" };
}

/** An axis's title: "MACs a frame, millions". */
export function title(metric, words) {
  return words.unit ? `${metric.label}, ${words.unit}` : metric.label;
}

/** A tick as text, with as many digits as tell it from its neighbours. */
export function tickText(value, all, factor) {
  const shown = value / factor;
  const gaps = all.slice(1).map((one, i) => Math.abs(one - all[i]) / factor);
  const nearest = Math.min(...gaps, Math.abs(shown) || 1);
  const places = Math.max(0, Math.min(8, -Math.floor(Math.log10(nearest) + 1e-9)));
  return shown.toFixed(gaps.length ? places : Math.min(places + 1, 8)).replace(/^-0$/, "0");
}
