// How whole the data is: a row a symbol, a column an hour; and a calendar of days.

import { h } from "../dom.js";
import { fixed, when, words } from "../format.js";

const HOUR = 3600000;
const DAY = 24 * HOUR;
const WORST = ["missing", "degraded", "pending", "not_collected", "available", "none"];

/**
 * The state of an hour or a day: its condition; repaired where it is whole again after a hole; not_collected where all
 * that is not there was never asked for, for streaming had not begun.
 */
export function stateOf(row) {
  if (!row.minutes_expected) return "none";
  const unasked = row.minutes_our_outage || row.minutes_expired || row.minutes_venue_gap ? 0 : row.minutes_not_collected;
  if (row.condition === "available") return row.minutes_repaired > unasked ? "repaired" : "available";
  return unasked && !row.minutes_pending && unasked >= row.minutes_partial + row.minutes_missing ? "not_collected" : row.condition;
}

/** A day that had a hole and is whole again is as good as any. */
const ofDay = (row) => (stateOf(row) === "repaired" ? "available" : stateOf(row));

function sentence(row) {
  const absent = stateOf(row) === "not_collected" ? [["before streaming began", row.minutes_not_collected]] : [["partial", row.minutes_partial], ["missing", row.minutes_missing]];
  const parts = [["repaired", row.minutes_repaired], ["pending", row.minutes_pending], ...absent, ["without a trade", row.minutes_no_trades]].filter(([, count]) => count);
  return `${row.percent_proven === null ? "not expected" : `${fixed(row.percent_proven, 1)} % proven`}${parts.length ? `: ${parts.map(([name, count]) => `${count} min ${name}`).join(", ")}` : ""}`;
}

/** The heat map; `onChoose` gets the row of an hour. */
export function heat(rows, chosen, onChoose) {
  const hours = [...new Set(rows.map((row) => row.hour_start))].sort();
  const first = Date.parse(hours.at(0)), last = Date.parse(hours.at(-1));
  const columns = Array.from({ length: Math.round((last - first) / HOUR) + 1 }, (_, place) => first + place * HOUR);
  const symbols = [...new Set(rows.map((row) => `${row.exchange} ${row.symbol}`))].sort();
  const found = new Map(rows.map((row) => [`${row.exchange} ${row.symbol} ${Date.parse(row.hour_start)}`, row]));
  const element = h("div", { class: "heat", role: "group", "aria-label": "Completeness by hour" });
  element.style.gridTemplateColumns = `max-content repeat(${columns.length}, minmax(10px, 1fr))`;
  element.append(h("span", { class: "who" }), ...columns.map((at, place) => h("span", { class: "hour num" }, place % 6 === 0 ? when(at, new Date(at).getUTCHours() === 0 || place === 0 ? "short" : "time").replace(", 00:00", "") : "")));
  for (const name of symbols) {
    const [exchange, symbol] = name.split(" ");
    element.append(h("span", { class: "who", title: exchange }, symbol));
    for (const at of columns) {
      const row = found.get(`${name} ${at}`);
      if (!row) { element.append(h("span", { class: "cell s-none", title: `${symbol} ${when(at)}: nothing is known` })); continue; }
      const isChosen = chosen && chosen.exchange === exchange && chosen.symbol === symbol && Date.parse(chosen.start) === at;
      const said = `${symbol} ${when(at)}: ${sentence(row)}`;
      element.append(h("button", { type: "button", class: `cell s-${stateOf(row)}`, "aria-label": said, title: said, "aria-pressed": String(Boolean(isChosen)), "data-symbol": symbol, "data-hour": row.hour_start, "data-state": stateOf(row), onclick: () => onChoose(row) }));
    }
  }
  return element;
}

export const key = () => h("div", { class: "key" }, [["available", "complete"], ["repaired", "had a hole, repaired"], ["pending", "not proven yet"], ["not_collected", "before streaming began"], ["degraded", "something is missing"], ["missing", "missing"], ["none", "not expected"]].map(([state, text]) => h("span", {}, h("i", { class: `s-${state}` }), text)));

/** A calendar of days, a column a week from Monday; where several symbols share a day, the worst of them. */
export function calendar(rows) {
  const days = new Map();
  for (const row of rows) {
    const there = days.get(row.day);
    if (!there || WORST.indexOf(ofDay(row)) < WORST.indexOf(ofDay(there))) days.set(row.day, row);
  }
  const sorted = [...days.keys()].sort();
  const first = Date.parse(sorted[0]), weekday = (new Date(first).getUTCDay() + 6) % 7;
  const element = h("div", { class: "calendar", role: "group", "aria-label": "Condition by day" });
  for (let place = 0; place < weekday; place++) element.append(h("span"));
  for (let at = first; at <= Date.parse(sorted.at(-1)); at += DAY) {
    const row = days.get(new Date(at).toISOString().slice(0, 10));
    const said = row ? `${new Date(at).toISOString().slice(0, 10)} ${row.symbol}: ${words(ofDay(row))}, ${sentence(row)}` : `${new Date(at).toISOString().slice(0, 10)}: nothing is known`;
    element.append(h("span", { class: `cell s-${row ? ofDay(row) : "none"}`, title: said, role: "img", "aria-label": said }));
  }
  return h("div", {}, element, h("p", { class: "key" }, `${when(first, "date")} to ${when(Date.parse(sorted.at(-1)), "date")}; a column is a week, from Monday on`));
}
