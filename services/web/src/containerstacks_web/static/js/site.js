// What every page does: ages count, and the theme can be switched.

import { countAges } from "./ages.js";
import { observe } from "./clock.js";
import { followThemeSwitch } from "./theme.js";

observe(document.documentElement.dataset.now);
followThemeSwitch(document.querySelector("[data-theme-switch]"));
setInterval(() => countAges(document), 1000);
document.addEventListener("visibilitychange", () => countAges(document));
