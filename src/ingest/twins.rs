//! Tells what two connections of a venue both carry from what happened twice.
//!
//! The same venue may be heard twice: over two lines, over two links while one replaces the other, or
//! because it sends recent trades and fills again on subscribing. Where the venue numbers a trade, its
//! number decides: what has the same one happened once, whoever says it. Where it does not, two equal
//! events on *one* connection are two events and the same event on two connections is one. So the
//! connections are counted apart, and an event passes when its own connection has shown it more often
//! than it has passed:
//!
//! ```text
//! numbered    passed(key) = 1                                key = symbol, venue time, kind, number
//! others      passed(key) = max over connections of count(key, connection)
//!                           key = route, symbol, venue time, kind, side, price, value
//! ```
//!
//! What is kept out of the rates (history, a snapshot, a suspicion) is no proof that the event was
//! counted: the first telling that counts passes after it. So a suspected liquidation and its
//! confirmation both pass and one of them counts; a suspicion about what is confirmed already does not
//! pass.
//!
//! Events without a venue time are states, not occurrences, and always pass. The memory is fixed: rows
//! of eight, the oldest of a row gives way.

use super::line::ROUTES_MAX;
use crate::event::{Body, Event, Flags};
use crate::ledger::Ledger;
use crate::record::event_words;
use crate::time::Nanos;

/// Events in a row, and rows.
const ROW: usize = 8;
const ROWS: usize = 4_096;
/// Connections that are told apart within one event.
const LINKS: usize = 4;
/// Lines for which the race is recorded.
const LINES: usize = 16;

/// The number of a connection that needs no telling apart: a recording.
pub const ALONE: u32 = 0;

/// The line over which missed events come afterwards; no connection has this number.
pub const REPAIR: u8 = 15;

/// The number of a line's `nth` connection among all of a venue.
#[must_use]
pub const fn link_of(line: u8, nth: u32) -> u32 {
    (line as u32) << 24 | nth & 0xff_ffff
}

/// Told, and kept out of the rates.
const UNCOUNTED: Flags = Flags::BACKFILL.with(Flags::SNAPSHOT).with(Flags::SUSPECTED);

/// What has passed lately, of one venue.
#[derive(Debug)]
pub struct Twins {
    entries: Box<[Entry]>,
    lines: [Race; LINES],
    /// Liquidations that were suspected, and those of them that the venue confirmed.
    suspected: u64,
    confirmed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    /// When it first came, and over which connection.
    at: Nanos,
    first: u32,
    /// How often it passed, and how often so that it counts.
    passed: u32,
    counted: u32,
    /// It was suspected, and a fact was told as well.
    suspected: bool,
    confirmed: bool,
    counts: [(u32, u32); LINKS],
}

/// How a line does against the venue's others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Race {
    /// Events it brought before another line.
    pub won: u64,
    /// Events another line had brought before.
    pub lost: u64,
    /// By how much it won in all, ns, and at most.
    pub lead: u64,
    /// Its longest lead, ns.
    pub longest: u64,
}

impl Default for Twins {
    fn default() -> Self {
        Self {
            entries: vec![Entry::default(); ROW * ROWS].into_boxed_slice(),
            lines: Default::default(),
            suspected: 0,
            confirmed: 0,
        }
    }
}

impl Twins {
    /// Whether the event, numbered `id` by the venue and come over connection `link` at `now`, has not
    /// been passed before.
    pub fn is_new(&mut self, event: &Event, id: Option<u64>, link: u32, now: Nanos) -> bool {
        let Some(ms) = event.stamp.venue_ms().filter(|_| link != ALONE) else { return true };
        let key = id.map_or_else(|| key(event, ms, link), |id| numbered_key(event, ms, id));
        let row = usize::try_from(key >> 32).unwrap_or(0) % ROWS * ROW;
        let Some(row) = self.entries.get_mut(row..row + ROW) else { return true };
        let known = row.iter().position(|entry| entry.key == key);
        let place = known.or_else(|| (0..ROW).min_by_key(|&i| row.get(i).map(|entry| entry.at)));
        let Some(entry) = place.and_then(|place| row.get_mut(place)) else { return true };
        if known.is_none() {
            *entry = Entry { key, at: now, first: link, ..Entry::default() };
        }
        let count = if id.is_some() { 1 } else { entry.count(link) };
        let new = entry.passes(count, !event.flags.has(UNCOUNTED));
        let (first, lead) = (entry.first, now.since(entry.at));
        let (suspected, confirmed) = entry.suspect(event.flags.has(Flags::SUSPECTED));
        self.suspected += u64::from(suspected);
        self.confirmed += u64::from(confirmed);
        if !new {
            self.race(first, link, lead);
        }
        new
    }

