//! Telling the world.
//!
//! The [`Publisher`] takes lines off the second door, puts reports together again and hands batches
//! to its [`Sink`]s. A sink never waits: what may be slow (a disk, a terminal, Redis) has a thread of
//! its own behind a bounded hand-over, so a slow or dead sink costs counters, never latency.
//!
//! # What becomes of a signal
//!
//! Every signal the publisher takes ends in exactly one of three ways, and only
//! [`Publisher::ledger`](crate::stage::Stage::ledger) writes them down:
//!
//! * *published*: the sink that keeps account of signals (Redis) has it acknowledged;
//! * *retained*: it was still waiting for that when the run ended (it is in the journal);
//! * *evicted*: it was the oldest of a full backlog and made room.
//!
//! The first sink that gives a [`Fate`] is the one that counts. Where none does (no Redis is
//! configured), a signal is published when it has been handed to every sink; what those lost is in
//! their own counts.

pub mod json;
pub mod explain;
pub mod courier;
pub mod console;
pub mod journal;
pub mod redis;
pub mod history;
pub mod alert;
pub mod latency;
pub mod page;

use crate::ledger::{Counts, Ledger};
use crate::output::{Assembler, Message, Output};
use crate::ring::Inlet;
use crate::stage::{Stage, Turn};
use crate::time::Now;

/// Most messages handed over in one turn; together with a sink's cost per message this bounds it.
pub const BATCH: usize = 256;

/// What became of the signals one sink was given. The sum is all of them, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Acknowledged by the other side.
    pub published: u64,
    /// Waiting for it.
    pub retained: u64,
    /// Given up, oldest first, because too many were waiting.
    pub evicted: u64,
}

/// A place where messages go.
pub trait Sink: Send {
    /// The word users see.
    fn name(&self) -> &'static str;

    /// Takes a batch, in order. Does not wait.
    fn write(&mut self, now: Now, batch: &[Message]);

    /// Goes on with what is in flight, without waiting. `Done` only after [`Self::close`], once
    /// nothing is left or its own deadline has passed.
    fn turn(&mut self, now: Now) -> Turn;

    /// No batch will follow: passes on what is in flight, within a deadline of its own.
    fn close(&mut self, now: Now);

    /// What became of the signals, from a sink that keeps account of each.
    fn fate(&self) -> Option<Fate> {
        None
    }

    /// What was counted so far, for whoever watches it at work. Allocates nothing.
    fn count(&self, _counts: &mut Counts) {}

    /// What was counted.
    fn ledger(&self, ledger: &mut Ledger);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Closed,
}

/// Takes lines, gives batches. See the module.
pub struct Publisher {
    inlet: Inlet<Output>,
    assembler: Assembler,
    batch: Vec<Message>,
    sinks: Vec<Box<dyn Sink>>,
    phase: Phase,
    signals: u64,
    states: u64,
    events: u64,
}

impl Publisher {
    /// A publisher that reads `inlet` and hands to `sinks`, in that order.
    #[must_use]
    pub fn new(inlet: Inlet<Output>, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            inlet,
            assembler: Assembler::default(),
            batch: Vec::with_capacity(BATCH),
            sinks,
            phase: Phase::Open,
            signals: 0,
            states: 0,
            events: 0,
        }
    }

    /// What became of the signals so far.
    #[must_use]
    pub fn fate(&self) -> Fate {
        let handed = Fate { published: self.signals, ..Fate::default() };
        self.sinks.iter().find_map(|sink| sink.fate()).unwrap_or(handed)
    }

    fn turn_sinks(&mut self, now: Now) -> Turn {
        let mut turns = [0_usize; 2];
        for sink in &mut self.sinks {
            match sink.turn(now) {
                Turn::Worked => turns[0] += 1,
                Turn::Idle => turns[1] += 1,
                Turn::Done => {}
            }
        }
        match turns {
            [0, 0] => Turn::Done,
            [0, _] => Turn::Idle,
            _ => Turn::Worked,
        }
    }

    fn fill(&mut self) {
        self.batch.clear();
        while self.batch.len() < BATCH {
            let Some(line) = self.inlet.pop() else { break };
            let Some(message) = self.assembler.take(&line) else { continue };
            match &message {
                Message::Event(_) => self.events += 1,
                Message::Report(report) if report.is_signal() => self.signals += 1,
                Message::Report(_) => self.states += 1,
            }
            self.batch.push(message);
        }
    }

    fn hand_over(&mut self, now: Now) -> Turn {
        self.fill();
        if self.batch.is_empty() {
            return Turn::Idle;
        }
        for sink in &mut self.sinks {
            sink.write(now, &self.batch);
        }
        Turn::Worked
    }

    fn count_own(&self, counts: &mut Counts) {
        let fate = self.fate();
        counts.add("published", fate.published);
        counts.add("retained", fate.retained);
        counts.add("evicted", fate.evicted);
        counts.add("publish_events", self.events);
        counts.add("publish_states", self.states);
        counts.add("publish_broken", self.assembler.broken());
    }

    fn close_sinks(&mut self, now: Now) {
        for sink in &mut self.sinks {
            sink.close(now);
        }
        self.phase = Phase::Closing;
    }
}

