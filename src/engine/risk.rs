//! How bad it is, and how sure that is.
//!
//! Risk is the mean of the six scores by weight, over those that are there. Confidence is the product
//! of three shares: `n / (n + 10)` for `n` arrivals in 60 s, half from the agreement of the factors
//! (1 less twice their weighted standard deviation, as a share of the scale), and coverage.

use super::factor::weighted;
use crate::signal::{FACTOR_COUNT, RiskLevel};

/// Arrivals at which the count alone is half convincing.
const HALF_SURE: f64 = 10.0;

/// Risk 0..100 and the share of the weight it stands on.
#[must_use]
pub fn risk(scores: &[Option<f64>; FACTOR_COUNT], weights: &[f64; FACTOR_COUNT]) -> (f64, f64) {
    weighted(scores, weights)
}

/// The level of a risk score. Size alone is MEDIUM at most: a flow that is always large is large, and
/// no risk of more to come. HIGH is said where there is evidence of a cascade as well.
#[must_use]
pub fn level(risk: f64, has_evidence: bool, bounds: &[f64; 4]) -> RiskLevel {
    let above = bounds.iter().filter(|&&bound| risk >= bound).count();
    let reached = RiskLevel::ALL.get(above).copied().unwrap_or_default();
    if has_evidence { reached } else { reached.min(RiskLevel::Medium) }
}

/// How far the reading can be trusted, 0..1.
#[must_use]
pub fn confidence(
    scores: &[Option<f64>; FACTOR_COUNT],
    weights: &[f64; FACTOR_COUNT],
    arrivals: u32,
    coverage: f64,
) -> f64 {
    let n = f64::from(arrivals);
    let (mean, _) = weighted(scores, weights);
    let apart = scores.map(|score| score.map(|score| (score - mean) * (score - mean)));
    let (variance, _) = weighted(&apart, weights);
    let agreement = (1.0 - 2.0 * variance.sqrt() / 100.0).clamp(0.0, 1.0);
    n / (n + HALF_SURE) * (0.5 + 0.5 * agreement) * coverage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::settings::Risk;

    #[test]
    fn a_level_begins_at_its_bound() {
        let bounds = Risk::default().levels;
        let names =
            [0.0, 19.9, 20.0, 40.0, 55.0, 80.0, 100.0].map(|r| level(r, true, &bounds).name());
        assert_eq!(names, ["NONE", "NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL", "CRITICAL"]);
        assert_eq!(level(100.0, false, &bounds), RiskLevel::Medium);
    }

    #[test]
    fn confidence_grows_with_events_agreement_and_coverage() {
        let weights = Risk::default().factors().map(|factor| factor.weight);
        let agree = [Some(60.0); 6];
        let mut differ = agree;
        differ[0] = Some(0.0);
        let sure = confidence(&agree, &weights, 90, 1.0);
        assert!((sure - 0.9).abs() < 1e-9);
        assert!(confidence(&differ, &weights, 90, 1.0) < sure);
        assert!(confidence(&agree, &weights, 9, 1.0) < sure);
        assert!(confidence(&agree, &weights, 90, 0.5) < sure);
        assert_eq!(confidence(&[None; 6], &weights, 0, 0.0), 0.0);
    }
}
