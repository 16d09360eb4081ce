// The market page: what is chosen stands in the address, what streams is merged into what the lake has.

import { get } from "../api.js";
import { h, say } from "../dom.js";
import { brief, direction, exact, fixed, percent, places, when } from "../format.js";
import { live } from "../live.js";
import * as view from "../view.js";
import { Book, Trades } from "./book.js";
import { Candles, PIECE } from "./candles.js";
import { Chart } from "./chart.js";
import { grouped } from "./indicators.js";
import { Watch } from "./watch.js";

const INTERVALS = ["1m", "5m", "15m", "1h", "4h", "1d"];
const SECONDS = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400 };
const REFRESH_MS = 15000;
const EDGE_BARS = 60;

export function open(main) {
  const ending = new AbortController();
  const page = new Page(main, ending);
  page.start();
  return { leave: () => page.leave(), keys: page.keys() };
}

class Page {
  constructor(main, ending) {
    this.ending = ending;
    this.markets = new Map();
    this.groups = new Map();
    this.chosen = { exchange: "binance", symbol: "", interval: "1m" };
    this.digits = 2;
    this.sizes = 5;
    this.indicatorRows = [];
    this.noting = null;
    this.watch = new Watch((exchange, symbol) => this.choose({ exchange, symbol }));
    this.book = new Book();
    this.trades = new Trades();
    this.title = h("h1", {}, "–");
    this.last = h("span", { class: "last num", "data-price": true }, "–");
    this.facts = Object.fromEntries(["change", "high", "low", "volume", "turnover"].map((name) => [name, h("dd", { class: "num" }, "–")]));
    const titles = { change: "24 h", high: "High", low: "Low", volume: "Volume", turnover: "Turnover" };
    this.timeframes = INTERVALS.map((interval) => h("button", { type: "button", onclick: () => this.choose({ interval }), "aria-pressed": "false" }, interval));
    this.box = h("div", { class: "box" });
    this.menu = h("details", { class: "menu" }, h("summary", {}, "Indicators"), this.box);
    this.markToggle = h("button", { type: "button", "aria-pressed": "true", title: "Signals and anomalies on the chart", onclick: () => this.toggleMarks() }, "Signals");
    this.legend = h("div", { class: "legend num" });
    this.over = h("div", { class: "over" }, "Loading …");
    this.tip = h("div", { class: "tip", hidden: true });
    this.back = h("button", { class: "back", type: "button", hidden: true, onclick: () => this.toNow() }, "Now →");
    this.canvas = h("div", { class: "canvas" });
    this.box2 = h("div", { class: "chart", role: "img", "aria-label": "Price chart" }, this.canvas, this.legend, this.over, this.tip, this.back);
    main.replaceChildren(h("div", { class: "market" }, this.watch.element,
      h("section", { class: "panel center", "aria-label": "Chart" },
        h("div", { class: "quote" }, this.title, this.last, h("dl", {}, Object.entries(this.facts).map(([name, value]) => h("div", {}, h("dt", {}, titles[name]), value)))),
        h("div", { class: "tools" }, h("div", { class: "choice", role: "group", "aria-label": "Timeframe" }, this.timeframes), this.menu, h("div", { class: "choice" }, this.markToggle)),
        this.box2),
      h("div", { class: "side" }, this.book.element, this.trades.element)));
    // The candles as they are drawn, for a script or the console.
    Object.defineProperty(this.box2, "candles", { configurable: true, get: () => this.candles?.bars ?? [] });
  }

  async start() {
    const on = (target, name, handle) => target.addEventListener(name, handle, { signal: this.ending.signal });
    this.chart = new Chart(this.canvas, { onRange: (range) => this.looked(range), onCross: (at) => this.crossed(at) });
    on(live, "price", ({ detail }) => this.priced(detail));
    on(live, "depth", ({ detail }) => this.deep(detail));
    on(live, "watch", ({ detail }) => this.watched(detail));
    on(live, "open", () => this.candles && this.refresh(PIECE));
    on(window, "theme", () => { this.chart.recolour(); this.draw(); });
    on(window, "zone", () => { this.chart.rezone(); this.draw(); });
    on(window, "popstate", () => location.pathname === "/" && this.choose(view.read(), { quiet: true }));
    on(document, "click", (event) => { if (!this.menu.contains(event.target)) this.menu.open = false; });
    this.refreshing = setInterval(() => this.refresh(20), REFRESH_MS);
    this.watching = setInterval(() => this.loadWatch(), 60000);
    const wished = view.read();
    // The chart waits for nothing but its candles where the address names what to show.
    if (wished.symbol) this.choose(wished, { quiet: true });
    await Promise.all([this.loadSymbols(), this.loadIndicators(), this.loadWatch()]);
    if (!wished.symbol && this.markets.size) this.choose({ ...[...this.markets.values()][0], ...wished, symbol: wished.symbol ?? this.first() }, { quiet: true });
  }

