// The price chart: candles, volume, indicators and marks. It draws what it is given, and says where it is looked at.

import {
  CandlestickSeries, HistogramSeries, LineSeries, LineStyle, createChart, createSeriesMarkers,
} from "/static/vendor/lightweight-charts.standalone.production.mjs";
import { when } from "../format.js";
import { COLOURS } from "./indicators.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Room at the right of the newest bar. */
const RIGHT_BARS = 6;
const TICKS = ["month", "month", "day", "time", "seconds"];

const colours = () => ({
  layout: { background: { color: css("--panel") }, textColor: css("--soft"), panes: { separatorColor: css("--line"), separatorHoverColor: css("--line") } },
  grid: { vertLines: { color: css("--line-soft") }, horzLines: { color: css("--line-soft") } },
  crosshair: { vertLine: { color: css("--faint"), labelBackgroundColor: css("--line") }, horzLine: { color: css("--faint"), labelBackgroundColor: css("--line") } },
  rightPriceScale: { borderColor: css("--line") },
  timeScale: { borderColor: css("--line") },
});

export class Chart {
  #lines = new Map();
  #marks = [];

  constructor(element, { onRange, onCross }) {
    this.chart = createChart(element, {
      autoSize: true,
      ...colours(),
      layout: { ...colours().layout, fontSize: 11, fontFamily: getComputedStyle(document.documentElement).fontFamily, attributionLogo: false },
      timeScale: { ...colours().timeScale, timeVisible: true, secondsVisible: false, rightOffset: RIGHT_BARS, barSpacing: 7, tickMarkFormatter: (time, kind) => when(time * 1000, TICKS[kind]) },
      localization: { locale: "en-GB", timeFormatter: (time) => when(time * 1000, "whole") },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.2 } });
    this.markers = createSeriesMarkers(this.candles, []);
    this.recolour();
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && onRange(range));
    this.chart.subscribeCrosshairMove((at) => onCross(at.time ? at : null));
  }

  recolour() {
    this.chart.applyOptions(colours());
    const [up, down] = [css("--up"), css("--down")];
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.rising = `${up}55`;
    this.falling = `${down}55`;
  }

  /** The step of prices: "0.01", with its places. */
  tick(step, digits) {
    this.candles.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: Number(step) || 10 ** -digits } });
  }

  #volumeOf = (bar) => ({ time: bar.time, value: bar.volume, color: bar.close >= bar.open ? this.rising : this.falling });

  draw(bars) {
    this.candles.setData(bars);
    this.volume.setData(bars.map(this.#volumeOf));
  }

  /** Bars that changed; one that is older than the newest too. */
  update(bars, newest) {
    for (const bar of bars) {
      this.candles.update(bar, bar.time < newest);
      this.volume.update(this.#volumeOf(bar), bar.time < newest);
    }
  }

  /** Draw these indicators and no other; `rows` as the API gives them. */
  indicators(wanted, rows) {
    const ids = new Set(wanted.map((one) => one.id));
    for (const [id, lines] of this.#lines) {
      if (ids.has(id)) continue;
      for (const { series } of lines) this.chart.removeSeries(series);
      this.#lines.delete(id);
    }
    for (const indicator of wanted) {
      if (!this.#lines.has(indicator.id)) this.#lines.set(indicator.id, this.#added(indicator));
      for (const { series, column } of this.#lines.get(indicator.id)) {
        series.setData(rows.filter((row) => row[column] !== null).map((row) => ({ time: row.time, value: row[column], ...this.#bridged(column, row) })));
      }
    }
    this.chart.panes().forEach((pane, place) => pane.setStretchFactor(place ? 1 : Math.max(3, wanted.length)));
  }

  #bridged = (column, row) => (column.startsWith("macd_hist") ? { color: row[column] >= 0 ? this.rising : this.falling } : {});

  #added({ columns, where, colour }) {
    const pane = where === "price" ? 0 : this.chart.panes().length;
    const made = columns.map((column, place) => {
      const options = {
        color: columns.length === 1 ? colour : column.startsWith("bb_") ? colour : COLOURS[(place + COLOURS.indexOf(colour)) % COLOURS.length],
        lineWidth: 1, priceLineVisible: false, lastValueVisible: where !== "price", crosshairMarkerVisible: false,
        ...(column.startsWith("bb_middle") ? { lineStyle: LineStyle.Dotted } : {}),
      };
      const kind = column.startsWith("macd_hist") ? HistogramSeries : LineSeries;
      return { column, series: this.chart.addSeries(kind, options, pane) };
    });
    if (/^(rsi|stoch)_/.test(columns[0])) {
      for (const price of columns[0].startsWith("rsi") ? [30, 70] : [20, 80]) made[0].series.createPriceLine({ price, color: css("--faint"), lineWidth: 1, lineStyle: LineStyle.Dotted, axisLabelVisible: false });
    }
    return made;
  }

  mark(marks) {
    this.#marks = marks;
    this.markers.setMarkers(marks.map(({ time, kind, side, name }) => kind === "signal"
      ? { time, position: side === "buy" ? "belowBar" : "aboveBar", shape: side === "buy" ? "arrowUp" : "arrowDown", color: css(side === "buy" ? "--up" : "--down"), text: name }
      : { time, position: "aboveBar", shape: "circle", color: css("--warn"), size: 0.6 }));
  }

  marksAt = (time) => this.#marks.filter((mark) => mark.time === time);

  range = () => this.chart.timeScale().getVisibleRange();
  show = (from, to) => this.chart.timeScale().setVisibleRange({ from, to });
  // Not scrollToRealTime: what streams would stop its animation half-way.
  toNow = () => this.chart.timeScale().scrollToPosition(RIGHT_BARS, false);
  move = (bars) => this.chart.timeScale().scrollToPosition(this.chart.timeScale().scrollPosition() + bars, false);
  /** Write the times anew, in the zone that is chosen now. */
  rezone = () => this.chart.applyOptions({ localization: { locale: "en-GB" } });
  zoom = (factor) => this.chart.timeScale().applyOptions({ barSpacing: this.chart.timeScale().options().barSpacing * factor });
  remove = () => this.chart.remove();
}
