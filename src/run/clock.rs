//! The only clock of the program. It is read once per turn and the stages are told.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Millis, Nanos, Now};

/// The monotonic clock, shown as Unix time: the wall clock at start plus what has passed since.
/// A later jump of the wall clock moves [`Now::wall`] and leaves [`Now::mono`] alone.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Nanos,
    started: Instant,
    recorded: bool,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        let origin = Nanos::from_millis(wall_ms());
        Self { origin, started: Instant::now(), recorded: false }
    }

    /// Starts now, and shows the time of a recording that begins at `origin`: played as it happened,
    /// ages are what they were; played faster, they are 0.
    #[must_use]
    pub fn of_recording(origin: Nanos) -> Self {
        Self { origin, started: Instant::now(), recorded: true }
    }

    /// Both clocks, now.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = self.mono();
        let wall = if self.recorded { mono.millis() } else { wall_ms() };
        Now { mono, wall: Millis(wall) }
    }

    /// The steady clock, now.
    #[must_use]
    pub fn mono(&self) -> Nanos {
        let passed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.origin.plus(passed)
    }

    /// The time at which it was started, ms since the Unix epoch: the number of this run.
    #[must_use]
    pub fn run(&self) -> i64 {
        self.origin.millis()
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
