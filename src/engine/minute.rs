//! Pressure over a minute: in how many seconds something was liquidated, and for how much.
//!
//! One order, however large, and one account, however many pieces it is sold in, end within seconds; a
//! cascade goes on. So money counts without the most expensive second, together with the number of
//! seconds of the last 60 that saw a liquidation:
//!
//! ```text
//! weight = log2((USD of 60 s - its largest second) / 100 k) + log2(seconds / 5)
//! ```
//! At one event per symbol and second this loses nothing on sampled feeds, and where rows are
//! aggregated it is all there is. A flow that has always been so is no news: the minute must stand out
//! of the mean of the minutes before, in seconds or, where those are nearly all taken, in money.

use super::wheel::Wheel;

/// Seconds in the ring.
const RING: usize = 64;
/// Seconds in a minute.
const MINUTE: u64 = 60;
/// Minutes the mean looks back, at most.
const MEMORY: f64 = 120.0;
/// Money and seconds of weight 0.
const UNIT_USD: f64 = 1e5;
const UNIT_SECONDS: f64 = 5.0;
/// A minute stands out from this many times the usual, and this many seconds more...
const TIMES: f64 = 3.0;
const MORE: f64 = 3.0;
/// ...or, where at least this many seconds are usual, from this many times the usual money.
const BUSY: f64 = 10.0;
const TIMES_USD: f64 = 6.0;
/// Least weight worth computing, USD and seconds.
const LEAST_USD: f64 = 2e4;
const LEAST_SECONDS: u32 = 3;

/// Seconds of the spans whose money is asked for, the present one included.
const SPANS: [u64; 3] = [3, 10, MINUTE];
/// Position of 3 s in them: the 2 s window, wherever in its second the present is.
pub const FAST: usize = 0;
/// Position of 10 s.
pub const SLOW: usize = 1;
const WHOLE: usize = 2;

/// What some seconds hold; money in whole USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// Seconds with a liquidation.
    pub seconds: u32,
    /// All of it.
    pub sum: u64,
    /// The most expensive second.
    pub second: u32,
    /// The largest event.
    pub event: u32,
}

impl Money {
    /// Takes in a second; one without a liquidation is worth nothing.
    #[inline]
    fn with(self, seconds: u32, (usd, largest): (u32, u32)) -> Self {
        Self {
            seconds: self.seconds + seconds,
            sum: self.sum + u64::from(usd),
            second: self.second.max(usd),
            event: self.event.max(largest),
        }
    }

    /// Lets go of a second that is not the largest.
    #[inline]
    fn without(self, usd: u32) -> Self {
        Self { seconds: self.seconds - 1, sum: self.sum - u64::from(usd), ..self }
    }
}

/// The last minute of one row, or of several together.
#[derive(Clone, Debug)]
pub struct Minute {
    head: u64,
    /// The second listening began in.
    began: u64,
    /// Seconds with a liquidation; the lowest bit is the present one.
    seen: u64,
    /// Value of each second, whole USD, and of its largest event.
    usd: Wheel<(u32, u32), RING>,
    /// The money of each span without the present second: it changes with the second, and with what
    /// comes late.
    before: [Money; SPANS.len()],
    /// Mean seconds and USD of the minutes before the last, and how many they are.
    usual: (f64, f64),
    minutes: f64,
    /// Seconds and USD of the minute that has ended but is not part of the mean yet.
    last: Option<(f64, f64)>,
}

