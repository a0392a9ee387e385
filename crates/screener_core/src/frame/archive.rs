//! Lines of the exchange archive's CSV as columns: the fast way, for files as the archive has them.
//!
//! A line has twelve cells: open time, open, high, low, close, volume, close time, quote volume,
//! trades, taker buy volume, taker buy quote volume, and one that means nothing. Anything else
//! about a file, an exponent or a blank included, and this module knows it not: a slower reader
//! then says what is wrong and where.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array};
use arrow_schema::ArrowError;

use super::output::Table;
use crate::time::MINUTE_MS;

/// Stamps in microseconds have 16 digits, those in milliseconds 13.
const LEAST_MICROSECONDS: i64 = 1_000_000_000_000_000;
/// The names of the decimals, in the order of [`Minutes::values`].
const VALUES: [&str; 8] = [
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
];
/// Where `trades` stands among the columns.
const TRADES_AT: usize = 7;
/// Integers up to here are floats without rounding, and so is their quotient with a power of ten
/// of at most 22 digits, correctly rounded.
const LARGEST_EXACT: u64 = 1 << 53;
/// Powers of ten that are floats without rounding.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// Bytes of the shortest line: eleven digits, eleven commas, an empty cell and the end.
const SHORTEST_LINE: usize = 23;
/// More digits may overflow.
const MOST_DIGITS: usize = 18;

/// The minutes of a file, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Minutes {
    /// Open times, ms.
    pub open_time: Vec<i64>,
    /// Open, high, low, close, volume, quote volume and the two of the takers, each a column.
    pub values: [Vec<f64>; 8],
    /// Numbers of trades.
    pub trades: Vec<i64>,
}

impl Minutes {
    /// The minutes of a text without a header; `None` unless every line is as the archive's are,
    /// of one-minute candles, with times in milliseconds or microseconds.
    ///
    /// Cost: one pass over the bytes.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let lines = most_lines(text);
        let mut minutes = Self {
            open_time: Vec::with_capacity(lines),
            values: std::array::from_fn(|_| Vec::with_capacity(lines)),
            trades: Vec::with_capacity(lines),
        };
        let mut cells = Cells { rest: text };
        while !cells.rest.is_empty() {
            minutes.take_line(&mut cells)?;
        }
        (!minutes.open_time.is_empty()).then_some(minutes)
    }

    fn take_line(&mut self, cells: &mut Cells<'_>) -> Option<()> {
        let open_time = cells.whole()?;
        let [open, high, low, close, volume, quote, taker, taker_quote] = &mut self.values;
        for column in [open, high, low, close, volume] {
            column.push(cells.decimal()?);
        }
        let close_time = cells.whole()?;
        quote.push(cells.decimal()?);
        self.trades.push(cells.whole()?);
        for column in [taker, taker_quote] {
            column.push(cells.decimal()?);
        }
        cells.last()?;
        let (scale, minute) =
            if open_time >= LEAST_MICROSECONDS { (1000, MINUTE_MS * 1000) } else { (1, MINUTE_MS) };
        // Ends are given as the last second or millisecond of the minute, or as the next one.
        let length = close_time.checked_sub(open_time)?;
        if length > minute || length < minute - minute / 60 {
            return None;
        }
        self.open_time.push(open_time / scale);
        Some(())
    }

    /// The columns `open_time, open … quote_volume, trades, taker_buy_volume,
    /// taker_buy_quote_volume`.
    ///
    /// # Errors
    /// When Arrow refuses the columns.
    pub fn into_table(self) -> Result<Table, ArrowError> {
        let mut columns: Vec<(String, ArrayRef)> =
            vec![("open_time".into(), Arc::new(Int64Array::from(self.open_time)))];
        for (name, values) in VALUES.into_iter().zip(self.values) {
            columns.push((name.into(), Arc::new(Float64Array::from(values))));
        }
        let trades: ArrayRef = Arc::new(Int64Array::from(self.trades));
        columns.insert(TRADES_AT, ("trades".into(), trades));
        Table::of(columns)
    }
}

/// How many lines of minutes a text can have: room for them is made at once.
///
/// Newlines alone would not do: a small zip file may unpack to nothing else, and ten columns of
/// eight bytes for each would be more memory than there is.
fn most_lines(text: &[u8]) -> usize {
    // As many at a time as a byte can count, which the compiler makes sixteen counts of.
    let ends = |piece: &[u8]| piece.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
    let newlines: usize = text.chunks(u8::MAX.into()).map(|piece| usize::from(ends(piece))).sum();
    newlines.min(text.len() / SHORTEST_LINE) + 1
}

/// What is left of the text, cell by cell.
struct Cells<'a> {
    rest: &'a [u8],
}

