//! How late a venue's events are, and where those go that are later than usual.
//!
//! After a pause, or when a venue comes back, what has piled up arrives at once. It did not happen at
//! once: an event that is much later than its venue's usual delay counts where it happened, which is
//! its venue time moved by the usual delay, and a backlog spreads over the time it covers. What is
//! only a little late is left where it arrived, as venues hold events back for up to a second; but the
//! end of a backlog, which is only a little late, counts where it happened like the rest of it.
//!
//! The usual delay falls at once, and rises to the least of the last three seconds with news: a backlog
//! is over before it becomes the rule, while a venue that falls behind under load, which is when
//! cascades run, counts at its receive time again after three seconds. Only differences of delays
//! matter, so the venue's clock need not agree with ours.

use crate::event::{Event, VENUE_COUNT};
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// An event is late from this much above the usual, ms.
const LATE_MS: i64 = 2_000;
/// What comes this soon after a late event and is late at all belongs to the same backlog.
const BACKLOG: u64 = 500 * NS_PER_MS;
/// Delay that is assumed before anything was heard, ms.
const FIRST_MS: i64 = 1_000;
/// Seconds with news that make a delay the usual one.
const SECONDS: usize = 3;

/// The usual delay of each venue.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    venues: [Usual; VENUE_COUNT],
}

#[derive(Clone, Copy, Debug)]
struct Usual {
    ms: i64,
    /// The least delay of the last seconds with news, the one that is filling first.
    least: [i64; SECONDS + 1],
    second: u64,
    /// Until when a backlog is taken to arrive.
    backlog: Nanos,
}

impl Default for Usual {
    fn default() -> Self {
        Self { ms: FIRST_MS, least: [FIRST_MS; SECONDS + 1], second: 0, backlog: Nanos(0) }
    }
}

impl Delays {
    /// When the event counts, and whether that is because it came late.
    pub fn place(&mut self, event: &Event) -> (Nanos, bool) {
        let at = event.at();
        let Some(venue_ms) = event.stamp.venue_ms() else { return (at, false) };
        let usual = &mut self.venues[event.venue.index()];
        let delay = event.received.millis() - venue_ms;
        usual.hear(delay, event.received.0 / NS_PER_S);
        let late = delay - usual.ms;
        if late >= LATE_MS {
            usual.backlog = event.received.plus(BACKLOG);
        }
        if late <= 0 || late < LATE_MS && event.received >= usual.backlog {
            return (at, false);
        }
        let late_ns = u64::try_from(late).unwrap_or(0) * NS_PER_MS;
        (at.min(event.received.minus(late_ns)), true)
    }
}

impl Usual {
    fn hear(&mut self, delay: i64, second: u64) {
        if second > self.second {
            self.least.rotate_right(1);
            self.least[0] = delay;
            self.second = second;
            let [_, whole @ ..] = self.least;
            self.ms = whole.into_iter().min().unwrap_or(self.ms).max(self.ms);
        }
        self.least[0] = self.least[0].min(delay);
        self.ms = self.ms.min(delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Stamp;

    const START_MS: i64 = 1_700_000_000_000;

    fn event(received: i64, venue: i64) -> Event {
        let mut event = Event::tick(Nanos::from_millis(START_MS + received));
        event.stamp = Stamp::new(Some(START_MS + venue), 0);
        event
    }

    #[test]
    fn a_backlog_counts_where_it_happened() {
        let mut delays = Delays::default();
        for s in 0..60 {
            let (at, late) = delays.place(&event(s * 1_000 + 300, s * 1_000));
            assert_eq!((at, late), (event(s * 1_000 + 300, 0).received, false));
        }
        for s in 60..68 {
            let (at, late) = delays.place(&event(70_000, s * 1_000));
            assert_eq!((at, late), (event(s * 1_000 + 300, 0).received, s < 68));
        }
        let (at, late) = delays.place(&event(70_010, 69_000));
        assert_eq!((at, late), (event(69_300, 0).received, true), "the end of the backlog");
        assert!(!delays.place(&event(70_500, 69_000)).1, "a second is nothing unusual");
    }

    #[test]
    fn a_venue_that_falls_behind_or_whose_clock_is_wrong_counts_on_arrival_again() {
        let mut delays = Delays::default();
        (0..60).for_each(|s| assert!(!delays.place(&event(s * 1_000 + 300, s * 1_000)).1));
        let late = |s: i64| event(s * 1_000 + 6_300, s * 1_000);
        let seconds: Vec<bool> = (60..70).map(|s| delays.place(&late(s)).1).collect();
        assert_eq!(seconds, [true, true, true, false, false, false, false, false, false, false]);
        assert!(!delays.place(&event(77_300, 77_000)).1);
        assert!(delays.place(&late(72)).1, "the usual delay falls at once");
    }
}
