//! The signals that Redis has not taken yet, and those it took last.
//!
//! Entries stand in order: those acknowledged, then those waiting. The acknowledged ones are kept as
//! long as there is room, because a server that comes back empty, or as an older copy of itself, is
//! given them again. When all is full the oldest goes: nothing is lost if it was acknowledged, else
//! it is counted as evicted.

use std::collections::VecDeque;
use std::time::Instant;

use crate::publish::Fate;
use crate::signal::Report;
use crate::time::Now;

/// A signal and the moment it was handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) report: Report,
    pub(super) now: Now,
    /// For how long it takes to be acknowledged.
    pub(super) handed: Instant,
}

#[derive(Debug)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    /// Entries from the front that are acknowledged.
    taken: usize,
    capacity: usize,
    /// Acknowledged and no longer here.
    gone: u64,
    evicted: u64,
    /// Highest number ever acknowledged: repeats up to it are no news.
    told: u64,
}

impl Backlog {
    pub(super) fn new(capacity: usize) -> Self {
        let entries = VecDeque::new();
        Self { entries, taken: 0, capacity: capacity.max(1), gone: 0, evicted: 0, told: 0 }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.capacity {
            self.entries.pop_front();
            if self.taken > 0 {
                self.taken -= 1;
                self.gone += 1;
            } else {
                self.evicted += 1;
            }
        }
        self.entries.push_back(entry);
    }

    /// What waits, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.taken)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.taken >= self.entries.len()
    }

    /// The first `n` that wait are acknowledged.
    pub(super) fn acknowledge(&mut self, n: usize) {
        self.taken = (self.taken + n).min(self.entries.len());
        self.tell();
    }

    fn tell(&mut self) {
        if let Some(last) = self.taken.checked_sub(1).and_then(|i| self.entries.get(i)) {
            self.told = self.told.max(last.report.seq);
        }
    }

    /// The server has everything up to `seq` and nothing after it.
    pub(super) fn resume_after(&mut self, seq: u64) {
        self.taken = self.entries.partition_point(|entry| entry.report.seq <= seq);
        self.tell();
    }

    pub(super) fn told(&self) -> u64 {
        self.told
    }

    pub(super) fn fate(&self) -> Fate {
        Fate {
            published: self.gone + self.taken as u64,
            retained: (self.entries.len() - self.taken) as u64,
            evicted: self.evicted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::Symbol;
    use crate::time::Nanos;

    fn filled(capacity: usize, n: u64) -> Backlog {
        let mut backlog = Backlog::new(capacity);
        for seq in 1..=n {
            let report = Report { seq, ..Report::empty(Symbol::BTC, Nanos(seq)) };
            backlog.push(Entry { report, now: Now::default(), handed: Instant::now() });
        }
        backlog
    }

    fn waiting(backlog: &Backlog) -> Vec<u64> {
        backlog.waiting().map(|entry| entry.report.seq).collect()
    }

    #[test]
    fn the_oldest_goes_and_only_a_waiting_one_is_missed() {
        let mut backlog = filled(3, 3);
        backlog.acknowledge(1);
        let last = filled(1, 5);
        for entry in last.waiting().chain(last.waiting()) {
            backlog.push(*entry);
        }
        assert_eq!(backlog.fate(), Fate { published: 1, retained: 3, evicted: 1 });
    }

    #[test]
    fn a_server_that_forgot_is_told_again() {
        let mut backlog = filled(10, 5);
        backlog.acknowledge(4);
        assert_eq!((waiting(&backlog), backlog.told()), (vec![5], 4));
        backlog.resume_after(2);
        assert_eq!((waiting(&backlog), backlog.told()), (vec![3, 4, 5], 4));
        assert_eq!(backlog.fate(), Fate { published: 2, retained: 3, evicted: 0 });
        backlog.resume_after(99);
        assert!(backlog.is_drained());
    }
}
