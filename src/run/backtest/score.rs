//! Alarms against what is known: hits, leads, false alarms. Counts, since samples are small.
//!
//! | moment | what it is |
//! |---|---|
//! | onset | first liquidation at which those of 10 s, from the label's start on, are more than m + 4 sqrt(m) + 3, where m is the mean of the half hour before the label; the label's start where none is |
//! | break | beginning of the first candle of BTC, from one before the onset on, whose high is at least `--break` % above its low (1 min; times the root of its minutes where it is longer); none without prices |
//! | peak | the second with most USD within the minute that begins at the label's `peak_ms` (the middle of the label where it has no peak) |
//!
//! A cascade is *hit* by an alarm that stands between [`EARLY_MS`] before its label and its end, *in
//! time* by one that rises before its peak. An alarm counts from when it rose, at most [`EARLY_MS`]
//! before the label. A lead is the moment minus the alarm: positive is earlier.

use super::alarm::{Alarm, Alarms};
use super::labels::Stretch;
use super::play::{Dataset, Print};
use super::prices::{Prices, Series};
use crate::symbol::Symbol;

/// An alarm may be this much ahead of its cascade, ms.
pub const EARLY_MS: i64 = 60_000;
/// A hard negative is hit from this much before it to this much after, ms.
const AROUND_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;
const HALF_HOUR_MS: i64 = 30 * MINUTE_MS;

/// What is known of one recording.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Labelled cascades, with their moments.
    pub cascades: Vec<Cascade>,
    /// Bursts at a flat price.
    pub negatives: Vec<Stretch>,
    /// Neither: no alarm there counts.
    pub ambiguous: Vec<Stretch>,
    /// Quiet, from and until, ms.
    pub quiet: Vec<(i64, i64)>,
}

/// A labelled cascade and its moments, ms.
#[derive(Clone, Debug)]
pub struct Cascade {
    /// The label.
    pub label: Stretch,
    /// When liquidations became many.
    pub onset: i64,
    /// When the price broke.
    pub broke: Option<i64>,
    /// The busiest second.
    pub peak: i64,
}

/// How one detector did on one cascade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// When the alarm rose, ms.
    pub at: i64,
    /// Seconds before the onset.
    pub onset: f64,
    /// Seconds before the break.
    pub broke: Option<f64>,
    /// Seconds before the peak.
    pub peak: f64,
}

/// How one detector did on one recording.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// One per cascade, in their order.
    pub hits: Vec<Option<Hit>>,
    /// Alarms that rose in quiet time.
    pub quiet: usize,
    /// Hard negatives during which an alarm stood.
    pub negatives: usize,
    /// Alarms that rose outside of everything that is known.
    pub elsewhere: usize,
    /// Alarms in all.
    pub alarms: usize,
    /// Rising edges in all, flaps within an alarm included.
    pub edges: u64,
}

impl Known {
    /// What the lists say of `dataset`, of which `prints` were received.
    #[must_use]
    pub fn of(dataset: &Dataset, lists: &Lists, prints: &[Print], prices: &Prices) -> Self {
        let own = |all: &[Stretch]| -> Vec<Stretch> {
            all.iter().filter(|stretch| stretch.dataset == dataset.name).cloned().collect()
        };
        let labels = own(&lists.labels);
        let cascades = labels.into_iter().map(|label| {
            let series = prices.series(Symbol::BTC, (label.start, label.end));
            Cascade::of(label, prints, series, lists.break_percent)
        });
        let quiet = own(&lists.quiet);
        Self {
            cascades: cascades.collect(),
            negatives: own(&lists.negatives),
            ambiguous: own(&lists.ambiguous),
            quiet: quiet.iter().map(|stretch| (stretch.start, stretch.end)).collect(),
        }
    }

    /// Hours of quiet.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of some days")]
    pub fn quiet_hours(&self) -> f64 {
        self.quiet.iter().map(|(from, until)| until - from).sum::<i64>() as f64 / 3.6e6
    }

    /// How a detector did.
    #[must_use]
    pub fn score(&self, alarms: &Alarms) -> Score {
        let negatives = self.negatives.iter();
        let stands = |s: &Stretch| alarms.within(s.start - AROUND_MS, s.end + MINUTE_MS).is_some();
        Score {
            hits: self.cascades.iter().map(|cascade| cascade.hit(alarms)).collect(),
            quiet: self.quiet.iter().map(|&(from, until)| alarms.rose(from, until)).sum(),
            negatives: negatives.filter(|s| stands(s)).count(),
            elsewhere: alarms.all().iter().filter(|alarm| self.is_elsewhere(alarm)).count(),
            alarms: alarms.all().len(),
            edges: alarms.edges,
        }
    }

    fn is_elsewhere(&self, alarm: &Alarm) -> bool {
        let cascades = self.cascades.iter().map(|cascade| &cascade.label);
        let named = cascades.chain(&self.negatives).chain(&self.ambiguous);
        let spans = named.map(|s| (s.start - EARLY_MS, s.end + MINUTE_MS));
        let mut all = spans.chain(self.quiet.iter().copied());
        !all.any(|(from, until)| (from..until).contains(&alarm.rose))
    }
}

/// The lists that were given.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// Cascades.
    pub labels: Vec<Stretch>,
    /// Quiet stretches.
    pub quiet: Vec<Stretch>,
    /// Hard negatives.
    pub negatives: Vec<Stretch>,
    /// What is left out of scoring.
    pub ambiguous: Vec<Stretch>,
    /// How far a candle of one minute moves when the price breaks, per cent.
    pub break_percent: f64,
}

