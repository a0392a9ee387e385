/** Figures that stand in more than one place of the page, by their `data-value`. */

import { write } from "./dom.js";

const places = new Map();

/**
 * Writes a figure wherever it is shown.
 *
 * @param {string} name
 * @param {string} text
 * @param {object} data more of it, for the style: `data-state`, `data-tone`
 */
export function showValue(name, text, data = {}) {
  if (!places.has(name)) places.set(name, [...document.querySelectorAll(`[data-value="${name}"]`)]);
  for (const place of places.get(name)) {
    write(place, text);
    Object.assign(place.dataset, data);
  }
}

export function hideValue(name, hidden) {
  for (const place of document.querySelectorAll(`[data-value="${name}"]`)) place.hidden = hidden;
}
