//! The doors between the rooms: bounded single-producer rings that count what passes.
//!
//! `rtrb` owns the atomics; this adds the two numbers the conservation laws need, each kept by the
//! side that may write it. A full ring is the pusher's business: it either holds the item and tries
//! again on its next turn, or drops it and counts the drop.

use std::hint::black_box;
use std::mem::MaybeUninit;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// The pushing side.
#[derive(Debug)]
pub struct Outlet<T> {
    producer: Producer<T>,
    pushed: u64,
}

/// The taking side.
#[derive(Debug)]
pub struct Inlet<T> {
    consumer: Consumer<T>,
    taken: u64,
}

/// A ring of `capacity` items. Its memory is there from the beginning: a page that is first touched
/// when an item is pushed costs the hot path milliseconds where pages are huge.
#[must_use]
pub fn ring<T: Copy>(capacity: usize) -> (Outlet<T>, Inlet<T>) {
    let (mut producer, consumer) = RingBuffer::new(capacity);
    touch(&mut producer, capacity);
    (Outlet { producer, pushed: 0 }, Inlet { consumer, taken: 0 })
}

/// Writes to every slot and pushes none.
fn touch<T: Copy>(producer: &mut Producer<T>, capacity: usize) {
    // Out of the optimiser's sight: fresh memory that is only zeroed becomes memory that is not there.
    if let Ok(mut slots) = black_box(producer).write_chunk_uninit(capacity) {
        let (first, second) = slots.as_mut_slices();
        first.fill_with(MaybeUninit::zeroed);
        second.fill_with(MaybeUninit::zeroed);
        black_box(first);
    }
}

impl<T: Copy> Outlet<T> {
    /// Pushes one item.
    ///
    /// # Errors
    /// Gives the item back when the ring is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        match self.producer.push(item) {
            Ok(()) => {
                self.pushed += 1;
                Ok(())
            }
            Err(PushError::Full(item)) => Err(item),
        }
    }

    /// Free slots, at least.
    #[must_use]
    pub fn room(&self) -> usize {
        self.producer.slots()
    }

    /// Items pushed so far.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Whether the taking side is gone, so that nothing pushed will ever be read.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.producer.is_abandoned()
    }
}

impl<T: Copy> Inlet<T> {
    /// The next item, if one is there.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.consumer.pop().ok()?;
        self.taken += 1;
        Some(item)
    }

    /// Items taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Items waiting now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.consumer.slots()
    }

    /// Whether the pushing side is gone and everything it pushed has been taken.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // Abandonment first: items pushed before it are then visible to the second check.
        self.consumer.is_abandoned() && self.consumer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages this thread found missing so far.
    fn missing_pages() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // The name in brackets may hold blanks; the count is the eighth field after it.
        let fields = stat.rsplit_once(')').unwrap().1;
        fields.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn no_page_is_missing_when_items_pass() {
        let (mut outlet, mut inlet) = ring::<[u64; 8]>(1 << 16);
        assert_eq!((outlet.pushed(), inlet.waiting(), outlet.room()), (0, 0, 1 << 16));
        let before = missing_pages();
        (0..1 << 16).for_each(|i| outlet.push([i; 8]).unwrap());
        let missing = missing_pages() - before;
        assert!(missing < 32, "{missing} of 1,024 pages");
        assert!((0..1 << 16).all(|i| inlet.pop() == Some([i; 8])));
    }
}
