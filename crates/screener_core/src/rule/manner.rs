//! How a rule that holds is told: for how long it has to hold, once or again and again, and when not.

use std::fmt;

use super::expr::Expr;

/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 3_600_000;

const DAY_MINUTES: i64 = 1440;

/// When a rule that holds raises an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// At every moment it holds, `cooldown` apart.
    #[default]
    Cooldown,
    /// Once for each time it begins to hold.
    Edge,
}

impl Trigger {
    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cooldown => "cooldown",
            Self::Edge => "edge",
        }
    }
}

/// How a rule is told; by default whenever it holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manner {
    /// So long it has to have held, at the close of every minute, ms.
    pub hold: i64,
    /// Whether it is told once or whenever it holds.
    pub trigger: Trigger,
    /// With [`Trigger::Edge`]: what ends it, while the rule does not hold; without one, that the
    /// rule does not hold is enough.
    pub clear_when: Option<Expr>,
    /// With [`Trigger::Edge`]: told again after so long if it has not ended, ms.
    pub repeat: Option<i64>,
    /// It is not told from this time on, ms since the epoch.
    pub expires: Option<i64>,
    /// It is not told at these times of day.
    pub quiet_hours: Vec<QuietHours>,
    /// Most alerts of one symbol in any hour.
    pub max_per_hour: Option<u16>,
}

impl Manner {
    /// Whether telling it takes no more than to know when it was told last.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an alert may be told at `time`, ms, as far as the clock is concerned.
    #[must_use]
    pub fn allows(&self, time: i64) -> bool {
        self.expires.is_none_or(|expires| time < expires)
            && !self.quiet_hours.iter().any(|quiet| quiet.includes(time))
    }
}

/// A part of the day, such as `22:00-07:00`; with an offset from UTC, `22:00-07:00+02:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// First minute of the day.
    from: i64,
    /// First minute that is not quiet any more; before `from` it is one of the next day.
    until: i64,
    /// Minutes ahead of UTC.
    offset: i64,
}

impl QuietHours {
    /// Reads `22:00-07:00` or `22:00-07:00+02:00`; `None` for anything else, and for no time at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, rest) = text.split_once('-')?;
        let (until, offset) = match rest.find(['+', '-']) {
            Some(sign) => {
                let minutes = clock(rest.get(sign + 1..)?, 14 * 60)?;
                let ahead = rest.as_bytes().get(sign) == Some(&b'+');
                (rest.get(..sign)?, if ahead { minutes } else { -minutes })
            }
            None => (rest, 0),
        };
        let (from, until) = (clock(from, DAY_MINUTES - 1)?, clock(until, DAY_MINUTES)?);
        (from != until).then_some(Self { from, until, offset })
    }

    /// Whether `time`, ms since the epoch, lies in it.
    #[must_use]
    pub fn includes(self, time: i64) -> bool {
        let minute = (time.div_euclid(60_000) + self.offset).rem_euclid(DAY_MINUTES);
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

/// Minutes of `hh:mm`, at most `most`, with spaces around it.
fn clock(text: &str, most: i64) -> Option<i64> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<i64>().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= most).then_some(total)
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, "{}-{}", clock(self.from), clock(self.until))?;
        if self.offset != 0 {
            let sign = if self.offset < 0 { '-' } else { '+' };
            write!(f, "{sign}{}", clock(self.offset.abs()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_read_back_and_include_what_they_say() {
        for text in ["22:00-07:00", "09:30-24:00", "00:00-06:00+05:30", "22:00-07:00-03:00"] {
            assert_eq!(QuietHours::parse(text).unwrap().to_string(), text);
        }
        let at = |hour: i64, minute: i64| (20_000 * DAY_MINUTES + hour * 60 + minute) * 60_000;
        let night = QuietHours::parse("22:00-07:00").unwrap();
        assert!(night.includes(at(22, 0)) && night.includes(at(6, 59)) && night.includes(at(0, 0)));
        assert!(!night.includes(at(7, 0)) && !night.includes(at(21, 59)));
        let berlin = QuietHours::parse("22:00-07:00+02:00").unwrap();
        assert!(berlin.includes(at(20, 0)) && !berlin.includes(at(5, 0)));
    }

    #[test]
    fn what_are_no_hours() {
        for text in
            ["", "22-7", "22:00", "22:00-22:00", "24:00-07:00", "22:60-07:00", "22:00-07:00+15:00"]
        {
            assert_eq!(QuietHours::parse(text), None, "{text}");
        }
    }
}
