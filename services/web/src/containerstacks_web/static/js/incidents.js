// Shows what administrators publish as soon as they do. The markup is the server's: its section is fetched and
// replaces the one before.

// All visitors are notified at the same moment.
const SPREAD = 1_000;
const AGAIN = 5_000;

const IMPACTS = ["none", "minor", "major", "critical"];

// The components' names by state, and in `all` the state that they share: as pages/components.py has them.
export function namesByState(components) {
  const names = {};
  for (const { state, name } of components) names[state] = names[state] ? `${names[state]}, ${name}` : name;
  const states = Object.keys(names);
  return { ...names, all: states.length === 1 ? states[0] : null };
}

// The open incident that the page names first: the worst, and of equals the newest.
export function firstNamed(incidents) {
  const graded = incidents.filter(({ kind, impact }) => kind === "incident" && impact !== "none");
  graded.sort((one, other) => IMPACTS.indexOf(other.impact) - IMPACTS.indexOf(one.impact) || other.id - one.id);
  if (graded.length === 0) return null;
  const [{ title, impact, status }] = graded;
  return { title, grade: impact === "minor" ? "minor" : "major", status: status[0].toUpperCase() + status.slice(1).replaceAll("_", " ") };
}

export class Incidents {
  #root;
  #shown = null;
  #timer = 0;

  constructor(root) {
    this.#root = root;
  }

  take(incidents) {
    const newest = JSON.stringify(incidents);
    if (newest === this.#shown) return;
    // The page was rendered a moment ago, and mostly says the same already.
    const isThere = this.#shown === null && this.#isRendered(incidents);
    this.#shown = newest;
    if (!isThere) this.#fetchWithin(SPREAD);
  }

  // Shows the incidents of a newer page, open and past.
  takePage(page) {
    for (const id of ["incidents", "past"]) {
      const section = page.getElementById(id);
      const before = this.#root.querySelector(`#${id}`);
      if (signature(section) !== signature(before)) this.#replace(before, section);
    }
  }

  #isRendered(incidents) {
    const section = this.#root.querySelector("#incidents");
    if (section.hidden && section.dataset.none === undefined) return false;
    const rendered = [...section.querySelectorAll(".incident")].map(({ id, dataset }) => `${id} ${dataset.updates}`);
    const newest = incidents.map(({ id, updates }) => `incident-${id} ${updates.length}`);
    return JSON.stringify(rendered.sort()) === JSON.stringify(newest.sort());
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
    if (section.id !== "incidents") return;
    const titles = [...section.querySelectorAll(".incident__title")];
    const said = titles.map((title) => title.textContent).join(", ");
    this.#root.querySelector("[data-announced]").textContent = said ? `Incidents and maintenance: ${said}` : "All incidents are resolved.";
  }
}

// What a section says, apart from its ages.
function signature(section) {
  const copy = section.cloneNode(true);
  for (const age of copy.querySelectorAll("time[data-format='relative']")) age.remove();
  return `${copy.hidden} ${copy.textContent}`;
}
