//! How far it is: a sink that counts signals and notes the time reached, for whoever asks meanwhile.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::crew::Crew;
use crate::ledger::Ledger;
use crate::output::Message;
use crate::publish::Sink;
use crate::stage::Turn;
use crate::time::{NS_PER_S, Nanos, Now};

/// How often a terminal is shown how far it is.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// The sink.
#[derive(Debug, Default)]
pub struct Count {
    so_far: SoFar,
    closed: bool,
}

/// What has been counted, as it goes on.
#[derive(Clone, Debug, Default)]
pub struct SoFar(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    signals: AtomicU64,
    reached: AtomicU64,
}

impl Count {
    /// Where to look.
    #[must_use]
    pub fn so_far(&self) -> SoFar {
        self.so_far.clone()
    }
}

impl SoFar {
    /// Signals.
    #[must_use]
    pub fn signals(&self) -> u64 {
        self.0.signals.load(Ordering::Relaxed)
    }

    /// The time of the latest message; 0 before the first.
    #[must_use]
    pub fn reached(&self) -> Nanos {
        Nanos(self.0.reached.load(Ordering::Relaxed))
    }

    /// Shows on a terminal how far beyond `begin` it is, until the threads have ended; elsewhere nothing.
    pub fn show(&self, crew: &Crew, begin: Nanos) {
        if !io::stderr().is_terminal() {
            return;
        }
        while !crew.is_finished() {
            // The cursor goes back, so that a signal that is shown is written over it.
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{}\r", self.words(begin));
            thread::sleep(SHOWN_EVERY);
        }
        let _ = write!(io::stderr().lock(), "\r\x1b[2K");
    }

    fn words(&self, begin: Nanos) -> String {
        let s = self.reached().since(begin) / NS_PER_S;
        let (d, h, m, s) = (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60);
        let days = if d > 0 { format!("{d} d ") } else { String::new() };
        format!("{days}{h:02}:{m:02}:{s:02} of recorded time, {} signals", self.signals())
    }
}

impl Sink for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn write(&mut self, _: Now, batch: &[Message]) {
        let is_signal = |m: &&Message| matches!(m, Message::Report(report) if report.is_signal());
        let signals = batch.iter().filter(is_signal).count() as u64;
        let numbers = &self.so_far.0;
        if signals > 0 {
            numbers.signals.fetch_add(signals, Ordering::Relaxed);
        }
        let at = batch.last().map(|message| match message {
            Message::Event(event) => event.received,
            Message::Report(report) => report.at,
        });
        if let Some(at) = at {
            numbers.reached.store(at.0, Ordering::Relaxed);
        }
    }

    fn turn(&mut self, _: Now) -> Turn {
        if self.closed { Turn::Done } else { Turn::Idle }
    }

    fn close(&mut self, _: Now) {
        self.closed = true;
    }

    fn ledger(&self, _: &mut Ledger) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::signal::{Kind, Report};
    use crate::symbol::Symbol;

    #[test]
    fn signals_are_counted_and_states_are_not() {
        let mut count = Count::default();
        let so_far = count.so_far();
        let begin = Nanos(1_000 * NS_PER_S);
        assert_eq!(so_far.words(begin), "00:00:00 of recorded time, 0 signals");
        let at = Nanos(begin.0 + 90_061 * NS_PER_S);
        let report = |kind| Message::Report(Report { kind, ..Report::empty(Symbol::BTC, at) });
        let event = Message::Event(Event::tick(at));
        let all = [report(Kind::Change), report(Kind::State), report(Kind::Heartbeat), event];
        count.write(Now::default(), &all);
        count.write(Now::default(), &[]);
        assert_eq!(so_far.words(begin), "1 d 01:01:01 of recorded time, 2 signals");
        assert_eq!(count.turn(Now::default()), Turn::Idle);
        count.close(Now::default());
        assert_eq!(count.turn(Now::default()), Turn::Done);
    }
}
