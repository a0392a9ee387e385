/** The screener's table: which rows, in which order, and which of them is selected. */

import { COLUMNS, columnOf } from "./columns.js";
import { arrange, byId, el, write } from "./dom.js";
import { parseFilter } from "./expression.js";
import { Frame } from "./frame.js";
import { robustScale, steady } from "./heat.js";
import { Line } from "./line.js";
import { remember, remembered } from "./settings.js";
import { clicked, nextColumn, reversed, sorted } from "./sorting.js";
import { Sparks } from "./spark.js";

/** So long after a pointer or a key moved over the rows they keep their places. */
const HOLD_MS = 1200;
const DEFAULT_SORT = { key: "change_5m", direction: "descending" };

export class Table {
  /**
   * @param {object} options
   * @param {import("./market.js").Market} options.market
   * @param {import("./market.js").MarketClock} options.clock
   * @param {(symbol: string) => void} options.onOpen a row was chosen
   */
  constructor({ market, clock, onOpen }) {
    Object.assign(this, { market, clock, onOpen });
    this.scroller = byId("table-scroller");
    this.grid = byId("table");
    this.body = byId("rows");
    this.empty = byId("table-empty");
    this.lines = new Map();
    this.changed = new Set();
    this.visible = [];
    this.scales = new Map();
    this.selected = null;
    this.filter = () => true;
    this.sort = remembered("sort", DEFAULT_SORT);
    if (!columnOf(this.sort.key)) this.sort = DEFAULT_SORT;
    this.sparks = new Sparks(this.scroller);
    this.frame = new Frame(() => this.show());
    this.makeHeads();
    this.listen();
  }

  makeHeads() {
    this.heads = COLUMNS.map((column) => {
      const press = () => this.sortBy(clicked(this.sort, column));
      const button = el(
        "button",
        { type: "button", title: column.hint, click: press },
        column.title,
      );
      return el("div", { role: "columnheader", class: column.text ? "text" : null }, button);
    });
    byId("heads").append(...this.heads, el("div.spark", { role: "columnheader" }, "Last hour"));
    this.markSort();
  }

  listen() {
    this.body.addEventListener("click", ({ target }) => {
      const symbol = target.closest(".line")?.dataset.symbol;
      if (symbol) this.onOpen(symbol);
    });
    this.touchedAt = -HOLD_MS;
    this.wanted = false;
    this.body.addEventListener("pointermove", () => this.hold());
  }

  /** Takes what the filter box holds; throws a `FilterError` and changes nothing if it is wrong. */
  setFilter(text) {
    this.filter = parseFilter(text);
    this.arrangeNow();
  }

  sortBy(sort) {
    this.sort = sort;
    remember("sort", sort);
    this.markSort();
    this.scroller.scrollTop = 0;
    this.arrangeNow();
  }

  sortByNext() {
    this.sortBy(nextColumn(this.sort));
  }

  reverse() {
    this.sortBy({ ...this.sort, direction: reversed(this.sort.direction) });
  }

  markSort() {
    COLUMNS.forEach((column, index) => {
      const here = column.key === this.sort.key;
      this.heads[index].setAttribute("aria-sort", here ? this.sort.direction : "none");
    });
  }

  /** Symbols may have come or gone, and every number may have changed. */
  reset() {
    for (const [symbol, line] of this.lines) {
      if (this.market.rows.has(symbol)) continue;
      this.sparks.remove(line.spark);
      this.lines.delete(symbol);
    }
    for (const symbol of this.market.rows.keys()) this.changed.add(symbol);
    this.frame.ask();
  }

  /** The numbers of a symbol have changed; they are shown when the burst they came in is over. */
  touch(symbol) {
    this.changed.add(symbol);
    this.frame.askAfterBurst();
  }

  /** An alert came: its row lights up for a moment. */
  flash(symbol, direction) {
    if (!this.market.rows.has(symbol)) return;
    this.touch(symbol);
    this.line(symbol).flash(direction);
  }

  /** Rows keep their places for a moment, unless somebody asks for another order. */
  hold() {
    this.touchedAt = performance.now();
  }

  arrangeNow() {
    this.wanted = true;
    this.frame.ask();
  }

  // All that has changed, in one pass.

  show() {
    this.scale();
    const now = this.clock.now();
    for (const symbol of this.changed) {
      if (this.market.rows.has(symbol)) this.line(symbol).write(this.scales, now);
    }
    this.changed.clear();
    this.arrangeUnlessHeld(now);
    this.sparks.draw();
  }

  /** A row must not slip away from under the pointer, nor from under the keys. */
  arrangeUnlessHeld(now) {
    const hold = this.touchedAt + HOLD_MS - performance.now();
    if (hold > 0 && !this.wanted) this.frame.askIn(hold);
    else this.arrange(now);
  }

  arrange(now) {
    this.wanted = false;
    const rows = [...this.market.rows.values()];
    const found = rows.filter((row) => this.filter(row, now));
    const order = sorted(found, columnOf(this.sort.key), this.sort.direction);
    this.visible = order.map(({ symbol }) => symbol);
    arrange(
      this.body,
      this.visible.map((symbol) => this.line(symbol).element),
    );
    write(
      byId("count"),
      found.length === rows.length ? `${rows.length}` : `${found.length} of ${rows.length}`,
    );
    write(this.empty, rows.length ? "No symbol matches." : "No symbol yet.");
    this.empty.hidden = found.length > 0;
    this.grid.setAttribute("aria-rowcount", String(found.length + 1));
  }

  /** Colours are relative to all symbols: where a scale has moved all are written again. */
  scale() {
    const rows = [...this.market.rows.values()];
    for (const { key, least, value } of COLUMNS) {
      if (least === undefined) continue;
      const used = this.scales.get(key);
      const scale = steady(used, robustScale(rows.map(value), least));
      if (scale === used) continue;
      this.scales.set(key, scale);
      for (const symbol of this.market.rows.keys()) this.changed.add(symbol);
    }
  }

  /** The line of a symbol, made if there is none yet. */
  line(symbol) {
    const known = this.lines.get(symbol);
    if (known) return known;
    const line = new Line(this.market.row(symbol));
    this.lines.set(symbol, line);
    this.sparks.add(line.spark, line.row);
    return line;
  }

  // Selection.

  select(symbol, { scroll = false } = {}) {
    this.lines.get(this.selected)?.select(false);
    this.selected = symbol;
    if (!this.market.rows.has(symbol)) return;
    const line = this.line(symbol);
    line.select(true);
    this.grid.setAttribute("aria-activedescendant", line.element.id);
    if (scroll) line.element.scrollIntoView({ block: "nearest" });
  }

  /** Moves the selection by so many rows; from nowhere it goes to the first one. */
  move(steps) {
    if (!this.visible.length) return;
    this.hold();
    const at = this.visible.indexOf(this.selected);
    const next = at < 0 ? 0 : Math.min(Math.max(at + steps, 0), this.visible.length - 1);
    this.select(this.visible[next], { scroll: true });
  }

  openSelected() {
    if (this.selected) this.onOpen(this.selected);
  }
}
