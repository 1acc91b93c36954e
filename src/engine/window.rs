//! A sliding window as a ring of 64 buckets, with whole windows of history behind it.
//!
//! ```text
//!   t-3w              t-2w              t-w               t
//!  T │ lane 2          │ lane 1          │ lane 0        ▐ head, filling
//! ```
//! Lane `k` holds the buckets of lag `k` and their running sum, in integers, so that adding and
//! evicting in any order leaves no error. When the head moves on, the slot it enters hands its old
//! bucket to the lane behind. An occupancy word a lane makes moving on cost what is there, not what
//! time has passed: a long silence is one comparison.
//!
//! A fraction `f` of the head bucket has passed, so only `1 - f` of the bucket one window back is
//! still inside: with `S_k` the sum of lane `k` and `T_k` the bucket just behind it,
//! `N_k = S_k - (1-f) T_(k-1) + (1-f) T_k`, rounded to whole numbers. What is moved is the same
//! number on both sides, so nothing is lost between lags.

use super::grid::{BUCKETS, SLOTS, WHOLE};

/// What a bucket can hold: integers that add up. They wrap, which keeps checks out of the inner loops;
/// whoever puts values in sees to it that no window can hold too much.
pub trait Sum: Copy + Default + PartialEq {
    /// Adds `other`.
    fn add(&mut self, other: Self);
    /// Takes `other`, which is part of it, away.
    fn sub(&mut self, other: Self);
}

/// A [`Sum`] that can be divided.
pub trait Share: Sum {
    /// The given share of it, in [`WHOLE`]ths, to the nearest integer.
    fn share(self, part: u64) -> Self;
}

impl Sum for u64 {
    #[inline]
    fn add(&mut self, other: Self) {
        *self = self.wrapping_add(other);
    }
    #[inline]
    fn sub(&mut self, other: Self) {
        *self = self.wrapping_sub(other);
    }
}

impl Share for u64 {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a share of a u64 is no larger")]
    fn share(self, part: u64) -> Self {
        // 64 bits times 17 and a half more: far from what 128 hold.
        let parts = u128::from(self).wrapping_mul(u128::from(part));
        (parts.wrapping_add(u128::from(WHOLE / 2)) / u128::from(WHOLE)) as Self
    }
}

impl Sum for u32 {
    #[inline]
    fn add(&mut self, other: Self) {
        *self = self.wrapping_add(other);
    }
    #[inline]
    fn sub(&mut self, other: Self) {
        *self = self.wrapping_sub(other);
    }
}

impl Share for u32 {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a share of a u32 is no larger")]
    fn share(self, part: u64) -> Self {
        // 32 bits times 17 and a half more: within 64.
        (u64::from(self).wrapping_mul(part).wrapping_add(WHOLE / 2) / WHOLE) as Self
    }
}

/// What is known of the buckets of one lag without looking at them.
#[derive(Clone, Copy, Debug, Default)]
struct Lane<T> {
    occupied: u64,
    sum: T,
}

/// A window and `LAGS - 1` windows of history behind it.
///
/// What every look needs comes first and in one place, the buckets after it: a row that has gone
/// cold costs a line or two of memory for each window, and those can be fetched together.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Window<T, const LAGS: usize> {
    head: u64,
    tail: T,
    lanes: [Lane<T>; LAGS],
    /// The buckets of one slot lie together, since moving on hands them from lag to lag.
    buckets: [[T; LAGS]; SLOTS],
}

