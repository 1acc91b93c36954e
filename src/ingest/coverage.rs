//! Which routes that carry liquidations can be heard, and where something is missing.
//!
//! A route is heard while any of its lines is. When the last of them falls silent, the next event that
//! comes over that route is marked [`Flags::GAP`]: whatever happened in between is not known.

use super::line::ROUTES_MAX;
use super::repair::Gap;
use super::source::FeedChange;
use crate::event::{Event, Flags, VENUE_COUNT};
use crate::time::Millis;

/// A loss may have been noticed this much later than it began, ms.
const LATE_MS: i64 = 15_000;

const ROUTES: usize = ROUTES_MAX as usize;

/// What can be heard.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Per venue and route, a bit for each copy that is heard.
    heard: [[u32; ROUTES]; VENUE_COUNT],
    /// Per venue, a bit for each route on which something is missing.
    missing: [u8; VENUE_COUNT],
    /// Per venue and route, when it was last heard, and whether it is heard no more.
    since: [[Option<Millis>; ROUTES]; VENUE_COUNT],
    /// Times the last line of a route fell silent.
    pub gaps: u64,
}

impl Coverage {
    /// A line changed its state. Gives the gap that ends with it.
    pub fn change(&mut self, change: &FeedChange, wall: Millis) -> Option<Gap> {
        let FeedChange { venue, line, rare, state, .. } = change;
        let route = usize::from(line % ROUTES_MAX);
        let (Some(heard), true) = (self.heard[venue.index()].get_mut(route), *rare) else {
            return None;
        };
        let copy = 1_u32 << (line / ROUTES_MAX);
        let before = *heard;
        *heard = if state.hears() { before | copy } else { before & !copy };
        if before != 0 && *heard == 0 {
            self.gaps += 1;
            self.missing[venue.index()] |= 1 << route;
        }
        let since = self.since[venue.index()].get_mut(route)?;
        match (before, *heard) {
            (1.., 0) => {
                *since = Some(wall);
                None
            }
            // What is told late at the venue was told before we noticed that we were deaf.
            (0, 1..) => since.take().map(|from| Gap { from: Millis(from.0 - LATE_MS), to: wall }),
            _ => None,
        }
    }

    /// Marks an event that is the first after a gap.
    pub fn mark(&mut self, event: &mut Event) {
        let Some(missing) = self.missing.get_mut(event.venue.index()).filter(|m| **m != 0) else {
            return;
        };
        let route = 1 << (event.line % ROUTES_MAX);
        if *missing & route != 0 {
            *missing &= !route;
            event.flags = event.flags.with(Flags::GAP);
        }
    }

    /// Whether the venue's liquidations can be heard on any route.
    #[must_use]
    pub fn hears(&self, venue: crate::event::Venue) -> bool {
        self.heard[venue.index()].iter().any(|heard| *heard != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FeedState, Venue};
    use crate::ingest::line::Plan;
    use crate::time::Nanos;

    fn change(line: u8, rare: bool, state: FeedState) -> FeedChange {
        let (venue, route) = (Venue::Bybit, "linear");
        FeedChange { venue, line, route, rare, state, code: 0, why: String::new() }
    }

    fn marked(coverage: &mut Coverage, line: u8) -> bool {
        let mut event = Event { venue: Venue::Bybit, line, ..Event::tick(Nanos(0)) };
        coverage.mark(&mut event);
        event.flags.has(Flags::GAP)
    }

    #[test]
    fn f1_the_first_event_after_a_gap_says_so_once() {
        let mut coverage = Coverage::default();
        coverage.change(&change(0, true, FeedState::Connecting), Millis(0));
        coverage.change(&change(0, true, FeedState::Live), Millis(0));
        assert!(!marked(&mut coverage, 0), "the beginning is no gap");
        coverage.change(&change(0, true, FeedState::Quiet), Millis(0));
        coverage.change(&change(0, true, FeedState::Down), Millis(0));
        coverage.change(&change(0, true, FeedState::Connecting), Millis(0));
        assert!(!marked(&mut coverage, 1), "another route missed nothing");
        assert!(marked(&mut coverage, 0) && !marked(&mut coverage, 0));
        assert_eq!(coverage.gaps, 1);
    }

    #[test]
    fn a_gap_lasts_from_the_loss_until_it_is_heard_again() {
        let mut coverage = Coverage::default();
        let mut at = |state, ms| coverage.change(&change(0, true, state), Millis(ms));
        assert_eq!(at(FeedState::Live, 1_000), None);
        assert_eq!(at(FeedState::Stale, 50_000), None);
        assert_eq!(at(FeedState::Connecting, 51_000), None);
        let gap = Gap { from: Millis(50_000 - LATE_MS), to: Millis(60_000) };
        assert_eq!(at(FeedState::Live, 60_000), Some(gap));
        assert_eq!(at(FeedState::Quiet, 130_000), None);
    }

    #[test]
    fn f22_a_second_line_that_heard_everything_leaves_no_gap() {
        let mut coverage = Coverage::default();
        let second = Plan::number(0, 1);
        for line in [0, second] {
            coverage.change(&change(line, true, FeedState::Live), Millis(0));
        }
        coverage.change(&change(0, true, FeedState::Down), Millis(0));
        assert!(coverage.hears(Venue::Bybit) && !marked(&mut coverage, 0));
        coverage.change(&change(second, true, FeedState::Stale), Millis(0));
        assert!(!coverage.hears(Venue::Bybit) && marked(&mut coverage, second));
    }

    #[test]
    fn a_route_without_liquidations_has_no_gap() {
        let mut coverage = Coverage::default();
        coverage.change(&change(1, false, FeedState::Live), Millis(0));
        coverage.change(&change(1, false, FeedState::Down), Millis(0));
        assert!(!coverage.hears(Venue::Bybit) && !marked(&mut coverage, 1));
    }
}
