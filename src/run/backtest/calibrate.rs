//! What the engine's probability is worth: how often a cascade was there.
//!
//! The probability has one meaning: that a cascade is under way or begins within a minute. One pair
//! for each second of the sessions: the strongest evidence of `MARKET` in it, and whether it lies
//! between 60 s before the onset (see [`score`](super::score)) of a labelled cascade and the label's
//! end. Left out, because the labels cannot tell: from 60 s before a label to 60 s before its onset, a
//! minute after its end, and what is ambiguous, with a minute around it.
//!
//! ```text
//! table = a value at each of KNOTS, lines between; each second counts for the two knots it lies
//!         between, by nearness; values that fall are pooled (pool adjacent violators)
//! Brier = mean of (p - outcome)²; skill = 1 - Brier / Brier of the base rate
//! ```
//! The table is fitted on all episodes but one, and judged on that one, in turn: an episode is a
//! labelled cascade with the half hours around it; hours in which nothing is labelled are dealt out to
//! the episodes in turn. What ships is [`crate::engine::calibration`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Played;
use super::score::{Cascade, Known};
use crate::engine::calibration::{self, KNOTS, calibrated};

/// A cascade may begin within this many seconds.
const AHEAD_S: i64 = 60;
/// What lies this near to a cascade is part of its episode, s.
const NEAR_S: i64 = 1_800;
/// Evidence is told apart to this fraction.
const STEPS: f64 = 200.0;
const BINS: usize = 10;

/// Seconds with the same evidence, and those in which a cascade was there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Seconds.
    pub n: f64,
    /// Those of a cascade.
    pub hits: f64,
}

/// Counts by evidence, in [`STEPS`].
type Scores = BTreeMap<i64, Count>;

/// A value at each of [`KNOTS`].
type Fit = [f64; KNOTS.len()];

/// All pairs, by episode.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    episodes: Vec<Scores>,
}

impl Pairs {
    /// Of all recordings.
    #[must_use]
    pub fn of(played: &[Played]) -> Self {
        let cascades: usize = played.iter().map(|one| one.known.cascades.len()).sum();
        let mut pairs = Self { episodes: vec![Scores::new(); cascades.max(2)] };
        let mut first = 0;
        for one in played {
            pairs.add(one, first);
            first += one.known.cascades.len();
        }
        pairs
    }

    /// Adds a recording, whose cascades are the episodes from `first` on.
    fn add(&mut self, played: &Played, first: usize) {
        for &(from, until) in &played.sessions {
            for second in from.div_euclid(1_000)..=until.div_euclid(1_000) {
                let Some(outcome) = outcome(&played.known, second) else { continue };
                let score = played.trace.seconds.get(&second).copied().unwrap_or(0.0);
                let episode = near(&played.known, second).map(|i| first + i);
                let turn = usize::try_from(second / 3_600).unwrap_or(0) % self.episodes.len();
                let Some(scores) = self.episodes.get_mut(episode.unwrap_or(turn)) else { continue };
                let count = scores.entry(step(score)).or_default();
                count.n += 1.0;
                count.hits += f64::from(u8::from(outcome));
            }
        }
    }

    /// All episodes but one.
    fn without(&self, left_out: usize) -> Scores {
        let kept = self.episodes.iter().enumerate().filter(|(i, _)| *i != left_out);
        sum(kept.map(|(_, scores)| scores))
    }

    fn all(&self) -> Scores {
        sum(self.episodes.iter())
    }

    /// Each episode judged by what was fitted on the others: (episode, evidence, probability, count).
    fn judged(&self, fit: impl Fn(usize) -> Fit) -> Vec<Judged> {
        let judge = |(episode, scores): (usize, &Scores)| {
            let fitted = fit(episode);
            let one = move |(step, count): (&i64, &Count)| {
                let evidence = score(*step);
                let said = calibration::between(evidence, &fitted);
                Judged { episode, evidence, said, count: *count }
            };
            scores.iter().map(one).collect::<Vec<_>>()
        };
        self.episodes.iter().enumerate().flat_map(judge).collect()
    }
}

