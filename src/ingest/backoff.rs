//! When to call again: one line's growing waits, and what all lines of a venue may do together.
//!
//! ```text
//! wait = 0, then uniform in [1 s, min(30 s, 2^failures s)]     starts over after 60 s of data
//! ```
//!
//! The waits are random so that many clients of one venue do not come back together.

use std::collections::VecDeque;

use crate::time::{NS_PER_S, Nanos};

/// Longest wait between two attempts.
pub const WAIT_MAX: u64 = 30 * NS_PER_S;
/// A connection that gave data for this long starts the waits over.
pub const PROVEN: u64 = 60 * NS_PER_S;

/// The waits of one line.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    seed: u64,
}

impl Backoff {
    /// The first wait is none. Lines differ by `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, seed }
    }

    /// A connection gave data for `ns`.
    pub fn lived(&mut self, ns: u64) {
        if ns >= PROVEN {
            self.failures = 0;
        }
    }

    /// The wait before the next attempt, ns. The time it is asked at makes two runs differ.
    pub fn next(&mut self, now: Nanos) -> u64 {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return 0;
        }
        let most = WAIT_MAX.min(NS_PER_S << failures.min(5));
        NS_PER_S + mixed(self.seed ^ now.0) % (most - NS_PER_S + 1)
    }
}

/// One step of splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Connections of all lines of one venue: at most so many in such a time. OKX allows three a second,
/// Hyperliquid thirty a minute, Bybit a hundred.
const LIMITS: [(usize, u64); 2] = [(3, NS_PER_S), (20, 60 * NS_PER_S)];
const REMEMBERED: usize = 20;

/// When the lines of one venue connected lately.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    recent: VecDeque<Nanos>,
}

impl Pace {
    /// Takes a place for a connection now.
    ///
    /// # Errors
    /// Gives the time at which there will be one.
    pub fn ask(&mut self, now: Nanos) -> Result<(), Nanos> {
        let taken = |&(most, within): &(usize, u64)| {
            let nth = self.recent.len().checked_sub(most)?;
            self.recent.get(nth).map(|at| at.plus(within)).filter(|free| *free > now)
        };
        if let Some(free) = LIMITS.iter().filter_map(taken).max() {
            return Err(free);
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_at_once_and_the_others_wait() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            assert_eq!(backoff.next(Nanos(seed)), 0);
            let waits: Vec<u64> = (0..12).map(|i| backoff.next(Nanos(i))).collect();
            assert!(waits.iter().all(|w| (NS_PER_S..=WAIT_MAX).contains(w)), "{waits:?}");
            assert!(waits.first().is_some_and(|&w| w <= 2 * NS_PER_S), "{waits:?}");
        }
    }

    #[test]
    fn only_a_proven_connection_starts_the_waits_over() {
        let mut backoff = Backoff::new(7);
        backoff.next(Nanos(0));
        backoff.lived(PROVEN - 1);
        assert!(backoff.next(Nanos(0)) >= NS_PER_S);
        backoff.lived(PROVEN);
        assert_eq!(backoff.next(Nanos(0)), 0);
    }

    #[test]
    fn a_venue_is_called_three_times_a_second_and_twenty_times_a_minute() {
        let mut pace = Pace::default();
        let (mut granted, mut now) = (Vec::new(), Nanos(5));
        while now < Nanos(300 * NS_PER_S) {
            match pace.ask(now) {
                Ok(()) => granted.push(now),
                Err(free) => {
                    assert!(free > now && free.since(now) <= 60 * NS_PER_S);
                    now = free;
                }
            }
        }
        let within =
            |most: usize, span| granted.windows(most + 1).all(|w| w[most].since(w[0]) >= span);
        assert!(within(3, NS_PER_S) && within(20, 60 * NS_PER_S));
        assert_eq!(granted.len(), 100);
    }
}
