//! Counts per second, and what their rhythm says: do events cause events, do venues move together?
//!
//! *Clustering* is the branching ratio `1 - sqrt(mean / variance)` of the counts of 300 whole
//! seconds (Hardiman & Bouchaud 2014), 0 where the variance is no larger than the mean.
//! *Correlation* is Pearson's, of the counts of 60 whole seconds, for each pair of live venues that
//! both have enough events; a pair that moves against each other counts as 0; then the mean over
//! pairs. Both change once a second at most, and are computed then, from sums that each second joins
//! when it is whole and leaves when its span has passed.

use super::settings::Rhythm;
use super::wheel::Wheel;
use crate::event::{VENUE_COUNT, VENUES, Venue};

/// Seconds that clustering looks at.
const LONG: usize = 300;
/// Seconds that correlation looks at.
const SHORT: usize = 60;
/// The long ring: whole seconds and the one that is filling.
const LONG_RING: usize = LONG + 4;
/// The short ring, the same for each venue.
const SHORT_RING: usize = 64;
/// Seconds of [`Seconds::by_venue`].
const LEAD: u64 = 10;

/// Events of one second, by venue.
type Venues = [u16; VENUE_COUNT];

/// Counts of whole seconds of one row.
#[derive(Clone, Debug)]
pub struct Seconds {
    head: u64,
    long: Long,
    short: Short,
    all: Wheel<u16, LONG_RING>,
    venues: Wheel<Venues, SHORT_RING>,
    /// Branching ratio; `None` while there is too little.
    pub clustering: Option<f64>,
    /// Mean correlation over pairs of live venues; `None` when there is no pair.
    pub correlation: Option<f64>,
}

/// What the rhythm of a row is judged by, besides its counts.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The limits.
    pub rhythm: &'a Rhythm,
    /// Venues that can be heard.
    pub live: u8,
    /// The second since which the engine has been listening.
    pub since: u64,
}

impl Seconds {
    /// Nothing counted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: 0,
            long: Long::default(),
            short: Short::default(),
            all: Wheel::new(),
            venues: Wheel::new(),
            clustering: None,
            correlation: None,
        }
    }

    /// Moves on to second `to`, and looks at the whole seconds before it; `false` when it is there
    /// already.
    #[inline]
    pub fn advance(&mut self, to: u64, watch: Watch<'_>) -> bool {
        if to <= self.head {
            return false;
        }
        self.pass(to);
        self.clustering = self.branching(watch);
        self.correlation = self.mean_correlation(watch);
        true
    }

    /// Closes the seconds before `to`.
    fn pass(&mut self, to: u64) {
        if to - self.head >= LONG_RING as u64 {
            *self = Self { head: to, ..Self::new() };
        }
        while self.head < to {
            self.close();
            self.head += 1;
            self.all[self.head] = 0;
            self.venues[self.head] = [0; VENUE_COUNT];
        }
    }

    /// The second at the head is whole now, and another one as old as the span leaves it.
    fn close(&mut self) {
        self.long.add(self.all[self.head]);
        self.short.add(&self.venues[self.head]);
        if let Some(second) = self.head.checked_sub(LONG as u64) {
            self.long.sub(self.all[second]);
        }
        if let Some(second) = self.head.checked_sub(SHORT as u64) {
            self.short.sub(&self.venues[second]);
        }
    }

    /// Counts one event of second `second`, not later than the head; beyond 16 bits no more are.
    #[inline]
    pub fn put(&mut self, second: u64, venue: Venue) {
        let age = self.head.saturating_sub(second);
        if age <= LONG as u64 {
            let count = &mut self.all[second];
            if *count < u16::MAX {
                if age > 0 {
                    self.long.more(*count);
                }
                *count += 1;
            }
        }
        if age <= SHORT as u64 {
            let counts = &mut self.venues[second];
            if counts[venue.index()] < u16::MAX {
                if age > 0 {
                    self.short.more(counts, venue.index());
                }
                counts[venue.index()] += 1;
            }
        }
    }

    /// Events of the present second and the nine before it, by venue.
    #[must_use]
    pub fn by_venue(&self) -> [u32; VENUE_COUNT] {
        let mut sums = [0; VENUE_COUNT];
        for second in self.head.saturating_sub(LEAD - 1)..=self.head {
            let counts = &self.venues[second];
            for (sum, &count) in sums.iter_mut().zip(counts) {
                *sum += u32::from(count);
            }
        }
        sums
    }

    fn branching(&self, watch: Watch<'_>) -> Option<f64> {
        let seconds = self.head.saturating_sub(watch.since).min(LONG as u64);
        // Seconds before the row's first event are zeros: they were listened to as well.
        let Long { sum, squares } = self.long;
        (seconds >= watch.rhythm.clustering_seconds && sum >= watch.rhythm.clustering_events)
            .then(|| ratio(sum, squares, seconds))
    }

    fn mean_correlation(&self, watch: Watch<'_>) -> Option<f64> {
        // Seconds before listening are no zeros: together they would look like a common start.
        if self.head.saturating_sub(watch.since) < SHORT as u64 {
            return None;
        }
        let spreads: [f64; VENUE_COUNT] = std::array::from_fn(|i| {
            let is_heard = watch.live & VENUES[i].bit() != 0
                && self.short.sums[i] >= watch.rhythm.correlation_events;
            if is_heard { self.short.spread(i) } else { 0.0 }
        });
        let (mut sum, mut n) = (0.0, 0.0);
        for i in 0..VENUE_COUNT {
            for j in 0..i {
                let spread = spreads[i] * spreads[j];
                if spread > 0.0 {
                    sum += (self.short.together(i, j) / spread).max(0.0);
                    n += 1.0;
                }
            }
        }
        (n > 0.0).then(|| sum / n)
    }
}

