//! What the engine's probability is worth: how often a cascade followed.
//!
//! One pair for each second of the sessions: the highest probability of `MARKET` in it, and whether a
//! labelled cascade reached its peak (see [`score`](super::score)) in the 60 s after it. Left out: from
//! a peak to its label's end, what is ambiguous, and a minute around that.
//!
//! ```text
//! isotonic   the monotone step function nearest to the outcomes (pool adjacent violators)
//! logistic   1 / (1 + exp(-(a + b score)))
//! Brier      mean of (p - outcome)²; skill = 1 - Brier / Brier of the base rate
//! ```
//! Both are fitted on all episodes but one, and judged on that one, in turn: an episode is a labelled
//! cascade with the half hours around it; hours in which nothing is labelled are dealt out to the
//! episodes in turn. The better of the two, fitted on everything, is the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Played;
use super::score::Known;

/// A cascade must peak within this many seconds.
const AHEAD_S: i64 = 60;
/// What lies this near to a cascade is part of its episode, s.
const NEAR_S: i64 = 1_800;
/// Scores are told apart to this fraction.
const STEPS: f64 = 200.0;
const BINS: usize = 10;

/// Seconds with one score, and those after which a cascade peaked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// Seconds.
    pub n: f64,
    /// Those before a peak.
    pub hits: f64,
}

/// Counts by score, in [`STEPS`].
type Scores = BTreeMap<i64, Count>;

/// All pairs, by episode.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    episodes: Vec<Scores>,
}

/// From a score to a probability.
#[derive(Clone, Debug, PartialEq)]
enum Fit {
    /// Score from which a probability holds, rising.
    Isotonic(Vec<(f64, f64)>),
    /// Intercept and slope.
    Logistic(f64, f64),
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

    /// Each episode judged by what was fitted on the others: (probability, seconds, hits).
    fn judged(&self, fit: fn(&Scores) -> Fit) -> Vec<(f64, Count)> {
        let judge = |(i, scores): (usize, &Scores)| {
            let fitted = fit(&self.without(i));
            let each = scores.iter();
            each.map(move |(step, count)| (fitted.at(score(*step)), *count)).collect::<Vec<_>>()
        };
        self.episodes.iter().enumerate().flat_map(judge).collect()
    }
}

/// Whether a cascade peaks soon after `second`; `None` where it does not count.
fn outcome(known: &Known, second: i64) -> Option<bool> {
    let s = |ms: i64| ms.div_euclid(1_000);
    let after = |c: &super::score::Cascade| s(c.peak) <= second && second <= s(c.label.end);
    let vague = known.ambiguous.iter().map(|a| (s(a.start) - AHEAD_S, s(a.end) + AHEAD_S));
    let soon = |c: &super::score::Cascade| second < s(c.peak) && s(c.peak) <= second + AHEAD_S;
    if known.cascades.iter().any(soon) {
        return Some(true);
    }
    let out = known.cascades.iter().any(after)
        || vague.into_iter().any(|(from, until)| (from..=until).contains(&second));
    (!out).then_some(false)
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
        let sum = total.entry(*step).or_default();
        sum.n += count.n;
        sum.hits += count.hits;
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

impl Fit {
    /// The monotone step function nearest to the outcomes.
    fn isotonic(scores: &Scores) -> Self {
        let mut pools: Vec<(i64, Count)> = Vec::new();
        for (&step, &count) in scores {
            pools.push((step, count));
            while let [.., (_, low), (_, high)] = pools.as_slice() {
                if high.rate() > low.rate() {
                    break;
                }
                let (_, high) = pools.pop().unwrap_or_default();
                if let Some((_, low)) = pools.last_mut() {
                    low.n += high.n;
                    low.hits += high.hits;
                }
            }
        }
        Self::Isotonic(pools.iter().map(|(step, count)| (score(*step), count.rate())).collect())
    }

    /// Newton's method on the log likelihood, with half a hit and half a miss beforehand.
    fn logistic(scores: &Scores) -> Self {
        let total = sum(std::iter::once(scores))
            .values()
            .fold(Count::default(), |a, b| Count { n: a.n + b.n, hits: a.hits + b.hits });
        let base = (total.hits + 0.5) / (total.n + 1.0);
        let (mut a, mut b) = ((base / (1.0 - base)).ln(), 0.0);
        for _ in 0..60 {
            // A little resistance, so that perfectly parted outcomes give a slope that is finite.
            let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, -1e-2 * b, 1e-6, 0.0, 1e-2);
            for (&step, count) in scores {
                let x = score(step);
                let p = 1.0 / (1.0 + (-(a + b * x)).exp());
                let (gradient, weight) = (count.hits - count.n * p, count.n * p * (1.0 - p));
                ga += gradient;
                gb += gradient * x;
                haa += weight;
                hab += weight * x;
                hbb += weight * x * x;
            }
            let determinant = haa * hbb - hab * hab;
            if determinant <= 0.0 {
                break;
            }
            a += ((hbb * ga - hab * gb) / determinant).clamp(-2.0, 2.0);
            b += ((haa * gb - hab * ga) / determinant).clamp(-4.0, 4.0);
        }
        Self::Logistic(a, b)
    }

    fn at(&self, score: f64) -> f64 {
        match self {
            Self::Isotonic(knots) => {
                let below = knots.partition_point(|knot| knot.0 <= score);
                knots.get(below.saturating_sub(1)).map_or(0.0, |knot| knot.1)
            }
            Self::Logistic(a, b) => 1.0 / (1.0 + (-(a + b * score)).exp()),
        }
    }

    /// Score and probability at the places where the table has a knot.
    fn table(&self) -> Vec<(f64, f64)> {
        match self {
            Self::Isotonic(knots) => knots.clone(),
            Self::Logistic(..) => {
                (0..=20).map(|i| f64::from(i) / 20.0).map(|x| (x, self.at(x))).collect()
            }
        }
    }
}