impl<T: Sum, const LAGS: usize> Window<T, LAGS> {
    /// An empty window.
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: 0,
            tail: T::default(),
            lanes: [Lane::default(); LAGS],
            buckets: [[T::default(); LAGS]; SLOTS],
        }
    }

    /// Moves the head to bucket `to`, never back; `false` when it is there already.
    #[inline]
    pub fn advance(&mut self, to: u64) -> bool {
        if to <= self.head {
            return false;
        }
        let mut left = to - self.head;
        if left > BUCKETS * LAGS as u64 {
            self.clear();
            self.head = to;
            return true;
        }
        while left > BUCKETS {
            self.shift(BUCKETS);
            left -= BUCKETS;
        }
        self.shift(left);
        true
    }

    /// Moves on by at least one bucket and at most one window.
    #[inline]
    fn shift(&mut self, stride: u64) {
        let passed = (u64::MAX >> (BUCKETS - stride)).rotate_left(shift_of(self.head + 1));
        self.head += stride;
        let entered = slot(self.head);
        self.tail = self.buckets[entered][LAGS - 1];
        // Often the only one: not to ask whether it is occupied spares a guess.
        self.pass(entered);
        for slot in ones(self.occupied() & passed & !(1 << entered)) {
            self.pass(slot);
        }
        let mut arriving = 0;
        for lane in &mut self.lanes {
            let leaving = lane.occupied & passed;
            lane.occupied = lane.occupied & !passed | arriving;
            arriving = leaving;
        }
    }

    /// Hands the buckets of a slot from each lag to the next, and those of the last to nobody.
    #[inline]
    fn pass(&mut self, slot: usize) {
        let mut arriving = T::default();
        for (lane, bucket) in self.lanes.iter_mut().zip(&mut self.buckets[slot]) {
            let leaving = std::mem::replace(bucket, arriving);
            lane.sum.add(arriving);
            lane.sum.sub(leaving);
            arriving = leaving;
        }
    }

    /// Adds to a bucket.
    #[inline]
    fn lay(&mut self, lag: usize, slot: usize, value: T) {
        self.buckets[slot][lag].add(value);
        let lane = &mut self.lanes[lag];
        lane.sum.add(value);
        lane.occupied |= 1 << slot;
    }

    /// Adds to bucket `place`, not later than the head; `false` when it has left the window.
    #[inline]
    pub fn put(&mut self, place: u64, value: T) -> bool {
        let age = self.head.saturating_sub(place);
        if age < BUCKETS * LAGS as u64 {
            self.lay(lag_of(age), slot(place), value);
        } else if age == BUCKETS * LAGS as u64 {
            self.tail.add(value);
        } else {
            return false;
        }
        true
    }

    /// Takes back what was put into bucket `place`, if it has not left the window since.
    pub fn take_back(&mut self, place: u64, value: T) {
        let age = self.head.saturating_sub(place);
        if age < BUCKETS * LAGS as u64 {
            let (lag, slot) = (lag_of(age), slot(place));
            let (kept, lane) = (&mut self.buckets[slot][lag], &mut self.lanes[lag]);
            kept.sub(value);
            lane.sum.sub(value);
            if *kept == T::default() {
                lane.occupied &= !(1 << slot);
            }
        } else if age == BUCKETS * LAGS as u64 {
            self.tail.sub(value);
        }
    }

    /// What lies within each lag, when `rest` (in [`WHOLE`]ths) of the head bucket is to come.
    #[inline]
    #[must_use]
    pub fn read(&self, rest: u64) -> [T; LAGS]
    where
        T: Share,
    {
        self.read_part(rest, |value| value)
    }

    /// The same of a part of what the buckets hold.
    #[inline]
    #[must_use]
    pub fn read_part<P: Share>(&self, rest: u64, part: impl Fn(T) -> P) -> [P; LAGS] {
        let mut lags = [P::default(); LAGS];
        let mut lent = P::default();
        for (lag, value) in lags.iter_mut().enumerate() {
            let mut sum = part(self.lanes[lag].sum);
            sum.sub(lent);
            lent = part(self.behind(lag + 1)).share(rest);
            sum.add(lent);
            *value = sum;
        }
        lags
    }

    /// The bucket just behind lag `lag - 1`.
    #[inline]
    fn behind(&self, lag: usize) -> T {
        if lag < LAGS { self.buckets[slot(self.head)][lag] } else { self.tail }
    }

    /// Number of the newest bucket.
    #[inline]
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Sum of the whole buckets of lag 0.
    #[must_use]
    pub fn sum(&self) -> T {
        self.lanes[0].sum
    }

    /// Buckets that hold something, of all lags laid over one another.
    #[inline]
    #[must_use]
    pub fn occupied(&self) -> u64 {
        self.lanes.iter().fold(0, |all, lane| all | lane.occupied)
    }

    /// Whether nothing is in it, history and all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.occupied() == 0 && self.tail == T::default()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.tail = T::default();
        for (lag, lane) in self.lanes.iter_mut().enumerate() {
            for slot in ones(lane.occupied) {
                self.buckets[slot][lag] = T::default();
            }
            *lane = Lane::default();
        }
    }

    /// Sum of lag 0 counted again from its buckets, for tests of the running sum.
    #[must_use]
    pub fn recount(&self) -> T {
        let mut sum = T::default();
        for lags in &self.buckets {
            sum.add(lags[0]);
        }
        sum
    }
}

