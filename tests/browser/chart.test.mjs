/** The chart's bars as they are handed to the library, which refuses what is older than it has drawn. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

const PAGE = new URL("../../daemons/src/screenerd/serve/page", import.meta.url).pathname;
globalThis.matchMedia = () => ({ matches: false, addEventListener() {} });
globalThis.document = { documentElement: { dataset: {} }, getElementById: () => null };
globalThis.localStorage = { getItem: () => null, setItem() {} };
const { ChartView } = await import(`${PAGE}/chartview.js`);
const { merged, ticked } = await import(`${PAGE}/bars.js`);

/** A series with the library's rule. */
class Series {
  setData(bars) {
    this.bars = new Map(bars.map((bar) => [bar.time, bar]));
    this.last = bars.at(-1).time;
  }

  update(bar) {
    assert.ok(bar.time >= this.last, `bar ${bar.time} after ${this.last} was drawn`);
    this.bars.set(bar.time, bar);
    this.last = bar.time;
  }
}

const bar = (minute, close) => ({
  time: minute * 60,
  open: close,
  high: close,
  low: close,
  close,
  volume: minute,
  synthetic: false,
});

/** A view of minutes 8 and 9, of which only what is drawn is of interest. */
function view() {
  const made = Object.create(ChartView.prototype);
  const nothing = () => {};
  Object.assign(made, { candles: new Series(), volumes: new Series(), running: null, alerts: [] });
  Object.assign(made, { candleOf: (one) => one, volumeOf: (one) => one, mark: nothing });
  Object.assign(made, { tell: nothing, bars: [bar(8, 1), bar(9, 1)] });
  made.draw();
  return made;
}

/** A price of so many seconds after minute 0. */
function tick(made, price, seconds) {
  made.run(ticked(made.bars, made.running, price, seconds * 1000, "1m"));
}

function closes(made, ...newest) {
  const last = made.bars.at(-1).time;
  made.extend(
    merged(made.bars, newest),
    newest.filter(({ time }) => time >= last),
  );
}

describe("the running bar", () => {
  test("becomes the closed one, whatever was drawn of it", () => {
    const made = view();
    tick(made, 1.2, 630);
    assert.equal(made.candles.bars.get(600).close, 1.2);
    closes(made, bar(8, 1), bar(9, 1), bar(10, 1.3));
    assert.equal(made.candles.bars.get(600).close, 1.3);
    assert.equal(made.volumes.bars.get(600).volume, 10);
    closes(made, bar(10, 1.3), bar(11, 1.5));
    assert.equal(made.candles.bars.get(660).close, 1.5);
  });

  test("is drawn anew after a minute that closed before it", () => {
    const made = view();
    tick(made, 1.2, 630);
    tick(made, 1.4, 661);
    closes(made, bar(9, 1), bar(10, 1.3));
    assert.deepEqual([...made.candles.bars.keys()], [480, 540, 600]);
    tick(made, 1.6, 662);
    assert.equal(made.candles.bars.get(660).close, 1.6);
  });
});
