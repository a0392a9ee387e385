/** The page in a real browser, on a real server with the built-in market. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";

import axe from "axe-core";

import { launch, open } from "./browser.mjs";
import { Server } from "./server.mjs";
import { until } from "./until.mjs";

const SYMBOLS = 40;
const SPEED = 120;
const ARTEFACTS = new URL("artefacts/", import.meta.url).pathname;
const SHADOW = "mine";
const ruleFile = (when) =>
  `[[rule]]\nname = "${SHADOW}"\ntimeframe = "5m"\nwhen = "${when}"\nshadow = true\n`;
const PHONE = {
  viewport: { width: 360, height: 740 },
  isMobile: true,
  hasTouch: true,
  deviceScaleFactor: 2,
};

let server;
let browser;

before(async () => {
  await mkdir(ARTEFACTS, { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), "screener-rules-"));
  server = new Server({ speed: SPEED, rules: join(folder, "mine.toml") });
  await writeFile(server.rules, ruleFile("change_5m >= 0.1"));
  await server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await rm(dirname(server.rules), { recursive: true });
});

/** A test on a page of its own, in which nothing may go wrong. */
function visit(name, options, body) {
  test(name, { timeout: 240_000 }, async () => {
    const page = await open(browser, server.url, options);
    try {
      await filled(page);
      await body(page);
      assert.deepEqual(page.wrong, []);
    } catch (error) {
      await page.screenshot({ path: `${ARTEFACTS}failed.png` });
      const wrong = JSON.stringify(page.wrong, null, 1);
      error.message += `\nwrong in the page: ${wrong}\n${server.log.slice(-2000)}`;
      throw error;
    } finally {
      await page.context().close();
    }
  });
}

const shot = (page, name) => page.screenshot({ path: `${ARTEFACTS}${name}.png` });
const symbols = (page) =>
  page.$$eval("#rows .line", (lines) => lines.map((line) => line.dataset.symbol));
const state = (page) => page.getAttribute("#status-button [data-value=connection]", "data-state");
const selected = (page) =>
  page.$$eval("#rows .line[aria-selected=true]", ([line]) => line?.dataset.symbol ?? null);

/** Moves the selection to the first row: the one it starts at may be any, the last among them. */
async function toTheTop(page) {
  for (let row = 0; row < SYMBOLS; row += 1) await page.keyboard.press("ArrowUp");
}

/** What a column shows, from the top. */
async function column(page, title) {
  return page.evaluate((title) => {
    const heads = [...document.querySelectorAll("#heads > div")].map((head) => head.textContent);
    const at = heads.indexOf(title);
    return [...document.querySelectorAll("#rows .line")].map(
      (line) => line.children[at].textContent,
    );
  }, title);
}

const numbers = (texts) =>
  texts.filter((text) => text !== "–").map((text) => Number(text.replace("−", "-")));

async function filled(page) {
  const full = async () => {
    const ready = (await column(page, "5m")).filter((text) => text !== "–");
    return ready.length === SYMBOLS && (await state(page)) === "live";
  };
  await until(full, { what: `${SYMBOLS} symbols have numbers` });
}

/** The alerts in the feed, newest first. */
const alerts = (page) =>
  page.$$eval("#feed li", (items) =>
    items.map((item) => ({
      symbol: item.dataset.symbol,
      rule: item.dataset.rule,
      time: Date.parse(item.querySelector("time").dateTime),
    })),
  );

function isOrdered(values, direction) {
  const way = direction === "ascending" ? 1 : -1;
  return (
    values.length > 1 &&
    values.every((value, index) => index === 0 || (value - values[index - 1]) * way >= 0)
  );
}

visit("the table fills, and its lines of the last hour", {}, async (page) => {
  assert.equal((await symbols(page)).length, SYMBOLS);
  assert.ok((await symbols(page)).includes("币安人生USDT"));
  await until(() => page.$$eval(".spark polyline", (lines) => lines.length >= 20), {
    what: "lines are drawn",
  });
  assert.equal(await page.textContent("#count"), String(SYMBOLS));
  assert.equal(await page.getAttribute("#banner", "hidden"), "");
});

