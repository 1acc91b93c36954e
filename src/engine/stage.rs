//! The engine's turn: events from the first door, the same events and reports to the second.
//!
//! The next event is taken only when everything the last one led to has passed the second door, so
//! a slow publisher holds the engine up, the first ring fills, and loss happens there, counted.
//!
//! Other settings take effect between two events, and an event says so ([`Body::Tuned`]): it is echoed
//! like any other, so whatever keeps what the engine took keeps the place where it changed its mind. At
//! work the stage makes that event when settings reach it; where the past is lived again, the event is in
//! the input and settings are found by its number.

use super::{Engine, Outbox, Settings};
use crate::event::{Body, Event};
use crate::ledger::{Counts, Ledger};
use crate::output::{Output, REPORT_LINES, lines};
use crate::ring::{Inlet, Outlet};
use crate::signal::Report;
use crate::stage::{Stage, Turn};
use crate::time::{Nanos, Now};

/// Events taken in one turn, at most.
const BUDGET: usize = 256;

/// Settings, and the number that an event names them by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// The number.
    pub number: u64,
    /// The settings, which have passed [`Settings::check`].
    pub settings: Settings,
}

/// Where other settings come from.
#[derive(Debug)]
pub enum Tunings {
    /// They are handed in at any time.
    Live(Inlet<Tuning>),
    /// They were in force in the past: the input says when.
    Past(Box<[Tuning]>),
}

impl Default for Tunings {
    fn default() -> Self {
        Self::Past(Box::default())
    }
}

/// The engine as a stage.
#[derive(Debug)]
pub struct EngineStage {
    engine: Engine,
    tunings: Tunings,
    inlets: Box<[Inlet<Event>]>,
    next_inlet: usize,
    outlet: Outlet<Output>,
    /// The event in hand, until it has passed.
    event: Option<Event>,
    outbox: Outbox,
    /// Reports of the outbox already in lines.
    begun: usize,
    lines: [Output; REPORT_LINES],
    /// Lines already passed.
    sent: usize,
    /// When the event in hand was taken.
    taken: Nanos,
    /// Times the past named settings that nobody knows.
    unknown: u64,
}

impl EngineStage {
    /// An engine between the doors. The inlets are asked in turn, one event each.
    #[must_use]
    pub fn new(
        engine: Engine,
        inlets: impl IntoIterator<Item = Inlet<Event>>,
        outlet: Outlet<Output>,
    ) -> Self {
        Self {
            engine,
            tunings: Tunings::default(),
            inlets: inlets.into_iter().collect(),
            next_inlet: 0,
            outlet,
            event: None,
            outbox: Outbox::new(),
            begun: 0,
            lines: lines(&Report::empty(crate::symbol::Symbol::NONE, Nanos(0))),
            sent: REPORT_LINES,
            taken: Nanos(0),
            unknown: 0,
        }
    }

    /// The same, with settings that may change.
    #[must_use]
    pub fn tuned_by(self, tunings: Tunings) -> Self {
        Self { tunings, ..self }
    }

    /// The engine inside.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Passes on what is in hand; `false` when the second door is full.
    fn flush(&mut self) -> bool {
        if let Some(event) = self.event {
            if self.outlet.push(Output::Event(event)).is_err() {
                return false;
            }
            self.event = None;
        }
        loop {
            while let Some(&line) = self.lines.get(self.sent) {
                if self.outlet.push(line).is_err() {
                    return false;
                }
                self.sent += 1;
            }
            let Some(report) = self.outbox.reports().get(self.begun) else { return true };
            self.lines = lines(&Report { taken: self.taken, ..*report });
            self.begun += 1;
            self.sent = 0;
        }
    }

    /// Other settings, if some have been handed in. They come after an event and at its time, so that they
    /// move nothing but the mind.
    fn handed_in(&mut self) -> Option<Event> {
        let Tunings::Live(inlet) = &mut self.tunings else { return None };
        let at = self.engine.now();
        if at == Nanos(0) {
            return None;
        }
        let Tuning { number, settings } = inlet.pop()?;
        self.engine.tune(&settings);
        Some(Event::tuned(number, at))
    }

