// Asks for the same document over HTTP, for as long as the socket is silent.

const EVERY = 15_000;
const FIRST_WITHIN = 500;
const ANSWER_WITHIN = 8_000;

export class Polling {
  #onAnswer;
  #onFailure;
  #timer = 0;
  #running = false;

  constructor({ onAnswer, onFailure }) {
    this.#onAnswer = onAnswer;
    this.#onFailure = onFailure;
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    // Everybody's socket may have fallen silent at the same moment.
    this.#timer = setTimeout(() => this.#poll(), Math.random() * FIRST_WITHIN);
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  async #poll() {
    this.#timer = setTimeout(() => this.#poll(), EVERY);
    let answer;
    try {
      const [stats, billing] = await Promise.all([get("/api/health/stats"), get("/api/health/billing-daemon")]);
      answer = { answeredAt: stats.timestamp, timestamp: stats.lastUpdated, vps: stats.vps, daemon: billing.daemon };
    } catch {
      if (this.#running) this.#onFailure();
      return;
    }
    if (this.#running) this.#onAnswer(answer);
  }
}

async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_WITHIN) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}
