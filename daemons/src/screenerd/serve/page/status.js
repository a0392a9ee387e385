/** Whether what is on the screen can be trusted: connection, freshness, health. */

import { byId, el, write } from "./dom.js";
import { NOT_READY, ago, clock, plain } from "./format.js";
import { hideValue, showValue } from "./values.js";

const CONNECTION = {
  connecting: "connecting",
  replaying: "replaying",
  live: "live",
  reconnecting: "reconnecting",
  refused: "token needed",
};

const STALE = 90_000;
const DEAD = 180_000;

/** How fresh the newest close is: its age, and how worrying that is. Pure. */
export function freshness(newestClose, now) {
  if (newestClose === null) return { text: NOT_READY, tone: "" };
  const age = Math.max(now - newestClose, 0);
  return { text: `${ago(age)} ago`, tone: age > DEAD ? "bad" : age > STALE ? "warn" : "" };
}

export class Status {
  /**
   * @param {object} options
   * @param {import("./market.js").Market} options.market
   * @param {import("./market.js").MarketClock} options.clock
   * @param {() => void} options.onRetry
   */
  constructor({ market, clock, onRetry }) {
    Object.assign(this, { market, clock });
    this.connection = { name: "connecting", retryAt: null, reason: "" };
    this.wasLive = false;
    byId("retry").addEventListener("click", onRetry);
  }

  setConnection(state) {
    this.connection = state;
    this.wasLive ||= state.name === "live";
    showValue("connection", CONNECTION[state.name], { state: state.name });
    if (state.name === "reconnecting") this.loseHealth();
    this.tick();
  }

  setHealth({ details, services }) {
    this.clock.set(Date.parse(details.now), details.speed ?? 1);
    showValue("health", details.state, { state: details.state });
    const { p50, p99 } = details.latency_ms;
    showValue("latency", p50 === null ? NOT_READY : `${brief(p50)} / ${brief(p99)} ms`);
    const { symbols, warmed } = details;
    showValue("warmed", `${warmed}/${symbols}`, { tone: warmed < symbols ? "warn" : "" });
    showValue("speed", `demo ×${plain(details.speed)}`);
    hideValue("speed", this.clock.speed === 1);
    byId("troubles").replaceChildren(...troubleList(details.troubles));
    byId("services").replaceChildren(...serviceList(services));
    this.tick();
  }

  /** The server does not say how it is. */
  loseHealth() {
    showValue("health", "unknown", { state: "unknown" });
  }

  /** What changes by itself, once a second. */
  tick() {
    const now = this.clock.now();
    const { text, tone } = freshness(this.market.newestClose, now);
    showValue("fresh", text, { tone });
    showValue("time", `${clock(now)} UTC`);
    this.tickBanner();
  }

  tickBanner() {
    const { name, retryAt, reason } = this.connection;
    const lost = name === "reconnecting" || (name === "connecting" && retryAt !== null);
    byId("banner").hidden = !lost;
    document.documentElement.classList.toggle("lost", lost);
    if (!lost) return;
    const told = this.wasLive
      ? "Connection lost: what you see is old."
      : "The server cannot be reached.";
    write(byId("banner-text"), reason ? `${told} (${reason})` : told);
    const seconds = Math.ceil((retryAt - Date.now()) / 1000);
    write(byId("banner-wait"), seconds > 0 ? `Next try in ${seconds} s.` : "Trying…");
  }
}

/** Milliseconds, of which no more is worth knowing than this. */
function brief(ms) {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}

function troubleList(troubles) {
  if (!troubles.length) return [el("li.muted", {}, "None.")];
  return troubles.map(({ where, told, remedy }) =>
    el("li", {}, el("b", {}, where), el("span", {}, told), el("span.muted", {}, remedy)),
  );
}

function serviceList(services) {
  return Object.entries(services).flatMap(([name, state]) => [
    el("dt", {}, name.replaceAll("_", " ")),
    el("dd", { "data-state": state }, state),
  ]);
}
