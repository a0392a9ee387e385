//! Minutes, windows and their names. Every instant is milliseconds since the Unix epoch, UTC.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Length of a minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;

/// First millisecond of the year 2009, the earliest time a candle may have.
pub const EARLIEST_MS: i64 = 1_230_768_000_000;

/// First millisecond of the year 2101: times must be smaller.
pub const LATEST_MS: i64 = 4_133_980_800_000;

/// Minutes a symbol's ring holds: one day, the longest window.
pub const RING_MINUTES: usize = 1440;

/// A minute, counted from the Unix epoch (`open_time / 60_000`).
pub type Minute = i64;

/// Whether `ms` lies in the years 2009 to 2100.
#[inline]
#[must_use]
pub const fn in_range(ms: i64) -> bool {
    EARLIEST_MS <= ms && ms < LATEST_MS
}

/// The time at which `minute` opens, in ms.
#[inline]
#[must_use]
pub const fn open_time(minute: Minute) -> i64 {
    minute * MINUTE_MS
}

/// The time at which `minute` closes (the next one opens), in ms.
#[inline]
#[must_use]
pub const fn close_time(minute: Minute) -> i64 {
    (minute + 1) * MINUTE_MS
}

/// A sliding window's length in whole minutes, 1 to 1440.
///
/// Its name is the shortest of `Nm`, `Nh` and `1d`: sixty minutes are `1h`, ninety are `90m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Window(u16);

/// The six windows every engine follows; also the lengths of the bars indicators are computed on.
pub const TIMEFRAMES: [Window; 6] =
    [Window(5), Window(15), Window(60), Window(240), Window(480), Window(1440)];

/// A window's length or name that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no window: write whole minutes, hours or a day from 1m to 1d, such as 10m, 4h or 1d"
)]
pub struct InvalidWindow {
    /// What was given.
    pub given: String,
}

impl Window {
    /// A window of `minutes`.
    ///
    /// # Errors
    /// When `minutes` is not in 1 to 1440.
    pub fn new(minutes: i64) -> Result<Self, InvalidWindow> {
        match u16::try_from(minutes) {
            Ok(length) if (1..=RING_MINUTES).contains(&usize::from(length)) => Ok(Self(length)),
            _ => Err(InvalidWindow { given: minutes.to_string() }),
        }
    }

    /// The window called `name` (`5m`, `60m`, `1h`, `24h`, `1d`).
    ///
    /// # Errors
    /// When the name is not a whole number followed by `m`, `h` or `d`, or names no window.
    pub fn parse(name: &str) -> Result<Self, InvalidWindow> {
        let invalid = || InvalidWindow { given: name.to_owned() };
        let unit = match name.as_bytes().last() {
            Some(b'm') => 1,
            Some(b'h') => 60,
            Some(b'd') => 1440,
            _ => return Err(invalid()),
        };
        let digits = &name[..name.len() - 1];
        let plain = digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
        let count = digits.parse::<i64>().ok().filter(|_| plain).ok_or_else(invalid)?;
        Self::new(count * unit).map_err(|_| invalid())
    }

    /// Length in minutes.
    #[inline]
    #[must_use]
    pub const fn minutes(self) -> usize {
        self.0 as usize
    }

    /// Length in minutes, as a distance between [`Minute`]s.
    #[inline]
    #[must_use]
    pub const fn span(self) -> Minute {
        self.0 as Minute
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1440 => f.write_str("1d"),
            hours if hours % 60 == 0 => write!(f, "{}h", hours / 60),
            minutes => write!(f, "{minutes}m"),
        }
    }
}

impl TryFrom<u16> for Window {
    type Error = InvalidWindow;

    fn try_from(minutes: u16) -> Result<Self, InvalidWindow> {
        Self::new(i64::from(minutes))
    }
}

impl From<Window> for u16 {
    fn from(window: Window) -> Self {
        window.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_canonical_and_read_back() {
        for minutes in 1..=1440 {
            let window = Window::new(minutes).unwrap();
            assert_eq!(Window::parse(&window.to_string()).unwrap(), window);
        }
        assert_eq!(Window::parse("60m").unwrap().to_string(), "1h");
        assert_eq!(Window::parse("24h").unwrap().to_string(), "1d");
        assert_eq!(Window::parse("90m").unwrap().to_string(), "90m");
        assert_eq!(TIMEFRAMES.map(|w| w.to_string()), ["5m", "15m", "1h", "4h", "8h", "1d"]);
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for name in [
            "",
            "m",
            "0m",
            "1441m",
            "25h",
            "2d",
            "5",
            "5s",
            "-5m",
            "+5m",
            "5.0m",
            "5 m",
            "99999999999999999999m",
            "é",
        ] {
            assert!(Window::parse(name).is_err(), "{name}");
        }
        assert!(Window::new(0).is_err() && Window::new(1441).is_err() && Window::new(-1).is_err());
    }
}
