/** How strongly a number is coloured. Pure. */

export const LEVELS = 6;

const SHARE = 0.9;
const STEADY = 0.15;

/**
 * What counts as strong: nine of ten symbols are weaker. One wild symbol does not pale the others.
 *
 * @param {(number|null)[]} values
 * @param {number} least the scale is never below it, so that a calm market stays pale
 */
export function robustScale(values, least) {
  const sizes = values.filter((value) => value !== null).map(Math.abs);
  if (!sizes.length) return least;
  sizes.sort((a, b) => a - b);
  return Math.max(sizes[Math.floor((sizes.length - 1) * SHARE)], least);
}

/** The scale in use, unless the new one differs visibly: colours do not flicker. */
export function steady(used, next) {
  return used !== undefined && Math.abs(next - used) <= used * STEADY ? used : next;
}

/** A level in [-LEVELS, LEVELS]; 0 is not coloured. */
export function level(value, scale) {
  if (value === null) return 0;
  const part = Math.min(Math.abs(value) / scale, 1);
  return Math.sign(value) * Math.round(part * LEVELS) || 0;
}
