//! The books: named counts, and the laws they must obey.
//!
//! Nothing may vanish unnoticed. Each stage writes what it counted into a [`Ledger`] when it ends;
//! the laws are checked over the whole and printed at every exit. A [`Tally`] counts by name without
//! allocating, for use inside a room.

use std::fmt;

use arrayvec::ArrayVec;

/// Names a [`Tally`] can hold; any further name is counted under `other`.
const TALLY_NAMES: usize = 48;

/// Counts by name, in order of first appearance. Never allocates.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: ArrayVec<(&'static str, u64), TALLY_NAMES>,
    other: u64,
}

impl Tally {
    /// Adds `n` to `name`.
    pub fn add(&mut self, name: &'static str, n: u64) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == name) {
            *count += n;
        } else if self.counts.try_push((name, n)).is_err() {
            self.other += n;
        }
    }

    /// The sum over all names.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, n)| n).sum::<u64>() + self.other
    }

    /// The count of one name.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, n)| *n)
    }

    /// Names and counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let other = (self.other > 0).then_some(("other", self.other));
        self.counts.iter().copied().chain(other)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, n)) in self.iter().enumerate() {
            write!(f, "{}{name} {n}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Counts a [`Counts`] can hold; any further one is counted as left out.
const COUNTS: usize = 256;

/// One count: its name, a label (empty where there is none), the number.
pub type Count = (&'static str, &'static str, u64);

/// What a stage has counted so far, for whoever watches it at work. Never allocates.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    counts: ArrayVec<Count, COUNTS>,
    left_out: u64,
}

impl Counts {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.left_out = 0;
    }

    /// Adds `n` to `name`.
    pub fn add(&mut self, name: &'static str, n: u64) {
        self.add_under(name, "", n);
    }

    /// Adds `n` to `name{label}`.
    pub fn add_under(&mut self, name: &'static str, label: &'static str, n: u64) {
        let known = self.counts.iter_mut().find(|count| (count.0, count.1) == (name, label));
        if let Some((.., count)) = known {
            *count += n;
        } else if self.counts.try_push((name, label, n)).is_err() {
            self.left_out += 1;
        }
    }

    /// Adds every count of a tally under `name{...}`.
    pub fn add_tally(&mut self, name: &'static str, tally: &Tally) {
        for (label, n) in tally.iter() {
            self.add_under(name, label, n);
        }
    }

    /// The number of one count without a label; 0 when nobody wrote it.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.iter().find(|count| (count.0, count.1) == (name, "")).map_or(0, |(.., n)| n)
    }

    /// All counts, in order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = Count> + '_ {
        let left_out = (self.left_out > 0).then_some(("counts_left_out", "", self.left_out));
        self.counts.iter().copied().chain(left_out)
    }
}

/// Named sums over all stages.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    counts: Vec<(String, u64)>,
}

/// One law: the left side must equal the sum of the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Law {
    /// The law with its numbers: `frames 12 = decoded 9 + ignored 2 + rejected 1`.
    pub text: String,
    /// Whether both sides are equal.
    pub holds: bool,
}

/// The conservation laws: `left = right + right + ...`, by the names that stages use.
const LAWS: [(&str, &[&str]); 6] = [
    ("frames", &["decoded", "ignored", "rejected"]),
    ("items", &["events", "refused"]),
    ("offered", &["events", "ticks"]),
    ("offered", &["pushed", "dropped"]),
    ("pushed", &["consumed"]),
    ("signals", &["published", "retained", "evicted"]),
];

/// Laws of sinks that are not always there.
const LAWS_WHERE_THERE: [(&str, &[&str]); 1] =
    [("history_handed", &["history_stored", "history_waiting", "history_dropped"])];

impl Ledger {
    /// Adds `n` to `name`.
    pub fn add(&mut self, name: &str, n: u64) {
        match self.counts.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += n,
            None => self.counts.push((name.to_owned(), n)),
        }
    }

    /// Adds every count of a tally under `prefix{name}`.
    pub fn add_tally(&mut self, prefix: &str, tally: &Tally) {
        for (name, n) in tally.iter() {
            self.add(&format!("{prefix}{{{name}}}"), n);
        }
    }

    /// Adds what a stage counted, as `fill` writes it.
    pub fn add_counts(&mut self, fill: impl FnOnce(&mut Counts)) {
        let mut counts = Counts::default();
        fill(&mut counts);
        for (name, label, n) in counts.iter() {
            if label.is_empty() {
                self.add(name, n);
            } else {
                self.add(&format!("{name}{{{label}}}"), n);
            }
        }
    }

    /// The sum of one name; 0 when nobody wrote it.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.counts.iter().find(|(known, _)| known == name).map_or(0, |(_, n)| *n)
    }

    /// Names and sums, in order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> + '_ {
        self.counts.iter().map(|(name, n)| (name.as_str(), *n))
    }

    /// The conservation laws over these sums.
    pub fn laws(&self) -> impl Iterator<Item = Law> + '_ {
        let is_there = |name: &str| self.counts.iter().any(|(known, _)| known == name);
        let there = LAWS_WHERE_THERE.iter().filter(move |(left, _)| is_there(left));
        LAWS.iter().chain(there).map(|(left, right)| {
            let terms: Vec<String> = right.iter().map(|n| format!("{n} {}", self.get(n))).collect();
            let sum: u64 = right.iter().map(|name| self.get(name)).sum();
            Law {
                text: format!("{left} {} = {}", self.get(left), terms.join(" + ")),
                holds: self.get(left) == sum,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_breaks_when_one_item_is_missing() {
        let mut ledger = Ledger::default();
        ledger.add("frames", 3);
        ledger.add("decoded", 2);
        assert_eq!(ledger.laws().filter(|law| !law.holds).count(), 1);
        ledger.add("ignored", 1);
        assert!(ledger.laws().all(|law| law.holds));
    }

    #[test]
    fn counts_are_added_to_the_books_with_their_labels() {
        let mut tally = Tally::default();
        tally.add("late", 2);
        let mut ledger = Ledger::default();
        ledger.add_counts(|counts| {
            counts.add("frames", 3);
            counts.add("frames", 1);
            counts.add_tally("lost", &tally);
        });
        assert_eq!((ledger.get("frames"), ledger.get("lost{late}")), (4, 2));
    }

    #[test]
    fn a_tally_never_loses_a_count() {
        static NAMES: [&str; 3] = ["a", "b", "c"];
        let mut tally = Tally::default();
        for name in NAMES {
            tally.add(name, 2);
        }
        tally.add("a", 1);
        assert_eq!((tally.get("a"), tally.total()), (3, 7));
        assert_eq!(tally.to_string(), "a 3, b 2, c 2");
    }
}
