/** The order of the rows. Pure. */

import { COLUMNS } from "./columns.js";

/** Texts begin with A, numbers with the greatest. */
export function firstDirection(column) {
  return column.text ? "ascending" : "descending";
}

export function reversed(direction) {
  return direction === "ascending" ? "descending" : "ascending";
}

/** The sort after a click on a column: the other way around if it was sorted by already. */
export function clicked(sort, column) {
  const direction = sort.key === column.key ? reversed(sort.direction) : firstDirection(column);
  return { key: column.key, direction };
}

/** The sort by the next column. */
export function nextColumn(sort) {
  const at = COLUMNS.findIndex((column) => column.key === sort.key);
  const column = COLUMNS[(at + 1) % COLUMNS.length];
  return { key: column.key, direction: firstDirection(column) };
}

/** Rows in order, what is not ready last both ways; equals by name. */
export function sorted(rows, column, direction) {
  const way = direction === "ascending" ? 1 : -1;
  const keyed = rows.map((row) => ({ row, value: column.value(row) }));
  keyed.sort((a, b) => {
    if (a.value === null || b.value === null) {
      return (a.value === null) - (b.value === null) || byName(a.row, b.row);
    }
    const difference = column.text ? byName(a.row, b.row) : a.value - b.value;
    return difference * way || byName(a.row, b.row);
  });
  return keyed.map(({ row }) => row);
}

function byName(a, b) {
  return a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : 0;
}
