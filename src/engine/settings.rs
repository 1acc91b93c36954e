//! What a user may set about the arithmetic, and within which limits.
//!
//! Rungs and weights are judgement, so all of them are here; the windows are not, since every
//! consumer knows them by name. Nothing is scored with settings that did not pass
//! [`Settings::check`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::signal::{COMPONENT_COUNT, FACTOR_COUNT};

/// Most symbols the engine can hold, with `MARKET` and `OTHER`.
pub const SYMBOLS_MAX: usize = 4_096;
/// Fewest: `MARKET`, `OTHER` and one symbol.
const SYMBOLS_MIN: usize = 3;

/// Everything a user may set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Rows, `MARKET` and `OTHER` included; symbols beyond it share the row `OTHER`.
    pub max_symbols: usize,
    /// A row's state is reported at most this often, ms.
    pub state_ms: u64,
    /// A standing signal is repeated this often, ms.
    pub heartbeat_ms: u64,
    /// Acceleration and jerk count from this many standard deviations.
    pub significance: f64,
    /// The 500 ms velocity counts from this many arrivals.
    pub burst_events: u32,
    /// Acceleration and jerk of a symbol count from this dispersion (distinct venue milliseconds
    /// in 2 s): a portfolio liquidated in one instant has 1 to 4.
    pub dispersion: u32,
    /// Events of this mean value over 60 s make volume count [`Settings::large_scale`] times, USD.
    pub large_usd: f64,
    /// See [`Settings::large_usd`].
    pub large_scale: f64,
    /// The six risk factors.
    pub risk: Risk,
    /// Where the row `MARKET` differs.
    pub market: Market,
    /// Rungs divided out of sources that do not show everything.
    pub completeness: Shown,
    /// The six components of the probability.
    pub signal: Signal,
    /// What evidence of a cascade needs.
    pub proof: Proof,
    /// What pressure of trades needs.
    pub push: Push,
    /// Levels of the probability.
    pub levels: Levels,
    /// Clustering and correlation.
    pub rhythm: Rhythm,
    /// The regime of the reference price.
    pub regime: Climate,
}

/// One input, its weight among its fellows, and the values that score 25, 50, 75 and 100.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Share of the total; the weights of one table add up to 1.
    pub weight: f64,
    /// Rising, above zero.
    pub rungs: [f64; 4],
}

/// The six risk factors, and the scores that make a level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Risk {
    /// Arrivals per second, blended over 500 ms, 10 s and 60 s.
    pub velocity: Factor,
    /// Arrivals per second squared at 2 s.
    pub acceleration: Factor,
    /// Arrivals per second cubed at 2 s.
    pub jerk: Factor,
    /// USD over 60 s.
    pub volume: Factor,
    /// Mean correlation over pairs of venues, 0..1.
    pub correlation: Factor,
    /// Branching ratio, 0..1.
    pub clustering: Factor,
    /// Scores from which risk is LOW, MEDIUM, HIGH, CRITICAL.
    pub levels: [f64; 4],
}

/// Where the row `MARKET` differs from a symbol: what is many for one is nothing for five hundred.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Market {
    /// Times the rungs of velocity.
    pub velocity_scale: f64,
    /// Times the rungs of acceleration and jerk.
    pub acceleration_scale: f64,
    /// Times the rungs of volume.
    pub volume_scale: f64,
    /// As [`Settings::dispersion`].
    pub dispersion: u32,
    /// Acceleration and jerk count from this many symbols in 2 s.
    pub breadth: u32,
}

/// Share of the events that a source of each completeness is taken to show: a symbol's rungs are
/// multiplied by it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shown {
    /// At most one event per symbol per second.
    pub sampled: f64,
    /// Some are missing.
    pub lossy: f64,
}

