//! From counts to motion: finite differences of three adjacent windows of length `w`.
//!
//! ```text
//! acceleration = (N0 - N1) / w²                 significance = (N0 - N1) / sqrt(max(1, N0 + N1))
//! jerk         = (N0 - 2 N1 + N2) / w³          significance = ... / sqrt(max(1, N0 + 4 N1 + N2))
//! ```
//! `w` is fixed, so the answer does not depend on who asks and when. The significances are in
//! standard deviations of what a steady rate would give, where each arrival is independent.

use crate::signal::Motion;

/// Counts or sums of the windows of lag 0, 1 and 2.
pub type Lags<T> = [T; 3];

/// `N0 - N1` and `N0 - 2 N1 + N2`.
#[must_use]
pub fn differences([now, before, earlier]: Lags<f64>) -> (f64, f64) {
    (now - before, now - 2.0 * before + earlier)
}

/// Their variances under a steady rate.
#[must_use]
pub fn variances([now, before, earlier]: Lags<f64>) -> (f64, f64) {
    ((now + before).max(1.0), (now + 4.0 * before + earlier).max(1.0))
}

/// The whole motion of one scale; `seconds` is the window's length.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "micro-dollars, for rates")]
pub fn motion(counts: Lags<u32>, usd: Lags<u64>, seconds: f64) -> Motion {
    let (square, cube) = (seconds * seconds, seconds * seconds * seconds);
    let counts = counts.map(f64::from);
    let (first, second) = differences(counts);
    let (first_variance, second_variance) = variances(counts);
    let (value_first, value_second) = differences(usd.map(|micros| micros as f64 / 1e6));
    Motion {
        acceleration: first / square,
        jerk: second / cube,
        acceleration_sd: first / first_variance.sqrt(),
        jerk_sd: second / second_variance.sqrt(),
        value_acceleration: value_first / square,
        value_jerk: value_second / cube,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_in_numbers() {
        let motion = motion([9, 4, 1], [9_000_000, 4_000_000, 1_000_000], 2.0);
        assert_eq!((motion.acceleration, motion.jerk), (1.25, 0.25));
        assert_eq!((motion.value_acceleration, motion.value_jerk), (1.25, 0.25));
        assert_eq!(motion.acceleration_sd, 5.0 / 13.0_f64.sqrt());
        assert_eq!(motion.jerk_sd, 2.0 / 26.0_f64.sqrt());
    }

    #[test]
    fn nothing_moves_nothing() {
        assert_eq!(motion([0; 3], [0; 3], 2.0), Motion::default());
    }
}
