// The view is in the address: a link that is passed on opens the same.

/** The view's state by name, text or null. */
export function read(name, otherwise = null) {
  return new URLSearchParams(location.search).get(name) ?? otherwise;
}

export function readAll(name) {
  return new URLSearchParams(location.search).getAll(name);
}

/** Change some of it: null or "" leaves the name out; a list is said several times. */
export function write(changes) {
  const said = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    said.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "" && one !== false) said.append(name, one === true ? "1" : one);
    }
  }
  const query = said.toString();
  history.replaceState(null, "", location.pathname + (query ? `?${query}` : ""));
}