/// The components of the probability: three factors of [`Risk`] by weight alone, three of their own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signal {
    /// Weight of the risk factor of that name.
    pub velocity_weight: f64,
    /// Weight of the risk factor of that name.
    pub acceleration_weight: f64,
    /// Weight of the risk factor of that name.
    pub volume_weight: f64,
    /// Relative change of open interest over 5 min, either way.
    pub oi_change: Factor,
    /// Funding rate per interval, either way.
    pub funding: Factor,
    /// Root mean square of 1 s log returns over 5 min.
    pub volatility: Factor,
}

/// What evidence of a cascade needs: rungs of WATCH, ALERT, CRITICAL and EXTREME.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proof {
    /// Standard deviations above the row's own past.
    pub significance: [f64; 4],
    /// Distinct venue milliseconds of the market in 2 s.
    pub dispersion: [f64; 4],
    /// Symbols of the market in 2 s, where there are [`Proof::universe`] or more; in proportion where
    /// there are fewer.
    pub breadth: [f64; 4],
    /// See [`Proof::breadth`].
    pub universe: f64,
    /// USD of the market in 2 s, without its largest second.
    pub money: [f64; 4],
    /// Weight of a minute.
    pub minute: [f64; 4],
    /// Money is measured in units of this many times 100,000 USD: below 1 for thin venues.
    pub minute_scale: f64,
    /// Seconds of 10 in which a symbol is liquidated.
    pub seconds: [f64; 4],
    /// USD of a symbol in 10 s, without its largest second.
    pub sustained_money: [f64; 4],
    /// Distinct venue milliseconds in 2 s from which significance alone is a hint.
    pub hint_dispersion: u32,
    /// A reference price that is known to have stayed within this share of itself for a minute is
    /// flat, and evidence of the market no more than WATCH.
    pub flat: f64,
}

/// What pressure of trades needs: rungs of WATCH; further ones say how strong it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    /// Standard deviations above the past of the flow of trades.
    pub significance: [f64; 4],
    /// Imbalance of takers, 0..1.
    pub imbalance: [f64; 4],
}

/// When the level changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Levels {
    /// Probability from which it is WATCH.
    pub watch: f64,
    /// From which it is ALERT.
    pub alert: f64,
    /// From which it is CRITICAL.
    pub critical: f64,
    /// From which it is EXTREME.
    pub extreme: f64,
    /// A level is left this far below where it was entered...
    pub margin: f64,
    /// ...and only after this long, ms.
    pub hold_ms: u64,
}

/// How much clustering and correlation need before they say anything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rhythm {
    /// Whole seconds listened to.
    pub clustering_seconds: u64,
    /// Events among them.
    pub clustering_events: u64,
    /// Events of each venue of a pair in 60 s.
    pub correlation_events: u64,
}

/// Where one regime ends and the next begins, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Climate {
    /// Volatility (root mean square of 1 s log returns) from which it is LOW, NORMAL, ELEVATED,
    /// HIGH, EXTREME.
    pub bounds: [f64; 5],
    /// A regime is left downwards this far below its bound, as a share of it.
    pub margin: f64,
    /// Before it is left upwards it has lasted this long, ms.
    pub rise_ms: u64,
    /// And downwards, ms.
    pub fall_ms: u64,
    /// Times the rungs of velocity, acceleration and jerk, from DORMANT to EXTREME.
    pub velocity_scales: [f64; 6],
    /// Times the rungs of volume.
    pub volume_scales: [f64; 6],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_symbols: SYMBOLS_MAX,
            state_ms: 100,
            heartbeat_ms: 1_000,
            significance: 4.0,
            burst_events: 3,
            dispersion: 5,
            large_usd: 50_000.0,
            large_scale: 1.2,
            risk: Risk::default(),
            market: Market::default(),
            completeness: Shown::default(),
            signal: Signal::default(),
            proof: Proof::default(),
            push: Push::default(),
            levels: Levels::default(),
            rhythm: Rhythm::default(),
            regime: Climate::default(),
        }
    }
}

