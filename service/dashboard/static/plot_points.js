// The trials of a search in columns: added to and changed in place, however many there are.

import { KINDS, kindOf } from "./plot_shapes.js";

const FIRST = 1024; // rows that there is room for at first

/** One search's trials over two metrics, and its front. */
export class Points {
  constructor() {
    this.clear();
  }

  clear() {
    this.count = 0;
    this.number = new Int32Array(FIRST);
    this.kind = new Uint8Array(FIRST);
    this.isBest = new Uint8Array(FIRST); // on the front
    this.x = new Float64Array(FIRST);
    this.y = new Float64Array(FIRST);
    this.row = new Map(); // by number
    this.front = []; // {number, x, y, xLow, xHigh, yLow, yHigh, flag, hasTracker}, by x
    this.members = new Set(); // their numbers
    this.knee = null;
  }

  /** What the service says at /points: the whole, or what came since. */
  take(answer) {
    if (answer.since === null) this.clear();
    const { number, state, feasible, x, y } = answer.trials;
    this.room(this.count + number.length);
    for (let i = 0; i < number.length; i += 1) {
      const kind = kindOf(answer.states[state[i]], feasible[i]);
      this.put(number[i], kind, x[i] ?? NaN, y[i] ?? NaN);
    }
    this.best(answer.front, answer.knee);
  }

  /** A front alone, as /front and /jobs/compare say it: the points of its trials. */
  static ofFront(found, x, y) {
    const made = new Points();
    for (const point of found.points) made.put(point.number, 0, point.figures[x], point.figures[y]);
    const side = (name, place) => found.points.map((point) => point.ranges[name]?.[place] ?? null);
    made.best({
      number: found.points.map((point) => point.number),
      x: found.points.map((point) => point.figures[x]), y: found.points.map((point) => point.figures[y]),
      x_low: side(x, 0), x_high: side(x, 1), y_low: side(y, 0), y_high: side(y, 1),
      flag: found.points.map((point) => point.flag), has_tracker: found.points.map((point) => point.has_tracker),
    }, found.knee);
    return made;
  }

  put(number, kind, x, y) {
    let row = this.row.get(number);
    if (row === undefined) {
      this.room(this.count + 1);
      row = this.count;
      this.count += 1;
      this.row.set(number, row);
      this.number[row] = number;
    }
    this.kind[row] = kind;
    this.isBest[row] = this.members.has(number) ? 1 : 0;
    this.x[row] = x;
    this.y[row] = y;
  }

  room(rows) {
    if (rows <= this.number.length) return;
    const size = Math.max(rows, this.number.length * 2);
    for (const name of ["number", "kind", "isBest", "x", "y"]) {
      const larger = new this[name].constructor(size);
      larger.set(this[name]);
      this[name] = larger;
    }
  }

  best(columns, knee) {
    this.front = columns.number.map((number, i) => ({
      number, x: columns.x[i], y: columns.y[i],
      xLow: columns.x_low[i], xHigh: columns.x_high[i], yLow: columns.y_low[i], yHigh: columns.y_high[i],
      flag: columns.flag[i], hasTracker: Boolean(columns.has_tracker[i]),
    }));
    this.front.sort((one, other) => one.x - other.x || one.y - other.y);
    this.flag(this.members, 0);
    this.members = new Set(columns.number);
    this.flag(this.members, 1);
    this.knee = knee;
  }

  flag(numbers, value) {
    for (const number of numbers) {
      const row = this.row.get(number); // of a trial that is told of later there is none
      if (row !== undefined) this.isBest[row] = value;
    }
  }

  /** "front", "dominated" ... */
  kindAt(row) {
    return this.isBest[row] ? "front" : KINDS[this.kind[row]];
  }

  /** How many there are of each kind; those of which x or y is not known are not in the plot. */
  counts() {
    const found = { front: 0 };
    const each = new Int32Array(KINDS.length);
    for (let row = 0; row < this.count; row += 1) {
      if (this.isBest[row]) found.front += 1;
      else each[this.kind[row]] += 1;
    }
    KINDS.forEach((kind, code) => { found[kind] = each[code]; });
    return found;
  }
}
