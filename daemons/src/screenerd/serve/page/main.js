/** Puts the parts together: what arrives goes into the market, the parts show it. */

import { Access } from "./access.js";
import { Announcer } from "./announce.js";
import { Api } from "./api.js";
import { Chart } from "./chart.js";
import { byId } from "./dom.js";
import { Feed } from "./feed.js";
import { FilterBox } from "./filterbox.js";
import { listenToKeys } from "./keys.js";
import { Live } from "./live.js";
import { Market, MarketClock, readAlert } from "./market.js";
import { notice } from "./notice.js";
import { Rules } from "./rules.js";
import { Status } from "./status.js";
import { Table } from "./table.js";
import { toggleTheme } from "./theme.js";
import { Views } from "./views.js";

const HEALTH_EVERY = 10_000;
const HEALTH_EVERY_HIDDEN = 60_000;
const FEED_START = 200;
const SCORES_EVERY = 60_000;

const market = new Market();
const clock = new MarketClock();
const views = new Views();
const access = new Access({ onToken: () => begin() });
const api = new Api({ token: () => access.token, refused: () => access.ask() });
const chart = new Chart({ api });
const table = new Table({ market, clock, onOpen: (symbol) => openChart(symbol) });
const feed = new Feed({ market, clock, onOpen: (alert) => openChart(alert.symbol, alert) });
const rules = new Rules({ api, onChange: (list) => feed.setRules(list) });
const status = new Status({ market, clock, onRetry: () => live.connect() });
const announcer = new Announcer();
const filterBox = new FilterBox({ table });

let loading = null;
let meanwhile = null;

const live = new Live({
  url: new URL("ws/alerts", document.baseURI).href.replace(/^http/, "ws"),
  token: () => access.token,
  onState: (state) => status.setConnection(state),
  onSubscribed: resumed,
  onAlert: alertArrived,
  onMetrics: metricsArrived,
  onPrices: pricesArrived,
  onRules: () => loadRules(),
  onRefused: () => access.ask(),
});

function openChart(symbol, alert = null) {
  views.show("chart");
  showChart(symbol, alert);
}

function showChart(symbol, alert = null) {
  table.select(symbol);
  const known = market.alerts.filter((one) => one.symbol === symbol);
  chart.open(symbol, { alert, known });
}

function metricsArrived(data) {
  market.setMetrics(data);
  table.touch(data.symbol);
  chart.minuteClosed(data.symbol);
}

function pricesArrived(prices, time) {
  for (const [symbol, price] of Object.entries(prices)) {
    if (market.setPrice(symbol, price)) table.touch(symbol);
  }
  chart.tick(prices[chart.symbol], time);
}

function alertArrived(data, missed) {
  const alert = readAlert(data);
  meanwhile?.push(alert);
  const isNew = market.addAlert(alert);
  feed.changed();
  chart.addAlert(alert);
  if (!isNew) return;
  table.flash(alert.symbol, alert.direction);
  views.countAlert();
  if (!missed) announcer.add(alert);
}

/** The server hears us: at first, after a break that cost nothing, or after one that did. */
async function resumed({ first, recovered }) {
  if (first) await start();
  else if (recovered) await goOn();
  else await startAnew();
}

async function start() {
  await loadAlerts();
  if (market.newestClose === null) await loadMarket();
}

async function goOn() {
  chart.resume();
  await loadMarket();
  notice("Connected again; nothing was missed.");
}

async function startAnew() {
  market.forget();
  chart.restart();
  await loadAlerts();
  await loadMarket();
  notice("Connected again; the alerts were fetched anew.");
}

/** The newest alerts, and those that arrive before the answer does. */
async function loadAlerts() {
  meanwhile = [];
  const { alerts } = await told(api.get("api/alerts", { limit: FEED_START }), { alerts: null });
  if (!alerts) return;
  market.setAlerts(alerts.map(readAlert));
  for (const alert of meanwhile) market.addAlert(alert);
  meanwhile = null;
  feed.changed();
  table.reset();
}

/** Fetches everything but the alerts; who asks while that is under way waits for the same. */
function loadMarket() {
  loading ??= fetchMarket().finally(() => {
    loading = null;
  });
  return loading;
}

async function fetchMarket() {
  const [list, metrics, lines] = await Promise.all([
    told(api.get("api/symbols"), null),
    told(api.get("api/metrics"), []),
    told(api.get("api/sparklines"), { symbols: {} }),
    loadRules(),
  ]);
  if (list) market.setSymbols(list.symbols);
  for (const one of metrics) market.setMetrics(one);
  market.setSparklines(lines.symbols);
  table.reset();
  await loadHealth();
}

async function loadRules() {
  const list = await told(api.get("api/rules"), null);
  if (list) rules.set(list);
  await loadScores();
}

async function loadScores() {
  const scores = await told(api.get("api/scorecard"), null);
  if (scores) rules.setScores(scores);
}

/** Scores change slowly; who does not look at the rules needs none. */
function watchScores() {
  setTimeout(async () => {
    if (!document.hidden && rules.visible) await loadScores();
    watchScores();
  }, SCORES_EVERY);
}

/** What a request answers, or something else if it fails; the status tells of that. */
async function told(request, otherwise) {
  try {
    return await request;
  } catch (error) {
    if (error.status > 0 && error.status !== 401) notice(`The server refuses: ${error.message}`);
    return otherwise;
  }
}

async function loadHealth() {
  try {
    const health = await api.get("api/health");
    status.setHealth(health);
    await followSymbols(health.details);
    requestAnimationFrame(openFirst);
  } catch {
    status.loseHealth();
  }
}

/** Symbols have come, gone or become warm: the list is fetched again. */
async function followSymbols({ symbols, warmed }) {
  const known = [...market.rows.values()];
  const warm = known.filter((row) => row.warm).length;
  if (symbols === known.length && warmed === warm) return;
  const list = await told(api.get("api/symbols"), null);
  if (!list) return;
  market.setSymbols(list.symbols);
  table.reset();
}

function watchHealth() {
  setTimeout(
    async () => {
      await loadHealth();
      watchHealth();
    },
    document.hidden ? HEALTH_EVERY_HIDDEN : HEALTH_EVERY,
  );
}

function begin() {
  live.connect();
  loadMarket();
}

/** A chart is there from the start where there is room for it. */
function openFirst() {
  const [symbol] = table.visible;
  if (!symbol || chart.symbol || views.narrow) return;
  showChart(symbol);
}

listenToKeys({
  "/": () => filterBox.focus(),
  j: () => table.move(1),
  k: () => table.move(-1),
  ArrowDown: () => table.move(1),
  ArrowUp: () => table.move(-1),
  Enter: () => table.openSelected(),
  s: () => table.sortByNext(),
  S: () => table.reverse(),
  i: () => chart.nextInterval(),
  a: () => views.show("feed"),
  r: () => views.show("rules"),
  t: toggleTheme,
  "?": () => byId("help").showModal(),
});

byId("theme-button").addEventListener("click", toggleTheme);
byId("help-button").addEventListener("click", () => byId("help").showModal());
addEventListener("online", () => live.hurry());
document.addEventListener("visibilitychange", () => document.hidden || live.hurry());
setInterval(() => {
  status.tick();
  feed.tell();
}, 1000);

watchHealth();
watchScores();
begin();
