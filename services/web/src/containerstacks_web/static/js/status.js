// The status page.

import { followDays } from "./days.js";
import { LivePage } from "./live.js";

const root = document.querySelector("[data-status]");
followDays(root);
new LivePage(root).start();
