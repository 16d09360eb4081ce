// The order book and the last trades, in rows that are made once and only change their text.

import { h, say } from "../dom.js";
import { exact, when } from "../format.js";

const LEVELS = 5;
const TRADES = 40;

function level(side) {
  const [price, size, meter] = [h("td", { class: `num ${side === "bid" ? "up" : "down"}` }), h("td", { class: "right num" }), h("meter", { min: 0, max: 1, value: 0, "aria-hidden": true })];
  return { row: h("tr", { class: side }, price, size, h("td", { class: "depth" }, meter)), price, size, meter };
}

export class Book {
  constructor() {
    this.asks = Array.from({ length: LEVELS }, () => level("ask"));
    this.bids = Array.from({ length: LEVELS }, () => level("bid"));
    this.spread = h("td", { colspan: 3, class: "num" }, "–");
    this.note = h("span", { class: "note" });
    this.element = h("section", { class: "panel book", "aria-label": "Order book" },
      h("header", {}, h("h2", {}, "Order book"), this.note),
      h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Price"), h("th", { class: "right" }, "Size"), h("th", { class: "right" }, "Sum"))),
        h("tbody", {}, [...this.asks].reverse().map(({ row }) => row), h("tr", { class: "mid" }, this.spread), this.bids.map(({ row }) => row))));
  }

  draw({ bids, asks }, digits, sizes) {
    const sums = [bids, asks].map((side) => side.reduce((sum, [, size]) => sum + Number(size), 0));
    const most = Math.max(...sums) || 1;
    for (const [levels, side] of [[this.bids, bids], [this.asks, asks]]) {
      let sum = 0;
      levels.forEach((one, place) => {
        const [price, size] = side[place] ?? [null, null];
        sum += Number(size ?? 0);
        say(one.price, price === null ? "" : exact(price, digits));
        say(one.size, size === null ? "" : exact(size, sizes));
        one.meter.value = price === null ? 0 : sum / most;
      });
    }
    if (!bids.length || !asks.length) return say(this.spread, bids.length || asks.length ? "one side is empty" : "no book has come yet");
    const [bid, ask] = [Number(bids[0][0]), Number(asks[0][0])], spread = ask - bid;
    say(this.spread, `Spread ${spread.toFixed(digits)} · ${((spread / ((ask + bid) / 2)) * 1e4).toFixed(2)} bp`);
    say(this.note, `${Math.round((100 * sums[0]) / (sums[0] + sums[1] || 1))} % bid`);
  }
}

export class Trades {
  constructor() {
    this.rows = Array.from({ length: TRADES }, () => {
      const [price, size, time] = [h("td", { class: "num" }), h("td", { class: "right num" }), h("td", { class: "right num faint" })];
      return { price, size, time, row: h("tr", { hidden: true }, price, size, time) };
    });
    this.element = h("section", { class: "panel trades", "aria-label": "Last trades" }, h("header", {}, h("h2", {}, "Last trades")),
      h("div", { class: "rows" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Price"), h("th", { class: "right" }, "Size"), h("th", { class: "right" }, "Time"))), h("tbody", {}, this.rows.map(({ row }) => row)))));
  }

  draw(trades, digits, sizes) {
    this.rows.forEach(({ row, price, size, time }, place) => {
      const trade = trades[place];
      row.hidden = !trade;
      if (!trade) return;
      const [, at, paid, quantity, isSold] = trade;
      say(price, exact(paid, digits));
      price.className = `num ${isSold ? "down" : "up"}`;
      say(size, exact(quantity, sizes));
      say(time, when(at, "seconds"));
    });
  }
}
