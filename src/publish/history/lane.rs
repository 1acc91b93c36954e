//! What waits for one table: rows in batches, oldest first.
//!
//! A batch is rows in their binary form. Once an attempt was made to store it, it has a number and never
//! changes: what became of an attempt whose answer got lost is known by that number. The batch behind all
//! others is open and takes more rows.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::rows::Table;

/// A batch takes no more rows from this size on, bytes.
pub(super) const BATCH_BYTES: usize = 64 << 10;

/// What became of the rows of one table. The sum is all that the thread was given, always.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// In the table.
    pub(super) stored: AtomicU64,
    /// Waiting for it.
    pub(super) waiting: AtomicU64,
    /// Given up, oldest first, because too much was waiting.
    pub(super) backlog: AtomicU64,
    /// Given up because the server will never take them.
    pub(super) refused: AtomicU64,
}

/// Rows that go together.
#[derive(Debug)]
pub(super) struct Batch {
    /// 0 until the first attempt.
    pub(super) number: u64,
    pub(super) rows: u64,
    pub(super) bytes: Vec<u8>,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) table: Table,
    batches: VecDeque<Batch>,
    last: u64,
    bytes: usize,
    pub(super) retry_at: Option<Instant>,
}

impl Lane {
    pub(super) fn new(table: Table) -> Self {
        Self { table, batches: VecDeque::new(), last: 0, bytes: 0, retry_at: None }
    }

    /// Adds what `fill` writes as one row.
    pub(super) fn push(&mut self, counts: &Counts, fill: impl FnOnce(&mut Vec<u8>)) {
        let open = |batch: &Batch| batch.number == 0 && batch.bytes.len() < BATCH_BYTES;
        if !self.batches.back().is_some_and(open) {
            let bytes = Vec::new();
            self.batches.push_back(Batch { number: 0, rows: 0, bytes, since: Instant::now() });
        }
        let Some(batch) = self.batches.back_mut() else { return };
        let before = batch.bytes.len();
        fill(&mut batch.bytes);
        batch.rows += 1;
        self.bytes += batch.bytes.len() - before;
        counts.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether the oldest batch is full, was tried before, or has waited for `age`.
    pub(super) fn is_due(&self, now: Instant, age: Duration) -> bool {
        let rested = self.retry_at.is_none_or(|at| now >= at);
        let ripe = |batch: &Batch| {
            batch.number > 0
                || batch.bytes.len() >= BATCH_BYTES
                || now.saturating_duration_since(batch.since) >= age
        };
        rested && self.batches.front().is_some_and(ripe)
    }

    /// The oldest batch, with its number.
    pub(super) fn front(&mut self) -> Option<&Batch> {
        let batch = self.batches.front_mut()?;
        if batch.number == 0 {
            self.last += 1;
            batch.number = self.last;
        }
        Some(batch)
    }

    /// The oldest batch is in the table.
    pub(super) fn stored(&mut self, counts: &Counts) {
        let rows = self.remove(0, counts);
        counts.stored.fetch_add(rows, Ordering::Relaxed);
        self.retry_at = None;
    }

    /// The oldest batch will never be.
    pub(super) fn refused(&mut self, counts: &Counts) -> u64 {
        let rows = self.remove(0, counts);
        counts.refused.fetch_add(rows, Ordering::Relaxed);
        rows
    }

    /// Makes room: gives up the oldest batch that was not tried yet, since one that was may be in the
    /// table. `false` when there is none.
    pub(super) fn evict(&mut self, counts: &Counts) -> bool {
        let Some(at) = self.batches.iter().position(|batch| batch.number == 0) else {
            return false;
        };
        let rows = self.remove(at, counts);
        counts.backlog.fetch_add(rows, Ordering::Relaxed);
        true
    }

    fn remove(&mut self, at: usize, counts: &Counts) -> u64 {
        let Some(batch) = self.batches.remove(at) else { return 0 };
        self.bytes -= batch.bytes.len();
        counts.waiting.fetch_sub(batch.rows, Ordering::Relaxed);
        batch.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(lane: &mut Lane, counts: &Counts, bytes: usize) {
        lane.push(counts, |out| out.resize(out.len() + bytes, 0));
    }

    fn counted(counts: &Counts) -> [u64; 4] {
        let Counts { stored, waiting, backlog, refused } = counts;
        [stored, waiting, backlog, refused].map(|n| n.load(Ordering::Relaxed))
    }

    #[test]
    fn what_was_tried_stays_as_it_was_and_the_oldest_untried_gives_way() {
        let (mut lane, counts) = (Lane::new(Table::States), Counts::default());
        push(&mut lane, &counts, 10);
        assert_eq!(lane.front().map(|b| (b.number, b.rows)), Some((1, 1)));
        push(&mut lane, &counts, 20);
        push(&mut lane, &counts, 20);
        assert_eq!(lane.front().map(|b| (b.number, b.rows)), Some((1, 1)), "tried: closed");
        assert!(lane.evict(&counts) && !lane.evict(&counts));
        assert_eq!((counted(&counts), lane.bytes()), ([0, 1, 2, 0], 10));
        lane.stored(&counts);
        push(&mut lane, &counts, 5);
        assert_eq!(lane.front().map(|b| b.number), Some(2), "numbers only grow");
        lane.refused(&counts);
        assert_eq!((counted(&counts), lane.bytes()), ([1, 0, 2, 1], 0));
    }

    #[test]
    fn a_batch_goes_when_it_is_full_or_old_and_not_while_its_table_rests() {
        let (mut lane, counts) = (Lane::new(Table::Signals), Counts::default());
        let (now, age) = (Instant::now(), Duration::from_secs(60));
        push(&mut lane, &counts, 10);
        assert!(!lane.is_due(now, age) && lane.is_due(now + 2 * age, age));
        push(&mut lane, &counts, BATCH_BYTES);
        assert!(lane.is_due(now, age));
        lane.retry_at = Some(now + age);
        assert!(!lane.is_due(now, age));
    }
}
