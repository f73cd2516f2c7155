// Elements from values: text is always text, whatever it says.

/** h("p", {class: "note", onclick: go}, "text", element, null): an element with its children. */
export function h(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  return filled(made, given, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for parts of a picture. */
export function s(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

function filled(made, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else made.setAttribute(name, String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** What is in an element becomes this; what has the focus keeps it by its id. */
export function put(place, ...children) {
  const held = document.activeElement?.id;
  place.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  if (held && document.activeElement?.id !== held) place.querySelector(`#${CSS.escape(held)}`)?.focus();
  return place;
}

/**
 * A table of rows: columns are [title, row => content, {class}]. One that `stacks` shows its rows
 * below each other on a narrow screen; roles say then what its elements no longer do.
 */
export function table(columns, rows, { caption = null, empty = "There is none yet.", stacks = false } = {}) {
  if (rows.length === 0) return h("p", { class: "quiet" }, empty);
  const role = (name) => (stacks ? { role: name } : {});
  const head = h("tr", role("row"), columns.map(([title, , more = {}]) => h("th", { scope: "col", ...role("columnheader"), ...more }, title)));
  const body = rows.map((row) =>
    h("tr", role("row"), columns.map(([title, content, more = {}]) => h("td", { ...role("cell"), ...(stacks ? { "data-title": title } : {}), ...more }, content(row)))),
  );
  return h("div", { class: stacks ? "wide stacks" : "wide", tabindex: "0", role: "region", "aria-label": caption ?? "Table" },
    h("table", role("table"), caption ? h("caption", {}, caption) : null, h("thead", role("rowgroup"), head), h("tbody", role("rowgroup"), body)));
}

/** A question before something that cannot be undone; true if the answer is yes. */
export function confirmed(question, yes) {
  return new Promise((resolve) => {
    const answer = (value) => () => { dialog.close(); dialog.remove(); resolve(value); };
    const dialog = h("dialog", { "aria-label": question, oncancel: answer(false) },
      h("p", {}, question),
      h("div", { class: "row" },
        h("button", { type: "button", onclick: answer(false) }, "No, leave it"),
        h("button", { type: "button", class: "danger", onclick: answer(true) }, yes)));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Hand a file to the browser. */
export function save(content, name, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
