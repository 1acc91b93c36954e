//! The doors between the rooms: bounded single-producer rings that count what passes.
//!
//! `rtrb` owns the atomics; this adds the two numbers the conservation laws need, each kept by the
//! side that may write it. A full ring is the pusher's business: it either holds the item and tries
//! again on its next turn, or drops it and counts the drop.

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

/// A ring of `capacity` items.
#[must_use]
pub fn ring<T: Copy>(capacity: usize) -> (Outlet<T>, Inlet<T>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    (Outlet { producer, pushed: 0 }, Inlet { consumer, taken: 0 })
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
