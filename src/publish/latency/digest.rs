//! What the log holds, kept in memory for whoever shows it: every stage since the start, and lately.
//!
//! Two slow threads meet here, the one that writes the log and the one that shows; no hot one does.

use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::tap::histogram;
use crate::time::Millis;

/// Most stages.
const STAGES_MAX: usize = 16;
/// "Lately" is the minute that is being filled and the one before it.
const MINUTE_MS: i64 = 60_000;

/// One stage.
#[derive(Debug)]
pub struct Digested {
    /// Its name.
    pub name: &'static str,
    /// Nanoseconds since the start.
    pub total: Histogram<u64>,
    /// The minute being filled, and the one before.
    minutes: [Histogram<u64>; 2],
    begun: Millis,
}

impl Digested {
    fn new(name: &'static str, begun: Millis) -> Self {
        let minutes = [histogram(), histogram()];
        Self { name, total: histogram(), minutes, begun }
    }

    fn add(&mut self, part: &Histogram<u64>, at: Millis) {
        if at.0 - self.begun.0 >= MINUTE_MS {
            self.minutes.swap(0, 1);
            self.minutes[0].reset();
            if at.0 - self.begun.0 >= 2 * MINUTE_MS {
                self.minutes[1].reset();
            }
            self.begun = at;
        }
        // All have the same bounds, so that adding cannot fail.
        let _ = self.total.add(part);
        let _ = self.minutes[0].add(part);
    }

    /// The last one to two minutes.
    #[must_use]
    pub fn lately(&self) -> Histogram<u64> {
        let mut both = self.minutes[0].clone();
        let _ = both.add(&self.minutes[1]);
        both
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Digest(Mutex<Vec<Digested>>);

impl Digest {
    /// Adds what was counted of a stage in an interval that began at `at`.
    pub(super) fn add(&self, name: &'static str, part: &Histogram<u64>, at: Millis) {
        let mut stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = stages.iter().position(|stage| stage.name == name).or_else(|| {
            let room = stages.len() < STAGES_MAX;
            room.then(|| stages.push(Digested::new(name, at)))?;
            stages.len().checked_sub(1)
        });
        if let Some(stage) = place.and_then(|place| stages.get_mut(place)) {
            stage.add(part, at);
        }
    }

    /// Shows the stages, in order of first appearance.
    pub fn show<R>(&self, look: impl FnOnce(&[Digested]) -> R) -> R {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lately_forgets_and_the_total_does_not() {
        let digest = Digest::default();
        let mut part = histogram();
        part.saturating_record(1_000);
        let counts =
            |digest: &Digest| digest.show(|all| (all[0].total.len(), all[0].lately().len()));
        digest.add("a", &part, Millis(0));
        digest.add("a", &part, Millis(59_999));
        assert_eq!(counts(&digest), (2, 2));
        digest.add("a", &part, Millis(60_000));
        assert_eq!(counts(&digest), (3, 3));
        digest.add("a", &part, Millis(120_000));
        assert_eq!(counts(&digest), (4, 2));
        digest.add("a", &part, Millis(999_000));
        assert_eq!(counts(&digest), (5, 1));
    }
}
