//! What the page tells, as it is read here: see `publish::page::view` for who tells it.
//!
//! What a frame does not hold is `None`. Numbers that are none, and lists longer than anybody sends, are
//! left out: what comes may come from a stranger.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::link::Trouble;
use crate::publish::page::{Feed, PERCENTILES};

/// Where a page tells what has changed, four times a second; with every symbol there is.
pub const STREAM: &str = "/events?list=512";
/// The most there can be of anything in a frame.
const MOST: usize = 4_096;
/// Longest text that outlives its frame, characters; a sentence about a signal has two hundred.
const LONGEST: usize = 400;

/// One frame.
#[derive(Clone, Debug, Deserialize)]
pub struct Frame {
    /// The run's number: when it was started, wall clock ms.
    pub run: i64,
    /// The program's version.
    pub version: String,
    /// Stands at the top.
    #[serde(default)]
    pub mark: String,
    /// There and then, wall clock ms.
    pub now: i64,
    /// Age of the last tick that came through, ms.
    pub age: Option<u64>,
    /// Nothing comes through.
    pub still: bool,
    /// The whole market.
    pub market: Option<State>,
    /// Its past, where it was not told before.
    #[serde(default)]
    pub past: Past,
    /// Liquidations that were not told before, oldest first.
    #[serde(default)]
    pub tape: Vec<Liquidation>,
    /// Signals that were not told before, oldest first.
    #[serde(default)]
    pub signals: Vec<Signal>,
    /// What is told once a second.
    #[serde(skip)]
    pub slow: Option<Slow>,
    /// Stands only where that is told.
    health: Option<IgnoredAny>,
}

/// What is told once a second.
#[derive(Clone, Debug, Deserialize)]
pub struct Slow {
    /// Symbols.
    pub list: Vec<Listed>,
    /// Feeds; `None` when it is not known how they are.
    pub feeds: Option<Vec<Feed>>,
    /// Whether it can be relied on.
    pub health: Health,
    /// What is the matter with Redis.
    pub redis: Option<String>,
    /// Latency of each stage, lately.
    pub latency: Vec<Curve>,
    /// What was counted.
    pub counts: Vec<(String, u64)>,
}

/// The whole market as it is.
#[derive(Clone, Debug, Deserialize)]
pub struct State {
    /// Liquidations per second.
    pub velocity: Option<f64>,
    /// Per second squared.
    pub acceleration: Option<f64>,
    /// Per second cubed.
    pub jerk: Option<f64>,
    /// 0..100.
    pub risk: Option<f64>,
    /// Its word.
    pub risk_level: String,
    /// How bad it is, in a word.
    pub level: String,
    /// 0..1.
    pub probability: Option<f64>,
    /// USD; that of BTC.
    pub price: Option<f64>,
    /// USD in 60 s.
    pub usd_60s: Option<f64>,
    /// -1 (all shorts) to 1 (all longs).
    pub imbalance: Option<f64>,
    /// Events are missing.
    pub gap: bool,
    /// How the market is, in a word.
    pub regime: String,
}

/// Symbol, level, risk, velocity, USD in 60 s, acceleration, jerk, price. Runs of an older version stop
/// behind the money.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed(
    pub String,
    pub String,
    pub Option<f64>,
    pub Option<f64>,
    pub Option<f64>,
    #[serde(default)] pub Option<f64>,
    #[serde(default)] pub Option<f64>,
    #[serde(default)] pub Option<f64>,
);

/// The past in columns, as far as it is shown here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Past {
    /// Wall clock ms.
    pub t: Vec<i64>,
    /// Velocity.
    pub v: Vec<Option<f64>>,
}

/// A liquidation.
#[derive(Clone, Debug, Deserialize)]
pub struct Liquidation {
    /// Wall clock ms.
    pub at: i64,
    /// Which market.
    pub symbol: String,
    /// Where.
    pub venue: String,
    /// `long` or `short`, where it is told.
    pub side: Option<String>,
    /// USD for one.
    pub price: Option<f64>,
    /// USD.
    pub usd: Option<f64>,
}

/// A change of level.
#[derive(Clone, Debug, Deserialize)]
pub struct Signal {
    /// Wall clock ms.
    pub at: i64,
    /// Which market.
    pub symbol: String,
    /// To which level.
    pub level: String,
    /// 0..1.
    pub probability: Option<f64>,
    /// Why, in a sentence.
    pub why: String,
}

/// Whether what is told can be relied on.
#[derive(Clone, Debug, Deserialize)]
pub struct Health {
    /// Enough venues are heard.
    pub ready: bool,
    /// What does not move.
    pub stuck: Vec<String>,
    /// Venues that are to be heard.
    pub venues: u32,
    /// Those that are.
    pub heard: u32,
    /// Those that sent data within seconds.
    pub fresh: u32,
    /// Those that must be heard.
    pub needed: u32,
    /// Those that are not heard.
    pub deaf: Vec<String>,
}

/// Latency of one stage.
#[derive(Clone, Debug, Deserialize)]
pub struct Curve {
    /// Its name.
    pub stage: String,
    /// Measured so often.
    pub count: u64,
    /// At the percentiles of the page, ns.
    pub ns: Vec<u64>,
}

