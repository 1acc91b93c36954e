//! The thread that talks to Redis.
//!
//! It always takes what it is handed, and sends when it can: signals first, in one transaction per
//! batch, then whatever state is newest. One overall deadline per batch; after any transport error
//! the connection is dropped and opened again with growing pauses.
//!
//! # Exactly once
//!
//! A stream entry's id is `<run>-<seq>`, so Redis itself refuses a repeat. A batch is `MULTI .. EXEC`:
//! either all of its signals get in or none, so a later one never bars the way for an earlier one.
//! When it is not known whether a batch got in (the connection died), the stream's last id says it:
//! sending goes on after it. A server that forgot is sent what is still remembered; numbers that
//! are no longer remembered become one entry of kind `gap`.
//!
//! The same holds across runs. What the journal remembers of earlier runs is offered first, under the
//! ids it had then; the stream's last id says which of it is missing. It goes to the stream alone: it
//! is no news to those who listen.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use redis::Value;

use super::address::{Address, Place, Secret};
use super::backlog::{Backlog, Entry};
use super::contract::{self, Bitcoin, Feed, KEPT, STREAM};
use super::link::{Dialer, Link, Packet};
use super::trouble::{Cure, RARELY, Trouble};
use super::trust::Trust;
use crate::event::{Event, Venue};
use crate::publish::Fate;
use crate::publish::courier::CLOSE_DEADLINE;
use crate::publish::json;
use crate::signal::Report;
use crate::symbol::Symbol;
use crate::tap::Tap;
use crate::time::Now;

/// What the sink hands over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parcel {
    Signal(Entry),
    State(Report, Now),
    Liquidation(Event, Now),
    Feed(Feed, Now),
    Bitcoin(Bitcoin, Now),
}

/// What the outside can see of the thread.
#[derive(Debug, Default)]
pub struct Status {
    /// Whether the last exchange went well.
    pub up: AtomicBool,
    /// Connections tried.
    pub attempts: AtomicU64,
    /// Batches acknowledged.
    pub batches: AtomicU64,
    /// Replies that were errors.
    pub refused: AtomicU64,
    words: Mutex<String>,
    /// Published, retained, evicted.
    fate: [AtomicU64; 3],
}

impl Status {
    /// What is the matter, in words; empty while all is well.
    #[must_use]
    pub fn words(&self) -> String {
        self.words.lock().map(|words| words.clone()).unwrap_or_default()
    }

    /// What became of the signals the thread has seen, as of its last turn.
    #[must_use]
    pub fn fate(&self) -> Fate {
        let [published, retained, evicted] =
            [0, 1, 2].map(|i| self.fate[i].load(Ordering::Acquire));
        Fate { published, retained, evicted }
    }
}

/// Most signals in one batch.
const SIGNALS_PER_BATCH: usize = 64;
/// Most states in one batch.
const STATES_PER_BATCH: usize = 128;
/// Pauses between attempts grow from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(200)];
/// Measured times go to the log this often.
const OFFER_EVERY: Duration = Duration::from_secs(1);
/// The thread looks up at least this often.
const IDLE: Duration = Duration::from_millis(50);

/// What is newest and not sent yet. Bounded by the number of symbols and feeds.
#[derive(Default)]
struct Fresh {
    states: BTreeMap<Symbol, (Report, Now)>,
    feeds: BTreeMap<(Venue, u8), (Feed, Now)>,
    bitcoin: Option<(Bitcoin, Now)>,
    liquidations: VecDeque<String>,
    spare: Vec<String>,
}

impl Fresh {
    fn is_empty(&self) -> bool {
        self.states.is_empty()
            && self.feeds.is_empty()
            && self.bitcoin.is_none()
            && self.liquidations.is_empty()
    }

    fn feed(&mut self, mut feed: Feed, now: Now) {
        let key = (feed.venue, feed.line);
        // News that was not told yet stays news.
        feed.changed |= self.feeds.get(&key).is_some_and(|(earlier, _)| earlier.changed);
        self.feeds.insert(key, (feed, now));
    }

    fn liquidation(&mut self, event: &Event, now: Now) {
        if self.liquidations.len() >= KEPT {
            self.spare.extend(self.liquidations.pop_front());
        }
        let mut text = self.spare.pop().unwrap_or_default();
        text.clear();
        if json::liquidation(event, now, &mut text) {
            self.liquidations.push_back(text);
        }
    }

