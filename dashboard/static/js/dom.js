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

/** A panel's body before anything has come. */
export const loading = (classes = "body") => h("div", { class: classes }, h("p", { class: "empty" }, "Loading …"));

/** Give a select its choices, where they are others, and choose one. */
export function choices(select, values, chosen, text = (value) => value) {
  if ([...select.options].map(({ value }) => value).join() !== values.join()) select.replaceChildren(...values.map((value) => h("option", { value }, text(value))));
  select.value = chosen;
}

/** Figures with a title each, by name; `say(name, value, small, kind)` tells one. */
export function tiles(titles) {
  const made = Object.fromEntries(Object.entries(titles).map(([name, title]) => [name, tile(title, "–", " ")]));
  const element = h("div", { class: "tiles" }, Object.values(made));
  const tell = (name, value, small, kind = "") => {
    const [, shown, below] = made[name].children;
    say(shown, value);
    say(below, small || " ");
    made[name].className = `tile ${kind}`;
  };
  return { element, say: tell };
}

/** A figure with its title. */
export const tile = (title, value, small, kind = "") => h("div", { class: "tile" }, h("span", {}, title), h("b", { class: kind }, value), h("small", {}, small));

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
