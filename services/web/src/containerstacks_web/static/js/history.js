// Another range without leaving the page, and now and then newer charts, bars and past incidents. The markup is the
// server's: a section is fetched and takes the place of the one before.

import { followCharts } from "./charts.js";
import { followDays } from "./days.js";

const REFRESH = 300_000;
// Right after the server's start there is nothing to show yet.
const FIRST = 5_000;
const JITTER = 0.2;
// What the live feed does not bring, and how its scripts begin.
const BEGIN = { components: followDays, history: followCharts, past: () => {} };

export class History {
  #root;
  #asked = 0;
  #timer = 0;
  #dueAt = 0;
  #renderedAt = Date.parse(document.documentElement.dataset.now);

  constructor(root) {
    this.#root = root;
  }

  start() {
    for (const [id, begin] of Object.entries(BEGIN)) begin(this.#section(id));
    this.#root.addEventListener("click", (event) => {
      const link = event.target.closest("[data-range]");
      if (link === null || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.#choose(link.href);
    });
    document.addEventListener("visibilitychange", () => Date.now() >= this.#dueAt && this.#refresh());
    this.#refreshLater();
  }

  #section(id) {
    return this.#root.querySelector(`#${id}`);
  }

  async #choose(address) {
    try {
      const page = await this.#fetch(address);
      if (page === null) return;
      this.#replace("history", page);
      history.replaceState(null, "", address);
      this.#section("history").querySelector("[data-range][aria-current]").focus({ preventScroll: true });
    } catch {
      location.assign(address);
    }
  }

  #refreshLater() {
    const wait = (this.#section("history").querySelector("[data-chart]") ? REFRESH : FIRST) * (1 + JITTER * Math.random());
    this.#dueAt = Date.now() + wait;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refresh(), wait);
  }

  async #refresh() {
    // A page that nobody sees is refreshed when somebody does.
    if (document.hidden) return;
    const address = this.#section("history").querySelector("[data-range][aria-current]").href;
    const page = await this.#fetch(address).catch(() => null);
    if (page !== null) this.#takeNewer(page);
    this.#refreshLater();
  }

  #takeNewer(page) {
    const renderedAt = Date.parse(page.documentElement.dataset.now);
    // A cache in between keeps an old page for when the server does not answer.
    if (renderedAt < this.#renderedAt) return;
    this.#renderedAt = renderedAt;
    for (const id of Object.keys(BEGIN)) {
      // Visitors keep their place in the bars, charts and tables.
      if (!this.#section(id).matches(":hover, :focus-within")) this.#replace(id, page);
    }
  }

  // Returns null when another page was asked for meanwhile.
  async #fetch(address) {
    this.#asked += 1;
    const asked = this.#asked;
    const response = await fetch(address, { cache: "no-cache" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (page.querySelector("#history") === null) throw new Error(`${address} answered ${response.status}`);
    return asked === this.#asked ? page : null;
  }

  #replace(id, page) {
    const before = this.#section(id);
    const section = page.querySelector(`#${id}`);
    const tables = [...before.querySelectorAll("details")];
    section.querySelectorAll("details").forEach((table, index) => { table.open = tables[index]?.open ?? false; });
    before.replaceWith(section);
    BEGIN[id](section);
  }
}
