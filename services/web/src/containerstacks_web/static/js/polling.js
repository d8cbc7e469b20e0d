// Fetches the page itself while the socket is silent: one request brings everything that the socket would, and visitors
// who share an address stay within its rate limit.

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
    // All visitors' sockets may have fallen silent at the same moment.
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
      answer = await ask();
    } catch {
      if (this.#running) this.#onFailure();
      return;
    }
    if (this.#running) this.#onAnswer(answer);
  }
}

async function ask() {
  const response = await fetch("/status", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_WITHIN) });
  if (!response.ok) throw new Error(`/status answered ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const facts = JSON.parse(page.querySelector("[data-status]").dataset.facts);
  return { answeredAt: later(page.documentElement.dataset.now, sentAt(response)), timestamp: facts.timestamp, facts, page };
}

// When the response left the nearest server. A cache in between may serve a page that was made long ago, and says so here.
function sentAt(response) {
  const sent = Date.parse(response.headers.get("Date")) + 1000 * Number(response.headers.get("Age") ?? 0);
  return Number.isFinite(sent) ? new Date(sent).toISOString() : null;
}

function later(made, sent) {
  return sent !== null && Date.parse(sent) > Date.parse(made) ? sent : made;
}