impl Stage for Publisher {
    fn name(&self) -> &'static str {
        "publish"
    }

    fn turn(&mut self, now: Now) -> Turn {
        if self.phase == Phase::Closed {
            return Turn::Done;
        }
        let sinks = self.turn_sinks(now);
        if self.phase == Phase::Closing {
            if sinks == Turn::Done {
                self.phase = Phase::Closed;
            }
            return sinks;
        }
        if self.hand_over(now) == Turn::Worked {
            return Turn::Worked;
        }
        if self.inlet.has_ended() {
            self.close_sinks(now);
            return Turn::Worked;
        }
        if sinks == Turn::Worked { Turn::Worked } else { Turn::Idle }
    }

    fn count(&self, counts: &mut Counts) {
        self.count_own(counts);
        counts.add_under("waiting", "output", self.inlet.waiting() as u64);
        for sink in &self.sinks {
            sink.count(counts);
        }
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count_own(counts));
        for sink in &self.sinks {
            sink.ledger(ledger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::output::{REPORT_LINES, lines};
    use crate::ring::ring;
    use crate::signal::{Kind, Report};
    use crate::symbol::Symbol;
    use crate::time::Nanos;

    /// Takes its time to close, and may keep account.
    struct Slow {
        turns_left: u32,
        closing: bool,
        fate: Option<Fate>,
    }

    impl Sink for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }
        fn write(&mut self, _: Now, batch: &[Message]) {
            assert!(!self.closing, "written to after close");
            for message in batch {
                if let (Message::Report(_), Some(fate)) = (message, &mut self.fate) {
                    fate.retained += 1;
                }
            }
        }
        fn turn(&mut self, _: Now) -> Turn {
            if !self.closing {
                return Turn::Idle;
            }
            self.turns_left = self.turns_left.saturating_sub(1);
            if self.turns_left == 0 { Turn::Done } else { Turn::Idle }
        }
        fn close(&mut self, _: Now) {
            self.closing = true;
        }
        fn fate(&self) -> Option<Fate> {
            self.fate
        }
        fn ledger(&self, _: &mut Ledger) {}
    }

    fn signal(seq: u64) -> Report {
        Report { seq, kind: Kind::Change, ..Report::empty(Symbol::BTC, Nanos(seq)) }
    }

    fn run(fate: Option<Fate>) -> Ledger {
        let (mut outlet, inlet) = ring(4 * REPORT_LINES);
        let sink = Slow { turns_left: 3, closing: false, fate };
        let mut publisher = Publisher::new(inlet, vec![Box::new(sink)]);
        outlet.push(Output::Event(Event::tick(Nanos(1)))).unwrap();
        for line in lines(&signal(1)).into_iter().chain(lines(&signal(2))) {
            outlet.push(line).unwrap();
        }
        assert_eq!(publisher.turn(Now::default()), Turn::Worked);
        assert_eq!(publisher.turn(Now::default()), Turn::Idle);
        drop(outlet);
        let mut turns = 0;
        while publisher.turn(Now::default()) != Turn::Done {
            turns += 1;
            assert!(turns < 10, "never ends");
        }
        assert_eq!(turns, 3, "one to close, two while the sink drains");
        let mut ledger = Ledger::default();
        ledger.add("signals", 2);
        publisher.ledger(&mut ledger);
        ledger
    }

    #[test]
    fn without_an_accountant_handed_over_is_published() {
        let ledger = run(None);
        assert_eq!((ledger.get("published"), ledger.get("publish_events")), (2, 1));
        assert!(ledger.laws().all(|law| law.holds));
    }

    #[test]
    fn the_sink_that_keeps_account_decides() {
        let ledger = run(Some(Fate::default()));
        assert_eq!((ledger.get("published"), ledger.get("retained")), (0, 2));
        assert!(ledger.laws().all(|law| law.holds));
    }
}
