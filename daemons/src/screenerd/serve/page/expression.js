/** What is typed into the filter box, as a test of rows. Pure. */

import { WINDOWS, reading } from "./columns.js";
import { HOUR } from "./format.js";

/** What is wrong with an expression, and what to write instead. */
export class FilterError extends Error {}

const FIELDS = {
  change: "change_pct",
  rsi: "rsi_14",
  ...Object.fromEntries(
    ["open", "high", "low", "close", "volume", "quote_volume", "volume_ratio", "vwap", "vcp"]
      .concat(["macd", "macd_signal", "bb_upper", "bb_middle", "bb_lower"])
      .concat(["fib_r1", "fib_r2", "fib_r3", "fib_s1", "fib_s2", "fib_s3"])
      .map((name) => [name, name]),
  ),
};

const METRICS = new Map([["price", (row) => row.price]]);
for (const [name, field] of Object.entries(FIELDS)) {
  for (const window of WINDOWS)
    METRICS.set(`${name}_${window}`, (row) => reading(row, window, field));
}

export const METRIC_NAMES = [...METRICS.keys()];

const COMPARE = new Map([
  [">", (a, b) => a > b],
  ["<", (a, b) => a < b],
  [">=", (a, b) => a >= b],
  ["<=", (a, b) => a <= b],
  ["=", (a, b) => a === b],
]);

const UNITS = { "": 1, k: 1e3, m: 1e6, b: 1e9 };
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?([kmb]?)$/i;
const TOKEN = /\s*(>=|<=|==|[<>=()]|&&|\|\||[^\s<>=≤≥()&|,]+|.)/gy;
const SPELLINGS = new Map([
  ["==", "="],
  ["&&", "and"],
  ["||", "or"],
  [",", "and"],
  ["≥", ">="],
  ["≤", "<="],
]);

/**
 * The test a text stands for.
 *
 * `btc` finds symbols by a part of their name, `change_5m > 1` compares, `alerts` finds symbols
 * that had an alert in the last hour; `and`, `or`, `not` and parentheses combine. Words that follow
 * each other must all hold. A number that is not ready meets no comparison.
 *
 * @param {string} text
 * @returns {(row: object, now: number) => boolean}
 * @throws {FilterError}
 */
export function parseFilter(text) {
  const parser = new Parser(tokens(text));
  if (parser.done) return () => true;
  const test = parser.either();
  if (!parser.done) throw new FilterError(`\`${parser.next}\` is one parenthesis too many`);
  return test;
}

function tokens(text) {
  return [...text.trim().matchAll(TOKEN)].map(([, token]) => SPELLINGS.get(token) ?? token);
}

class Parser {
  constructor(tokens) {
    this.tokens = tokens;
    this.at = 0;
  }

  get next() {
    return this.tokens[this.at];
  }

  get done() {
    return this.at >= this.tokens.length;
  }

  take(word) {
    if (this.next?.toLowerCase() !== word) return false;
    this.at += 1;
    return true;
  }

  either() {
    const tests = [this.all()];
    while (this.take("or")) tests.push(this.all());
    return tests.length === 1 ? tests[0] : (row, now) => tests.some((test) => test(row, now));
  }

  all() {
    const tests = [this.one()];
    while (
      this.take("and") ||
      !(this.done || this.next === ")" || this.next.toLowerCase() === "or")
    ) {
      tests.push(this.one());
    }
    return tests.length === 1 ? tests[0] : (row, now) => tests.every((test) => test(row, now));
  }

  one() {
    if (this.done) throw new FilterError(`something is missing after \`${this.tokens.at(-1)}\``);
    if (this.take("not")) {
      const test = this.one();
      return (row, now) => !test(row, now);
    }
    if (this.take("(")) {
      const test = this.either();
      if (!this.take(")")) throw new FilterError("a closing parenthesis is missing");
      return test;
    }
    return this.comparison();
  }

  comparison() {
    const left = this.word();
    const compare = COMPARE.get(this.next);
    if (!compare) return word(left);
    const sign = this.next;
    this.at += 1;
    if (this.done || COMPARE.has(this.next) || this.next === ")") {
      throw new FilterError(`a number is missing after \`${left} ${sign}\``);
    }
    const [a, b] = [operand(left), operand(this.word())];
    return (row) => {
      const [x, y] = [a(row), b(row)];
      return x !== null && y !== null && compare(x, y);
    };
  }

  word() {
    const token = this.next;
    if (COMPARE.has(token) || token === ")" || ["and", "or"].includes(token.toLowerCase())) {
      throw new FilterError(`something is missing before \`${token}\``);
    }
    this.at += 1;
    return token;
  }
}

function word(text) {
  const lower = text.toLowerCase();
  if (lower === "alerts") {
    return (row, now) => row.alertTimes.some((time) => time > now - HOUR);
  }
  // No symbol has an underscore: it is a comparison that is not finished.
  if (METRICS.has(lower) || lower.includes("_")) {
    operand(text);
    throw new FilterError(`\`${text}\` needs a comparison, such as \`${text} > 1\``);
  }
  return (row) => row.symbol.toLowerCase().includes(lower);
}

function operand(text) {
  const lower = text.toLowerCase();
  const number = NUMBER.exec(lower);
  if (number) {
    const value = Number(lower.slice(0, lower.length - number[3].length)) * UNITS[number[3]];
    return () => value;
  }
  const metric = METRICS.get(lower);
  if (metric) return metric;
  throw new FilterError(
    `\`${text}\` is no number and no metric; did you mean \`${nearest(lower)}\`?`,
  );
}

function nearest(text) {
  const distances = METRIC_NAMES.map((name) => [distance(text, name), name]);
  return distances.reduce((best, next) => (next[0] < best[0] ? next : best))[1];
}

/** Levenshtein's: how many letters must be put in, left out or replaced. */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])));
    }
    row = next;
  }
  return row[b.length];
}
