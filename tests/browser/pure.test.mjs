/** What of the page needs no browser: numbers, filters, order, the market, the conversation. */

import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";

const PAGE = "../../daemons/src/screenerd/serve/page";
const { columnOf } = await import(`${PAGE}/columns.js`);
const format = await import(`${PAGE}/format.js`);
const { level, robustScale, steady } = await import(`${PAGE}/heat.js`);
const { FilterError, parseFilter } = await import(`${PAGE}/expression.js`);
const { clicked, nextColumn, sorted } = await import(`${PAGE}/sorting.js`);
const { barTime, differs, markersOf, merged, secondsOf, ticked } = await import(`${PAGE}/bars.js`);
const { Market, MarketClock, MOST_ALERTS, readAlert } = await import(`${PAGE}/market.js`);
const { Live, backoff } = await import(`${PAGE}/live.js`);
const { clauseParts } = await import(`${PAGE}/feed.js`);
const { sentence } = await import(`${PAGE}/announce.js`);
const { points } = await import(`${PAGE}/spark.js`);
const { freshness } = await import(`${PAGE}/status.js`);

const NOON = Date.parse("2026-11-21T12:00:00Z");
const iso = (ms) => new Date(ms).toISOString();

function row(symbol, more = {}) {
  return { symbol, price: 1, frames: {}, alertTimes: [], decimals: 0, ...more };
}

function changed(symbol, change) {
  return row(symbol, { frames: { "5m": { change_pct: change } } });
}

function alertData(id, at, more = {}) {
  const { rule = "pioneer_bull", symbol = "BTCUSDT", direction = "up", state = "confirmed" } = more;
  const metadata = { title: "Pioneer Bull", direction, reason: [] };
  return {
    id,
    triggered_at: iso(at),
    symbol,
    alert_type: rule,
    timeframe: "5m",
    price: 2,
    change_pct: 1.5,
    state,
    metadata,
  };
}

describe("numbers", () => {
  test("decimals are counted in either notation", () => {
    assert.deepEqual([1, 0.25, 2.1e-7, 1e21, null].map(format.decimalsOf), [0, 2, 8, 0, 0]);
  });

  test("a price keeps the decimals of its symbol", () => {
    assert.equal(format.price(83860.2, 1), "83,860.2");
    assert.equal(format.price(1234, 2), "1234.00");
    assert.equal(format.price(0.007193, 7), "0.0071930");
    assert.equal(format.price(null), "–");
  });

  test("a change has its sign, and none when it rounds to nothing", () => {
    assert.deepEqual(
      [1.234, -1.235, 0.001, -0.001, 0, 123.45].map((value) => format.signed(value)),
      ["+1.23", "−1.24", "0.00", "0.00", "0.00", "+123.5"],
    );
  });

  test("large numbers have three digits and a unit", () => {
    const cases = [
      [0, "0"],
      [12.3, "12.3"],
      [999.6, "1.00k"],
      [1234, "1.23k"],
      [999_600, "1.00M"],
    ];
    cases.push([45_600_000, "45.6M"], [2.5e9, "2.50B"], [3e12, "3.00T"], [-1500, "−1.50k"]);
    for (const [value, text] of cases) assert.equal(format.compact(value), text);
  });

  test("what is not a number is not ready", () => {
    for (const write of [
      format.price,
      format.signed,
      format.compact,
      format.ratio,
      format.plain,
      format.whole,
    ]) {
      for (const value of [null, undefined, NaN, "1"]) assert.equal(write(value), "–");
    }
  });

  test("how long ago", () => {
    const cases = [
      [-5, "0s"],
      [59_999, "59s"],
      [60_000, "1m"],
      [3_600_000, "1h 00m"],
      [90_000_000, "1d 1h"],
    ];
    for (const [ms, text] of cases) assert.equal(format.ago(ms), text);
  });

  test("a symbol's quote asset is told apart", () => {
    assert.deepEqual(format.splitSymbol("币安人生USDT"), ["币安人生", "USDT"]);
    assert.deepEqual(format.splitSymbol("USDT"), ["USDT", ""]);
    assert.deepEqual(format.splitSymbol("ETHBTC"), ["ETHBTC", ""]);
  });

  test("a formula is printed as one", () => {
    assert.equal(
      format.formula("\n  3 * change_5m >= change_15m\n  and x <= -1\n"),
      "3 × change_5m ≥ change_15m and x ≤ −1",
    );
  });
});

