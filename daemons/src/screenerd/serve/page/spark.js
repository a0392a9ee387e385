/** The line of the last hour in a row, made and kept up only while the row can be seen. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 88;
const HEIGHT = 20;
const EDGE = 2;

/** The points of a polyline through these prices, oldest at the left. Pure. */
export function points(prices, width = WIDTH, height = HEIGHT) {
  const low = Math.min(...prices);
  const range = Math.max(...prices) - low;
  const step = width / (prices.length - 1);
  const y = (price) =>
    range ? EDGE + (1 - (price - low) / range) * (height - 2 * EDGE) : height / 2;
  return prices
    .map((price, index) => `${(index * step).toFixed(1)},${y(price).toFixed(1)}`)
    .join(" ");
}

export class Sparks {
  /** @param {Element} scroller whatever can be seen in it is drawn */
  constructor(scroller) {
    this.rows = new WeakMap();
    this.seen = new Set();
    this.observer = new IntersectionObserver((entries) => this.seeing(entries), {
      root: scroller,
      rootMargin: "120px 0px",
    });
  }

  /** Watches a cell that shows the line of a row. */
  add(cell, row) {
    this.rows.set(cell, { row, drawn: null });
    this.observer.observe(cell);
  }

  remove(cell) {
    this.observer.unobserve(cell);
    this.seen.delete(cell);
  }

  seeing(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.seen.add(target);
      else this.seen.delete(target);
    }
    this.draw();
  }

  /** Draws what can be seen and has changed. */
  draw() {
    for (const cell of this.seen) {
      const kept = this.rows.get(cell);
      if (kept.drawn !== kept.row.spark) this.drawCell(cell, kept);
    }
  }

  drawCell(cell, kept) {
    const prices = kept.row.spark;
    kept.drawn = prices;
    if (prices.length < 2) return;
    const line = cell.querySelector("polyline") ?? newLine(cell);
    line.setAttribute("points", points(prices));
    line.setAttribute("class", prices.at(-1) >= prices[0] ? "up" : "down");
  }
}

function newLine(cell) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "polyline");
  drawing.append(line);
  cell.append(drawing);
  return line;
}
