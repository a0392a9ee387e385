/** Alerts for those who listen: one short sentence at a time. */

import { byId } from "./dom.js";
import { percent } from "./format.js";

const PAUSE = 3000;

/** What is said of the alerts since the last time. Pure. */
export function sentence(alerts) {
  if (alerts.length > 2) return `${alerts.length} alerts, newest ${told(alerts.at(-1))}`;
  return alerts.map(told).join("; ");
}

function told({ title, symbol, change }) {
  return change === null ? `${title}: ${symbol}` : `${title}: ${symbol}, ${percent(change)}`;
}

export class Announcer {
  constructor() {
    this.region = byId("announcer");
    this.waiting = [];
    this.pausing = false;
  }

  add(alert) {
    this.waiting.push(alert);
    if (!this.pausing) this.speak();
  }

  speak() {
    this.region.textContent = sentence(this.waiting);
    this.waiting = [];
    this.pausing = true;
    setTimeout(() => {
      this.pausing = false;
      if (this.waiting.length) this.speak();
    }, PAUSE);
  }
}
