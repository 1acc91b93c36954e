//! The engine's turn: events from the first door, the same events and reports to the second.
//!
//! The next event is taken only when everything the last one led to has passed the second door, so
//! a slow publisher holds the engine up, the first ring fills, and loss happens there, counted.

use super::{Engine, Outbox};
use crate::event::Event;
use crate::ledger::Ledger;
use crate::output::{Output, REPORT_LINES, lines};
use crate::ring::{Inlet, Outlet};
use crate::signal::Report;
use crate::stage::{Stage, Turn};
use crate::time::{Nanos, Now};

/// Events taken in one turn, at most.
const BUDGET: usize = 256;

/// The engine as a stage.
#[derive(Debug)]
pub struct EngineStage {
    engine: Engine,
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
            inlets: inlets.into_iter().collect(),
            next_inlet: 0,
            outlet,
            event: None,
            outbox: Outbox::new(),
            begun: 0,
            lines: lines(&Report::empty(crate::symbol::Symbol::NONE, Nanos(0))),
            sent: REPORT_LINES,
            taken: Nanos(0),
        }
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

    /// The next event, from the inlets in turn.
    fn pop(&mut self) -> Option<Event> {
        for _ in 0..self.inlets.len() {
            let inlet = self.next_inlet;
            self.next_inlet = (inlet + 1) % self.inlets.len();
            if let Some(event) = self.inlets[inlet].pop() {
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

    fn ledger(&self, ledger: &mut Ledger) {
        let consumed: u64 = self.inlets.iter().map(Inlet::taken).sum();
        ledger.add("consumed", consumed);
        ledger.add("signals", self.engine.signals());
        ledger.add_tally("engine", self.engine.tally());
    }
}