visit("numbers move, and alerts arrive, without a reload", {}, async (page) => {
  const before = await column(page, "Price");
  await until(async () => (await column(page, "Price")).join() !== before.join(), {
    what: "a price moves",
  });
  const told = () => page.textContent("#announcer");
  await until(told, { seconds: 60, what: "an alert is told" });
  const newest = (await alerts(page))[0].time;
  const arrived = () => alerts(page).then((list) => list.find(({ time }) => time > newest));
  const alert = await until(arrived, { seconds: 60, what: "an alert arrives" });
  const line = page.locator(`#feed li[data-symbol="${alert.symbol}"]`).first();
  assert.match(await line.textContent(), /%.*q?change_\d+[mhd] [≥≤]/s);
  const marked = () =>
    page.$eval(`.line[data-symbol="${alert.symbol}"] .mark`, (mark) => mark.dataset.tone);
  await until(async () => ["up", "down"].includes(await marked()), { what: "the row is marked" });
});

visit("sorts by a column, both ways, and says so", {}, async (page) => {
  for (const title of ["15m", "Price", "VCP 5m"]) {
    const head = page.locator("#heads > div", {
      has: page.getByRole("button", { name: title, exact: true }),
    });
    for (const direction of ["descending", "ascending"]) {
      await head.getByRole("button").click();
      assert.equal(await head.getAttribute("aria-sort"), direction);
      const read = async () => (await column(page, title)).map((text) => text.replaceAll(",", ""));
      const ordered = async () => isOrdered(numbers(await read()), direction);
      await until(ordered, { seconds: 10, what: `${title} is ${direction}` });
    }
  }
  await page.getByRole("button", { name: "Symbol", exact: true }).click();
  await until(
    async () => (await symbols(page)).join() === (await symbols(page)).toSorted().join(),
    { what: "names are in order" },
  );
});

visit(
  "filters by name, by numbers, by alerts, and says what it does not understand",
  {},
  async (page) => {
    const filter = page.getByLabel("Filter symbols");
    const shows = (test, what) => until(async () => test(await symbols(page)), { what });
    await filter.fill("btc");
    await shows((list) => list.join() === "BTCUSDT", "only BTCUSDT");
    await filter.fill("人生");
    await shows((list) => list.join() === "币安人生USDT", "only the Chinese name");
    await filter.fill("change_1h > 0");
    await shows((list) => list.length > 0 && list.length < SYMBOLS, "some rise");
    const allRise = async () => numbers(await column(page, "1h")).every((change) => change >= 0);
    await until(allRise, { what: "all shown rise" });
    await filter.fill("chnge_1h > 0");
    await page.getByText("did you mean `change_1h`?").waitFor();
    assert.equal(await filter.getAttribute("aria-invalid"), "true");
    assert.ok((await symbols(page)).length < SYMBOLS, "what was understood before holds");
    await until(allRise, { what: "all shown rise, still" });
    await filter.fill("nothing has this name");
    await page.getByText("No symbol matches.").waitFor();
    await filter.fill("");
    await shows((list) => list.length === SYMBOLS, "all again");
    await until(async () => (await alerts(page)).length > 0, { seconds: 60, what: "an alert" });
    await page.getByRole("button", { name: "Alerts", exact: true }).first().click();
    await shows((list) => list.length > 0 && list.length < SYMBOLS, "those with an alert");
  },
);