impl Default for Seconds {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::cast_precision_loss, reason = "300 counts of 16 bits")]
fn ratio(sum: u64, squares: u64, seconds: u64) -> f64 {
    let n = seconds as f64;
    let mean = sum as f64 / n;
    let variance = squares as f64 / n - mean * mean;
    if variance > mean { 1.0 - (mean / variance).sqrt() } else { 0.0 }
}

/// Sums over the whole seconds of the long span. Integers: nothing is lost by adding and taking away.
#[derive(Clone, Copy, Debug, Default)]
struct Long {
    sum: u64,
    squares: u64,
}

impl Long {
    fn add(&mut self, count: u16) {
        self.sum += u64::from(count);
        self.squares += u64::from(count) * u64::from(count);
    }

    /// One more event of a whole second that had `count`.
    fn more(&mut self, count: u16) {
        self.sum += 1;
        self.squares += 2 * u64::from(count) + 1;
    }

    fn sub(&mut self, count: u16) {
        self.sum -= u64::from(count);
        self.squares -= u64::from(count) * u64::from(count);
    }
}

/// The same of the short span, for each venue, and the products of each pair.
#[derive(Clone, Copy, Debug, Default)]
struct Short {
    sums: [u64; VENUE_COUNT],
    /// By the larger of both indices, then by the smaller.
    products: [[u64; VENUE_COUNT]; VENUE_COUNT],
}

impl Short {
    fn add(&mut self, counts: &Venues) {
        self.each(counts, |sum, value| *sum += value);
    }

    fn sub(&mut self, counts: &Venues) {
        self.each(counts, |sum, value| *sum -= value);
    }

    /// One more event of venue `i` in a whole second that had `counts`.
    fn more(&mut self, counts: &Venues, i: usize) {
        self.sums[i] += 1;
        for (j, &count) in counts.iter().enumerate() {
            self.products[i.max(j)][i.min(j)] += u64::from(count);
        }
        self.products[i][i] += u64::from(counts[i]) + 1;
    }

    fn each(&mut self, counts: &Venues, apply: impl Fn(&mut u64, u64)) {
        if *counts == [0; VENUE_COUNT] {
            return;
        }
        let counts = counts.map(u64::from);
        for i in 0..VENUE_COUNT {
            apply(&mut self.sums[i], counts[i]);
            for j in 0..=i {
                apply(&mut self.products[i][j], counts[i] * counts[j]);
            }
        }
    }

    /// The numerator of Pearson's correlation of venues `i >= j`; its denominator is the product of
    /// both [`Self::spread`]s.
    #[expect(clippy::cast_precision_loss, reason = "60 counts of 16 bits")]
    fn together(&self, i: usize, j: usize) -> f64 {
        let [x, y, xy] = [self.sums[i], self.sums[j], self.products[i][j]].map(u64::cast_signed);
        (SHORT as i64 * xy - x * y) as f64
    }

    /// How far a venue's counts are apart; 0 when they never change.
    fn spread(&self, i: usize) -> f64 {
        self.together(i, i).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(rhythm: &Rhythm) -> Watch<'_> {
        Watch { rhythm, live: u8::MAX, since: 0 }
    }

    /// Feeds `count(second)` events of each venue.
    fn fed(seconds: u64, count: impl Fn(u64, Venue) -> u64) -> Seconds {
        let rhythm = Rhythm::default();
        let mut row = Seconds::new();
        for second in 1_000..1_000 + seconds {
            row.advance(second, watch(&rhythm));
            for venue in VENUES {
                (0..count(second, venue)).for_each(|_| row.put(second, venue));
            }
        }
        row.advance(1_000 + seconds, watch(&rhythm));
        row
    }

    #[test]
    fn venues_in_step_correlate_and_others_do_not() {
        let together = fed(100, |second, venue| {
            u64::from(matches!(venue, Venue::Binance | Venue::Bybit)) * (second % 3)
        });
        assert_eq!(together.correlation, Some(1.0));
        let apart = fed(100, |second, venue| match venue {
            Venue::Binance => second % 2,
            Venue::Bybit => 1 - second % 2,
            _ => 0,
        });
        assert_eq!(apart.correlation, Some(0.0), "against each other is not together");
        let alone = fed(100, |second, venue| u64::from(venue == Venue::Okx) * (second % 2));
        assert_eq!(alone.correlation, None);
    }

    #[test]
    fn clustering_follows_its_formula_over_whole_seconds() {
        let steady = fed(400, |_, venue| u64::from(venue == Venue::Okx));
        assert_eq!(steady.clustering, Some(0.0));
        // Ten events every tenth second: mean 1, variance 9.
        let bursts =
            fed(400, |s, venue| 10 * u64::from(venue == Venue::Okx && s.is_multiple_of(10)));
        let ratio = bursts.clustering.unwrap();
        assert!((ratio - (1.0 - (1.0_f64 / 9.0).sqrt())).abs() < 1e-12, "{ratio}");
        assert_eq!(fed(400, |_, _| 0).clustering, None);
    }

    #[test]
    fn ten_seconds_by_venue() {
        let row = fed(100, |_, venue| venue.index() as u64);
        assert_eq!(row.by_venue(), [0, 9, 18, 27, 36], "the present second is still empty");
    }

    #[test]
    fn a_long_silence_leaves_nothing() {
        let rhythm = Rhythm::default();
        let mut row = fed(100, |_, _| 3);
        row.advance(1_000_000, watch(&rhythm));
        assert!(row.all.iter().all(|&n| n == 0));
        assert!(row.venues.iter().flatten().all(|&n| n == 0));
        assert_eq!((row.clustering, row.correlation), (None, None));
    }
}
