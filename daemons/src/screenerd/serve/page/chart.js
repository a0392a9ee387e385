/** What the chart shows: which symbol and interval, its bars and alerts, fetched and kept up. */

import { INTERVALS, barOf, barTime, differs, merged, secondsOf, ticked } from "./bars.js";
import { ChartView } from "./chartview.js";
import { byId, el, write } from "./dom.js";
import { splitSymbol } from "./format.js";
import { readAlert } from "./market.js";
import { remember, remembered } from "./settings.js";

const PAGE = 500;
const OLDER_PAGE = 1500;
const MOST_PAGES = 4;
const NEWEST_MINUTES = 60;
const MOST_ALERTS = 500;
const UPDATE_PAUSE = 4000;
const MOST_BARS = 20_000;

export class Chart {
  /** @param {{api: import("./api.js").Api}} options */
  constructor({ api }) {
    this.api = api;
    this.view = new ChartView({ host: byId("chart"), legend: byId("chart-legend") });
    this.view.onLeftEdge = () => this.loadOlder();
    this.message = byId("chart-message");
    this.symbol = null;
    this.interval = remembered("interval", "5m");
    if (!INTERVALS.includes(this.interval)) this.interval = "5m";
    this.bars = [];
    this.alerts = new Map();
    this.buttons = INTERVALS.map((interval) =>
      el("button", { type: "button", click: () => this.setInterval(interval) }, interval),
    );
    byId("intervals").append(...this.buttons);
    this.markInterval();
  }

  markInterval() {
    this.buttons.forEach((button, index) => {
      button.setAttribute("aria-pressed", String(INTERVALS[index] === this.interval));
    });
  }

  setInterval(interval) {
    this.interval = interval;
    remember("interval", interval);
    this.markInterval();
    this.refresh();
  }

  nextInterval() {
    this.setInterval(INTERVALS[(INTERVALS.indexOf(this.interval) + 1) % INTERVALS.length]);
  }

  /** The server answers again: what could not be fetched is asked for once more. */
  resume() {
    if (!this.bars.length) this.refresh();
  }

  /** Another server answers: its alerts are others. */
  restart() {
    this.alerts = new Map();
    this.refresh();
  }

  /** Fetches again what it shows. */
  refresh() {
    if (this.symbol) this.load();
  }

  /**
   * Shows a symbol: its newest bars, or those around an alert.
   *
   * @param {string} symbol
   * @param {{alert: object|null, known: object[]}} alerts `known` are its alerts so far as they are
   */
  open(symbol, { alert, known }) {
    const [base, quote] = splitSymbol(symbol);
    byId("chart-symbol").replaceChildren(el("span.base", {}, base), el("span.quote", {}, quote));
    this.alerts = new Map(known.map((one) => [one.id, one]));
    this.symbol = symbol;
    return this.load(alert);
  }

  /** Fetches everything anew; what an earlier call still waits for is given up. */
  async load(alert = null) {
    this.aborter?.abort();
    this.aborter = new AbortController();
    const { signal } = this.aborter;
    this.complete = false;
    this.bars = [];
    this.say("Loading…");
    try {
      const [bars, alerts] = await Promise.all([
        this.fetchBack(alert, signal),
        this.fetchAlerts(signal),
        this.view.make(),
      ]);
      if (signal.aborted) return;
      this.bars = bars;
      for (const one of alerts) this.alerts.set(one.id, one);
      this.show();
      this.view.look(alert && barTime(alert, this.interval));
      this.say(bars.length ? "" : `No candles of ${this.symbol} yet.`);
    } catch (error) {
      if (signal.aborted) return;
      this.show();
      this.say(`No chart: ${error.message}`);
    }
  }

  show() {
    const { symbol, interval, bars } = this;
    this.view.show({ symbol, interval, bars, alerts: [...this.alerts.values()] });
  }

  /** The newest bars, and as many older ones as it takes to reach an alert. */
  async fetchBack(alert, signal) {
    let bars = await this.fetchBars({ limit: PAGE }, signal);
    this.complete = bars.length < PAGE;
    const from = alert ? barTime(alert, this.interval) : Infinity;
    for (
      let page = 1;
      page < MOST_PAGES && bars.length && bars[0].time > from && !this.complete;
      page += 1
    ) {
      bars = merged(await this.fetchOlder(bars[0].time, signal), bars);
    }
    return bars;
  }

  async fetchBars(query, signal) {
    const asked = { symbol: this.symbol, interval: this.interval, ...query };
    const { candles } = await this.api.get("api/candles", asked, signal);
    return candles.map(barOf);
  }

  async fetchOlder(time, signal) {
    const end = new Date(time * 1000).toISOString();
    const bars = await this.fetchBars({ end, limit: OLDER_PAGE }, signal);
    const older = bars.filter((bar) => bar.time < time);
    this.complete = older.length === 0;
    return older;
  }

  async fetchAlerts(signal) {
    const query = { symbol: this.symbol, limit: MOST_ALERTS };
    const { alerts } = await this.api.get("api/alerts", query, signal);
    return alerts.map(readAlert);
  }

  /** Somebody looks at the oldest bars: fetches older ones. */
  async loadOlder() {
    if (this.complete || this.loadingOlder || !this.bars.length) return;
    this.loadingOlder = true;
    const { signal } = this.aborter;
    try {
      const older = await this.fetchOlder(this.bars[0].time, signal);
      if (signal.aborted || !older.length) return;
      this.bars = merged(older, this.bars);
      this.show();
    } catch {
      // Not asked for again and again: until the chart is opened anew this is all there is.
      this.complete ||= !signal.aborted;
    } finally {
      this.loadingOlder = false;
    }
  }

  /** A minute of a symbol has closed; if it is this one its newest bars are fetched. */
  async minuteClosed(symbol) {
    if (symbol !== this.symbol || !this.bars.length || this.updating) return;
    this.updating = true;
    await this.update();
    // Where minutes are short, as in the demonstration, not each of them is worth a request.
    setTimeout(() => {
      this.updating = false;
    }, UPDATE_PAUSE);
  }

  async update() {
    const { signal } = this.aborter;
    try {
      const limit = Math.ceil((NEWEST_MINUTES * 60) / secondsOf(this.interval)) + 2;
      const newest = await this.fetchBars({ limit }, signal);
      if (!signal.aborted) this.extend(newest);
    } catch {
      // The next minute asks again; what is wrong with the server is told in the status.
    }
  }

  extend(newest) {
    const last = this.bars.at(-1).time;
    const missed = newest.length && newest[0].time > last + secondsOf(this.interval);
    if (missed || this.bars.length > MOST_BARS) {
      this.load();
      return;
    }
    const corrected = differs(
      this.bars,
      newest.filter(({ time }) => time < last),
    );
    this.bars = merged(this.bars, newest);
    if (corrected) this.show();
    else
      this.view.extend(
        this.bars,
        newest.filter(({ time }) => time >= last),
      );
  }

  /** The price of the symbol within its running minute. */
  tick(price, time) {
    if (price === undefined || !this.bars.length) return;
    const running = ticked(this.bars, this.view.running, price, time, this.interval);
    if (running) this.view.run(running);
  }

  addAlert(alert) {
    if (alert.symbol !== this.symbol) return;
    this.alerts.set(alert.id, alert);
    if (this.alerts.size > MOST_ALERTS) this.alerts.delete(this.alerts.keys().next().value);
    if (this.bars.length) this.view.mark([...this.alerts.values()]);
  }

  say(text) {
    write(this.message, text);
    this.message.hidden = !text;
  }
}
