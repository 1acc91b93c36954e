//! SIGHUP: the configuration is read again, and what may change in a run that goes on is changed.
//!
//! That is `engine`, but for the number of rows, which are made at the start; `alert`; and `console`. Each
//! setting that is another is told, and whether it is in force or needs a restart. A file that is bad changes
//! nothing, and neither does one whose changes cannot all be made.
//!
//! A replay of the journal must give the signals that it holds, so other settings of the engine are data:
//! they reach the engine between two events, which says so by an event of its own, and the journal keeps them
//! right before it (see [`crate::engine::stage`] and [`crate::publish::journal`]). They are said to be in force
//! when the engine has taken them.
//!
//! Channels of alerts keep what waits and what they have been told (see [`Hand`]).
//!
//! SIGUSR1: the latency log begins anew.
//!
//! Whatever is made anew is made by the attending thread; who needs it finds it in a bounded queue on its next
//! turn. A sink that was relieved finishes, and is given back to be counted.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, never};
use signal_hook::consts::{SIGHUP, SIGUSR1};

use super::shift::Relief;
use super::tuned::{Difference, differences, shown, text};
use super::{Failure, sinks};
use crate::config::{Config, Layers};
use crate::engine::Settings;
use crate::engine::stage::{Tuning, Tunings};
use crate::ledger::Ledger;
use crate::publish::Sink;
use crate::publish::alert::{Changes, Channel, Hand};
use crate::publish::journal::Note;
use crate::ring::{Outlet, ring};

/// Settings on their way to the journal at most.
const NOTES: usize = 16;
const BUSY: &str = "the reload before this one is still under way; ask again";

/// The attending thread's side.
pub struct Reload {
    layers: Layers,
    /// What is in force.
    config: Config,
    asked: Arc<AtomicBool>,
    tuner: Tuner,
    hand: Hand,
    console: Sender<Box<dyn Sink>>,
    former: Receiver<Box<dyn Sink>>,
    ledger: Ledger,
    /// What is to be said once the engine has taken its settings.
    waiting: Vec<String>,
}

/// The sides that take what is made anew.
pub struct Takers {
    /// The engine's.
    pub tunings: Tunings,
    /// The journal's.
    pub notes: Receiver<Note>,
    /// The terminal's, where it may change.
    pub console: Option<Relief>,
    /// The alerts', where they may change.
    pub alerts: Option<Changes>,
    /// Set when the latency log is to begin anew.
    pub renew: Arc<AtomicBool>,
}

impl Default for Takers {
    fn default() -> Self {
        let (tunings, renew) = (Tunings::default(), Arc::default());
        Self { tunings, notes: never(), console: None, alerts: None, renew }
    }
}

impl Takers {
    /// Of a run that lives a journal again, in which these settings came into force.
    #[must_use]
    pub fn of_the_past(tunings: Vec<Tuning>) -> Self {
        let (tell, notes) = bounded(tunings.len());
        for Tuning { number, settings } in &tunings {
            // There is room for all of them.
            let _ = tell.try_send(Note { number: *number, text: text(settings).into() });
        }
        Self { tunings: Tunings::Past(tunings.into()), notes, ..Self::default() }
    }
}

