// Counts every 'ago' and 'in …' on the page, once a second.

import { now } from "./clock.js";
import { shown } from "./format.js";

export function countAges(root) {
  for (const element of root.querySelectorAll("time[data-format='relative'][datetime], time[data-format='due'][datetime]")) {
    const text = shown(element.dateTime, element.dataset.format, now());
    if (element.textContent !== text) element.textContent = text;
  }
}