impl Minute {
    /// Nothing counted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: 0,
            began: 0,
            seen: 0,
            usd: Wheel::new(),
            before: [Money::default(); SPANS.len()],
            usual: (0.0, 0.0),
            minutes: 0.0,
            last: None,
        }
    }

    /// Moves on to second `to`; `since` is the second listening began in.
    pub fn advance(&mut self, to: u64, since: u64) {
        if self.head == 0 {
            self.head = since.min(to);
            self.began = self.head;
        }
        if to <= self.head {
            return;
        }
        if to > self.head + 3 * MINUTE {
            self.skip(to);
        }
        while self.head < to {
            self.step();
        }
    }

    /// Begins the next second.
    fn step(&mut self) {
        if self.seen == 0 {
            self.head += 1;
        } else {
            self.pass();
        }
        self.usd[self.head] = (0, 0);
        if self.head.is_multiple_of(MINUTE) {
            self.end_minute();
        }
    }

    /// The present second joins those before it, and each span lets go of the one that is too old.
    fn pass(&mut self) {
        let (now, taken) = (self.usd[self.head], u32::from(self.seen & 1 != 0));
        self.seen <<= 1;
        self.head += 1;
        for (i, span) in SPANS.into_iter().enumerate() {
            let left = self.usd[self.head.saturating_sub(span)];
            let was_taken = self.seen >> span & 1 != 0;
            let money = self.before[i].with(taken, now);
            let largest = left.0 == money.second || left.1 == money.event;
            self.before[i] = match was_taken {
                false => money,
                // The largest is looked for again only when it has left.
                true if largest => self.recount(span),
                true => money.without(left.0),
            };
        }
    }

    /// Passes two minutes or more of nothing: the minute that was, one that was empty, and the rest,
    /// in which the mean only fades.
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    fn skip(&mut self, to: u64) {
        let empty = (to / MINUTE - self.head / MINUTE).saturating_sub(2) as f64;
        self.end_minute();
        (self.seen, self.usd) = (0, Wheel::new());
        self.before = Default::default();
        self.end_minute();
        let growing = empty.min(MEMORY - self.minutes);
        let whole = (self.minutes + growing).max(1.0);
        let kept = self.minutes / whole * (1.0 - 1.0 / MEMORY).powf(empty - growing);
        (self.head, self.minutes) = (to, whole);
        self.usual = (self.usual.0 * kept, self.usual.1 * kept);
    }

    #[expect(clippy::cast_precision_loss, reason = "whole USD of a minute")]
    fn end_minute(&mut self) {
        if let Some((seconds, usd)) = self.last {
            self.minutes = (self.minutes + 1.0).min(MEMORY);
            self.usual.0 += (seconds - self.usual.0) / self.minutes;
            self.usual.1 += (usd - self.usual.1) / self.minutes;
        }
        let last = self.recount(MINUTE);
        // A minute that was not listened to from its beginning is none.
        self.last =
            (self.head >= self.began + MINUTE).then(|| (f64::from(last.seconds), last.sum as f64));
    }

    /// Counts a liquidation of second `second`, not later than the head.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    pub fn put(&mut self, second: u64, micros: u64) {
        let age = self.head.saturating_sub(second);
        if age >= MINUTE {
            return;
        }
        let is_new = self.seen & 1 << age == 0;
        self.seen |= 1 << age;
        let usd = (micros / 1_000_000).min(u64::from(u32::MAX)) as u32;
        let (sum, largest) = &mut self.usd[second];
        let added = usd.min(u32::MAX - *sum);
        *sum += added;
        *largest = usd.max(*largest);
        if age > 0 {
            let held = (*sum, *largest);
            for (money, span) in self.before.iter_mut().zip(SPANS) {
                if age < span {
                    let all = money.sum + u64::from(added);
                    *money = Money { sum: all, ..money.with(u32::from(is_new), held) };
                }
            }
        }
    }

    /// Money of the last seconds, as many as the span has.
    #[inline]
    #[must_use]
    pub fn money(&self, span: usize) -> Money {
        let taken = u32::from(self.seen & 1 != 0);
        self.before[span].with(taken, self.usd[self.head])
    }

    /// The last seconds, as many as the span has, counted anew.
    fn recount(&self, span: u64) -> Money {
        let mut seen = self.seen & ((1 << span) - 1);
        let mut money = Money::default();
        while seen != 0 {
            let second = self.head - u64::from(seen.trailing_zeros());
            money = money.with(1, self.usd[second]);
            seen &= seen - 1;
        }
        money
    }

    /// The weight of the last minute, its money measured in units of `scale`; `None` where it does
    /// not stand out.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "whole USD of a minute")]
    pub fn weight(&self, scale: f64) -> Option<f64> {
        let Money { seconds, sum, second, .. } = self.money(WHOLE);
        if seconds < LEAST_SECONDS || self.minutes < 1.0 {
            return None;
        }
        let (rest, seconds) = ((sum - u64::from(second)) as f64, f64::from(seconds));
        let (usual_seconds, usual_usd) = self.usual;
        let stands_out = seconds >= TIMES * usual_seconds + MORE
            || usual_seconds >= BUSY && rest >= TIMES_USD * usual_usd;
        (rest >= LEAST_USD * scale && stands_out)
            .then(|| (rest / scale / UNIT_USD).log2() + (seconds / UNIT_SECONDS).log2())
    }
}