  /** The symbol to begin with: the one of the greatest turnover would move; the first of the list does not. */
  first() {
    const names = [...this.markets.values()].map(({ symbol }) => symbol);
    return names.includes("BTCUSDT") ? "BTCUSDT" : names[0];
  }

  leave() {
    this.ending.abort();
    this.asking?.abort();
    clearInterval(this.refreshing);
    clearInterval(this.watching);
    clearTimeout(this.noting);
    this.chart.remove();
  }

  keys() {
    const timeframe = (by) => this.choose({ interval: INTERVALS[(INTERVALS.indexOf(this.chosen.interval) + by + INTERVALS.length) % INTERVALS.length] });
    return {
      "/": () => this.watch.search.focus(), t: () => timeframe(1), T: () => timeframe(-1), ArrowUp: () => this.watch.step(-1), ArrowDown: () => this.watch.step(1),
      ArrowLeft: () => this.chart.move(-10), ArrowRight: () => this.chart.move(10), "+": () => this.chart.zoom(1.25), "=": () => this.chart.zoom(1.25), "-": () => this.chart.zoom(0.8), 0: () => this.toNow(),
      i: () => { this.menu.open = !this.menu.open; if (this.menu.open) this.box.querySelector("input")?.focus(); }, Escape: () => { this.menu.open = false; },
    };
  }

  async loadSymbols() {
    try {
      const { symbols } = await get("symbols", {}, this.ending.signal);
      for (const one of symbols) this.markets.set(`${one.exchange}:${one.symbol}`, { exchange: one.exchange, symbol: one.symbol, tick: one.tick_size, step: one.step_size, base: one.base_asset, quote: one.quote_asset });
      if (!symbols.length) say(this.over, "No symbol is there yet. The first candles come about two minutes after ./deploy.sh.");
      this.nameIt();
    } catch (error) {
      if (!this.candles) say(this.over, error.message);
    }
  }

  async loadWatch() {
    try {
      this.watch.draw((await get("watch", {}, this.ending.signal)).markets);
      this.watch.choose(this.chosen.exchange, this.chosen.symbol);
    } catch { /* the line above the page says what stands still */ }
  }

  async loadIndicators() {
    try {
      this.groups = grouped((await get("about", {}, this.ending.signal)).indicators);
    } catch { return; }
    const on = new Set((view.read().indicators ?? "").split(",").filter(Boolean));
    this.box.replaceChildren(...[...this.groups.values()].map(({ id, title, colour }) => {
      const line = h("i");
      line.style.background = colour;
      return h("label", {}, h("input", { type: "checkbox", value: id, checked: on.has(id), onchange: () => this.switched() }), title, line);
    }));
    this.askIndicators();
  }

  wanted = () => (view.read().indicators ?? "").split(",").map((id) => this.groups.get(id)).filter(Boolean);

  switched() {
    view.write({ indicators: [...this.box.querySelectorAll(":checked")].map(({ value }) => value).join(",") });
    this.askIndicators();
  }

