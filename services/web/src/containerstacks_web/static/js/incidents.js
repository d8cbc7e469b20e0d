// Shows what administrators tell as soon as they do. The markup is the server's: its section is fetched and takes
// the place of the one before.

// Everybody hears of it at the same moment.
const SPREAD = 1_000;
const AGAIN = 5_000;

export class Incidents {
  #root;
  #shown = null;
  #timer = 0;

  constructor(root) {
    this.#root = root;
  }

  take(incidents) {
    const told = JSON.stringify(incidents);
    if (told === this.#shown) return;
    // The page was rendered a moment ago, and mostly says the same already.
    const isThere = this.#shown === null && this.#isRendered(incidents);
    this.#shown = told;
    if (!isThere) this.#fetchWithin(SPREAD);
  }

  // Takes what a newer page tells of incidents.
  takePage(page) {
    const section = page.querySelector("#incidents");
    const before = this.#root.querySelector("#incidents");
    if (section.textContent !== before.textContent) this.#replace(before, section);
  }

  #isRendered(incidents) {
    const section = this.#root.querySelector("#incidents");
    if (section.querySelector(".incidents__none, .incidents__list--current") === null) return false;
    const rendered = [...section.querySelectorAll(".incidents__list--current > .incident")].map((incident) => (
      [incident.id, incident.querySelectorAll(".incident__updates > li").length]
    ));
    return JSON.stringify(rendered) === JSON.stringify(incidents.map(({ id, updates }) => [`incident-${id}`, updates.length]));
  }

  #fetchWithin(longest) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fetch(), Math.random() * longest);
  }

  async #fetch() {
    try {
      const response = await fetch("/status", { cache: "no-store" });
      if (!response.ok) throw new Error(`/status answered ${response.status}`);
      this.takePage(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      this.#fetchWithin(AGAIN);
    }
  }

  #replace(before, section) {
    before.replaceWith(section);
    const titles = [...section.querySelectorAll(".incidents__list--current .incident__title")];
    const said = titles.map((title) => title.textContent).join(", ");
    this.#root.querySelector("[data-told]").textContent = said ? `Incidents and maintenance: ${said}` : "No incident is open.";
  }
}
