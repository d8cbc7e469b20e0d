// How values look on the pages: the same as rendering/formats.py, held to it by tests/support/format_cases.py.

export const NOT_KNOWN = "–";

const LOCALE = "en";
const GB_MAX = 10_000;
const GB_PER_TB = 1024;
const ONE_DECIMAL_BELOW = 100;
const HOURS_MAX = 48 * 3600;

const fine = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const ago = new Intl.RelativeTimeFormat(LOCALE, { numeric: "always" });
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (figure) => String(figure).padStart(2, "0");

export const number = (value) => (Math.abs(value) < ONE_DECIMAL_BELOW ? fine : whole).format(value);
export const size = (gigabytes) => number(gigabytes < GB_MAX ? gigabytes : gigabytes / GB_PER_TB);
export const unit = (gigabytes) => (gigabytes < GB_MAX ? "GB" : "TB");

export function percent(part, total) {
  if (!total) return NOT_KNOWN;
  const share = (100 * part) / total;
  if (share > 0 && share < 0.1) return "<0.1%";
  if (share > 99.9 && share < 100) return ">99.9%";
  return `${fine.format(share)}%`;
}

export function relative(moment, now) {
  const seconds = Math.trunc((Date.parse(moment) - now) / 1000);
  const distance = Math.abs(seconds);
  if (distance < 1) return "just now";
  if (distance < 60) return ago.format(seconds, "second");
  if (distance < 3600) return ago.format(Math.trunc(seconds / 60), "minute");
  if (distance < HOURS_MAX) return ago.format(Math.trunc(seconds / 3600), "hour");
  return ago.format(Math.trunc(seconds / 86_400), "day");
}

export const due = (moment, now) => (Date.parse(moment) > now ? relative(moment, now) : "due now");

// Moments are shown in this zone: UTC as from the server, until site.js sets the visitor's own.
let zoned = null;

export function useZone(timeZone) {
  if (timeZone === "UTC") zoned = null;
  else {
    const parts = { timeZone, year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" };
    zoned = new Intl.DateTimeFormat(LOCALE, parts);
  }
}

function partsOf(moment) {
  const at = new Date(moment);
  if (zoned !== null) {
    const { timeZoneName, ...numbers } = Object.fromEntries(zoned.formatToParts(at).map(({ type, value }) => [type, value]));
    return { ...numbers, zone: timeZoneName };
  }
  const [hour, minute, second] = [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()].map(two);
  return { year: at.getUTCFullYear(), month: at.getUTCMonth() + 1, day: at.getUTCDate(), hour, minute, second, zone: "UTC" };
}

export function clock(moment) {
  const { hour, minute, second, zone } = partsOf(moment);
  return `${hour}:${minute}:${second} ${zone}`;
}

export function moment(value) {
  const { year, month, day, hour, minute, zone } = partsOf(value);
  return `${day} ${months[month - 1]} ${year}, ${hour}:${minute} ${zone}`;
}

const formats = { text: String, number, size, unit, relative, due, clock, moment };

export function shown(value, format, now) {
  if (value === null || value === undefined) return format === "unit" ? "" : NOT_KNOWN;
  return formats[format](value, now);
}
