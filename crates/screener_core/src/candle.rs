//! One minute of trading, and what makes it valid.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::num::is_amount;
use crate::time::{self, MINUTE_MS, Minute};

/// Longest symbol in bytes.
pub const SYMBOL_BYTES: usize = 64;

/// Where a candle came from, in rising order of trust.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[repr(u8)]
pub enum Source {
    /// Nobody traded, or the source has no such minute: the candle is made up.
    Synthetic = 0,
    /// The exchange's live stream.
    #[default]
    Stream = 1,
    /// The exchange's REST interface.
    Rest = 2,
    /// The exchange's archive.
    Archive = 3,
}

impl Source {
    /// Every source, in rising order of trust.
    pub const ALL: [Self; 4] = [Self::Synthetic, Self::Stream, Self::Rest, Self::Archive];

    /// The name used in frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Synthetic => "synthetic",
            Self::Stream => "stream",
            Self::Rest => "rest",
            Self::Archive => "archive",
        }
    }

    /// The source called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// One minute of one symbol. Unknown optional values are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candle {
    /// Start of the minute, ms since the epoch.
    pub open_time: i64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Traded amount of the base asset.
    pub volume: f64,
    /// Traded amount of the quote asset.
    pub quote_volume: f64,
    /// Number of trades.
    pub trades: Option<f64>,
    /// Base volume bought by takers.
    pub taker_buy_volume: Option<f64>,
    /// Quote volume bought by takers.
    pub taker_buy_quote_volume: Option<f64>,
    /// Whether the minute is over; an open candle is an update of the running minute.
    pub closed: bool,
    /// When the exchange made this version, ms since the epoch.
    pub event_time: Option<i64>,
    /// Where it came from.
    pub source: Source,
}

impl Candle {
    /// The minute this candle covers.
    #[inline]
    #[must_use]
    pub const fn minute(&self) -> Minute {
        self.open_time.div_euclid(MINUTE_MS)
    }

    /// Checks everything a single candle can be checked for.
    ///
    /// # Errors
    /// The first field that is wrong, with its value and what is wrong with it.
    #[inline]
    pub fn validate(&self) -> Result<(), InvalidCandle> {
        if self.is_plausible() { Ok(()) } else { Err(self.fault()) }
    }

    /// The whole check without a branch: nearly every candle passes all of it.
    #[inline(always)]
    fn is_plausible(&self) -> bool {
        let known = |value: Option<f64>| value.unwrap_or(0.0);
        (self.open_time % MINUTE_MS == 0)
            & time::in_range(self.open_time)
            & self.event_time.is_none_or(time::in_range)
            & (self.low > 0.0)
            & is_amount(self.low)
            & is_amount(self.high)
            & (self.low <= self.open)
            & (self.low <= self.close)
            & (self.open <= self.high)
            & (self.close <= self.high)
            & is_amount(self.volume)
            & is_amount(self.quote_volume)
            & is_amount(known(self.trades))
            & is_amount(known(self.taker_buy_volume))
            & is_amount(known(self.taker_buy_quote_volume))
            & is_part(known(self.taker_buy_volume), self.volume)
            & is_part(known(self.taker_buy_quote_volume), self.quote_volume)
    }

    /// Names the first fault of a candle that is not plausible.
    #[cold]
    fn fault(&self) -> InvalidCandle {
        let times = [("open_time", Some(self.open_time)), ("event_time", self.event_time)];
        for (field, value) in times.into_iter().filter_map(|(f, v)| Some((f, v?))) {
            if !time::in_range(value) {
                return InvalidCandle::new(field, value, Fault::OutsideYears);
            }
        }
        if self.open_time % MINUTE_MS != 0 {
            return InvalidCandle::new("open_time", self.open_time, Fault::Misaligned);
        }
        let prices =
            [("open", self.open), ("high", self.high), ("low", self.low), ("close", self.close)];
        let amounts = [
            ("volume", Some(self.volume)),
            ("quote_volume", Some(self.quote_volume)),
            ("trades", self.trades),
            ("taker_buy_volume", self.taker_buy_volume),
            ("taker_buy_quote_volume", self.taker_buy_quote_volume),
        ];
        for (field, price) in prices {
            if let Some(fault) = fault_of_number(price, true) {
                return InvalidCandle::new(field, price, fault);
            }
        }
        for (field, amount) in amounts.into_iter().filter_map(|(f, v)| Some((f, v?))) {
            if let Some(fault) = fault_of_number(amount, false) {
                return InvalidCandle::new(field, amount, fault);
            }
        }
        if self.low > self.high {
            return InvalidCandle::new("high", self.high, Fault::BelowLow { low: self.low });
        }
        for (field, price) in [("open", self.open), ("close", self.close)] {
            if price < self.low || price > self.high {
                let fault = Fault::OutsideRange { low: self.low, high: self.high };
                return InvalidCandle::new(field, price, fault);
            }
        }
        if let Some(part) = self.taker_buy_volume.filter(|part| !is_part(*part, self.volume)) {
            let fault = Fault::MoreThanWhole { whole: "volume", limit: self.volume };
            return InvalidCandle::new("taker_buy_volume", part, fault);
        }
        let part = self.taker_buy_quote_volume.unwrap_or(f64::NAN);
        let fault = Fault::MoreThanWhole { whole: "quote_volume", limit: self.quote_volume };
        InvalidCandle::new("taker_buy_quote_volume", part, fault)
    }
}

