//! What the market showed at each of its liquidations, kept: other thresholds can be asked about
//! without playing again.
//!
//! Evidence is as strong as its weakest condition, and a condition holds from a value on. So what
//! decides is, for each idea that is asked about, how many times the value that a level needs was
//! there. A threshold times `m` is met where that is at least `m`: 1 is the engine as it is, 0 asks
//! nothing, infinity is never met.
//!
//! ```text
//! alarm = (all of (significance, dispersion, breadth, money, seconds) or minute) and price
//! ```
//! When an alarm rises is exact; it is taken to fall [`Levels::hold_ms`] after it last held.
//!
//! [`Levels::hold_ms`]: crate::engine::settings::Levels::hold_ms

use super::alarm::Alarms;
use crate::engine::calibration::calibrated;
use crate::engine::evidence::{Condition, HINT};
use crate::engine::settings::{Proof, Settings};
use crate::signal::FACTOR_COUNT;

/// What is asked about: the first [`TOGETHER`] hold together, or the minute does, and the price.
pub const IDEAS: [&str; 7] =
    ["significance", "dispersion", "breadth", "money", "seconds", "minute", "price"];
/// How many of [`IDEAS`] must hold together.
const TOGETHER: usize = 5;
const MINUTE: usize = 5;
const PRICE: usize = 6;
/// Evidence that makes risk more than its size.
const HINTED: f64 = 0.3;

/// Times each of [`IDEAS`].
pub type Times = [f64; IDEAS.len()];

/// The engine as it is.
pub const AS_IT_IS: Times = [1.0; IDEAS.len()];

/// The market at one liquidation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// When it was received, ms.
    pub at: i64,
    /// Value over what the level needs, of each of [`IDEAS`]; infinite where it is not asked about.
    pub reached: Times,
    /// Whether there is any evidence, so that risk is more than size.
    pub is_hinted: bool,
    /// Scores of the risk factors.
    pub factors: [Option<f64>; FACTOR_COUNT],
}

/// What a level asks of each condition.
#[derive(Clone, Debug)]
pub struct Yardstick {
    proof: Proof,
    evidence: f64,
}

impl Yardstick {
    /// For the level that begins at probability `bound`.
    #[must_use]
    pub fn new(settings: &Settings, bound: f64) -> Self {
        let evidence = (0..=1_000).map(|step| f64::from(step) / 1e3);
        let least = evidence.clone().find(|&strength| calibrated(strength) >= bound);
        Self { proof: settings.proof, evidence: least.unwrap_or(1.0) }
    }

    /// The market under `conditions`.
    #[must_use]
    pub fn measure(
        &self,
        at: i64,
        conditions: &[Condition],
        factors: [Option<f64>; FACTOR_COUNT],
    ) -> Moment {
        let mut reached: Times = [f64::INFINITY; IDEAS.len()];
        reached[MINUTE] = 0.0;
        for condition in conditions {
            if let Some((i, rungs)) = self.idea(condition.name) {
                reached[i] = condition.value / needed(self.evidence, rungs);
            } else if condition.name == "price" && self.evidence > HINT {
                reached[PRICE] = condition.value / self.proof.flat;
            }
        }
        let hint = conditions.iter().find(|condition| condition.name == "hint");
        let is_hinted = hint.is_some_and(|hint| hint.score >= HINTED);
        Moment { at, reached, is_hinted, factors }
    }

    fn idea(&self, condition: &str) -> Option<(usize, &[f64; 4])> {
        let proof = &self.proof;
        Some(match condition {
            "significance_2s" | "significance_10s" => (0, &proof.significance),
            "dispersion_2s" => (1, &proof.dispersion),
            "breadth_2s" => (2, &proof.breadth),
            "money_2s" => (3, &proof.money),
            "money_10s" => (3, &proof.sustained_money),
            "seconds_of_10" => (4, &proof.seconds),
            "minute" => (MINUTE, &proof.minute),
            _ => return None,
        })
    }
}

