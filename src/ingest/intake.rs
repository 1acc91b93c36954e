//! One frame in, its events out: the part of reading that is the same live and replayed.
//!
//! The venue's exchange file parses the frame; here the events of the frame are put in time and the
//! books are kept. A batch that a venue sends every half second is not one spike: each event counts
//! at the frame's receive time, moved back by its distance to the frame's newest event on the
//! venue's own clock (at most 1 s).
//!
//! ```text
//! back  = newest venue time in the frame - its own venue time
//! stale = venue time older than the age gate when received: BACKFILL, kept out of the rates;
//!         by a clock that is set right where all venues say that ours is ahead ([`skew`])
//! ```
//!
//! [`skew`]: super::skew

use super::Frame;
use super::exchange::{Desk, EXCHANGES, Exchange, Items, Origin, Verdict, exchange};
use super::settings::Settings;
use super::skew::Skew;
use super::twins::{ALONE, REPAIR, Race, Twins};
use crate::event::{Body, Event, Flags, SPACING_MAX_MS, Stamp, VENUE_COUNT, VENUES, Venue};
use crate::ledger::{Ledger, Tally};
use crate::time::{Millis, Nanos, Now};

/// Events one frame may hold before the batch grows: the largest burst on record is 22,558 fills in
/// one millisecond (Hyperliquid, 2025-10-10).
const BATCH: usize = 24_576;
/// A venue time further ahead than this is no time, ms.
const FUTURE_MAX_MS: i64 = 5_000;

/// Parses frames and keeps the books about them.
#[derive(Debug)]
pub struct Intake {
    desks: Vec<Option<Desk>>,
    batch: Batch,
    age_gate_ms: i64,
    counts: [Counts; VENUE_COUNT],
    /// The latest frame held a liquidation, new or not.
    rare: bool,
    /// All of it that says when it happened was past the age gate.
    late: bool,
    /// What passed lately, per venue; none for recordings, whose events all passed once.
    twins: Vec<Twins>,
    /// How far our clock is ahead.
    skew: Skew,
}

/// What was counted of one venue. `frames = decoded + ignored + rejected`, `items = events + refused`.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Frames given.
    pub frames: u64,
    /// Frames understood.
    pub decoded: u64,
    /// Events made.
    pub events: u64,
    /// Frames of no interest, by name.
    pub ignored: Tally,
    /// Frames not understood, by reason.
    pub rejected: Tally,
    /// Items of decoded frames that were refused, by reason.
    pub refused: Tally,
    /// Events by flag.
    pub flagged: Tally,
}

#[derive(Debug)]
struct Batch {
    events: Vec<Event>,
    /// The venue's number of each event, where it gives one.
    ids: Vec<Option<u64>>,
    refused: Tally,
}

impl Items for Batch {
    fn event(&mut self, event: Event, origin: Origin<'_>) {
        self.events.push(event);
        self.ids.push(origin.id);
    }

    fn refuse(&mut self, reason: &'static str) {
        self.refused.add(reason, 1);
    }
}

impl Batch {
    fn new() -> Self {
        let (events, ids) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        Self { events, ids, refused: Tally::default() }
    }

    fn clear(&mut self) {
        self.events.clear();
        self.ids.clear();
    }
}

impl Intake {
    /// With the built-in instruments of every venue.
    ///
    /// `age_gate_ms`: events older than this when received are backfill.
    #[must_use]
    pub fn new(age_gate_ms: i64) -> Self {
        let mut desks: Vec<Option<Desk>> = (0..VENUE_COUNT).map(|_| None).collect();
        for exchange in EXCHANGES {
            if let Some(slot) = desks.get_mut(exchange.venue().index()) {
                *slot = Some(Desk::new(exchange));
            }
        }
        Self {
            desks,
            batch: Batch::new(),
            age_gate_ms,
            counts: Default::default(),
            rare: false,
            late: false,
            twins: Vec::new(),
            skew: Skew::default(),
        }
    }

    /// Removes what a second connection of the venue brings again.
    #[must_use]
    pub fn telling_twins_apart(mut self) -> Self {
        self.twins.resize_with(VENUE_COUNT, Twins::default);
        self
    }

    /// Knows the vaults that the settings name.
    #[must_use]
    pub fn knowing(mut self, settings: &Settings) -> Self {
        for exchange in EXCHANGES {
            if let Some(desk) = self.desk(exchange.venue()) {
                desk.vaults = settings.vaults(exchange.venue());
            }
        }
        self
    }

    /// How a line of a venue does against the others.
    #[must_use]
    pub fn race(&self, venue: Venue, line: u8) -> Race {
        self.twins.get(venue.index()).map(|twins| twins.of_line(line)).unwrap_or_default()
    }

