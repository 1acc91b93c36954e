//! One value for each of the last seconds, in a ring that is told which second is asked for.
//!
//! Whoever turns it clears the place of the second that begins; what is older than the ring is long
//! is no longer there, and asking for it gives what took its place.

use std::ops::{Index, IndexMut};

/// The values of the last `SECONDS` seconds.
#[derive(Clone, Debug)]
pub struct Wheel<T, const SECONDS: usize>([T; SECONDS]);

impl<T: Copy + Default, const SECONDS: usize> Wheel<T, SECONDS> {
    /// Nothing in any second.
    #[must_use]
    pub fn new() -> Self {
        Self([T::default(); SECONDS])
    }

    /// All values, in no order.
    #[cfg(test)]
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T: Copy + Default, const SECONDS: usize> Default for Wheel<T, SECONDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const SECONDS: usize> Index<u64> for Wheel<T, SECONDS> {
    type Output = T;

    #[inline]
    fn index(&self, second: u64) -> &T {
        &self.0[place::<SECONDS>(second)]
    }
}

impl<T, const SECONDS: usize> IndexMut<u64> for Wheel<T, SECONDS> {
    #[inline]
    fn index_mut(&mut self, second: u64) -> &mut T {
        &mut self.0[place::<SECONDS>(second)]
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below the length of the ring")]
fn place<const SECONDS: usize>(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_comes_round_again() {
        let mut wheel = Wheel::<u32, 64>::new();
        wheel[1_700_000_000] = 7;
        assert_eq!((wheel[1_700_000_000], wheel[1_700_000_001]), (7, 0));
        assert_eq!(wheel[1_700_000_064], 7, "whoever turns it clears it");
    }
}
