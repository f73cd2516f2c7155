// Where labels of a plot have room: none lies on another.

const HIGH = 14; // pixels of a line of text

/**
 * Finds places in an area. What it returns: place(spots, width), the first of the spots
 * [{x, y, align}] where a text so wide fits, and keep(box) for what nothing may lie on.
 */
export function labels(area) {
  const taken = [];
  const free = (box) => inside(box, area) && !taken.some((other) => meet(box, other));
  return {
    keep: (box) => taken.push(box),
    place(spots, width) {
      for (const spot of spots) {
        const box = boxOf(spot, width);
        if (!free(box)) continue;
        taken.push(box);
        return spot;
      }
      return null;
    },
  };
}

/** Around a shape: right of it, left of it, above, below. */
export function beside(left, top) {
  return [
    { x: left + 11, y: top + 4, align: "left" }, { x: left - 11, y: top + 4, align: "right" },
    { x: left, y: top - 12, align: "center" }, { x: left, y: top + 21, align: "center" },
    { x: left + 8, y: top - 10, align: "left" }, { x: left - 8, y: top - 10, align: "right" },
    { x: left + 8, y: top + 18, align: "left" }, { x: left - 8, y: top + 18, align: "right" },
  ];
}

function boxOf({ x, y, align }, width) {
  const left = x - { left: 0, right: width, center: width / 2 }[align];
  return { left, right: left + width, top: y - HIGH + 3, bottom: y + 3 };
}

const inside = (box, area) => box.left >= area.left - 2 && box.right <= area.right + 10 && box.top >= area.top - 10 && box.bottom <= area.bottom;
const meet = (one, other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