describe("heat", () => {
  test("one wild symbol does not pale the others", () => {
    const calm = Array.from({ length: 99 }, (_, index) => index / 100);
    assert.ok(robustScale([...calm, 5000], 0.1) < 1);
  });

  test("a calm market stays pale, and so does an empty one", () => {
    assert.equal(robustScale([0.01, -0.02, null], 0.3), 0.3);
    assert.equal(robustScale([null], 0.3), 0.3);
  });

  test("levels have the sign and an end", () => {
    assert.deepEqual(
      [9, 1, 0.5, 0.01, 0, -0.5, -9, null].map((value) => level(value, 1)),
      [6, 6, 3, 0, 0, -3, -6, 0],
    );
  });

  test("the scale stays while it moves a little", () => {
    assert.equal(steady(undefined, 2), 2);
    assert.equal(steady(2, 2.2), 2);
    assert.equal(steady(2, 3), 3);
  });
});

describe("order", () => {
  const rows = [changed("B", 1), changed("A", null), changed("D", -2), changed("C", 1)];
  const names = (direction) =>
    sorted(rows, columnOf("change_5m"), direction).map(({ symbol }) => symbol);

  test("what is not ready is last both ways, equals are by name", () => {
    assert.deepEqual(names("descending"), ["B", "C", "D", "A"]);
    assert.deepEqual(names("ascending"), ["D", "B", "C", "A"]);
  });

  test("names are in order both ways", () => {
    const byName = (direction) =>
      sorted(rows, columnOf("symbol"), direction)
        .map(({ symbol }) => symbol)
        .join("");
    assert.equal(byName("ascending") + byName("descending"), "ABCDDCBA");
  });

  test("a click sorts, a second one turns it around", () => {
    const first = clicked({ key: "symbol", direction: "ascending" }, columnOf("price"));
    assert.deepEqual(first, { key: "price", direction: "descending" });
    assert.equal(clicked(first, columnOf("price")).direction, "ascending");
  });

  test("the next column after the last is the first", () => {
    assert.equal(nextColumn({ key: "symbol" }).key, "price");
    assert.deepEqual(nextColumn({ key: "vcp_5m" }), { key: "symbol", direction: "ascending" });
  });
});

describe("filter", () => {
  const busy = row("BTCUSDT", {
    price: 83_000,
    alertTimes: [NOON - 1000],
    frames: { "5m": { change_pct: 1.5 }, "1h": { rsi_14: 25, quote_volume: 6e6, change_pct: 1 } },
  });
  const cold = row("币安人生USDT");

  const cases = [
    ["", true, true],
    ["btc", true, false],
    ["人生", false, true],
    ["usdt", true, true],
    ["change_5m > 1", true, false],
    ["change_5m>1.5", false, false],
    ["change_5m >= 1.5", true, false],
    ["CHANGE_5M ≥ +1.5e0", true, false],
    ["1 < change_5m", true, false],
    ["change_5m > change_1h", true, false],
    ["rsi_1h < 30 quote_volume_1h > 5M", true, false],
    ["rsi_1h < 30 and quote_volume_1h > 7m", false, false],
    ["rsi_1h > 70 or btc", true, false],
    ["not btc", false, true],
    ["not (btc or 人生)", false, false],
    ["usdt and (change_5m < 0 or alerts)", true, false],
    ["alerts", true, false],
    ["not change_5m > 1", false, true],
    ["price = 1", false, true],
    ["price == 1", false, true],
  ];
  for (const [text, one, other] of cases) {
    test(`\`${text}\``, () => {
      const test = parseFilter(text);
      assert.deepEqual([test(busy, NOON), test(cold, NOON)], [one, other]);
    });
  }

  test("an alert is forgotten after an hour", () => {
    assert.equal(parseFilter("alerts")(busy, NOON + 3_600_000), false);
  });

  const wrong = [
    ["chnge_5m > 1", /`chnge_5m` is no number and no metric; did you mean `change_5m`\?/],
    ["change_5m", /needs a comparison, such as `change_5m > 1`/],
    ["change_5m >", /a number is missing after `change_5m >`/],
    ["change_5m > > 1", /a number is missing/],
    ["> 1", /something is missing before `>`/],
    ["btc and", /something is missing after `and`/],
    ["btc or or eth", /something is missing before `or`/],
    ["not", /something is missing after `not`/],
    ["(btc", /a closing parenthesis is missing/],
    ["btc)", /one parenthesis too many/],
    ["change_5m > abc", /`abc` is no number and no metric/],
    ["change_7m > 1", /did you mean `change_\dm`/],
  ];
  for (const [text, told] of wrong) {
    test(`\`${text}\` is refused`, () => {
      assert.throws(
        () => parseFilter(text),
        (error) => error instanceof FilterError && told.test(error.message),
      );
    });
  }

  test("any text is a filter or a FilterError", () => {
    const parts = [
      "btc",
      "change_5m",
      ">",
      "<=",
      "(",
      ")",
      "and",
      "or",
      "not",
      "1e3",
      "&",
      "|",
      "=",
      "alerts",
      "__proto__",
      "constructor",
    ];
    let seed = 1;
    const next = (most) => (seed = (seed * 48271) % 2147483647) % most;
    for (let round = 0; round < 5000; round += 1) {
      const text = Array.from({ length: next(7) }, () => parts[next(parts.length)]).join(" ");
      try {
        assert.equal(typeof parseFilter(text)(busy, NOON), "boolean");
      } catch (error) {
        assert.ok(error instanceof FilterError, `${text}: ${error.stack}`);
      }
    }
  });
});