visit("an alert opens the chart at its time, with a marker", {}, async (page) => {
  await page.locator("#feed li").first().waitFor({ timeout: 60_000 });
  const [{ symbol }] = await alerts(page);
  await page.locator(`#feed li[data-symbol="${symbol}"] button`).first().click();
  await until(async () => (await page.textContent("#chart-symbol")) === symbol, {
    what: "the symbol's chart",
  });
  await until(async () => Number(await page.getAttribute("#chart", "data-markers")) > 0, {
    what: "a marker",
  });
  assert.equal(await selected(page), symbol);
  assert.match(await page.textContent("#chart-legend"), /O.*H.*L.*C/);
  for (const interval of ["1m", "15m", "1h", "4h", "8h", "1d", "5m"]) {
    await page.getByRole("button", { name: interval, exact: true }).last().click();
    await until(() => page.isHidden("#chart-message"), { what: `the chart of ${interval}` });
    assert.match(
      await page.getAttribute("#chart", "aria-label"),
      new RegExp(`${symbol}, ${interval}: close`),
    );
  }
  const newest = () => page.getAttribute("#chart", "aria-label");
  const before = await newest();
  await until(async () => (await newest()) !== before, {
    seconds: 20,
    what: "the chart goes on by itself",
  });
  await shot(page, "chart");
});

visit("older bars are fetched when one looks back", {}, async (page) => {
  await page.locator("#rows .line").first().click();
  await page.getByRole("button", { name: "1m", exact: true }).last().click();
  await until(() => page.isHidden("#chart-message"), { what: "the chart" });
  const older = page.waitForRequest((request) => /candles.*interval=1m.*end=/.test(request.url()));
  const { x, y, width, height } = await page.locator("#chart").boundingBox();
  const drag = async () => {
    await page.mouse.move(x + 20, y + height / 2);
    await page.mouse.down();
    await page.mouse.move(x + width - 100, y + height / 2, { steps: 3 });
    await page.mouse.up();
  };
  let found = false;
  older.then(() => (found = true));
  await until(async () => found || (await drag()), { what: "older bars are asked for" });
  await until(() => page.isHidden("#chart-message"), { what: "the chart" });
});

visit("a rule that is switched off is silent, and speaks again", {}, async (page) => {
  await page
    .getByRole("button", { name: /^Rules/ })
    .first()
    .click();
  const rule = page.locator("#rules li[data-rule=pioneer_bull]");
  const toggle = rule.getByRole("switch");
  await toggle.click();
  await until(async () => (await toggle.getAttribute("aria-checked")) === "false", {
    what: "it is off",
  });
  await until(async () => !(await toggle.getAttribute("aria-busy")), { what: "the server agrees" });
  const { rules } = await server.get("api/rules");
  assert.equal(rules.find(({ name }) => name === "pioneer_bull").enabled, false);

  const heard = (since) => async () => (await alerts(page)).filter(({ time }) => time > since);
  const newest = async () => (await alerts(page))[0]?.time ?? 0;
  // Another rule of the same rise: where it speaks this one would have.
  const off = await newest();
  const others = async () => (await heard(off)()).filter((alert) => alert.rule === "big_bull_5m");
  await until(async () => (await others()).length >= 3, { seconds: 120, what: "others are heard" });
  const wrongly = (await heard(off)()).filter((alert) => alert.rule === "pioneer_bull");
  assert.deepEqual(wrongly, []);

  await toggle.click();
  const on = await newest();
  const again = async () => (await heard(on)()).some((alert) => alert.rule === "pioneer_bull");
  await until(again, { seconds: 120, what: "it is heard again" });
});

visit("what the server refuses of a rule is told, and taken back", {}, async (page) => {
  await page
    .getByRole("button", { name: /^Rules/ })
    .first()
    .click();
  const rule = page.locator("#rules li[data-rule=top_hunter]");
  const cooldown = rule.getByLabel("Cooldown");
  await cooldown.fill("99999999");
  await cooldown.blur();
  await until(() => rule.getByRole("alert").isVisible(), { what: "the refusal is told" });
  assert.match(await rule.getByRole("alert").textContent(), /cooldown_seconds/);
  assert.equal(await cooldown.inputValue(), "300");
  await cooldown.fill("600");
  await cooldown.blur();
  await rule.getByText("10 min").waitFor();
  assert.equal(await rule.getByRole("alert").isVisible(), false);
  await shot(page, "rules");
  // The browser itself tells of the refused request.
  page.wrong = page.wrong.filter((wrong) => !/status of 422/.test(wrong));
});

