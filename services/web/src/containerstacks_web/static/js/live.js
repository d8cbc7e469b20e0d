// Keeps the status page true: by the socket; while that is silent by polling; and when both are, by saying
// since when nothing is known.

import { correct, now, observe } from "./clock.js";
import { answerWasFresh, connectionState, freshness, isCurrent, isFresh } from "./connection.js";
import { firstNamed, Incidents, namesByState } from "./incidents.js";
import { Polling } from "./polling.js";
import { ReconnectingSocket } from "./socket.js";
import { show } from "./values.js";
import { showVerdict } from "./verdict.js";

const TICK = 500;
// For how long after a biller's end another may take over (STALE_AFTER in billing/heartbeat.py).
const SWITCHING_OVER = 10_000;
// A socket that only reconnects is back before this; one that has fallen silent was waited for long enough.
const SEARCH_BEFORE_POLLING = 1_000;

export class LivePage {
  #root;
  #facts;
  #version = -1;
  #messageAt = -Infinity;
  #polledAt = -Infinity;
  #polledWasFresh = false;
  #pollFailed = false;
  #liveAt = Date.now();
  #billedAt = -Infinity;
  #incidents;
  // The last announcement on the present connection.
  #announced = null;
  #socket;
  #polling;

  constructor(root) {
    this.#root = root;
    this.#facts = JSON.parse(root.dataset.facts);
    if (this.#facts.switchingOver) this.#billedAt = Date.now();
    this.#incidents = new Incidents(root);
    this.#socket = new ReconnectingSocket("/ws/status?topics=status,incidents", {
      onMessage: (message) => this.#takeMessage(message),
      onChange: () => {
        this.#announced = null;
        this.#update();
      },
    });
    this.#polling = new Polling({
      onAnswer: (answer) => this.#takeAnswer(answer),
      onFailure: () => this.#takeFailure(),
    });
  }

  start() {
    this.#socket.connect();
    setInterval(() => this.#update(), TICK);
    document.addEventListener("visibilitychange", () => this.#update());
    addEventListener("online", () => this.#socket.connect());
    // A page that is left closes its connection, so that the browser can keep the page for going back to it.
    addEventListener("pagehide", () => this.#socket.disconnect());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#socket.connect());
  }

  #takeMessage(message) {
    observe(message.timestamp);
    const at = Date.parse(message.timestamp);
    if (message.type === "incidents") {
      this.#announced = message;
      if (isCurrent(now() - at)) this.#showAnnounced();
    }
    if (message.type !== "status") return;
    // A server that has lost its database still greets with the last it knew: that is no sign of life.
    const fresh = isFresh(now() - at);
    if (fresh) this.#messageAt = Date.now();
    // Another replica may be behind the one that we had. A restored database starts counting versions again.
    if ((fresh && message.version > this.#version) || at > this.#dataAt) {
      this.#version = message.version;
      this.#take(message);
    }
    this.#update();
  }

  #showAnnounced() {
    const { overall, components, incidents, billingPaused } = this.#announced;
    const states = Object.fromEntries(components.map(({ component, state, because }) => [component, { state, because }]));
    this.#facts = {
      ...this.#facts, overall, components: states, names: namesByState(components), incident: firstNamed(incidents), billingPaused,
    };
    this.#incidents.take(incidents);
    this.#render();
  }

  #takeAnswer(answer) {
    correct(answer.answeredAt);
    this.#polledAt = Date.now();
    this.#polledWasFresh = answerWasFresh(answer);
    this.#pollFailed = false;
    // The page that was fetched speaks of its own connection and age; those of this page are decided here.
    const { connection, freshness } = this.#facts;
    if (Date.parse(answer.timestamp) >= this.#dataAt) {
      this.#facts = { ...answer.facts, connection, freshness };
      this.#incidents.takePage(answer.page);
    }
    this.#render();
    // The server has news and the socket does not bring them: it is dead, whatever it says.
    if (this.#polledWasFresh && this.#socket.open) this.#socket.connect();
    this.#update();
  }

  #takeFailure() {
    this.#pollFailed = true;
    if (this.#socket.open) this.#socket.connect();
    this.#update();
  }

  #take({ timestamp, vps, daemon }) {
    // Where there never was a daemon, the built-in biller is how it is meant (is_daemon_overdue in status/health.py).
    const daemonOverdue = daemon.warningThresholdExceeded && daemon.status !== "unknown";
    this.#facts = { ...this.#facts, timestamp, vps, daemon, daemonOverdue, ...this.#billing(daemon) };
    this.#render();
  }

  // Messages do not say whether another biller is expected: that follows from when this page last knew of one.
  #billing({ activeBiller }) {
    const nobody = activeBiller === "none";
    if (activeBiller && !nobody) this.#billedAt = Date.now();
    const switchingOver = nobody && Date.now() - this.#billedAt < SWITCHING_OVER;
    return { switchingOver, nobodyBills: nobody && !switchingOver };
  }

  get #dataAt() {
    return this.#facts.timestamp === null ? null : Date.parse(this.#facts.timestamp);
  }

  #update() {
    const connection = connectionState({
      socketOpen: this.#socket.open,
      messageAt: this.#messageAt,
      polledAt: this.#polledAt,
      pollFailed: this.#pollFailed,
      liveAt: this.#liveAt,
      localNow: Date.now(),
    });
    const fresh = freshness({
      connection,
      dataAt: this.#dataAt,
      polledWasFresh: this.#polledWasFresh,
      serverNow: now(),
    });
    this.#pollWhenNeeded(connection);
    const billing = this.#billing(this.#facts.daemon);
    const changed =
      connection !== this.#facts.connection ||
      fresh !== this.#facts.freshness ||
      billing.switchingOver !== this.#facts.switchingOver;
    if (!changed) return;
    this.#facts = { ...this.#facts, connection, freshness: fresh, ...billing };
    this.#render();
  }

  #pollWhenNeeded(connection) {
    if (connection === "live") {
      this.#liveAt = Date.now();
      this.#pollFailed = false;
      // A page that was polled without its server's database said so, and of the end of that there is no announcement.
      if (this.#polledAt > -Infinity && this.#announced !== null) this.#showAnnounced();
      this.#polledAt = -Infinity;
      this.#polling.stop();
      return;
    }
    if (Date.now() - this.#liveAt >= SEARCH_BEFORE_POLLING) this.#polling.start();
  }

  #render() {
    show(this.#root, this.#facts);
    showVerdict(this.#root, this.#facts);
  }
}
