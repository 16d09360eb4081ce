// One alert: what happened, when, and who was told.

import { h } from "../dom.js";
import { duration, when } from "../format.js";

const PILLS = { critical: "bad full", warning: "warn", info: "" };

function subject(name) {
  const [exchange, symbol, ...more] = name.split(" ");
  const isMarket = symbol && !more.length && /^[^a-z]+$/.test(symbol);
  return isMarket ? h("a", { href: `/?${new URLSearchParams({ ...(exchange === "binance" ? {} : { exchange }), symbol })}`, "data-page": true }, name) : name;
}

function time(title, at, more = "") {
  return at ? h("div", {}, h("dt", {}, title), h("dd", {}, h("time", { datetime: at, class: "num" }, when(at, "exact")), more)) : null;
}

function delivery({ destination, about, attempts, delivered_at, next_attempt_at, answer }) {
  const what = about === "fired" ? "" : " that it is over";
  if (delivered_at) return h("li", {}, h("b", {}, destination), ` was told${what} `, h("time", { datetime: delivered_at, class: "num" }, when(delivered_at, "seconds")));
  const tries = attempts ? `, after ${attempts} ${attempts === 1 ? "try" : "tries"}; the next at ${when(next_attempt_at, "seconds")}` : "";
  return h("li", { class: "waits" }, h("b", {}, destination), ` is not told${what} yet${tries}`, answer ? h("small", {}, answer) : null);
}

/** Its row in a list; `onAcknowledge(row, button)` is asked for by the button of one that is active and not seen. */
export function alert(row, onAcknowledge) {
  const isUnseen = !row.resolved_at && !row.acknowledged_at;
  const lasted = row.resolved_at ? duration((Date.parse(row.resolved_at) - Date.parse(row.fired_at)) / 1000) : "";
  return h("li", { class: `alert ${row.severity}${isUnseen ? " unseen" : ""}`, "data-alert": row.id },
    h("span", { class: `pill ${PILLS[row.severity]}` }, row.severity),
    h("div", { class: "what" },
      h("h3", {}, row.rule, row.kind === row.rule ? null : h("i", {}, row.kind), h("span", {}, subject(row.subject))),
      h("p", {}, row.text), row.resolved_text ? h("p", { class: "soft" }, row.resolved_text) : null),
    h("dl", {}, time("Fired", row.fired_at), time("Over", row.resolved_at, h("span", { class: "faint" }, ` after ${lasted}`)), time("Acknowledged", row.acknowledged_at)),
    h("ul", {}, row.deliveries.length ? row.deliveries.map(delivery) : h("li", { class: "faint" }, "Kept here alone: the rule has no destination.")),
    isUnseen ? h("button", { class: "button", type: "button", "data-acknowledge": row.id, "aria-label": `Acknowledge ${row.rule}, ${row.subject}`, onclick: (event) => onAcknowledge(row, event.currentTarget) }, "Acknowledge") : null);
}