/** Scores of every rule, as they are hours after a start; the last rule has none yet. */
async function scored(page) {
  const { rules } = await server.get("api/rules");
  const horizon = { n: 1234, missing: 6, hit_rate: 0.554, mean: 10.25, median: -0.04 };
  const each = { ...horizon, profit_factor: 1.2, mfe: 12.31, mae: -11.24 };
  const horizons = { "5m": { ...each, mean: null }, "15m": each, "1h": each, "4h": each };
  const answer = {
    horizons: Object.keys(horizons),
    first: "2026-01-01T00:00:00.000Z",
    last: "2026-01-31T00:00:00.000Z",
    rules: rules.map(({ name, title, direction, shadow }, n) => ({
      ...{ rule: name, title, direction, shadow, versions: 1, horizons },
      alerts: n < rules.length - 1 ? 1240 : 0,
    })),
  };
  await page.route("**/api/scorecard", (route) => route.fulfill({ json: answer }));
}

visit("what came after a rule's alerts stands beside it", { prepare: scored }, async (page) => {
  await page
    .getByRole("button", { name: /^Rules/ })
    .first()
    .click();
  const table = page.locator("#rules li[data-rule=pioneer_bull] table");
  await table.waitFor();
  const cells = (row) => row.locator("th, td").allTextContents();
  const rows = await Promise.all((await table.locator("tr").all()).map(cells));
  assert.deepEqual(rows, [
    ["1240 scored", "5m", "15m", "1h", "4h"],
    ["Hits %", "55", "55", "55", "55"],
    ["Mean %", "–", "+10.25", "+10.25", "+10.25"],
    ["Median %", ...Array(4).fill("−0.04")],
    ["For %", ...Array(4).fill("+12.31")],
    ["Against %", ...Array(4).fill("−11.24")],
  ]);
  const colour = (name) =>
    table.locator(`[data-tone=${name}]`).first().evaluate((cell) => getComputedStyle(cell).color);
  assert.notEqual(await colour("good"), await colour("bad"));
  const { rules } = await server.get("api/rules");
  assert.equal(await page.locator("#rules table").count(), rules.length - 1);
  await page.locator(`#rules li[data-rule=${SHADOW}] .shadow`).waitFor();
  assert.equal(await page.locator("#rules .shadow").count(), 1);
  await shot(page, "scores");
});

visit("a file of rules that changes is followed", {}, async (page) => {
  await page
    .getByRole("button", { name: /^Rules/ })
    .first()
    .click();
  const rule = page.locator(`#rules li[data-rule=${SHADOW}]`);
  await rule.getByText("change_5m ≥ 0.1").waitFor();
  const kept = page.locator("#rules li[data-rule=pioneer_bull]");
  await writeFile(server.rules, ruleFile("change_5m >= nothing"));
  const fault = page.locator("#rules-fault");
  await fault.waitFor();
  assert.match(await fault.textContent(), /mine\.toml, line 4, column \d+: .*stay\.$/);
  await kept.getByLabel("Cooldown").focus();
  await writeFile(server.rules, ruleFile("change_5m >= 0.2"));
  await rule.getByText("change_5m ≥ 0.2").waitFor();
  assert.equal(await fault.isVisible(), false);
  await writeFile(server.rules, ruleFile("change_5m >= 0.1"));
  await rule.getByText("change_5m ≥ 0.1").waitFor();
  // Its alerts are shadow ones: it has raised some, and none is in the feed.
  const raised = async () =>
    (await server.get(`api/alerts?type=${SHADOW}&shadow=true`)).total > 0;
  await until(raised, { seconds: 60, what: "the shadow rule has raised an alert" });
  assert.equal((await server.get(`api/alerts?type=${SHADOW}`)).total, 0);
  assert.equal((await alerts(page)).filter(({ rule }) => rule === SHADOW).length, 0);
});

