//! A row's own past: how many arrivals a second it is used to, and how unevenly they come.
//!
//! What is many is judged against the row itself: a steady flow, however fast, is its own past. The
//! past is the whole seconds from 10 to 300 s ago, so that a burst does not at once become what it is
//! compared with; for who has listened less than 40 s, from a quarter of that time ago, 3 s at least. With `m` their mean and `v` their variance, the significance of `n` arrivals in a
//! window of `w` seconds is
//!
//! ```text
//! z = 2 (sqrt(n + 3/8) - sqrt(m w + 3/8)) / sqrt(max(1, v / m))
//! ```
//! the difference of roots having variance 1 for a Poisson flow of any rate (Anscombe 1948), and the
//! last root what the flow's own bursts add to it: after many small bursts one more is nothing new.

use super::wheel::Wheel;

/// The most recent seconds, which are not past yet.
const LAG: u64 = 10;
/// Seconds from the present to the end of the past.
const SPAN: u64 = 300;
/// Fewer seconds of past say nothing.
const LEAST: u64 = 3;
/// The recent seconds are this part of the time listened to, until they are [`LAG`].
const PART: u64 = 4;
const RING: usize = 304;

/// Windows that are judged.
const WINDOWS: usize = 2;

/// Arrivals of whole seconds, and what the past makes of a window.
#[derive(Clone, Debug)]
pub struct Past {
    head: u64,
    /// The second listening began in.
    since: u64,
    /// Lengths of the windows, s.
    seconds: [f64; WINDOWS],
    /// What is usual; `None` while there is too little past.
    usual: Option<Usual>,
    counts: Wheel<u16, RING>,
    sum: u64,
    squares: u64,
}

/// What a window is compared with. It changes with the second, not with the event.
#[derive(Clone, Copy, Debug)]
struct Usual {
    /// Roots of the arrivals expected in each window.
    roots: [f64; WINDOWS],
    /// Root of the variance of one arrival.
    spread: f64,
}

impl Past {
    /// Nothing counted; `seconds` are the lengths of the windows.
    #[must_use]
    pub fn new(seconds: [f64; WINDOWS]) -> Self {
        Self { head: 0, since: 0, seconds, usual: None, counts: Wheel::new(), sum: 0, squares: 0 }
    }

    /// Moves on to second `to`; `since` is the second listening began in.
    #[inline]
    pub fn advance(&mut self, to: u64, since: u64) {
        if to > self.head || since != self.since {
            self.pass(to);
            self.since = since;
            self.usual = self.usual();
        }
    }

    fn pass(&mut self, to: u64) {
        if to > self.head + SPAN + LAG {
            *self = Self { head: to, ..Self::new(self.seconds) };
        }
        while self.head < to {
            self.head += 1;
            self.leave(self.head.saturating_sub(SPAN));
            self.counts[self.head] = 0;
            self.enter(self.head.saturating_sub(LAG));
        }
    }

    /// Counts an arrival of second `second`, not later than the head.
    pub fn put(&mut self, second: u64) {
        let age = self.head.saturating_sub(second);
        if age >= SPAN {
            return;
        }
        if age >= LAG {
            self.leave(second);
        }
        let count = &mut self.counts[second];
        *count = count.saturating_add(1);
        if age >= LAG {
            self.enter(second);
        }
        if age >= LEAST {
            self.usual = self.usual();
        }
    }

    fn enter(&mut self, second: u64) {
        let count = u64::from(self.counts[second]);
        self.sum += count;
        self.squares += count * count;
    }

    fn leave(&mut self, second: u64) {
        let count = u64::from(self.counts[second]);
        self.sum -= count;
        self.squares -= count * count;
    }

    /// Sums over a past that is shorter than it will be.
    fn young(&self, lag: u64, known: u64) -> (u64, u64) {
        let seconds = (0..known).map(|i| u64::from(self.counts[self.head - lag - i]));
        seconds.fold((0, 0), |(sum, squares), count| (sum + count, squares + count * count))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of 300 seconds")]
    fn usual(&self) -> Option<Usual> {
        let listened = self.head.saturating_sub(self.since).min(SPAN);
        let lag = (listened / PART).clamp(LEAST, LAG);
        let known = listened.saturating_sub(lag);
        if known < LEAST {
            return None;
        }
        let (sum, squares) =
            if lag < LAG { self.young(lag, known) } else { (self.sum, self.squares) };
        let (sum, squares, known) = (sum as f64, squares as f64, known as f64);
        let mean = sum / known;
        let spread = if sum > 0.0 { squares / sum - mean } else { 1.0 };
        // Half an event more than was seen: what never happened is not impossible.
        let roots = self.seconds.map(|seconds| root((sum + 0.5) / known * seconds));
        Some(Usual { roots, spread: spread.max(1.0).sqrt() })
    }

    /// The significance of `arrivals` in a window, in standard deviations of the past; `None` while
    /// there is too little of it.
    #[inline]
    #[must_use]
    pub fn significance(&self, window: usize, arrivals: u32) -> Option<f64> {
        let usual = self.usual?;
        Some(2.0 * (root(f64::from(arrivals)) - usual.roots[window]) / usual.spread)
    }
}

/// The root whose variance is the same for every rate.
#[inline]
fn root(arrivals: f64) -> f64 {
    (arrivals + 0.375).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;

    fn fed(seconds: u64, count: impl Fn(u64) -> u64) -> Past {
        let mut past = Past::new([2.0, 10.0]);
        for second in 0..seconds {
            past.advance(START + second, START);
            (0..count(second)).for_each(|_| past.put(START + second));
        }
        past.advance(START + seconds, START);
        past
    }

    #[test]
    fn a_steady_flow_is_its_own_past() {
        let past = fed(400, |_| 50);
        assert_eq!((past.sum, past.squares), (290 * 50, 290 * 2_500));
        let z = past.significance(0, 100).unwrap();
        assert!(z.abs() < 0.01, "{z}");
        assert!(past.significance(0, 200).unwrap() > 8.0);
    }

    #[test]
    fn the_same_burst_means_less_after_others_like_it() {
        let calm = fed(400, |_| 1).significance(0, 40).unwrap();
        let wild = fed(400, |s| 20 * u64::from(s % 20 == 0)).significance(0, 40).unwrap();
        assert!(calm > 9.0 && wild < 4.0, "{calm} {wild}");
    }

    #[test]
    fn without_a_past_nothing_is_significant() {
        assert_eq!(fed(5, |_| 9).significance(0, 99), None);
        assert!(fed(6, |_| 9).significance(0, 18).is_some_and(|z| z.abs() < 0.5));
        assert!(fed(39, |_| 9).significance(0, 18).is_some_and(|z| z.abs() < 0.5));
    }

    #[test]
    fn what_comes_late_is_counted_where_it_belongs() {
        let mut past = fed(400, |_| 0);
        past.put(START + 395);
        past.put(START + 350);
        past.put(START + 90);
        assert_eq!(past.sum, 1);
        past.advance(START + 406, START);
        assert_eq!(past.sum, 2);
        past.advance(START + 5_000, START);
        assert_eq!((past.sum, past.squares), (0, 0));
    }
}
