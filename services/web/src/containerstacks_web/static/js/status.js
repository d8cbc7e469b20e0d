// The status page.

import { LivePage } from "./live.js";

new LivePage(document.querySelector("[data-status]")).start();
