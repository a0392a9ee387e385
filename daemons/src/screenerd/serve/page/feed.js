/** The alerts as they come, newest first. */

import { arrange, byId, el, write } from "./dom.js";
import {
  ago,
  dayAndClock,
  decimalsOf,
  formula,
  percent,
  plain,
  price,
  splitSymbol,
} from "./format.js";
import { Frame } from "./frame.js";

const MOST_SHOWN = 200;

const literal = /^[-−]?[\d.]+(e[+-]?\d+)?$/i;

/** A clause of a reason with the values it was judged by: ["change_5m ≥ 1", "1.92"]. Pure. */
export function clauseParts({ clause, left, right }) {
  const text = formula(clause);
  const bound = text
    .split(/[≥≤<>=]/)
    .at(-1)
    .trim();
  const known = literal.test(bound);
  const sign = /[≥≤<>=]/.exec(text)?.[0] ?? "";
  return [
    text,
    known || typeof right !== "number" ? plain(left) : `${plain(left)} ${sign} ${plain(right)}`,
  ];
}

export class Feed {
  /**
   * @param {object} options
   * @param {import("./market.js").Market} options.market
   * @param {import("./market.js").MarketClock} options.clock
   * @param {(alert: object) => void} options.onOpen an alert was chosen
   */
  constructor({ market, clock, onOpen }) {
    Object.assign(this, { market, clock, onOpen });
    this.list = byId("feed");
    this.picker = byId("feed-rule");
    this.items = new Map();
    this.frame = new Frame(() => this.show());
    this.picker.addEventListener("change", () => this.frame.ask());
  }

  /** The rules that can be picked. */
  setRules(rules) {
    const picked = this.picker.value;
    const options = rules.map(({ name, title }) => el("option", { value: name }, title));
    this.picker.replaceChildren(el("option", { value: "" }, "All rules"), ...options);
    this.picker.value = rules.some(({ name }) => name === picked) ? picked : "";
  }

  changed() {
    this.frame.ask();
  }

  show() {
    const picked = this.picker.value;
    const wanted = this.market.alerts.filter(({ rule }) => !picked || rule === picked);
    const shown = wanted.slice(0, MOST_SHOWN);
    const ids = new Set(shown.map(({ id }) => id));
    for (const id of this.items.keys()) if (!ids.has(id)) this.items.delete(id);
    arrange(
      this.list,
      shown.map((alert) => this.item(alert).element),
    );
    byId("feed-empty").hidden = shown.length > 0;
    this.tell();
  }

  /** The element of an alert; made anew if the alert's state has changed. */
  item(alert) {
    const kept = this.items.get(alert.id);
    if (kept?.alert === alert) return kept;
    const time = el("time", { datetime: new Date(alert.time).toISOString() });
    time.title = `${dayAndClock(alert.time)} UTC`;
    const made = { alert, time, element: this.make(alert, time) };
    this.items.set(alert.id, made);
    return made;
  }

  make(alert, time) {
    const row = this.market.rows.get(alert.symbol);
    const [base, quote] = splitSymbol(alert.symbol);
    const decimals = Math.max(row?.decimals ?? 0, decimalsOf(alert.price));
    const name = el("span", {}, el("span.base", {}, base), el("span.quote", {}, quote));
    const title = el("span.title", {}, alert.title);
    if (alert.state !== "confirmed") title.append(el("span.state", {}, alert.state));
    const figures = el(
      "span.figures",
      {},
      el("span", {}, price(alert.price, decimals)),
      el("span.change", {}, percent(alert.change), el("span.quote", {}, ` ${alert.timeframe}`)),
      time,
    );
    const arrow = el("i.arrow", { "aria-hidden": "true" });
    const button = el("button.alert", { type: "button", click: () => this.onOpen(alert) });
    button.append(arrow, name, title, figures);
    const item = el("li", { "data-rule": alert.rule, "data-symbol": alert.symbol }, button);
    item.className = `${alert.direction} ${alert.state}`;
    if (alert.reason.length) item.append(reason(alert.reason));
    return item;
  }

  /** Writes how long ago each alert was. */
  tell() {
    const now = this.clock.now();
    for (const { alert, time } of this.items.values()) write(time, ago(now - alert.time));
  }
}

function reason(clauses) {
  const parts = clauses.map((clause) => {
    const [text, value] = clauseParts(clause);
    return el("div", {}, el("dt", {}, text), el("dd", {}, value));
  });
  return el("dl.reason", {}, ...parts);
}