impl Curve {
    /// The latency at a percentile, ns; `None` where nothing was measured.
    #[must_use]
    pub fn at(&self, percentile: f64) -> Option<u64> {
        let place = PERCENTILES.iter().position(|p| (p - percentile).abs() < 1e-9)?;
        self.ns.get(place).copied().filter(|_| self.count > 0)
    }
}

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(json: &str) -> Result<Self, Trouble> {
        let none = |e: serde_json::Error| Trouble::Stranger(format!("no frame: {e}"));
        let mut frame: Self = serde_json::from_str(json).map_err(none)?;
        newest(&mut frame.tape);
        newest(&mut frame.signals);
        for one in &mut frame.tape {
            [&mut one.symbol, &mut one.venue].into_iter().for_each(cut);
            one.side.iter_mut().for_each(cut);
        }
        for one in &mut frame.signals {
            [&mut one.symbol, &mut one.level, &mut one.why].into_iter().for_each(cut);
        }
        [&mut frame.version, &mut frame.mark].into_iter().for_each(cut);
        newest(&mut frame.past.t);
        newest(&mut frame.past.v);
        if frame.health.is_some() {
            let mut slow: Slow = serde_json::from_str(json).map_err(none)?;
            slow.list.truncate(MOST);
            slow.latency.truncate(MOST);
            slow.counts.truncate(MOST);
            slow.feeds.iter_mut().for_each(|feeds| feeds.truncate(MOST));
            frame.slow = Some(slow);
        }
        Ok(frame)
    }
}

fn cut(text: &mut String) {
    if text.len() > LONGEST {
        // A new one: the old would keep its room.
        *text = text.chars().take(LONGEST).collect();
    }
}

fn newest<T>(list: &mut Vec<T>) {
    list.drain(..list.len().saturating_sub(MOST));
}

#[cfg(test)]
mod tests {
    use super::super::draw::tests::frame;
    use super::*;

    #[test]
    fn a_frame_is_read_with_and_without_what_is_told_once_a_second() {
        let read = Frame::read(&frame().to_string()).unwrap();
        let slow = read.slow.unwrap();
        assert_eq!(
            (slow.list.len(), slow.health.heard, slow.latency.first().and_then(|c| c.at(99.0))),
            (41, 1, Some(121_599))
        );
        let mut quick = frame();
        quick.as_object_mut().unwrap().remove("health");
        assert!(Frame::read(&quick.to_string()).unwrap().slow.is_none());
    }

    #[test]
    fn what_is_told_wrongly_is_named_and_not_left_out() {
        let mut wrong = frame();
        wrong["counts"] = "many".into();
        let Err(Trouble::Stranger(why)) = Frame::read(&wrong.to_string()) else {
            panic!("it was read")
        };
        assert!(why.contains("many"), "{why}");
        assert!(
            Frame::read("{}").is_err() && Frame::read("[1]").is_err() && Frame::read("").is_err()
        );
        assert!(Frame::read(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn what_nobody_knows_stays_unknown() {
        let mut empty = frame();
        empty["list"] = serde_json::json!([["A", "NONE", null, 1.0, 2.0]]);
        empty["market"]["velocity"] = serde_json::Value::Null;
        let read = Frame::read(&empty.to_string()).unwrap();
        let slow = read.slow.unwrap();
        let Listed(_, _, risk, velocity, _, acceleration, _, price) = slow.list.first().unwrap();
        assert_eq!([*risk, *velocity, *acceleration, *price], [None, Some(1.0), None, None]);
        assert_eq!(read.market.unwrap().velocity, None);
        let curve = Curve { stage: String::new(), count: 0, ns: vec![0; 13] };
        assert_eq!((curve.at(50.0), curve.at(51.0)), (None, None));
    }

    #[test]
    fn no_text_that_is_kept_is_longer_than_anybody_writes() {
        let mut long = frame();
        let text = "币".repeat(100_000);
        for (list, key) in [
            ("tape", "symbol"),
            ("tape", "venue"),
            ("tape", "side"),
            ("signals", "symbol"),
            ("signals", "level"),
            ("signals", "why"),
        ] {
            long[list][0][key] = text.clone().into();
        }
        let read = Frame::read(&long.to_string()).unwrap();
        let (one, signal) = (read.tape.first().unwrap(), read.signals.first().unwrap());
        for text in [
            &one.symbol,
            &one.venue,
            one.side.as_ref().unwrap(),
            &signal.symbol,
            &signal.level,
            &signal.why,
        ] {
            assert!(
                text.capacity() <= 4 * LONGEST && text.starts_with('币'),
                "{}",
                text.capacity()
            );
        }
    }

    #[test]
    fn no_list_is_longer_than_anybody_sends() {
        let mut long = frame();
        let one = long["tape"][0].clone();
        long["tape"] = vec![one; MOST + 10].into();
        long["counts"] = vec![serde_json::json!(["x", 1]); MOST + 10].into();
        let read = Frame::read(&long.to_string()).unwrap();
        assert_eq!((read.tape.len(), read.slow.unwrap().counts.len()), (MOST, MOST));
    }
}
