//! Counts per second, and what their rhythm says: do events cause events, do venues move together?
//!
//! *Clustering* is the branching ratio `1 - sqrt(mean / variance)` of the counts of 300 whole
//! seconds (Hardiman & Bouchaud 2014), 0 where the variance is no larger than the mean.
//! *Correlation* is Pearson's, of the counts of 60 whole seconds, for each pair of live venues that
//! both have enough events; a pair that moves against each other counts as 0; then the mean over
//! pairs. Both change once a second at most, and are computed then, from the counts themselves.

use super::settings::Rhythm;
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

/// Counts of whole seconds of one row.
#[derive(Clone, Debug)]
pub struct Seconds {
    head: u64,
    all: [u16; LONG_RING],
    venues: [[u16; SHORT_RING]; VENUE_COUNT],
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
            all: [0; LONG_RING],
            venues: [[0; SHORT_RING]; VENUE_COUNT],
            clustering: None,
            correlation: None,
        }
    }

    /// Moves on to second `to`, and looks at the whole seconds before it; `false` when it is there
    /// already.
    pub fn advance(&mut self, to: u64, watch: Watch<'_>) -> bool {
        if to <= self.head {
            return false;
        }
        let first = (self.head + 1).max(to.saturating_sub(LONG_RING as u64 - 1));
        for second in first..=to {
            self.all[at::<LONG_RING>(second)] = 0;
        }
        let first = first.max(to.saturating_sub(SHORT_RING as u64 - 1));
        for venue in &mut self.venues {
            for second in first..=to {
                venue[at::<SHORT_RING>(second)] = 0;
            }
        }
        self.head = to;
        self.clustering = self.branching(watch);
        self.correlation = self.mean_correlation(watch);
        true
    }

    /// Counts one event of second `second`, not later than the head.
    pub fn put(&mut self, second: u64, venue: Venue) {
        let age = self.head.saturating_sub(second);
        if age <= LONG as u64 {
            let count = &mut self.all[at::<LONG_RING>(second)];
            *count = count.saturating_add(1);
        }
        if age <= SHORT as u64 {
            let count = &mut self.venues[venue.index()][at::<SHORT_RING>(second)];
            *count = count.saturating_add(1);
        }
    }

    /// Events of the present second and the nine before it, by venue.
    #[must_use]
    pub fn by_venue(&self) -> [u32; VENUE_COUNT] {
        let from = self.head.saturating_sub(LEAD - 1);
        self.venues.each_ref().map(|venue| {
            (from..=self.head).map(|second| u32::from(venue[at::<SHORT_RING>(second)])).sum()
        })
    }

    fn branching(&self, watch: Watch<'_>) -> Option<f64> {
        let seconds = self.head.saturating_sub(watch.since).min(LONG as u64);
        if seconds < watch.rhythm.clustering_seconds {
            return None;
        }
        // Seconds before the row's first event are zeros: they were listened to as well. So is the
        // second that has just begun.
        let oldest = at::<LONG_RING>(self.head + 1);
        let (mut sum, mut squares) = (0_u64, 0_u64);
        for &count in &self.all {
            sum += u64::from(count);
            squares += u64::from(count) * u64::from(count);
        }
        for extra in 0..LONG_RING - LONG - 1 {
            let count = u64::from(self.all[(oldest + extra) % LONG_RING]);
            sum -= count;
            squares -= count * count;
        }
        (sum >= watch.rhythm.clustering_events).then(|| ratio(sum, squares, seconds))
    }

    fn mean_correlation(&self, watch: Watch<'_>) -> Option<f64> {
        let mut counts = [[0; SHORT]; VENUE_COUNT];
        let mut heard = 0;
        for venue in VENUES.into_iter().filter(|venue| watch.live & venue.bit() != 0) {
            let whole = self.whole(venue);
            let events: u64 = whole.iter().map(|&count| u64::from(count)).sum();
            if events >= watch.rhythm.correlation_events {
                counts[heard] = whole;
                heard += 1;
            }
        }
        let pairs = (0..heard).flat_map(|i| (0..i).map(move |j| (i, j)));
        let (sum, n) = pairs
            .filter_map(|(i, j)| pearson(&counts[i], &counts[j]))
            .fold((0.0, 0.0), |(sum, n), one| (sum + one.max(0.0), n + 1.0));
        (n > 0.0).then(|| sum / n)
    }

    /// The whole seconds of one venue, oldest first.
    fn whole(&self, venue: Venue) -> [u16; SHORT] {
        let mut second = self.head.saturating_sub(SHORT as u64);
        [(); SHORT].map(|()| {
            second += 1;
            self.venues[venue.index()][at::<SHORT_RING>(second - 1)]
        })
    }
}

impl Default for Seconds {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below the length of a ring")]
fn at<const RING: usize>(second: u64) -> usize {
    (second % RING as u64) as usize
}

#[expect(clippy::cast_precision_loss, reason = "300 counts of 16 bits")]
fn ratio(sum: u64, squares: u64, seconds: u64) -> f64 {
    let n = seconds as f64;
    let mean = sum as f64 / n;
    let variance = squares as f64 / n - mean * mean;
    if variance > mean { 1.0 - (mean / variance).sqrt() } else { 0.0 }
}

/// Pearson's correlation; `None` when either side never changes.
#[expect(clippy::cast_precision_loss, reason = "60 counts of 16 bits")]
fn pearson(a: &[u16; SHORT], b: &[u16; SHORT]) -> Option<f64> {
    let (mut x, mut y, mut xx, mut yy, mut xy) = (0_i64, 0_i64, 0_i64, 0_i64, 0_i64);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (i64::from(a), i64::from(b));
        (x, y, xx, yy, xy) = (x + a, y + b, xx + a * a, yy + b * b, xy + a * b);
    }
    let n = SHORT as i64;
    let (across, along, beside) = (n * xy - x * y, n * xx - x * x, n * yy - y * y);
    (along > 0 && beside > 0)
        .then(|| across as f64 / ((along as f64).sqrt() * (beside as f64).sqrt()))
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
