/** The filter box: filters while one types, and says what it does not understand. */

import { byId, write } from "./dom.js";
import { FilterError } from "./expression.js";

export class FilterBox {
  /** @param {{table: import("./table.js").Table}} options */
  constructor({ table }) {
    this.table = table;
    this.input = byId("filter");
    this.problem = byId("filter-problem");
    this.input.addEventListener("input", () => this.apply());
    this.input.addEventListener("keydown", (event) => this.key(event));
    for (const button of document.querySelectorAll("[data-filter]")) {
      button.addEventListener("click", () => this.set(button.dataset.filter));
    }
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  set(text) {
    this.input.value = this.input.value === text ? "" : text;
    this.apply();
  }

  key(event) {
    if (event.key === "Escape" && this.input.value) this.set("");
    else if (event.key === "Escape" || event.key === "Enter") this.input.blur();
    else if (event.key === "ArrowDown") this.table.move(1);
    else if (event.key === "ArrowUp") this.table.move(-1);
    else return;
    event.preventDefault();
  }

  /** The last filter that was understood stays until another one is. */
  apply() {
    let wrong = "";
    try {
      this.table.setFilter(this.input.value);
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      wrong = error.message;
    }
    write(this.problem, wrong);
    this.problem.hidden = !wrong;
    this.input.setAttribute("aria-invalid", String(Boolean(wrong)));
    for (const button of document.querySelectorAll("[data-filter]")) {
      button.setAttribute(
        "aria-pressed",
        String(button.dataset.filter === this.input.value.trim()),
      );
    }
  }
}
