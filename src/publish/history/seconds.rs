//! One state of each symbol for each second: the last.

use std::collections::{BTreeMap, VecDeque};

use crate::signal::Report;
use crate::symbol::Symbol;
use crate::time::{NS_PER_S, Nanos, Now};

/// The latest state of every symbol, and which were not handed over yet.
#[derive(Default)]
pub struct Seconds {
    rows: BTreeMap<Symbol, Row>,
    /// Symbols with a state that was not handed over, in the order in which they became so.
    news: VecDeque<Symbol>,
}

struct Row {
    report: Report,
    news: bool,
}

fn second(at: Nanos) -> u64 {
    at.0 / NS_PER_S
}

impl Seconds {
    /// Takes a state. Gives the one of an earlier second that it replaces, if that is still to be handed
    /// over.
    #[must_use]
    pub fn put(&mut self, report: &Report) -> Option<Report> {
        let row = self.rows.entry(report.symbol).or_insert(Row { report: *report, news: false });
        let former = std::mem::replace(&mut row.report, *report);
        if !std::mem::replace(&mut row.news, true) {
            self.news.push_back(report.symbol);
            return None;
        }
        (second(former.at) != second(report.at)).then_some(former)
    }

    /// A state whose second is over, the one that waited longest if it is.
    #[must_use]
    pub fn due(&mut self, now: Now) -> Option<Report> {
        let row = self.rows.get(self.news.front()?)?;
        if second(now.mono) > second(row.report.at) { self.any() } else { None }
    }

    /// Whatever is left.
    #[must_use]
    pub fn any(&mut self) -> Option<Report> {
        let row = self.rows.get_mut(&self.news.pop_front()?)?;
        row.news = false;
        Some(row.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(symbol: Symbol, ms: i64) -> Report {
        Report::empty(symbol, Nanos::from_millis(ms))
    }

    fn millis(report: Option<Report>) -> Option<i64> {
        report.map(|report| report.at.millis())
    }

    #[test]
    fn the_last_state_of_each_second_goes_once_when_the_second_is_over() {
        let mut seconds = Seconds::default();
        assert_eq!(seconds.put(&state(Symbol::BTC, 1_100)), None);
        assert_eq!(seconds.put(&state(Symbol::BTC, 1_900)), None);
        assert_eq!(millis(seconds.due(Now::at_millis(1_950))), None);
        assert_eq!(millis(seconds.due(Now::at_millis(2_000))), Some(1_900));
        assert_eq!(millis(seconds.due(Now::at_millis(9_000))), None);
    }

    #[test]
    fn a_state_that_nobody_asked_for_in_time_is_handed_out_by_the_next() {
        let mut seconds = Seconds::default();
        assert_eq!(seconds.put(&state(Symbol::BTC, 1_100)), None);
        assert_eq!(millis(seconds.put(&state(Symbol::BTC, 2_100))), Some(1_100));
        assert_eq!((millis(seconds.any()), seconds.any()), (Some(2_100), None));
    }
}
