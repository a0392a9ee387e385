/** What came after a rule's alerts, as a small table. */

import { el } from "./dom.js";
import { NOT_READY, signed } from "./format.js";

const share = (value) => (value === null ? NOT_READY : String(Math.round(value * 100)));
const change = (value) => (value === null ? NOT_READY : signed(value));

const ROWS = [
  ["Hits %", "Share of alerts after which the price went the rule's way", "hit_rate", share],
  ["Mean %", "Mean return, the rule's way positive", "mean", change],
  ["Median %", "Median return, the rule's way positive", "median", change],
  ["For %", "How far the price went the rule's way, mean", "mfe", change],
  ["Against %", "How far the price went against the rule, mean", "mae", change],
];

/** Which way a figure leans: returns by their sign. Pure. */
export function tone(name, value) {
  if (value === null || value === 0 || !["mean", "median"].includes(name)) return "";
  return value > 0 ? "good" : "bad";
}

/**
 * @param {object|undefined} score as `/api/scorecard` tells of a rule
 * @param {string[]} horizons
 * @returns {Element|string} nothing while no alert of it is scored
 */
export function scoreTable(score, horizons) {
  if (!score?.alerts) return "";
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, `${score.alerts} scored`),
    ...horizons.map((horizon) => el("th", { scope: "col" }, horizon)),
  );
  const rows = ROWS.map(([title, meaning, name, spell]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", title: meaning }, title),
      ...horizons.map((horizon) => {
        const value = score.horizons[horizon][name];
        return el("td", { "data-tone": tone(name, value) }, spell(value));
      }),
    ),
  );
  return el("table.scores", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}