describe("market", () => {
  const metrics = (minute, price, symbol = "BTCUSDT") => ({
    symbol,
    price,
    timestamp: iso(NOON + minute * 60_000),
    timeframes: {},
  });

  test("the line of the last hour grows by a minute, is corrected, and never goes back", () => {
    const market = new Market();
    market.setSymbols([{ symbol: "BTCUSDT", warm: true, missing: 0 }]);
    market.setMetrics(metrics(0, 10));
    market.setSparklines({ BTCUSDT: Array.from({ length: 60 }, () => 10), GONE: [1] });
    market.setMetrics(metrics(1, 11.25));
    market.setMetrics(metrics(1, 12.5));
    market.setMetrics(metrics(0, 99));
    const { spark, decimals } = market.rows.get("BTCUSDT");
    assert.deepEqual([spark.length, ...spark.slice(-2), decimals], [60, 10, 12.5, 2]);
    assert.equal(market.newestClose, NOON + 60_000);
    assert.equal(market.rows.has("GONE"), false);
  });

  test("a price moves within the minute, of symbols that are known", () => {
    const market = new Market();
    market.setMetrics(metrics(0, 10));
    market.setSparklines({ BTCUSDT: [10] });
    assert.equal(market.setPrice("BTCUSDT", 10), false);
    assert.equal(market.setPrice("BTCUSDT", 10.25), true);
    assert.equal(market.setPrice("NEWUSDT", 1), false);
    const row = market.rows.get("BTCUSDT");
    assert.deepEqual([row.price, row.tick, row.decimals, row.spark.at(-1)], [10.25, "up", 2, 10]);
    market.setPrice("BTCUSDT", 9);
    assert.equal(row.tick, "down");
    market.setMetrics(metrics(1, 11));
    assert.deepEqual([row.price, row.spark.at(-1)], [11, 11], "the close counts");
    assert.equal(market.rows.has("NEWUSDT"), false);
  });

  test("a symbol that is not listed any more is gone", () => {
    const market = new Market();
    market.setMetrics(metrics(0, 1, "OLDUSDT"));
    market.setSymbols([{ symbol: "NEWUSDT", warm: false, missing: 7 }]);
    assert.deepEqual([...market.rows.keys()], ["NEWUSDT"]);
    assert.equal(market.rows.get("NEWUSDT").missing, 7);
  });

  test("alerts are kept newest first, each once", () => {
    const market = new Market();
    for (const [id, at] of [
      ["a", 1],
      ["c", 3],
      ["b", 2],
    ]) {
      assert.equal(market.addAlert(readAlert(alertData(id, NOON + at))), true);
    }
    assert.equal(
      market.addAlert(readAlert(alertData("b", NOON + 2, { state: "withdrawn" }))),
      false,
    );
    assert.deepEqual(
      market.alerts.map(({ id, state }) => `${id} ${state}`),
      ["c confirmed", "b withdrawn", "a confirmed"],
    );
  });

  test("alerts that come again as a list replace those that were there", () => {
    const market = new Market();
    market.setSymbols([{ symbol: "BTCUSDT", warm: true, missing: 0 }]);
    market.addAlert(readAlert(alertData("old", NOON)));
    market.setAlerts([readAlert(alertData("new", NOON + 1, { symbol: "ETHUSDT" }))]);
    assert.deepEqual(
      market.alerts.map(({ id }) => id),
      ["new"],
    );
    assert.deepEqual(market.rows.get("BTCUSDT").alertTimes, []);
    assert.equal(market.rows.has("ETHUSDT"), false, "an alert alone makes no row");
    market.setSymbols([{ symbol: "ETHUSDT", warm: true, missing: 0 }]);
    assert.deepEqual(market.rows.get("ETHUSDT").alertTimes, [NOON + 1]);
  });

  test("what another server told is forgotten, its times too", () => {
    const market = new Market();
    market.setMetrics(metrics(60, 10));
    market.forget();
    assert.equal(market.newestClose, null);
    market.setMetrics(metrics(0, 11));
    assert.equal(market.rows.get("BTCUSDT").price, 11);
  });

  test("a long day of alerts does not fill the memory", () => {
    const market = new Market();
    market.setSymbols([{ symbol: "BTCUSDT", warm: true, missing: 0 }]);
    for (let n = 0; n < MOST_ALERTS + 500; n += 1) {
      market.addAlert(readAlert(alertData(`alert ${n}`, NOON + n * 60_000)));
    }
    assert.deepEqual([market.alerts.length, market.alertIds.size], [MOST_ALERTS, MOST_ALERTS]);
    assert.ok(market.rows.get("BTCUSDT").alertTimes.length <= 60);
  });

  test("market time runs as fast as the server says", () => {
    let wall = 0;
    const clock = new MarketClock(() => wall);
    clock.set(NOON, 20);
    wall = 3000;
    assert.equal(clock.now(), NOON + 60_000);
  });

  test("an alert without its trimmings can be shown", () => {
    const { title, direction, reason } = readAlert({
      id: 1,
      triggered_at: iso(NOON),
      symbol: "X",
      alert_type: "flat_1m",
    });
    assert.deepEqual([title, direction, reason], ["flat_1m", "up", []]);
  });
});

