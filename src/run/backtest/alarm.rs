//! Alarms of one detector: from when to when it stood.
//!
//! The same rule for every detector, so that none looks calmer than another: an alarm ends when the
//! detector has been off for [`REARM_MS`]; what comes up again before that is the same alarm.

/// How long a detector must be off until the next alarm is a new one, ms.
pub const REARM_MS: i64 = 60_000;

/// One alarm, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// When it rose.
    pub rose: i64,
    /// When it was last seen standing.
    pub fell: i64,
}

/// The alarms of one detector, as they are made.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    all: Vec<Alarm>,
    on: bool,
    /// Rising edges, flaps included.
    pub edges: u64,
}

impl Alarms {
    /// The detector is on or off at `at`, which never goes back.
    pub fn set(&mut self, at: i64, on: bool) {
        if on && !self.on {
            self.edges += 1;
            if self.all.last().is_none_or(|last| at - last.fell > REARM_MS) {
                self.all.push(Alarm { rose: at, fell: at });
            }
        }
        if let Some(last) = self.all.last_mut().filter(|_| self.on || on) {
            last.fell = at;
        }
        self.on = on;
    }

    /// All of them, by time.
    #[must_use]
    pub fn all(&self) -> &[Alarm] {
        &self.all
    }

    /// The first that stands within `from..=until`.
    #[must_use]
    pub fn within(&self, from: i64, until: i64) -> Option<Alarm> {
        self.all.iter().copied().find(|alarm| alarm.fell >= from && alarm.rose <= until)
    }

    /// How many rose within `from..until`.
    #[must_use]
    pub fn rose(&self, from: i64, until: i64) -> usize {
        self.all.iter().filter(|alarm| (from..until).contains(&alarm.rose)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_up_again_within_a_minute_is_the_same_alarm() {
        let mut alarms = Alarms::default();
        for (at, on) in [(0, false), (10, true), (20, true), (30, false), (40, false)] {
            alarms.set(at, on);
        }
        alarms.set(60_030, true);
        alarms.set(60_040, false);
        assert_eq!(alarms.all(), [Alarm { rose: 10, fell: 60_040 }]);
        alarms.set(120_041, true);
        assert_eq!((alarms.all().len(), alarms.edges), (2, 3));
        assert_eq!(alarms.within(60_041, 120_040), None);
        assert_eq!(alarms.within(60_040, 60_040).map(|a| a.rose), Some(10));
        assert_eq!((alarms.rose(0, 120_041), alarms.rose(0, 120_042)), (1, 2));
    }
}
