// The candles of one symbol and timeframe, each start once: the lake's row counts once it is closed, else what streams.

import { get } from "../api.js";

export const PIECE = 500;
const MOST = 12000;
const KEPT = 6000;

const bar = (row) => ({
  time: Date.parse(row.interval_start) / 1000, open: +row.open, high: +row.high, low: +row.low, close: +row.close,
  volume: +row.volume, trades: row.trade_count, settled: row.is_closed && row.status !== "live", status: row.status, proof: row.proof,
});
const liveBar = (row) => ({
  time: row.at, open: +row.open, high: +row.high, low: +row.low, close: +row.close, volume: +row.volume,
  trades: row.trade_count, settled: false, status: "live", proof: null,
});

export class Candles {
  bars = [];
  /** Nothing older is there. */
  whole = false;
  /** They end before now: what streams does not follow on them. */
  past = false;

  constructor(of) {
    this.of = of;
  }

  async #ask(values, signal) {
    return (await get("candles", { ...this.of, limit: PIECE, ...values }, signal)).rows.map(bar);
  }

  /** The newest, or the newest before `until` (seconds). */
  async load(until, signal) {
    const found = await this.#ask(until ? { end: until } : {}, signal);
    this.bars = found;
    this.past = Boolean(until);
    this.whole = found.length < PIECE;
  }

  /** What lies before; says how many. */
  async older(signal) {
    if (this.whole || !this.bars.length) return 0;
    const found = await this.#ask({ end: this.bars[0].time, limit: 2 * PIECE }, signal);
    this.whole = found.length < 2 * PIECE;
    const first = this.bars[0].time;
    const before = found.filter((one) => one.time < first);
    this.bars = before.concat(this.bars);
    return before.length;
  }

  /** The newest again: says which bars are other than before. */
  async refresh(count, signal) {
    return this.#merge(await this.#ask({ limit: count }, signal));
  }

  /** What streams; says which bars changed. */
  take(rows) {
    return this.past ? [] : this.#merge(rows.map(liveBar));
  }

  #merge(rows) {
    const changed = [];
    for (const row of rows) {
      let place = this.bars.length;
      while (place > 0 && this.bars[place - 1].time >= row.time) place--;
      const there = this.bars[place];
      if (there?.time === row.time) {
        if (there.settled && !row.settled) continue;
        if (same(there, row)) continue;
        this.bars[place] = row;
      } else if (place === 0 && this.bars.length) continue;
      else this.bars.splice(place, 0, row);
      changed.push(row);
    }
    return changed;
  }

  /** Drop the oldest where very many are held; says whether it did. */
  trim() {
    if (this.bars.length < MOST) return false;
    this.bars = this.bars.slice(-KEPT);
    this.whole = false;
    return true;
  }
}

const same = (one, other) => ["open", "high", "low", "close", "volume", "status", "settled"].every((name) => one[name] === other[name]);
