/**
 * What a closing minute of many symbols costs the page, and what it keeps in memory.
 *
 * `node measure.mjs [symbols] [minutes] [speed]` opens the page for so many minutes of the wall;
 * each minute of the market, `speed` times shorter, is a burst of metrics.
 */

import { setTimeout as pause } from "node:timers/promises";

import { launch, open } from "./browser.mjs";
import { Server } from "./server.mjs";

const [symbols = 500, minutes = 10, speed = 20] = process.argv.slice(2).map(Number);
const WARM_UP_SECONDS = 20;

/** Sums what handlers of messages, frames and timers take, by burst; runs in the page. */
function watchHandlers() {
  window.bursts = [];
  const note = (began, isMessage) => {
    const now = performance.now();
    const newest = window.bursts.at(-1);
    const isNew = !newest || began - newest.at > 300;
    const burst = isNew ? { ms: 0, longest: 0, messages: 0 } : newest;
    if (isNew) window.bursts.push(burst);
    burst.at = now;
    burst.ms += now - began;
    burst.longest = Math.max(burst.longest, now - began);
    burst.messages += isMessage;
  };
  const timed = (work, isMessage) => (given) => {
    const began = performance.now();
    work(given);
    note(began, isMessage);
  };
  const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
  Object.defineProperty(WebSocket.prototype, "onmessage", {
    set(work) {
      set.call(this, work && timed(work, 1));
    },
  });
  for (const name of ["requestAnimationFrame", "setTimeout"]) {
    const plain = window[name];
    window[name] = (work, wait) => plain(timed(work, 0), wait);
  }
}

async function cost(session) {
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.getMetrics");
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

const megabytes = ({ JSHeapUsedSize }) => `${(JSHeapUsedSize / 1e6).toFixed(1)} MB`;

/** The median, the 99th percentile and the greatest. */
function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
  return [0.5, 0.99, 1].map((share) => at(share).toFixed(1)).join(" / ");
}

const server = new Server({ speed, symbols });
await server.start();
const browser = await launch();
try {
  const page = await open(browser, server.url, {
    prepare: (page) => page.addInitScript(watchHandlers),
  });
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  await pause(WARM_UP_SECONDS * 1000);
  const begin = await cost(session);
  await page.evaluate(() => (window.bursts = []));
  console.log(`at first: heap ${megabytes(begin)}`);
  for (let minute = 1; minute <= minutes; minute += 1) {
    await pause(60_000);
    const now = await cost(session);
    const { Nodes: nodes, JSEventListeners: listeners } = now;
    console.log(`${minute} min: heap ${megabytes(now)}, ${nodes} nodes, ${listeners} listeners`);
  }
  const end = await cost(session);
  const all = await page.evaluate(() => window.bursts);
  const bursts = all.filter(({ messages }) => messages > symbols / 2);
  console.log(`${bursts.length} bursts of ${symbols} symbols; ms, p50 / p99 / max:`);
  console.log(`  all handlers of one: ${spread(bursts.map(({ ms }) => ms))}`);
  console.log(`  its longest handler: ${spread(bursts.map(({ longest }) => longest))}`);
  for (const name of ["TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration"]) {
    const ms = ((end[name] - begin[name]) * 1000) / bursts.length;
    console.log(`  ${name}, all of the time divided by them: ${ms.toFixed(1)}`);
  }
  if (page.wrong.length) console.log(page.wrong);
} finally {
  await browser.close();
  await server.stop();
}
