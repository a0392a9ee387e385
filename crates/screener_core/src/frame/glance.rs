//! One pass over a symbol's minutes: where it sees nothing, a closer look would find nothing.
//!
//! It may see too much, never too little: what it doubts is looked at again by slower code, which
//! says what is wrong and where.

use arrow_array::Array;

use super::column::{Frame, FrameError, floats, times};
use crate::time::MINUTE_MS;

/// Prices and amounts are within these (SPEC section 1); an amount may be 0, too.
const SMALLEST: f64 = 1e-30;
const LARGEST: f64 = 1e30;
/// A part may be above its whole by so much: real files hold 463.68016 of 463.68015999999994.
const ROUNDING: f64 = 1e-9;
/// The exchange rounds quote volumes to 1e-8, and prices as they please.
const QUOTE_ROUNDING: f64 = 1e-6;
const QUOTE_DIGIT: f64 = 1e-8;
/// Bounds are drawn a little closer than they were given: nothing at a bound is overseen.
const CLOSER: f64 = 1.0 - 1e-9;
/// Rows that are looked at in one go, while they are near.
const BLOCK: usize = 1024;

const REMEDY: &str = "give candles as `screener.read_klines` does";

/// What is usual: what lies beyond is doubted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Of the open against the close before: |open / close - 1|.
    pub step: f64,
    /// Of high over low - 1.
    pub range: f64,
    /// Of the volume.
    pub volume: f64,
}

/// What one pass over the rows of a symbol tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Whether every row is a minute after the one before it.
    pub are_minutes: bool,
    /// Whether every value is known, and none breaks SPEC section 1.
    pub are_sound: bool,
    /// Whether every row is within the bounds, and every mean price between low and high.
    pub are_usual: bool,
    /// Rows without a trade, as their volume tells.
    pub quiet: usize,
}

impl Glance {
    /// Looks at candles: `open_time`, `open`, `high`, `low`, `close`, `volume`, and what there is
    /// of `quote_volume`, `trades`, `taker_buy_volume`, `taker_buy_quote_volume`.
    ///
    /// Cost: one pass over the columns, of which those that hold floats are not copied.
    ///
    /// # Errors
    /// When a column is missing or does not hold numbers.
    pub fn of(frame: &Frame, bounds: Bounds) -> Result<Self, FrameError> {
        let time = times("open_time", frame.need("open_time", REMEDY)?)?.ms;
        let need = |name| floats(name, frame.need(name, REMEDY)?);
        let prices = [need("open")?, need("high")?, need("low")?, need("close")?];
        let optional = |name| frame.optional(name, floats);
        let amounts = [
            Some(need("volume")?),
            optional("quote_volume")?,
            optional("trades")?,
            optional("taker_buy_volume")?,
            optional("taker_buy_quote_volume")?,
        ];
        let columns = prices.iter().chain(amounts.iter().flatten());
        if time.null_count() + columns.map(Array::null_count).sum::<usize>() > 0 {
            return Ok(Self { are_minutes: false, are_sound: false, are_usual: false, quiet: 0 });
        }
        let rows = Rows {
            prices: prices.each_ref().map(|price| &price.values()[..]),
            amounts: amounts.each_ref().map(|amount| Some(&amount.as_ref()?.values()[..])),
        };
        Ok(rows.look(time.values(), bounds))
    }
}