  async choose(wish, { quiet = false } = {}) {
    // What was asked for before the page was left may end after it: the chart is gone.
    if (this.ending.signal.aborted) return;
    const { exchange = this.chosen.exchange, symbol = this.chosen.symbol, interval = this.chosen.interval } = wish;
    const from = quiet ? Number(wish.from) : NaN, to = quiet ? Number(wish.to) : NaN;
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.chosen = { exchange, symbol, interval };
    if (!quiet) view.write({ exchange: exchange === "binance" ? null : exchange, symbol, interval, from: null, to: null }, { push: true });
    for (const button of this.timeframes) button.setAttribute("aria-pressed", String(button.textContent === interval));
    this.watch.choose(exchange, symbol);
    this.candles = null;
    this.indicatorRows = [];
    this.chart.draw([]);
    this.chart.mark([]);
    this.chart.indicators([], []);
    this.nameIt();
    say(this.last, "–");
    this.over.hidden = false;
    say(this.over, "Loading …");
    const candles = new Candles(this.chosen);
    try {
      const isPast = Number.isFinite(to) && to < Date.now() / 1000 - 20 * PIECE * SECONDS[interval];
      await candles.load(isPast ? to + 100 * SECONDS[interval] : null, asking.signal);
      while (Number.isFinite(from) && candles.bars.length && candles.bars[0].time > from && (await candles.older(asking.signal)));
    } catch (error) {
      if (error.name !== "AbortError") say(this.over, error.message);
      return;
    }
    if (asking.signal.aborted) return;
    this.candles = candles;
    live.show(this.chosen);
    this.draw();
    if (Number.isFinite(from) && Number.isFinite(to) && candles.bars.length) this.chart.show(from, to);
    else this.chart.toNow();
    this.over.hidden = candles.bars.length > 0;
    say(this.over, `No candle of ${symbol} is there yet. The first come about two minutes after ./deploy.sh.`);
    this.askIndicators();
    this.askMarks();
  }

  nameIt() {
    const { exchange, symbol } = this.chosen;
    const market = this.markets.get(`${exchange}:${symbol}`);
    this.title.replaceChildren(market?.base ?? symbol, h("i", {}, market ? `/${market.quote}` : ""), h("i", {}, `  ${exchange}`));
    document.title = `${symbol || "Market"} · crypto-lakehouse`;
    if (!market) return;
    this.digits = places(market.tick);
    this.sizes = market.step ? places(market.step) : 5;
    this.chart.tick(market.tick, this.digits);
    if (this.candles) this.legendOf(this.candles.bars.at(-1));
  }

  draw() {
    if (!this.candles) return;
    const { bars } = this.candles;
    this.chart.draw(bars);
    this.chart.indicators(this.wanted(), this.indicatorRows);
    this.chart.mark(this.marks ?? []);
    if (bars.length) {
      this.legendOf(bars.at(-1));
      if (this.last.textContent === "–") say(this.last, fixed(bars.at(-1).close, this.digits));
    }
  }

  update(changed) {
    if (!changed.length) return;
    this.over.hidden = true;
    const newest = this.candles.bars.at(-1).time;
    if (this.candles.trim() || changed.some((bar) => bar.time < newest)) this.chart.draw(this.candles.bars);
    else this.chart.update(changed, newest);
    if (!this.cross) this.legendOf(this.candles.bars.at(-1));
  }

  async refresh(count) {
    const candles = this.candles;
    if (!candles || candles.past) return;
    try {
      const changed = await candles.refresh(count, this.asking.signal);
      if (candles === this.candles) this.update(changed);
      await Promise.all([this.askIndicators(), this.askMarks()]);
    } catch { /* the line above the page says what stands still */ }
  }

  async askIndicators() {
    const wanted = this.wanted(), candles = this.candles;
    if (!candles?.bars.length) return;
    if (!wanted.length) return this.chart.indicators([], []);
    const columns = wanted.flatMap((one) => one.columns);
    const { exchange, symbol, interval } = this.chosen;
    try {
      const end = candles.past ? candles.bars.at(-1).time + SECONDS[interval] : null;
      const { rows } = await get("indicators", { exchange, symbol, interval, columns: columns.join(","), end, limit: Math.min(Math.max(candles.bars.length, PIECE), 5000) }, this.asking.signal);
      if (candles !== this.candles) return;
      this.indicatorRows = rows.map((row) => ({ ...row, time: Date.parse(row.interval_start) / 1000 })).filter(({ time }) => time >= candles.bars[0].time);
      this.chart.indicators(wanted, this.indicatorRows);
    } catch { /* the line above the page says what stands still */ }
  }

  async askMarks() {
    const candles = this.candles;
    if (!candles?.bars.length || this.markToggle.getAttribute("aria-pressed") !== "true") return;
    const { exchange, symbol, interval } = this.chosen;
    try {
      const { signals, anomalies } = await get("marks", { exchange, symbol, interval, start: candles.bars[0].time }, this.asking.signal);
      if (candles !== this.candles) return;
      const span = SECONDS[interval];
      const at = (row) => { const time = Date.parse(row.interval_start) / 1000; return time - (time % span); };
      this.marks = [...signals.map((row) => ({ ...row, kind: "signal", time: at(row) })), ...anomalies.map((row) => ({ ...row, kind: "anomaly", time: at(row) }))].sort((a, b) => a.time - b.time);
      this.chart.mark(this.marks);
    } catch { /* the line above the page says what stands still */ }
  }