impl Default for Risk {
    fn default() -> Self {
        Self {
            velocity: Factor { weight: 0.25, rungs: [2.0, 5.0, 10.0, 20.0] },
            acceleration: Factor { weight: 0.20, rungs: [1.0, 3.0, 5.0, 10.0] },
            jerk: Factor { weight: 0.15, rungs: [0.5, 2.0, 5.0, 10.0] },
            volume: Factor { weight: 0.20, rungs: [1e5, 5e5, 1e6, 5e6] },
            correlation: Factor { weight: 0.15, rungs: [0.25, 0.5, 0.6, 0.7] },
            clustering: Factor { weight: 0.05, rungs: [0.3, 0.5, 0.7, 0.9] },
            levels: [20.0, 40.0, 55.0, 80.0],
        }
    }
}

impl Default for Market {
    fn default() -> Self {
        Self {
            velocity_scale: 3.0,
            acceleration_scale: 2.0,
            volume_scale: 1.0,
            dispersion: 12,
            breadth: 3,
        }
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self { sampled: 0.5, lossy: 0.8 }
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self {
            velocity_weight: 0.25,
            acceleration_weight: 0.20,
            volume_weight: 0.20,
            oi_change: Factor { weight: 0.15, rungs: [0.005, 0.01, 0.02, 0.04] },
            funding: Factor { weight: 0.10, rungs: [2e-4, 5e-4, 1e-3, 2e-3] },
            volatility: Factor { weight: 0.10, rungs: [1.2e-4, 2.5e-4, 5e-4, 1e-3] },
        }
    }
}

impl Default for Proof {
    fn default() -> Self {
        Self {
            significance: [4.0, 6.0, 9.0, 13.0],
            dispersion: [10.0, 25.0, 60.0, 120.0],
            breadth: [8.0, 20.0, 50.0, 100.0],
            universe: 130.0,
            money: [1e4, 2.5e4, 1.5e5, 6e5],
            minute: [1.3, 2.3, 3.5, 5.0],
            minute_scale: 1.0,
            seconds: [3.0, 5.0, 7.0, 9.0],
            sustained_money: [3e4, 1e5, 5e5, 2e6],
            hint_dispersion: 5,
            flat: 0.0008,
        }
    }
}

impl Default for Push {
    fn default() -> Self {
        Self { significance: [4.0, 6.0, 9.0, 13.0], imbalance: [0.6, 0.75, 0.9, 0.97] }
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self { watch: 0.3, alert: 0.5, critical: 0.7, extreme: 0.9, margin: 0.05, hold_ms: 10_000 }
    }
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { clustering_seconds: 60, clustering_events: 20, correlation_events: 5 }
    }
}

impl Default for Climate {
    fn default() -> Self {
        Self {
            bounds: [2e-5, 4e-5, 1.2e-4, 2.5e-4, 5e-4],
            margin: 0.15,
            rise_ms: 5_000,
            fall_ms: 60_000,
            velocity_scales: [0.5, 0.75, 1.0, 1.5, 2.0, 2.5],
            volume_scales: [0.6, 0.8, 1.0, 1.3, 1.6, 2.0],
        }
    }
}

/// A setting that is out of its limits, in one line that names the key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Invalid {
    /// The key, within the engine's settings.
    pub key: &'static str,
    /// What it must be.
    pub rule: &'static str,
    /// What it is.
    pub value: f64,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}, not {}", self.key, self.rule, self.value)
    }
}

impl std::error::Error for Invalid {}

type Checked = Result<(), Invalid>;

