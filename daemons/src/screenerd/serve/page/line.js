/** One row of the table: its elements are made once, then only what differs is written. */

import { COLUMNS } from "./columns.js";
import { el } from "./dom.js";
import { HOUR } from "./format.js";

const FLASH = 2400;
const NUMBERS = COLUMNS.slice(1);

let made = 0;

export class Line {
  constructor(row) {
    this.row = row;
    this.mark = el("i.mark", { "aria-hidden": "true" });
    this.texts = NUMBERS.map(() => "");
    this.tints = NUMBERS.map(() => "");
    this.cells = NUMBERS.map(() => el("div.cell", { role: "gridcell" }, ""));
    this.spark = el("div.spark", { role: "gridcell" });
    const name = el("div.text", { role: "rowheader" }, this.mark);
    name.append(el("span.base", {}, row.base), el("span.quote", {}, row.quote));
    made += 1;
    const about = { id: `row-${made}`, "data-symbol": row.symbol, "aria-selected": "false" };
    this.element = el("div.line", { role: "row", ...about }, name, ...this.cells, this.spark);
  }

  /**
   * @param {Map<string, number>} scales of the coloured columns
   * @param {number} now market time
   */
  write(scales, now) {
    NUMBERS.forEach((column, index) => {
      const value = column.value(this.row);
      const text = column.write(value, this.row);
      if (this.texts[index] !== text) {
        this.cells[index].firstChild.nodeValue = text;
        this.texts[index] = text;
      }
      const tint = column.tint?.(value, scales.get(column.key), this.row) ?? "";
      if (this.tints[index] !== tint) {
        this.cells[index].className = `cell ${tint}`;
        this.tints[index] = tint;
      }
    });
    this.writeMood(now);
  }

  /** Whether it had an alert in the last hour, and whether it is warm. */
  writeMood(now) {
    const { alertTimes, direction, warm, missing } = this.row;
    const tone = alertTimes.some((time) => time > now - HOUR) ? direction : "";
    if (this.mark.dataset.tone !== tone) this.mark.dataset.tone = tone;
    this.element.classList.toggle("cold", !warm);
    const hint = warm ? "" : `warming up: ${missing} minutes are missing`;
    if (this.element.title !== hint) this.element.title = hint;
  }

  select(selected) {
    this.element.setAttribute("aria-selected", String(selected));
  }

  /** Lights up for a moment. */
  flash(direction) {
    const { classList } = this.element;
    classList.remove("flash-up", "flash-down");
    requestAnimationFrame(() => {
      classList.add(`flash-${direction}`);
      setTimeout(() => classList.remove(`flash-${direction}`), FLASH);
    });
  }
}
