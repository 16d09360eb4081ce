// The data page: is it whole, what is missing and why, and did it mend itself?

import { get } from "../api.js";
import { choices, fill, h, loading, panel, table, tiles } from "../dom.js";
import { bytes, duration, fixed, when, words } from "../format.js";
import { live } from "../live.js";
import { Plot, grid, legend, nameAxis, valueAxis } from "../plots.js";
import { Sheet, opener } from "../sheet.js";
import * as view from "../view.js";
import { changes, lastVisit } from "./changes.js";
import { calendar, heat, key, stateOf } from "./heat.js";
import { cause, showHour, source } from "./story.js";

const REFRESH_MS = 20000;
const CHANGES_MS = 300000;
const HOURS = 48;
const DAYS = 182;
const NOTHING = "Nothing is known yet: the first hours appear about six minutes after ./deploy.sh.";
const ago = (hours) => Math.floor(Date.now() / 1000 - hours * 3600);

export const open = opener(class extends Sheet {
  constructor(main) {
    super(REFRESH_MS);
    this.since = lastVisit();
    this.changesUntil = 0;
    this.tiles = tiles({ proven: "Proven, last 24 hours", open: "Open holes", repaired: "Mended, last 24 hours", lag: "Waiting in Kafka", lake: "The lake is behind by", run: "Last run", disk: "Disk" });
    for (const name of ["changed", "story", "latency", "reasons"]) this[name] = loading();
    for (const name of ["map", "days", "gaps", "runs", "topics"]) this[name] = loading("");
    this.symbols = h("select", { "aria-label": "Symbol of the calendar", onchange: () => { view.write({ calendar: this.symbols.value }); this.drawDays(); } });
    this.storyPanel = panel("The minutes of one hour", this.story, { note: "click an hour above" });
    main.replaceChildren(h("div", { class: "sheet" },
      h("div", { class: "bar" }, h("h1", {}, "Is the data whole?"), h("span", { class: "soft" }, "Each minute is proven by the exchange's own trade numbers. What did not come is fetched again by itself.")),
      this.tiles.element,
      panel("Completeness", h("div", {}, this.map, key()), { note: `the last ${HOURS} hours by symbol; click an hour to see its minutes` }), this.storyPanel,
      panel("What changed since your last visit", this.changed, { note: when(this.since, "whole"), classes: "most" }), panel("Health", this.reasons, { classes: "third" }),
      panel("Holes", this.gaps, { note: "open ones first, then what was mended of late" }), panel("Condition by day", this.days, { classes: "third", tools: [this.symbols] }),
      panel("Latency", this.latency, { classes: "third", note: "from the exchange, today" }), panel("Last runs", this.runs, { classes: "third" }),
      panel("Topics", this.topics, { note: "what streams, and what the lake has not taken in yet" })));
  }

  start() {
    live.addEventListener("state", ({ detail }) => this.lake(detail), { signal: this.ending.signal });
    addEventListener("popstate", () => location.pathname === "/data" && this.load(), { signal: this.ending.signal });
    super.start().then(() => this.showChosen());
  }

  leave() {
    super.leave();
    this.plot?.remove();
  }

  redraw() {
    this.changesUntil = 0;
    super.redraw();
  }

  chosen() {
    const { exchange = "binance", symbol, hour } = view.read();
    return symbol && hour ? { exchange, symbol, start: hour } : null;
  }

  choose(exchange, symbol, at) {
    const hour = new Date(Math.floor(Date.parse(at) / 3600000) * 3600000).toISOString().replace(".000", "");
    view.write({ exchange: exchange === "binance" ? null : exchange, symbol, hour }, { push: true });
    this.drawMap();
    this.showChosen();
    this.storyPanel.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  showChosen() {
    const chosen = this.chosen() ?? this.interesting();
    if (chosen) return showHour(this.story, chosen);
    this.story.replaceChildren(h("p", { class: "empty" }, NOTHING));
  }

  /** Where nothing is chosen: the newest hour that had a hole, else the newest. */
  interesting() {
    const rows = this.hours ?? [];
    const row = rows.find((one) => ["degraded", "missing", "repaired"].includes(stateOf(one))) ?? rows[0];
    return row && { exchange: row.exchange, symbol: row.symbol, start: row.hour_start };
  }

  drawMap() {
    this.map.replaceChildren(this.hours?.length ? heat(this.hours, this.chosen() ?? this.interesting(), (row) => this.choose(row.exchange, row.symbol, row.hour_start)) : h("p", { class: "empty" }, NOTHING));
  }

  drawDays() {
    const wish = view.read().calendar ?? "";
    const rows = (this.daily ?? []).filter((row) => !wish || row.symbol === wish);
    const names = ["", ...new Set((this.daily ?? []).map((row) => row.symbol))].sort();
    choices(this.symbols, names, wish, (value) => value || "the worst of all");
    this.days.replaceChildren(rows.length ? calendar(rows) : h("p", { class: "empty" }, NOTHING));
  }

  async load() {
    const signal = this.ending.signal;
    const hourly = get("completeness", { by: "hour", start: ago(HOURS), limit: 5000 }, signal).then(({ rows }) => { this.hours = rows; return rows; });
    const both = Promise.all([get("gaps", { status: "open", limit: 200 }, signal), get("gaps", { status: "repaired", start: ago(24), limit: 200 }, signal), get("gaps", { status: "lost", start: ago(7 * 24), limit: 50 }, signal)]).then((all) => all.map(({ rows }) => rows));
    const status = get("status", {}, signal);
    await Promise.all([
      hourly.then((rows) => { this.drawMap(); this.provenOf(rows); }).catch((error) => this.failed(this.map, error)),
      get("completeness", { by: "day", start: ago(DAYS * 24), limit: 5000 }, signal).then(({ rows }) => { this.daily = rows; this.drawDays(); }).catch((error) => this.failed(this.days, error)),
      fill(this.gaps, both, (found) => this.holes(...found), "No hole is on record: nothing is missing."),
      both.then(([open, mended]) => { this.tiles.say("open", String(open.length), open.length ? "being fetched" : "nothing waits", open.length ? "warn" : ""); this.tiles.say("repaired", String(mended.length), "by themselves"); }).catch(() => {}),
      this.loadChanges(signal),
      this.latencies(signal),
      fill(this.runs, status, (found) => this.runsOf(found), "No run yet: Dagster starts the first within a minute of ./deploy.sh."),
      fill(this.topics, status, ({ topics }) => topics.length && table([["Topic", (row) => row.topic], ["Messages a second", (row) => fixed(row.messages_per_second, 1), "right num"], ["Kept", (row) => (row.messages === null ? "–" : fixed(row.messages, 0)), "right num"], ["Not in the lake yet", (row) => (row.lag === null ? "–" : fixed(row.lag, 0)), "right num"]], topics), "Kafka does not say which topics there are."),
      fill(this.reasons, status, ({ reasons, services, links }) => this.health(reasons, services, links), ""),
      status.then((found) => this.statusTiles(found)).catch(() => {}),
    ]);
  }

  /** Seldom: it looks through all candles of a week. */
  loadChanges(signal) {
    if (Date.now() < this.changesUntil) return null;
    this.changesUntil = Date.now() + CHANGES_MS;
    return fill(this.changed, get("changes", { since: new Date(this.since).toISOString() }, signal), (found) => changes(found, (exchange, symbol, at) => this.choose(exchange, symbol, at)), "");
  }

  failed(element, error) {
    if (error.name !== "AbortError") element.replaceChildren(h("p", { class: "fault" }, error.message));
  }

  provenOf(rows) {
    const day = rows.filter((row) => Date.parse(row.hour_start) >= Date.now() - 86400000);
    const sum = (name) => day.reduce((total, row) => total + Number(row[name]), 0);
    const expected = sum("minutes_expected"), proven = sum("minutes_complete") + sum("minutes_repaired"), left = expected - proven - sum("minutes_pending");
    if (!expected) return this.tiles.say("proven", "–", "no hour yet");
    this.tiles.say("proven", `${fixed((100 * proven) / expected, 2)} %`, `${fixed(sum("minutes_pending"), 0)} min pending, ${fixed(left, 0)} missing`, left ? "warn" : "");
  }

  holes(open, mended, lost) {
    const rows = [...open, ...lost, ...mended];
    if (!rows.length) return null;
    const kinds = { open: "warn", lost: "bad", repaired: "ok" };
    return h("div", { class: "limited" }, table([
      ["State", (row) => h("span", { class: `pill ${kinds[row.status] ?? ""}` }, words(row.status))],
      ["Where", (row) => h("button", { class: "linked", type: "button", onclick: () => this.choose(row.exchange, row.symbol, row.event_time) }, row.symbol)], ["Stream", (row) => words(row.gap_stream)],
      ["Since", (row) => when(row.event_time), "num"], ["Missing", (row) => (row.missing === null ? "not known" : fixed(row.missing, 0)), "right num"],
      ["Why", (row) => h("span", { title: cause(row.cause) }, words(row.cause))], ["Mended", (row) => (row.repaired_from ? h("span", { title: when(row.updated_at) }, source(row.repaired_from)) : "–")], ["In words", (row) => row.detail, "wrap"],
    ], rows));
  }

  async latencies(signal) {
    try {
      const { rows } = await get("gold/data_quality", { start: ago(48), limit: 2000 }, signal);
      const newest = rows[0]?.day, wanted = ["bronze.trades", "bronze.tickers", "bronze.klines", "silver.ohlcv_1m"];
      const found = wanted.map((name) => {
        const mine = rows.filter((row) => row.day === newest && row.table_name === name);
        const stage = name.startsWith("silver") ? "silver" : "received";
        return { name, worst: (point) => Math.max(...mine.map((row) => row[`latency_${stage}_${point}_ms`] ?? -1)) };
      }).filter(({ worst }) => worst("p50") >= 0);
      if (!found.length) return this.latency.replaceChildren(h("p", { class: "empty" }, "Not known yet: gold is made every five minutes."));
      this.plot?.remove();
      const element = h("div", { class: "plot" });
      this.latency.replaceChildren(element);
      this.plot = new Plot(element, (c) => ({
        grid, legend: legend(c), xAxis: valueAxis(c, (value) => (value >= 1000 ? `${value / 1000} s` : `${value} ms`), { type: "log", min: 1 }), yAxis: nameAxis(c, found.map(({ name }) => name)),
        tooltip: { trigger: "axis", renderMode: "richText", formatter: (points) => [points[0].name, ...points.map(({ seriesName, value }) => `${seriesName}  ${fixed(value, 0)} ms`)].join("\n") },
        series: ["p50", "p95", "p99"].map((point) => ({ name: point, type: "bar", barMaxWidth: 10, data: found.map(({ worst }) => Math.max(worst(point), 1)) })),
      }));
    } catch (error) { this.failed(this.latency, error); }
  }

  runsOf({ runs, links }) {
    if (!runs.length) return null;
    const kinds = { SUCCESS: "ok", FAILURE: "bad", CANCELED: "warn" };
    return h("div", {}, h("div", { class: "limited" }, table([["Run", (row) => h("a", { href: `${links.dagster}/runs/${row.run_id}`, target: "_blank", rel: "noreferrer" }, row.run_id.slice(0, 8))], ["Job", (row) => words(row.job)], ["State", (row) => h("span", { class: `pill ${kinds[row.status] ?? ""}` }, words(row.status).toLowerCase())], ["Began", (row) => when(row.started_at, "seconds"), "num"], ["Took", (row) => duration(row.seconds), "right num"]], runs)),
      h("p", { class: "body soft" }, "Open ", h("a", { href: links.dagster, target: "_blank", rel: "noreferrer" }, "Dagster"), " for the assets, ", h("a", { href: links.spark, target: "_blank", rel: "noreferrer" }, "Spark"), " for the jobs behind a run."));
  }

  health(reasons, services, links) {
    const list = (items) => h("ul", { class: "soft" }, items.map((text) => h("li", {}, text)));
    if (reasons.length) return h("div", {}, list(reasons), h("p", { class: "soft" }, "./monitor.sh shows all of it live."));
    return h("p", { class: "soft" }, `All ${services.length} services are healthy. `, h("a", { href: links.dagster, target: "_blank", rel: "noreferrer" }, "Dagster"), ", ", h("a", { href: links.spark, target: "_blank", rel: "noreferrer" }, "Spark"), ", ", h("a", { href: links.minio, target: "_blank", rel: "noreferrer" }, "MinIO"), ".");
  }

  statusTiles({ topics, runs, last_run, disk }) {
    const lags = topics.map(({ lag }) => lag).filter((lag) => lag !== null);
    this.tiles.say("lag", lags.length ? fixed(lags.reduce((sum, lag) => sum + lag, 0), 0) : "–", "messages not in the lake yet");
    const run = last_run ?? null;
    this.tiles.say("run", run ? words(run.status).toLowerCase() : "–", run ? `${duration(run.seconds)}, ended ${when(run.ended_at, "seconds")}` : runs.length ? "under way" : "none yet", run && run.status !== "SUCCESS" ? "bad" : "");
    const days = disk.days_until_full, percent = (100 * disk.used) / (disk.used + disk.free);
    this.tiles.say("disk", `${fixed(percent, 0)} %`, `${bytes(disk.free)} free; ${days === null ? (disk.bytes_a_day === null ? "the pace is known after an hour" : "not growing") : `full in ${fixed(days, 0)} days`}`, percent >= 80 || (days !== null && days < 7) ? "warn" : "");
  }

  lake({ now, lake_until }) {
    if (lake_until) this.tiles.say("lake", duration(Math.max(now - lake_until, 0)), `its newest minute ends ${when(lake_until * 1000, "seconds")}`, now - lake_until > 300 ? "warn" : "");
  }
});
