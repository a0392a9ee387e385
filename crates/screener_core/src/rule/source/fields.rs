//! What single fields of a rule may hold: lengths of time, moments, patterns of symbols.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};

/// Longest cooldown or repeat, ms: a year.
pub(super) const LONGEST: i64 = 366 * 86_400_000;

/// Units of lengths of time, the longest first.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Milliseconds of a length such as `5m`.
pub(super) fn read_length(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let (_, ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    count.parse::<i64>().ok()?.checked_mul(ms)
}

/// A length as it is written: in the longest unit that makes it whole.
pub(super) fn write_length(ms: i64) -> String {
    let whole = UNITS.into_iter().find(|(_, length)| ms > 0 && ms % length == 0);
    whole.map_or_else(|| format!("{ms}ms"), |(unit, length)| format!("{}{unit}", ms / length))
}

/// What may have been meant by something that is no length: `5 min` is `5m`.
pub(super) fn nearest_length(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let unit = match unit.trim().chars().next()? {
        'd' => "d",
        'h' => "h",
        'm' if unit.trim().starts_with("mil") => "ms",
        'm' => "m",
        's' => "s",
        _ => return None,
    };
    let count: u32 = count.parse().ok()?;
    Some(format!("{count}{unit}"))
}

/// Milliseconds of a moment: RFC 3339, or a date or time of UTC.
pub(super) fn read_moment(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.timestamp_millis());
    }
    let separated = text.replacen(' ', "T", 1);
    let time = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .into_iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&separated, format).ok());
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    Some(time.or_else(date)?.and_utc().timestamp_millis())
}

/// A moment as TOML has it.
pub(super) fn write_moment(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map(|moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .unwrap_or_default()
}

/// Symbols by name, with `*` for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Longest pattern in bytes.
    const LONGEST: usize = 64;

    /// The pattern as written; `None` for one that no symbol can have.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= Self::LONGEST
            && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        fits.then(|| Self(text.into()))
    }

    /// Whether it means `symbol`.
    #[must_use]
    pub fn matches(&self, symbol: &str) -> bool {
        let (pattern, symbol): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), symbol.chars().collect());
        let (mut at, mut next) = (0, 0);
        // Where the last star stands, and what it has swallowed up to.
        let mut star: Option<(usize, usize)> = None;
        while next < symbol.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, next));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == symbol[next] => {
                    at += 1;
                    next += 1;
                }
                _ => {
                    let Some((place, swallowed)) = star else { return false };
                    star = Some((place, swallowed + 1));
                    (at, next) = (place + 1, swallowed + 1);
                }
            }
        }
        pattern[at..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_back() {
        for text in ["0ms", "1ms", "1500ms", "90s", "5m", "4h", "366d"] {
            assert_eq!(write_length(read_length(text).unwrap()), text);
        }
        for text in ["", "5", "m", "5 m", "-5m", "5M", "1.5m", "99999999999999999999m"] {
            assert_eq!(read_length(text), None, "{text}");
        }
        for (text, meant) in [("5 min", "5m"), ("3H", "3h"), ("2 days", "2d"), ("7 millis", "7ms")]
        {
            assert_eq!(nearest_length(text).as_deref(), Some(meant));
        }
        assert_eq!(nearest_length("soon"), None);
    }

    #[test]
    fn moments_read_back() {
        for (text, ms) in [
            ("2026-11-27", 1_795_737_600_000),
            ("2026-11-27T12:00:00Z", 1_795_780_800_000),
            ("2026-11-27T14:00:00+02:00", 1_795_780_800_000),
            ("2026-11-27 12:00", 1_795_780_800_000),
        ] {
            assert_eq!(read_moment(text), Some(ms), "{text}");
            assert_eq!(read_moment(&write_moment(ms)), Some(ms));
        }
        for text in ["", "tomorrow", "2026-13-01", "27.11.2026", "12:00:00"] {
            assert_eq!(read_moment(text), None, "{text}");
        }
    }

    #[test]
    fn patterns() {
        let matches = |pattern: &str, symbol: &str| Pattern::new(pattern).unwrap().matches(symbol);
        assert!(matches("BTCUSDT", "BTCUSDT") && !matches("BTCUSDT", "BTCUSDC"));
        assert!(matches("*", "X") && matches("1000*USDT", "1000PEPEUSDT"));
        assert!(matches("*U*T", "BUUTUT") && !matches("*U*T", "BUUTUX"));
        assert!(matches("BTC????", "BTCUSDT") && !matches("BTC???", "BTCUSDT"));
        assert!(matches("币*", "币安人生USDT"));
        assert!(Pattern::new("").is_none() && Pattern::new("A B").is_none());
    }
}