/// Seconds of one episode with the same evidence, and what was said of them.
#[derive(Clone, Copy, Debug)]
struct Judged {
    episode: usize,
    evidence: f64,
    said: f64,
    count: Count,
}

/// Whether a cascade is there at `second` or soon; `None` where the labels cannot tell.
fn outcome(known: &Known, second: i64) -> Option<bool> {
    let s = |ms: i64| ms.div_euclid(1_000);
    let is_there = |c: &Cascade| (s(c.onset) - AHEAD_S..=s(c.label.end)).contains(&second);
    if known.cascades.iter().any(is_there) {
        return Some(true);
    }
    let labels = known.cascades.iter().map(|cascade| &cascade.label).chain(&known.ambiguous);
    let around = |start: i64, end: i64| s(start) - AHEAD_S..=s(end) + AHEAD_S;
    let mut vague = labels.map(|label| around(label.start, label.end));
    (!vague.any(|span| span.contains(&second))).then_some(false)
}

/// The cascade whose episode `second` is part of.
fn near(known: &Known, second: i64) -> Option<usize> {
    known.cascades.iter().position(|cascade| {
        let from = cascade.label.start / 1_000 - NEAR_S;
        (from..=cascade.label.end / 1_000 + NEAR_S).contains(&second)
    })
}

fn sum<'a>(all: impl Iterator<Item = &'a Scores>) -> Scores {
    let mut total = Scores::new();
    for (step, count) in all.flatten() {
        total.entry(*step).or_default().add(*count, 1.0);
    }
    total
}

#[expect(clippy::cast_possible_truncation, reason = "a score of 0..1 in steps")]
fn step(score: f64) -> i64 {
    (score.clamp(0.0, 1.0) * STEPS).round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "a step of a few hundred")]
fn score(step: i64) -> f64 {
    step as f64 / STEPS
}

/// The table that fits these counts.
fn fit(scores: &Scores) -> Fit {
    let mut at = [Count::default(); KNOTS.len()];
    for (&step, &count) in scores {
        for (i, share) in calibration::shares(score(step)) {
            at[i].add(count, share);
        }
    }
    let mut pools: Vec<(usize, Count)> = Vec::new();
    for count in at {
        pools.push((1, count));
        while let [.., (_, low), (_, high)] = pools.as_slice() {
            if high.rate() > low.rate() {
                break;
            }
            let (width, high) = pools.pop().unwrap_or_default();
            if let Some((all, low)) = pools.last_mut() {
                *all += width;
                low.add(high, 1.0);
            }
        }
    }
    let mut values = pools.iter().flat_map(|(width, count)| vec![count.rate(); *width]);
    std::array::from_fn(|_| values.next().unwrap_or_default())
}

impl Count {
    fn add(&mut self, other: Self, share: f64) {
        self.n += other.n * share;
        self.hits += other.hits * share;
    }

    fn rate(&self) -> f64 {
        if self.n > 0.0 { self.hits / self.n } else { 0.0 }
    }
}

/// Mean of (p - outcome)² over what `is_counted`.
fn brier(judged: &[Judged], is_counted: impl Fn(&Judged) -> bool) -> f64 {
    let (mut errors, mut n) = (0.0, 0.0);
    for Judged { said: p, count, .. } in judged.iter().filter(|one| is_counted(one)) {
        errors += count.hits * (1.0 - p) * (1.0 - p) + (count.n - count.hits) * p * p;
        n += count.n;
    }
    errors / f64::max(n, 1.0)
}

/// What was found, as text and as the table to ship.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// For a person.
    pub text: String,
    /// For a program.
    pub table: Value,
}

