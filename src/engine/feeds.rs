//! Which venues can be heard, as far as the events say.
//!
//! A venue is live while any of its lines is in a state that hears. A source that never speaks of
//! its feeds (a recording without them) counts as live from its first event.

use crate::event::{FeedState, VENUE_COUNT, VENUES, Venue};
use crate::signal::Shown;

/// Lines that are told apart within a venue; a higher number shares the last bit.
const LINES: u8 = 63;

/// The venues' state.
#[derive(Clone, Debug, Default)]
pub struct Feeds {
    /// For each venue, a bit for each line that hears.
    hearing: [u64; VENUE_COUNT],
    /// Venues that have spoken of their feeds.
    spoken: u8,
    /// Venues that can be heard: a set of [`Venue::bit`].
    pub live: u8,
    /// Venues ever expected: the same.
    pub expected: u8,
    /// How much of the truth each venue shows.
    pub shown: Shown,
}

impl Feeds {
    /// A feed's new state.
    pub fn state(&mut self, venue: Venue, line: u8, state: FeedState) {
        let bit = 1 << line.min(LINES);
        let hearing = &mut self.hearing[venue.index()];
        *hearing = if state.hears() { *hearing | bit } else { *hearing & !bit };
        self.spoken |= venue.bit();
        self.expected |= venue.bit();
        self.live = if *hearing != 0 { self.live | venue.bit() } else { self.live & !venue.bit() };
    }

    /// An event of the venue arrived.
    pub fn heard(&mut self, venue: Venue) {
        if self.spoken & venue.bit() == 0 {
            self.live |= venue.bit();
            self.expected |= venue.bit();
        }
    }

    /// Share of the expected venues that can be heard; 0 when none is expected.
    #[must_use]
    pub fn share(&self) -> f64 {
        let number = |set: u8| VENUES.iter().filter(|venue| set & venue.bit() != 0).count() as f64;
        if self.expected == 0 { 0.0 } else { number(self.live) / number(self.expected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_venue_is_live_while_one_of_its_lines_hears() {
        let mut feeds = Feeds::default();
        feeds.state(Venue::Okx, 0, FeedState::Live);
        feeds.state(Venue::Okx, 1, FeedState::Quiet);
        feeds.state(Venue::Okx, 0, FeedState::Down);
        assert_eq!((feeds.live, feeds.share()), (Venue::Okx.bit(), 1.0));
        feeds.state(Venue::Okx, 1, FeedState::Suspect);
        assert_eq!((feeds.live, feeds.expected, feeds.share()), (0, Venue::Okx.bit(), 0.0));
        feeds.heard(Venue::Okx);
        assert_eq!(feeds.live, 0, "its own word counts");
    }

    #[test]
    fn a_source_that_never_speaks_of_its_feeds_is_live_from_its_first_event() {
        let mut feeds = Feeds::default();
        assert_eq!(feeds.share(), 0.0);
        feeds.heard(Venue::Bybit);
        assert_eq!((feeds.live, feeds.expected), (Venue::Bybit.bit(), Venue::Bybit.bit()));
    }
}
