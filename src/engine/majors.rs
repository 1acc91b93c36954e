//! BTC and ETH: what the market is made of. A cascade of the market shows in them; a burst over small
//! coins alone, however wide, leaves them flat.

use super::minute::{self, Minute};
use crate::symbol::Symbol;

/// The majors. Their trades are the reference of pressure, their liquidations of [`Majors`].
pub const MAJORS: [Symbol; 2] = [Symbol::BTC, Symbol::ETH];
/// Seconds in which both must have part.
const MINUTE: u64 = 60;
/// Seconds in which both must have part for a burst to be the market's: while the market falls they are
/// liquidated all the time, and of an ordinary flow both are seldom there by chance.
const RECENT: u64 = 3;

/// Liquidations of the majors, taken together.
#[derive(Clone, Debug, Default)]
pub struct Majors {
    minute: Minute,
    /// The second each was last liquidated in; 0 for never.
    last: [u64; MAJORS.len()],
    now: u64,
}

impl Majors {
    /// Moves on to second `to`; `since` is the second listening began in.
    pub fn advance(&mut self, to: u64, since: u64) {
        if to > self.now {
            self.now = to;
            self.minute.advance(to, since);
        }
    }

    /// Counts a liquidation of any symbol.
    pub fn put(&mut self, symbol: Symbol, second: u64, micros: u64) {
        if let Some(i) = MAJORS.iter().position(|&major| major == symbol) {
            self.last[i] = self.last[i].max(second);
            self.minute.put(second, micros);
        }
    }

    /// Whether all that are ever liquidated were within the last 3 s.
    #[must_use]
    pub fn recent(&self) -> bool {
        let from = self.now.saturating_sub(RECENT);
        let mut known = self.last.iter().filter(|&&second| second > 0).peekable();
        known.peek().is_some() && known.all(|&second| second > from)
    }

    /// Seconds of the last 10 in which one was liquidated.
    #[must_use]
    pub fn busy(&self) -> u32 {
        self.minute.money(minute::SLOW).seconds
    }

    /// The weight of their minute; `None` where it does not stand out, or where only one of both that
    /// are ever liquidated has part in it.
    #[must_use]
    pub fn weight(&self, scale: f64) -> Option<f64> {
        let from = self.now.saturating_sub(MINUTE);
        let all_known = self.last.iter().all(|&second| second > 0);
        let one_missing = self.last.iter().any(|&second| second <= from);
        if all_known && one_missing { None } else { self.minute.weight(scale) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;

    /// One liquidation of 40,000 USD every second for 20 s after five minutes of nothing.
    fn minute(of: &[Symbol]) -> Majors {
        let mut majors = Majors::default();
        majors.advance(START, START);
        MAJORS.iter().for_each(|&major| majors.put(major, START, 1));
        for second in START + 300..START + 320 {
            majors.advance(second, START);
            of.iter().for_each(|&symbol| majors.put(symbol, second, 40_000_000_000));
        }
        majors
    }

    #[test]
    fn a_minute_that_both_share_weighs_and_one_of_a_single_account_does_not() {
        assert!(minute(&MAJORS).weight(1.0) > Some(3.0));
        assert_eq!(minute(&[Symbol::ETH]).weight(1.0), None);
        let small = Symbol::of_base("XRP").unwrap();
        assert_eq!((minute(&[small]).weight(1.0), minute(&[small]).recent()), (None, false));
        let recent = [&MAJORS[..], &MAJORS[..1]].map(|of| minute(of).recent());
        assert_eq!(recent, [true, false], "one may be there by chance");
    }
}
