// What the pages of panels share: asked for at once, again by themselves, and anew when the time zone changes.

import { live } from "./live.js";

/** Such a page; it has `load()`. */
export class Sheet {
  ending = new AbortController();

  constructor(refreshMs) {
    this.refreshMs = refreshMs;
  }

  start() {
    live.show({});
    addEventListener("zone", () => this.redraw(), { signal: this.ending.signal });
    this.timer = setInterval(() => this.load(), this.refreshMs);
    return this.load();
  }

  /** All of it anew: its times are told otherwise. */
  redraw() {
    this.load();
  }

  leave() {
    this.ending.abort();
    clearInterval(this.timer);
  }
}

/** What opens a page of this class. */
export const opener = (Page) => (main) => {
  const page = new Page(main);
  page.start();
  return { leave: () => page.leave() };
};