  toggleMarks() {
    const on = this.markToggle.getAttribute("aria-pressed") !== "true";
    this.markToggle.setAttribute("aria-pressed", String(on));
    if (on) return this.askMarks();
    this.marks = [];
    this.chart.mark([]);
  }

  // --- what streams

  isMine = ({ exchange, symbol }) => exchange === this.chosen.exchange && symbol === this.chosen.symbol;

  priced(message) {
    if (!this.isMine(message) || message.interval !== this.chosen.interval || !this.candles) return;
    if (message.price !== null) say(this.last, exact(message.price, this.digits));
    this.update(this.candles.take(message.bars));
  }

  deep(message) {
    if (!this.isMine(message)) return;
    this.book.draw(message, this.digits, this.sizes);
    this.trades.draw(message.trades, this.digits, this.sizes);
    const { ticker } = message;
    if (!ticker) return;
    say(this.facts.change, percent(ticker.change_percent));
    this.facts.change.className = `num ${direction(ticker.change_percent)}`;
    this.last.className = `last num ${direction(ticker.change_percent)}`;
    say(this.facts.high, exact(ticker.high, this.digits));
    say(this.facts.low, exact(ticker.low, this.digits));
    say(this.facts.volume, brief(ticker.volume));
    say(this.facts.turnover, brief(ticker.quote_volume));
  }

  watched({ prices }) {
    for (const [key, [price, change]] of Object.entries(prices)) this.watch.price(key, price, change);
  }

  // --- where it is looked at

  async looked(range) {
    const candles = this.candles;
    if (!candles?.bars.length) return;
    this.atNow = !candles.past && range.to > candles.bars.length - 2;
    this.back.hidden = this.atNow;
    // Not put off by what comes next: where prices move, something always does.
    this.noting ??= setTimeout(() => {
      this.noting = null;
      const seen = this.chart.range();
      view.write(this.atNow || !seen ? { from: null, to: null } : { from: Math.round(seen.from), to: Math.round(seen.to) });
    }, 400);
    if (range.from > EDGE_BARS || this.isLoading) return;
    this.isLoading = true;
    try {
      if (await candles.older(this.asking.signal)) {
        if (candles === this.candles) this.chart.draw(candles.bars);
        await Promise.all([this.askIndicators(), this.askMarks()]);
      }
    } catch { /* the line above the page says what stands still */ } finally {
      this.isLoading = false;
    }
  }

  toNow() {
    if (this.candles?.past) this.choose({});
    else this.chart.toNow();
  }

  crossed(at) {
    this.cross = at;
    const bar = at ? this.candles?.bars.find(({ time }) => time === at.time) : this.candles?.bars.at(-1);
    if (bar) this.legendOf(bar);
    const marks = at ? this.chart.marksAt(at.time) : [];
    this.tip.hidden = !marks.length;
    if (marks.length) say(this.tip, marks.map((mark) => (mark.kind === "signal" ? `Signal ${mark.name}: ${mark.side}, strength ${fixed(mark.strength, 4)}` : mark.explanation)).join("\n"));
  }

  legendOf(bar) {
    if (!bar) return this.legend.replaceChildren();
    const number = (value) => fixed(value, this.digits);
    const change = bar.open ? (100 * (bar.close - bar.open)) / bar.open : 0;
    const parts = [["", when(bar.time * 1000, "short")], ["O", number(bar.open)], ["H", number(bar.high)], ["L", number(bar.low)], ["C", number(bar.close)], ["", percent(change), direction(change)], ["Vol", brief(bar.volume)], ["", bar.status + (bar.proof && bar.proof !== "none" ? `, ${bar.proof.replaceAll("_", " ")}` : "")]];
    if (this.legend.childElementCount !== parts.length) this.legend.replaceChildren(...parts.map(() => h("span", {}, "", h("b"))));
    parts.forEach(([name, value, kind = ""], place) => {
      const [label, text] = [this.legend.children[place].firstChild, this.legend.children[place].lastChild];
      if (label.textContent !== `${name} `) label.textContent = name ? `${name} ` : "";
      say(text, value);
      text.className = kind;
    });
  }
}