impl Cascade {
    fn of(label: Stretch, prints: &[Print], series: Option<&Series>, percent: f64) -> Self {
        let onset = onset(&label, prints);
        let broke = series.and_then(|series| broke(series, onset, label.end, percent));
        let peak = peak(&label, prints);
        Self { label, onset, broke, peak }
    }

    /// How an alarm of `alarms` stands to it, if one does.
    #[must_use]
    pub fn hit(&self, alarms: &Alarms) -> Option<Hit> {
        let from = self.label.start - EARLY_MS;
        let at = alarms.within(from, self.label.end)?.rose.max(from);
        let lead = |moment: i64| seconds(moment - at);
        Some(Hit {
            at,
            onset: lead(self.onset),
            broke: self.broke.map(lead),
            peak: lead(self.peak),
        })
    }
}

/// Seconds, of milliseconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "milliseconds between two moments of a cascade")]
pub fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

fn between(prints: &[Print], from: i64, until: i64) -> &[Print] {
    let first = prints.partition_point(|print| print.at < from);
    let last = prints.partition_point(|print| print.at <= until);
    prints.get(first..last).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts of liquidations")]
fn onset(label: &Stretch, prints: &[Print]) -> i64 {
    let before = between(prints, label.start - HALF_HOUR_MS, label.start - 1);
    let mean = before.first().map_or(0.0, |first| {
        before.len() as f64 / (seconds(label.start - first.at) / 10.0).max(1.0)
    });
    let many = mean + 4.0 * mean.sqrt() + 3.0;
    let inside = between(prints, label.start, label.end).iter();
    let count = |at: i64| between(prints, label.start.max(at - 9_999), at).len();
    let mut busy = inside.filter(|print| count(print.at) as f64 > many);
    busy.next().map_or(label.start, |print| print.at)
}

#[expect(clippy::cast_precision_loss, reason = "minutes of a candle")]
fn broke(series: &Series, onset: i64, end: i64, percent: f64) -> Option<i64> {
    let least = percent / 100.0 * (series.length as f64 / MINUTE_MS as f64).sqrt();
    let bars = series.within((onset - series.length, end + series.length)).iter();
    let mut moved = bars.filter(|bar| bar.high / bar.low - 1.0 >= least);
    moved.next().map(|bar| bar.at)
}

fn peak(label: &Stretch, prints: &[Print]) -> i64 {
    let Some(start) = label.peak else { return i64::midpoint(label.start, label.end) };
    let minute = between(prints, start, (start + MINUTE_MS).min(label.end));
    let worth = |print: &Print| -> f64 {
        between(minute, print.at, print.at + 999).iter().map(|print| print.usd).sum()
    };
    let mut best = (start, 0.0);
    for print in minute {
        let usd = worth(print);
        if usd > best.1 {
            best = (print.at, usd);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(start: i64, peak: i64, end: i64) -> Stretch {
        Stretch { dataset: "a".into(), start, peak: Some(peak), end, kind: "fast".into() }
    }

    fn prints(times: impl IntoIterator<Item = i64>) -> Vec<Print> {
        times.into_iter().map(|at| Print { at, usd: 1_000.0, price: None }).collect()
    }

    #[test]
    fn the_onset_is_where_liquidations_become_many() {
        // One each 10 s for half an hour: from 1 + 4 + 3 = 8 on it is no accident.
        let before = (0..180).map(|i| i * 10_000);
        let after = (0..20).map(|i| 1_800_000 + i * 500);
        let all = prints(before.chain(after));
        assert_eq!(onset(&label(1_800_000, 1_800_000, 1_810_000), &all), 1_800_000 + 8 * 500);
        let calm = label(900_000, 900_000, 1_000_000);
        assert_eq!(onset(&calm, &all), 900_000, "never many: the label's own start");
    }

    #[test]
    fn the_peak_is_the_richest_second_of_the_richest_minute() {
        let mut all = prints((0..60).map(|i| i * 1_000));
        all[30].usd = 5e4;
        all[31].usd = 6e4;
        let known = label(0, 10_000, 50_000);
        assert_eq!(peak(&known, &all), 31_000);
        assert_eq!(peak(&label(0, 40_000, 50_000), &all), 40_000, "the first on a tie");
        assert_eq!(peak(&Stretch { peak: None, ..known }, &all), 25_000);
    }

    #[test]
    fn alarms_are_sorted_into_what_is_known() {
        let mut alarms = Alarms::default();
        for rose in [100_000, 1_000_000, 2_000_000, 3_000_000, 9_000_000] {
            alarms.set(rose, true);
            alarms.set(rose + 1_000, false);
        }
        let cascade = Cascade {
            label: label(110_000, 120_000, 130_000),
            onset: 111_000,
            broke: Some(60_000),
            peak: 121_000,
        };
        let known = Known {
            cascades: vec![cascade],
            negatives: vec![label(1_000_500, 1_000_500, 1_000_500)],
            ambiguous: vec![label(2_000_000, 2_000_000, 2_000_000)],
            quiet: vec![(2_900_000, 3_100_000)],
        };
        let score = known.score(&alarms);
        let hit = Hit { at: 100_000, onset: 11.0, broke: Some(-40.0), peak: 21.0 };
        assert_eq!(score.hits, [Some(hit)]);
        assert_eq!((score.quiet, score.negatives, score.elsewhere, score.alarms), (1, 1, 1, 5));
    }

    #[test]
    fn an_alarm_that_stood_long_before_leads_by_no_more_than_a_minute() {
        let mut alarms = Alarms::default();
        alarms.set(0, true);
        alarms.set(500_000, false);
        let known = label(400_000, 400_000, 450_000);
        let cascade = Cascade { label: known, onset: 400_000, broke: None, peak: 410_000 };
        assert_eq!(cascade.hit(&alarms).map(|hit| (hit.at, hit.onset)), Some((340_000, 60.0)));
    }
}
