// The status page.

import { History } from "./history.js";
import { LivePage } from "./live.js";

const root = document.querySelector("[data-status]");
new History(root).start();
new LivePage(root).start();
