// The minutes of one hour, and the story of one minute: what was expected, what came, why not, and how it was mended.

import { get } from "../api.js";
import { fill, h } from "../dom.js";
import { fixed, when, words } from "../format.js";

const REASONS = {
  no_trades: "Nothing traded in this minute, and that is proven. There is no candle, and nothing is missing.",
  halt: "The exchange did not trade this pair then.", not_listed: "The pair was not listed then.", our_outage: "We did not receive it: our connection or service was down.",
  expired: "It was not streamed, and the exchange no longer gives it out.", venue_gap: "The exchange itself never issued these ids.", not_collected: "It was not asked for then: streaming had not begun.",
};
const CAUSES = {
  disconnect: "The connection to the exchange broke.", id_jump: "The trades' numbers jumped: some did not reach us.", silence: "The stream fell silent.", no_closed_kline: "The closing kline of the minute did not come.",
  service_stopped: "Our streaming service was stopped.", spool_damaged: "What waited on disk was damaged.", offsets_expired: "Kafka dropped what was not read yet.",
};
const SOURCES = { rest: "asked from the exchange by REST", archive: "taken from the exchange's archive", websocket: "only late: it came by the stream", agg_trades: "as merged fills from the exchange" };
const STATUS = { complete: "Complete", repaired: "Repaired: complete again after a hole", not_collected: "Before streaming began", pending: "Pending: not proven yet, and still may be", partial: "Partial: something is missing", missing: "Missing", not_expected: "Not expected" };

export const cause = (name) => CAUSES[name] ?? words(name);
export const source = (name) => SOURCES[name] ?? words(name);

/**
 * What a minute is shown as: its status, or its reason where that says more. What nobody had asked for is neither a hole
 * nor one that was mended.
 */
function stateOf({ status, reason }) {
  if (reason === "no_trades") return reason;
  if (reason !== "not_collected") return status;
  return { repaired: "complete", partial: reason, missing: reason }[status] ?? status;
}

function told(minute) {
  const lines = [];
  const say = (title, text) => lines.push(h("li", {}, h("b", {}, title), h("span", {}, text)));
  say("State", STATUS[stateOf(minute)] ?? STATUS[minute.status] ?? words(minute.status));
  if (minute.reason) say("Why", REASONS[minute.reason] ?? words(minute.reason));
  if (minute.trades_expected !== null) say("Trades", `${minute.trades_expected} were made at the exchange; ${minute.trades_received} are here${minute.trades_missing ? `; ${minute.trades_missing} are missing` : ", none is missing"}.`);
  else if (minute.trades_received) say("Trades", `${minute.trades_received} are here; nothing tells yet how many there were.`);
  const parts = [["streamed", minute.trades_websocket], ["repaired by REST", minute.trades_rest], ["from the archive", minute.trades_archive], ["within merged fills", minute.trades_merged]].filter(([, count]) => count);
  if (parts.length) say("They came", parts.map(([how, count]) => `${count} ${how}`).join(", "));
  if (minute.gap_cause) say("What broke", cause(minute.gap_cause));
  if (minute.gap_status) say("The hole now", minute.gap_status === "repaired" ? `Repaired${minute.gap_repaired_from ? `, ${source(minute.gap_repaired_from)}` : ""}.` : minute.gap_status === "open" ? "Open: it is being fetched." : words(minute.gap_status));
  if (minute.evidence) say("On record", minute.evidence);
  say("Proof", { trade_ids: "Every trade's number from the first to the last is here.", exchange_kline: "The exchange's own closed kline.", agg: "All trades, some of them as merged fills.", none: "None yet." }[minute.proof] ?? words(minute.proof));
  return h("ol", {}, lines);
}

/** Draw the hour of a symbol into an element. */
export function showHour(element, { exchange, symbol, start }) {
  const end = new Date(Date.parse(start) + 3600000).toISOString();
  element.setAttribute("aria-busy", "true");
  return fill(element, get("completeness", { by: "minute", exchange, symbol, start, end }).finally(() => element.removeAttribute("aria-busy")), ({ rows }) => rows.length && hour(symbol, start, rows), "The lake has no minute of this hour.");
}

function hour(symbol, start, rows) {
  const right = h("div", { class: "told", "aria-live": "polite" });
  const heading = h("h3", {});
  const cells = rows.map((minute) => h("button", { type: "button", class: `cell s-${stateOf(minute)}`, "aria-pressed": "false", "aria-label": `${when(minute.interval_start, "time")} ${words(minute.status)}`, title: `${when(minute.interval_start, "time")} ${words(minute.reason ?? minute.status)}`, onclick: () => choose(minute) }));
  function choose(minute) {
    cells.forEach((cell, place) => cell.setAttribute("aria-pressed", String(rows[place] === minute)));
    heading.textContent = `${symbol}, ${when(minute.interval_start, "whole")}`;
    right.replaceChildren(heading, told(minute));
  }
  const count = (test) => rows.filter(test).length;
  const sums = [[["complete"], "complete"], [["no_trades"], "without a trade"], [["repaired"], "repaired"], [["pending"], "pending"], [["not_collected"], "before streaming began"], [["partial", "missing"], "not whole"], [["not_expected"], "not expected"]].map(([states, what]) => [count((m) => states.includes(stateOf(m))), what]).filter(([number]) => number);
  const expected = count((m) => m.status !== "not_expected"), proven = count((m) => ["complete", "repaired"].includes(m.status));
  choose(rows.find((m) => ["partial", "missing"].includes(m.status)) ?? rows.find((m) => m.status === "repaired") ?? rows.find((m) => m.gap_cause) ?? rows[0]);
  return h("div", { class: "story" },
    h("div", {}, h("h3", {}, `${symbol}, ${when(start, "short")} to ${when(Date.parse(start) + 3600000, "time")}`), h("div", { class: "minutes", role: "group", "aria-label": "Minutes" }, cells),
      h("p", { class: "soft" }, `${sums.map(([number, what]) => `${number} ${what}`).join(", ")}. ${expected ? `${fixed((100 * proven) / expected, 1)} % of ${expected} minutes are proven.` : ""}`)), right);
}