impl Settings {
    /// Whether every value is within its limits.
    ///
    /// # Errors
    /// Names the first key that is not.
    pub fn check(&self) -> Checked {
        #[expect(clippy::cast_precision_loss, reason = "for comparison with small limits")]
        let symbols = self.max_symbols as f64;
        let limits = SYMBOLS_MIN as f64..=SYMBOLS_MAX as f64;
        require("max_symbols", "from 3 to 4096", symbols, limits.contains(&symbols))?;
        milliseconds("state_ms", self.state_ms)?;
        milliseconds("heartbeat_ms", self.heartbeat_ms)?;
        above_zero("significance", self.significance)?;
        above_zero("large_usd", self.large_usd)?;
        above_zero("large_scale", self.large_scale)?;
        self.risk.check()?;
        self.signal.check()?;
        above_zero("market.velocity_scale", self.market.velocity_scale)?;
        above_zero("market.acceleration_scale", self.market.acceleration_scale)?;
        above_zero("market.volume_scale", self.market.volume_scale)?;
        share("completeness.sampled", self.completeness.sampled)?;
        share("completeness.lossy", self.completeness.lossy)?;
        self.proof.check()?;
        rising("push.significance", &self.push.significance)?;
        rising("push.imbalance", &self.push.imbalance)?;
        self.levels.check()?;
        self.rhythm.check()?;
        self.regime.check()
    }
}

impl Risk {
    /// The factors in the order of [`crate::signal::FACTOR_NAMES`].
    #[must_use]
    pub fn factors(&self) -> [Factor; FACTOR_COUNT] {
        [
            self.velocity,
            self.acceleration,
            self.jerk,
            self.volume,
            self.correlation,
            self.clustering,
        ]
    }

    fn check(&self) -> Checked {
        rising("risk.velocity.rungs", &self.velocity.rungs)?;
        rising("risk.acceleration.rungs", &self.acceleration.rungs)?;
        rising("risk.jerk.rungs", &self.jerk.rungs)?;
        rising("risk.volume.rungs", &self.volume.rungs)?;
        rising("risk.correlation.rungs", &self.correlation.rungs)?;
        rising("risk.clustering.rungs", &self.clustering.rungs)?;
        rising("risk.levels", &self.levels)?;
        whole("risk.*.weight", &self.factors().map(|factor| factor.weight))
    }
}

impl Signal {
    /// Weights in the order of [`crate::signal::COMPONENT_NAMES`].
    #[must_use]
    pub fn weights(&self) -> [f64; COMPONENT_COUNT] {
        [
            self.velocity_weight,
            self.acceleration_weight,
            self.volume_weight,
            self.oi_change.weight,
            self.funding.weight,
            self.volatility.weight,
        ]
    }

    fn check(&self) -> Checked {
        rising("signal.oi_change.rungs", &self.oi_change.rungs)?;
        rising("signal.funding.rungs", &self.funding.rungs)?;
        rising("signal.volatility.rungs", &self.volatility.rungs)?;
        whole("signal.*weight", &self.weights())
    }
}

impl Proof {
    fn check(&self) -> Checked {
        rising("proof.significance", &self.significance)?;
        rising("proof.dispersion", &self.dispersion)?;
        rising("proof.breadth", &self.breadth)?;
        above_zero("proof.universe", self.universe)?;
        rising("proof.money", &self.money)?;
        rising("proof.minute", &self.minute)?;
        above_zero("proof.minute_scale", self.minute_scale)?;
        rising("proof.seconds", &self.seconds)?;
        rising("proof.sustained_money", &self.sustained_money)?;
        above_zero("proof.flat", self.flat)
    }
}

impl Levels {
    /// Probabilities from which each level above NONE stands, rising.
    #[must_use]
    pub fn bounds(&self) -> [f64; 4] {
        [self.watch, self.alert, self.critical, self.extreme]
    }

    fn check(&self) -> Checked {
        rising("levels.watch, alert, critical, extreme", &self.bounds())?;
        share("levels.extreme", self.extreme)?;
        let margin = self.margin;
        let fits = margin >= 0.0 && margin < self.watch;
        require("levels.margin", "at least 0 and below levels.watch", margin, fits)?;
        milliseconds("levels.hold_ms", self.hold_ms)
    }
}

