//! Many pieces of news, few messages, exact counts.
//!
//! The first goes out at once. After a message the chat has rest for a while; what comes meanwhile
//! is gathered, and the next message says how many there were of each kind and shows those that matter
//! most. The sum of the counts over all messages is the number of pieces of news, always: a message
//! that could not be delivered is told as a number by the next one.
//!
//! Arithmetic alone: told the time, no I/O.

use arrayvec::ArrayVec;

use super::note::Note;
use super::receipt::Id;
use crate::time::Nanos;

/// Lines a message shows at most; the others are counted.
pub const SHOWN: usize = 5;
/// Words that counts can go by: four levels above NONE, and six more.
const WORDS: usize = 12;

/// Gathered news.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    counts: ArrayVec<(&'static str, u64), WORDS>,
    total: u64,
    shown: ArrayVec<Note, SHOWN>,
    missed: u64,
    last: Id,
}

impl Group {
    /// The last signal in it; zeros where there is none.
    #[must_use]
    pub fn last(&self) -> Id {
        self.last
    }

    /// Pieces of news in it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Pieces of news before it that no message told.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many there are of each kind, in order of first appearance.
    #[must_use]
    pub fn counts(&self) -> &[(&'static str, u64)] {
        &self.counts
    }

    /// Those that matter most, in order of arrival.
    #[must_use]
    pub fn shown(&self) -> &[Note] {
        &self.shown
    }

    fn add(&mut self, note: &Note) {
        self.total += 1;
        self.last = self.last.max(note.id());
        let word = note.word();
        match self.counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            // There is room for every word that exists.
            None => drop(self.counts.try_push((word, 1))),
        }
        self.show(note);
    }

    fn show(&mut self, note: &Note) {
        if self.shown.is_full() {
            let least = self.shown.iter().enumerate().min_by_key(|(_, shown)| shown.weight());
            match least.map(|(i, shown)| (i, shown.weight())) {
                Some((i, weight)) if weight < note.weight() => drop(self.shown.remove(i)),
                _ => return,
            }
        }
        // Room was there, or has just been made.
        let _ = self.shown.try_push(*note);
    }
}

/// The news that waits, and when the next message may go.
#[derive(Clone, Debug)]
pub struct Storm {
    every_ns: u64,
    sent: Option<Nanos>,
    group: Group,
}

impl Storm {
    /// At most one message in `every_ns`.
    #[must_use]
    pub fn new(every_ns: u64) -> Self {
        Self { every_ns, sent: None, group: Group::default() }
    }

    /// Something happened.
    pub fn add(&mut self, note: &Note) {
        self.group.add(note);
    }

    /// This many pieces of news will be told by no message of their own.
    pub fn miss(&mut self, n: u64) {
        self.group.missed += n;
    }

    /// What is to be told now, if anything is and the chat has had its rest.
    pub fn due(&mut self, now: Nanos) -> Option<Group> {
        let rested = self.sent.is_none_or(|sent| now.since(sent) >= self.every_ns);
        if rested { self.rest(now) } else { None }
    }

    /// What is left, rest or not: for the end.
    pub fn rest(&mut self, now: Nanos) -> Option<Group> {
        if self.group.total == 0 {
            return None;
        }
        self.sent = Some(now);
        Some(std::mem::take(&mut self.group))
    }

    /// From here on at most one message in `every_ns`.
    pub fn pace(&mut self, every_ns: u64) {
        self.every_ns = every_ns;
    }

    /// A message has just gone out again: the rest begins anew.
    pub fn again(&mut self, now: Nanos) {
        self.sent = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::alert::note::News;
    use crate::publish::explain::tests::sample;
    use crate::signal::{Level, Report};
    use crate::time::{Millis, NS_PER_S};

    fn note(level: Level, seq: u64) -> Note {
        let report = Report { level, ..sample(seq) };
        Note { run: 7, at: Millis(0), news: News::Signal(report) }
    }

    fn seqs(group: &Group) -> Vec<u64> {
        let seq = |note: &Note| match note.news {
            News::Signal(report) => report.seq,
            _ => 0,
        };
        group.shown().iter().map(seq).collect()
    }

    #[test]
    fn the_first_goes_at_once_and_the_rest_a_second_later_in_one() {
        let mut storm = Storm::new(NS_PER_S);
        let start = Nanos(5 * NS_PER_S);
        assert_eq!(storm.due(start), None);
        storm.add(&note(Level::Alert, 1));
        assert_eq!(storm.due(start).map(|group| group.total()), Some(1));
        for seq in 2..=4 {
            storm.add(&note(Level::Alert, seq));
            assert_eq!(storm.due(start.plus(NS_PER_S - 1)), None);
        }
        let group = storm.due(start.plus(NS_PER_S)).unwrap();
        assert_eq!((group.total(), group.counts()), (3, &[("ALERT", 3)][..]));
        assert_eq!(storm.due(start.plus(9 * NS_PER_S)), None);
    }

    #[test]
    fn the_worst_are_shown_and_all_are_counted() {
        let mut storm = Storm::new(0);
        for seq in 1..=5 {
            storm.add(&note(Level::Alert, seq));
        }
        storm.add(&note(Level::Watch, 6));
        storm.add(&note(Level::Extreme, 7));
        storm.add(&note(Level::Critical, 8));
        let group = storm.due(Nanos(0)).unwrap();
        assert_eq!(seqs(&group), [3, 4, 5, 7, 8]);
        assert_eq!(group.counts(), [("ALERT", 5), ("WATCH", 1), ("EXTREME", 1), ("CRITICAL", 1)]);
    }

    #[test]
    fn no_count_is_lost_over_a_storm_of_any_shape() {
        let mut storm = Storm::new(NS_PER_S);
        let (mut told, mut messages, mut missed) = (0, 0, 0);
        for i in 0..10_000_u64 {
            // Bursts: a hundred within a millisecond, then 300 ms of nothing.
            let now = Nanos((i / 100) * 300_000_000 + (i % 100) * 10_000);
            storm.add(&note(Level::Alert, i));
            let Some(group) = storm.due(now) else { continue };
            assert_eq!(group.counts().iter().map(|(_, n)| n).sum::<u64>(), group.total());
            messages += 1;
            missed += group.missed();
            if messages % 7 == 0 {
                // Not delivered: told by the next one as a number.
                storm.miss(group.total() + group.missed());
                missed -= group.missed();
            } else {
                told += group.total();
            }
        }
        let last = storm.rest(Nanos(u64::MAX)).unwrap();
        assert_eq!(told + missed + last.total() + last.missed(), 10_000);
        assert!(messages <= 31, "{messages} messages in 30 s");
    }
}
