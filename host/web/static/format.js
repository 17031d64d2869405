// How values read. Amounts and prices stay exact: they come as decimal strings of
// a u64 with 6 decimals and go through BigInt. Only what is drawn becomes a float.

const DECIMALS = 6;
const ONE = 10n ** BigInt(DECIMALS);

// amount writes "104250000000" as "104,250.00": at least 2 decimals, all that are
// not zero, and commas.
export function amount(text, least = 2) {
  const v = BigInt(text);
  const fraction = (v % ONE).toString().padStart(DECIMALS, "0").replace(/0+$/, "").padEnd(least, "0");
  return group((v / ONE).toString()) + (fraction ? "." + fraction : "");
}

// coarse writes an amount with exactly n decimals, cut and not rounded: for
// figures that change ten times a second.
export function coarse(text, n = 2) {
  const v = BigInt(text);
  const fraction = (v % ONE).toString().padStart(DECIMALS, "0").slice(0, n);
  return group((v / ONE).toString()) + (n ? "." + fraction : "");
}

// units is an amount as a float, to draw with and for nothing else.
export function units(text) {
  return Number(BigInt(text)) / Number(ONE);
}

function group(digits) {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}

// count writes a number with commas.
export function count(n) {
  return group(String(n));
}

// decimals is how many a price of this size is shown with.
export function decimals(price) {
  return price >= 1000 ? 2 : price >= 1 ? 4 : 6;
}

// price writes a price as people of that market do.
export function price(text) {
  return coarse(text, decimals(units(text)));
}

// short is a hash or an address as its ends.
export function short(hex, ends = 6) {
  return hex.length <= 2 * ends + 3 ? hex : hex.slice(0, ends + 2) + "…" + hex.slice(-ends + 2);
}

// duration writes ms: "340 ms", "2.4 s", "3 min 05 s", "2 h 04 min", "3 d 4 h".
export function duration(ms) {
  const s = Math.floor(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (s < 60) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

// seconds writes a span of time in whole seconds, for those who watch it pass.
export function seconds(ms) {
  return ms < 60_000 ? `${Math.ceil(ms / 1000)} s` : duration(ms);
}

// clock is the time of day, to the millisecond if fine.
export function clock(ms, fine = false) {
  const d = new Date(ms);
  if (!isTime(ms)) return String(ms);
  const two = (n) => String(n).padStart(2, "0");
  const text = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return fine ? `${text}.${String(d.getMilliseconds()).padStart(3, "0")}` : text;
}

// moment is day and time of day.
export function moment(ms) {
  if (!isTime(ms)) return String(ms);
  const d = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms, true)}`;
}

// isTime says whether a number is a time that a Date can hold.
export function isTime(ms) {
  return Number.isSafeInteger(ms) && ms <= 8.64e15;
}

// bytes writes a size.
export function bytes(n) {
  return n < 1024 ? `${n} B` : n < 1024 * 1024 ? `${(n / 1024).toFixed(1)} kB` : `${(n / 1024 / 1024).toFixed(1)} MB`;
}

// quantile is the value below which a share q of the values lies.
export function quantile(values, q) {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
