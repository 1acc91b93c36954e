//! Percentiles and medians.

/// What the latencies of one run come to, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Half are below.
    pub p50: f64,
    /// One of a hundred is above.
    pub p99: f64,
}

/// The spread of these durations, ns; `None` where there are none.
#[must_use]
pub fn spread(mut all: Vec<u64>) -> Option<Spread> {
    all.sort_unstable();
    let at = |percent: usize| all.get(all.len() * percent / 100).map(|ns| *ns as f64);
    Some(Spread { p50: at(50)?, p99: at(99)? })
}

/// The one in the middle; of two, the mean. `None` of none.
#[must_use]
pub fn median(all: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = all.into_iter().collect();
    all.sort_unstable_by(f64::total_cmp);
    let (low, high) = (all.get(all.len().checked_sub(1)? / 2)?, all.get(all.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_hundredth() {
        assert_eq!(spread((0..1_000).rev().collect()), Some(Spread { p50: 500.0, p99: 990.0 }));
        assert_eq!(spread(Vec::new()), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
