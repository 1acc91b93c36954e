//! From the strength of evidence to a probability.

/// Strength and probability, both rising; lines between.
const TABLE: [(f64, f64); 2] = [(0.0, 0.0), (1.0, 1.0)];

/// The probability of a cascade, given the strength of the evidence.
#[must_use]
pub fn calibrated(strength: f64) -> f64 {
    let strength = strength.clamp(0.0, 1.0);
    let mut below = TABLE[0];
    for above in TABLE {
        if strength <= above.0 {
            let width = above.0 - below.0;
            let share = if width > 0.0 { (strength - below.0) / width } else { 1.0 };
            return below.1 + share * (above.1 - below.1);
        }
        below = above;
    }
    below.1
}
