// ECharts in the page's colours; loaded only where something is plotted.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let library = null;
const shown = new Set();

addEventListener("theme", () => shown.forEach((plot) => plot.draw()));
addEventListener("zone", () => shown.forEach((plot) => plot.draw()));

export const colours = () => ({
  text: css("--text"), soft: css("--soft"), faint: css("--faint"), line: css("--line"), soft_line: css("--line-soft"), panel: css("--panel"), raised: css("--raised"),
  up: css("--up"), down: css("--down"), warn: css("--warn"), series: [css("--up"), css("--down"), "#e3b341", "#c678dd", "#56b6c2", "#98c379", "#8f9bab"],
});

/** Plot into an element what `options(colours)` gives; `redraw()` when that changed. Follows size, theme and time zone. */
export class Plot {
  constructor(element, options) {
    this.element = element;
    this.options = options;
    this.sized = new ResizeObserver(() => this.chart?.resize());
    this.sized.observe(element);
    shown.add(this);
    this.draw();
  }

  async draw() {
    library ??= import("/static/vendor/echarts.esm.min.mjs");
    const echarts = await library;
    if (this.isGone) return;
    this.chart ??= echarts.init(this.element, null, { renderer: "canvas" });
    const c = colours();
    this.chart.setOption({
      backgroundColor: "transparent", color: c.series, animation: false,
      textStyle: { fontFamily: getComputedStyle(document.documentElement).fontFamily, fontSize: 11 },
      // As rich text: the page allows no style that stands in markup.
      tooltip: { trigger: "axis", renderMode: "richText", backgroundColor: c.raised, borderColor: c.line, textStyle: { color: c.text, fontSize: 11 }, axisPointer: { lineStyle: { color: c.faint } } },
      ...this.options(c),
    }, true);
  }

  remove() {
    this.isGone = true;
    shown.delete(this);
    this.sized.disconnect();
    this.chart?.dispose();
  }
}

const label = (c) => ({ color: c.faint, fontSize: 11 });

/** An axis of times. */
export const timeAxis = (c, format) => ({ type: "time", axisLine: { lineStyle: { color: c.line } }, axisTick: { show: false }, splitLine: { show: false }, axisLabel: { ...label(c), hideOverlap: true, formatter: format } });
/** An axis of values. */
export const valueAxis = (c, format, more = {}) => ({ type: "value", scale: true, splitNumber: 4, splitLine: { lineStyle: { color: c.soft_line } }, axisLabel: { ...label(c), formatter: format }, ...more });
/** An axis of names. */
export const nameAxis = (c, data, more = {}) => ({ type: "category", data, axisLine: { lineStyle: { color: c.line } }, axisTick: { show: false }, axisLabel: label(c), ...more });
export const grid = { left: 8, right: 24, top: 26, bottom: 6, containLabel: true };
export const legend = (c) => ({ top: 0, left: 4, icon: "rect", itemWidth: 10, itemHeight: 2, textStyle: { color: c.soft, fontSize: 11 } });
export const line = (name, data, more = {}) => ({ name, type: "line", data, showSymbol: data.length < 3, symbolSize: 4, lineStyle: { width: 1.4 }, ...more });