describe("bars", () => {
  const bar = (time, close = 1) => ({ time, close });
  const raised = (minute, more = {}) =>
    readAlert(alertData(`${minute} ${more.rule}`, NOON + minute * 60_000, more));

  test("pages and updates make one list", () => {
    const bars = merged([bar(60), bar(120)], [bar(120, 2), bar(0)]);
    assert.deepEqual(
      bars.map(({ time, close }) => [time, close]),
      [
        [0, 1],
        [60, 1],
        [120, 2],
      ],
    );
  });

  test("the running bar goes on from what has closed, and a new one begins on time", () => {
    const closed = { time: 300, open: 2, high: 4, low: 1, close: 3, volume: 9, synthetic: false };
    const running = ticked([closed], null, 5, 420_000, "5m");
    assert.deepEqual(running, { ...closed, close: 5, high: 5 });
    const further = ticked([closed], running, 0.5, 421_000, "5m");
    assert.deepEqual(further, { ...closed, close: 0.5, high: 5, low: 0.5 });
    const next = ticked([closed], further, 7, 600_000, "5m");
    assert.deepEqual(next, {
      time: 600,
      open: 7,
      high: 7,
      low: 7,
      close: 7,
      volume: 0,
      synthetic: false,
    });
    assert.equal(ticked([{ ...closed, time: 600 }], null, 5, 599_000, "5m"), null);
  });

  test("a corrected bar is told from one that is as it was", () => {
    assert.equal(differs([bar(0), bar(60)], [bar(60)]), false);
    assert.equal(differs([bar(0), bar(60)], [bar(60, 2)]), true);
    assert.equal(differs([bar(0), bar(120)], [bar(60)]), true);
  });

  test("an alert belongs to the bar whose minute has just closed", () => {
    assert.equal(barTime(raised(0), "1m"), NOON / 1000 - 60);
    assert.equal(barTime(raised(0), "1h"), NOON / 1000 - 3600);
    assert.equal(barTime(raised(1), "1h"), NOON / 1000);
  });

  test("alerts of a bar share a marker, by direction; what was withdrawn has none", () => {
    const alerts = [
      raised(1),
      raised(2, { rule: "b" }),
      raised(3, { rule: "c", direction: "down" }),
      raised(4, { rule: "d", state: "withdrawn" }),
      raised(-600),
    ];
    const found = markersOf(alerts, [bar(NOON / 1000)], "1h");
    assert.deepEqual(
      found.map(({ time, direction, count }) => [time, direction, count]),
      [
        [NOON / 1000, "up", 2],
        [NOON / 1000, "down", 1],
      ],
    );
  });

  test("intervals in seconds", () => {
    assert.deepEqual(["1m", "15m", "8h", "1d"].map(secondsOf), [60, 900, 28_800, 86_400]);
  });
});

