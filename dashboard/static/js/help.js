// The keys, and what colours and states mean.

import { h } from "./dom.js";

const KEYS = [
  ["/", "find a symbol"], ["↑ ↓", "the symbol above, below"], ["t  T", "the next, the last timeframe"], ["i", "indicators"],
  ["← →", "back and forth in time"], ["+ −", "closer, farther"], ["0", "back to now"], ["m p a l o", "market, portfolio, data, alerts, API"],
  ["d", "dark or light"], ["z", "UTC or local time"], ["?", "this help"], ["Esc", "close"],
];

/** Show it, or close it. */
export function help() {
  const dialog = document.getElementById("help-dialog");
  if (dialog.open) return dialog.close();
  dialog.replaceChildren(
    h("header", {}, h("h2", { id: "help-title" }, "Keys and meanings"), h("button", { class: "plain", onclick: () => dialog.close() }, "Close")),
    h("div", { class: "columns" }, KEYS.map(([keys, what]) => h("div", {}, h("span", {}, what), h("span", {}, keys.split(" ").filter(Boolean).map((key) => h("kbd", {}, key)))))),
    h("p", {}, "Blue is up, or bought; orange is down, or sold. The newest candle comes from the stream and moves with each trade; the lake's row replaces it within a minute or two, proven."),
    h("p", {}, "Prices are drawn by ", h("a", { href: "https://www.tradingview.com/", rel: "noreferrer" }, "TradingView"), " Lightweight Charts™, the rest by Apache ECharts."),
  );
  dialog.showModal();
}
