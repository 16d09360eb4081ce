// Portfolio and risk: what it is worth, what it risks, what moves together, and how good the forecasts were.

import { get } from "../api.js";
import { choices, fill, h, loading, panel, table, tile } from "../dom.js";
import { direction, exact, fixed, percent, when, words } from "../format.js";
import { Plot, grid, legend, line, nameAxis, timeAxis, valueAxis } from "../plots.js";
import { Sheet, opener } from "../sheet.js";
import * as view from "../view.js";

const DAY = 86400;
const REFRESH_MS = 60000;
const NO_PORTFOLIO = "No portfolio is valued yet. Name one in config/portfolio.yaml; the next run of gold, every five minutes, values it from its start.";
const NO_GOLD = "Not known yet: gold is made every five minutes, and needs some hours of history.";
const fraction = (value) => percent(value, { fraction: true });
const axisPercent = (value) => `${(100 * value).toFixed(Math.abs(value) < 0.02 ? 2 : 1)} %`;
const ago = (days) => Math.floor(Date.now() / 1000 - days * DAY);

export const open = opener(class extends Sheet {
  constructor(main) {
    super(REFRESH_MS);
    this.plots = [];
    this.bodies = Object.fromEntries(["tiles", "equity", "drawdown", "contribution", "holdings", "risk", "correlations", "forecasts", "scores"].map((name) => [name, loading(name === "tiles" ? "tiles" : "body")]));
    this.portfolios = h("select", { "aria-label": "Portfolio", onchange: () => this.choose({ portfolio: this.portfolios.value }) });
    this.symbols = h("select", { "aria-label": "Symbol of the forecasts", onchange: () => this.choose({ symbol: this.symbols.value }) });
    this.windows = h("select", { "aria-label": "Window of the correlations", onchange: () => this.choose({ window: this.windows.value }) },
      [["1m/24h", "24 hours of minutes"], ["1h/30d", "30 days of hours"], ["1d/90d", "90 days"]].map(([value, text]) => h("option", { value }, text)));
    const b = this.bodies;
    main.replaceChildren(h("div", { class: "sheet" },
      h("div", { class: "bar" }, h("h1", {}, "Portfolio & risk"), this.portfolios), b.tiles,
      panel("Equity", b.equity, { classes: "most", note: "value of 1 USDT put in at the start, beside the benchmark" }), panel("Contribution", b.contribution, { classes: "third", note: "to the return since the start" }),
      panel("Drawdown", b.drawdown, { classes: "most", note: "below the highest close so far" }), panel("Holdings", b.holdings, { classes: "third" }),
      panel("Risk", b.risk, { classes: "half", note: "newest value of each measure" }), panel("Correlations", b.correlations, { classes: "half", note: "Pearson, of log returns", tools: [this.windows] }),
      panel("Volatility: forecast, and what came", b.forecasts, { classes: "half", note: "of the next hour", tools: [this.symbols] }), panel("How good the forecasts are", b.scores, { classes: "half", note: "mean loss beside the naive forecast's; negative is better" })));
  }

  leave() {
    super.leave();
    this.clear();
  }

  clear(name) {
    for (const plot of this.plots.filter((one) => !name || one.name === name)) plot.remove();
    this.plots = this.plots.filter((one) => name && one.name !== name);
  }

  choose(change) {
    view.write(change, { push: true });
    this.load();
  }

  /** Ask, and draw into the body of this name; a plot is made anew only with its data. */
  put(name, asked, draw, empty) {
    return fill(this.bodies[name], asked, (answer) => { this.clear(name); return draw(answer); }, empty);
  }

  plot(name, options, size = "") {
    const element = h("div", { class: `plot ${size}` });
    requestAnimationFrame(() => { if (element.isConnected) this.plots.push(Object.assign(new Plot(element, options), { name })); });
    return element;
  }

  async load() {
    const wish = view.read(), signal = this.ending.signal;
    const totals = get("gold/portfolio_performance", { asset: "TOTAL", start: ago(400), limit: 5000 }, signal);
    let names = [];
    try { names = [...new Set((await totals).rows.map((row) => row.portfolio))].sort(); } catch (error) { if (error.name === "AbortError") return; }
    const name = names.includes(wish.portfolio) ? wish.portfolio : names[0];
    choices(this.portfolios, names, name, words);
    this.portfolios.hidden = !names.length;
    const mine = totals.then(({ rows }) => rows.filter((row) => row.portfolio === name && row.growth !== null).reverse());
    this.put("tiles", mine, (rows) => rows.length && this.tiles(rows.at(-1)), NO_PORTFOLIO);
    this.put("equity", mine, (rows) => rows.length && this.equity(rows), NO_PORTFOLIO);
    this.put("drawdown", mine, (rows) => rows.length && this.drawdown(rows), NO_PORTFOLIO);
    const assets = name ? get("gold/portfolio_performance", { portfolio: name, start: ago(3), limit: 200 }, signal) : Promise.resolve({ rows: [] });
    const held = assets.then(({ rows }) => rows.filter((row) => row.day === rows[0].day && row.asset !== "TOTAL"));
    this.put("contribution", held, (rows) => rows.length && this.contribution(rows), NO_PORTFOLIO);
    this.put("holdings", held, (rows) => rows.length && this.holdings(rows), NO_PORTFOLIO);
    this.put("risk", get("gold/risk_metrics", { start: ago(4), latest: true, limit: 5000 }, signal), ({ rows }) => this.risk(rows, name), NO_GOLD);
    const window = wish.window ?? "1h/30d";
    this.windows.value = window;
    const [returns, length] = window.split("/");
    this.put("correlations", get("gold/correlations", { return_interval: returns, window_length: length, start: ago(4), latest: true, limit: 5000 }, signal), ({ rows }) => this.correlations(rows), NO_GOLD);
    this.loadForecasts(wish.symbol, signal);
  }

  async loadForecasts(wished, signal) {
    const scores = get("gold/forecast_scores", { limit: 5000 }, signal);
    let symbols = [];
    try { symbols = [...new Set((await get("gold/forecast_inputs", { start: ago(2), limit: 5000 }, signal)).rows.map((row) => row.symbol))].sort(); } catch { /* said below */ }
    const symbol = symbols.includes(wished) ? wished : symbols.includes("BTCUSDT") ? "BTCUSDT" : symbols[0];
    choices(this.symbols, symbols, symbol, words);
    this.symbols.hidden = !symbols.length;
    const both = symbol ? Promise.all([get("gold/forecasts", { symbol, target: "volatility", start: ago(7), limit: 5000 }, signal), get("gold/forecast_inputs", { symbol, start: ago(7), limit: 5000 }, signal)]) : Promise.resolve(null);
    this.put("forecasts", both, (answers) => answers && this.forecasts(answers[0].rows.reverse(), answers[1].rows.reverse()), NO_GOLD);
    this.put("scores", scores, ({ rows }) => this.scores(rows.filter((row) => row.symbol === symbol)), NO_GOLD);
  }

  tiles(row) {
    this.bodies.tiles.replaceChildren();
    const made = document.createDocumentFragment();
    made.append(
      tile("Value", `${exact(row.value, 2)} USDT`, `${exact(row.invested, 2)} put in`),
      tile("Today", fraction(row.return_day), `${exact(row.profit_day, 2)} USDT`, direction(row.return_day)),
      tile("This month", fraction(row.return_month), "time-weighted", direction(row.return_month)),
      tile("Since the start", fraction(row.return_since_start), when(row.started_on, "date"), direction(row.return_since_start)),
      tile("Beside the benchmark", fraction(row.excess_return), words(row.benchmark), direction(row.excess_return)),
      tile("Drawdown", fraction(row.drawdown), `worst ${fraction(row.max_drawdown)}`, direction(row.drawdown)));
    return made;
  }

  equity(rows) {
    const of = (name) => rows.filter((row) => row[name] !== null).map((row) => [row.day, row[name]]);
    return this.plot("equity", (c) => ({
      grid, legend: legend(c), xAxis: timeAxis(c, (at) => when(at, "day")), yAxis: valueAxis(c, (value) => value.toFixed(2)),
      tooltip: this.tooltip(c, (value) => fixed(value, 4)),
      series: [line("portfolio", of("growth"), { lineStyle: { width: 1.8 } }), line(`benchmark, ${words(rows.at(-1).benchmark)}`, of("benchmark_growth"), { lineStyle: { width: 1.2, type: "dashed" } })],
    }));
  }

  drawdown(rows) {
    return this.plot("drawdown", (c) => ({
      grid: { ...grid, top: 10 }, xAxis: timeAxis(c, (at) => when(at, "day")), yAxis: valueAxis(c, axisPercent, { max: 0 }), tooltip: this.tooltip(c, fraction),
      series: [line("drawdown", rows.map((row) => [row.day, row.drawdown]), { areaStyle: { opacity: 0.25 }, itemStyle: { color: c.down } })],
    }), "low");
  }

  tooltip = (c, format) => ({ trigger: "axis", renderMode: "richText", backgroundColor: c.raised, borderColor: c.line, textStyle: { color: c.text, fontSize: 11 }, formatter: (points) => [when(points[0].value[0], "short"), ...points.map((point) => `${point.seriesName}  ${format(point.value[1])}`)].join("\n") });

  contribution(rows) {
    const sorted = [...rows].filter((row) => row.contribution !== null).sort((a, b) => a.contribution - b.contribution);
    return this.plot("contribution", (c) => ({
      grid: { ...grid, top: 6 }, xAxis: valueAxis(c, axisPercent, { scale: false }), yAxis: nameAxis(c, sorted.map((row) => row.asset)),
      tooltip: { trigger: "item", renderMode: "richText", formatter: ({ name, value }) => `${name}  ${fraction(value)}` },
      series: [{ type: "bar", barMaxWidth: 16, data: sorted.map((row) => ({ value: row.contribution, itemStyle: { color: row.contribution >= 0 ? c.up : c.down } })) }],
    }));
  }

  holdings(rows) {
    const sorted = rows.filter((row) => Number(row.value)).sort((a, b) => Number(b.value) - Number(a.value));
    return table([["Asset", (row) => row.asset], ["Units", (row) => exact(row.units, 4), "right num"], ["Value, USDT", (row) => exact(row.value, 2), "right num"], ["Weight", (row) => fixed(100 * row.weight, 1) + " %", "right num"]], sorted);
  }

  risk(rows, portfolio) {
    const subjects = [...new Set(rows.map((row) => row.subject))].sort((a, b) => (b === portfolio) - (a === portfolio) || a.localeCompare(b));
    const lines = new Map();
    for (const row of rows) {
      const id = [row.metric, row.window_length, row.horizon, row.confidence || ""].join("|");
      if (!lines.has(id)) lines.set(id, { row, values: new Map() });
      const there = lines.get(id).values.get(row.subject);
      if (!there || there.value === null) lines.get(id).values.set(row.subject, row);
    }
    if (!lines.size) return null;
    const shown = subjects.slice(0, 8);
    const asFraction = /volatility|value_at_risk|var|shortfall|drawdown$/;
    const text = (row) => { if (!row) return "–"; if (row.value === null) return h("span", { class: "faint", title: row.fills_at ? `known from ${when(row.fills_at)}` : "" }, words(row.reason)); return asFraction.test(row.metric) ? percent(row.value, { fraction: true }).replace("+", "") : fixed(row.value, 3); };
    const known = [...lines.values()].sort((a, b) => a.row.metric.localeCompare(b.row.metric) || a.row.window_length.localeCompare(b.row.window_length));
    return h("div", { class: "limited" }, table([["Measure", ({ row }) => words(row.metric)], ["Window", ({ row }) => `${row.window_length}, ${row.horizon}${row.confidence ? `, ${row.confidence} %` : ""}`, "faint"], ...shown.map((subject) => [words(subject), ({ values }) => text(values.get(subject)), "right num"])], known));
  }

  correlations(rows) {
    const known = rows.filter((row) => row.pearson !== null);
    if (!rows.length) return null;
    if (!known.length) return h("p", { class: "empty" }, `Not known yet: ${words(rows[0].reason)}${rows[0].fills_at ? `; from ${when(rows[0].fills_at)}` : ""}.`);
    const names = [...new Set(known.flatMap((row) => [row.symbol_a, row.symbol_b]))].sort();
    const place = new Map(names.map((name, index) => [name, index]));
    const cells = [...known.flatMap((row) => [[place.get(row.symbol_a), place.get(row.symbol_b), row.pearson], [place.get(row.symbol_b), place.get(row.symbol_a), row.pearson]]), ...names.map((_, index) => [index, index, 1])];
    return this.plot("correlations", (c) => ({
      grid: { ...grid, top: 8, right: 14 }, xAxis: nameAxis(c, names, { axisLabel: { color: c.faint, fontSize: 11, rotate: names.length > 8 ? 60 : 0, interval: 0 } }), yAxis: nameAxis(c, names, { inverse: true }),
      tooltip: { trigger: "item", renderMode: "richText", formatter: ({ value }) => `${names[value[0]]} and ${names[value[1]]}  ${value[2].toFixed(3)}` },
      visualMap: { show: false, min: -1, max: 1, inRange: { color: [c.down, c.raised, c.up] } },
      series: [{ type: "heatmap", data: cells, itemStyle: { borderColor: c.panel, borderWidth: 2 }, label: { show: names.length <= 12, color: c.text, fontSize: 11, formatter: ({ value }) => value[2].toFixed(2) } }],
    }), "tall");
  }

  forecasts(forecasts, inputs) {
    const came = inputs.filter((row) => row.realised_variance !== null).map((row) => [row.interval_start, Math.sqrt(row.realised_variance)]);
    const known = forecasts.filter((row) => row.forecast !== null);
    if (!came.length && !known.length) return forecasts.length ? h("p", { class: "empty" }, `No forecast yet: ${words(forecasts.at(-1).reason)}${forecasts.at(-1).fills_at ? `; from ${when(forecasts.at(-1).fills_at)}` : ""}.`) : null;
    const models = [...new Set(known.map((row) => row.model))].sort();
    return this.plot("forecasts", (c) => ({
      grid, legend: legend(c), xAxis: timeAxis(c, (at) => when(at, "short")), yAxis: valueAxis(c, axisPercent), tooltip: this.tooltip(c, (value) => percent(value, { fraction: true, digits: 3 }).replace("+", "")),
      series: [{ name: "what came", type: "scatter", symbolSize: 4, itemStyle: { color: c.soft }, data: came }, ...models.map((model) => line(words(model), known.filter((row) => row.model === model).map((row) => [row.interval_start, row.forecast])))],
    }), "tall");
  }

  scores(rows) {
    const shown = rows.filter((row) => row.model !== row.baseline);
    if (!shown.length) return null;
    return h("div", { class: "limited" }, table([["Forecast", (row) => `${row.target}, ${words(row.model)}`], ["Loss", (row) => `${row.loss}, ${row.window_days} d`, "faint"], ["Against naive", (row) => (row.difference === null ? h("span", { class: "faint" }, words(row.reason)) : fixed(row.difference, 4)), "right num"], ["Verdict", (row) => row.verdict ?? (row.fills_at ? `known from ${when(row.fills_at)}` : "–"), "wrap"]], shown));
  }
});
