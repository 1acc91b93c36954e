//! Redis: what programs of our users read.
//!
//! The sink hands over and goes on; a thread ([`worker`]) does the talking. States are conflated to
//! the latest per symbol, at most ten a second; signals never are. While Redis does not take them
//! they wait in a bounded backlog; beyond it the oldest goes, is counted, and leaves an entry of kind
//! `gap` in the stream. Keys and fields: [`contract`]. Errors: [`trouble`].

mod address;
mod backlog;
mod contract;
pub(in crate::publish) mod link;
mod trouble;
mod trust;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError, bounded};
use serde::{Deserialize, Serialize};

pub use self::address::{Address, PASSWORD_VARIABLE, Place, Secret};
pub use self::contract::{EVENTS, FEEDS, KEPT, SIGNALS, STREAM};
pub use self::trouble::{Cure, Foreign, RARELY, TABLE, Trouble};
pub use self::trust::Trust;
pub use self::worker::Status;

use self::backlog::Entry;
use self::contract::{Bitcoin, Feed};
use self::worker::{Parcel, Worker};
use super::courier::CLOSE_DEADLINE;
use super::{Fate, Sink};
use crate::event::{Body, Event, FeedState};
use crate::ledger::{Counts, Ledger};
use crate::output::Message;
use crate::signal::Report;
use crate::stage::Turn;
use crate::symbol::Symbol;
use crate::tap::Tap;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos, Now};

/// How to reach Redis and how much to keep for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `redis://[user@]host[:port][/db]`, `rediss://..` over TLS, or `unix:///path[?db=n]`; empty for
    /// no Redis.
    pub url: String,
    /// A file, readable by its owner only, that holds the password. The environment goes before it.
    pub password_file: PathBuf,
    /// PEM certificates to believe instead of the built-in roots.
    pub ca_file: PathBuf,
    /// PEM certificates to show to a server that asks who we are.
    pub cert_file: PathBuf,
    /// A file, readable by its owner only, that holds the key of the first of them.
    pub key_file: PathBuf,
    /// Everything about one batch happens within this, ms.
    pub deadline_ms: u64,
    /// Signals kept for Redis, waiting or to be repeated. Under 800 bytes each.
    pub retain: usize,
    /// About how many signals the stream keeps.
    pub stream_length: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            deadline_ms: 250,
            retain: 100_000,
            stream_length: 100_000,
        }
    }
}

impl Settings {
    /// Whether Redis is wanted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), String> {
        if self.is_on() {
            let address = Address::parse(&self.url).map_err(|e| format!("url: {e}"))?;
            self.check_tls(address.tls)?;
        }
        if !(10..=1_000).contains(&self.deadline_ms) {
            return Err(format!("deadline_ms = {}: 10 to 1000", self.deadline_ms));
        }
        for (name, value) in [("retain", self.retain), ("stream_length", self.stream_length)] {
            if !(1..=10_000_000).contains(&value) {
                return Err(format!("{name} = {value}: 1 to 10000000"));
            }
        }
        Ok(())
    }

    /// What is set for TLS must be used, and be whole.
    fn check_tls(&self, tls: bool) -> Result<(), String> {
        let is_set = |file: &PathBuf| !file.as_os_str().is_empty();
        let files = [&self.ca_file, &self.cert_file, &self.key_file].map(is_set);
        match (tls, files) {
            (true, [_, own, key]) if own != key => {
                Err("cert_file, key_file: one is of no use without the other".into())
            }
            (true, _) | (_, [false, false, false]) => Ok(()),
            _ => Err("ca_file, cert_file, key_file: only rediss:// is over TLS".into()),
        }
    }
}

/// What earlier runs left to be done.
#[derive(Clone, Debug, Default)]
pub struct Former {
    /// Number of the last signal; this run's first has the next.
    pub seq: u64,
    /// Signals that Redis may not have got, each with its run, oldest first.
    pub signals: Vec<(u64, Report)>,
}

impl Former {
    fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let handed = Instant::now();
        self.signals.iter().map(move |&(run, report)| {
            let mono = report.taken.max(report.at);
            let now = Now { mono, wall: crate::time::Millis(mono.millis()) };
            Entry { run: Some(run), report, now, handed }
        })
    }
}

