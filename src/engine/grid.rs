//! Where a moment lies in every window's buckets.
//!
//! A window of length `w` has 64 buckets of `w / 64`; the widths are whole multiples of one another
//! (1.5625 ms, then x5, x4, x5, x3, x2, x5), so the finest bucket of a moment gives all the others
//! and an event costs one real division. A bucket's number counts from the clock's origin: the grid
//! is fixed, whoever looks at it and when.

use crate::signal::{WINDOW_COUNT, WINDOW_MS};
use crate::time::{NS_PER_MS, Nanos};

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

const _: () = {
    let mut width = FINEST_NS;
    let mut i = 0;
    while i < WINDOW_COUNT {
        width *= STEPS[i];
        assert!(width * BUCKETS == WINDOW_MS[i] * NS_PER_MS, "widths must nest");
        i += 1;
    }
};

/// Bucket numbers of one moment, one for each window.
pub type Places = [u64; WINDOW_COUNT];

/// The bucket a moment falls into, in every window.
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
    /// How much of its bucket is still to come, in [`WHOLE`]ths: the same share of the oldest,
    /// partly expired bucket is still inside the window.
    pub rest: [u64; WINDOW_COUNT],
}

impl Grid {
    /// A present at `now`.
    #[must_use]
    pub fn at(now: Nanos) -> Self {
        let places = places(now);
        let mut width = FINEST_NS;
        let mut rest = [0; WINDOW_COUNT];
        for ((rest, place), step) in rest.iter_mut().zip(places).zip(STEPS) {
            width *= step;
            *rest = (width - (now.0 - place * width)) * WHOLE / width;
        }
        Self { now, places, rest }
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
