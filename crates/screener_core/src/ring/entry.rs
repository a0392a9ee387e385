//! One minute as a ring holds it.

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Source};

/// How many amounts of a row are summed over windows.
pub const SUMMED: usize = 4;

/// The numbers of one minute that windows read, in one cache line.
///
/// `amounts` are volume, quote volume, trades and taker buy quote volume; an unknown one is 0 here
/// and marked in the minute's [`Flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[repr(C, align(64))]
pub struct Row {
    /// `[volume, quote_volume, trades, taker_buy_quote_volume]`.
    pub amounts: [f64; SUMMED],
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
}

impl Row {
    /// A minute in which nothing was traded at `price`.
    #[must_use]
    pub const fn flat(price: f64) -> Self {
        Self { amounts: [0.0; SUMMED], open: price, high: price, low: price, close: price }
    }
}

/// What is known about a minute besides its numbers, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags(u8);

impl Flags {
    const SOURCE: u8 = 0b11;
    /// Made by the ring to keep minutes contiguous; no candle was given.
    pub const FILLED: Self = Self(1 << 2);
    /// Filled, and a real candle may still come.
    pub const PENDING: Self = Self(1 << 3);
    /// Closed by the next minute's arrival; its own closed version may still come.
    pub const FORCED: Self = Self(1 << 4);
    /// The number of trades is unknown.
    pub const NO_TRADES: Self = Self(1 << 5);
    /// The base volume bought by takers is unknown.
    pub const NO_TAKER: Self = Self(1 << 6);
    /// The quote volume bought by takers is unknown.
    pub const NO_TAKER_QUOTE: Self = Self(1 << 7);

    fn of(candle: &Candle) -> Self {
        let mut flags = Self(candle.source as u8);
        flags.set(Self::NO_TRADES, candle.trades.is_none());
        flags.set(Self::NO_TAKER, candle.taker_buy_volume.is_none());
        flags.set(Self::NO_TAKER_QUOTE, candle.taker_buy_quote_volume.is_none());
        flags
    }

    fn fill(pending: bool) -> Self {
        let mut flags = Self::FILLED;
        flags.set(Self::PENDING, pending);
        flags
    }

    /// Whether any of `bits` is set.
    #[inline]
    #[must_use]
    pub const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }

    /// Sets or clears `bits`.
    #[inline]
    pub const fn set(&mut self, bits: Self, on: bool) {
        self.0 = if on { self.0 | bits.0 } else { self.0 & !bits.0 };
    }

    /// The source the minute's candle came from.
    #[must_use]
    pub const fn source(self) -> Source {
        Source::ALL[(self.0 & Self::SOURCE) as usize]
    }

    /// Whether the minute was filled, or its candle said that the source has none.
    #[inline]
    #[must_use]
    pub const fn is_synthetic(self) -> bool {
        self.has(Self::FILLED) || matches!(self.source(), Source::Synthetic)
    }

    /// The same with another source.
    pub(super) const fn with_source(self, source: Source) -> Self {
        Self((self.0 & !Self::SOURCE) | source as u8)
    }

    /// How much the minute is trusted: what was not given as a closed candle gives way to any.
    pub(super) const fn rank(self) -> i8 {
        if self.has(Self::FILLED) || self.has(Self::FORCED) { -1 } else { self.source() as i8 }
    }

    /// The optional amounts that are unknown.
    const fn knowledge(self) -> u8 {
        self.0 & (Self::NO_TRADES.0 | Self::NO_TAKER.0 | Self::NO_TAKER_QUOTE.0)
    }
}

/// One minute, whole: a row, the amount that no window reads, and its flags.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The numbers windows read.
    pub row: Row,
    /// Base volume bought by takers, 0 when unknown.
    pub taker_buy_volume: f64,
    /// What is known about it.
    pub flags: Flags,
}

impl Entry {
    /// The minute as `candle` tells it.
    #[must_use]
    pub fn of(candle: &Candle) -> Self {
        let known = |value: Option<f64>| value.unwrap_or(0.0);
        let amounts = [
            candle.volume,
            candle.quote_volume,
            known(candle.trades),
            known(candle.taker_buy_quote_volume),
        ];
        let Candle { open, high, low, close, .. } = *candle;
        Self {
            row: Row { amounts, open, high, low, close },
            taker_buy_volume: known(candle.taker_buy_volume),
            flags: Flags::of(candle),
        }
    }

    /// A filled minute at `price`.
    #[must_use]
    pub fn fill(price: f64, pending: bool) -> Self {
        Self { row: Row::flat(price), taker_buy_volume: 0.0, flags: Flags::fill(pending) }
    }

    /// Whether both tell the same numbers, wherever they came from.
    pub(super) fn same_numbers(&self, other: &Self) -> bool {
        self.row == other.row
            && self.taker_buy_volume == other.taker_buy_volume
            && self.flags.knowledge() == other.flags.knowledge()
    }
}
