//! Where a moment lies in every window's buckets.
//!
//! A window of length `w` has 64 buckets of `w / 64`; the widths are whole multiples of one another
//! (1.5625 ms, then x5, x4, x5, x3, x2, x5), so the finest bucket of a moment gives all the others
//! and an event costs one real division. A bucket's number counts from the clock's origin: the grid
//! is fixed, whoever looks at it and when.

use crate::signal::{WINDOW_COUNT, WINDOW_MS};
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// Buckets a window has, as a length and as a distance.
pub const SLOTS: usize = 64;
/// See [`SLOTS`].
pub const BUCKETS: u64 = SLOTS as u64;
/// Width of the finest bucket, ns.
const FINEST_NS: u64 = WINDOW_MS[0] * NS_PER_MS / BUCKETS;
/// How many buckets of the window before make one of this window.
const STEPS: [u64; WINDOW_COUNT] = [1, 5, 4, 5, 3, 2, 5];
/// A whole, for shares in fixed point.
pub const WHOLE: u64 = 1 << 16;

/// Widths of the buckets, ns.
const WIDTHS: [u64; WINDOW_COUNT] = {
    let mut widths = [FINEST_NS; WINDOW_COUNT];
    let mut i = 1;
    while i < WINDOW_COUNT {
        widths[i] = widths[i - 1] * STEPS[i];
        assert!(widths[i] * BUCKETS == WINDOW_MS[i] * NS_PER_MS, "widths must nest");
        i += 1;
    }
    widths
};

/// Bucket numbers of one moment, one for each window.
pub type Places = [u64; WINDOW_COUNT];

/// The bucket a moment falls into, in every window.
#[inline]
#[must_use]
pub fn places(at: Nanos) -> Places {
    let mut place = at.0 / FINEST_NS;
    STEPS.map(|step| {
        place /= step;
        place
    })
}

/// The engine's present.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The latest moment anything was received.
    pub now: Nanos,
    /// Its bucket in every window.
    pub places: Places,
    /// Its second.
    pub second: u64,
    /// How much of its bucket is still to come, in [`WHOLE`]ths: the same share of the oldest,
    /// partly expired bucket is still inside the window.
    pub rest: [u64; WINDOW_COUNT],
}

impl Grid {
    /// A present at `now`.
    #[inline]
    #[must_use]
    pub fn at(now: Nanos) -> Self {
        let places = places(now);
        // The moment lies in its bucket and a width is below 2^33: nothing here can wrap.
        let rest = std::array::from_fn(|i| {
            let passed = now.0.wrapping_sub(places[i].wrapping_mul(WIDTHS[i]));
            WIDTHS[i].wrapping_sub(passed).wrapping_mul(WHOLE) / WIDTHS[i]
        });
        Self { now, places, second: now.0 / NS_PER_S, rest }
    }

    /// The bucket a moment falls into, in every window; most fall into the present ones.
    #[inline]
    #[must_use]
    pub fn places(&self, at: Nanos) -> Places {
        if at == self.now { self.places } else { places(at) }
    }

    /// Moves on; never back.
    pub fn advance(&mut self, to: Nanos) {
        if to > self.now {
            *self = Self::at(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_plain_divisions() {
        for at in [0, 1, 1_562_500, 1_791_091_285_156_789_012] {
            let plain = WINDOW_MS.map(|ms| at / (ms * NS_PER_MS / BUCKETS));
            assert_eq!(places(Nanos(at)), plain);
        }
    }

    #[test]
    fn the_present_never_goes_back() {
        let mut grid = Grid::at(Nanos(5_000_000));
        grid.advance(Nanos(1));
        assert_eq!(grid.now, Nanos(5_000_000));
        assert_eq!(Grid::at(Nanos(0)).rest, [WHOLE; WINDOW_COUNT]);
    }
}
