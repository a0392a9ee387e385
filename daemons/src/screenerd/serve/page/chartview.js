/** Draws bars, volumes and markers; the only place that knows the chart library. */

import { markersOf } from "./bars.js";
import { el } from "./dom.js";
import { compact, dayAndClock, decimalsOf, percent, price } from "./format.js";
import { colour, onThemeChange } from "./theme.js";

const BAR_WIDTH = 6;
const AFTER = 5;
const LEFT_EDGE = 10;
const COLOURS = ["muted", "line", "grid", "up", "down", "up-soft", "down-soft", "faint"];

export class ChartView {
  /** @param {{host: HTMLElement, legend: HTMLElement}} places */
  constructor({ host, legend }) {
    Object.assign(this, { host, legend });
    this.bars = [];
    this.running = null;
    this.markers = [];
    /** Called when the oldest bars can be seen. */
    this.onLeftEdge = () => {};
    onThemeChange(() => this.dress());
  }

  /** Makes the chart once; the library is fetched when it is needed first. */
  make() {
    this.made ??= this.fetch();
    return this.made;
  }

  async fetch() {
    try {
      this.build(await import("./vendor/lightweight-charts.standalone.production.mjs"));
    } catch (error) {
      this.made = null;
      throw error;
    }
  }

  build({ createChart, CandlestickSeries, HistogramSeries, createSeriesMarkers }) {
    this.chart = createChart(this.host, {
      autoSize: true,
      // The logo needs an inline style, which the page's policy forbids: the credit is in the page.
      layout: {
        attributionLogo: false,
        fontSize: 11,
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      localization: { locale: "en-GB", timeFormatter: (time) => `${dayAndClock(time * 1000)} UTC` },
      timeScale: { timeVisible: true, rightOffset: AFTER, minBarSpacing: 1 },
      rightPriceScale: { scaleMargins: { top: 0.14, bottom: 0.22 } },
      crosshair: { mode: 0 },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.volumes = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "",
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.volumes.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.arrows = createSeriesMarkers(this.candles, []);
    this.chart.subscribeCrosshairMove(({ time }) => {
      this.pointed = time ?? null;
      this.tell();
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < LEFT_EDGE) this.onLeftEdge();
    });
    this.dress();
  }

  /** Takes the colours of the theme. */
  dress() {
    if (!this.chart) return;
    this.colours = Object.fromEntries(COLOURS.map((name) => [name, colour(name)]));
    const { muted, line, grid, up, down } = this.colours;
    this.chart.applyOptions({
      layout: { background: { color: "transparent" }, textColor: muted },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      timeScale: { borderColor: line },
      rightPriceScale: { borderColor: line },
    });
    this.candles.applyOptions({
      upColor: up,
      wickUpColor: up,
      downColor: down,
      wickDownColor: down,
    });
    if (this.bars.length) this.draw();
  }

  /** Shows other bars than before. */
  show({ symbol, interval, bars, alerts }) {
    Object.assign(this, { symbol, interval, bars, alerts });
    if (!this.chart) return;
    this.decimals = Math.max(...bars.slice(-200).map(({ close }) => decimalsOf(close)), 0);
    this.candles.applyOptions({
      priceFormat: {
        type: "custom",
        minMove: 10 ** -this.decimals,
        formatter: (value) => price(value, this.decimals),
      },
    });
    this.draw();
  }

  draw() {
    this.running = null;
    this.candles.setData(this.bars.map((bar) => this.candleOf(bar)));
    this.volumes.setData(this.bars.map((bar) => this.volumeOf(bar)));
    this.mark(this.alerts);
  }

  /** Shows these bars, of which only the newest have changed. */
  extend(bars, changed) {
    // The library takes no bar that is older than one it has drawn.
    const drawn = this.running?.time ?? -Infinity;
    const older = drawn > bars.at(-1).time || changed.some(({ time }) => time < drawn);
    this.bars = bars;
    if (older) {
      this.draw();
      return;
    }
    this.running = null;
    for (const bar of changed) {
      this.candles.update(this.candleOf(bar));
      this.volumes.update(this.volumeOf(bar));
    }
    this.mark(this.alerts);
  }

  /** Shows the bar that runs, as far as it is known. */
  run(bar) {
    this.running = bar;
    this.candles.update(this.candleOf(bar));
    this.tell();
  }

  /** Shows alerts as arrows. */
  mark(alerts) {
    this.alerts = alerts;
    this.markers = markersOf(alerts, this.bars, this.interval);
    this.arrows.setMarkers(
      this.markers.map(({ time, direction, count }) => ({
        time,
        position: direction === "up" ? "belowBar" : "aboveBar",
        shape: direction === "up" ? "arrowUp" : "arrowDown",
        color: this.colours[direction],
        text: count > 1 ? String(count) : "",
      })),
    );
    this.host.dataset.markers = String(this.markers.length);
    this.tell();
  }

  /** Moves to the bar of a time, or to the newest one. */
  look(time) {
    if (!this.bars.length) return;
    const last = this.bars.length - 1;
    const found = time ? this.bars.findIndex((bar) => bar.time >= time) : last;
    const at = found < 0 ? last : found;
    const shown = Math.max(this.host.clientWidth / BAR_WIDTH, 40);
    const to = Math.min(at + shown / 2, last + AFTER);
    this.chart.timeScale().setVisibleLogicalRange({ from: to - shown, to });
  }

  /** A minute that never was is faint. */
  candleOf({ time, open, high, low, close, synthetic }) {
    const candle = { time, open, high, low, close };
    const { faint } = this.colours;
    return synthetic ? { ...candle, color: faint, wickColor: faint } : candle;
  }

  volumeOf({ time, open, close, volume }) {
    return { time, value: volume, color: this.colours[close >= open ? "up-soft" : "down-soft"] };
  }

  /** Writes the numbers of the bar that is pointed at, else of the newest one. */
  tell() {
    const pointed = this.bars.findIndex(({ time }) => time === this.pointed);
    const [before, bar] = pointed < 0 ? this.newest() : [this.bars[pointed - 1], this.bars[pointed]];
    this.legend.replaceChildren(...(bar ? this.figures(bar, before ?? bar) : []));
    const told = bar
      ? `close ${price(bar.close, this.decimals)}, ${dayAndClock(bar.time * 1000)} UTC`
      : "empty";
    this.host.setAttribute("aria-label", `Chart of ${this.symbol}, ${this.interval}: ${told}`);
  }

  /** The newest two bars, the one that runs among them. */
  newest() {
    const { bars, running } = this;
    if (!running) return [bars.at(-2), bars.at(-1)];
    return [running.time > bars.at(-1)?.time ? bars.at(-1) : bars.at(-2), running];
  }

  figures(bar, before) {
    const tone = bar.close >= bar.open ? "up" : "down";
    const figure = (name, text) =>
      el("span", {}, el("i", {}, name), el("b", { class: tone }, text));
    const change = (bar.close / before.close - 1) * 100;
    return [
      figure("O", price(bar.open, this.decimals)),
      figure("H", price(bar.high, this.decimals)),
      figure("L", price(bar.low, this.decimals)),
      figure("C", price(bar.close, this.decimals)),
      figure("", percent(change)),
      figure("Vol", compact(bar.volume)),
      ...this.markers
        .filter(({ time }) => time === bar.time)
        .map(({ titles, direction }) =>
          el("span", { class: `raised ${direction}` }, titles.join(", ")),
        ),
    ];
  }
}