impl Reload {
    /// Listens for SIGUSR1, and for SIGHUP unless we are at a terminal: there it says that the terminal is
    /// gone.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn on_signal(config: &Config, layers: &Layers) -> Result<(Self, Takers), Failure> {
        let listen = |signal, flag: &Arc<AtomicBool>| {
            let registered = signal_hook::flag::register(signal, Arc::clone(flag));
            registered.map(drop).map_err(|e| Failure::running(format!("signal {signal}: {e}")))
        };
        let asked = Arc::default();
        if !io::stdin().is_terminal() {
            listen(SIGHUP, &asked)?;
        }
        let (reload, takers) = Self::pair(config, layers, asked);
        listen(SIGUSR1, &takers.renew)?;
        Ok((reload, takers))
    }

    fn pair(config: &Config, layers: &Layers, asked: Arc<AtomicBool>) -> (Self, Takers) {
        let ((console, next), (back, former)) = (bounded(1), bounded(1));
        let (tuner, tunings, notes) = Tuner::new(config.journal.is_on());
        let (config, layers, ledger) = (config.clone(), layers.clone(), Ledger::default());
        let waiting = Vec::new();
        let keeps = config.journal.is_on() && config.journal.restore;
        let folder = keeps.then(|| config.journal.directory.clone());
        let (hand, alerts) = Hand::pair(&config.alert, folder);
        let reload = Self { layers, config, asked, tuner, hand, console, former, ledger, waiting };
        let console = Some(Relief { next, former: back });
        let (tunings, alerts, renew) = (Tunings::Live(tunings), Some(alerts), Arc::default());
        (reload, Takers { tunings, notes, console, alerts, renew })
    }

    /// Reads it again if that has been asked for.
    pub fn turn(&mut self) {
        self.settle();
        if self.asked.swap(false, Ordering::Relaxed) {
            match self.read() {
                Ok(lines) => self.waiting.extend(lines),
                Err(why) => eprintln!("reload: {why}; nothing is changed"),
            }
        }
        if self.tuner.is_free() && self.hand.is_free() {
            self.waiting.drain(..).for_each(|line| eprintln!("reload: {line}"));
        }
    }

    /// Counts of sinks that were relieved.
    pub fn ledger(&mut self) -> &Ledger {
        self.settle();
        &self.ledger
    }

    fn settle(&mut self) {
        self.former.try_iter().for_each(|sink| sink.ledger(&mut self.ledger));
        self.hand.settle(&mut self.ledger);
    }

    /// What became of it, one line for each setting.
    fn read(&mut self) -> Result<Vec<String>, String> {
        let (wanted, _) = self.layers.load()?;
        let changes = changes(&self.config, &wanted)?;
        let engine = Settings { max_symbols: self.config.engine.max_symbols, ..wanted.engine };
        let (tunes, relieves) =
            (engine != self.config.engine, wanted.console != self.config.console);
        if tunes && !self.tuner.is_free() || relieves && self.console.is_full() {
            return Err(BUSY.to_owned());
        }
        let console = relieves.then(|| sinks::console(&wanted)).transpose();
        let console = console.map_err(|failure| failure.line)?;
        let alerts = wanted.alert != self.config.alert;
        let alerts = alerts.then(|| self.hand.ready(&wanted.alert)).transpose()?;
        // From here on nothing fails: there is room for all of it.
        if let Some(console) = console {
            let _ = self.console.try_send(console);
        }
        if tunes {
            self.tuner.hand_in(engine);
        }
        if let Some(alerts) = alerts {
            self.hand.commit(alerts);
        }
        (self.config.engine, self.config.console) = (engine, wanted.console);
        self.config.alert = wanted.alert;
        Ok(if changes.is_empty() { vec!["no setting is another".to_owned()] } else { changes })
    }
}

/// Hands settings to the engine, and before that to the journal.
struct Tuner {
    tunings: Outlet<Tuning>,
    notes: Option<Sender<Note>>,
    /// Kept until the journal has let go of them, so that they are freed here.
    kept: Vec<Note>,
    number: u64,
}

impl Tuner {
    fn new(journals: bool) -> (Self, crate::ring::Inlet<Tuning>, Receiver<Note>) {
        let ((tunings, inlet), (notes, noted)) = (ring(1), bounded(NOTES));
        let notes = journals.then_some(notes);
        (Self { tunings, notes, kept: Vec::new(), number: 0 }, inlet, noted)
    }

    /// Whether the engine has taken the last ones, and the journal has room for others.
    fn is_free(&self) -> bool {
        self.tunings.room() > 0 && self.notes.as_ref().is_none_or(|notes| !notes.is_full())
    }

    fn hand_in(&mut self, settings: Settings) {
        self.number += 1;
        let number = self.number;
        self.kept.retain(|note| Arc::strong_count(&note.text) > 1);
        if let Some(notes) = &self.notes {
            let note = Note { number, text: text(&settings).into() };
            self.kept.push(note.clone());
            let _ = notes.try_send(note);
        }
        let _ = self.tunings.push(Tuning { number, settings });
    }
}

/// Settings that are others now, one line each.
fn changes(now: &Config, wanted: &Config) -> Result<Vec<String>, String> {
    let mut lines = channels(&now.alert.channel, &wanted.alert.channel)?;
    for difference in differences(now, wanted)?.iter().filter(|(key, ..)| key != CHANNELS) {
        let when = if is_taken(&difference.0) { IN_FORCE } else { "; needs a restart" };
        lines.push(format!("{}{when}", told(difference)));
    }
    Ok(lines)
}

const CHANNELS: &str = "alert.channel";
const IN_FORCE: &str = ": in force";

/// What became of the channels, by name.
fn channels(now: &[Channel], wanted: &[Channel]) -> Result<Vec<String>, String> {
    let find = |all: &[Channel], name: &str| all.iter().find(|c| c.name() == name).cloned();
    let mut lines = Vec::new();
    for gone in now.iter().filter(|old| find(wanted, old.name()).is_none()) {
        lines.push(format!("{CHANNELS}.{} is gone{IN_FORCE}", gone.name()));
    }
    for channel in wanted {
        let name = format!("{CHANNELS}.{}", channel.name());
        let Some(old) = find(now, channel.name()) else {
            lines.push(format!("{name} is new{IN_FORCE}"));
            continue;
        };
        for (key, from, to) in differences(&old, channel)? {
            lines.push(format!("{}{IN_FORCE}", told(&(format!("{name}.{key}"), from, to))));
        }
    }
    Ok(lines)
}

