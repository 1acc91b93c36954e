//! The six risk factors: what each measures, and how a value climbs its rungs.
//!
//! A score is 0..100: 25, 50, 75 and 100 at the four rungs, linear between, proportional below the
//! first. Rungs are never moved; the value is divided by what would have moved them (the regime, the
//! market's own scale, the share of the truth a source shows), which is the same.
//!
//! | factor | value |
//! |---|---|
//! | velocity | 0.4 v(500 ms, from 3 arrivals) + 0.4 v(10 s) + 0.2 v(60 s) |
//! | acceleration | at 2 s, where positive, significant and dispersed |
//! | jerk | the same |
//! | volume | USD of 60 s, x1.2 where the mean event is large |
//! | correlation | mean over pairs of venues |
//! | clustering | branching ratio |
//!
//! Velocity, acceleration and jerk are of arrivals (see [`super::row`]). Nothing is scored while no
//! venue can be heard.

use super::kinematics::{Lags, differences, variances};
use super::row::{Load, MINUTE, Row, View};
use super::settings::Settings;
use crate::signal::{FACTOR_COUNT, FAST, SLOW, WINDOW_MS};

/// What the rungs of a row are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Scales {
    /// Of velocity.
    pub velocity: f64,
    /// Of acceleration and jerk.
    pub acceleration: f64,
    /// Of volume.
    pub volume: f64,
}

/// From where on acceleration and jerk mean something.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Distinct venue milliseconds in 2 s.
    pub dispersion: u32,
    /// Symbols in 2 s that there must be...
    pub breadth: u32,
    /// ...and that there are.
    pub symbols: u32,
    /// Whether the three windows lie within the time that was listened to.
    pub listened: bool,
}

/// Position of the 500 ms window.
const BURST: usize = 1;
/// Length of the headline window, s.
const FAST_S: f64 = WINDOW_MS[FAST] as f64 / 1e3;

/// The scores in the order of [`crate::signal::FACTOR_NAMES`].
#[inline(always)]
#[must_use]
pub fn scores(
    row: &Row,
    view: View<'_>,
    settings: &Settings,
    scales: Scales,
    gate: Gate,
) -> [Option<f64>; FACTOR_COUNT] {
    let risk = &settings.risk;
    let (acceleration, jerk) = motion(view.fast(), settings.significance, gate);
    let heard = |score| gate.listened.then_some(score);
    [
        Some(climb(
            velocity(
                [view.arrivals(BURST), view.arrivals(SLOW), view.arrivals(MINUTE)],
                settings.burst_events,
            ) / scales.velocity,
            &risk.velocity.rungs,
        )),
        heard(climb(acceleration / scales.acceleration, &risk.acceleration.rungs)),
        heard(climb(jerk / scales.acceleration, &risk.jerk.rungs)),
        Some(climb(volume(view.now(MINUTE), settings) / scales.volume, &risk.volume.rungs)),
        row.seconds.correlation.map(|value| climb(value, &risk.correlation.rungs)),
        row.seconds.clustering.map(|value| climb(value, &risk.clustering.rungs)),
    ]
}

/// Where a value stands on its rungs, 0..100.
#[must_use]
pub fn climb(value: f64, rungs: &[f64; 4]) -> f64 {
    // In a quiet market most values are none.
    if value <= 0.0 {
        return 0.0;
    }
    // Counted, not searched: which rung comes next cannot be foretold.
    let passed = rungs.len() - rungs.iter().filter(|&&rung| value < rung).count();
    if passed == rungs.len() {
        return 100.0;
    }
    let [first, second, third, _] = *rungs;
    let (below, rung) = ([0.0, first, second, third][passed], rungs[passed]);
    25.0 * passed as f64 + 25.0 * ((value - below) / (rung - below))
}

/// The mean of the scores that are there by weight, and the share of the weight that is there.
#[must_use]
pub fn weighted<const N: usize>(scores: &[Option<f64>; N], weights: &[f64; N]) -> (f64, f64) {
    let (mut sum, mut share) = (0.0, 0.0);
    for (score, weight) in scores.iter().zip(weights) {
        // What is missing adds two zeros, which costs less than going round it.
        let (score, weight) = score.map_or((0.0, 0.0), |score| (score, *weight));
        sum += score * weight;
        share += weight;
    }
    if share > 0.0 { (sum / share, share) } else { (0.0, 0.0) }
}