    /// The desk of a venue, to add instruments to.
    pub fn desk(&mut self, venue: Venue) -> Option<&mut Desk> {
        self.desks.get_mut(venue.index())?.as_mut()
    }

    /// Parses one frame. The events live until the next call.
    pub fn frame(&mut self, frame: &Frame<'_>) -> (Verdict, &mut [Event]) {
        self.batch.clear();
        let verdict = self.parse(frame);
        self.late = place(&mut self.batch.events, frame, self.age_gate_ms, &mut self.skew);
        let liquidation = |event: &Event| {
            matches!(event.body, Body::Liquidation { .. }) && !event.flags.has(Flags::SUSPECTED)
        };
        self.rare = self.batch.events.iter().any(liquidation);
        self.remove_twins(frame);
        self.count(frame.venue, verdict);
        (verdict, &mut self.batch.events)
    }

    /// Whether the latest frame held a liquidation, be it one that another connection brought before.
    #[must_use]
    pub fn held_liquidation(&self) -> bool {
        self.rare
    }

    /// Whether the latest frame told of the past only: a line that does nothing else is not heard.
    #[must_use]
    pub fn was_late(&self) -> bool {
        self.late
    }

    fn remove_twins(&mut self, frame: &Frame<'_>) {
        let Some(twins) = self.twins.get_mut(frame.venue.index()) else { return };
        let Batch { events, ids, refused } = &mut self.batch;
        let (link, now) = (frame.link, frame.received.mono);
        let before = events.len();
        let mut ids = ids.iter().copied();
        events.retain(|event| twins.is_new(event, ids.next().flatten(), link, now));
        if events.len() < before {
            refused.add("duplicate", (before - events.len()) as u64);
        }
    }

    /// Parses one recorded frame that does not say when it was received: that is taken to be its
    /// newest venue time, or `earliest` where that is later.
    pub fn undated(&mut self, venue: Venue, bytes: &[u8], earliest: Nanos) -> &[Event] {
        self.batch.clear();
        let mut frame = Frame { venue, line: 0, link: ALONE, bytes, received: Now::default() };
        let verdict = self.parse(&frame);
        let newest = self.batch.events.iter().filter_map(|event| event.stamp.venue_ms()).max();
        let at = newest.map_or(earliest, Nanos::from_millis).max(earliest);
        frame.received = Now { mono: at, wall: Millis(newest.unwrap_or(at.millis())) };
        place(&mut self.batch.events, &frame, self.age_gate_ms, &mut self.skew);
        self.count(venue, verdict);
        &self.batch.events
    }

    fn parse(&mut self, frame: &Frame<'_>) -> Verdict {
        let desk = self.desks.get_mut(frame.venue.index()).and_then(Option::as_mut);
        match (exchange(frame.venue), desk) {
            (Some(exchange), Some(desk)) => exchange.parse(frame.bytes, desk, &mut self.batch),
            _ => Verdict::Rejected("venue"),
        }
    }

    fn count(&mut self, venue: Venue, verdict: Verdict) {
        let counts = &mut self.counts[venue.index()];
        counts.frames += 1;
        match verdict {
            Verdict::Decoded => counts.decoded += 1,
            Verdict::Ignored(name) => counts.ignored.add(name, 1),
            Verdict::Control(control) => counts.ignored.add(control.name(), 1),
            Verdict::Rejected(reason) => counts.rejected.add(reason, 1),
        }
        counts.events += self.batch.events.len() as u64;
        for event in &self.batch.events {
            if event.flags != Flags::default() {
                event.flags.names().for_each(|name| counts.flagged.add(name, 1));
            }
        }
        for (reason, n) in self.batch.refused.iter() {
            counts.refused.add(reason, n);
        }
        self.batch.refused = Tally::default();
    }

    /// What was counted of one venue.
    #[must_use]
    pub fn counts(&self, venue: Venue) -> &Counts {
        &self.counts[venue.index()]
    }

    /// Writes the books.
    pub fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count_all(counts));
        self.details(ledger);
    }

    /// Writes what was counted of all venues together.
    pub fn count_all(&self, to: &mut crate::ledger::Counts) {
        for counts in &self.counts {
            to.add("frames", counts.frames);
            to.add("decoded", counts.decoded);
            to.add("ignored", counts.ignored.total());
            to.add("rejected", counts.rejected.total());
            to.add("items", counts.events + counts.refused.total());
            to.add("events", counts.events);
            to.add("refused", counts.refused.total());
            to.add_tally("ignored", &counts.ignored);
            to.add_tally("rejected", &counts.rejected);
            to.add_tally("refused", &counts.refused);
            to.add_tally("flagged", &counts.flagged);
        }
    }

    /// Writes what only the books at the end hold: clocks and races.
    pub fn details(&self, ledger: &mut Ledger) {
        self.skew.ledger(ledger);
        for (venue, twins) in VENUES.iter().zip(&self.twins) {
            twins.ledger(venue.name(), ledger);
        }
    }
}

