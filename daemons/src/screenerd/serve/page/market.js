/** What is known of the market: a row for each symbol, and the alerts. No DOM. */

import { HOUR, decimalsOf, splitSymbol } from "./format.js";

export const MOST_ALERTS = 1000;
const SPARK_MINUTES = 60;

/** Market time, which runs `speed` times faster than the wall in the demonstration. */
export class MarketClock {
  constructor(wall = () => performance.now()) {
    this.wall = wall;
    this.set(Date.now(), 1);
  }

  set(now, speed) {
    this.base = now;
    this.at = this.wall();
    this.speed = speed;
  }

  now() {
    return this.base + (this.wall() - this.at) * this.speed;
  }
}

/** An alert as the server tells it, with every part the page relies on in place. */
export function readAlert(data) {
  const about = data.metadata ?? {};
  return {
    id: String(data.id),
    time: Date.parse(data.triggered_at),
    symbol: String(data.symbol),
    rule: String(data.alert_type),
    title: String(about.title ?? data.alert_type),
    direction: about.direction === "down" ? "down" : "up",
    timeframe: String(data.timeframe ?? ""),
    price: data.price ?? null,
    change: data.change_pct ?? null,
    state: data.state ?? "confirmed",
    reason: Array.isArray(about.reason) ? about.reason : [],
  };
}

function nothingKnown() {
  const numbers = { frames: {}, price: null, time: null, decimals: 0, spark: [] };
  return { ...numbers, warm: true, missing: 0, alertTimes: [], direction: null, tick: "" };
}

export class Market {
  constructor() {
    this.rows = new Map();
    this.alerts = [];
    this.alertIds = new Set();
  }

  /** The newest close of any symbol, ms; null if there is none. */
  get newestClose() {
    let newest = null;
    for (const { time } of this.rows.values()) if (time > newest) newest = time;
    return newest;
  }

  /** Takes the whole list of symbols; those that are not in it are gone. */
  setSymbols(symbols) {
    const names = new Set(symbols.map(({ symbol }) => symbol));
    for (const name of this.rows.keys()) if (!names.has(name)) this.rows.delete(name);
    for (const { symbol, warm, missing } of symbols) {
      Object.assign(this.row(symbol), { warm, missing });
    }
  }

  setSparklines(symbols) {
    for (const [symbol, closes] of Object.entries(symbols)) {
      const row = this.rows.get(symbol);
      if (!row) continue;
      row.spark = closes.slice(-SPARK_MINUTES);
      for (const close of closes) row.decimals = Math.max(row.decimals, decimalsOf(close));
    }
  }

  row(symbol) {
    const known = this.rows.get(symbol);
    if (known) return known;
    const [base, quote] = splitSymbol(symbol);
    const row = { symbol, base, quote, ...nothingKnown() };
    this.rows.set(symbol, row);
    for (const alert of this.alerts.filter((alert) => alert.symbol === symbol).reverse())
      note(row, alert);
    return row;
  }

  /** Another server answers: what the last one told does not count any more. */
  forget() {
    for (const row of this.rows.values()) Object.assign(row, nothingKnown());
  }

  /** Takes the metrics of one symbol; gives its row. */
  setMetrics({ symbol, timestamp, price, timeframes }) {
    const row = this.row(symbol);
    const time = Date.parse(timestamp);
    // An answer may be overtaken by what is told live.
    if (time < row.time) return row;
    // A minute that is told again was corrected.
    const before = time === row.time ? row.spark.slice(0, -1) : row.spark;
    if (row.time !== null && price !== null) row.spark = [...before, price].slice(-SPARK_MINUTES);
    row.decimals = Math.max(row.decimals, decimalsOf(price));
    return Object.assign(row, { time, price, frames: timeframes });
  }

  /** Takes the price within the running minute of a symbol that is known; says whether it moved. */
  setPrice(symbol, price) {
    const row = this.rows.get(symbol);
    if (!row || row.time === null || row.price === price) return false;
    row.tick = price > row.price ? "up" : "down";
    row.decimals = Math.max(row.decimals, decimalsOf(price));
    row.price = price;
    return true;
  }

  /** Takes the newest alerts instead of those it has. */
  setAlerts(alerts) {
    this.alerts = [];
    this.alertIds.clear();
    for (const row of this.rows.values()) Object.assign(row, { alertTimes: [], direction: null });
    // Oldest first, so that each goes to the front.
    for (const alert of [...alerts].reverse()) this.addAlert(alert);
  }

  /** Takes an alert; says whether it is a new one. */
  addAlert(alert) {
    if (this.alertIds.has(alert.id)) {
      const at = this.alerts.findIndex(({ id }) => id === alert.id);
      this.alerts[at] = alert;
      return false;
    }
    const at = this.alerts.findIndex(({ time }) => time <= alert.time);
    this.alerts.splice(at < 0 ? this.alerts.length : at, 0, alert);
    this.alertIds.add(alert.id);
    while (this.alerts.length > MOST_ALERTS) this.alertIds.delete(this.alerts.pop().id);
    const row = this.rows.get(alert.symbol);
    if (row) note(row, alert);
    return true;
  }
}

/** Notes an alert in its row, and forgets those of more than an hour before. */
function note(row, { time, direction }) {
  row.alertTimes = [...row.alertTimes.filter((earlier) => earlier > time - HOUR), time];
  row.direction = direction;
}
