// The alerts page: what is wrong now, what was, who was told, and that somebody has seen it.

import { get, post } from "../api.js";
import { choices, h, loading, panel, tiles } from "../dom.js";
import { fixed } from "../format.js";
import { live } from "../live.js";
import { Sheet, opener } from "../sheet.js";
import * as view from "../view.js";
import { alert } from "./alert.js";

const REFRESH_MS = 10000;
const PIECE = 50;
const MOST = 5000;
const FILTERS = { severity: "all severities", rule: "all rules", subject: "all subjects" };
const SEVERITIES = ["critical", "warning", "info"];

export const open = opener(class extends Sheet {
  constructor(main) {
    super(REFRESH_MS);
    this.most = PIECE;
    this.asked = new AbortController();
    this.tiles = tiles({ active: "Active", unseen: "Not acknowledged", fired_today: "Fired, last 24 hours", waiting: "Messages that wait", rules: "The rules" });
    this.selects = Object.fromEntries(Object.entries(FILTERS).map(([name, all]) => [name, h("select", { "aria-label": `Filter: ${name}`, onchange: ({ currentTarget }) => this.filter({ [name]: currentTarget.value }) }, h("option", { value: "" }, all))]));
    this.lists = { active: loading(""), past: loading("") };
    this.rows = new Map();
    this.more = h("button", { class: "button more", type: "button", hidden: true, onclick: () => { this.most += PIECE; this.load(); } }, "Show more");
    main.replaceChildren(h("div", { class: "sheet" },
      h("div", { class: "bar" }, h("h1", {}, "Alerts"), h("span", { class: "soft" }, "Each fires once and is over once. Rules and destinations: ", h("code", {}, "config/alerts.yaml")), h("div", { class: "filters" }, Object.values(this.selects))),
      this.tiles.element,
      panel("Active", this.lists.active, { note: "the newest first" }),
      panel("Past", h("div", {}, this.lists.past, this.more), { note: "what is over, the newest first" })));
  }

  start() {
    const signal = this.ending.signal;
    live.addEventListener("alerts", ({ detail }) => { this.standing(detail); this.load(); }, { signal });
    addEventListener("popstate", () => location.pathname === "/alerts" && this.load(), { signal });
    return super.start();
  }

  leave() {
    super.leave();
    this.asked.abort();
  }

  redraw() {
    this.rows.clear();
    super.redraw();
  }

  filter(change) {
    this.most = PIECE;
    view.write(change, { push: true });
    this.load();
  }

  /** Ask anew; what was asked before and has not come is forgotten. */
  async load() {
    this.asked.abort();
    this.asked = new AbortController();
    const signal = this.asked.signal, wish = view.read();
    const filters = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, wish[name]]));
    const limit = Math.min(this.most, MOST - 1);
    try {
      const [active, past] = await Promise.all([get("alerts", { state: "active", ...filters, limit: MOST }, signal), get("alerts", { state: "past", ...filters, limit: limit + 1 }, signal)]);
      this.draw("active", active.rows, this.nothing(filters, "No alert is active."));
      this.draw("past", past.rows.slice(0, limit), this.nothing(filters, "Nothing is over yet."));
      const kept = new Set([...active.rows, ...past.rows].map(({ id }) => id));
      for (const id of this.rows.keys()) if (!kept.has(id)) this.rows.delete(id);
      this.more.hidden = past.rows.length <= limit || limit < this.most;
      for (const [name, known] of [["severity", SEVERITIES], ["rule", active.rules], ["subject", active.subjects]]) {
        const chosen = filters[name] ?? "";
        choices(this.selects[name], ["", ...new Set([...known, ...(chosen ? [chosen] : [])])], chosen, (value) => value || FILTERS[name]);
      }
    } catch (error) {
      if (signal.aborted) return;
      for (const list of Object.values(this.lists)) list.replaceChildren(h("p", { class: "fault" }, error.message));
    }
  }

  /** What to say where a list is empty. */
  nothing(filters, sentence) {
    if (Object.values(filters).some(Boolean)) return ["Nothing with these filters. ", h("button", { class: "linked", type: "button", onclick: () => this.filter({ severity: null, rule: null, subject: null }) }, "Show all")];
    if (this.newest !== null) return [sentence];
    return ["No alert has fired yet. The rules are in ", h("code", {}, "config/alerts.yaml"), "; ", h("code", {}, "crypto alerts test NAME"), " sends a test of one to its destinations."];
  }

  /** Draw a list; what is as it was stays, with the keyboard's focus. */
  draw(name, rows, empty) {
    const list = this.lists[name], focused = list.contains(document.activeElement) ? document.activeElement : null;
    const drawn = rows.map((row) => {
      const told = JSON.stringify(row), there = this.rows.get(row.id);
      if (there?.told === told) return there.element;
      const element = alert(row, (...clicked) => this.acknowledge(...clicked));
      this.rows.set(row.id, { told, element });
      return element;
    });
    const now = [...(list.querySelector("ol")?.children ?? [])];
    if (drawn.length && now.length === drawn.length && now.every((element, place) => element === drawn[place])) return;
    const made = drawn.length ? h("ol", { class: "alerts" }, drawn) : h("p", { class: "empty" }, empty);
    if (!drawn.length && list.firstChild.isEqualNode(made)) return;
    list.replaceChildren(made);
    if (focused) (focused.isConnected ? focused : list.querySelector(`[data-acknowledge="${focused.dataset.acknowledge}"]`))?.focus({ preventScroll: true });
  }

  async acknowledge(row, button) {
    button.disabled = true;
    button.parentElement.querySelector(".fault")?.remove();
    try {
      await post(`alerts/${row.id}/acknowledge`);
      await this.load();
      (this.lists.active.querySelector("[data-acknowledge]:not(:disabled)") ?? document.getElementById("main")).focus({ preventScroll: true });
    } catch (error) {
      button.disabled = false;
      button.before(h("p", { class: "fault", role: "alert" }, error.message));
    }
  }

  standing({ active, unseen, critical, fired_today, waiting, newest, is_evaluated }) {
    if (active === undefined) return;
    this.newest = newest;
    this.tiles.say("active", fixed(active, 0), active ? "not over yet" : "all is quiet");
    this.tiles.say("unseen", fixed(unseen, 0), critical ? `${critical} critical` : unseen ? "none of them critical" : "nothing waits for you", critical ? "bad" : unseen ? "warn" : "");
    this.tiles.say("fired_today", fixed(fired_today, 0), "active and past");
    this.tiles.say("waiting", fixed(waiting, 0), waiting ? "their destination has not taken them" : "all were taken", waiting ? "warn" : "");
    this.tiles.say("rules", is_evaluated ? "evaluated" : "not evaluated", is_evaluated ? "by the alerts service" : "the alerts service does not run: ./monitor.sh shows it", is_evaluated ? "" : "bad");
  }
});