    /// Settings that the past was lived with.
    #[cold]
    fn recall(&mut self, number: u64) {
        let Tunings::Past(known) = &self.tunings else { return };
        match known.iter().find(|tuning| tuning.number == number) {
            Some(tuning) => self.engine.tune(&tuning.settings),
            None => self.unknown += 1,
        }
    }

    /// The next event, from the inlets in turn.
    fn pop(&mut self) -> Option<Event> {
        for _ in 0..self.inlets.len() {
            let inlet = self.next_inlet;
            self.next_inlet = (inlet + 1) % self.inlets.len();
            if let Some(event) = self.inlets[inlet].pop() {
                if let Body::Tuned { number } = event.body {
                    self.recall(number);
                }
                return Some(event);
            }
        }
        None
    }

    fn take(&mut self, event: Event, now: Now) {
        self.outbox.clear();
        self.begun = 0;
        self.taken = now.mono;
        self.engine.take(&event, &mut self.outbox);
        self.event = Some(event);
    }

    fn nothing_more(&self) -> Turn {
        let ended = self.inlets.iter().all(Inlet::has_ended);
        if ended { Turn::Done } else { Turn::Idle }
    }
}

impl Stage for EngineStage {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn turn(&mut self, now: Now) -> Turn {
        // Once a turn is often enough, and costs nothing for each event.
        if self.flush()
            && let Some(event) = self.handed_in()
        {
            self.take(event, now);
        }
        for taken in 0..BUDGET {
            if !self.flush() {
                return if taken > 0 { Turn::Worked } else { Turn::Idle };
            }
            match self.pop() {
                Some(event) => self.take(event, now),
                None if taken > 0 => return Turn::Worked,
                None => return self.nothing_more(),
            }
        }
        self.flush();
        Turn::Worked
    }

