//! SIGHUP: the configuration is read again, and what may change in a run that goes on is changed.
//!
//! That is `console`, and nothing else. Thresholds of the engine need a restart: a replay of the journal
//! must give the signals that it holds, so a file is lived with one set of them. So do alerts, whose
//! channels know what each has been told; a restart hands that on, and windows with it. A file that is
//! bad changes nothing.
//!
//! The new sink is made by the attending thread; the publisher finds it in a channel on its next turn,
//! lets the old one finish, and gives it back to be counted.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::SIGHUP;
use toml::Value;

use super::check::flatten;
use super::{Failure, sinks};
use crate::config::{Config, Layers};
use crate::ledger::Ledger;
use crate::output::Message;
use crate::publish::Sink;
use crate::stage::Turn;
use crate::time::Now;

/// The attending thread's side.
pub struct Reload {
    layers: Layers,
    /// What is in force.
    config: Config,
    asked: Arc<AtomicBool>,
    next: Sender<Box<dyn Sink>>,
    former: Receiver<Box<dyn Sink>>,
    ledger: Ledger,
}

/// The publisher's side.
#[derive(Debug)]
pub struct Relief {
    next: Receiver<Box<dyn Sink>>,
    former: Sender<Box<dyn Sink>>,
}

impl Reload {
    /// Listens for SIGHUP, unless we are at a terminal: there it says that the terminal is gone.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn on_signal(config: &Config, layers: &Layers) -> Result<(Self, Relief), Failure> {
        let asked = Arc::default();
        if !io::stdin().is_terminal() {
            let registered = signal_hook::flag::register(SIGHUP, Arc::clone(&asked));
            registered.map_err(|e| Failure::running(format!("signal {SIGHUP}: {e}")))?;
        }
        Ok(Self::pair(config, layers, asked))
    }

    fn pair(config: &Config, layers: &Layers, asked: Arc<AtomicBool>) -> (Self, Relief) {
        let ((next, incoming), (back, former)) = (bounded(1), bounded(1));
        let (config, layers, ledger) = (config.clone(), layers.clone(), Ledger::default());
        let reload = Self { layers, config, asked, next, former, ledger };
        (reload, Relief { next: incoming, former: back })
    }

    /// Reads it again if that has been asked for.
    pub fn turn(&mut self) {
        self.settle();
        if self.asked.swap(false, Ordering::Relaxed) {
            self.read().iter().for_each(|line| eprintln!("reload: {line}"));
        }
    }

    /// Counts of sinks that were relieved.
    pub fn ledger(&mut self) -> &Ledger {
        self.settle();
        &self.ledger
    }

    fn settle(&mut self) {
        self.former.try_iter().for_each(|sink| sink.ledger(&mut self.ledger));
    }

    /// What became of it, one line for each setting.
    fn read(&mut self) -> Vec<String> {
        let read = self.layers.load().and_then(|(wanted, _)| {
            let changes = changes(&self.config, &wanted)?;
            if wanted.console != self.config.console {
                self.relieve(&wanted)?;
                self.config.console = wanted.console;
            }
            Ok(changes)
        });
        match read {
            Err(why) => vec![format!("{why}; nothing is changed")],
            Ok(lines) if lines.is_empty() => vec!["no setting is another".to_owned()],
            Ok(lines) => lines,
        }
    }

    fn relieve(&self, wanted: &Config) -> Result<(), String> {
        let console = sinks::console(wanted).map_err(|failure| failure.line)?;
        let busy = "the reload before this one is still under way; ask again";
        self.next.try_send(console).map_err(|_| busy.to_owned())
    }
}

/// Settings that are others now, one line each.
fn changes(now: &Config, wanted: &Config) -> Result<Vec<String>, String> {
    let flat = |config: &Config| {
        let mut lines = Vec::new();
        flatten("", &Value::try_from(config).map_err(|e| e.to_string())?, &mut lines);
        Ok::<_, String>(lines)
    };
    let (now, wanted) = (flat(now)?, flat(wanted)?);
    let find = |lines: &[(String, Value)], key: &str| {
        lines.iter().find(|(other, _)| other == key).map(|(_, value)| value.to_string())
    };
    let mut keys: Vec<&String> = now.iter().chain(&wanted).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    let line = |key: &String| {
        let (from, to) = (find(&now, key), find(&wanted, key));
        let unset = || "unset".to_owned();
        let shown = format!(
            "{} -> {}",
            from.clone().unwrap_or_else(unset),
            to.clone().unwrap_or_else(unset)
        );
        let shown = if is_shown(key) { shown } else { "is another".to_owned() };
        let when = if key.starts_with("console.") { "" } else { "; needs a restart" };
        (from != to).then(|| format!("{key} {shown}{when}"))
    };
    Ok(keys.into_iter().filter_map(line).collect())
}

