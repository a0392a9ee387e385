/** Waits for a condition, with a deadline. */

import { setTimeout as pause } from "node:timers/promises";

/**
 * @param {() => Promise<any>|any} condition what it gives is given back once it is true
 * @param {{seconds?: number, what: string|(() => string)}} options
 */
export async function until(condition, { seconds = 30, what }) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) {
      throw new Error(`not within ${seconds} s: ${typeof what === "function" ? what() : what}`);
    }
    await pause(50);
  }
}
