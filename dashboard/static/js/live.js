// The socket: one for the whole page, which comes back by itself.

const RETRY_MS = 1000;
const SILENT_MS = 5000;

class Live extends EventTarget {
  #socket = null;
  #wish = null;
  #heard = 0;
  open = false;

  /** Look at a symbol and timeframe from now on. */
  show(wish) {
    this.#wish = wish;
    if (this.open) this.#socket.send(JSON.stringify(wish));
    else if (!this.#socket) this.#connect();
  }

  #connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`);
    this.#socket = socket;
    this.#heard = Date.now();
    socket.onopen = () => {
      this.open = true;
      this.dispatchEvent(new Event("open"));
      if (this.#wish) socket.send(JSON.stringify(this.#wish));
    };
    socket.onmessage = (event) => {
      this.#heard = Date.now();
      for (const message of JSON.parse(event.data)) this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
    };
    socket.onclose = () => {
      this.open = false;
      this.#socket = null;
      this.dispatchEvent(new Event("closed"));
      setTimeout(() => this.#socket || this.#connect(), RETRY_MS);
    };
  }

  /** A socket that says nothing is dead, whatever it thinks: the server speaks every second. */
  watch() {
    setInterval(() => this.open && this.#wish && Date.now() - this.#heard > SILENT_MS && this.#socket.close(), SILENT_MS / 2);
  }
}

export const live = new Live();
live.watch();
