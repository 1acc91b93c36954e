//! What the market says about one symbol beside its liquidations: price, open interest, funding.
//!
//! Venues measure open interest in different units and come and go, so levels are never added up:
//! each venue is compared with itself five minutes ago, and the mean of those changes is taken. A
//! venue that has not spoken for two minutes says nothing.

use crate::event::{Body, Event, VENUE_COUNT};
use crate::quote::{Quote, price};
use crate::time::{NS_PER_S, Nanos};

/// Length of one sample of open interest, ns.
const SAMPLE_NS: u64 = 20 * NS_PER_S;
/// Samples kept: those of five minutes, and the one that is filling.
const SAMPLES: usize = 16;
/// Samples that make five minutes.
const BACK: u64 = SAMPLES as u64 - 1;
/// A venue silent for longer than this many samples says nothing.
const STALE: u64 = 6;

/// What is known of one symbol.
#[derive(Clone, Debug, Default)]
pub struct Quotes {
    /// Its price.
    pub quote: Quote,
    /// Mean over venues of the relative change of open interest over 5 min.
    pub oi_change: Option<f64>,
    /// Mean over venues of the latest funding rate.
    pub funding: Option<f64>,
    rates: [Option<f64>; VENUE_COUNT],
    interest: [Track; VENUE_COUNT],
}

impl Quotes {
    /// Takes what the event says, if it says anything of these.
    pub fn take(&mut self, event: &Event) {
        let venue = event.venue.index();
        match event.body {
            Body::Funding { rate, .. } if rate.is_finite() => {
                self.rates[venue] = Some(rate);
                self.funding = mean(self.rates.iter().copied());
            }
            Body::OpenInterest { base, usd } => {
                let level = base.map(|base| base.get()).or(usd.map(|usd| usd.dollars()));
                if let Some(level) = level {
                    self.interest[venue].put(event.at(), level, base.is_some());
                    self.refresh(event.received);
                }
            }
            ref body => {
                if let Some(price) = price(body) {
                    self.quote.tell(price, event.received);
                }
            }
        }
    }

    /// Looks again at what changes with time alone.
    pub fn refresh(&mut self, now: Nanos) {
        let slot = now.0 / SAMPLE_NS;
        self.oi_change = mean(self.interest.iter().map(|track| track.change(slot)));
    }
}

/// The mean of those that are there.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, n) = values.flatten().fold((0.0, 0.0), |(sum, n), one| (sum + one, n + 1.0));
    (n > 0.0).then(|| sum / n)
}

/// Open interest of one venue over time.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    samples: [f32; SAMPLES],
    /// The sample that is filling; 0 before the first.
    head: u64,
    first: u64,
    in_base: bool,
}

impl Track {
    #[expect(clippy::cast_possible_truncation, reason = "a relative change needs no more")]
    fn put(&mut self, at: Nanos, level: f64, in_base: bool) {
        let slot = at.0 / SAMPLE_NS;
        if slot > self.head + BACK || in_base != self.in_base {
            *self = Self { first: slot, head: slot, in_base, ..Self::default() };
        }
        let last = self.samples[index(self.head)];
        for missed in self.head + 1..slot {
            self.samples[index(missed)] = last;
        }
        if slot >= self.head {
            self.head = slot;
            self.samples[index(slot)] = level as f32;
        }
    }

    /// Relative change since five minutes before sample `now`.
    fn change(&self, now: u64) -> Option<f64> {
        let then = now.checked_sub(BACK)?;
        if self.head == 0 || now > self.head + STALE || then < self.first {
            return None;
        }
        let before = f64::from(self.samples[index(then)]);
        (before > 0.0).then(|| f64::from(self.samples[index(self.head)]) / before - 1.0)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below the number of samples")]
fn index(slot: u64) -> usize {
    (slot % SAMPLES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Quantity, Venue};
    use crate::symbol::Symbol;

    fn interest(second: u64, venue: Venue, base: f64) -> Event {
        let mut event = Event::tick(Nanos(1_000 * SAMPLE_NS + second * NS_PER_S));
        event.symbol = Symbol::BTC;
        event.venue = venue;
        event.body = Body::OpenInterest { base: Quantity::new(base), usd: None };
        event
    }

    #[test]
    fn open_interest_is_compared_with_itself_five_minutes_ago() {
        let mut quotes = Quotes::default();
        for second in (0..=300).step_by(10) {
            quotes.take(&interest(second, Venue::Okx, 1_000.0 - second as f64 / 10.0));
            assert_eq!(quotes.oi_change.is_some(), second >= 300, "{second}");
        }
        // The sample five minutes back was last written at second 10.
        let change = quotes.oi_change.unwrap();
        assert!((change - (970.0 / 999.0 - 1.0)).abs() < 1e-6, "{change}");
    }

    #[test]
    fn a_venue_that_appears_is_no_change() {
        let mut quotes = Quotes::default();
        for second in (0..=300).step_by(10) {
            quotes.take(&interest(second, Venue::Okx, 1_000.0));
        }
        quotes.take(&interest(300, Venue::Bybit, 5_000.0));
        assert_eq!(quotes.oi_change, Some(0.0));
    }

    #[test]
    fn a_silent_venue_says_nothing() {
        let mut quotes = Quotes::default();
        for second in (0..=300).step_by(10) {
            quotes.take(&interest(second, Venue::Okx, 1_000.0));
        }
        quotes.refresh(Nanos(1_000 * SAMPLE_NS + 600 * NS_PER_S));
        assert_eq!(quotes.oi_change, None);
    }
}
