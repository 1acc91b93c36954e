//! What a service manager is told: `sd_notify` of systemd, over the socket in `NOTIFY_SOCKET`.
//!
//! * `READY=1` when the first line that liquidations come on is live. Trades alone warn of nothing, so
//!   they do not count; and all lines are not waited for, since one venue that is down must not keep the
//!   others from being heard.
//! * `STATUS=` how many lines are live and how many signals there were, on change, at most once a second.
//! * `WATCHDOG=1` every half of `WATCHDOG_USEC`, if every thread of the pipeline has gone round since the
//!   last one. It is no timer: one thread that hangs in a turn is enough to silence it, and we are
//!   started anew.
//! * `STOPPING=1` when the end has been asked for.
//!
//! The attending thread says all this, never a hot one. What could not be said is said again. The crate
//! `sd-notify` opens a socket for every message, may wait on it and knows no abstract address.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::clock::Clock;
use super::crew::Passes;
use crate::event::Venue;
use crate::ingest::source::FeedChange;
use crate::time::{NS_PER_S, Nanos};

/// The status is told at most this often.
const STATUS_EVERY: u64 = NS_PER_S;

/// Tells the service manager.
#[derive(Debug)]
pub struct Herald {
    socket: UnixDatagram,
    manager: SocketAddr,
    clock: Clock,
    mind: Mind,
}

impl Herald {
    /// Of the environment; `None` where no manager listens.
    ///
    /// # Errors
    /// In words: that cannot be the address of a socket.
    pub fn find(clock: Clock) -> Result<Option<Self>, String> {
        let Some(place) = std::env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty())
        else {
            return Ok(None);
        };
        let number = |name: &str| Some(std::env::var(name).ok()?.parse::<u64>().ok());
        // A number of another process means that its beats are wanted, not ours.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == Some(std::process::id().into()));
        let watchdog_us = number("WATCHDOG_USEC").flatten().filter(|_| ours);
        let named = |e: io::Error| format!("NOTIFY_SOCKET {}: {e}", place.display());
        let (socket, manager) = open(&place).map_err(named)?;
        let mind = Mind::new(watchdog_us, clock.mono());
        Ok(Some(Self { socket, manager, clock, mind }))
    }

    /// These are the threads that must go round.
    pub fn watch(&mut self, threads: Vec<Passes>) {
        self.mind.watch(threads);
    }

    /// A line changed.
    pub fn hear(&mut self, change: &FeedChange) {
        self.mind.hear(change);
    }

    /// Says what is due; `signals` is how many there were.
    pub fn turn(&mut self, signals: u64, stopping: bool) {
        let Self { socket, manager, clock, mind } = self;
        // Not connected: a manager that was started anew is found where the old one was.
        let say = |text: &str| socket.send_to_addr(text.as_bytes(), manager).is_ok();
        mind.turn(clock.mono(), signals, stopping, say);
    }
}