    fn race(&mut self, first: u32, second: u32, lead: u64) {
        let line = |link: u32| usize::try_from(link >> 24).unwrap_or(0);
        if line(first) == line(second) || line(second) == usize::from(REPAIR) {
            return;
        }
        if let Some(race) = self.lines.get_mut(line(first)) {
            race.won += 1;
            race.lead += lead;
            race.longest = race.longest.max(lead);
        }
        if let Some(race) = self.lines.get_mut(line(second)) {
            race.lost += 1;
        }
    }

    /// How a line does.
    #[must_use]
    pub fn of_line(&self, line: u8) -> Race {
        self.lines.get(usize::from(line)).copied().unwrap_or_default()
    }

    /// Writes wins and leads of the lines that raced, under the venue's name.
    pub fn ledger(&self, venue: &str, ledger: &mut Ledger) {
        for (line, race) in self.lines.iter().enumerate() {
            for (what, n) in [
                ("won", race.won),
                ("beaten", race.lost),
                ("lead_mean_us", race.lead.checked_div(race.won).unwrap_or(0) / 1_000),
                ("lead_max_us", race.longest / 1_000),
            ] {
                if race.won + race.lost > 0 {
                    ledger.add(&format!("line_{what}{{{venue}/{line}}}"), n);
                }
            }
        }
        for (what, n) in [("suspected", self.suspected), ("confirmed", self.confirmed)] {
            if self.suspected > 0 {
                ledger.add(&format!("liquidations_{what}{{{venue}}}"), n);
            }
        }
    }
}

impl Entry {
    /// Counts it once more on `link`.
    fn count(&mut self, link: u32) -> u32 {
        let known = self.counts.iter().position(|(of, _)| *of == link);
        let place = known.or_else(|| {
            // A connection that is long gone gives way: links of a line are numbered upwards.
            let free = self.counts.iter().position(|(of, _)| *of == ALONE);
            free.or_else(|| (0..LINKS).min_by_key(|&i| self.counts.get(i).map(|(_, n)| *n)))
        });
        let Some(count) = place.and_then(|place| self.counts.get_mut(place)) else { return 1 };
        let before = if count.0 == link { count.1 } else { 0 };
        *count = (link, before.saturating_add(1));
        count.1
    }

    /// Whether the `count`th telling passes, one that counts or one that does not.
    fn passes(&mut self, count: u32, counts: bool) -> bool {
        let new = count > if counts { self.counted } else { self.passed };
        self.passed = self.passed.max(count);
        if counts {
            self.counted = self.counted.max(count);
        }
        new
    }

    /// Whether this is the first suspicion, and whether there is now both a suspicion and a fact.
    fn suspect(&mut self, suspected: bool) -> (bool, bool) {
        let first = suspected && !self.suspected;
        let fact_after = !suspected && self.suspected && !self.confirmed;
        let confirmed = fact_after || first && self.counted > 0;
        self.suspected |= suspected;
        self.confirmed |= confirmed;
        (first, confirmed)
    }
}

/// What makes an occurrence, mixed into 64 bits: among the 2^15 that are remembered two different ones
/// agree by chance less than once in 10^9 runs.
fn mixed(words: impl IntoIterator<Item = u64>) -> u64 {
    let step = |hash: u64, word: u64| {
        let x = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29)
    };
    words.into_iter().fold(0, step).max(1)
}

/// A suspicion does not know the side, and both parties of a trade have its number: of a fill, whose
/// it is makes a difference, of anything else only the kind.
fn numbered_key(event: &Event, ms: i64, id: u64) -> u64 {
    let [head, _, low, high, ..] = event_words(event);
    let kind = if matches!(event.body, Body::Fill { .. }) { head } else { head & 0xff };
    mixed([u64::MAX, kind, low, high, ms.cast_unsigned(), id])
}