impl Count {
    fn rate(&self) -> f64 {
        if self.n > 0.0 { self.hits / self.n } else { 0.0 }
    }
}

/// Mean of (p - outcome)².
fn brier(judged: &[(f64, Count)]) -> f64 {
    let total: f64 = judged.iter().map(|(_, count)| count.n).sum();
    let error = |(p, count): &(f64, Count)| {
        count.hits * (1.0 - p) * (1.0 - p) + (count.n - count.hits) * p * p
    };
    judged.iter().map(error).sum::<f64>() / total.max(1.0)
}

/// What was found, as text and as the table to ship.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// For a person.
    pub text: String,
    /// For the engine.
    pub table: Value,
}

/// Fits and judges.
#[must_use]
pub fn calibrate(played: &[Played]) -> Calibration {
    let pairs = Pairs::of(played);
    let all = pairs.all();
    let total = sum(std::iter::once(&all))
        .values()
        .fold(Count::default(), |a, b| Count { n: a.n + b.n, hits: a.hits + b.hits });
    let rate = total.rate();
    let base = rate * (1.0 - rate);
    let raw: Vec<(f64, Count)> = all.iter().map(|(step, count)| (score(*step), *count)).collect();
    let mut fits = [
        ("isotonic", Fit::isotonic as fn(&Scores) -> Fit),
        ("logistic", Fit::logistic as fn(&Scores) -> Fit),
    ]
    .map(|(name, fit)| (name, fit, pairs.judged(fit)));
    fits.sort_by(|a, b| brier(&a.2).total_cmp(&brier(&b.2)));
    let [(name, fit, judged), (other, _, other_judged)] = fits;
    let knots = fit(&all).table();
    let skill = |brier: f64| if base > 0.0 { 1.0 - brier / base } else { 0.0 };
    let episodes: usize = played.iter().map(|one| one.known.cascades.len()).sum();
    let mut text = format!(
        "\ncalibration: {} s, of them {} within {AHEAD_S} s before the peak of one of {episodes} \
         cascades (base rate {rate:.6})\n",
        total.n, total.hits
    );
    for (name, judged) in [("as it is", &raw), (name, &judged), (other, &other_judged)] {
        let score = brier(judged);
        let _ = writeln!(text, "{name:<10} Brier {score:.6}, skill {:+.3}", skill(score));
    }
    let _ =
        writeln!(text, "base rate  Brier {base:.6}\n\n{name}, each episode judged by the others:");
    let _ = writeln!(text, "said from     to   seconds      hits  said  came");
    let bins = reliability(&judged);
    for (from, to, count, said) in &bins {
        let _ = writeln!(
            text,
            "{from:>9.2}  {to:>5.2}  {:>8}  {:>8}  {said:.3}  {:.3}",
            count.n,
            count.hits,
            count.rate()
        );
    }
    let table = json!({
        "what": format!("probability that a cascade peaks within {AHEAD_S} s, by score"),
        "method": name,
        "episodes": episodes,
        "seconds": total.n,
        "hits": total.hits,
        "base_rate": rate,
        "brier": { "base_rate": base, "as_it_is": brier(&raw), "cross_validated": brier(&judged) },
        "knots": knots,
        "reliability": bins.iter().map(|(from, to, count, said)| json!({
            "from": from, "to": to, "seconds": count.n, "hits": count.hits, "said": said,
            "came": count.rate(),
        })).collect::<Vec<_>>(),
    });
    Calibration { text, table }
}

