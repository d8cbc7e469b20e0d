// What every page does: times are the visitor's and ages count, and the theme can be switched.

import { countAges } from "./ages.js";
import { observe } from "./clock.js";
import { useZone } from "./format.js";
import { followThemeSwitch } from "./theme.js";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && zone !== "UTC") {
  useZone(zone);
  document.querySelector("[data-zone]").textContent = `Times are in your zone, ${zone}; days and charts are UTC.`;
}
// A page from the browser's own cache was rendered at any time before: only the visitor's clock knows when.
const [navigation] = performance.getEntriesByType("navigation");
if (navigation?.transferSize > 0) observe(document.documentElement.dataset.now);
followThemeSwitch(document.querySelector("[data-theme-switch]"));
countAges(document);
setInterval(() => countAges(document), 1000);
document.addEventListener("visibilitychange", () => countAges(document));