/// Parcels on their way to the thread.
const QUEUE: usize = 4096;
/// The same state goes out at most this often.
const STATE_EVERY_NS: u64 = 100 * NS_PER_MS;
/// The feeds are repeated this often, with their age.
const FEEDS_EVERY_NS: u64 = NS_PER_S;
/// Most states handed over in one turn.
const STATES_PER_TURN: usize = 256;

/// The sink.
pub struct Redis {
    outgoing: Option<Sender<Parcel>>,
    thread: JoinHandle<()>,
    status: Arc<Status>,
    closed: Option<Instant>,
    /// Signals the queue had no room for; they go before anything else.
    held: VecDeque<Entry>,
    retain: usize,
    given: u64,
    evicted: u64,
    passed_over: u64,
    states: States,
    feeds: Feeds,
    bitcoin: Market,
}

impl Redis {
    /// Starts the thread, which records into `tap` (see [`super::latency::ACKNOWLEDGED`]) how long
    /// acknowledgements take. Does not wait for Redis to be there.
    ///
    /// # Errors
    /// When the settings are wrong, or the password or a certificate cannot be had.
    pub fn open(
        settings: &Settings,
        run: u64,
        tap: Option<Tap>,
        former: &Former,
    ) -> Result<Self, String> {
        settings.check()?;
        let address = Address::parse(&settings.url)?;
        let password = Secret::find(&settings.password_file)?;
        Self::follow(settings, address, password, run, tap, former).map_err(|e| e.to_string())
    }

    /// The same with the password in hand, where no run was before.
    ///
    /// # Errors
    /// When a certificate cannot be had, or the system gives no thread.
    pub fn start(
        settings: &Settings,
        address: Address,
        password: Option<Secret>,
        run: u64,
        tap: Option<Tap>,
    ) -> io::Result<Self> {
        Self::follow(settings, address, password, run, tap, &Former::default())
    }

    /// The same where `former` runs left something.
    ///
    /// # Errors
    /// When a certificate cannot be had, or the system gives no thread.
    pub fn follow(
        settings: &Settings,
        address: Address,
        password: Option<Secret>,
        run: u64,
        tap: Option<Tap>,
        former: &Former,
    ) -> io::Result<Self> {
        let (outgoing, incoming) = bounded(QUEUE);
        let status = Arc::new(Status::default());
        let seen = Arc::clone(&status);
        let trust = Trust::find(settings, &address).map_err(io::Error::other)?;
        let worker = Worker::new(incoming, settings, (address, trust), password, run, seen)
            .measured(tap)
            .after(former.entries(), former.seq + 1);
        let thread = Builder::new().name("redis".into()).spawn(move || worker.run())?;
        Ok(Self {
            outgoing: Some(outgoing),
            thread,
            status,
            closed: None,
            held: VecDeque::new(),
            retain: settings.retain,
            given: 0,
            evicted: 0,
            passed_over: 0,
            states: States::default(),
            feeds: Feeds::default(),
            bitcoin: Market::default(),
        })
    }

    /// How the thread is doing.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Hands a parcel over; `false` when there is no room.
    fn offer(&self, parcel: Parcel) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| match outgoing.try_send(parcel) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        })
    }

    fn signal(&mut self, report: &Report, now: Now) {
        self.given += 1;
        let entry = Entry { run: None, report: *report, now, handed: Instant::now() };
        if self.held.is_empty() && self.offer(Parcel::Signal(entry)) {
            return;
        }
        if self.held.len() >= self.retain {
            self.held.pop_front();
            self.evicted += 1;
        }
        self.held.push_back(entry);
    }

    fn event(&mut self, event: &Event, now: Now) {
        if self.feeds.hear(event) {
            self.send_feeds(now);
        }
        self.bitcoin.hear(event);
        if matches!(event.body, Body::Liquidation { .. })
            && !self.offer(Parcel::Liquidation(*event, now))
        {
            self.passed_over += 1;
        }
    }

    fn release(&mut self) {
        while let Some(entry) = self.held.front() {
            if !self.offer(Parcel::Signal(*entry)) {
                return;
            }
            self.held.pop_front();
        }
    }

    fn send_states(&mut self, now: Now) -> bool {
        if let (Some(bitcoin), true) = (self.bitcoin.due(now), self.held.is_empty()) {
            self.offer(Parcel::Bitcoin(bitcoin, now));
        }
        for _ in 0..STATES_PER_TURN {
            let Some(report) = self.states.due(now) else { return false };
            if !self.offer(Parcel::State(report, now)) {
                return true;
            }
            self.states.sent(report.symbol, now);
        }
        true
    }

    fn send_feeds(&mut self, now: Now) {
        self.feeds.sent = now.mono;
        for i in 0..self.feeds.rows.len() {
            let Some(feed) = self.feeds.rows.get(i).copied() else { return };
            let sent = self.offer(Parcel::Feed(feed, now));
            if let Some(feed) = self.feeds.rows.get_mut(i) {
                feed.changed &= !sent;
            }
        }
    }
}

