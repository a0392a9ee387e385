/** Which parts are seen: all where there is room (alerts and rules share a place), else one. */

import { byId, write } from "./dom.js";

const TITLE = document.title;

export class Views {
  constructor() {
    this.room = matchMedia("(min-width: 1100px)");
    this.unseen = 0;
    this.main = byId("main");
    this.buttons = [...document.querySelectorAll("[data-show]")];
    for (const button of this.buttons) {
      button.addEventListener("click", () => this.show(button.dataset.show));
    }
    document.addEventListener("visibilitychange", () => this.count());
    this.room.addEventListener("change", () => this.count());
    this.show("table");
  }

  get narrow() {
    return !this.room.matches;
  }

  show(view) {
    const { dataset } = this.main;
    dataset.view = view;
    if (view === "feed" || view === "rules") dataset.lower = view;
    for (const button of this.buttons) {
      const shown = button.closest("#tabs") ? dataset.view : dataset.lower;
      button.setAttribute("aria-pressed", String(button.dataset.show === shown));
    }
    this.count();
  }

  /** An alert came: it counts as unseen while nobody sees the alerts. */
  countAlert() {
    this.unseen += 1;
    this.count();
  }

  count() {
    const { view, lower } = this.main.dataset;
    if (!document.hidden && (this.narrow ? view : lower) === "feed") this.unseen = 0;
    const text = this.unseen > 99 ? "99+" : String(this.unseen);
    document.title = this.unseen ? `(${text}) ${TITLE}` : TITLE;
    for (const badge of document.querySelectorAll(".badge")) {
      badge.hidden = this.unseen === 0;
      write(badge, text);
    }
  }
}
