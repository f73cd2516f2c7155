// Two fingers on a plot: they move it, and bring it closer. One finger is as a mouse, and scrolls the page.

/** Where a movement begins: all of it is told from there, however often the plot is drawn meanwhile. */
export function begun(self, { offsetX: left, offsetY: top }, moves) {
  return { left, top, moves, scales: { x: self.plot.x.scale, y: self.plot.y.scale } };
}

/** Shows what was at the beginning's place at this one; closer for a factor below 1. */
export function move(self, start, left, top, factor = 1) {
  const places = { x: [start.left, left], y: [start.top, top] };
  const view = {};
  for (const [name, [before, now]] of Object.entries(places)) {
    const scale = start.scales[name];
    const ends = [scale.from, scale.to].map((end) => scale.value(before + (end - now) * factor));
    if (!ends.every(Number.isFinite) || ends[0] >= ends[1]) return;
    view[name] = ends;
  }
  self.view(view);
}

/** Makes a plot listen to two fingers; `letGo()` ends what one of them had begun. */
export function fingers(self, letGo) {
  const { canvas } = self;
  const down = new Map();
  let start = null;
  self.pinched = false; // until all fingers are lifted
  const both = () => {
    const [one, other] = [...down.values()];
    return { offsetX: (one.left + other.left) / 2, offsetY: (one.top + other.top) / 2, apart: Math.max(20, Math.hypot(one.left - other.left, one.top - other.top)) };
  };
  const put = (event) => down.set(event.pointerId, { left: event.offsetX, top: event.offsetY });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || !self.plot.area) return;
    put(event);
    if (down.size !== 2) return;
    letGo();
    self.tell(null);
    self.pinched = true;
    start = { ...begun(self, both(), true), apart: both().apart };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    put(event);
    if (start === null || down.size !== 2) return;
    const now = both();
    move(self, start, now.offsetX, now.offsetY, start.apart / now.apart);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      if (!down.delete(event.pointerId)) return;
      start = null;
      if (down.size === 0) setTimeout(() => { self.pinched = down.size > 0; }); // after the others have heard of it
    });
  }
  // Two fingers that go up or down together would scroll the page as one does.
  canvas.addEventListener("touchmove", (event) => event.touches.length > 1 && event.cancelable && event.preventDefault(), { passive: false });
}