/// A difference in words, without what is nobody's business: this goes into logs.
fn told(difference: &Difference) -> String {
    let (key, ..) = difference;
    if is_shown(key) { shown(difference) } else { format!("{key} is another") }
}

/// Whether a run that goes on takes it.
fn is_taken(key: &str) -> bool {
    let rooms = ["alert.", "console.", "engine."];
    rooms.iter().any(|room| key.starts_with(room)) && key != "engine.max_symbols"
}

fn is_shown(key: &str) -> bool {
    let of_channel = key.starts_with(CHANNELS) && !key.ends_with(".level");
    !(key.ends_with("url") || key.contains("urls.") || of_channel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Message;
    use crate::publish::alert::Alerts;
    use crate::run::shift::Shift;
    use crate::signal::{Kind, Report};
    use crate::stage::Turn;
    use crate::symbol::Symbol;
    use crate::time::{Nanos, Now};

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
        let (mut reload, takers) = Reload::pair(&config, &layers, Arc::default());
        let mut shift = Shift::new(sink("a"), takers.console.unwrap());
        let report = Report { seq: 1, kind: Kind::Change, ..Report::empty(Symbol::BTC, Nanos(1)) };
        let batch = [Message::Report(report)];
        let now = Now::default();
        for name in ["b", "c"] {
            shift.write(now, &batch);
            assert!(reload.console.try_send(sink(name)).is_ok());
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
    fn all_of_a_change_is_made_or_nothing() {
        let flags = |flags: &[&str]| {
            let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
            Layers { flags, ..Layers::default() }
        };
        let alert = |alert: &str| format!("engine.levels.alert={alert}");
        let layers = flags(&[&alert("0.55")]);
        let config = Config::default();
        let (mut reload, mut takers) = Reload::pair(&config, &layers, Arc::default());
        let sink = Alerts::after(&config.alert, 7, None, None, takers.alerts.take()).unwrap();
        let Tunings::Live(inlet) = &mut takers.tunings else { panic!("nothing may change") };
        let line = "engine.levels.alert 0.5 -> 0.55: in force";
        assert_eq!(reload.read(), Ok(vec![line.to_owned()]));
        reload.layers = flags(&[&alert("0.6")]);
        assert_eq!(reload.read(), Err(BUSY.to_owned()), "the engine has not taken the first");
        let taken = |tuning: Option<Tuning>| tuning.map(|t| (t.number, t.settings.levels.alert));
        assert_eq!(taken(inlet.pop()), Some((1, 0.55)));
        for (more, why) in [
            ("engine.levels.watch=0.7", "engine: levels."),
            ("alert.channel=[{kind=\"webhook\", token_file=\"/nowhere\"}]", "channel webhook: "),
        ] {
            reload.layers = flags(&[&alert("0.6"), more]);
            let refused = reload.read().unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
            assert_eq!(taken(inlet.pop()), None);
        }
        reload.layers = flags(&[&alert("0.6")]);
        assert!(reload.read().is_ok());
        assert_eq!(taken(inlet.pop()), Some((2, 0.6)));
        assert_eq!(sink.books().count(), 0);
    }

    #[test]
    fn each_setting_that_changed_is_said_and_what_it_takes() {
        let channel = |name: &str, more: &str| {
            toml::from_str(&format!("kind = \"webhook\"\nname = {name:?}\n{more}")).unwrap()
        };
        let mut now = Config::default();
        now.alert.channel = vec![channel("a", ""), channel("b", "")];
        let mut wanted = now.clone();
        assert_eq!(changes(&now, &wanted), Ok(Vec::new()));
        let other = "url = \"https://h/hunter2\"\nlevel = \"WATCH\"";
        wanted.alert.channel = vec![channel("b", other), channel("c", other)];
        wanted.alert.silence_s = 20;
        wanted.console.heartbeats = true;
        wanted.engine.levels.alert = 0.55;
        wanted.engine.max_symbols = 77;
        wanted.run.reader_core = Some(3);
        wanted.redis.url = "redis://:hunter2@localhost".to_owned();
        assert_eq!(
            changes(&now, &wanted).unwrap(),
            [
                "alert.channel.a is gone: in force",
                "alert.channel.b.level \"ALERT\" -> \"WATCH\": in force",
                "alert.channel.b.url is another: in force",
                "alert.channel.c is new: in force",
                "alert.silence_s 10 -> 20: in force",
                "console.heartbeats false -> true: in force",
                "engine.levels.alert 0.5 -> 0.55: in force",
                "engine.max_symbols 4096 -> 77; needs a restart",
                "redis.url is another; needs a restart",
                "run.reader_core unset -> 3; needs a restart"
            ]
        );
    }
}
