// Which columns of the lake belong together as one indicator, and where it is drawn.

const FAMILIES = [
  [/^(macd|macd_signal|macd_hist)_(\d.*)$/, "macd", "MACD", "pane"], [/^bb_(upper|middle|lower)_(.+)$/, "bb", "Bollinger", "price"],
  [/^(stoch_k|stoch_d)_(.+)$/, "stoch", "Stochastic", "pane"], [/^(adx|plus_di|minus_di)_(.+)$/, "adx", "ADX", "pane"],
  [/^(rsi)_(.+)$/, "rsi", "RSI", "pane"], [/^(atr)_(.+)$/, "atr", "ATR", "pane"], [/^(obv)_(.+)$/, "obv", "OBV", "pane"],
  [/^(sma)_(.+)$/, "sma", "SMA", "price"], [/^(ema)_(.+)$/, "ema", "EMA", "price"], [/^(vwap)_(.+)$/, "vwap", "VWAP", "price"],
];
export const COLOURS = ["#e3b341", "#c678dd", "#56b6c2", "#98c379", "#8f9bab"];

/** Indicators by id: their title, columns, and whether they are drawn on the price or in a pane of their own. */
export function grouped(columns) {
  const found = new Map();
  for (const column of columns) {
    const family = FAMILIES.find(([pattern]) => pattern.test(column));
    const parameters = family ? family[0].exec(column).at(-1) : column;
    const id = family ? `${family[1]}_${parameters}` : column;
    const title = family ? `${family[2]} ${parameters.replaceAll("_", " ")}` : column;
    if (!found.has(id)) found.set(id, { id, title, columns: [], where: family ? family[3] : "pane", colour: COLOURS[found.size % COLOURS.length] });
    found.get(id).columns.push(column);
  }
  return found;
}