/// A socket that never waits, and where the manager listens: `@name` is an abstract address.
fn open(place: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

/// Decides what is due. It is told the time.
#[derive(Debug)]
struct Mind {
    /// Each thread, and how often it had gone round at the last beat.
    threads: Vec<(Passes, Option<u64>)>,
    beat_every: Option<u64>,
    beaten: Nanos,
    /// Every line, and whether it is live.
    lines: BTreeMap<(Venue, u8), bool>,
    audible: bool,
    is_ready: bool,
    is_stopping: bool,
    status: String,
    status_at: Option<Nanos>,
}

impl Mind {
    fn new(watchdog_us: Option<u64>, now: Nanos) -> Self {
        let half = |us: u64| us.saturating_mul(1_000 / 2);
        Self {
            threads: Vec::new(),
            beat_every: watchdog_us.filter(|us| *us > 0).map(half),
            beaten: now,
            lines: BTreeMap::new(),
            audible: false,
            is_ready: false,
            is_stopping: false,
            status: String::new(),
            status_at: None,
        }
    }

    fn watch(&mut self, threads: Vec<Passes>) {
        self.threads = threads.into_iter().map(|passes| (passes, Some(0))).collect();
    }

    fn hear(&mut self, change: &FeedChange) {
        let hears = change.state.hears();
        self.lines.insert((change.venue, change.line), hears);
        self.audible |= hears && change.rare;
    }

    /// Puts what is due into one message for `say`, which tells whether it was taken.
    fn turn(&mut self, now: Nanos, signals: u64, stopping: bool, say: impl FnOnce(&str) -> bool) {
        let ready = self.audible && !self.is_ready;
        let stops = stopping && !self.is_stopping;
        let beats = self.beat_is_due(now);
        let status = self.status_due(now, signals);
        let mut text = String::new();
        for (due, line) in [(ready, "READY=1"), (stops, "STOPPING=1"), (beats, "WATCHDOG=1")] {
            if due {
                text += line;
                text.push('\n');
            }
        }
        if let Some(status) = &status {
            text += &format!("STATUS={status}\n");
        }
        if text.is_empty() || !say(&text) {
            return;
        }
        self.is_ready |= ready;
        self.is_stopping |= stops;
        if beats {
            self.beaten = now;
            self.threads.iter_mut().for_each(|(passes, seen)| *seen = passes.count());
        }
        if let Some(status) = status {
            (self.status, self.status_at) = (status, Some(now));
        }
    }

    /// A thread that has ended in order need not go round any more.
    fn beat_is_due(&self, now: Nanos) -> bool {
        let goes_round = |(passes, seen): &(Passes, Option<u64>)| match passes.count() {
            None => true,
            count => count != *seen,
        };
        self.beat_every.is_some_and(|every| now.since(self.beaten) >= every)
            && self.threads.iter().all(goes_round)
    }

    fn status_due(&self, now: Nanos, signals: u64) -> Option<String> {
        if self.status_at.is_some_and(|at| now.since(at) < STATUS_EVERY) {
            return None;
        }
        let live = self.lines.values().filter(|live| **live).count();
        let status = format!("{live} of {} feeds live, {signals} signals", self.lines.len());
        (status != self.status).then_some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FeedState;

    const S: u64 = NS_PER_S;

    fn change(line: u8, rare: bool, state: FeedState) -> FeedChange {
        let (venue, route, why) = (Venue::Okx, "public", String::new());
        FeedChange { venue, line, route, rare, state, code: 0, why }
    }

    /// What it says at `s` seconds.
    fn says(mind: &mut Mind, s: f64, signals: u64, stopping: bool) -> String {
        let mut said = String::new();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let now = Nanos((s * S as f64) as u64);
        mind.turn(now, signals, stopping, |text| {
            said = text.to_owned();
            true
        });
        said
    }

    #[test]
    fn it_is_ready_once_when_liquidations_can_be_heard() {
        let mut mind = Mind::new(None, Nanos(0));
        mind.hear(&change(0, true, FeedState::Connecting));
        mind.hear(&change(1, false, FeedState::Live));
        assert_eq!(says(&mut mind, 0.0, 0, false), "STATUS=1 of 2 feeds live, 0 signals\n");
        mind.hear(&change(0, true, FeedState::Live));
        assert_eq!(says(&mut mind, 0.1, 0, false), "READY=1\n", "the status must wait");
        assert_eq!(says(&mut mind, 0.9, 3, false), "");
        assert_eq!(says(&mut mind, 1.0, 3, false), "STATUS=2 of 2 feeds live, 3 signals\n");
        mind.hear(&change(0, true, FeedState::Down));
        mind.hear(&change(0, true, FeedState::Live));
        assert_eq!(says(&mut mind, 9.0, 3, false), "", "neither ready twice nor news");
        assert_eq!(says(&mut mind, 9.1, 3, true), "STOPPING=1\n");
        assert_eq!(says(&mut mind, 9.2, 3, true), "");
    }

    #[test]
    fn one_thread_that_hangs_silences_the_watchdog() {
        let (engine, publish) = (Passes::default(), Passes::default());
        let mut mind = Mind::new(Some(4_000_000), Nanos(0));
        mind.watch(vec![engine.clone(), publish.clone()]);
        says(&mut mind, 0.0, 0, false);
        let mut beats = |s, rounds: [u64; 2]| {
            engine.set(rounds[0]);
            publish.set(rounds[1]);
            says(&mut mind, s, 0, false) == "WATCHDOG=1\n"
        };
        assert!(!beats(1.9, [5, 5]), "not yet");
        assert!(beats(2.0, [5, 5]), "half of the time has passed");
        assert!(!beats(3.9, [6, 6]));
        assert!(!beats(4.0, [5, 6]), "the engine hangs");
        assert!(!beats(60.0, [5, 900]), "and hangs");
        assert!(beats(60.1, [6, 900]), "it went on");
        engine.end();
        assert!(says(&mut mind, 63.0, 0, false).is_empty(), "the other one hangs");
        publish.end();
        assert_eq!(says(&mut mind, 63.1, 0, false), "WATCHDOG=1\n", "both have ended in order");
    }

    #[test]
    fn what_was_not_taken_is_said_again() {
        let mut mind = Mind::new(Some(2_000_000), Nanos(0));
        let thread = Passes::default();
        thread.set(1);
        mind.watch(vec![thread]);
        mind.hear(&change(0, true, FeedState::Live));
        let all = "READY=1\nSTOPPING=1\nWATCHDOG=1\nSTATUS=1 of 1 feeds live, 0 signals\n";
        for taken in [false, true] {
            mind.turn(Nanos(S), 0, true, |text| {
                assert_eq!(text, all);
                taken
            });
        }
        mind.turn(Nanos(S), 0, true, |text| panic!("{text}"));
    }
}
