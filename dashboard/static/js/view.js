// What is shown stands in the address, so that a link keeps it.

export const read = () => Object.fromEntries(new URLSearchParams(location.search));

/** Change some of it; null takes a value out. `push` makes a step that the browser's back button undoes. */
export function write(changes, { push = false } = {}) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  const address = location.pathname + (query.size ? `?${query}` : "");
  if (address !== location.pathname + location.search) history[push ? "pushState" : "replaceState"](null, "", address);
}
