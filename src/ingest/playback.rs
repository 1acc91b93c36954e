//! Plays recordings back: the stage that stands where the live reader stands.
//!
//! Entries of all files are merged by time. Between them it puts the ticks a live reader would have
//! made, one each 100 ms of recorded time, so that windows decay in silence. A gap of more than 30
//! minutes ends a session: ticks for ten more seconds, then [`Body::Reset`](crate::event::Body).
//! When the ring is full the event is held, and everything after it: nothing is dropped, whatever
//! the size of the ring, so the engine's input depends on the files alone.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::Frame;
use super::instrument::Instruments;
use super::intake::Intake;
use super::recording::{Entry, Recording};
use super::twins::ALONE;
use crate::event::Event;
use crate::ledger::{Ledger, Tally};
use crate::ring::Outlet;
use crate::stage::{Stage, Turn};
use crate::time::{Millis, NS_PER_MS, NS_PER_S, Nanos, Now};

/// Time between ticks.
pub const TICK_NS: u64 = 100 * NS_PER_MS;
/// A longer silence ends a session.
const SESSION_GAP_NS: u64 = 30 * 60 * NS_PER_S;
/// How long ticks go on after the last entry of a session.
const TAIL_NS: u64 = 10 * NS_PER_S;
/// Entries and ticks handled in one turn.
const BUDGET: usize = 256;

/// How fast to play: recorded seconds per second; `None` for as fast as possible.
pub type Speed = Option<f64>;

/// A recording and its next entry.
struct Track {
    recording: Box<dyn Recording>,
    next: Option<Entry>,
}

/// What one step came to.
enum Step {
    /// Something was held for the ring.
    Did,
    /// The next thing lies ahead in real time.
    NotDue,
    /// Nothing is left.
    Ended,
}

/// Plays recordings into a ring.
pub struct Playback {
    tracks: Vec<Track>,
    intake: Intake,
    outlet: Outlet<Event>,
    speed: Speed,
    duration_ns: Option<u64>,
    own_ticks: bool,
    held: VecDeque<Event>,
    /// Recorded time of the first entry, and the time reached.
    first: Option<Nanos>,
    time: Option<Nanos>,
    next_tick: Nanos,
    /// Recorded and real time at which this session began.
    began: Option<(Nanos, Nanos)>,
    tail_until: Option<Nanos>,
    stopped: bool,
    trouble: Trouble,
    events: u64,
    ticks: u64,
    pushed: u64,
    refused: Tally,
}

/// What went wrong while playing, for whoever waits for the end.
pub type Trouble = Arc<OnceLock<String>>;

impl Playback {
    /// Plays `recordings` into `outlet`, at most `duration_ns` of recorded time.
    ///
    /// # Errors
    /// When the first entry of a recording cannot be read, or a journal is mixed with other files.
    pub fn new(
        recordings: Vec<Box<dyn Recording>>,
        intake: Intake,
        outlet: Outlet<Event>,
        speed: Speed,
        duration_ns: Option<u64>,
    ) -> Result<Self, String> {
        let own_ticks = !recordings.iter().any(|r| r.has_ticks());
        if !own_ticks && recordings.len() > 1 {
            return Err("a journal holds the engine's whole input: replay it alone".to_owned());
        }
        let links = recordings.iter().any(|recording| recording.has_links());
        let intake = if links { intake.telling_twins_apart() } else { intake };
        Ok(Self {
            tracks: recordings.into_iter().map(Track::new).collect::<Result<_, _>>()?,
            intake,
            outlet,
            speed,
            duration_ns,
            own_ticks,
            held: VecDeque::new(),
            first: None,
            time: None,
            next_tick: Nanos::default(),
            began: None,
            tail_until: None,
            stopped: false,
            trouble: Trouble::default(),
            events: 0,
            ticks: 0,
            pushed: 0,
            refused: Tally::default(),
        })
    }

    /// The time of the first entry, as far as the recordings say.
    #[must_use]
    pub fn begins(&self) -> Nanos {
        self.earliest().map_or(Nanos::default(), |(_, at)| at)
    }