impl Cells<'_> {
    /// The digits up to the next byte that is none, appended to `value`, and how many there are.
    fn digits(&mut self, mut value: u64) -> (u64, usize) {
        let mut count = 0;
        while let Some((byte, rest)) = self.rest.split_first() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            count += 1;
            self.rest = rest;
        }
        (value, count)
    }

    /// The byte after a cell.
    fn end(&mut self, mark: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[mark])?;
        Some(())
    }

    /// A whole number and the comma after it.
    fn whole(&mut self) -> Option<i64> {
        let (value, count) = self.digits(0);
        if count == 0 || count > MOST_DIGITS {
            return None;
        }
        self.end(b',')?;
        i64::try_from(value).ok()
    }

    /// A decimal number and the comma after it, rounded as a correct reader rounds it.
    fn decimal(&mut self) -> Option<f64> {
        let start = self.rest;
        let (mut value, before) = self.digits(0);
        let mut after = 0;
        if self.rest.first() == Some(&b'.') {
            self.rest = &self.rest[1..];
            (value, after) = self.digits(value);
        }
        if before == 0 {
            return None;
        }
        let length = start.len() - self.rest.len();
        self.end(b',')?;
        if before + after <= MOST_DIGITS && value <= LARGEST_EXACT {
            let whole = value as f64;
            return TENS.get(after).map(|tens| whole / tens);
        }
        std::str::from_utf8(&start[..length]).ok()?.parse().ok()
    }

    /// The last cell, which means nothing, and the end of the line.
    fn last(&mut self) -> Option<()> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (cell, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        if cell.contains(&b',') {
            return None;
        }
        self.rest = rest;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LINE: &str = "1738368000000,4.6190,4.6190,4.5990,4.5990,45002,1738368059999,\
                        207501.9130,1000,10953,50540.4240,0";

    #[test]
    fn a_line_of_the_archive_is_a_minute() {
        let minutes = Minutes::parse(LINE.as_bytes()).unwrap();
        assert_eq!(minutes.open_time, [1_738_368_000_000]);
        let values: Vec<f64> = minutes.values.iter().map(|column| column[0]).collect();
        let expected = [4.619, 4.619, 4.599, 4.599, 45002.0, 207_501.913, 10953.0, 50540.424];
        assert_eq!(values, expected);
        assert_eq!(minutes.trades, [1000]);
    }

    #[test]
    fn line_ends_and_microseconds_make_no_difference() {
        let plain = Minutes::parse(format!("{LINE}\n{LINE}\n").as_bytes()).unwrap();
        let other = LINE.replace("000000,", "000000000,").replace("059999,", "059999999,");
        for text in [format!("{LINE}\r\n{LINE}\r\n"), format!("{LINE}\n{other}")] {
            assert_eq!(Minutes::parse(text.as_bytes()).unwrap(), plain);
        }
    }

    #[test]
    fn room_is_made_for_lines_that_can_be_and_not_for_newlines() {
        let ends = "\n".repeat(23_000);
        assert_eq!(most_lines(ends.as_bytes()), 1001);
        assert_eq!(Minutes::parse(ends.as_bytes()), None);
        let shortest = "0,1,1,1,1,1,1,1,1,1,1,\n";
        assert_eq!(shortest.len(), SHORTEST_LINE);
        for count in [1, 2, 500] {
            assert!(most_lines(shortest.repeat(count).as_bytes()) >= count);
            let minutes = Minutes::parse(format!("{LINE}\n").repeat(count).as_bytes()).unwrap();
            assert_eq!(minutes.open_time.len(), count);
            assert!(minutes.open_time.capacity() <= count + 1);
        }
    }

    #[test]
    fn decimals_are_rounded_as_rust_rounds_them() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..20_000 {
            let (before, after) = (1 + random(14), random(13));
            let mut digits = |count: u64| -> String {
                (0..count).map(|_| char::from(b'0' + u8::try_from(random(10)).unwrap())).collect()
            };
            let text = format!("{}.{},", digits(before), digits(after));
            let found = Cells { rest: text.as_bytes() }.decimal().unwrap();
            let expected: f64 = text.trim_end_matches(',').parse().unwrap();
            assert_eq!(found.to_bits(), expected.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_the_archive_has_not_is_not_known() {
        let wrong = [
            "",
            "open_time,open",
            "1,2,3",
            &LINE.replace("4.5990", "4.5e3"),
            &LINE.replace("4.5990", "-4.5990"),
            &LINE.replace("4.5990", " 4.5990"),
            &LINE.replace("4.5990", ""),
            &LINE.replace("4.5990", ".5"),
            &LINE.replace("4.5990", "nan"),
            &LINE.replace("1000,", "1000.0,"),
            &LINE.replace("1000,", "99999999999999999999,"),
            &LINE.replace("059999,", "359999,"),
            &LINE.replace("059999,", "000000,"),
            &format!("{LINE},0"),
            &format!("{LINE}\n\n{LINE}"),
            &format!("{LINE}\n{}", &LINE[..40]),
        ];
        for text in wrong {
            assert_eq!(Minutes::parse(text.as_bytes()), None, "{text}");
        }
    }
}
