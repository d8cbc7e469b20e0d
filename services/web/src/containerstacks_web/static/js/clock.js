// What time it is on the server, judged by when its timestamps arrive.
//
// Every timestamp was made before it arrived, so of many the one that arrived with the least delay tells the
// difference of the two clocks best. An answer to our own question corrects it in either direction.

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