    /// Where a broken recording will be reported.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        Arc::clone(&self.trouble)
    }

    /// Pushes what is held; `false` when the ring is full.
    fn flush(&mut self) -> bool {
        while let Some(event) = self.held.front() {
            if self.outlet.push(*event).is_err() {
                return false;
            }
            self.held.pop_front();
            self.pushed += 1;
        }
        true
    }

    /// The next tick or entry, if it is due.
    fn step(&mut self, now: Now) -> Step {
        match self.earliest() {
            Some((track, at)) if !self.stopped && !self.is_over(at) => self.go_to(track, at, now),
            _ => self.wind_down(now),
        }
    }

    /// The track whose next entry is earliest, and when; one that does not say comes at once.
    fn earliest(&self) -> Option<(usize, Nanos)> {
        let time = self.time.unwrap_or_default();
        let at = |entry: &Entry| entry.at().unwrap_or(time);
        let waiting = self.tracks.iter().enumerate();
        let waiting = waiting.filter_map(|(i, track)| Some((at(track.next.as_ref()?), i)));
        waiting.min().map(|(at, i)| (i, at.max(time)))
    }

    fn is_over(&self, at: Nanos) -> bool {
        let limit = self.first.zip(self.duration_ns);
        limit.is_some_and(|(first, duration)| at.since(first) > duration)
    }

    fn go_to(&mut self, track: usize, at: Nanos, now: Now) -> Step {
        if let Some(time) = self.time.filter(|time| at.since(*time) > SESSION_GAP_NS) {
            let end = *self.tail_until.get_or_insert(time.plus(TAIL_NS));
            if self.tick_before(end) {
                return self.tick(now);
            }
            self.tail_until = None;
            self.began = Some((at, now.mono));
            self.arrive(at);
            return Step::Did;
        }
        if self.tick_before(at) {
            return self.tick(now);
        }
        if !self.is_due(at, now) {
            return Step::NotDue;
        }
        self.play(track, at)
    }

    /// Ticks on for a while after the last entry, then ends.
    fn wind_down(&mut self, now: Now) -> Step {
        let end = *self.tail_until.get_or_insert(self.time.unwrap_or_default().plus(TAIL_NS));
        if self.stopped || !self.tick_before(end) {
            return Step::Ended;
        }
        self.tick(now)
    }

    fn tick_before(&self, at: Nanos) -> bool {
        self.own_ticks && self.time.is_some() && self.next_tick <= at
    }

    fn tick(&mut self, now: Now) -> Step {
        if !self.is_due(self.next_tick, now) {
            return Step::NotDue;
        }
        self.hold_tick();
        Step::Did
    }

    fn hold_tick(&mut self) {
        self.hold_own(Event::tick(self.next_tick));
        self.time = Some(self.next_tick);
        self.next_tick = self.next_tick.plus(TICK_NS);
    }

    fn hold_own(&mut self, event: Event) {
        self.ticks += 1;
        self.held.push_back(event);
    }

    fn is_due(&mut self, at: Nanos, now: Now) -> bool {
        let Some(speed) = self.speed else { return true };
        let (recorded, real) = *self.began.get_or_insert((at, now.mono));
        seconds(at.since(recorded)) <= seconds(now.mono.since(real)) * speed
    }

    fn play(&mut self, track: usize, at: Nanos) -> Step {
        let Some(track) = self.tracks.get_mut(track) else { return Step::Ended };
        match track.advance() {
            Ok(Some(entry)) => self.hold(entry, at),
            Ok(None) => {}
            Err(trouble) => {
                // The first trouble ends the playback, so the cell is still empty.
                let _ = self.trouble.set(trouble);
                self.stopped = true;
            }
        }
        Step::Did
    }

    fn hold(&mut self, entry: Entry, at: Nanos) {
        match entry {
            Entry::Refused(reason) => self.refused.add(reason, 1),
            Entry::Event(event) if !self.own_ticks => {
                self.events += 1;
                self.first.get_or_insert(at);
                self.time = Some(at);
                self.held.push_back(event);
            }
            Entry::Event(event) => {
                self.events += 1;
                self.arrive(at);
                self.held.push_back(Event { received: at, ..event });
            }
            Entry::Instruments { venue, known, .. } => {
                if let Some(desk) = self.intake.desk(venue) {
                    desk.instruments = Instruments::default();
                    desk.instruments.extend(known);
                }
            }
            Entry::Captured { venue, line, link, bytes, received } => {
                self.arrive(at);
                // Two files may tell one time; the merged time never runs back.
                let received = Now { mono: at, ..received };
                let frame = Frame { venue, line, link, bytes: &bytes, received };
                self.held.extend(self.intake.frame(&frame).1.iter());
            }
            Entry::Frame { venue, bytes, received_ms: Some(ms) } => {
                self.arrive(at);
                let received = Now { mono: at, wall: Millis(ms) };
                let frame = Frame { venue, line: 0, link: ALONE, bytes: &bytes, received };
                self.held.extend(self.intake.frame(&frame).1.iter());
            }
            Entry::Frame { venue, bytes, received_ms: None } => {
                let events = self.intake.undated(venue, &bytes, at).to_vec();
                if let Some(event) = events.first() {
                    self.arrive(event.received);
                    self.held.extend(events);
                }
            }
        }
    }

    /// Moves recorded time to `at`, with the ticks on the way, or a reset across a gap.
    fn arrive(&mut self, at: Nanos) {
        self.first.get_or_insert(at);
        let across = self.time.is_some_and(|time| at.since(time) > SESSION_GAP_NS);
        if across && self.own_ticks {
            self.hold_own(Event::reset(at));
        }
        if across || self.time.is_none() {
            self.next_tick = Nanos(at.0 / TICK_NS * TICK_NS).plus(TICK_NS);
        }
        while self.tick_before(at) {
            self.hold_tick();
        }
        self.time = self.time.max(Some(at));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a delay, not an amount")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_S as f64
}

