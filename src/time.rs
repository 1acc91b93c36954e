//! Time as it travels: a steady count of nanoseconds, and the wall clock beside it.
//!
//! Windows run on [`Nanos`], which only grows. Its origin is chosen so that it looks like Unix time
//! (live: the wall clock at start plus what the monotonic clock has counted since; replay: the
//! recording's own receive time), but nothing may rely on that: the wall clock may jump, it may not.
//! [`Millis`] is the wall clock, for comparing with a venue's own time stamps.

use std::ops::Sub;

/// A point on the steady clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Nanos(pub u64);

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;

impl Nanos {
    /// The point this many milliseconds after the origin; saturates, negative becomes the origin.
    #[must_use]
    pub fn from_millis(ms: i64) -> Self {
        Self(u64::try_from(ms).unwrap_or(0).saturating_mul(NS_PER_MS))
    }

    /// Milliseconds since the origin, rounded down.
    #[must_use]
    pub fn millis(self) -> i64 {
        i64::try_from(self.0 / NS_PER_MS).unwrap_or(i64::MAX)
    }

    /// Nanoseconds since `earlier`; 0 when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The point `ns` later; saturates.
    #[must_use]
    pub fn plus(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// The point `ns` earlier; saturates at the origin.
    #[must_use]
    pub fn minus(self, ns: u64) -> Self {
        Self(self.0.saturating_sub(ns))
    }
}

impl Sub for Nanos {
    type Output = u64;

    fn sub(self, earlier: Self) -> u64 {
        self.since(earlier)
    }
}

/// Wall clock time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Millis(pub i64);

/// What a stage is told at each turn. The clock is read once per turn, outside the stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The steady clock.
    pub mono: Nanos,
    /// The wall clock.
    pub wall: Millis,
}

impl Now {
    /// A moment at which both clocks agree, as in replay and in tests.
    #[must_use]
    pub fn at_millis(ms: i64) -> Self {
        Self { mono: Nanos::from_millis(ms), wall: Millis(ms) }
    }

    /// Wall clock time of a point on the steady clock, as the two stand now.
    #[must_use]
    pub fn wall_of(self, at: Nanos) -> Millis {
        Millis(self.wall.0 + (at.millis() - self.mono.millis()))
    }
}
