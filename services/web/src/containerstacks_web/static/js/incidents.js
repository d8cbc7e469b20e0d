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
  #announced = [];
  #timer = 0;

  constructor(root) {
    this.#root = root;
  }

  take(incidents) {
    this.#announced = incidents;
    // A page was rendered a moment ago, and mostly says the same already.
    if (!this.#isRendered()) this.#fetchWithin(SPREAD);
  }

  // Shows the incidents of a newer page, open and past.
  takePage(page) {
    // A server that has just started may not have read them.
    if (!isKnown(page.getElementById("incidents"))) return;
    for (const id of ["incidents", "past"]) {
      const section = page.getElementById(id);
      const before = this.#root.querySelector(`#${id}`);
      if (signature(section) !== signature(before)) this.#replace(before, section);
    }
  }

  #isRendered() {
    const section = this.#root.querySelector("#incidents");
    if (!isKnown(section)) return false;
    const rendered = [...section.querySelectorAll(".incident")].map(({ id, dataset }) => `${id} ${Date.parse(dataset.updated)}`);
    const newest = this.#announced.map(({ id, updatedAt }) => `incident-${id} ${Date.parse(updatedAt)}`);
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
      // Tried again below.
    }
    // A cache in between may have answered with the page from before.
    if (!this.#isRendered()) this.#fetchWithin(AGAIN);
  }

  #replace(before, section) {
    before.replaceWith(section);
    if (section.id !== "incidents") return;
    const said = [...section.querySelectorAll(".incident__title")].map((title) => title.textContent).join(", ");
    const announced = this.#root.querySelector("[data-announced]");
    if (said) announced.textContent = `Incidents and maintenance: ${said}`;
    else if (!before.hidden) announced.textContent = "All incidents are resolved.";
  }
}

// Whether the server had read the incidents when it rendered the section: without any it is hidden, and says so.
const isKnown = (section) => !section.hidden || section.dataset.none !== undefined;

// What a section says, apart from its ages and from the zone that times are shown in.
function signature(section) {
  const copy = section.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.textContent = time.dateTime;
  return `${isKnown(copy)} ${copy.textContent}`;
}