    fn count(&self, counts: &mut Counts) {
        let consumed: u64 = self.inlets.iter().map(Inlet::taken).sum();
        let waiting: usize = self.inlets.iter().map(Inlet::waiting).sum();
        counts.add("consumed", consumed);
        counts.add("signals", self.engine.made());
        counts.add_tally("engine", self.engine.tally());
        if self.unknown > 0 {
            counts.add("unknown_settings", self.unknown);
        }
        counts.add_under("waiting", "event", waiting as u64);
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count(counts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Settings;
    use crate::event::{Body, Side, Stamp, Usd, Venue};
    use crate::output::{Assembler, Message};
    use crate::ring::ring;
    use crate::symbol::Symbol;
    use crate::time::NS_PER_MS;

    const START_MS: u64 = 1_700_000_000_000;

    /// A flow that doubles, with a tick now and then.
    fn events() -> Vec<Event> {
        let mut at = START_MS * NS_PER_MS;
        (0..4_000_u64)
            .map(|i| {
                at += 40_000_000 / (1 + i / 200);
                let mut event = Event::tick(Nanos(at));
                if i % 7 > 0 {
                    let hop = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                    event.symbol = Symbol::of_base(&format!("S{}", hop % 20)).unwrap();
                    event.venue = [Venue::Binance, Venue::Okx][usize::from(hop % 3 == 0)];
                    event.stamp = Stamp::new(Some(event.received.millis()), 0);
                    let usd = Usd::from_micros(1_000_000 * (1 + hop % 9_000));
                    event.body = Body::Liquidation { side: Some(Side::Long), price: None, usd };
                }
                event
            })
            .collect()
    }

    /// What comes out when events are pushed `burst` at a time and taken out `drain` at a time.
    fn messages(burst: usize, drain: usize, ring_lines: usize) -> (Vec<Message>, Ledger) {
        let (mut to_engine, inlet) = ring(8_192);
        let (outlet, mut from_engine) = ring(ring_lines);
        let mut stage = EngineStage::new(Engine::new(&Settings::default()), [inlet], outlet);
        let mut assembler = Assembler::default();
        let mut all = Vec::new();
        let mut rest = events().into_iter();
        let mut last = Turn::Idle;
        let mut to_engine = Some(std::mem::replace(&mut to_engine, ring(1).0));
        for turn in 0..10_000_000 {
            if let Some(outlet) = &mut to_engine {
                rest.by_ref().take(burst).for_each(|event| outlet.push(event).unwrap());
            }
            if rest.len() == 0 {
                to_engine = None;
            }
            last = stage.turn(Now::at_millis(turn));
            for line in std::iter::from_fn(|| from_engine.pop()).take(drain) {
                all.extend(assembler.take(&line));
            }
            if last == Turn::Done {
                break;
            }
        }
        assert_eq!(last, Turn::Done);
        all.extend(std::iter::from_fn(|| from_engine.pop()).filter_map(|l| assembler.take(&l)));
        let mut ledger = Ledger::default();
        stage.ledger(&mut ledger);
        (all, ledger)
    }

    fn without_taken(messages: Vec<Message>) -> Vec<Message> {
        let mut messages = messages;
        for message in &mut messages {
            if let Message::Report(report) = message {
                report.taken = Nanos(0);
            }
        }
        messages
    }

    #[test]
    fn the_same_events_give_the_same_lines_whatever_the_turns() {
        let (whole, ledger) = messages(4_000, usize::MAX, 1 << 17);
        let of_events = |m: &&Message| matches!(m, Message::Event(_));
        let signals = |m: &&Message| matches!(m, Message::Report(r) if r.is_signal());
        assert_eq!(whole.iter().filter(of_events).count(), 4_000, "every event is passed on");
        assert_eq!(ledger.get("consumed"), 4_000);
        assert_eq!(ledger.get("signals"), whole.iter().filter(signals).count() as u64);
        assert!(ledger.get("signals") > 5);
        let whole = without_taken(whole);
        for (burst, drain, ring_lines) in [(1, 1, 1), (3, 7, 5), (300, 50, 64), (1, 900, 1_000)] {
            let (split, _) = messages(burst, drain, ring_lines);
            assert_eq!(without_taken(split), whole, "{burst} {drain} {ring_lines}");
        }
    }

    /// Every line of a stage that is given `events` one by one, and settings by `tune` before each.
    fn lines_of(
        tunings: Tunings,
        events: &[Event],
        mut tune: impl FnMut(usize),
    ) -> (Vec<Message>, Ledger) {
        let ((mut to_engine, inlet), (outlet, mut from_engine)) = (ring(1), ring(1 << 12));
        let stage = EngineStage::new(Engine::new(&Settings::default()), [inlet], outlet);
        let mut stage = stage.tuned_by(tunings);
        let (mut assembler, mut all) = (Assembler::default(), Vec::new());
        for (i, event) in events.iter().enumerate() {
            tune(i);
            to_engine.push(*event).unwrap();
            stage.turn(Now::default());
            let lines = std::iter::from_fn(|| from_engine.pop());
            all.extend(lines.filter_map(|line| assembler.take(&line)));
        }
        let mut ledger = Ledger::default();
        stage.ledger(&mut ledger);
        (all, ledger)
    }

    /// Settings with which next to nothing is an alarm, and those with which much is.
    fn tunings() -> [Tuning; 2] {
        [(1, 0.9), (2, 0.1)].map(|(number, watch)| {
            let mut settings = Settings::default();
            let [alert, critical, extreme] = [0.02, 0.04, 0.06].map(|more| watch + more);
            settings.levels = crate::engine::settings::Levels {
                watch,
                alert,
                critical,
                extreme,
                ..settings.levels
            };
            settings.check().unwrap();
            Tuning { number, settings }
        })
    }

    #[test]
    fn what_changed_at_work_is_lived_again_at_the_same_place() {
        let (mut hand_in, tunings_inlet) = ring(1);
        let tunings = tunings();
        let at = [1_000, 2_500];
        let (all, _) = lines_of(Tunings::Live(tunings_inlet), &events(), |i| {
            let due = at.iter().zip(tunings).find(|(at, _)| **at == i);
            due.into_iter().for_each(|(_, tuning)| hand_in.push(tuning).unwrap());
        });
        let echoed: Vec<Event> = all
            .iter()
            .filter_map(|m| if let Message::Event(event) = m { Some(*event) } else { None })
            .collect();
        assert_eq!(echoed.len(), events().len() + 2);
        for (place, number) in [(1_000, 1), (2_501, 2)] {
            assert_eq!(echoed[place], Event::tuned(number, echoed[place - 1].received));
        }
        let (again, ledger) = lines_of(Tunings::Past(tunings.into()), &echoed, |_| {});
        assert_eq!(again, all);
        assert_eq!(ledger.get("unknown_settings"), 0);
        let (untuned, _) = lines_of(Tunings::default(), &events(), |_| {});
        let signals = |all: &[Message]| {
            let signal = |m: &&Message| matches!(m, Message::Report(r) if r.is_signal());
            all.iter().filter(signal).count()
        };
        assert_ne!(signals(&untuned), signals(&all), "they made a difference");
        let (_, ledger) = lines_of(Tunings::default(), &echoed, |_| {});
        assert_eq!(ledger.get("unknown_settings"), 2, "what is not known is counted");
    }

    #[test]
    fn settings_wait_for_the_first_event() {
        let (mut hand_in, inlet) = ring(1);
        let (mut to_engine, events) = ring(4);
        let (outlet, mut lines) = ring(64);
        let stage = EngineStage::new(Engine::new(&Settings::default()), [events], outlet);
        let mut stage = stage.tuned_by(Tunings::Live(inlet));
        hand_in.push(tunings()[0]).unwrap();
        stage.turn(Now::default());
        assert_eq!((lines.waiting(), hand_in.room()), (0, 0));
        to_engine.push(Event::tick(Nanos(7))).unwrap();
        (0..2).for_each(|_| assert_ne!(stage.turn(Now::default()), Turn::Done));
        let seen = [(); 2].map(|()| lines.pop());
        let expected = [Event::tick(Nanos(7)), Event::tuned(1, Nanos(7))];
        assert_eq!(seen, expected.map(|event| Some(Output::Event(event))));
    }

    #[test]
    fn an_engine_that_was_tuned_is_one_that_was_made_so() {
        let few = Settings { max_symbols: 30, ..Settings::default() };
        let mut settings = Settings { max_symbols: 30, ..tunings()[1].settings };
        settings.risk.velocity.weight = 0.30;
        settings.risk.clustering.weight = 0.0;
        settings.signal.funding.weight = 0.05;
        settings.signal.velocity_weight = 0.30;
        settings.proof.significance = [1.0, 2.0, 3.0, 4.0];
        settings.regime.velocity_scales = [0.3; 6];
        settings.completeness.sampled = 0.3;
        settings.check().unwrap();
        let mut tuned = Engine::new(&few);
        tuned.tune(&settings);
        let mut made = Engine::new(&settings);
        let (mut out, mut other) = (Outbox::new(), Outbox::new());
        for event in events() {
            tuned.take(&event, &mut out);
            made.take(&event, &mut other);
            assert_eq!(out.reports(), other.reports());
            out.clear();
            other.clear();
        }
        assert!(made.signals() > 5);
        assert_eq!(format!("{tuned:?}"), format!("{made:?}"), "down to the last field");
    }

    #[test]
    fn a_full_second_door_holds_the_first() {
        let (mut to_engine, inlet) = ring(16);
        let (outlet, from_engine) = ring(1);
        let mut stage = EngineStage::new(Engine::new(&Settings::default()), [inlet], outlet);
        events().into_iter().take(16).for_each(|event| to_engine.push(event).unwrap());
        (0..100).for_each(|_| assert_ne!(stage.turn(Now::default()), Turn::Done));
        assert!(to_engine.room() <= 2, "what cannot be passed on is not taken");
        assert_eq!(from_engine.waiting(), 1);
    }

    #[test]
    fn every_inlet_has_its_turn() {
        let (mut busy, first) = ring(1_024);
        let (mut calm, second) = ring(8);
        let (outlet, mut lines) = ring(4_096);
        let mut stage =
            EngineStage::new(Engine::new(&Settings::default()), [first, second], outlet);
        (0..1_000).for_each(|i| busy.push(Event::tick(Nanos(i))).unwrap());
        calm.push(Event::tick(Nanos(77_777))).unwrap();
        stage.turn(Now::default());
        let place = std::iter::from_fn(|| lines.pop()).position(
            |line| matches!(line, Output::Event(event) if event.received == Nanos(77_777)),
        );
        assert_eq!(place, Some(1));
        drop((busy, calm));
        let ended = (0..100).any(|_| stage.turn(Now::default()) == Turn::Done);
        assert!(ended, "the end of every inlet is the stage's end");
    }
}
