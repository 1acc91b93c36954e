//! Book tops that arrive as differences.
//!
//! Bybit's tickers send only the keys that changed, and a change of the bid alone is the rule, so the
//! other side has to be remembered. One row per symbol, few rows: only reference symbols have tickers.

use arrayvec::{ArrayString, ArrayVec};

use super::page::Level;
use crate::ingest::instrument::NAME_MAX;

/// Symbols whose top is remembered; beyond that only frames with both sides give a book.
const ROWS: usize = 64;

/// Bid, its size, ask, its size.
pub type Top = [Option<f64>; 4];
/// The same as they stand in a frame: absent, or told (perhaps as no number).
pub type Change = [Option<Option<f64>>; 4];

/// The last known top of each symbol.
#[derive(Debug, Default)]
pub struct Tops {
    rows: ArrayVec<(ArrayString<NAME_MAX>, Top), ROWS>,
}

impl Tops {
    /// Takes a change in (a snapshot forgets what was known) and gives the top as it now stands, once
    /// both sides are known.
    pub(super) fn change(
        &mut self,
        name: &str,
        snapshot: bool,
        change: Change,
    ) -> Option<(Level, Level)> {
        let mut top = Top::default();
        let row = self.row(name);
        let known = row.as_ref().filter(|_| !snapshot).map_or(top, |row| **row);
        for ((now, change), known) in top.iter_mut().zip(change).zip(known) {
            *now = change.unwrap_or(known);
        }
        if let Some(row) = row {
            *row = top;
        }
        let [bid, bid_size, ask, ask_size] = top;
        Level::of(bid, bid_size).zip(Level::of(ask, ask_size))
    }

    fn row(&mut self, name: &str) -> Option<&mut Top> {
        let found = self.rows.iter().position(|(known, _)| known.as_str() == name);
        let index = found.or_else(|| {
            let name = ArrayString::from(name).ok()?;
            self.rows.try_push((name, Top::default())).ok()?;
            self.rows.len().checked_sub(1)
        });
        self.rows.get_mut(index?).map(|(_, top)| top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Change = [Some(Some(10.0)), Some(Some(1.0)), Some(Some(11.0)), Some(Some(2.0))];
    const BID: Change = [Some(Some(10.5)), Some(Some(3.0)), None, None];

    fn levels(bid: f64, bid_size: f64) -> Option<(Level, Level)> {
        Level::of(Some(bid), Some(bid_size)).zip(Level::of(Some(11.0), Some(2.0)))
    }

    #[test]
    fn a_change_of_one_side_keeps_the_other() {
        let mut tops = Tops::default();
        assert_eq!(tops.change("A", false, BID), None, "the ask was never told");
        assert_eq!(tops.change("A", true, BOTH), levels(10.0, 1.0));
        assert_eq!(tops.change("A", false, BID), levels(10.5, 3.0));
        assert_eq!(tops.change("B", false, BID), None, "each symbol has its own");
        assert_eq!(tops.change("A", true, BID), None, "a snapshot forgets");
    }

    #[test]
    fn rows_are_bounded_and_whole_frames_still_count() {
        let mut tops = Tops::default();
        for n in 0..1000 {
            assert_eq!(tops.change(&n.to_string(), true, BOTH), levels(10.0, 1.0));
        }
        assert_eq!(tops.rows.len(), ROWS);
        assert_eq!(tops.change("999", false, BID), None);
    }
}
