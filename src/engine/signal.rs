//! From evidence and its surroundings to a probability, and from that to a level that does not flicker.
//!
//! Six components of 0..1 are reported: velocity, acceleration and volume are the risk factors of that
//! name, open-interest change, funding and volatility climb rungs of their own. What makes an alarm is
//! [`super::evidence`]; the last three surround it: they make liquidations more telling but are none.
//! Their mean by weight (one that is missing adds nothing, and coverage says so) strengthens evidence
//! that is there by a tenth at most and never make an ALERT of what is none, and the result, on the scale of [`super::calibration`], is the
//! probability.
//!
//! A level is entered at once and left only after the probability has stayed a margin below it for
//! a while. A run of levels above NONE is an episode and has a number.

use super::factor::climb;
use super::settings::{Levels, Settings};
use crate::signal::{COMPONENT_COUNT, FACTOR_COUNT, Level};
use crate::time::{NS_PER_MS, Nanos};

/// Where the velocity, acceleration and volume components stand among the factors.
const SHARED: [usize; 3] = [0, 1, 3];
/// Components that surround.
pub const AROUND: usize = COMPONENT_COUNT - SHARED.len();
/// Share by which surroundings strengthen evidence at most.
const SURROUNDINGS: f64 = 0.1;
/// Evidence of ALERT, which surroundings do not lift anything to.
const ENOUGH: f64 = 0.5;

/// What surrounds the liquidations of a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// Relative change of open interest over 5 min.
    pub oi_change: Option<f64>,
    /// Funding rate.
    pub funding: Option<f64>,
    /// Volatility of the reference price.
    pub volatility: Option<f64>,
}

/// Scores of the surroundings, 0..1: the last components.
#[inline]
#[must_use]
pub fn around(around: Surroundings, settings: &Settings) -> [Option<f64>; AROUND] {
    let signal = &settings.signal;
    let score = |value: Option<f64>, rungs| value.map(|value| climb(value.abs(), rungs) / 100.0);
    [
        score(around.oi_change, &signal.oi_change.rungs),
        score(around.funding, &signal.funding.rungs),
        score(around.volatility, &signal.volatility.rungs),
    ]
}

/// How telling the surroundings are, 0..1.
#[inline]
#[must_use]
pub fn telling(around: &[Option<f64>; AROUND], weights: &[f64; COMPONENT_COUNT]) -> f64 {
    let [.., oi_change, funding, volatility] = *weights;
    let weights = [oi_change, funding, volatility];
    let whole: f64 = weights.iter().sum();
    let there = around.iter().zip(weights).map(|(score, weight)| score.unwrap_or(0.0) * weight);
    let there: f64 = there.sum();
    if whole > 0.0 { there / whole } else { 0.0 }
}

/// All scores, in the order of [`crate::signal::COMPONENT_NAMES`].
#[must_use]
pub fn components(
    factors: &[Option<f64>; FACTOR_COUNT],
    around: [Option<f64>; AROUND],
) -> [Option<f64>; COMPONENT_COUNT] {
    let [velocity, acceleration, volume] = SHARED.map(|i| factors[i].map(|score| score / 100.0));
    let [oi_change, funding, volatility] = around;
    [velocity, acceleration, volume, oi_change, funding, volatility]
}

/// The share of all components' weight that is there.
#[must_use]
pub fn share(components: &[Option<f64>; COMPONENT_COUNT], weights: &[f64; COMPONENT_COUNT]) -> f64 {
    components.iter().zip(weights).map(present).sum()
}

/// Evidence in its surroundings, 0..1.
#[must_use]
pub fn weighed(evidence: f64, context: f64) -> f64 {
    let most = if evidence < ENOUGH { ENOUGH - f64::EPSILON } else { 1.0 };
    (evidence * (1.0 + SURROUNDINGS * context)).min(most)
}

fn present((score, weight): (&Option<f64>, &f64)) -> f64 {
    if score.is_some() { *weight } else { 0.0 }
}

/// The level a row stands at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// The level.
    pub level: Level,
    /// Number of the episode, 0 outside of one.
    pub episode: u64,
    /// When the last signal was sent.
    pub spoken: Nanos,
    /// Since when the probability has been a margin below the level.
    low_since: Option<Nanos>,
}

impl Standing {
    /// The level that follows from `probability` now; the present one while it holds.
    pub fn next(&mut self, probability: f64, now: Nanos, levels: &Levels) -> Level {
        let bounds = levels.bounds();
        let above = bounds.iter().filter(|&&bound| probability >= bound).count();
        let reached = Level::ALL.get(above).copied().unwrap_or_default();
        let own = (self.level as usize).checked_sub(1).and_then(|i| bounds.get(i));
        if reached > self.level {
            self.low_since = None;
            return reached;
        }
        if own.is_none_or(|&bound| probability >= bound - levels.margin) {
            self.low_since = None;
            return self.level;
        }
        let since = *self.low_since.get_or_insert(now);
        if now.since(since) < levels.hold_ms * NS_PER_MS {
            return self.level;
        }
        self.low_since = None;
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = NS_PER_MS;

    #[test]
    fn a_missing_component_lowers_the_share_and_adds_nothing() {
        let weights = Settings::default().signal.weights();
        let factors = [Some(60.0); FACTOR_COUNT];
        let of =
            |around| (telling(&around, &weights), share(&components(&factors, around), &weights));
        let (nothing, known) = of([None; AROUND]);
        assert!(nothing == 0.0 && (known - 0.65).abs() < 1e-12);
        let (something, known) = of([Some(0.5), None, None]);
        assert!(something > 0.0 && (known - 0.80).abs() < 1e-12);
    }

    #[test]
    fn surroundings_alone_are_no_cascade() {
        assert_eq!(weighed(0.0, 1.0), 0.0);
        assert!(weighed(0.49, 1.0) < 0.5 && weighed(0.6, 1.0) > weighed(0.6, 0.0));
        assert_eq!(weighed(1.0, 1.0), 1.0);
    }

    #[test]
    fn a_level_is_entered_at_once_and_left_late() {
        let levels = Levels { hold_ms: 2_000, ..Levels::default() };
        let mut standing = Standing::default();
        let mut at = |ms: u64, probability| {
            standing.level = standing.next(probability, Nanos(ms * MS), &levels);
            standing.level
        };
        assert_eq!(at(0, 0.29), Level::None);
        assert_eq!(at(1, 0.71), Level::Critical);
        assert_eq!(at(2, 0.66), Level::Critical, "within the margin");
        assert_eq!(at(100, 0.4), Level::Critical, "not for long");
        assert_eq!(at(1_000, 0.66), Level::Critical, "the wait begins anew");
        assert_eq!(at(1_100, 0.4), Level::Critical);
        assert_eq!(at(3_100, 0.4), Level::Watch);
        assert_eq!(at(3_200, 0.95), Level::Extreme);
        assert_eq!(at(3_300, 0.0), Level::Extreme);
        assert_eq!(at(5_300, 0.0), Level::None);
    }
}
