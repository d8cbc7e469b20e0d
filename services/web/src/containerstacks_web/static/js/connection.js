// How the page is connected and how far its figures can be trusted: plain rules, no I/O.

// The server confirms its figures every 4 seconds. One confirmation may be missing; with the second that a
// page takes to notice, it is stale within 10.
const LIVE_AGE_MAX = 9_000;
// The server reads components and incidents every 30 seconds: older ones are of a server that no longer can.
const ANNOUNCED_AGE_MAX = 60_000;
// Between two polls figures grow old by design.
const POLLED_AGE_MAX = 25_000;
// For so long a lost connection is one that is just coming back.
const SEARCH_MAX = 3_000;

// All times are our own clock's: when the last fresh message and the last answer to a poll arrived, and when the page
// was last live or began.
export function connectionState({ socketOpen, messageAt, polledAt, pollFailed, liveAt, localNow }) {
  if (socketOpen && localNow - messageAt <= LIVE_AGE_MAX) return "live";
  if (!pollFailed && localNow - polledAt <= POLLED_AGE_MAX) return "polling";
  return !pollFailed && localNow - liveAt <= SEARCH_MAX ? "connecting" : "offline";
}

// `dataAt` and `serverNow` are the server's time; an answer to a poll may itself have been old.
export function freshness({ connection, dataAt, polledWasFresh, serverNow }) {
  if (dataAt === null) return "unknown";
  const ageMax = connection === "polling" && polledWasFresh ? POLLED_AGE_MAX : LIVE_AGE_MAX;
  return serverNow - dataAt <= ageMax ? "fresh" : "stale";
}

// Whether the server itself had just confirmed figures of this age.
export const isFresh = (age) => age <= LIVE_AGE_MAX;

// The same of components and incidents.
export const isCurrent = (age) => age <= ANNOUNCED_AGE_MAX;

export const answerWasFresh = ({ answeredAt, timestamp }) => isFresh(Date.parse(answeredAt) - Date.parse(timestamp));