    /// Moves a batch's worth of it into a packet.
    fn pack(&mut self, packet: &mut Packet, text: &mut String) {
        if let Some((bitcoin, now)) = self.bitcoin.take() {
            contract::bitcoin(packet, &bitcoin, now, text);
        }
        while let Some((_, (feed, now))) = self.feeds.pop_first() {
            contract::feed(packet, &feed, now, text);
        }
        for _ in 0..STATES_PER_BATCH {
            let Some((symbol, (report, now))) = self.states.pop_first() else { break };
            contract::state(packet, &report, now, text);
            if symbol == Symbol::MARKET {
                contract::regime(packet, &report, now, text);
            }
        }
        if !self.liquidations.is_empty() {
            contract::liquidations(packet, self.liquidations.iter().map(String::as_str));
            self.spare.extend(self.liquidations.drain(..));
        }
    }
}

/// Why a turn did not send everything.
enum Stop {
    /// The connection is of no use any more.
    Lost(io::Error),
    /// The server said no.
    Refused(Trouble),
    /// The stream is not where it was thought to be.
    Moved,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

pub(super) struct Worker {
    incoming: Receiver<Parcel>,
    address: Address,
    password: Option<Secret>,
    deadline: Duration,
    maxlen: usize,
    run: u64,
    /// Number of this run's first signal.
    first: u64,
    /// Id of the stream's last entry, as far as known.
    last: (u64, u64),
    backlog: Backlog,
    fresh: Fresh,
    dialer: Dialer,
    trust: Option<Trust>,
    link: Option<Link>,
    retry_at: Instant,
    pause: Duration,
    batch: usize,
    packet: Packet,
    /// Which results of the transaction are those of the stream.
    adds: Vec<usize>,
    text: String,
    down: bool,
    mentioned: Option<Instant>,
    tap: Option<Tap>,
    offered: Instant,
    status: Arc<Status>,
}

impl Worker {
    pub(super) fn new(
        incoming: Receiver<Parcel>,
        settings: &super::Settings,
        (address, trust): (Address, Option<Trust>),
        password: Option<Secret>,
        run: u64,
        status: Arc<Status>,
    ) -> Self {
        Self {
            incoming,
            dialer: Dialer::new(address.place.clone()),
            trust,
            address,
            password,
            deadline: Duration::from_millis(settings.deadline_ms),
            maxlen: settings.stream_length,
            run,
            first: 1,
            last: (0, 0),
            backlog: Backlog::new(settings.retain),
            fresh: Fresh::default(),
            link: None,
            retry_at: Instant::now(),
            pause: PAUSES[0],
            batch: SIGNALS_PER_BATCH,
            packet: Packet::default(),
            adds: Vec::with_capacity(2 * SIGNALS_PER_BATCH),
            down: false,
            mentioned: None,
            tap: None,
            offered: Instant::now(),
            text: String::with_capacity(4096),
            status,
        }
    }

    /// Records into `tap` how long acknowledgements take.
    pub(super) fn measured(mut self, tap: Option<Tap>) -> Self {
        self.tap = tap;
        self
    }

    /// Offers what earlier runs made; this one's first signal has number `first`.
    pub(super) fn after(mut self, former: impl Iterator<Item = Entry>, first: u64) -> Self {
        former.for_each(|entry| self.backlog.push(entry));
        self.first = first;
        self
    }

    pub(super) fn run(mut self) {
        while self.gather() {
            self.turn();
        }
        let end = Instant::now() + CLOSE_DEADLINE - self.deadline;
        while Instant::now() < end && !(self.backlog.is_drained() && self.fresh.is_empty()) {
            let pause = self.retry_at.saturating_duration_since(Instant::now());
            std::thread::sleep(pause.min(IDLE));
            self.turn();
        }
        self.note_fate();
    }