impl Sink for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn write(&mut self, now: Now, batch: &[Message]) {
        for message in batch {
            match message {
                Message::Report(report) if report.is_signal() => self.signal(report, now),
                Message::Report(report) => {
                    self.bitcoin.price = report.btc_price.or(self.bitcoin.price);
                    self.states.put(report);
                }
                Message::Event(event) => self.event(event, now),
            }
        }
    }

    fn turn(&mut self, now: Now) -> Turn {
        if let Some(closed) = self.closed {
            self.release();
            let late = closed.elapsed() >= CLOSE_DEADLINE;
            if self.held.is_empty() || late {
                self.outgoing = None;
            }
            return if self.thread.is_finished() || late { Turn::Done } else { Turn::Idle };
        }
        self.release();
        if now.mono.since(self.feeds.sent) >= FEEDS_EVERY_NS {
            self.send_feeds(now);
        }
        if self.send_states(now) { Turn::Worked } else { Turn::Idle }
    }

    fn close(&mut self, now: Now) {
        self.states.hurry();
        self.send_states(now);
        self.closed = Some(Instant::now());
    }

    fn fate(&self) -> Option<Fate> {
        let seen = self.status.fate();
        let evicted = seen.evicted + self.evicted;
        let retained = if self.thread.is_finished() {
            seen.retained + self.held.len() as u64
        } else {
            // What is between here and the thread cannot be counted while it runs.
            self.given - evicted - seen.published
        };
        Some(Fate { published: seen.published, retained, evicted })
    }

    fn count(&self, counts: &mut Counts) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        counts.add("redis_attempts", read(&self.status.attempts));
        counts.add("redis_refused", read(&self.status.refused));
        counts.add("redis_passed_over", self.passed_over);
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count(counts));
    }
}

/// The latest state of every symbol, and those that are due.
#[derive(Default)]
struct States {
    rows: BTreeMap<Symbol, Row>,
    /// Symbols with a state that was not handed over, oldest news first.
    news: VecDeque<Symbol>,
}

struct Row {
    report: Report,
    sent: Option<Nanos>,
    news: bool,
}

impl States {
    fn put(&mut self, report: &Report) {
        let fresh = Row { report: *report, sent: None, news: false };
        let row = self.rows.entry(report.symbol).or_insert(fresh);
        row.report = *report;
        if !row.news {
            row.news = true;
            self.news.push_back(report.symbol);
        }
    }

    /// The next state whose symbol was not sent within the last tenth of a second. Those in front
    /// became news first and were sent earlier, so the first decides.
    fn due(&self, now: Now) -> Option<Report> {
        let row = self.rows.get(self.news.front()?)?;
        let rested = row.sent.is_none_or(|sent| now.mono.since(sent) >= STATE_EVERY_NS);
        rested.then_some(row.report)
    }

    fn sent(&mut self, symbol: Symbol, now: Now) {
        self.news.pop_front();
        if let Some(row) = self.rows.get_mut(&symbol) {
            row.news = false;
            row.sent = Some(now.mono);
        }
    }

    /// At the end nothing need rest.
    fn hurry(&mut self) {
        self.rows.values_mut().for_each(|row| row.sent = None);
    }
}

/// Most lines of venues that are followed.
const FEED_ROWS: usize = 64;

/// What is known about the feeds.
#[derive(Default)]
struct Feeds {
    rows: Vec<Feed>,
    sent: Nanos,
}

impl Feeds {
    /// `true` when the event is news about a feed.
    fn hear(&mut self, event: &Event) -> bool {
        let place = |feed: &Feed| feed.venue == event.venue && feed.line == event.line;
        let row = self.rows.iter().position(place);
        match (event.body, row.and_then(|i| self.rows.get_mut(i))) {
            (
                Body::Tick
                | Body::Reset
                | Body::Resume { .. }
                | Body::Stood { .. }
                | Body::Tuned { .. },
                _,
            ) => false,
            (Body::Feed { state, code }, Some(row)) => row.change(state, code, event.received),
            (Body::Feed { state, code }, None) => self.add(event, state, code),
            (_, Some(row)) => {
                row.heard = Some(event.received);
                row.completeness = event.completeness;
                false
            }
            (_, None) => false,
        }
    }

