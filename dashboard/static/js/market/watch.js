// The watch list: every symbol with its price, change and last 24 hours.

import { h, say } from "../dom.js";
import { direction, exact, percent, places } from "../format.js";

/** A line of closes, without axes. */
export function sparkline(closes) {
  if (closes.length < 2) return h("svg", { "aria-hidden": true });
  const low = Math.min(...closes), high = Math.max(...closes), step = 54 / (closes.length - 1);
  const points = closes.map((close, place) => `${(place * step).toFixed(1)},${(22 - (20 * (close - low)) / (high - low || 1)).toFixed(1)}`);
  return h("svg", { viewBox: "0 0 54 24", "aria-hidden": true }, h("polyline", { class: `spark ${closes.at(-1) >= closes[0] ? "up" : "down"}`, points: points.join(" ") }));
}

export class Watch {
  #rows = new Map();

  constructor(onChoose) {
    this.search = h("input", { class: "field", type: "search", placeholder: "Find a symbol   /", "aria-label": "Find a symbol", oninput: () => this.#filter(), onkeydown: (event) => this.#key(event) });
    this.list = h("div", { class: "list" });
    this.element = h("section", { class: "panel watch", "aria-label": "Watch list" }, h("header", {}, this.search), this.list);
    this.onChoose = onChoose;
    this.chosen = "";
  }

  draw(markets) {
    if (markets.length !== this.#rows.size || markets.some((market) => !this.#rows.has(`${market.exchange}:${market.symbol}`))) {
      this.#rows.clear();
      this.list.replaceChildren(...markets.map((market) => this.#row(market)));
      this.#filter();
      this.#mark();
    }
    for (const market of markets) {
      const row = this.#rows.get(`${market.exchange}:${market.symbol}`);
      const line = sparkline(market.closes);
      row.line.replaceWith(line);
      row.line = line;
      this.price(`${market.exchange}:${market.symbol}`, market.price ?? (market.closes.length ? String(market.closes.at(-1)) : null), market.change_24h_percent);
    }
  }

  #row({ exchange, symbol, base_asset: base, quote_asset: quote, tick_size }) {
    const [price, change, line] = [h("span", { class: "price num" }), h("span", { class: "change num" }), sparkline([])];
    const button = h("button", { type: "button", "data-symbol": symbol, onclick: () => this.onChoose(exchange, symbol) },
      h("span", { class: "name" }, base, h("i", {}, `/${quote}`)), h("span", { class: "venue" }, exchange), line, price, change);
    this.#rows.set(`${exchange}:${symbol}`, { exchange, symbol, button, price, change, line, digits: places(tick_size) });
    return button;
  }

  price(key, price, change) {
    const row = this.#rows.get(key);
    if (!row) return;
    say(row.price, exact(price, row.digits));
    say(row.change, percent(change));
    row.change.className = `change num ${direction(change)}`;
  }

  choose(exchange, symbol) {
    this.chosen = `${exchange}:${symbol}`;
    this.#mark();
  }

  #mark() {
    for (const [key, row] of this.#rows) {
      if (key === this.chosen) row.button.setAttribute("aria-current", "true");
      else row.button.removeAttribute("aria-current");
    }
  }

  /** Go up or down from the one that is chosen. */
  step(by) {
    const shown = [...this.#rows.values()].filter((row) => !row.button.hidden);
    const place = shown.findIndex((row) => row.button.hasAttribute("aria-current"));
    const next = shown[(place + by + shown.length) % shown.length];
    if (!next) return;
    next.button.scrollIntoView({ block: "nearest" });
    this.onChoose(next.exchange, next.symbol);
  }

  #filter() {
    const text = this.search.value.trim().toUpperCase();
    for (const { symbol, button } of this.#rows.values()) button.hidden = !symbol.includes(text);
  }

  #key(event) {
    if (event.key === "Enter") {
      const first = [...this.#rows.values()].find((row) => !row.button.hidden);
      if (!first) return;
      this.onChoose(first.exchange, first.symbol);
    } else if (event.key !== "Escape") return;
    this.search.value = "";
    this.#filter();
    this.search.blur();
    event.stopPropagation();
  }
}
