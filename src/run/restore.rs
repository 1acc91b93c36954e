//! Where the last run ended, out of its journal, so that this one goes on from there.
//!
//! A sudden end loses three things, and the end of the journal gives them back: the numbers of signals
//! and episodes; the signals that Redis or people may not have got; and the windows. The last are lived again:
//!
//! ```text
//! Resume{seq, episode}   events of the last 300 s   every feed Down, GAP   Stood{level, episode}
//! ```
//!
//! is what the new run's engine takes before anything else, all but the first marked RELIVED, in silence;
//! a level is not found again but taken over as it was last said, so that its end is said too. And it
//! is what the run's journal begins with: that stays all the engine ever took, so a run that went on can be replayed and explained by
//! itself. Between the end and now nobody listened, which the last events say. What ended longer ago
//! than the windows reach leaves its numbers, signals and levels only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use crate::config::Config;
use crate::engine::{Engine, Outbox, Settings};
use crate::event::{Body, Event, FeedState, Flags};
use crate::output::Message;
use crate::publish::redis::Former;
use crate::record::Reader;
use crate::signal::{Level, Report};
use crate::symbol::Symbol;
use crate::time::{NS_PER_S, Nanos};

/// The longest window.
const WINDOWS_NS: u64 = 300 * NS_PER_S;
/// How much of the journal is looked at: its end. Bounds the time it takes.
const TAIL_BYTES: u64 = 32 << 20;

/// Signals kept for channels that may not have been told them.
const FOR_PEOPLE: usize = 10_000;

/// What earlier runs left.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Start of the last run, wall clock ms; 0 when there was none.
    pub run: u64,
    /// What the engine takes before anything else.
    pub events: Vec<Event>,
    /// What Redis or people may not have got.
    pub former: Former,
    /// What was found, for people: whole lines.
    pub words: String,
}

impl Past {
    /// An engine that has lived it.
    #[must_use]
    pub fn engine(&self, settings: &Settings) -> Engine {
        let (mut engine, mut out) = (Engine::new(settings), Outbox::new());
        for event in &self.events {
            engine.take(event, &mut out);
            out.clear();
        }
        engine
    }
}

/// What the journal of `config` says of earlier runs; nothing when it is not to be asked. `now` is the
/// steady clock.
#[must_use]
pub fn past(config: &Config, now: Nanos) -> Past {
    if !config.journal.is_on() || !config.journal.restore {
        return Past::default();
    }
    let Ok(reader) = Reader::tail(&config.journal.directory, TAIL_BYTES) else {
        return Past::default();
    };
    let for_redis = if config.redis.is_on() { config.redis.retain } else { 0 };
    let for_people = if config.alert.is_on() { FOR_PEOPLE } else { 0 };
    let keep = for_redis.max(for_people);
    let mut memory = Memory { keep, ..Memory::default() };
    memory.read(reader);
    memory.past(now)
}

/// What is remembered while a journal is read.
#[derive(Default)]
struct Memory {
    run: u64,
    numbers: (u64, u64),
    signals: VecDeque<(u64, Report)>,
    /// What was last said of each symbol.
    levels: BTreeMap<Symbol, (Level, u64)>,
    /// Most signals to keep.
    keep: usize,
    /// Events of the run being read.
    own: VecDeque<Event>,
    /// Those of the run before it, until it has written all that it began with.
    before: VecDeque<Event>,
    words: String,
}

impl Memory {
    fn read(&mut self, mut reader: Reader) {
        while let Some(message) = reader.next() {
            self.enter(reader.run());
            match message {
                Ok(Message::Event(event)) => self.event(event),
                Ok(Message::Report(report)) => self.signal(report),
                Err(damage) => {
                    // Writing to a String cannot fail.
                    let _ =
                        writeln!(self.words, "journal: {damage}; what is whole is gone on with");
                }
            }
            self.numbers = reader.numbers();
        }
    }

    /// A run that went on begins with what the one before it knew.
    fn enter(&mut self, run: u64) {
        if run != self.run {
            let own = std::mem::take(&mut self.own);
            // One that ended before it had written that much is passed over.
            self.before =
                if self.before.is_empty() { own } else { std::mem::take(&mut self.before) };
        }
        self.run = run;
    }

    fn event(&mut self, event: Event) {
        match event.body {
            // What follows is lived again with the settings of the run that goes on.
            Body::Resume { .. } | Body::Tuned { .. } => return,
            Body::Stood { level, episode } => {
                self.levels.insert(event.symbol, (level, episode));
                return;
            }
            Body::Reset => return self.own.clear(),
            _ => {}
        }
        if !event.flags.has(Flags::RELIVED) {
            self.before.clear();
        }
        let time = event.received;
        self.own.push_back(event);
        while self.own.front().is_some_and(|first| time.since(first.received) > WINDOWS_NS) {
            self.own.pop_front();
        }
    }

    fn signal(&mut self, report: Report) {
        self.levels.insert(report.symbol, (report.level, report.episode));
        if self.signals.len() >= self.keep {
            self.signals.pop_front();
        }
        if self.keep > 0 {
            self.signals.push_back((self.run, report));
        }
    }

    fn past(mut self, now: Nanos) -> Past {
        if self.run == 0 {
            return Past { words: self.words, ..Past::default() };
        }
        let (seq, episode) = self.numbers;
        let lived = if self.before.is_empty() { &self.own } else { &self.before };
        let ended = lived.back().map_or(Nanos(0), |event| event.received);
        let relived: Vec<Event> =
            if ended > now { Vec::new() } else { relive(lived, now).collect() };
        let at = relived.last().map_or(now, |event| event.received);
        let begins = relived.first().map_or(now, |event| event.received);
        let mut events = vec![Event::resume(seq, episode, begins)];
        events.extend(relived);
        let (run, of_before) = (self.run, events.len() - 1);
        let levels = std::mem::take(&mut self.levels);
        let standing = levels.into_iter().filter(|(_, (level, _))| *level > Level::None);
        events.extend(standing.map(|(symbol, (level, episode))| {
            let body = Body::Stood { level, episode };
            Event { symbol, body, flags: Flags::RELIVED, ..Event::tick(at) }
        }));
        let ago = now.since(ended) as f64 / NS_PER_S as f64;
        let _ = writeln!(
            self.words,
            "journal: goes on after signal {run}-{seq}, which ended {ago:.1} s ago; {of_before} events \
             of it lived again, {} signals kept for Redis and people",
            self.signals.len()
        );
        let former = Former { seq, signals: self.signals.into() };
        Past { run, events, former, words: self.words }
    }
}

/// What the windows still hold at `now`; then nobody is heard, and events are missing. No time passes in
/// silence after the last event: what the pause leads to, the first tick says.
fn relive(lived: &VecDeque<Event>, now: Nanos) -> impl Iterator<Item = Event> {
    let recent = move |event: &&Event| now.since(event.received) <= WINDOWS_NS;
    let relived = |event: Event| Event { flags: event.flags.with(Flags::RELIVED), ..event };
    let mut lines = BTreeSet::new();
    for event in lived.iter().filter(recent) {
        if matches!(event.body, Body::Feed { .. }) {
            lines.insert((event.venue, event.line));
        }
    }
    let ended = lived.back().map_or(now, |event| event.received);
    let silent = lines.into_iter().map(move |(venue, line)| {
        let body = Body::Feed { state: FeedState::Down, code: 0 };
        Event { body, venue, line, flags: Flags::GAP, ..Event::tick(ended) }
    });
    lived.iter().filter(recent).copied().chain(silent).map(relived)
}