/// Fits and judges.
#[must_use]
pub fn calibrate(played: &[Played]) -> Calibration {
    let pairs = Pairs::of(played);
    let all = pairs.all();
    let mut total = Count::default();
    all.values().for_each(|count| total.add(*count, 1.0));
    let fitted = fit(&all);
    let shipped = pairs.judged(|_| KNOTS.map(calibrated));
    let tables = [
        ("base rate", pairs.judged(|_| [total.rate(); KNOTS.len()])),
        ("evidence as it is", pairs.judged(|_| KNOTS)),
        ("shipped table", shipped.clone()),
        ("fitted, cross-validated", pairs.judged(|left_out| fit(&pairs.without(left_out)))),
    ];
    let briers = tables.map(|(name, judged)| {
        (name, brier(&judged, |_| true), brier(&judged, |one| one.evidence > 0.0))
    });
    let episodes: usize = played.iter().map(|one| one.known.cascades.len()).sum();
    let bins = reliability(&shipped);
    let text = text(total, episodes, &briers, &bins, &fitted);
    let table = json!({
        "what": format!("probability that a cascade is under way or begins within {AHEAD_S} s"),
        "episodes": episodes,
        "seconds": total.n,
        "hits": total.hits,
        "base_rate": total.rate(),
        "brier": briers.iter().map(|(name, all, signs)| json!({
            "of": name, "all_seconds": all, "seconds_with_evidence": signs,
            "skill": skill(*all, briers[0].1),
        })).collect::<Vec<_>>(),
        "shipped": KNOTS.map(|knot| (knot, calibrated(knot))),
        "fitted": KNOTS.iter().zip(fitted).collect::<Vec<_>>(),
        "reliability": bins.iter().map(|bin| json!({
            "from": bin.from, "to": bin.to, "seconds": bin.count.n, "hits": bin.count.hits,
            "said": bin.said, "came": bin.count.rate(), "episodes": bin.episodes,
        })).collect::<Vec<_>>(),
    });
    Calibration { text, table }
}

fn skill(brier: f64, base: f64) -> f64 {
    if base > 0.0 { 1.0 - brier / base } else { 0.0 }
}

fn text(
    total: Count,
    episodes: usize,
    briers: &[(&str, f64, f64)],
    bins: &[Bin],
    fitted: &Fit,
) -> String {
    let mut text = format!(
        "\ncalibration: {} s, in {} of them one of {episodes} cascades was under way or began within \
         {AHEAD_S} s (base rate {:.6})\n\n{:<26}{:>10}{:>8}{:>22}\n",
        total.n,
        total.hits,
        total.rate(),
        "Brier score",
        "all",
        "skill",
        "seconds with evidence"
    );
    let base = briers.first().map_or(0.0, |first| first.1);
    for (name, all, signs) in briers {
        let skill = skill(*all, base);
        let _ = writeln!(text, "{name:<26}{all:>10.6}{skill:>+8.3}{signs:>22.4}");
    }
    let _ = writeln!(text, "\nshipped table, seconds with evidence:");
    let _ = writeln!(text, "said from    to   seconds  said  came  episodes");
    for Bin { from, to, count, said, episodes } in bins {
        let _ = writeln!(
            text,
            "{from:>9.1}  {to:>4.1}  {:>8}  {said:.2}  {:.2}  {episodes:>8}",
            count.n,
            count.rate()
        );
    }
    let row = |name: &str, values: &Fit| {
        values.iter().fold(format!("{name:<12}"), |row, value| row + &format!("{value:>7.3}"))
            + "\n"
    };
    text.push('\n');
    text.push_str(&row("evidence", &KNOTS));
    text.push_str(&row("shipped", &KNOTS.map(calibrated)));
    text.push_str(&row("fitted", fitted));
    text
}

/// Seconds of which about the same was said.
#[derive(Clone, Debug)]
struct Bin {
    from: f64,
    to: f64,
    count: Count,
    /// Mean of what was said.
    said: f64,
    /// Episodes they are of.
    episodes: usize,
}