    fn add(&mut self, event: &Event, state: FeedState, code: u16) -> bool {
        let room = self.rows.len() < FEED_ROWS;
        if room {
            self.rows.push(Feed {
                venue: event.venue,
                line: event.line,
                state,
                code,
                completeness: event.completeness,
                since: event.received,
                heard: None,
                changed: true,
            });
        }
        room
    }
}

const _: () = assert!(size_of::<Entry>() < 800);

/// Seconds over which trades are summed.
const VOLUME_SECONDS: usize = 60;

/// The reference price and how much is traded.
struct Market {
    price: Option<f64>,
    sent: Nanos,
    /// Micro-dollars per second, and which second the row holds.
    seconds: [(u64, u64); VOLUME_SECONDS],
    heard: bool,
}

impl Default for Market {
    fn default() -> Self {
        let seconds = [(0, 0); VOLUME_SECONDS];
        Self { price: None, sent: Nanos::default(), seconds, heard: false }
    }
}

impl Market {
    fn hear(&mut self, event: &Event) {
        let Body::Trade { price, usd, .. } = event.body else { return };
        if event.symbol != Symbol::BTC {
            return;
        }
        self.price = Some(price.get());
        let Some(usd) = usd else { return };
        self.heard = true;
        let second = event.received.0 / NS_PER_S;
        let row = usize::try_from(second % VOLUME_SECONDS as u64).unwrap_or(0);
        if let Some((held, sum)) = self.seconds.get_mut(row) {
            if *held != second {
                (*held, *sum) = (second, 0);
            }
            *sum = sum.saturating_add(usd.micros());
        }
    }

    fn due(&mut self, now: Now) -> Option<Bitcoin> {
        let price = self.price?;
        if now.mono.since(self.sent) < STATE_EVERY_NS {
            return None;
        }
        self.sent = now.mono;
        Some(Bitcoin { price, volume: self.heard.then(|| self.volume(now)) })
    }

    #[expect(clippy::cast_precision_loss, reason = "micro-dollars of a minute, for display")]
    fn volume(&self, now: Now) -> f64 {
        let second = now.mono.0 / NS_PER_S;
        let recent = |held: u64| second.saturating_sub(held) < VOLUME_SECONDS as u64;
        let sum: u64 =
            self.seconds.iter().filter(|(held, _)| recent(*held)).map(|(_, sum)| sum).sum();
        sum as f64 / crate::event::MICROS_PER_USD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Venue;

    fn state(symbol: Symbol, probability: f64) -> Report {
        Report { probability, ..Report::empty(symbol, Nanos(0)) }
    }

    #[test]
    fn states_are_conflated_and_the_latest_is_never_lost() {
        let mut states = States::default();
        let at = Now::at_millis;
        states.put(&state(Symbol::BTC, 0.1));
        states.put(&state(Symbol::BTC, 0.2));
        assert_eq!(states.due(at(1_000)).map(|r| r.probability), Some(0.2));
        states.sent(Symbol::BTC, at(1_000));
        assert_eq!(states.due(at(1_000)), None);
        states.put(&state(Symbol::BTC, 0.3));
        assert_eq!(states.due(at(1_099)), None, "at most ten a second");
        assert_eq!(states.due(at(1_100)).map(|r| r.probability), Some(0.3));
    }

    #[test]
    fn feeds_are_news_when_they_change_and_age_when_they_do_not() {
        let mut feeds = Feeds::default();
        let mut event = Event::tick(Nanos(5));
        event.venue = Venue::Okx;
        assert!(!feeds.hear(&event), "a tick says nothing about a feed");
        event.body = Body::Feed { state: FeedState::Live, code: 0 };
        assert!(feeds.hear(&event));
        feeds.rows[0].changed = false;
        assert!(!feeds.hear(&event), "the same state again is no news");
        event.body = Body::Liquidation { side: None, price: None, usd: None };
        event.received = Nanos(9);
        assert!(!feeds.hear(&event));
        assert_eq!((feeds.rows[0].since, feeds.rows[0].heard), (Nanos(5), Some(Nanos(9))));
    }
}