impl<T: Sum, const LAGS: usize> Default for Window<T, LAGS> {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a bucket lies in every lane.
#[inline]
fn slot(place: u64) -> usize {
    (place % BUCKETS) as usize
}

/// The same, as a distance to rotate by.
#[inline]
fn shift_of(place: u64) -> u32 {
    (place % BUCKETS) as u32
}

/// The lag of a bucket of that age.
#[inline]
fn lag_of(age: u64) -> usize {
    (age / BUCKETS) as usize
}

/// Positions of the bits that are set.
#[inline]
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = bits.trailing_zeros();
        bits &= bits.checked_sub(1)?;
        Some(slot as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_passes_through_every_lag_and_leaves() {
        let mut window = Window::<u64, 3>::new();
        window.advance(1_000);
        assert!(window.put(1_000, 8));
        let seen = [0, 63, 64, 127, 128, 191, 192, 193].map(|age| {
            let mut moved = window.clone();
            moved.advance(1_000 + age);
            moved.read(WHOLE / 2)
        });
        assert_eq!(seen[..2], [[8, 0, 0]; 2]);
        assert_eq!(seen[2], [4, 4, 0], "half of the oldest bucket is still inside");
        assert_eq!(seen[3..6], [[0, 8, 0], [0, 4, 4], [0, 0, 8]]);
        assert_eq!(seen[6..], [[0, 0, 4], [0, 0, 0]]);
    }

    #[test]
    fn steps_of_any_size_end_in_the_same_state() {
        for total in [1_u64, 5, 63, 64, 65, 130, 192] {
            let mut leap = Window::<u64, 3>::new();
            leap.advance(500);
            for age in 0..190 {
                leap.put(500 - age, age + 1);
            }
            let mut walk = leap.clone();
            leap.advance(500 + total);
            for step in 1..=total {
                assert!(walk.advance(500 + step));
            }
            assert_eq!(leap.read(WHOLE / 3), walk.read(WHOLE / 3), "{total} steps");
            assert_eq!(leap.tail, walk.tail);
        }
    }

    #[test]
    fn what_comes_late_goes_where_it_belongs_or_nowhere() {
        let mut window = Window::<u64, 1>::new();
        window.advance(100);
        assert!(window.put(36, 2), "the oldest bucket is partly inside");
        assert!(!window.put(35, 2));
        assert_eq!((window.read(WHOLE), window.read(0)), ([2], [0]));
    }

    #[test]
    fn what_was_put_can_be_taken_back() {
        let mut window = Window::<u64, 1>::new();
        window.advance(100);
        window.put(90, 2);
        window.take_back(90, 1);
        assert_eq!(window.sum(), 1);
        window.take_back(90, 1);
        assert!(window.is_empty());
    }
}
