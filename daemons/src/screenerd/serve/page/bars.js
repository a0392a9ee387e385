/** The bars of a chart: a sorted list that takes pages and updates. Pure. */

export const INTERVALS = ["1m", "5m", "15m", "1h", "4h", "8h", "1d"];

const SECONDS = { m: 60, h: 3600, d: 86_400 };

export function secondsOf(interval) {
  return Number(interval.slice(0, -1)) * SECONDS[interval.at(-1)];
}

/** A candle of the server as a bar, its time in seconds. */
export function barOf(candle) {
  const { open, high, low, close, quote_volume, synthetic } = candle;
  const time = Date.parse(candle.open_time) / 1000;
  return { time, open, high, low, close, volume: quote_volume ?? 0, synthetic: synthetic === true };
}

/** Both lists in one, in order, each time once; where both have a time the second one counts. */
export function merged(bars, more) {
  const byTime = new Map([...bars, ...more].map((bar) => [bar.time, bar]));
  return [...byTime.values()].sort((a, b) => a.time - b.time);
}

/**
 * The bar that runs at a time, after a price; null if the list is further on than that.
 *
 * @param {object[]} bars made of closed minutes
 * @param {object|null} running what the last price made of it
 */
export function ticked(bars, running, price, time, interval) {
  const seconds = secondsOf(interval);
  const start = Math.floor(time / 1000 / seconds) * seconds;
  const last = bars.at(-1);
  if (start < last.time) return null;
  const known = [running, last].find((bar) => bar?.time === start);
  const { open, high, low } = known ?? { open: price, high: price, low: price };
  const moved = { close: price, high: Math.max(high, price), low: Math.min(low, price) };
  return { volume: 0, synthetic: false, ...known, time: start, open, ...moved };
}

/** Whether some of these bars, by their time, are not as the list has them. */
export function differs(bars, some) {
  const known = new Map(bars.map((bar) => [bar.time, bar]));
  return some.some((bar) => {
    const before = known.get(bar.time);
    return !before || Object.keys(bar).some((name) => bar[name] !== before[name]);
  });
}

/** The start of the bar during whose minutes an alert was raised, in seconds. */
export function barTime(alert, interval) {
  const seconds = secondsOf(interval);
  // It is raised as its minute closes, which is the first moment of the next one.
  return Math.floor((alert.time / 1000 - 1) / seconds) * seconds;
}

/** One marker for the alerts of a bar that point the same way. */
export function markersOf(alerts, bars, interval) {
  const first = bars[0]?.time ?? Infinity;
  const groups = new Map();
  for (const alert of alerts) {
    const time = barTime(alert, interval);
    if (time < first || alert.state === "withdrawn") continue;
    const key = `${time} ${alert.direction}`;
    groups.set(key, [...(groups.get(key) ?? []), alert]);
  }
  const markers = [...groups.values()].map((group) => ({
    time: barTime(group[0], interval),
    direction: group[0].direction,
    count: group.length,
    titles: [...new Set(group.map(({ title }) => title))],
  }));
  return markers.sort((a, b) => a.time - b.time);
}
