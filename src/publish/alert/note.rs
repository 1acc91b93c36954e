//! One piece of news for people, and how it is said.

use std::fmt;

use super::receipt::Id;
use crate::event::{FeedState, Venue};
use crate::publish::console::Clock;
use crate::publish::explain::Sentence;
use crate::signal::{Level, Report};
use crate::time::Millis;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum News {
    /// A signal at or above the channel's level.
    Signal(Report),
    /// The first signal below it again.
    Calm(Report),
    /// A feed's line has not been heard for a while; the code is an HTTP status or 0.
    Silent(Venue, u8, FeedState, u16),
    /// It is heard again.
    Heard(Venue, u8, FeedState),
    /// Redis has not taken anything for a while.
    RedisDown,
    /// It takes what it is given again.
    RedisUp,
    /// Somebody wants to see whether alerts arrive.
    Test,
}

/// A piece of news and when it happened, wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// The run it is of.
    pub run: u64,
    /// When.
    pub at: Millis,
    /// What.
    pub news: News,
}

impl Note {
    /// Run and number of the signal it is about; zeros where it is about none.
    #[must_use]
    pub fn id(&self) -> Id {
        match &self.news {
            News::Signal(report) | News::Calm(report) => (self.run, report.seq),
            _ => Id::default(),
        }
    }

    /// The word that counts of such news go by.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.news {
            News::Signal(report) => report.level.name(),
            News::Calm(_) => "calm again",
            News::Silent(..) => "feed silent",
            News::Heard(..) => "feed heard again",
            News::RedisDown => "Redis down",
            News::RedisUp => "Redis up again",
            News::Test => "test",
        }
    }

    /// How much it deserves one of the few lines of a message.
    #[must_use]
    pub fn weight(&self) -> u8 {
        match &self.news {
            News::Signal(report) => report.level as u8,
            News::Silent(..) | News::RedisDown | News::Test => Level::Critical as u8,
            News::Heard(..) | News::RedisUp => Level::Watch as u8,
            News::Calm(_) => Level::None as u8,
        }
    }
}

/// `ALERT 64 % BTCUSDT HIGH 61/100: ... (12:00:00.123 UTC)`. Every word is ours but the symbol, which
/// holds no control character, space or quote (see [`crate::symbol`]).
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.news {
            News::Signal(report) => said(report, "", f)?,
            News::Calm(report) => said(report, "calm again: ", f)?,
            News::Silent(venue, line, state, code) => {
                write!(f, "feed {} line {line}: {}", venue.name(), state.name())?;
                if *code > 0 {
                    write!(f, "({code})")?;
                }
                f.write_str("; its liquidations are not heard")?;
            }
            News::Heard(venue, line, state) => {
                write!(f, "feed {} line {line}: {} again", venue.name(), state.name())?;
            }
            News::RedisDown => f.write_str("Redis takes no signals; they are kept")?,
            News::RedisUp => f.write_str("Redis takes signals again")?,
            News::Test => f.write_str("test: foreshock can reach you here")?,
        }
        write!(f, " ({} UTC)", Clock(self.at))
    }
}

fn said(report: &Report, mark: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let percent = report.probability * 100.0;
    let (level, symbol) = (report.level.name(), report.symbol);
    write!(f, "{mark}{level} {percent:.0} % {symbol} {}", Sentence(report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::explain::tests::sample;

    fn text(news: News) -> String {
        Note { run: 7, at: Millis(1_760_130_000_000), news }.to_string()
    }

    #[test]
    fn each_piece_of_news_is_one_line_that_says_when() {
        let signal = text(News::Signal(sample(1)));
        assert!(signal.starts_with("ALERT 64 % BTCUSDT HIGH 61/100: velocity"), "{signal}");
        assert!(signal.ends_with("3 of 4 venues live (21:00:00.000 UTC)"), "{signal}");
        let silent = text(News::Silent(Venue::Okx, 2, FeedState::Blocked, 451));
        assert!(silent.starts_with("feed okx line 2: blocked(451); its"), "{silent}");
        for news in [News::Calm(sample(2)), News::RedisDown, News::RedisUp, News::Test] {
            assert!(text(news).chars().all(|c| !c.is_control()));
        }
    }
}