    /// Takes what is there, waiting for the first of it a moment when there is nothing to send.
    /// `false` when nothing will come any more.
    fn gather(&mut self) -> bool {
        match self.incoming.recv_timeout(self.patience()) {
            Ok(parcel) => self.take(parcel),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        while let Ok(parcel) = self.incoming.try_recv() {
            self.take(parcel);
        }
        true
    }

    fn patience(&self) -> Duration {
        if self.backlog.is_drained() && self.fresh.is_empty() {
            return IDLE;
        }
        self.retry_at.saturating_duration_since(Instant::now()).min(IDLE)
    }

    fn take(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Signal(entry) => self.backlog.push(entry),
            Parcel::State(report, now) => {
                self.fresh.states.insert(report.symbol, (report, now));
            }
            Parcel::Liquidation(event, now) => self.fresh.liquidation(&event, now),
            Parcel::Feed(feed, now) => self.fresh.feed(feed, now),
            Parcel::Bitcoin(bitcoin, now) => self.fresh.bitcoin = Some((bitcoin, now)),
        }
    }

    fn turn(&mut self) {
        if Instant::now() >= self.retry_at {
            match self.advance() {
                Ok(()) => {}
                Err(Stop::Lost(error)) => {
                    let host = self.address.place.host().into_owned();
                    self.lose(&Trouble::of_transport(&error, &host));
                }
                Err(Stop::Refused(trouble)) => self.lose(&trouble),
                Err(Stop::Moved) => {
                    self.link = None;
                    self.retry_at = Instant::now() + PAUSES[0];
                }
            }
        }
        self.note_fate();
    }

    fn note_fate(&self) {
        let Fate { published, retained, evicted } = self.backlog.fate();
        for (told, n) in self.status.fate.iter().zip([published, retained, evicted]) {
            told.store(n, Ordering::Release);
        }
    }

    /// One step under one deadline: connect, or send one batch.
    fn advance(&mut self) -> Result<(), Stop> {
        let deadline = Instant::now() + self.deadline;
        let Some(mut link) = self.link.take() else {
            self.status.attempts.fetch_add(1, Ordering::Relaxed);
            let mut link = self.dialer.connect(self.trust.as_ref(), deadline)?;
            self.greet(&mut link, deadline).map_err(|stop| self.puzzled(stop))?;
            self.link = Some(link);
            return Ok(());
        };
        if !self.backlog.is_drained() {
            self.send_signals(&mut link, deadline)?;
            self.recover();
        } else if !self.fresh.is_empty() {
            self.send_fresh(&mut link, deadline)?;
        }
        self.link = Some(link);
        Ok(())
    }

    /// A server that wants TLS hangs up on whoever does not begin with it.
    fn puzzled(&self, stop: Stop) -> Stop {
        let is_bare = !self.address.tls && matches!(self.address.place, Place::Tcp(..));
        match stop {
            Stop::Lost(e) if is_bare && e.kind() == io::ErrorKind::ConnectionReset => {
                io::Error::other("it hangs up at our first word; rediss:// is with TLS").into()
            }
            stop => stop,
        }
    }

    /// Says who we are and asks where the stream stands.
    fn greet(&mut self, link: &mut Link, deadline: Instant) -> Result<(), Stop> {
        let packet = &mut self.packet;
        packet.clear();
        if let Some(password) = &self.password {
            packet.put("AUTH", |c| {
                if let Some(user) = &self.address.user {
                    c.arg(user);
                }
                c.arg(password.reveal());
            });
        }
        if self.address.db > 0 {
            packet.put("SELECT", |c| {
                c.arg(self.address.db);
            });
        }
        packet.put("XINFO", |c| {
            c.arg("STREAM").arg(STREAM);
        });
        let last = packet.len() - 1;
        let mut answer = Ok(None);
        link.exchange(packet, deadline, |i, reply| {
            if answer.is_ok() {
                answer = if i == last { last_id(reply) } else { refusal(&reply) };
            }
        })?;
        let last = answer.map_err(Stop::Refused)?;
        self.resume(last.unwrap_or((0, 0)));
        Ok(())
    }

