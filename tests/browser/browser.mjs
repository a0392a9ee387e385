/** A browser that keeps to itself, and pages that keep account of what goes wrong in them. */

import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
}

/**
 * Opens the page in a fresh profile.
 *
 * `page.wrong` is what went wrong in it: console errors and warnings, exceptions, requests that
 * failed or went elsewhere. While `page.serverIsDown` is set, the network's errors are no fault.
 */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.wrong = [];
  page.serverIsDown = false;
  const { host } = new URL(url);
  const note = (text, network) => {
    if (!(network && page.serverIsDown)) page.wrong.push(text);
  };
  page.on("console", (message) => {
    const network = /net::ERR_|WebSocket connection/.test(message.text());
    if (["error", "warning"].includes(message.type())) note(`console: ${message.text()}`, network);
  });
  page.on("pageerror", (error) =>
    note(`exception: ${error.name}: ${error.message} ${error.stack}`, false),
  );
  page.on("requestfailed", (request) => {
    const aborted = request.failure()?.errorText === "net::ERR_ABORTED";
    if (!aborted) note(`failed: ${request.url()}`, true);
  });
  const here = (address) => {
    const asked = new URL(address);
    if (asked.protocol !== "data:" && asked.host !== host)
      page.wrong.push(`asked elsewhere: ${address}`);
  };
  context.on("request", (request) => here(request.url()));
  page.on("websocket", (socket) => here(socket.url()));
  if (options.prepare) await options.prepare(page);
  await page.goto(url);
  return page;
}