/// Each bin that holds a second with evidence.
#[expect(clippy::cast_precision_loss, reason = "one of ten bins")]
fn reliability(judged: &[Judged]) -> Vec<Bin> {
    let edge = |i: usize| i as f64 / BINS as f64;
    let mut bins = Vec::new();
    for i in 0..BINS {
        let (from, to) = (edge(i), edge(i + 1));
        let is_last = i + 1 == BINS;
        let inside = |p: f64| p >= from && (p < to || is_last);
        let (mut count, mut said, mut episodes) = (Count::default(), 0.0, BTreeSet::new());
        for one in judged.iter().filter(|one| one.evidence > 0.0 && inside(one.said)) {
            count.add(one.count, 1.0);
            said += one.said * one.count.n;
            episodes.insert(one.episode);
        }
        if count.n > 0.0 {
            bins.push(Bin { from, to, count, said: said / count.n, episodes: episodes.len() });
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::super::labels::Stretch;
    use super::*;

    fn scores(of: &[(f64, f64, f64)]) -> Scores {
        of.iter().map(|&(score, n, hits)| (step(score), Count { n, hits })).collect()
    }

    #[test]
    fn values_that_fall_are_pooled() {
        let knots = [(0.0, 100.0, 0.0), (0.3, 10.0, 4.0), (0.5, 10.0, 2.0), (0.7, 10.0, 9.0)];
        let fitted = fit(&scores(&knots));
        assert_eq!(fitted[..3], [0.0, 0.3, 0.3]);
        assert!(fitted.windows(2).all(|pair| pair[0] <= pair[1]), "{fitted:?}");
    }

    #[test]
    fn a_second_between_two_knots_counts_for_both() {
        let fitted = fit(&scores(&[(0.3, 10.0, 0.0), (0.4, 10.0, 10.0), (0.5, 10.0, 10.0)]));
        assert!((fitted[1] - 1.0 / 3.0).abs() < 1e-12 && fitted[2] == 1.0, "{fitted:?}");
    }

    #[test]
    fn an_episode_is_judged_by_the_others() {
        // Where evidence of 0.5 was a cascade in one episode only, the others say it never is.
        let hit = scores(&[(0.5, 10.0, 10.0)]);
        let miss = scores(&[(0.5, 10.0, 0.0)]);
        let pairs = Pairs { episodes: vec![hit, miss.clone(), miss] };
        let judged = pairs.judged(|left_out| fit(&pairs.without(left_out)));
        assert_eq!(judged.iter().map(|one| one.said).collect::<Vec<_>>(), [0.0, 0.5, 0.5]);
        assert!((brier(&judged, |_| true) - (10.0 + 2.5 + 2.5) / 30.0).abs() < 1e-9);
        assert_eq!(brier(&judged, |one| one.episode == 0), 1.0);
    }

    #[test]
    fn a_cascade_is_there_from_a_minute_before_its_onset_to_its_end() {
        let label = Stretch {
            dataset: "a".into(),
            start: 1_000_000,
            peak: None,
            end: 1_500_000,
            kind: "fast".into(),
        };
        let cascade = Cascade { label, onset: 1_200_000, broke: None, peak: 1_300_000 };
        let known = Known { cascades: vec![cascade], ..Known::default() };
        let at = [939, 940, 1_139, 1_140, 1_500, 1_501, 1_560, 1_561];
        let there = [Some(false), None, None, Some(true), Some(true), None, None, Some(false)];
        assert_eq!(at.map(|second| outcome(&known, second)), there);
    }

    #[test]
    fn bins_hold_everything_with_evidence_once() {
        let count = Count { n: 5.0, hits: 1.0 };
        let of = |(episode, said)| Judged { episode, evidence: said, said, count };
        let bins = reliability(&[(0, 0.0), (0, 0.1), (1, 1.0), (2, 0.95)].map(of));
        let held: Vec<_> = bins.iter().map(|bin| (bin.count.n, bin.episodes)).collect();
        assert_eq!(held, [(5.0, 1), (10.0, 2)]);
    }
}
