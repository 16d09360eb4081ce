// Elements without markup in strings: what comes from outside is text, never HTML.

const SVG = new Set(["svg", "path", "polyline"]);

/** An element with attributes; a name that begins with "on" is a listener, a value of false or null leaves it out. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set the text of an element where it differs, so that nothing flickers. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A panel with a title. */
export function panel(title, body, { classes = "", note = "", tools = [] } = {}) {
  return h("section", { class: `panel ${classes}`, "aria-label": title },
    h("header", {}, h("h2", {}, title), h("span", { class: "note", title: note }, note), h("span", { class: "grow" }), ...tools), body);
}

/** Fill an element from a promise: while it is asked, what is empty, and what went wrong are said in words. */
export async function fill(element, asked, draw, empty) {
  try {
    const answer = await asked;
    const drawn = draw(answer);
    element.replaceChildren(drawn ?? h("p", { class: "empty" }, empty));
  } catch (error) {
    element.replaceChildren(h("p", { class: "fault" }, error.message));
  }
}

/** A table of rows; each column is [title, value of a row, class]. */
export function table(columns, rows) {
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map(([title, , kind = ""]) => h("th", { class: kind, scope: "col" }, title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([, value, kind = ""]) => h("td", { class: kind }, value(row) ?? "–")))))));
}