/// From, to, count and mean probability of each bin that holds anything.
#[expect(clippy::cast_precision_loss, reason = "one of ten bins")]
fn reliability(judged: &[(f64, Count)]) -> Vec<(f64, f64, Count, f64)> {
    let width = 1.0 / BINS as f64;
    let edge = |i: usize| i as f64 * width;
    let mut bins = Vec::new();
    for i in 0..BINS {
        let (from, to) = (edge(i), edge(i + 1));
        let is_last = i + 1 == BINS;
        let inside = |p: f64| p >= from && (p < to || is_last);
        let (mut count, mut said) = (Count::default(), 0.0);
        for (p, one) in judged.iter().filter(|(p, _)| inside(*p)) {
            count.n += one.n;
            count.hits += one.hits;
            said += p * one.n;
        }
        if count.n > 0.0 {
            bins.push((from, to, count, said / count.n));
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(of: &[(f64, f64, f64)]) -> Scores {
        of.iter().map(|&(score, n, hits)| (step(score), Count { n, hits })).collect()
    }

    #[test]
    fn adjacent_violators_are_pooled() {
        let fit = Fit::isotonic(&scores(&[
            (0.0, 100.0, 0.0),
            (0.2, 10.0, 4.0),
            (0.4, 10.0, 2.0),
            (0.6, 10.0, 9.0),
        ]));
        assert_eq!(fit, Fit::Isotonic(vec![(0.0, 0.0), (0.2, 0.3), (0.6, 0.9)]));
        assert_eq!(
            [0.0, 0.1, 0.2, 0.5, 0.6, 1.0].map(|x| fit.at(x)),
            [0.0, 0.0, 0.3, 0.3, 0.9, 0.9]
        );
    }

    #[test]
    fn a_logistic_curve_is_found_again() {
        let truth = Fit::Logistic(-3.0, 6.0);
        let each = (0..=10).map(|i| f64::from(i) / 10.0);
        let exact: Vec<_> = each.map(|x| (x, 1e5, 1e5 * truth.at(x))).collect();
        let Fit::Logistic(a, b) = Fit::logistic(&scores(&exact)) else { panic!("logistic") };
        assert!((a + 3.0).abs() < 0.01 && (b - 6.0).abs() < 0.01, "{a} {b}");
    }

    #[test]
    fn an_episode_is_judged_by_the_others() {
        // Where score 0.5 meant a hit in one episode only, the others say it never does.
        let hit = scores(&[(0.5, 10.0, 10.0)]);
        let miss = scores(&[(0.5, 10.0, 0.0)]);
        let pairs = Pairs { episodes: vec![hit, miss.clone(), miss] };
        let judged = pairs.judged(Fit::isotonic);
        assert_eq!(judged.iter().map(|one| one.0).collect::<Vec<_>>(), [0.0, 0.5, 0.5]);
        assert!((brier(&judged) - (10.0 + 2.5 + 2.5) / 30.0).abs() < 1e-9);
    }

    #[test]
    fn bins_hold_everything_once() {
        let count = Count { n: 5.0, hits: 1.0 };
        let bins = reliability(&[(0.0, count), (0.1, count), (1.0, count), (0.95, count)]);
        assert_eq!(bins.iter().map(|bin| bin.2.n).collect::<Vec<_>>(), [5.0, 5.0, 10.0]);
    }
}
