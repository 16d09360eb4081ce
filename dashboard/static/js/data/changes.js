// What is otherwise than at the last visit: candles revised, holes mended, pairs listed.

import { h } from "../dom.js";
import { exact, when, words } from "../format.js";
import { source } from "./story.js";

const KEY = "visited";
const AGAIN_MS = 15 * 60000;

/** When the visit before this one was; a reload within a quarter of an hour belongs to the same visit. */
export function lastVisit() {
  const [before, seen] = JSON.parse(localStorage.getItem(KEY) ?? "[null,null]");
  const now = Date.now();
  const since = seen && now - seen < AGAIN_MS ? before : seen;
  localStorage.setItem(KEY, JSON.stringify([since, now]));
  return since ?? now - 24 * 3600000;
}

/** Three lists. */
export function changes({ revisions, repairs, listings }, onHour) {
  const list = (title, rows, none, text) => h("section", {}, h("h3", {}, `${title} (${rows.length >= 200 ? "200 or more" : rows.length})`), rows.length ? h("ul", {}, rows.slice(0, 50).map((row) => h("li", {}, text(row)))) : h("p", { class: "faint" }, none));
  const hour = (row, at, text) => h("button", { class: "linked", type: "button", onclick: () => onHour(row.exchange, row.symbol, at) }, text);
  return h("div", { class: "changes" },
    list("Holes mended or given up", repairs, "None.", (row) => [hour(row, row.event_time, `${row.symbol} ${when(row.event_time)}`), ` ${words(row.gap_stream)}: ${row.status === "repaired" ? `repaired, ${source(row.repaired_from)}` : words(row.status)}`]),
    list("Candles revised", revisions, "None: what was known then still holds.", (row) => [hour(row, row.interval_start, `${row.symbol} ${when(row.interval_start)}`), ` version ${row.revision}, close ${exact(row.close, row.close.split(".")[1]?.length ?? 0)}`]),
    list("Listings and halts", listings, "None.", (row) => `${row.symbol} ${words(row.status).toLowerCase()}, ${when(row.valid_from)}`));
}
