//! Durations that a thread measures for itself, on their way to the log of latencies.
//!
//! What rides in the data needs no tap: the latencies between stamps are subtracted where they are
//! written. A turn's length, an answer of Redis, the time a segment lay in the kernel do not ride in
//! an event. Who measures them holds a [`Tap`], a histogram that is its alone; about once a second it
//! is handed over in a box and an empty one taken back, so that nobody waits and nothing is allocated.

use crossbeam_channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;

use crate::time::{NS_PER_S, Nanos};

/// Longest time told apart, ns; anything longer counts as this.
pub const LONGEST_NS: u64 = 60_000_000_000;
/// Significant digits.
const DIGITS: u8 = 3;

/// A histogram of nanoseconds: 1 ns to 60 s, three digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit, as a test shows")]
    Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("constant bounds")
}

/// A histogram filled on another thread.
#[derive(Debug)]
pub struct Tap {
    histogram: Box<Histogram<u64>>,
    full: Sender<Box<Histogram<u64>>>,
    empty: Receiver<Box<Histogram<u64>>>,
    offered: Nanos,
}

impl Tap {
    /// Counts a duration.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
    }

    /// Hands over what was counted, once a second; call it as often as you like.
    pub fn offer_each_second(&mut self, now: Nanos) {
        if now.since(self.offered) >= NS_PER_S {
            self.offered = now;
            self.offer();
        }
    }

    /// Hands over what was counted, if the last one has come back.
    pub fn offer(&mut self) {
        if self.histogram.is_empty() {
            return;
        }
        if let Ok(blank) = self.empty.try_recv() {
            let full = std::mem::replace(&mut self.histogram, blank);
            let _ = self.full.try_send(full);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.offer();
    }
}

/// The ends of the taps at which the log listens.
#[derive(Debug, Default)]
pub struct Taps(Vec<Ear>);

#[derive(Debug)]
struct Ear {
    name: &'static str,
    full: Receiver<Box<Histogram<u64>>>,
    empty: Sender<Box<Histogram<u64>>>,
}

impl Taps {
    /// A tap for a stage of this name, which must not hold a comma or a space: `turn_engine`.
    pub fn tap(&mut self, name: &'static str) -> Tap {
        let (full, filled) = bounded(2);
        let (back, empty) = bounded(2);
        let _ = back.try_send(Box::new(histogram()));
        self.0.push(Ear { name, full: filled, empty: back });
        Tap { histogram: Box::new(histogram()), full, empty, offered: Nanos::default() }
    }

    /// Gives what was handed over to `put`, tap by tap, and the boxes back.
    ///
    /// # Errors
    /// The first of `put`; what is left is given the next time.
    pub fn drain<E>(
        &self,
        mut put: impl FnMut(&'static str, &Histogram<u64>) -> Result<(), E>,
    ) -> Result<(), E> {
        for ear in &self.0 {
            while let Ok(mut histogram) = ear.full.try_recv() {
                let done = put(ear.name, &histogram);
                histogram.reset();
                let _ = ear.empty.try_send(histogram);
                done?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_fit() {
        let mut histogram = histogram();
        histogram.saturating_record(u64::MAX);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= LONGEST_NS);
    }
}
