//! How far our clock runs ahead of everybody's.
//!
//! Old news is kept out of the rates, and age is told by our own clock. A clock that is a minute ahead
//! would make everything old: every feed connected, every message understood, and nothing counted. What
//! is never late all at once is the whole street, so:
//!
//! ```text
//! lag    our time when a frame came - the newest venue time in it
//! ahead  the least lag of the last minute, when even that is beyond 5 s; else 0
//! ```
//!
//! A backlog after a silence is not believed: it takes ten seconds of frames before anything is said.

use crate::ledger::Ledger;
use crate::time::{NS_PER_S, Nanos};

/// The window has two halves; the older is forgotten when the younger is full.
const HALF_NS: u64 = 30 * NS_PER_S;
/// No venue is later than this as a rule, ms.
const LATE_MS: i64 = 5_000;
/// Frames, and time, before anything is said.
const FRAMES_LEAST: u32 = 20;
const HEARD_LEAST_NS: u64 = 10 * NS_PER_S;

/// The least lag of the last minute.
#[derive(Clone, Debug)]
pub struct Skew {
    /// Of the older and the younger half, ms.
    least: [i64; 2],
    /// When the younger half began, and when frames began to come.
    half: Nanos,
    since: Nanos,
    frames: u32,
    /// The most that was ever said, ms.
    worst: i64,
}

impl Default for Skew {
    fn default() -> Self {
        Self { least: [i64::MAX; 2], half: Nanos(0), since: Nanos(0), frames: 0, worst: 0 }
    }
}

impl Skew {
    /// A frame came with this lag.
    pub fn heard(&mut self, lag_ms: i64, now: Nanos) {
        let passed = now.since(self.half);
        if passed > 2 * HALF_NS {
            *self = Self { half: now, since: now, worst: self.worst, ..Self::default() };
        } else if passed > HALF_NS {
            self.least = [self.least[1], i64::MAX];
            self.half = now;
        }
        self.least[1] = self.least[1].min(lag_ms);
        self.frames = self.frames.saturating_add(1);
    }

    /// How far ahead our clock is, ms; 0 unless it is certain.
    pub fn ahead_ms(&mut self, now: Nanos) -> i64 {
        let heard = self.frames >= FRAMES_LEAST && now.since(self.since) >= HEARD_LEAST_NS;
        let least = self.least[0].min(self.least[1]);
        let ahead = if heard && least > LATE_MS { least } else { 0 };
        self.worst = self.worst.max(ahead);
        ahead
    }

    /// Writes the books: how far ahead it was at worst, where it was.
    pub fn ledger(&self, ledger: &mut Ledger) {
        if let Ok(worst @ 1..) = u64::try_from(self.worst) {
            ledger.add("clock_ahead_ms", worst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One frame each 100 ms; gives the last answer.
    fn after(seconds: u64, lag_ms: impl Fn(u64) -> i64) -> i64 {
        let mut skew = Skew::default();
        let mut ahead = 0;
        for i in 0..seconds * 10 {
            let now = Nanos((1_000 + i) * NS_PER_S / 10);
            skew.heard(lag_ms(i), now);
            ahead = skew.ahead_ms(now);
        }
        ahead
    }

    #[test]
    fn d13_a_clock_that_is_ahead_of_every_frame_is_ahead() {
        assert_eq!(after(60, |i| 3_600_000 + i as i64 % 7), 3_600_000);
        assert_eq!(after(9, |_| 3_600_000), 0, "too early to say");
        assert_eq!(after(200, |i| if i < 1_000 { 0 } else { 9_000 }), 9_000, "it was set forward");
        assert_eq!(after(200, |i| if i < 1_000 { 9_000 } else { 30 }), 0, "it was set right");
    }

    #[test]
    fn d12_one_frame_in_time_is_enough_to_trust_the_clock() {
        assert_eq!(after(60, |i| if i % 250 == 7 { 200 } else { 60_000 }), 0);
        assert_eq!(after(60, |_| LATE_MS), 0);
    }

    #[test]
    fn d12_a_backlog_after_a_silence_says_nothing() {
        let mut skew = Skew::default();
        skew.heard(10, Nanos(NS_PER_S));
        let late = Nanos(200 * NS_PER_S);
        (0..10_000).for_each(|_| skew.heard(120_000, late));
        assert_eq!(skew.ahead_ms(late), 0);
    }
}