impl Track {
    fn new(mut recording: Box<dyn Recording>) -> Result<Self, String> {
        let next = recording.next()?;
        Ok(Self { recording, next })
    }

    fn advance(&mut self) -> Result<Option<Entry>, String> {
        let next = self.recording.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

impl Stage for Playback {
    fn name(&self) -> &'static str {
        "playback"
    }

    fn turn(&mut self, now: Now) -> Turn {
        let mut turn = Turn::Idle;
        for _ in 0..BUDGET {
            if !self.flush() {
                return turn;
            }
            match self.step(now) {
                Step::Did => turn = Turn::Worked,
                Step::NotDue => return turn,
                Step::Ended => return Turn::Done,
            }
        }
        turn
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn ledger(&self, ledger: &mut Ledger) {
        self.intake.ledger(ledger);
        ledger.add("items", self.events + self.refused.total());
        ledger.add("events", self.events);
        ledger.add("refused", self.refused.total());
        ledger.add_tally("refused", &self.refused);
        ledger.add("ticks", self.ticks);
        ledger.add("offered", self.pushed + self.held.len() as u64);
        ledger.add("pushed", self.pushed);
        ledger.add("dropped", self.held.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Body;
    use crate::ring::ring;

    struct Fixed(Vec<Entry>);

    impl Recording for Fixed {
        fn next(&mut self) -> Result<Option<Entry>, String> {
            Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    fn at(ms: i64) -> Entry {
        Entry::Event(Event { line: 7, ..Event::tick(Nanos::from_millis(ms)) })
    }

    fn play(tracks: Vec<Vec<Entry>>, ring_size: usize, speed: Speed) -> (Vec<(i64, bool)>, i64) {
        let (outlet, mut inlet) = ring(ring_size);
        let tracks = tracks.into_iter().map(|t| Box::new(Fixed(t)) as Box<dyn Recording>).collect();
        let intake = Intake::new(10_000);
        let mut playback = Playback::new(tracks, intake, outlet, speed, None).unwrap();
        let mut out = Vec::new();
        for ms in 0..10_000_000 {
            let turn = playback.turn(Now::at_millis(ms));
            while let Some(event) = inlet.pop() {
                let own = event.line == 0;
                if !own || event.body == Body::Reset {
                    out.push((event.received.millis(), own));
                }
            }
            if turn == Turn::Done {
                return (out, ms);
            }
        }
        panic!("still playing after {} entries", out.len());
    }

    #[test]
    fn files_are_merged_by_time_and_a_long_gap_resets() {
        let tracks = || vec![vec![at(1_000), at(3_000)], vec![at(2_000), at(9_000_000)]];
        let expected = [1_000, 2_000, 3_000].map(|ms| (ms, false)).to_vec();
        let expected = [expected, vec![(9_000_000, true), (9_000_000, false)]].concat();
        for ring_size in [1, 3, 1_000] {
            assert_eq!(play(tracks(), ring_size, None).0, expected, "ring of {ring_size}");
        }
    }

    #[test]
    fn ten_times_as_fast_takes_a_tenth_of_the_time() {
        let (out, took) = play(vec![vec![at(1_000), at(21_000)]], 8, Some(10.0));
        assert_eq!(out.len(), 2);
        // 20 s of entries and 10 s of ticks behind them, from a first turn at 0.
        assert_eq!(took, 3_000);
    }
}
