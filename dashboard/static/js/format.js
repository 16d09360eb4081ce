// Numbers and times as they are shown.

const zones = { utc: "UTC", local: undefined };
let zone = localStorage.getItem("zone") === "local" ? "local" : "utc";
const clocks = new Map();

export const usedZone = () => zone;

/** Show times in "utc" or "local". */
export function useZone(name) {
  zone = name;
  clocks.clear();
  localStorage.setItem("zone", name);
}

function clock(kind) {
  const kinds = {
    time: { hour: "2-digit", minute: "2-digit" },
    seconds: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
    day: { month: "short", day: "numeric" },
    date: { year: "numeric", month: "short", day: "numeric" },
    month: { year: "numeric", month: "short" },
    exact: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" },
    whole: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
    short: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
  };
  if (!clocks.has(kind)) clocks.set(kind, new Intl.DateTimeFormat("en-GB", { ...kinds[kind], timeZone: zones[zone], hourCycle: "h23" }));
  return clocks.get(kind);
}

/** A time as text; `at` in milliseconds, or as the API writes it. */
export const when = (at, kind = "short") => (at === null || at === undefined ? "–" : clock(kind).format(new Date(at)));

/** How many places a tick size has: 2 for "0.01". */
export const places = (tick) => (tick && tick.includes(".") ? tick.split(".")[1].replace(/0+$/, "").length : tick ? 0 : 2);

const grouped = (number) => number.replace(/^(-?)(\d+)/, (_, sign, whole) => sign + whole.replace(/\B(?=(\d{3})+$)/g, ","));

/** An exact decimal with so many places, cut not rounded: a price is a multiple of its tick. */
export function exact(text, digits) {
  if (text === null || text === undefined) return "–";
  const [whole, rest = ""] = text.split(".");
  return grouped(whole) + (digits ? "." + rest.padEnd(digits, "0").slice(0, digits) : "");
}

/** A number with so many places. */
export const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : grouped(Number(value).toFixed(digits)));

/** A number in few characters: 1.24M. */
export function brief(value) {
  if (value === null || value === undefined) return "–";
  const number = Number(value), size = Math.abs(number);
  for (const [from, letter] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) if (size >= from) return (number / from).toFixed(2) + letter;
  return size >= 100 ? number.toFixed(1) : size >= 1 ? number.toFixed(2) : number.toPrecision(3);
}

/** Percent with its sign; `fraction` says that 1 is 100 %. */
export function percent(value, { fraction = false, digits = 2 } = {}) {
  if (value === null || value === undefined) return "–";
  const number = Number(value) * (fraction ? 100 : 1);
  return `${number > 0 ? "+" : number < 0 ? "−" : ""}${Math.abs(number).toFixed(digits)} %`;
}

export const direction = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

/** A duration in two units at most. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60 ? `${s % 60} s` : ""}`.trim();
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const bytes = (count) => {
  if (count === null || count === undefined) return "–";
  for (const [from, unit] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"]]) if (Math.abs(count) >= from) return `${(count / from).toFixed(1)} ${unit}`;
  return `${(count / 1e3).toFixed(0)} kB`;
};

/** A word of the tables as people write it. */
export const words = (name) => (name ?? "–").replaceAll("_", " ");