/// The value at which a condition with these rungs is evidence of this strength.
fn needed(evidence: f64, rungs: &[f64; 4]) -> f64 {
    let mut below = (0.0, 0.0);
    for above in [0.3, 0.5, 0.7, 0.9].into_iter().zip(*rungs) {
        if evidence <= above.0 {
            return below.1 + (above.1 - below.1) * (evidence - below.0) / (above.0 - below.0);
        }
        below = above;
    }
    below.1 + (below.1 - rungs[2]) * (evidence - 0.9) / 0.1
}

impl Moment {
    /// Whether it is an alarm where every threshold is `times` what it is.
    #[must_use]
    pub fn is_alarm(&self, times: &Times) -> bool {
        let met = |i: usize| self.reached[i] >= times[i];
        ((0..TOGETHER).all(met) || met(MINUTE)) && met(PRICE)
    }

    /// How near it came to an alarm: the least of what must hold together, or the minute; 1 is one.
    #[must_use]
    pub fn nearness(&self) -> f64 {
        let together = self.reached.iter().take(TOGETHER).copied().fold(f64::INFINITY, f64::min);
        together.max(self.reached[MINUTE]).min(self.reached[PRICE])
    }
}

/// The alarms of whatever `is_on` says of each moment, each standing `hold_ms` longer than it held.
#[must_use]
pub fn alarms<'a>(
    moments: impl IntoIterator<Item = &'a Moment>,
    hold_ms: i64,
    is_on: impl Fn(&Moment) -> bool,
) -> Alarms {
    let (mut alarms, mut until) = (Alarms::default(), None);
    for moment in moments {
        if let Some(end) = until.filter(|&end| moment.at > end) {
            alarms.set(end, false);
            until = None;
        }
        if is_on(moment) {
            alarms.set(moment.at, true);
            until = Some(moment.at + hold_ms);
        }
    }
    if let Some(end) = until {
        alarms.set(end, false);
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::evidence::ascend;

    #[test]
    fn what_is_needed_is_what_ascends_to_it() {
        let rungs = Proof::default().minute;
        for evidence in [0.1, 0.3, 0.4, 0.5, 0.64, 0.9, 0.95] {
            assert!((ascend(needed(evidence, &rungs), &rungs) - evidence).abs() < 1e-12);
        }
    }

    #[test]
    fn a_condition_decides_only_where_it_is_the_weakest() {
        let alert = Yardstick::new(&Settings::default(), 0.5);
        let of = |name, value| Condition { name, value, score: 0.0 };
        let conditions = [
            of("significance_2s", 9.0),
            of("dispersion_2s", 20.0),
            of("breadth_2s", 40.0),
            of("money_2s", 5e4),
            of("price", 1e-3),
        ];
        let moment = alert.measure(7, &conditions, [None; FACTOR_COUNT]);
        let but = |i: usize, times| {
            let mut changed = AS_IT_IS;
            changed[i] = times;
            moment.is_alarm(&changed)
        };
        assert!(!moment.is_alarm(&AS_IT_IS), "{moment:?}");
        assert!(but(1, 0.0) && but(1, 0.8) && !but(1, 0.81), "only dispersion is wanting");
        assert!(!but(0, 0.0) && !but(5, 0.5));
        let minute = |price| {
            let conditions = [of("significance_2s", 0.0), of("minute", 2.3), of("price", price)];
            alert.measure(7, &conditions, [None; FACTOR_COUNT]).is_alarm(&AS_IT_IS)
        };
        assert!(minute(8e-4) && !minute(7e-4), "a flat price");
    }

    #[test]
    fn an_alarm_stands_as_long_as_it_is_held() {
        let times = [0, 1_000, 5_000, 40_000, 200_000];
        let moments = times.map(|at| Moment {
            at,
            reached: AS_IT_IS,
            is_hinted: true,
            factors: [None; FACTOR_COUNT],
        });
        let alarms = alarms(&moments, 10_000, |moment| moment.at != 5_000);
        let spans: Vec<_> = alarms.all().iter().map(|alarm| (alarm.rose, alarm.fell)).collect();
        assert_eq!((spans, alarms.edges), (vec![(0, 50_000), (200_000, 210_000)], 3));
    }
}
