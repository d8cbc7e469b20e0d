// Keeps the times on the page right, once a second: every 'ago' and 'in …' counts, and moments stand in the visitor's zone.

import { now } from "./clock.js";
import { shown } from "./format.js";

const FORMATS = ["relative", "due", "moment", "clock"].map((format) => `time[data-format='${format}'][datetime]`).join();

export function countAges(root) {
  for (const element of root.querySelectorAll(FORMATS)) {
    const text = shown(element.dateTime, element.dataset.format, now());
    if (element.textContent !== text) element.textContent = text;
  }
}
