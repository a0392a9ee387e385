/** The token, where the server asks for one: kept until the tab is closed. */

import { byId, write } from "./dom.js";

const KEY = "screener.token";

export class Access {
  /** @param {{onToken: () => void}} options `onToken` is called when there is a new token */
  constructor({ onToken }) {
    this.dialog = byId("token-dialog");
    this.input = byId("token");
    this.held = kept();
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.input.value.trim();
      if (!token) return;
      this.input.value = "";
      this.keep(token);
      this.dialog.close();
      onToken();
    });
  }

  get token() {
    return this.held;
  }

  keep(token) {
    this.held = token;
    try {
      sessionStorage.setItem(KEY, token);
    } catch {
      // Without storage it holds until the page is left.
    }
  }

  /** The server wants a token, or another one than it was given. */
  ask() {
    if (this.dialog.open) return;
    write(byId("token-problem"), this.token ? "The server does not accept this token." : "");
    this.dialog.showModal();
  }
}

function kept() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
