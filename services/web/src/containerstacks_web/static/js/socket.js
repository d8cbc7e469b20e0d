// A WebSocket that comes back by itself. Pauses between attempts double, and chance spreads them, so that a
// server that restarts is not met by all its visitors at once.

const PAUSE_MIN = 500;
const PAUSE_MAX = 10_000;

export class ReconnectingSocket {
  #url;
  #onMessage;
  #onChange;
  #socket = null;
  #attempts = 0;
  #timer = 0;

  constructor(url, { onMessage, onChange }) {
    this.#url = url;
    this.#onMessage = onMessage;
    this.#onChange = onChange;
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    this.disconnect();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.#socket) return;
      // A connection has proved itself by a message, not by opening.
      this.#attempts = 0;
      this.#onMessage(JSON.parse(data));
    });
    socket.addEventListener("close", () => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#timer = setTimeout(() => this.connect(), this.#pause());
      this.#onChange();
    });
  }

  disconnect() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.close();
    this.#onChange();
  }

  #pause() {
    const longest = Math.min(PAUSE_MAX, PAUSE_MIN * 2 ** this.#attempts);
    this.#attempts += 1;
    return longest / 2 + (Math.random() * longest) / 2;
  }
}
