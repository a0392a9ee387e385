/** The columns of the screener: where a value comes from, how it is written and coloured. Pure. */

import { level } from "./heat.js";
import { compact, price, ratio, signed, whole } from "./format.js";

export const WINDOWS = ["5m", "15m", "1h", "4h", "8h", "1d"];

/** A number of one window of a row; null while it is not ready. */
export function reading(row, window, field) {
  return row.frames[window]?.[field] ?? null;
}

const CALM = { "5m": 0.3, "15m": 0.5, "1h": 0.8, "4h": 1.5, "8h": 2, "1d": 3 };

const change = (window) => ({
  key: `change_${window}`,
  title: window,
  hint: `Change over ${window}, %`,
  value: (row) => reading(row, window, "change_pct"),
  write: (value) => signed(value),
  least: CALM[window],
  tint: (value, scale) => {
    const strength = level(value, scale);
    const way = value > 0 ? "up" : value < 0 ? "down" : "";
    return strength ? `${way} ${way}-${Math.abs(strength)}` : way;
  },
});

const quoteVolume = (window) => ({
  key: `quote_volume_${window}`,
  title: `Vol ${window}`,
  hint: `Quote volume over ${window}`,
  value: (row) => reading(row, window, "quote_volume"),
  write: compact,
});

/**
 * `key` is the metric's name in filters. A column with `least` is coloured against the scale of
 * all its values, which is never below `least`.
 */
export const COLUMNS = [
  { key: "symbol", title: "Symbol", hint: "Symbol", text: true, value: (row) => row.symbol },
  {
    key: "price",
    title: "Price",
    hint: "Price, coloured by where it moved to last",
    value: (row) => row.price,
    write: (value, row) => price(value, row.decimals),
    tint: (_value, _scale, row) => row.tick,
  },
  ...WINDOWS.map(change),
  {
    key: "volume_ratio_15m",
    title: "Vol ×",
    hint: "Quote volume of the last 15 minutes against the 15 before",
    value: (row) => reading(row, "15m", "volume_ratio"),
    write: ratio,
    tint: (value) => (value >= 4 ? "hot-3" : value >= 2.5 ? "hot-2" : value >= 1.5 ? "hot-1" : ""),
  },
  quoteVolume("1h"),
  quoteVolume("1d"),
  {
    key: "rsi_1h",
    title: "RSI 1h",
    hint: "Relative strength index of the hour's bars, 14",
    value: (row) => reading(row, "1h", "rsi_14"),
    write: whole,
    tint: (value) => (value === null ? "" : value >= 70 ? "hot-1" : value <= 30 ? "cool" : ""),
  },
  {
    key: "vcp_5m",
    title: "VCP 5m",
    hint: "Where in its range 5 minutes closed, weighted by the average price: -1 low, 1 high",
    value: (row) => reading(row, "5m", "vcp"),
    write: (value) => signed(value),
    tint: (value) => (value >= 0.5 ? "up" : value <= -0.5 ? "down" : ""),
  },
];

export const columnOf = (key) => COLUMNS.find((column) => column.key === key);