impl Rhythm {
    fn check(&self) -> Checked {
        #[expect(clippy::cast_precision_loss, reason = "for comparison with small limits")]
        let seconds = self.clustering_seconds as f64;
        require("rhythm.clustering_seconds", "from 2 to 300", seconds, {
            (2..=300).contains(&self.clustering_seconds)
        })?;
        let least = |key, events: u64| require(key, "at least 2", events as f64, events >= 2);
        least("rhythm.clustering_events", self.clustering_events)?;
        least("rhythm.correlation_events", self.correlation_events)
    }
}

impl Climate {
    fn check(&self) -> Checked {
        rising("regime.bounds", &self.bounds)?;
        let below_one = (0.0..1.0).contains(&self.margin);
        require("regime.margin", "at least 0 and below 1", self.margin, below_one)?;
        milliseconds("regime.rise_ms", self.rise_ms)?;
        milliseconds("regime.fall_ms", self.fall_ms)?;
        for scale in self.velocity_scales {
            above_zero("regime.velocity_scales", scale)?;
        }
        self.volume_scales
            .into_iter()
            .try_for_each(|scale| above_zero("regime.volume_scales", scale))
    }
}

fn require(key: &'static str, rule: &'static str, value: f64, holds: bool) -> Checked {
    if holds { Ok(()) } else { Err(Invalid { key, rule, value }) }
}

fn above_zero(key: &'static str, value: f64) -> Checked {
    require(key, "above 0 and at most 1e12", value, value > 0.0 && value <= 1e12)
}

fn share(key: &'static str, value: f64) -> Checked {
    require(key, "above 0 and at most 1", value, value > 0.0 && value <= 1.0)
}

#[expect(clippy::cast_precision_loss, reason = "for comparison with small limits")]
fn milliseconds(key: &'static str, ms: u64) -> Checked {
    require(key, "from 1 to 3600000 ms", ms as f64, (1..=3_600_000).contains(&ms))
}

fn rising(key: &'static str, values: &[f64]) -> Checked {
    let mut before = 0.0;
    for &value in values {
        require(key, "finite, above 0 and rising", value, value > before && value <= 1e15)?;
        before = value;
    }
    Ok(())
}

fn whole(key: &'static str, weights: &[f64]) -> Checked {
    for &weight in weights {
        require(key, "from 0 to 1", weight, (0.0..=1.0).contains(&weight))?;
    }
    let sum: f64 = weights.iter().sum();
    require(key, "weights that add up to 1", sum, (sum - 1.0).abs() < 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl Fn(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_within_their_limits() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn what_is_out_of_its_limits_is_named() {
        assert_eq!(
            refusal(|s| s.max_symbols = 5_000),
            "max_symbols must be from 3 to 4096, not 5000"
        );
        assert!(refusal(|s| s.risk.jerk.rungs[2] = 1.0).starts_with("risk.jerk.rungs must be"));
        assert!(refusal(|s| s.risk.volume.rungs[0] = f64::NAN).starts_with("risk.volume.rungs"));
        assert!(refusal(|s| s.signal.funding.weight = 0.2).contains("add up to 1, not 1.1"));
        assert!(refusal(|s| s.levels.alert = 0.2).starts_with("levels."));
        assert!(refusal(|s| s.levels.margin = 0.3).starts_with("levels.margin"));
        assert!(refusal(|s| s.levels.hold_ms = 0).starts_with("levels.hold_ms"));
        assert!(refusal(|s| s.rhythm.clustering_seconds = 301).starts_with("rhythm."));
        assert!(refusal(|s| s.regime.velocity_scales[5] = f64::INFINITY).starts_with("regime."));
        assert!(refusal(|s| s.completeness.lossy = 0.0).starts_with("completeness.lossy"));
        assert!(refusal(|s| s.significance = -1.0).starts_with("significance"));
    }

    #[test]
    fn an_unknown_key_is_an_error_and_a_missing_one_is_not() {
        let sparse: Settings = toml::from_str("max_symbols = 7\n[levels]\nwatch = 0.2").unwrap();
        assert_eq!((sparse.max_symbols, sparse.levels.alert), (7, 0.5));
        assert!(toml::from_str::<Settings>("max_symbol = 7").is_err());
    }
}
