//! From the strength of evidence to a probability: that a cascade is under way or begins within a
//! minute.
//!
//! Fitted by `foreshock backtest --calibrate` on the seconds of the labelled recordings of Binance (17
//! cascades), judged on episodes that were left out; the reliability and the Brier score beside the base
//! rate are in `perf/backtest/calibration.json` and the report beside it.

/// Evidence at which the table has a value.
pub const KNOTS: [f64; 7] = [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 1.0];
/// The probability there; lines between.
const TABLE: [f64; KNOTS.len()] = [0.0, 0.3, 0.5, 0.62, 0.85, 0.95, 0.98];

/// The probability of a cascade, given the strength of the evidence.
#[must_use]
pub fn calibrated(strength: f64) -> f64 {
    between(strength, &TABLE)
}

/// On the line between the two values of `table` that `strength` lies between.
#[must_use]
pub fn between(strength: f64, table: &[f64; KNOTS.len()]) -> f64 {
    let mut below = (KNOTS[0], table[0]);
    for above in KNOTS.into_iter().zip(*table) {
        if strength < above.0 {
            let share = (strength - below.0) / (above.0 - below.0);
            return (below.1 + share * (above.1 - below.1)).max(0.0);
        }
        below = above;
    }
    below.1
}

/// The two knots that `strength` lies between, and how near it is to each, 1 in all.
#[must_use]
pub fn shares(strength: f64) -> [(usize, f64); 2] {
    let above = KNOTS.iter().position(|&knot| strength < knot).unwrap_or(KNOTS.len() - 1).max(1);
    let (low, high) = (KNOTS[above - 1], KNOTS[above]);
    let share = ((strength - low) / (high - low)).clamp(0.0, 1.0);
    [(above - 1, 1.0 - share), (above, share)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is what was fitted, but for the values at the rungs of WATCH and ALERT, which the
    /// data does not tell from the rungs themselves.
    #[test]
    fn what_ships_is_what_was_fitted() {
        let json = include_str!("../../perf/backtest/calibration.json");
        let report: serde_json::Value = serde_json::from_str(json).unwrap();
        for (i, &knot) in KNOTS.iter().enumerate() {
            let of = |table: &str| report[table][i][1].as_f64().unwrap();
            let (shipped, fitted) = (of("shipped"), of("fitted"));
            assert_eq!(shipped, calibrated(knot), "remade with another table");
            assert!((shipped - fitted).abs() < 0.05, "at {knot}: {shipped}, fitted {fitted}");
        }
    }

    #[test]
    fn the_shares_of_a_strength_are_the_line_it_lies_on() {
        for strength in [0.0, 0.1, 0.3, 0.45, 0.8, 0.93, 1.0] {
            let [(low, one), (high, other)] = shares(strength);
            let line = one * TABLE[low] + other * TABLE[high];
            assert!((line - calibrated(strength)).abs() < 1e-12 && one + other == 1.0);
        }
    }

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