/// The columns of some rows that follow each other.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// Open, high, low and close.
    prices: [&'a [f64]; 4],
    /// Volume, quote volume, trades, and of the first two what takers bought.
    amounts: [Option<&'a [f64]>; 5],
}

impl<'a> Rows<'a> {
    fn look(self, time: &[i64], bounds: Bounds) -> Glance {
        let is_minute =
            |(before, after): (&i64, &i64)| after.checked_sub(*before) == Some(MINUTE_MS);
        let mut seen = Glance {
            are_minutes: all(time.iter().zip(time.iter().skip(1)).map(is_minute)),
            are_sound: true,
            are_usual: true,
            quiet: 0,
        };
        for start in (0..time.len()).step_by(BLOCK) {
            let end = time.len().min(start + BLOCK);
            let block = self.slice(start, end);
            seen.are_sound &= block.are_sound();
            seen.are_usual &= block.are_usual(bounds);
            // The step of a block's first row is from the last close of the block before.
            let (before, after) = (start.saturating_sub(1), end.saturating_sub(1));
            let steps = self.prices[3][before..after].iter().zip(&self.prices[0][before + 1..end]);
            let step = bounds.step * CLOSER;
            let is_small = |(close, open): (&f64, &f64)| {
                *open <= close * (1.0 + step) && *open >= close * (1.0 - step)
            };
            seen.are_usual &= all(steps.map(is_small));
            seen.quiet += block.volume().iter().filter(|volume| **volume == 0.0).count();
        }
        seen
    }

    fn slice(self, start: usize, end: usize) -> Self {
        Self {
            prices: self.prices.map(|price| &price[start..end]),
            amounts: self.amounts.map(|amount| Some(&amount?[start..end])),
        }
    }

    fn volume(self) -> &'a [f64] {
        self.amounts[0].unwrap_or_default()
    }

    /// Every bound is one that `NaN` is beyond.
    fn are_sound(self) -> bool {
        let [open, high, low, close] = self.prices;
        let within = |price: &'a [f64]| {
            all(low
                .iter()
                .zip(price)
                .zip(high)
                .map(|((low, price), high)| (low <= price) & (price <= high)))
        };
        let [volume, quote, _, taker, taker_quote] = self.amounts;
        all(low.iter().map(|low| *low >= SMALLEST))
            & all(high.iter().map(|high| *high <= LARGEST))
            & within(open)
            & within(close)
            & self.amounts.into_iter().flatten().all(|amount| {
                all(amount
                    .iter()
                    .map(|one| ((*one >= SMALLEST) | (*one == 0.0)) & (*one <= LARGEST)))
            })
            & are_parts(taker, volume)
            & are_parts(taker_quote, quote)
    }

    fn are_usual(self, bounds: Bounds) -> bool {
        let [_, high, low, _] = self.prices;
        let widest = 1.0 + bounds.range * CLOSER;
        let volume = self.volume();
        let fit = |quote: &'a [f64]| {
            all(quote.iter().zip(volume).zip(low.iter().zip(high)).map(
                |((quote, volume), (low, high))| {
                    (*quote >= volume * low * (1.0 - QUOTE_ROUNDING) - QUOTE_DIGIT)
                        & (*quote <= volume * high * (1.0 + QUOTE_ROUNDING) + QUOTE_DIGIT)
                },
            ))
        };
        all(low.iter().zip(high).map(|(low, high)| *high <= low * widest))
            & all(volume.iter().map(|volume| *volume <= bounds.volume))
            & self.amounts[1].is_none_or(fit)
    }
}

/// Whether a part is nowhere above its whole; where one of them is unknown it is not.
fn are_parts(part: Option<&[f64]>, whole: Option<&[f64]>) -> bool {
    let (Some(part), Some(whole)) = (part, whole) else { return true };
    all(part.iter().zip(whole).map(|(part, whole)| *part <= whole * (1.0 + ROUNDING)))
}