/// Part of a whole may be larger by this much of it: real files hold sums of decimals, where a
/// minute bought by takers alone has 463.68016 of 463.68015999999994.
const ROUNDING: f64 = 1e-9;

#[inline]
fn is_part(part: f64, whole: f64) -> bool {
    part <= whole * (1.0 + ROUNDING)
}

/// What is wrong with a number that should be a price (above 0) or an amount.
pub(crate) fn fault_of_number(value: f64, price: bool) -> Option<Fault> {
    if !value.is_finite() {
        Some(Fault::NotFinite)
    } else if price && value <= 0.0 {
        Some(Fault::NotPositive)
    } else if value < 0.0 {
        Some(Fault::Negative)
    } else if !is_amount(value) {
        Some(Fault::OutsideMagnitude)
    } else {
        None
    }
}

/// Checks a symbol: 1 to 64 bytes of UTF-8 without control characters.
///
/// # Errors
/// What is wrong with it.
pub fn validate_symbol(symbol: &str) -> Result<(), InvalidCandle> {
    let fault = if symbol.is_empty() {
        Fault::Empty
    } else if symbol.len() > SYMBOL_BYTES {
        Fault::TooLong { limit: SYMBOL_BYTES }
    } else if symbol.chars().any(char::is_control) {
        Fault::ControlCharacter
    } else {
        return Ok(());
    };
    Err(InvalidCandle { field: "symbol", value: Value::Text(symbol.to_owned()), fault })
}

/// A candle that cannot be, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} = {value} {fault}")]
pub struct InvalidCandle {
    /// The first field that is wrong.
    pub field: &'static str,
    /// Its value.
    pub value: Value,
    /// What is wrong with it.
    pub fault: Fault,
}

impl InvalidCandle {
    /// An error about `field`.
    pub fn new(field: &'static str, value: impl Into<Value>, fault: Fault) -> Self {
        Self { field, value: value.into(), fault }
    }
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Missing,
    /// A whole number.
    Integer(i64),
    /// A whole number too large for any time.
    Unsigned(u64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("nothing"),
            Self::Integer(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

/// What can be wrong with a field of a candle.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A required value is not there.
    #[error("is required")]
    Missing,
    /// A value of another type than the field's.
    #[error("is not {expected}")]
    WrongType {
        /// What the field takes.
        expected: &'static str,
    },
    /// NaN or infinite.
    #[error("is not a finite number")]
    NotFinite,
    /// A price of 0 or less.
    #[error("is not above 0")]
    NotPositive,
    /// A negative amount.
    #[error("is negative")]
    Negative,
    /// Too small or too large to be a price or an amount.
    #[error("is neither 0 nor between 1e-30 and 1e30")]
    OutsideMagnitude,
    /// A high below the low.
    #[error("is below low = {low:?}")]
    BelowLow {
        /// The candle's low.
        low: f64,
    },
    /// Open or close outside of low to high.
    #[error("is outside of low = {low:?} to high = {high:?}")]
    OutsideRange {
        /// The candle's low.
        low: f64,
        /// The candle's high.
        high: f64,
    },
    /// A taker volume above the volume it is part of.
    #[error("is more than {whole} = {limit:?}")]
    MoreThanWhole {
        /// The field it is part of.
        whole: &'static str,
        /// That field's value.
        limit: f64,
    },
    /// Not at the start of a minute.
    #[error("is not the start of a minute (a multiple of 60000 ms)")]
    Misaligned,
    /// Not at the start of a bar.
    #[error("is not the start of a bar of {minutes} minutes (UTC, since the epoch)")]
    MisalignedBar {
        /// Length of the bar.
        minutes: usize,
    },
    /// Not in the years 2009 to 2100.
    #[error(
        "is not in the years 2009 to 2100: give milliseconds since 1970, UTC (not seconds or microseconds)"
    )]
    OutsideYears,
    /// An update of the running minute without the time it was made.
    #[error("is required for an open candle when evaluate=\"update\"")]
    NoEventTime,
    /// A source nobody knows.
    #[error("is no source: use stream, rest, archive or synthetic")]
    UnknownSource,
    /// A state alerts do not have.
    #[error("is no state of an alert: use confirmed, provisional or withdrawn")]
    UnknownState,
    /// A symbol without characters.
    #[error("is empty")]
    Empty,
    /// A symbol that is too long.
    #[error("is longer than {limit} bytes")]
    TooLong {
        /// The longest that is accepted.
        limit: usize,
    },
    /// A symbol with control characters.
    #[error("contains a control character")]
    ControlCharacter,
}