    /// Goes on after the last id of the stream.
    fn resume(&mut self, last @ (run, _): (u64, u64)) {
        if run > self.run {
            // Somebody with a later clock wrote here, and ids only grow: go on above theirs. What
            // this run got in before stays acknowledged.
            self.run = run + 1;
            let waited = self.backlog.forget_former();
            if waited > 0 {
                eprintln!("redis: a later run wrote; {waited} signals of runs before stay out");
            }
            let told = self.backlog.told().max(self.first - 1);
            let first = self.backlog.waiting().next().map(|entry| entry.report.seq - 1);
            self.last = (self.run, first.map_or(told, |first| first.min(told)));
            return;
        }
        self.backlog.resume_after(last, self.run);
        self.last = last;
    }

    /// The number that should follow `last` where an entry has id `id`.
    fn due(&self, last: (u64, u64), id: (u64, u64)) -> u64 {
        match () {
            () if last.0 == id.0 => last.1 + 1,
            () if id.0 == self.run => self.first,
            // Where a run of before began is not known.
            () => id.1,
        }
    }

    fn send_signals(&mut self, link: &mut Link, deadline: Instant) -> Result<(), Stop> {
        let mut packet = std::mem::take(&mut self.packet);
        let (last, sent) = self.pack_signals(&mut packet);
        let result = self.send_packed(link, deadline, &packet);
        self.packet = packet;
        result?;
        self.measure(sent);
        self.backlog.acknowledge(sent);
        self.last = last;
        self.batch = (self.batch * 2).min(SIGNALS_PER_BATCH);
        self.status.batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Packs a batch of signals; the last id among them, and how many they are.
    fn pack_signals(&mut self, packet: &mut Packet) -> ((u64, u64), usize) {
        packet.clear();
        packet.put("MULTI", |_| {});
        self.adds.clear();
        let (mut last, mut sent) = (self.last, 0);
        for entry in self.backlog.waiting().take(self.batch) {
            let (run, seq) = entry.id(self.run);
            let due = self.due(last, (run, seq));
            if seq > due {
                self.adds.push(packet.len() - 1);
                contract::gap(packet, due, (run, seq - 1), self.maxlen);
            }
            self.adds.push(packet.len() - 1);
            let news = entry.run.is_none() && seq > self.backlog.told();
            contract::signal(packet, entry, run, self.maxlen, news, &mut self.text);
            last = (run, seq);
            sent += 1;
        }
        contract::renew_stream(packet);
        packet.put("EXEC", |_| {});
        (last, sent)
    }

    fn send_packed(
        &mut self,
        link: &mut Link,
        deadline: Instant,
        packet: &Packet,
    ) -> Result<(), Stop> {
        let mut verdict = Verdict::default();
        let last = packet.len() - 1;
        link.exchange(packet, deadline, |i, reply| verdict.hear(reply, i == last))?;
        verdict.judge(&self.adds)?;
        if let Some(trouble) = verdict.trouble {
            self.mention(&trouble);
        }
        Ok(())
    }

    /// Repeats are left out: they were acknowledged before.
    fn measure(&mut self, sent: usize) {
        let Some(tap) = &mut self.tap else { return };
        let now = Instant::now();
        let told = self.backlog.told();
        for entry in self
            .backlog
            .waiting()
            .take(sent)
            .filter(|entry| entry.run.is_none() && entry.report.seq > told)
        {
            let waited = now.saturating_duration_since(entry.handed).as_nanos();
            tap.record(u64::try_from(waited).unwrap_or(u64::MAX));
        }
        if now.saturating_duration_since(self.offered) >= OFFER_EVERY {
            self.offered = now;
            tap.offer();
        }
    }

    fn send_fresh(&mut self, link: &mut Link, deadline: Instant) -> Result<(), Stop> {
        self.packet.clear();
        self.fresh.pack(&mut self.packet, &mut self.text);
        let mut trouble = None;
        link.exchange(&self.packet, deadline, |_, reply| {
            if let Err(e) = refusal(&reply) {
                trouble.get_or_insert(e);
            }
        })?;
        match trouble {
            // What was in the packet is old by the time the server recovers; newer state follows.
            Some(trouble) if trouble.cure == Cure::Wait => return Err(Stop::Refused(trouble)),
            Some(trouble) => self.mention(&trouble),
            None => self.recover(),
        }
        self.status.batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The link is gone: says why, and waits a while before the next attempt.
    fn lose(&mut self, trouble: &Trouble) {
        self.link = None;
        self.batch = (self.batch / 2).max(1);
        let pause = if trouble.cure == Cure::Change { RARELY } else { self.pause };
        self.retry_at = Instant::now() + pause;
        self.pause = (self.pause * 2).min(PAUSES[1]);
        self.say(trouble);
    }

    /// Says what is wrong, once.
    fn say(&mut self, trouble: &Trouble) {
        self.down = true;
        self.status.up.store(false, Ordering::Relaxed);
        let Ok(mut words) = self.status.words.lock() else { return };
        if *words != trouble.words {
            let address = &self.address;
            eprintln!("redis: {} ({address}); the run goes on, signals are kept", trouble.words);
            words.clone_from(&trouble.words);
        }
    }

    /// One key is refused while the rest gets in: says so, rarely.
    fn mention(&mut self, trouble: &Trouble) {
        self.status.refused.fetch_add(1, Ordering::Relaxed);
        if self.mentioned.is_none_or(|at| at.elapsed() >= 12 * RARELY) {
            self.mentioned = Some(Instant::now());
            eprintln!("redis: {} ({}); the rest is written", trouble.words, self.address);
        }
    }

    /// Something got in: all is well again.
    fn recover(&mut self) {
        self.pause = PAUSES[0];
        self.status.up.store(true, Ordering::Relaxed);
        if !std::mem::take(&mut self.down) {
            return;
        }
        eprintln!("redis: well again ({})", self.address);
        if let Ok(mut words) = self.status.words.lock() {
            words.clear();
        }
    }
}

/// What the replies to a transaction came to.
#[derive(Default)]
struct Verdict {
    /// The first error, which says why; that the transaction was therefore discarded does not.
    trouble: Option<Trouble>,
    results: Option<Vec<Value>>,
}

impl Verdict {
    fn hear(&mut self, reply: Value, last: bool) {
        match reply {
            Value::Array(results) if last => {
                let trouble = results.iter().find_map(|result| refusal(result).err());
                self.trouble = self.trouble.take().or(trouble);
                self.results = Some(results);
            }
            reply => {
                if let Err(trouble) = refusal(&reply) {
                    self.trouble.get_or_insert(trouble);
                }
            }
        }
    }

    /// Whether every entry at `adds` is in the stream now.
    fn judge(&self, adds: &[usize]) -> Result<(), Stop> {
        let Some(results) = &self.results else {
            let unknown = || Trouble::of_reply("EXEC", "was not carried out");
            return Err(Stop::Refused(self.trouble.clone().unwrap_or_else(unknown)));
        };
        for result in adds.iter().map(|&i| results.get(i).unwrap_or(&Value::Nil)) {
            match result {
                Value::BulkString(_) => {}
                Value::ServerError(e) if is_repeat(e.details()) => return Err(Stop::Moved),
                other => {
                    refusal(other).map_err(Stop::Refused)?;
                    return Err(Stop::Moved);
                }
            }
        }
        Ok(())
    }
}

/// The stream has this id or a later one already.
fn is_repeat(details: Option<&str>) -> bool {
    details.is_some_and(|details| details.contains("equal or smaller"))
}

/// The error in a reply. (The `Ok` side fits [`Worker::greet`].)
fn refusal(reply: &Value) -> Result<Option<(u64, u64)>, Trouble> {
    match reply {
        Value::ServerError(e) => Err(Trouble::of_reply(e.code(), e.details().unwrap_or(""))),
        _ => Ok(None),
    }
}

/// The last id a stream gave out, from `XINFO STREAM`; `None` when there is no stream.
fn last_id(reply: Value) -> Result<Option<(u64, u64)>, Trouble> {
    let fields = match reply {
        Value::ServerError(e) if e.details().is_some_and(|d| d.contains("no such key")) => {
            return Ok(None);
        }
        Value::Array(fields) => fields,
        reply => return refusal(&reply),
    };
    let is_key = |field: &Value| *field == Value::BulkString(b"last-generated-id".to_vec());
    let place = fields.iter().position(is_key).and_then(|i| fields.get(i + 1));
    let Some(Value::BulkString(id)) = place else { return Ok(None) };
    let id = String::from_utf8_lossy(id);
    Ok(id.split_once('-').and_then(|(run, seq)| Some((run.parse().ok()?, seq.parse().ok()?))))
}
