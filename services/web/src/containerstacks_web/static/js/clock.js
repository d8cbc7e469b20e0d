// What time it is on the server, judged by when its timestamps arrive.
//
// A timestamp is always older than its arrival, so the one that arrived with the least delay shows the difference
// between the two clocks best. An answer to a request of ours corrects it in either direction.

let offset = Infinity;

export function observe(timestamp) {
  offset = Math.min(offset, Date.now() - Date.parse(timestamp));
}

export function correct(timestamp) {
  offset = Date.now() - Date.parse(timestamp);
}

export function now() {
  return Date.now() - (Number.isFinite(offset) ? offset : 0);
}