/// Puts the events of one frame in time. Whether even the newest was past the age gate.
fn place(events: &mut [Event], frame: &Frame<'_>, age_gate_ms: i64, skew: &mut Skew) -> bool {
    let Now { mono, wall } = frame.received;
    // A wall clock that jumps must not make news old, nor throw its time away: of the two clocks the
    // one that speaks for the event is believed.
    let (earlier, later) = (wall.0.min(mono.millis()), wall.0.max(mono.millis()));
    for event in events.iter_mut() {
        event.received = mono;
        event.line = frame.line;
        event.stamp = sane(event, later);
    }
    let history = frame.line == REPAIR;
    let newest = events.iter().filter_map(|event| event.stamp.venue_ms()).max();
    let Some(newest) = newest else { return false };
    if !history {
        skew.heard(earlier - newest, mono);
    }
    let now_ms = earlier - skew.ahead_ms(mono);
    for event in events {
        let Some(ms) = event.stamp.venue_ms() else { continue };
        let back = u16::try_from(newest - ms).unwrap_or(SPACING_MAX_MS);
        event.stamp = Stamp::new(Some(ms), back);
        let news =
            matches!(event.body, Body::Liquidation { .. } | Body::Fill { .. } | Body::Trade { .. });
        if history || news && now_ms - ms > age_gate_ms {
            event.flags = event.flags.with(Flags::BACKFILL);
        }
    }
    now_ms - newest > age_gate_ms
}

/// The venue's time, unless it lies in the future: then none, and the event says so.
fn sane(event: &mut Event, now_ms: i64) -> Stamp {
    match event.stamp.venue_ms() {
        Some(ms) if ms <= now_ms.saturating_add(FUTURE_MAX_MS) => event.stamp,
        Some(_) => {
            event.flags = event.flags.with(Flags::BAD_TIME);
            Stamp::default()
        }
        None => event.stamp,
    }
}

/// Every venue that is spoken.
pub fn spoken() -> impl Iterator<Item = &'static dyn Exchange> {
    EXCHANGES.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Completeness, Side};
    use crate::symbol::Symbol;

    fn liquidation(venue_ms: i64) -> Event {
        Event {
            symbol: Symbol::BTC,
            body: Body::Liquidation { side: Some(Side::Long), price: None, usd: None },
            stamp: Stamp::new(Some(venue_ms), 0),
            venue: Venue::Bybit,
            completeness: Completeness::Complete,
            ..Event::tick(crate::time::Nanos(0))
        }
    }

    fn placed(venue_ms: &[i64], wall_ms: i64) -> Vec<Event> {
        let mut events: Vec<_> = venue_ms.iter().map(|&ms| liquidation(ms)).collect();
        let received = Now::at_millis(wall_ms);
        let frame = Frame { venue: Venue::Bybit, line: 1, link: ALONE, bytes: b"", received };
        place(&mut events, &frame, 10_000, &mut Skew::default());
        events
    }

    #[test]
    fn a_batch_is_spread_by_the_venues_own_spacing() {
        let events = placed(&[1_000, 1_300, 1_500], 2_000);
        let at: Vec<_> = events.iter().map(|event| event.at().millis()).collect();
        assert_eq!(at, [1_500, 1_800, 2_000]);
        assert_eq!(placed(&[1_000, 9_000], 9_000)[0].at().millis(), 8_000, "at most a second");
    }

    #[test]
    fn d3_what_is_old_is_backfill_and_what_is_in_the_future_has_no_time() {
        let late = |venue_ms: &[i64]| {
            let mut events: Vec<_> = venue_ms.iter().map(|&ms| liquidation(ms)).collect();
            let received = Now::at_millis(11_001);
            let frame = Frame { venue: Venue::Bybit, line: 1, link: ALONE, bytes: b"", received };
            place(&mut events, &frame, 10_000, &mut Skew::default())
        };
        assert_eq!([late(&[1_000]), late(&[1_000, 1_001]), late(&[])], [true, false, false]);
        let old = placed(&[1_000], 11_001)[0];
        assert!(old.flags.has(Flags::BACKFILL));
        assert!(!placed(&[1_000], 11_000)[0].flags.has(Flags::BACKFILL));
        let future = placed(&[7_001], 2_000)[0];
        assert!(future.flags.has(Flags::BAD_TIME));
        assert_eq!(future.stamp.venue_ms(), None);
    }
}
