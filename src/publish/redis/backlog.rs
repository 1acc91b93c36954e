//! The signals that Redis has not taken yet, and those it took last.
//!
//! Entries stand in order: those acknowledged, then those waiting. The acknowledged ones are kept as
//! long as there is room, because a server that comes back empty, or as an older copy of itself, is
//! given them again. When all is full the oldest goes: nothing is lost if it was acknowledged, else
//! it is counted as evicted.
//!
//! In front may stand signals of runs before this one, out of the journal. They are offered under their
//! own ids, and are no part of this run's books.

use std::collections::VecDeque;
use std::time::Instant;

use crate::publish::Fate;
use crate::signal::Report;
use crate::time::Now;

/// A signal and the moment it was handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The run of before that made it; `None` for this one.
    pub(super) run: Option<u64>,
    pub(super) report: Report,
    pub(super) now: Now,
    /// For how long it takes to be acknowledged.
    pub(super) handed: Instant,
}

impl Entry {
    /// Its id in the stream, where this run goes by `run`.
    pub(super) fn id(&self, run: u64) -> (u64, u64) {
        (self.run.unwrap_or(run), self.report.seq)
    }
}

#[derive(Debug)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    /// Entries from the front that are acknowledged.
    taken: usize,
    /// Entries from the front that are of runs before.
    former: usize,
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
        Self {
            entries,
            taken: 0,
            former: 0,
            capacity: capacity.max(1),
            gone: 0,
            evicted: 0,
            told: 0,
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.capacity {
            self.pop();
        }
        self.former += usize::from(entry.run.is_some());
        self.entries.push_back(entry);
    }

    fn pop(&mut self) {
        self.entries.pop_front();
        let is_taken = self.taken > 0;
        self.taken -= usize::from(is_taken);
        match (self.former, is_taken) {
            (1.., _) => self.former -= 1,
            (0, true) => self.gone += 1,
            (0, false) => self.evicted += 1,
        }
    }

    /// Gives up those of runs before; how many of them waited.
    pub(super) fn forget_former(&mut self) -> usize {
        let waited = self.former.saturating_sub(self.taken);
        while self.former > 0 {
            self.pop();
        }
        waited
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
            let seq = if last.run.is_none() { last.report.seq } else { 0 };
            self.told = self.told.max(seq);
        }
    }

    /// The server has everything up to id `last` and nothing after it; this run goes by `run`.
    pub(super) fn resume_after(&mut self, last: (u64, u64), run: u64) {
        self.taken = self.entries.partition_point(|entry| entry.id(run) <= last);
        self.tell();
    }

    pub(super) fn told(&self) -> u64 {
        self.told
    }

    pub(super) fn fate(&self) -> Fate {
        let settled = self.taken.max(self.former);
        Fate {
            published: self.gone + (settled - self.former) as u64,
            retained: (self.entries.len() - settled) as u64,
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
            backlog.push(entry(None, report));
        }
        backlog
    }

    fn entry(run: Option<u64>, report: Report) -> Entry {
        Entry { run, report, now: Now::default(), handed: Instant::now() }
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
        backlog.resume_after((7, 2), 7);
        assert_eq!((waiting(&backlog), backlog.told()), (vec![3, 4, 5], 4));
        assert_eq!(backlog.fate(), Fate { published: 2, retained: 3, evicted: 0 });
        backlog.resume_after((7, 99), 7);
        assert!(backlog.is_drained());
    }

    #[test]
    fn what_an_earlier_run_left_is_offered_and_not_counted() {
        let mut backlog = Backlog::new(10);
        for (run, seq) in [(Some(3), 8), (Some(3), 9), (None, 10)] {
            let report = Report { seq, ..Report::empty(Symbol::BTC, Nanos(seq)) };
            backlog.push(entry(run, report));
        }
        let one = |published| Fate { published, retained: 1 - published, evicted: 0 };
        backlog.resume_after((3, 8), 5);
        assert_eq!((waiting(&backlog), backlog.fate()), (vec![9, 10], one(0)));
        backlog.acknowledge(1);
        assert_eq!((backlog.told(), backlog.fate()), (0, one(0)));
        backlog.acknowledge(1);
        assert_eq!((backlog.told(), backlog.fate()), (10, one(1)));
        backlog.resume_after((0, 0), 5);
        assert_eq!(waiting(&backlog), [8, 9, 10], "a server that forgot is told all");
        assert_eq!(backlog.forget_former(), 2);
        assert_eq!((waiting(&backlog), backlog.fate()), (vec![10], one(0)));
    }
}
