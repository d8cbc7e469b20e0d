// Another range without leaving the page, and newer charts now and then. The markup is the server's: its section is
// fetched and takes the place of the one before.

import { followCharts } from "./charts.js";

const REFRESH = 300_000;
// Right after the server's start there is nothing to show yet.
const FIRST = 5_000;
const JITTER = 0.2;

export class History {
  #root;
  #asked = 0;
  #timer = 0;

  constructor(root) {
    this.#root = root;
  }

  get #section() {
    return this.#root.querySelector("#history");
  }

  start() {
    followCharts(this.#section);
    this.#root.addEventListener("click", (event) => {
      const link = event.target.closest("[data-range]");
      if (link === null || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.#choose(link.href);
    });
    this.#refreshLater();
  }

  async #choose(address) {
    try {
      if (!(await this.#load(address))) return;
      history.replaceState(null, "", address);
      this.#section.querySelector("[data-range][aria-current]").focus({ preventScroll: true });
    } catch {
      location.assign(address);
    }
  }

  #refreshLater() {
    const wait = this.#section.querySelector("[data-chart]") ? REFRESH : FIRST;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refresh(), wait * (1 + JITTER * Math.random()));
  }

  async #refresh() {
    // Visitors keep their place in the charts and tables.
    if (!document.hidden && !this.#section.matches(":hover, :focus-within")) {
      await this.#load(this.#section.querySelector("[data-range][aria-current]").href).catch(() => {});
    }
    this.#refreshLater();
  }

  // Shows only the range that was asked for last.
  async #load(address) {
    this.#asked += 1;
    const asked = this.#asked;
    const response = await fetch(address, { cache: "no-cache" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const section = page.querySelector("#history");
    if (section === null) throw new Error(`${address} answered ${response.status}`);
    if (asked !== this.#asked) return false;
    const tables = [...this.#section.querySelectorAll("details")];
    section.querySelectorAll("details").forEach((table, index) => { table.open = tables[index]?.open ?? false; });
    this.#section.replaceWith(section);
    followCharts(section);
    return true;
  }
}
