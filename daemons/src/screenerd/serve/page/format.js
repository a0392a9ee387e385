/** Numbers and times as text. Pure. */

export const NOT_READY = "–";
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

const MOST_DECIMALS = 10;
const MINUS = "−";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** How many decimals a number is written with: 5 for 0.00021 as for 2.1e-4. */
export function decimalsOf(value) {
  if (!isNumber(value)) return 0;
  const [digits, exponent = "0"] = String(value).split("e");
  const fraction = digits.split(".")[1] ?? "";
  return Math.min(Math.max(fraction.length - Number(exponent), 0), MOST_DECIMALS);
}

/** A price with the decimals its symbol has. */
export function price(value, decimals = decimalsOf(value)) {
  if (!isNumber(value)) return NOT_READY;
  const [whole, fraction] = value.toFixed(decimals).split(".");
  const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, ",") : whole;
  return fraction ? `${grouped}.${fraction}` : grouped;
}

/** A number with its sign, with fewer decimals the larger it is. */
export function signed(value, decimals = 2) {
  if (!isNumber(value)) return NOT_READY;
  const size = Math.abs(value);
  const text = size.toFixed(size >= 100 ? Math.max(decimals - 1, 0) : decimals);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

export function percent(value) {
  return isNumber(value) ? `${signed(value)} %` : NOT_READY;
}

const UNITS = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
];

/** Three digits and a unit: 1.23M. */
export function compact(value) {
  if (!isNumber(value)) return NOT_READY;
  const size = Math.abs(value);
  // 999.5k and more is written as 1.00M.
  const [unit, letter] = UNITS.find(([unit]) => size >= unit * 0.9995) ?? [1, ""];
  return letter ? threeDigits(value / unit) + letter : plain(value);
}

function threeDigits(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2).replace("-", MINUS);
}

/** A ratio such as 1.84 or 23.1. */
export function ratio(value) {
  return isNumber(value) ? threeDigits(value) : NOT_READY;
}

export function whole(value) {
  return isNumber(value) ? value.toFixed(0) : NOT_READY;
}

/** A number of a rule's clause, whatever its size. */
export function plain(value) {
  if (!isNumber(value)) return NOT_READY;
  const size = Math.abs(value);
  if (size >= 10_000) return compact(value);
  if (size !== 0 && size < 0.01) return value.toPrecision(2).replace("-", MINUS);
  return String(Number(value.toFixed(size >= 100 ? 1 : 2))).replace("-", MINUS);
}

/** How long ago, in one or two units. */
export function ago(ms) {
  if (!isNumber(ms)) return NOT_READY;
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m`;
  if (ms < DAY) {
    const minutes = Math.floor((ms % HOUR) / MINUTE);
    return `${Math.floor(ms / HOUR)}h ${String(minutes).padStart(2, "0")}m`;
  }
  return `${Math.floor(ms / DAY)}d ${Math.floor((ms % DAY) / HOUR)}h`;
}

/** The time of day, UTC. */
export function clock(ms) {
  return isNumber(ms) ? new Date(ms).toISOString().slice(11, 16) : NOT_READY;
}

export function dayAndClock(ms) {
  return isNumber(ms) ? new Date(ms).toISOString().slice(0, 16).replace("T", " ") : NOT_READY;
}

/** A duration as rules have it: 90 s, 5 min, 2 h. */
export function duration(seconds) {
  if (seconds % 3600 === 0 && seconds > 0) return `${seconds / 3600} h`;
  if (seconds % 60 === 0 && seconds > 0) return `${seconds / 60} min`;
  return `${seconds} s`;
}

const QUOTES = /^(.+?)(USDT|USDC|FDUSD|BUSD|USD)$/;

/** A symbol in two parts, so that the quote asset can stand back: ["BTC", "USDT"]. */
export function splitSymbol(symbol) {
  const [, base, quote] = QUOTES.exec(symbol) ?? [];
  return base ? [base, quote] : [symbol, ""];
}

/** An expression of a rule with the signs of a printed formula. */
export function formula(text) {
  return text
    .replace(/\s+/g, " ")
    .trim()
    .replaceAll(">=", "≥")
    .replaceAll("<=", "≤")
    .replaceAll(" * ", " × ")
    .replace(/(^|[^\w.])-(?=[\d.])/g, `$1${MINUS}`);
}