fn key(event: &Event, ms: i64, link: u32) -> u64 {
    let [head, _, low, high, _, _, a, b] = event_words(event);
    let line = link >> 24;
    // Two routes may carry contracts of one market; the repaired route is the first.
    let route = if line == u32::from(REPAIR) { 0 } else { line % u32::from(ROUTES_MAX) };
    mixed([u64::from(route), head, low, high, ms.cast_unsigned(), a, b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Side, Stamp, Usd, Venue};
    use crate::symbol::Symbol;

    fn event(ms: i64, usd: f64) -> Event {
        let body = Body::Liquidation {
            side: Some(Side::Long),
            price: None,
            usd: Some(Usd::new(usd).unwrap()),
        };
        Event {
            symbol: Symbol::BTC,
            body,
            stamp: Stamp::new(Some(ms), 0),
            venue: Venue::Bybit,
            ..Event::tick(Nanos(0))
        }
    }

    const A: u32 = link_of(0, 1);
    const B: u32 = link_of(8, 1);

    fn passed(twins: &mut Twins, told: &[(i64, u32)]) -> usize {
        told.iter()
            .filter(|(ms, link)| twins.is_new(&event(*ms, 5.0), None, *link, Nanos(1)))
            .count()
    }

    #[test]
    fn d1_equal_events_on_one_connection_are_several_and_on_two_are_one() {
        for (told, events) in [
            (&[(7, A), (7, A)][..], 2),
            (&[(7, A), (7, B)], 1),
            (&[(7, A), (7, A), (7, B), (7, B)], 2),
            (&[(7, A), (7, B), (7, A), (7, B), (7, B)], 3),
            (&[(7, A), (8, B)], 2),
            (&[(7, ALONE), (7, ALONE), (7, ALONE)], 3),
            (&[(7, A), (7, link_of(1, 1))], 2),
            (&[(7, A), (7, link_of(REPAIR, 1)), (8, link_of(REPAIR, 1))], 2),
        ] {
            assert_eq!(passed(&mut Twins::default(), told), events, "{told:?}");
        }
    }

    #[test]
    fn d1_what_is_sent_again_after_a_reconnect_is_known() {
        let mut twins = Twins::default();
        let trades: Vec<_> = (0..500).map(|ms| (1 + ms / 2, A)).collect();
        assert_eq!(passed(&mut twins, &trades), 500);
        for connection in 2..20 {
            let again: Vec<_> =
                trades.iter().map(|(ms, _)| (*ms, link_of(0, connection))).collect();
            assert_eq!(passed(&mut twins, &again), 0, "connection {connection}");
        }
        assert_eq!(passed(&mut twins, &[(999, link_of(0, 20))]), 1);
    }

    #[test]
    fn d1_what_has_the_same_number_happened_once_on_however_many_connections() {
        let mut twins = Twins::default();
        let mut new = |ms, id, link| twins.is_new(&event(ms, 5.0), Some(id), link, Nanos(1));
        assert!(new(7, 1, A) && new(7, 2, A), "alike but for their numbers");
        assert!(!new(7, 1, A) && !new(7, 1, B) && !new(7, 2, link_of(1, 9)));
        assert!(new(8, 1, A), "a number means something within its millisecond only");
    }

    #[test]
    fn a_suspicion_and_its_confirmation_count_once_in_either_order() {
        let suspicion = |ms| Event { flags: Flags::SUSPECTED, ..event(ms, 5.0) };
        let mut twins = Twins::default();
        let mut new = |event: Event, link| twins.is_new(&event, Some(3), link, Nanos(1));
        assert!(new(suspicion(7), A) && !new(suspicion(7), B));
        assert!(new(event(7, 5.0), A) && !new(event(7, 5.0), B) && !new(suspicion(7), A));
        assert!(new(event(8, 5.0), A) && !new(suspicion(8), A));
        assert!(new(suspicion(9), A));
        assert_eq!((twins.suspected, twins.confirmed), (3, 2));
    }

    #[test]
    fn a_snapshot_is_no_proof_that_an_event_was_counted() {
        let mut twins = Twins::default();
        let snapshot = Event { flags: Flags::SNAPSHOT, ..event(7, 5.0) };
        for id in [None, Some(3)] {
            assert!(twins.is_new(&snapshot, id, B, Nanos(1)), "{id:?}");
            assert!(twins.is_new(&event(7, 5.0), id, A, Nanos(1)), "{id:?}");
        }
        assert!(!twins.is_new(&event(7, 5.0), Some(3), B, Nanos(1)));
    }

    #[test]
    fn a_state_without_a_time_always_passes() {
        let mut twins = Twins::default();
        let state = Event { stamp: Stamp::default(), ..event(1, 1.0) };
        assert!(twins.is_new(&state, None, A, Nanos(1)) && twins.is_new(&state, None, B, Nanos(2)));
    }

    #[test]
    fn the_faster_line_wins_by_what_it_was_ahead() {
        let mut twins = Twins::default();
        for ms in 1..=10 {
            let (first, second) = if ms == 10 { (B, A) } else { (A, B) };
            assert!(twins.is_new(&event(ms, 5.0), None, first, Nanos(1_000)));
            assert!(!twins.is_new(&event(ms, 5.0), None, second, Nanos(4_000)));
        }
        assert_eq!(twins.of_line(0), Race { won: 9, lost: 1, lead: 27_000, longest: 3_000 });
        assert_eq!(twins.of_line(8).won, 1);
    }

    #[test]
    fn d1_a_skewed_second_line_of_the_largest_burst_changes_no_total() {
        let mut twins = Twins::default();
        let burst: Vec<_> =
            (0..20_000_i64).map(|i| event(1_000 + i % 7, 1.0 + (i / 3) as f64)).collect();
        let mut passed = 0;
        for (i, event) in burst.iter().enumerate() {
            passed += usize::from(twins.is_new(event, None, A, Nanos(i as u64 + 1)));
            if let Some(late) = i.checked_sub(500).and_then(|i| burst.get(i)) {
                passed += usize::from(twins.is_new(late, None, B, Nanos(i as u64 + 1)));
            }
        }
        assert_eq!(passed, burst.len());
    }
}