describe("texts", () => {
  test("a clause has its value, and the other one unless it is a number", () => {
    assert.deepEqual(clauseParts({ clause: "change_5m >= 1", left: 1.923, right: 1 }), [
      "change_5m ≥ 1",
      "1.92",
    ]);
    assert.deepEqual(clauseParts({ clause: "change_5m <= -1", left: -1.5, right: -1 }), [
      "change_5m ≤ −1",
      "−1.5",
    ]);
    assert.deepEqual(clauseParts({ clause: "6 * a >= b", left: 12e6, right: 3e6 }), [
      "6 × a ≥ b",
      "12.0M ≥ 3.00M",
    ]);
    assert.deepEqual(clauseParts({ clause: "a > 500e3", left: null, right: null }), [
      "a > 500e3",
      "–",
    ]);
  });

  test("many alerts are told in one sentence", () => {
    const alert = readAlert(alertData("a", NOON));
    assert.equal(sentence([alert]), "Pioneer Bull: BTCUSDT, +1.50 %");
    assert.equal(
      sentence([alert, alert, alert]),
      "3 alerts, newest Pioneer Bull: BTCUSDT, +1.50 %",
    );
  });

  test("a line runs from edge to edge, and flat prices in the middle", () => {
    assert.equal(points([1, 3, 2], 100, 20), "0.0,18.0 50.0,2.0 100.0,10.0");
    assert.equal(points([5, 5], 100, 20), "0.0,10.0 100.0,10.0");
  });

  test("what is old is said to be", () => {
    assert.deepEqual(freshness(null, NOON), { text: "–", tone: "" });
    assert.deepEqual(
      [20, 100, 300].map((seconds) => freshness(NOON - seconds * 1000, NOON).tone),
      ["", "warn", "bad"],
    );
  });
});