/// Whether all hold, without a way out: such loops are of several rows at once.
fn all(facts: impl Iterator<Item = bool>) -> bool {
    facts.fold(true, |every, fact| every & fact)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int64Array};

    use super::*;
    use crate::frame::output::Table;

    const BOUNDS: Bounds = Bounds { step: 0.05, range: 0.2, volume: 1e6 };
    const NAMES: [&str; 9] = [
        "open",
        "high",
        "low",
        "close",
        "volume",
        "quote_volume",
        "trades",
        "taker_buy_volume",
        "taker_buy_quote_volume",
    ];
    const MINUTE: [f64; 9] = [100.0, 101.0, 99.0, 100.0, 10.0, 1000.0, 7.0, 4.0, 400.0];
    const CLEAN: Glance = Glance { are_minutes: true, are_sound: true, are_usual: true, quiet: 0 };

    /// A few blocks of minutes, one value of which is another.
    fn seen(row: usize, name: &str, value: f64) -> Glance {
        let rows = 2 * BLOCK + 10;
        let time = Int64Array::from_iter_values((0..rows as i64).map(|row| row * MINUTE_MS));
        let mut columns: Vec<(String, ArrayRef)> = vec![("open_time".into(), Arc::new(time))];
        for (column, usual) in NAMES.into_iter().zip(MINUTE) {
            let mut values = vec![usual; rows];
            if column == name {
                values[row] = value;
            }
            columns.push((column.into(), Arc::new(Float64Array::from(values))));
        }
        let table = Table::of(columns).unwrap();
        Glance::of(&Frame::new(&table.schema, &table.batches).unwrap(), BOUNDS).unwrap()
    }

    #[test]
    fn what_is_usual_is_not_doubted() {
        assert_eq!(seen(0, "", 0.0), CLEAN);
        assert_eq!(seen(5, "volume", 10.000_01), CLEAN);
        assert_eq!(seen(5, "trades", 0.0), CLEAN);
    }

    #[test]
    fn what_cannot_be_is_seen_in_every_row() {
        for row in [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 9] {
            for (name, value) in [
                ("open", 102.0),
                ("close", 98.0),
                ("high", 98.0),
                ("low", 101.5),
                ("low", 0.0),
                ("volume", -1.0),
                ("volume", 1e-31),
                ("volume", 3.0),
                ("trades", -1.0),
                ("trades", 1e31),
                ("taker_buy_volume", 10.1),
                ("taker_buy_quote_volume", 1000.1),
            ] {
                assert!(!seen(row, name, value).are_sound, "{name} {value} in row {row}");
            }
            for name in NAMES {
                for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    assert!(!seen(row, name, value).are_sound, "{name} {value} in row {row}");
                }
            }
        }
    }

    #[test]
    fn what_is_hard_to_believe_is_seen_in_every_row() {
        for row in [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 9] {
            let values = [("high", 120.0), ("volume", 1e7), ("quote_volume", 2000.0)];
            for (name, value) in values {
                assert!(!seen(row, name, value).are_usual, "{name} {value} in row {row}");
            }
            // The first row is after nothing, the last close before nothing.
            assert_eq!(seen(row, "open", 94.9).are_usual, row == 0, "row {row}");
            assert_eq!(seen(row, "close", 105.3).are_usual, row == 2 * BLOCK + 9, "row {row}");
            assert_eq!(seen(row, "volume", 0.0).quiet, 1);
        }
    }

    #[test]
    fn values_that_are_not_known_are_doubted_unless_a_column_has_none() {
        let time: ArrayRef = Arc::new(Int64Array::from(vec![0, MINUTE_MS]));
        let of = |trades: Vec<Option<f64>>| {
            let mut columns: Vec<(String, ArrayRef)> = vec![("open_time".into(), time.clone())];
            for (name, usual) in NAMES.into_iter().zip(MINUTE) {
                let values = if name == "trades" { trades.clone() } else { vec![Some(usual); 2] };
                columns.push((name.into(), Arc::new(Float64Array::from(values))));
            }
            let table = Table::of(columns).unwrap();
            Glance::of(&Frame::new(&table.schema, &table.batches).unwrap(), BOUNDS).unwrap()
        };
        assert_eq!(of(vec![Some(1.0), Some(2.0)]), CLEAN);
        assert_eq!(of(vec![None, None]), CLEAN);
        let doubted = of(vec![Some(1.0), None]);
        assert!(!doubted.are_minutes && !doubted.are_sound && !doubted.are_usual);
    }

    #[test]
    fn a_hole_a_repetition_and_a_step_back_are_no_minutes() {
        for second in [0, 1, MINUTE_MS - 1, 2 * MINUTE_MS, -MINUTE_MS, i64::MIN, i64::MAX] {
            let time: ArrayRef = Arc::new(Int64Array::from(vec![0, second]));
            let mut columns: Vec<(String, ArrayRef)> = vec![("open_time".into(), time)];
            for (name, usual) in NAMES.into_iter().zip(MINUTE) {
                columns.push((name.into(), Arc::new(Float64Array::from(vec![usual; 2]))));
            }
            let table = Table::of(columns).unwrap();
            let frame = Frame::new(&table.schema, &table.batches).unwrap();
            assert!(!Glance::of(&frame, BOUNDS).unwrap().are_minutes, "{second}");
        }
    }
}