/// Of the arrivals of 500 ms, 10 s and 60 s.
fn velocity([burst, slow, minute]: [u32; 3], burst_events: u32) -> f64 {
    let per_second = |arrivals, i: usize| f64::from(arrivals) * 1e3 / WINDOW_MS[i] as f64;
    let burst = if burst >= burst_events { burst } else { 0 };
    0.4 * per_second(burst, BURST) + 0.4 * per_second(slow, SLOW) + 0.2 * per_second(minute, MINUTE)
}

/// Acceleration and jerk, each 0 unless positive and beyond what a steady rate does by chance.
fn motion(arrivals: Lags<u32>, limit: f64, gate: Gate) -> (f64, f64) {
    if arrivals[0] < gate.dispersion || gate.symbols < gate.breadth {
        return (0.0, 0.0);
    }
    let arrivals = arrivals.map(f64::from);
    let (first, second) = differences(arrivals);
    let (first_variance, second_variance) = variances(arrivals);
    // In squares: this is asked for every event, and a root is not needed to compare. Both sides of
    // the `&` are worked out, since every second value is above zero, and none can tell which.
    let counts = |value: f64, variance: f64| {
        let is_significant = (value > 0.0) & (value * value >= limit * limit * variance);
        if is_significant { value } else { 0.0 }
    };
    (
        counts(first, first_variance) / (FAST_S * FAST_S),
        counts(second, second_variance) / (FAST_S * FAST_S * FAST_S),
    )
}

#[expect(clippy::cast_precision_loss, reason = "micro-dollars, for a score")]
fn volume(minute: Load, settings: &Settings) -> f64 {
    let usd = minute.usd as f64 / 1e6;
    let is_large = usd > settings.large_usd * f64::from(minute.events);
    if is_large { usd * settings.large_scale } else { usd }
}

/// What the rungs of row `row` are multiplied by.
#[must_use]
pub fn scales(settings: &Settings, is_market: bool, shown: f64, regime: (f64, f64)) -> Scales {
    let (velocity, volume) = regime;
    let market = &settings.market;
    if is_market {
        Scales {
            velocity: velocity * market.velocity_scale,
            acceleration: velocity * market.acceleration_scale,
            volume: volume * market.volume_scale,
        }
    } else {
        Scales {
            velocity: velocity * shown,
            acceleration: velocity * shown,
            volume: volume * shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNGS: [f64; 4] = [2.0, 5.0, 10.0, 20.0];

    #[test]
    fn a_value_climbs_linearly_between_rungs() {
        let at = [-1.0, 0.0, 1.0, 2.0, 3.5, 5.0, 10.0, 15.0, 20.0, 1e9];
        let expected = [0.0, 0.0, 12.5, 25.0, 37.5, 50.0, 75.0, 87.5, 100.0, 100.0];
        assert_eq!(at.map(|value| climb(value, &RUNGS)), expected);
    }

    #[test]
    fn what_is_missing_is_left_out_and_lowers_the_share() {
        assert_eq!(weighted(&[Some(80.0), None], &[0.25, 0.75]), (80.0, 0.25));
        assert_eq!(weighted(&[None, None], &[0.5, 0.5]), (0.0, 0.0));
    }

    #[test]
    fn motion_counts_where_it_is_significant_dispersed_and_broad() {
        let gate = Gate { dispersion: 5, breadth: 3, symbols: 3, listened: true };
        assert_eq!(motion([16, 0, 0], 3.0, gate), (4.0, 2.0));
        assert_eq!(motion([16, 8, 0], 3.0, gate), (0.0, 0.0), "1.6 sd");
        assert_eq!(motion([0, 16, 0], 3.0, gate), (0.0, 0.0), "slowing down");
        assert_eq!(motion([16, 0, 0], 3.0, Gate { dispersion: 17, ..gate }).0, 0.0);
        assert_eq!(motion([16, 0, 0], 3.0, Gate { symbols: 2, ..gate }).0, 0.0);
    }

    #[test]
    fn velocity_needs_three_arrivals_in_half_a_second() {
        assert!((velocity([2, 10, 0], 3) - 0.4).abs() < 1e-12);
        assert!((velocity([3, 10, 0], 3) - 2.8).abs() < 1e-12);
    }

    #[test]
    fn large_events_weigh_more_in_volume() {
        let minute = Load { events: 2, arrivals: 2, usd: 200_000_000_000 };
        let settings = Settings::default();
        assert!((volume(minute, &settings) - 240_000.0).abs() < 1e-6);
    }
}
