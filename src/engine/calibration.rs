//! From the strength of evidence to a probability: that a cascade is under way or begins within a
//! minute.
//!
//! Fitted by `perf/backtest/reliability.py` on the seconds of the labelled recordings of Binance (17
//! cascades), judged on episodes that were left out; the reliability and the Brier score are in
//! `perf/backtest/calibration.md`. Up to 0.6 the rungs of [`super::evidence`] were right as they are
//! (said 0.55 on the mean of 805 s in 38 episodes and hours, came 0.52); above, evidence was too modest.

/// Strength and probability, both rising; lines between.
const TABLE: [(f64, f64); 7] =
    [(0.0, 0.0), (0.3, 0.3), (0.5, 0.5), (0.6, 0.62), (0.7, 0.85), (0.8, 0.95), (1.0, 0.98)];

/// The probability of a cascade, given the strength of the evidence.
#[must_use]
pub fn calibrated(strength: f64) -> f64 {
    let mut below = TABLE[0];
    for above in TABLE {
        if strength < above.0 {
            let share = (strength - below.0) / (above.0 - below.0);
            return (below.1 + share * (above.1 - below.1)).max(0.0);
        }
        below = above;
    }
    below.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_evidence_is_never_less_probability() {
        let mut before = 0.0;
        for strength in 0..=2_000 {
            let probability = calibrated(f64::from(strength) / 1_500.0);
            assert!(probability >= before && probability <= 1.0);
            before = probability;
        }
        assert_eq!([0.0, 0.3, 0.5, 1.0, 7.0].map(calibrated), [0.0, 0.3, 0.5, 0.98, 0.98]);
        assert_eq!(calibrated(-0.0), 0.0);
    }
}