describe("conversation", () => {
  class Socket {
    static made = [];

    constructor(url) {
      Object.assign(this, { url, said: [], open: true });
      Socket.made.push(this);
    }

    send(text) {
      this.said.push(JSON.parse(text));
    }

    close() {
      this.open = false;
    }

    hear(message) {
      this.onmessage({ data: JSON.stringify(message) });
    }

    end(code) {
      this.onclose({ code, reason: "" });
    }
  }

  function begin(context, token = null) {
    mock.timers.enable({ apis: ["setTimeout", "Date"] });
    Socket.made = [];
    globalThis.WebSocket = Socket;
    context.after(() => mock.timers.reset());
    const heard = { states: [], alerts: [], metrics: [], prices: [], subscribed: [], refused: 0 };
    const live = new Live({
      url: "ws://127.0.0.1/ws/alerts",
      token: () => token,
      onState: ({ name }) => heard.states.push(name),
      onSubscribed: (subscribed) => heard.subscribed.push(subscribed),
      onAlert: ({ id }, missed) => heard.alerts.push([id, missed]),
      onMetrics: ({ symbol }) => heard.metrics.push(symbol),
      onPrices: (prices, time) => heard.prices.push([prices, time]),
      onRefused: () => (heard.refused += 1),
    });
    live.connect();
    const socket = () => Socket.made.at(-1);
    socket().onopen();
    return { live, heard, socket };
  }

  const subscribed = (offset, recovered = false) => ({
    type: "subscribed",
    offset,
    epoch: "e1",
    recovered,
  });
  const alert = (offset) => ({ type: "alert", offset, data: { id: `a${offset}` } });

  test("subscribes, hears, answers pings", (context) => {
    const { heard, socket } = begin(context);
    socket().hear(subscribed(5));
    socket().hear(alert(6));
    socket().hear({ type: "metrics", data: { symbol: "BTCUSDT" } });
    socket().hear({ type: "prices", timestamp: iso(NOON), data: { BTCUSDT: 1 } });
    socket().hear({ type: "ping" });
    socket().hear({ type: "news from a later server" });
    assert.deepEqual(socket().said, [
      { type: "subscribe", channels: ["alerts", "metrics", "prices", "rules"] },
      { type: "pong" },
    ]);
    assert.deepEqual(heard.alerts, [["a6", false]]);
    assert.deepEqual(heard.metrics, ["BTCUSDT"]);
    assert.deepEqual(heard.prices, [[{ BTCUSDT: 1 }, NOON]]);
    assert.deepEqual(heard.subscribed, [{ first: true, recovered: false }]);
    assert.deepEqual(heard.states, ["live"]);
  });

  test("resumes after the last alert it saw, and replays until it is up to date", (context) => {
    const { heard, socket } = begin(context);
    socket().hear(subscribed(5));
    socket().hear(alert(6));
    socket().end(1001);
    mock.timers.tick(800);
    assert.equal(Socket.made.length, 2);
    socket().onopen();
    assert.deepEqual(socket().said[0], {
      type: "subscribe",
      channels: ["alerts", "metrics", "prices", "rules"],
      since: 6,
      epoch: "e1",
    });
    socket().hear(subscribed(8, true));
    socket().hear(alert(7));
    socket().hear(alert(8));
    socket().hear(alert(9));
    assert.deepEqual(heard.alerts.slice(1), [
      ["a7", true],
      ["a8", true],
      ["a9", false],
    ]);
    assert.deepEqual(heard.states, ["live", "reconnecting", "replaying", "live"]);
    assert.deepEqual(heard.subscribed.at(-1), { first: false, recovered: true });
  });

  test("starts from the server's offset if the history is gone", (context) => {
    const { heard, socket } = begin(context);
    socket().hear(subscribed(500));
    socket().end(1001);
    mock.timers.tick(800);
    socket().onopen();
    socket().hear({ ...subscribed(3), epoch: "e2" });
    socket().end(1001);
    mock.timers.tick(800);
    socket().onopen();
    assert.deepEqual(heard.subscribed.at(-1), { first: false, recovered: false });
    assert.deepEqual([socket().said[0].since, socket().said[0].epoch], [3, "e2"]);
  });

  test("metrics end a replay of which nothing was for us", (context) => {
    const { heard, socket } = begin(context);
    socket().hear(subscribed(5));
    socket().end(1006);
    mock.timers.tick(800);
    socket().onopen();
    socket().hear(subscribed(9, true));
    socket().hear({ type: "metrics", data: { symbol: "BTCUSDT" } });
    assert.deepEqual(heard.states, ["live", "reconnecting", "replaying", "live"]);
  });

  test("gives its token first, and waits to be let in", (context) => {
    const { socket } = begin(context, "secret");
    assert.deepEqual(socket().said, [{ type: "auth", token: "secret" }]);
    socket().hear({ type: "authenticated" });
    assert.equal(socket().said[1].type, "subscribe");
    assert.ok(!socket().url.includes("secret"));
  });

  test("asks for a token when it is refused, and does not knock again by itself", (context) => {
    const { live, heard, socket } = begin(context);
    socket().hear({ type: "error", error: "no_token", message: "give a token" });
    socket().end(4401);
    mock.timers.tick(60_000);
    live.hurry();
    assert.deepEqual([heard.refused, heard.states, Socket.made.length], [1, ["refused"], 1]);
  });

  test("a server that falls silent is left", (context) => {
    const { heard, socket } = begin(context);
    socket().hear(subscribed(5));
    mock.timers.tick(74_000);
    socket().hear({ type: "ping" });
    mock.timers.tick(74_000);
    assert.deepEqual(heard.states, ["live"]);
    mock.timers.tick(2000);
    assert.deepEqual(heard.states, ["live", "reconnecting"]);
    assert.equal(Socket.made[0].open, false);
  });

  test("hurries when there is reason to, and only while it waits", (context) => {
    const { live, socket } = begin(context);
    socket().hear(subscribed(5));
    live.hurry();
    assert.equal(Socket.made.length, 1);
    socket().end(1006);
    live.hurry();
    mock.timers.tick(60_000);
    assert.equal(Socket.made.length, 2);
  });

  test("waits longer and longer, with luck in it, up to 15 seconds", () => {
    assert.deepEqual(
      [1, 2, 3].map((failures) => backoff(failures, () => 0)),
      [500, 1000, 2000],
    );
    assert.equal(
      backoff(1, () => 1),
      750,
    );
    assert.deepEqual(
      [50, 2000].map((failures) => backoff(failures, () => 0)),
      [15_000, 15_000],
    );
    assert.ok(backoff(50, () => 1) < 15_000);
  });
});
