// The frame of every page: navigation, state, clock, theme, keys.

import { get } from "./api.js";
import { h, say } from "./dom.js";
import { useZone, usedZone, when } from "./format.js";
import { help } from "./help.js";
import { live } from "./live.js";

const PAGES = {
  "/": ["Market", () => import("./market/page.js")],
  "/portfolio": ["Portfolio & risk", () => import("./portfolio/page.js")],
  "/data": ["Data", () => import("./data/page.js")],
  "/alerts": ["Alerts", () => import("./alerts/page.js")],
  "/docs": ["API", () => import("./docs.js")],
};
const main = document.getElementById("main");
const byId = (id) => document.getElementById(id);
let leave = () => {};
let page = null;
let turn = 0;

async function open() {
  const mine = ++turn;
  leave();
  leave = () => {};
  page = null;
  for (const link of document.querySelectorAll(".pages a")) {
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const found = PAGES[location.pathname];
  document.title = `${found ? found[0] : "Not here"} · crypto-lakehouse`;
  if (!found) {
    main.replaceChildren(h("p", { class: "empty" }, `There is no page ${location.pathname}. There are `,
      Object.entries(PAGES).flatMap(([path, [name]], place) => [place ? ", " : "", h("a", { href: path, "data-page": true }, name)]), "."));
    return;
  }
  try {
    const module = await found[1]();
    if (mine !== turn) return;
    page = module.open(main);
    leave = page.leave ?? leave;
  } catch (error) {
    main.replaceChildren(h("p", { class: "fault" }, error.message));
  }
}

function go(path, query = "") {
  if (path === location.pathname) return;
  history.pushState(null, "", path + query);
  open();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-page]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(link.pathname, link.search);
});
addEventListener("popstate", open);

// --- what stands still, and why

const state = { feed: "", database: "", server: "" };

function showState() {
  const troubles = Object.values(state).filter(Boolean);
  byId("trouble").hidden = !troubles.length;
  const shown = byId("trouble");
  if (shown.dataset.said !== troubles.join()) {
    shown.dataset.said = troubles.join();
    shown.replaceChildren(...troubles.map((sentence) => h("p", {}, sentence)));
  }
  byId("state").className = `state ${troubles.length ? "bad" : "ok"}`;
  say(byId("state-text"), troubles.length ? "stands still" : "live");
}

live.addEventListener("state", ({ detail }) => {
  const { feed, database } = detail;
  // The seconds that it counts would have it read aloud again and again.
  Object.assign(state, { feed: feed.replace(/ for \d+ s/, ""), database, server: "" });
  showState();
});
live.addEventListener("closed", () => {
  state.server = "The dashboard's server does not answer. ./monitor.sh shows whether it runs; this page goes on by itself.";
  showState();
});

live.addEventListener("alerts", ({ detail: { unseen = 0, critical } }) => {
  const count = byId("alert-count");
  count.hidden = !unseen;
  count.classList.toggle("bad", Boolean(critical));
  say(count, String(unseen));
  count.title = `${unseen} active and not acknowledged${critical ? `, ${critical} of them critical` : ""}`;
});

// --- theme, time zone, clock

byId("theme").onclick = () => {
  const theme = document.documentElement.dataset.theme === "light" ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  dispatchEvent(new Event("theme"));
};
byId("zone").onclick = () => {
  useZone(usedZone() === "utc" ? "local" : "utc");
  tick();
  dispatchEvent(new Event("zone"));
};
byId("help").onclick = help;

function tick() {
  say(byId("zone"), usedZone() === "utc" ? "UTC" : "local");
  say(byId("clock"), when(Date.now(), "seconds"));
}
tick();
setInterval(tick, 1000);

// --- keys

const KEYS = { d: () => byId("theme").click(), z: () => byId("zone").click(), "?": help, m: () => go("/"), p: () => go("/portfolio"), a: () => go("/data"), l: () => go("/alerts"), o: () => go("/docs") };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help-dialog").open) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing && event.key !== "Escape") return;
  const act = page?.keys?.[event.key] ?? KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

get("about").then(({ mode }) => {
  byId("mode").hidden = false;
  byId("mode").className = `badge ${mode}`;
  say(byId("mode"), mode === "demo" ? "DEMO" : "LIVE");
  byId("mode").title = mode === "demo" ? "A simulated exchange: no real prices" : "Live from the exchange";
}).catch(() => {});
open();