/// Addresses may hold what is nobody's business, and this goes into logs.
fn is_shown(key: &str) -> bool {
    !(key.ends_with("url") || key.contains("urls.") || key.starts_with("alert.channel"))
}

/// A sink that another may take the place of.
pub struct Shift {
    sink: Box<dyn Sink>,
    leaving: Option<Box<dyn Sink>>,
    relief: Relief,
    closed: bool,
}

impl Shift {
    /// Begins with `sink`.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>, relief: Relief) -> Self {
        Self { sink, leaving: None, relief, closed: false }
    }

    /// Lets the old one finish, then gives it back.
    fn let_go(&mut self, now: Now) -> Turn {
        let Some(mut sink) = self.leaving.take() else { return Turn::Done };
        if sink.turn(now) == Turn::Done {
            self.leaving = self.relief.former.try_send(sink).err().map(|e| e.into_inner());
        } else {
            self.leaving = Some(sink);
        }
        Turn::Idle
    }

    fn change(&mut self, now: Now) {
        let Ok(next) = self.relief.next.try_recv() else { return };
        let mut former = std::mem::replace(&mut self.sink, next);
        former.close(now);
        self.leaving = Some(former);
    }
}

impl Sink for Shift {
    fn name(&self) -> &'static str {
        self.sink.name()
    }

    fn write(&mut self, now: Now, batch: &[Message]) {
        self.sink.write(now, batch);
    }

    fn turn(&mut self, now: Now) -> Turn {
        let leaving = self.let_go(now);
        if self.leaving.is_none() && !self.closed {
            self.change(now);
        }
        match self.sink.turn(now) {
            Turn::Done => leaving,
            turn => turn,
        }
    }

    fn close(&mut self, now: Now) {
        self.closed = true;
        self.sink.close(now);
    }

    fn ledger(&self, ledger: &mut Ledger) {
        self.sink.ledger(ledger);
        if let Some(leaving) = &self.leaving {
            leaving.ledger(ledger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::{Kind, Report};
    use crate::symbol::Symbol;
    use crate::time::Nanos;

    /// Counts under its own name; needs a few turns to end.
    struct Named(&'static str, u64, u32, bool);

    impl Sink for Named {
        fn name(&self) -> &'static str {
            self.0
        }
        fn write(&mut self, _: Now, batch: &[Message]) {
            assert!(!self.3, "written to after its end");
            self.1 += batch.len() as u64;
        }
        fn turn(&mut self, _: Now) -> Turn {
            self.2 -= u32::from(self.3 && self.2 > 0);
            if self.3 && self.2 == 0 { Turn::Done } else { Turn::Idle }
        }
        fn close(&mut self, _: Now) {
            self.3 = true;
        }
        fn ledger(&self, ledger: &mut Ledger) {
            ledger.add(self.0, self.1);
        }
    }

    fn sink(name: &'static str) -> Box<dyn Sink> {
        Box::new(Named(name, 0, 3, false))
    }

    #[test]
    fn a_sink_is_relieved_and_nothing_is_lost_or_counted_twice() {
        let (config, layers) = (Config::default(), Layers::default());
        let (mut reload, relief) = Reload::pair(&config, &layers, Arc::default());
        let mut shift = Shift::new(sink("a"), relief);
        let report = Report { seq: 1, kind: Kind::Change, ..Report::empty(Symbol::BTC, Nanos(1)) };
        let batch = [Message::Report(report)];
        let now = Now::default();
        for name in ["b", "c"] {
            shift.write(now, &batch);
            assert!(reload.next.try_send(sink(name)).is_ok());
            for _ in 0..6 {
                shift.turn(now);
            }
        }
        shift.write(now, &batch);
        shift.close(now);
        let mut turns = 0;
        while shift.turn(now) != Turn::Done {
            turns += 1;
            assert!(turns < 20, "it ends only when what left has been taken");
            reload.settle();
        }
        let mut all = reload.ledger().clone();
        shift.ledger(&mut all);
        assert_eq!(["a", "b", "c"].map(|name| all.get(name)), [1, 1, 1]);
    }

    #[test]
    fn each_setting_that_changed_is_said_and_what_it_takes() {
        let now = Config::default();
        let mut wanted = now.clone();
        assert_eq!(changes(&now, &wanted), Ok(Vec::new()));
        wanted.console.heartbeats = true;
        wanted.run.reader_core = Some(3);
        wanted.redis.url = "redis://:hunter2@localhost".to_owned();
        assert_eq!(
            changes(&now, &wanted).unwrap(),
            [
                "console.heartbeats false -> true",
                "redis.url is another; needs a restart",
                "run.reader_core unset -> 3; needs a restart"
            ]
        );
    }
}
