/** The keyboard: one key, one action; nothing while somebody types. */

import { byId } from "./dom.js";
import { remember, remembered } from "./settings.js";

/** Where arrows and Enter are the table's; elsewhere they scroll and press. */
const OF_TABLE = "body, #table";

/** Whether keys belong to the element that has them. Pure. */
export function typing(element) {
  return (
    ["INPUT", "TEXTAREA", "SELECT"].includes(element?.tagName) ||
    element?.isContentEditable === true
  );
}

/**
 * @param {Object<string, () => void>} actions by `KeyboardEvent.key`
 */
export function listenToKeys(actions) {
  const allowed = byId("keys-allowed");
  allowed.checked = remembered("keys", true);
  allowed.addEventListener("change", () => remember("keys", allowed.checked));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key.length === 1 ? !allowed.checked : !event.target.matches(OF_TABLE)) return;
    const action = Object.hasOwn(actions, event.key) ? actions[event.key] : null;
    if (!action) return;
    event.preventDefault();
    action();
  });
}
