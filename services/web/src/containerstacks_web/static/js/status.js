// The status page.

import { followDays } from "./days.js";
import { History } from "./history.js";
import { LivePage } from "./live.js";

const root = document.querySelector("[data-status]");
followDays(root);
new History(root).start();
new LivePage(root).start();
