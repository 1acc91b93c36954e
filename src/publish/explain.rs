//! A signal in one sentence that a person can read.
//!
//! `HIGH 61/100: velocity 7.2/s, acceleration 3.1/s² (4.2 sd) led by bybit; 1.9 M USD in 60 s, 88 %
//! longs; 3 of 4 venues live`. Velocity and acceleration are those of the headline scale, 2 s.

use std::fmt::{self, Write as _};

use crate::signal::{FAST, Report, RiskLevel};

/// Position of 60 s among the windows.
const MINUTE: usize = 5;

/// Writes the sentence.
pub fn explain(report: &Report, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", Sentence(report));
}

/// What a risk level asks for.
#[must_use]
pub fn action(level: RiskLevel) -> &'static str {
    match level {
        RiskLevel::Critical => "URGENT",
        RiskLevel::High => "ALERT",
        RiskLevel::Medium => "MONITOR",
        RiskLevel::Low | RiskLevel::None => "NORMAL",
    }
}

/// The sentence, for use in a format.
#[derive(Debug)]
pub struct Sentence<'a>(pub &'a Report);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        write!(f, "{} {:.0}/100: ", report.risk_level.name(), report.risk)?;
        motion(report, f)?;
        write!(f, "; {} in 60 s", Money(dollars(report.usd[MINUTE])))?;
        sides(report, f)?;
        let (live, expected) = (report.live.count_ones(), report.expected.count_ones());
        write!(f, "; {live} of {expected} venues live")?;
        if report.gap { f.write_str("; events are missing") } else { Ok(()) }
    }
}

fn motion(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "velocity {:.1}/s", report.velocity(FAST))?;
    let fast = &report.fast;
    write!(f, ", acceleration {:.1}/s² ({:.1} sd)", fast.acceleration, fast.acceleration_sd)?;
    match report.leading() {
        Some(venue) => write!(f, " led by {}", venue.name()),
        None => Ok(()),
    }
}

fn sides(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(imbalance) = report.imbalance else { return Ok(()) };
    let longs = (1.0 + imbalance) * 50.0;
    if longs >= 50.0 {
        write!(f, ", {longs:.0} % longs")
    } else {
        write!(f, ", {:.0} % shorts", 100.0 - longs)
    }
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn dollars(micros: u64) -> f64 {
    micros as f64 / crate::event::MICROS_PER_USD
}

/// An amount as people say it: `1.9 M USD`.
struct Money(f64);

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            usd if usd >= 999.95e6 => write!(f, "{:.1} B USD", usd / 1e9),
            usd if usd >= 999.5e3 => write!(f, "{:.1} M USD", usd / 1e6),
            usd if usd >= 1e3 => write!(f, "{:.0} k USD", usd / 1e3),
            usd => write!(f, "{usd:.0} USD"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::Venue;
    use crate::signal::{Kind, Level};
    use crate::symbol::Symbol;
    use crate::time::Nanos;

    /// A signal in the middle of a cascade, for tests of everything that shows one.
    pub(crate) fn sample(seq: u64) -> Report {
        let at = Nanos::from_millis(1_760_130_000_000).plus(seq * 1_000_000);
        let mut report = Report::empty(Symbol::BTC, at);
        report.kind = Kind::Change;
        report.seq = seq;
        report.episode = 1;
        report.cause = 40 + seq;
        report.received = at.minus(300_000);
        report.taken = at.minus(200_000);
        report.counts = [1, 4, 14, 30, 40, 55, 80];
        report.usd = [50_000_000, 1, 2, 3, 4, 1_900_000_000_000, 2_500_000_000_000];
        report.fast.acceleration = 3.12;
        report.fast.acceleration_sd = 4.2;
        report.imbalance = Some(0.76);
        report.factors = [Some(70.0), Some(60.5), None, Some(58.0), None, Some(0.0)];
        report.risk = 61.2;
        report.risk_level = RiskLevel::High;
        report.probability = 0.64;
        report.level = Level::Alert;
        report.by_venue[Venue::Bybit.index()] = 9;
        report.by_venue[Venue::Binance.index()] = 5;
        report.live = Venue::Binance.bit() | Venue::Bybit.bit() | Venue::Okx.bit();
        report.expected = report.live | Venue::Hyperliquid.bit();
        report.coverage = 0.75;
        report.btc_price = Some(112_345.5);
        report
    }

    #[test]
    fn a_signal_is_told_in_a_sentence() {
        let mut text = String::new();
        explain(&sample(1), &mut text);
        assert_eq!(
            text,
            "HIGH 61/100: velocity 7.0/s, acceleration 3.1/s² (4.2 sd) led by bybit; \
             1.9 M USD in 60 s, 88 % longs; 3 of 4 venues live"
        );
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let mut report = Report::empty(Symbol::MARKET, Nanos(0));
        report.gap = true;
        let mut text = String::new();
        explain(&report, &mut text);
        assert!(!text.contains("led by") && !text.contains("longs"), "{text}");
        assert!(text.ends_with("0 of 0 venues live; events are missing"), "{text}");
    }

    #[test]
    fn money_rounds_into_the_next_unit() {
        let texts = [999.0, 999_499.0, 999_500.0, 999_960_000.0].map(|usd| Money(usd).to_string());
        assert_eq!(texts, ["999 USD", "999 k USD", "1.0 M USD", "1.0 B USD"]);
    }
}