visit("comes back by itself after the server was killed", {}, async (page) => {
  page.serverIsDown = true;
  await server.kill();
  await page.locator("#banner").waitFor({ timeout: 5000 });
  assert.equal(await state(page), "reconnecting");
  await shot(page, "disconnected");
  await server.start();
  await until(async () => (await state(page)) === "live", {
    seconds: 40,
    what: "it is live again",
  });
  page.serverIsDown = false;
  assert.equal(await page.isVisible("#banner"), false);
  await filled(page);
  const known = (await alerts(page))[0]?.time ?? 0;
  const arrived = async () => (await alerts(page)).some(({ time }) => time > known);
  await until(arrived, { seconds: 60, what: "alerts arrive again" });
});

const SCORED_PHONE = { ...PHONE, prepare: scored };

visit("on a phone: one part at a time, nothing beside the screen", SCORED_PHONE, async (page) => {
  const fits = async (what) => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, 360, `${what} is as wide as the screen`);
    const wide = await page.$$eval("#feed, #rules, #chart-pane, .bar", (parts) =>
      parts.filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.outerHTML),
    );
    assert.deepEqual(wide, [], `nothing in ${what} is wider than its place`);
  };
  await fits("the table");
  await shot(page, "phone-table");
  await page.$$eval("#status-button .pill", ([connection, health]) => {
    connection.textContent = "reconnecting";
    health.textContent = "degraded";
  });
  await fits("the longest state");
  const drawn = () => page.locator(".spark polyline").count();
  assert.equal(await drawn(), 0, "what cannot be seen is not drawn");
  await page.$eval("#table-scroller", (scroller) => (scroller.scrollLeft = 10_000));
  await until(async () => (await drawn()) > 5, { what: "lines are drawn" });
  await page.$eval("#table-scroller", (scroller) => (scroller.scrollLeft = 0));
  const tab = (name) => page.locator("#tabs").getByRole("button", { name });
  await until(async () => Number(await page.textContent("#tabs .badge")) > 0, {
    seconds: 60,
    what: "unseen alerts are counted",
  });
  await tab("Alerts").tap();
  await page.locator("#feed li").first().waitFor();
  await fits("the feed");
  assert.equal(await page.isVisible("#table-pane"), false);
  await shot(page, "phone-feed");
  await page.locator("#feed li button").first().tap();
  await until(async () => Number(await page.getAttribute("#chart", "data-markers")) > 0, {
    what: "the chart has a marker",
  });
  await fits("the chart");
  await shot(page, "phone-chart");
  await tab("Rules").tap();
  await page.locator("#rules table").first().waitFor();
  await fits("the rules");
  await shot(page, "phone-rules");
  await tab("Table").tap();
  await page.getByRole("button", { name: "Status" }).tap();
  await page.getByText("Symbols warm").waitFor();
  await fits("the status");
  await shot(page, "phone-status");
});

for (const theme of ["dark", "light"]) {
  visit(`${theme}, as the system says`, { colorScheme: theme }, async (page) => {
    const brightness = () =>
      page.evaluate(() => {
        const [red, green, blue] = getComputedStyle(
          document.querySelector("#table-pane"),
        ).backgroundColor.match(/\d+/g);
        return (Number(red) + Number(green) + Number(blue)) / 3;
      });
    const isDark = async () => (await brightness()) < 80;
    assert.equal(await isDark(), theme === "dark");
    await until(async () => (await alerts(page)).length >= 3, { seconds: 60, what: "some alerts" });
    await page.locator("#feed li button").first().click();
    await until(async () => Number(await page.getAttribute("#chart", "data-markers")) > 0, {
      what: "a marker",
    });
    await shot(page, `desktop-${theme}`);
    await page.locator("#feed").click({ position: { x: 5, y: 5 } });
    await page.keyboard.press("t");
    assert.equal(await isDark(), theme === "light");
    await page.reload();
    assert.equal(await isDark(), theme === "light", "the choice is remembered");
  });
}

