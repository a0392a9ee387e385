/** Something that is worth a quiet word, for a few seconds. */

import { byId, write } from "./dom.js";

const SHOWN = 8000;

let timer = null;

export function notice(text) {
  const place = byId("notice");
  write(place, text);
  place.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => {
    place.hidden = true;
  }, SHOWN);
}
