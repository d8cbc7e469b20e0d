// A cursor over a chart, by pointer or by arrow keys, that shows what the chart's table says about the step under it.

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

export function followCharts(root) {
  for (const chart of root.querySelectorAll("[data-chart]")) new Chart(chart).start();
}

class Chart {
  #area;
  #plots;
  #columns;
  #points;
  #at;
  #cursors;
  // It stands in the first picture, where attributes place it: nothing here needs a style.
  #place;
  #tip = element("div", "", "chart__tip");

  constructor(chart) {
    this.#area = chart.querySelector("[data-plots]");
    this.#plots = [...chart.querySelectorAll("[data-plot]")];
    const swatches = new Map([...chart.querySelectorAll(".chart__legend .plot__shape")].map((shape) => [shape.classList[1], shape.parentElement]));
    this.#columns = [...chart.querySelectorAll("thead th")].slice(1).map((head) => (
      { title: head.textContent, swatch: swatches.get(`plot__shape--${head.dataset.name}`) }
    ));
    // The table has the newest step first.
    this.#points = [...chart.querySelectorAll("tbody tr")].reverse().map((row) => {
      const [when, ...cells] = [...row.cells].map((cell) => cell.textContent);
      return { when, cells, known: cells.length === this.#columns.length, incidents: row.dataset.incidents };
    });
    this.#at = this.#points.length - 1;
    this.#cursors = this.#plots.map((plot) => shapeIn(plot, "line", { class: "plot__cursor", y2: "100%" }));
    this.#place = shapeIn(this.#plots[0], "foreignObject", { class: "plot__tip", width: "100%", height: "100%" });
    this.#place.append(this.#tip);
  }

  start() {
    const area = this.#area;
    area.tabIndex = 0;
    area.setAttribute("role", "slider");
    area.setAttribute("aria-label", area.getAttribute("aria-label").split(":")[0]);
    area.setAttribute("aria-valuemin", "0");
    area.setAttribute("aria-valuemax", String(this.#points.length - 1));
    this.#moveTo(this.#at);
    area.addEventListener("pointermove", (event) => this.#show(this.#under(event)));
    area.addEventListener("pointerdown", (event) => this.#show(this.#moveTo(this.#under(event))));
    area.addEventListener("pointerleave", () => (area.matches(":focus-visible") ? this.#show(this.#at) : this.#hide()));
    area.addEventListener("focus", () => this.#show(this.#at));
    area.addEventListener("blur", () => this.#hide());
    area.addEventListener("keydown", (event) => this.#takeKey(event));
  }

  #takeKey(event) {
    if (event.key === "Escape") this.#hide();
    const to = { Home: 0, End: this.#points.length - 1 }[event.key] ?? this.#at + STEPS[event.key];
    if (Number.isNaN(to) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#show(this.#moveTo(to));
  }

  #within(step) {
    return Math.min(Math.max(step, 0), this.#points.length - 1);
  }

  #under({ clientX }) {
    const { left, width } = this.#plots[0].getBoundingClientRect();
    return this.#within(Math.floor(((clientX - left) / width) * this.#points.length));
  }

  #moveTo(step) {
    this.#at = this.#within(step);
    this.#area.setAttribute("aria-valuenow", String(this.#at));
    this.#area.setAttribute("aria-valuetext", this.#inWords(this.#points[this.#at]));
    return this.#at;
  }

  #inWords({ when, cells, known, incidents }) {
    const said = known ? cells.map((cell, index) => `${this.#columns[index].title} ${cell}`) : [...cells];
    if (incidents) said.push(incidents);
    return `${when} UTC: ${said.join(", ")}`;
  }

  #show(step) {
    const x = (step + 0.5) / this.#points.length;
    this.#cursors.forEach((cursor, index) => {
      cursor.setAttribute("x1", `${100 * x}%`);
      cursor.setAttribute("x2", `${100 * x}%`);
      this.#plots[index].append(cursor);
    });
    this.#tip.replaceChildren(...this.#describe(this.#points[step]));
    this.#plots[0].append(this.#place);
    this.#placeAwayFrom(x);
  }

  #describe({ when, cells, known, incidents }) {
    const heads = [element("p", `${when} UTC`, "chart__when")];
    if (incidents) heads.push(element("p", incidents, "chart__during"));
    if (!known) return [...heads, element("p", cells[0])];
    const list = document.createElement("dl");
    cells.forEach((cell, index) => {
      const { title, swatch } = this.#columns[index];
      const term = element("dt", title);
      if (swatch) term.prepend(swatch.cloneNode(true));
      list.append(term, element("dd", cell));
    });
    return [...heads, list];
  }

  // At the other end of the picture: what the cursor points at stays in sight.
  #placeAwayFrom(x) {
    const room = this.#plots[0].getBoundingClientRect().width - this.#tip.offsetWidth;
    this.#place.setAttribute("x", String(x < 0.5 ? Math.max(room, 0) : 0));
  }

  #hide() {
    this.#place.remove();
    for (const cursor of this.#cursors) cursor.remove();
  }
}

function shapeIn(plot, name, attributes) {
  const made = document.createElementNS(plot.namespaceURI, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