/** What of the accessibility rules is broken, one line each. */
async function barriers(page) {
  await page.evaluate(axe.source);
  // Out of date the page is dimmed on purpose; on a slow machine looking at it can take that long.
  for (let turn = 1; ; turn++) {
    const upToDate = () => page.evaluate(() => document.querySelector(".lost") === null);
    await until(upToDate, { seconds: 60, what: "a page that is up to date" });
    const { violations } = await page.evaluate(() =>
      window.axe.run(document, { resultTypes: ["violations"] }),
    );
    if (turn < 5 && !(await upToDate())) continue;
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`),
    );
  }
}

for (const [name, options, parts] of [
  ["dark", { colorScheme: "dark" }, ["feed", "rules"]],
  ["light", { colorScheme: "light" }, ["feed", "rules"]],
  ["phone", PHONE, ["table", "feed", "chart", "rules"]],
]) {
  // Rows that light up are mixed colours for a moment: here they do not.
  visit(
    `${name}: nothing keeps anybody out`,
    { reducedMotion: "reduce", prepare: scored, ...options },
    async (page) => {
      await until(async () => (await alerts(page)).length > 0, { seconds: 60, what: "an alert" });
      for (const part of parts) {
        await page.locator(`[data-show=${part}]:visible`).first().click();
        assert.deepEqual(await barriers(page), [], part);
      }
      await page.getByRole("button", { name: "Help" }).click();
      assert.deepEqual(await barriers(page), [], "help");
    },
  );
}

visit("the keyboard does everything", {}, async (page) => {
  const sortedBy = () =>
    page.$eval(
      "#heads > :is([aria-sort=ascending], [aria-sort=descending])",
      (head) => `${head.textContent} ${head.ariaSort}`,
    );
  assert.equal(await sortedBy(), "5m descending");
  await page.keyboard.press("s");
  assert.equal(await sortedBy(), "15m descending");
  await page.keyboard.press("S");
  assert.equal(await sortedBy(), "15m ascending");

  // Rows change places every half second here, but not by name.
  while ((await sortedBy()) !== "Symbol ascending") await page.keyboard.press("s");
  const byName = async () => {
    const shown = await symbols(page);
    return shown.join() === shown.toSorted().join();
  };
  await until(byName, { what: "rows are in order of their names" });
  await toTheTop(page);
  const [first, second, third] = await symbols(page);
  assert.equal(await selected(page), first);
  await page.keyboard.press("j");
  assert.equal(await selected(page), second);
  await page.keyboard.press("ArrowDown");
  assert.equal(await selected(page), third);
  await page.keyboard.press("k");
  assert.equal(await selected(page), second);
  const id = await page.$eval("#rows .line[aria-selected=true]", (line) => line.id);
  assert.equal(await page.getAttribute("#table", "aria-activedescendant"), id);
  await page.keyboard.press("Enter");
  await until(async () => (await page.textContent("#chart-symbol")) === (await selected(page)), {
    what: "the chart of the row",
  });

  await page.keyboard.press("/");
  await page.keyboard.type("sol");
  await until(async () => (await symbols(page)).join() === "SOLUSDT", { what: "the filter holds" });
  await page.keyboard.press("Escape");
  await until(async () => (await symbols(page)).length === SYMBOLS, { what: "the filter is gone" });
  await page.keyboard.press("Escape");

  await page.keyboard.press("?");
  assert.equal(await page.isVisible("#help"), true);
  await shot(page, "help");
  await page.keyboard.press("s");
  assert.equal(await sortedBy(), "Symbol ascending", "keys belong to the open dialog");
  await page.keyboard.press("Escape");
  assert.equal(await page.isVisible("#help"), false);
});

visit("rows keep their places while keys move over them", {}, async (page) => {
  // In the page, so that the order is seen within the time that rows are held.
  const held = () =>
    page.evaluate(async () => {
      const order = () =>
        [...document.querySelectorAll("#rows .line")].map((line) => line.dataset.symbol).join();
      document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
      const [began, before] = [performance.now(), order()];
      let seen = true;
      while (performance.now() - began < 900) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        // A machine that paused for longer has shown nothing.
        if (performance.now() - began < 1100) seen &&= order() === before;
      }
      const after = order();
      while (order() === after && performance.now() - began < 30_000) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return { seen, moved: order() !== after };
    });
  for (let round = 0; round < 5; round += 1) {
    assert.deepEqual(await held(), { seen: true, moved: true });
  }
});

visit("single letters can be switched off", {}, async (page) => {
  await page.keyboard.press("?");
  await page.getByLabel("Single letters are keys").uncheck();
  await page.keyboard.press("Escape");
  await toTheTop(page);
  const before = await selected(page);
  await page.keyboard.press("j");
  await page.keyboard.press("s");
  assert.equal(await selected(page), before);
  assert.equal(await page.getAttribute("#heads > :nth-child(3)", "aria-sort"), "descending");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.notEqual(await selected(page), before);
});

const HOSTILE = "<img src=x onerror=alert(1)>USDT";

async function tellHostile(page) {
  await page.route("**/api/alerts?**", (route) =>
    route.fulfill({
      json: {
        alerts: [
          {
            id: "1",
            triggered_at: new Date().toISOString(),
            symbol: HOSTILE,
            alert_type: "<b>rule</b>",
            timeframe: "5m",
            price: 1,
            change_pct: 2,
            state: "confirmed",
            metadata: {
              title: "<script>alert(2)</script>",
              direction: 'up" onclick="alert(3)',
              reason: [{ clause: "<i>x</i> >= 1", left: 1, right: 1 }],
            },
          },
        ],
        total: 1,
        limit: 200,
        offset: 0,
      },
    }),
  );
}

visit(
  "what the server tells is text, whatever it looks like",
  { prepare: tellHostile },
  async (page) => {
    const item = page.locator("#feed li", { hasText: "alert(2)" });
    await item.waitFor();
    assert.match(
      await item.textContent(),
      /<img src=x onerror=alert\(1\)>USDT<script>alert\(2\)<\/script>.*<i>x<\/i> ≥ 1/s,
    );
    assert.equal(await page.locator("#feed :is(img, script, b, i:not(.arrow))").count(), 0);
  },
);

async function demandToken(page) {
  await page.route("**/api/**", (route) => {
    const { authorization } = route.request().headers();
    const open = route.request().url().endsWith("/api/health");
    if (open || authorization === "Bearer right") return route.continue();
    return route.fulfill({
      status: 401,
      json: { error: authorization ? "bad_token" : "no_token", message: "say who you are" },
    });
  });
  await page.routeWebSocket("**/ws/alerts", (socket) => {
    const behind = socket.connectToServer();
    socket.onMessage((text) => {
      const { type, token } = JSON.parse(text);
      if (type === "auth" && token === "right")
        socket.send(JSON.stringify({ type: "authenticated" }));
      else if (type === "auth" || !page.letIn)
        socket.close({ code: 4401, reason: "say who you are" });
      else behind.send(text);
      page.letIn ||= type === "auth" && token === "right";
    });
  });
}

test(
  "asks for a token where the server wants one, and keeps it out of addresses",
  { timeout: 60_000 },
  async () => {
    const page = await open(browser, server.url, { prepare: demandToken });
    const addresses = [];
    page.on("request", (request) => addresses.push(request.url()));
    try {
      await page.getByText("This server asks for a token").waitFor();
      await page.getByRole("textbox", { name: "Token" }).fill("wrong");
      await page.keyboard.press("Enter");
      await page.getByText("The server does not accept this token.").waitFor();
      await shot(page, "token");
      await page.getByRole("textbox", { name: "Token" }).fill("right");
      await page.getByRole("button", { name: "Connect" }).click();
      await filled(page);
      assert.equal(await page.isVisible("#token-dialog"), false);
      assert.equal(await page.evaluate(() => localStorage.length), 0);
      await page.reload();
      page.letIn = false;
      await filled(page);
      assert.ok(addresses.every((address) => !address.includes("right")));
      assert.deepEqual(
        page.wrong.filter((wrong) => !/status of 401/.test(wrong)),
        [],
      );
    } finally {
      await page.context().close();
    }
  },
);