impl Default for Minute {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;
    const THOUSAND: u64 = 1_000_000_000;

    /// Ten minutes of `usual` thousand USD a second, then 30 s of `now`; 0 for no liquidation.
    fn after(usual: impl Fn(u64) -> u64, now: impl Fn(u64) -> u64) -> Minute {
        let mut minute = Minute::new();
        for second in 0..630 {
            minute.advance(START + second, START);
            let thousands = if second < 600 { usual(second) } else { now(second - 600) };
            if thousands > 0 {
                minute.put(START + second, thousands * THOUSAND);
            }
        }
        minute
    }

    #[test]
    fn many_seconds_with_money_weigh() {
        let weight = after(|_| 0, |s| 20 * (s % 2)).weight(1.0).unwrap();
        // 15 seconds, 280,000 USD without one of them.
        assert!((weight - (2.8_f64.log2() + 3.0_f64.log2())).abs() < 1e-9, "{weight}");
    }

    #[test]
    fn one_large_order_does_not() {
        assert_eq!(after(|_| 0, |s| 2_520 * u64::from(s == 3)).weight(1.0), None);
        let sliced = after(|_| 0, |s| 110 * u64::from(s < 3)).weight(1.0);
        assert!(sliced < Some(1.2), "{sliced:?}");
    }

    #[test]
    fn what_is_kept_is_what_a_recount_finds() {
        let (mut minute, mut random) = (Minute::new(), 1_u64);
        let mut second = START;
        for _ in 0..20_000 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(11);
            let draw = random >> 33;
            second += [0, 0, 0, 1, 1, 2, 7, 70][draw as usize % 8];
            minute.advance(second, START);
            minute.put(second - (draw >> 3) % 64 / (1 + draw % 9), (draw >> 9) % 9 * THOUSAND);
            let kept = [0, 1, 2].map(|i| minute.money(i));
            assert_eq!(kept, SPANS.map(|span| minute.recount(span)));
        }
    }

    #[test]
    fn what_has_always_been_so_is_no_news() {
        assert_eq!(after(|_| 20, |_| 20).weight(1.0), None);
        assert_eq!(after(|s| 20 * (s % 2), |s| 20 * (s % 2)).weight(1.0), None);
        assert!(after(|_| 2, |_| 200).weight(1.0) > Some(5.0), "all seconds taken, but more money");
    }

    #[test]
    fn a_long_silence_is_as_many_empty_minutes() {
        let mut long = after(|s| s % 2, |_| 1);
        let mut steps = long.clone();
        long.advance(START + 4_000, START);
        (START + 630..=START + 4_000).for_each(|second| steps.advance(second, START));
        assert!((long.minutes - steps.minutes).abs() < 1.1);
        assert!((long.usual.0 / steps.usual.0 - 1.0).abs() < 0.1, "{long:?} {steps:?}");
        assert_eq!(long.money(WHOLE), Money::default());
    }
}
