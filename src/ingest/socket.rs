//! A live line: one route of one venue, kept open.
//!
//! ```text
//!        due ──▶ called ──▶ open ──▶ lost: reset, closed, stale, refused
//!         ▲                  │                     │
//!         └── at once, then 1..30 s, never giving up ◀┘
//! ```
//!
//! Each turn asks the kernel whether anything is readable, and reads only then, at most so many bytes.
//! A line that the venue says it will close is called again *while it still runs*; the new connection
//! replaces it when it is up. What has to wait happens on a dial thread.
//!
//! An acknowledgement is not life: a line is `live` from the first frame that was decoded. It is dead
//! when no *complete* message came for a while; bytes that never finish a message do not count.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tungstenite::{Error, Message, WebSocket};

use super::Frame;
use super::dial::{Answer, Call, Dialer, Endpoint, Opened, Refusal};
use super::exchange::{Control, Exchange, Heartbeat, Route, Verdict};
use super::instrument::Instruments;
use super::settings::Settings;
use super::source::{FeedChange, Read, Source};
use super::wire::Wire;
use crate::event::{FeedState, Venue};
use crate::ledger::{Ledger, Tally};
use crate::time::{NS_PER_MS, NS_PER_S, Nanos, Now};

/// Frames that subscribe go out at this pace: Binance hangs up above ten messages a second.
const SUBSCRIBE_EVERY: u64 = 125 * NS_PER_MS;
/// How long a peer that said goodbye may leave its socket open.
const GOODBYE: u64 = NS_PER_S;
/// A connection that lived this long starts the waiting times over.
const PROVEN: u64 = 60 * NS_PER_S;
/// Venues cut a connection after 24 hours; it is replaced before.
const REPLACE_AFTER: u64 = (23 * 60 + 30) * 60 * NS_PER_S;
/// A dial thread that has not answered by now hangs in the resolver.
const ANSWER_WITHIN: u64 = 60 * NS_PER_S;
/// Longest wait between two attempts.
const WAIT_MAX: u64 = 30 * NS_PER_S;
/// A venue that refuses our region or address is left alone this long.
const BLOCKED_FOR: u64 = 300 * NS_PER_S;
/// A venue that finds us too eager, and does not say for how long.
const EAGER_FOR: u64 = 60 * NS_PER_S;
/// Bytes that may come without completing one message (the largest is 1 MiB).
const UNFINISHED_MAX: u64 = 2 << 20;
/// Pings and pongs from the peer within [`CONTROL_WINDOW`].
const CONTROL_MAX: u32 = 500;
const CONTROL_WINDOW: u64 = 5 * NS_PER_S;
/// Changes of state waiting to be asked for.
const CHANGES_MAX: usize = 64;

/// What a line is made from.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose.
    pub venue: Venue,
    /// Which of the venue's lines.
    pub line: u8,
    /// The route's name.
    pub route: &'static str,
    /// Where to.
    pub endpoint: Endpoint,
    /// Frames that subscribe, in order.
    pub subscriptions: Vec<String>,
    /// What keeps it open.
    pub heartbeat: Heartbeat,
    /// Dead when nothing arrives for this long, ms.
    pub dead_ms: u64,
    /// Bytes read in one turn, at most.
    pub read_budget: usize,
}

impl Line {
    /// The lines of a venue, one per route, as the settings want them.
    ///
    /// # Errors
    /// Names the setting that holds an unusable URL.
    pub fn of(
        exchange: &dyn Exchange,
        settings: &Settings,
        known: &Instruments,
    ) -> Result<Vec<Self>, String> {
        let venue = exchange.venue();
        let (own, wanted) = (settings.venue(venue), settings.wanted(venue));
        let line = |(line, route): (u8, &Route)| {
            let url = own.urls.get(route.name).map_or(route.url, String::as_str);
            Ok(Self {
                venue,
                line,
                route: route.name,
                endpoint: Endpoint::parse(url)?,
                subscriptions: exchange.subscriptions(route, known, &wanted),
                heartbeat: exchange.heartbeat(),
                dead_ms: settings.dead_ms,
                read_budget: settings.read_budget,
            })
        };
        (0..).zip(exchange.routes()).map(line).collect()
    }
}

/// A live line.
#[derive(Debug)]
pub struct Socket {
    line: Line,
    endpoint: Arc<Endpoint>,
    dialer: Dialer,
    answers: (Sender<Answer>, Receiver<Answer>),
    poll: Poll,
    events: Events,
    open: Option<Box<Open>>,
    /// When to call next; `None` while an answer is awaited or nothing is to be done.
    due: Option<Nanos>,
    /// Since when an answer is awaited.
    calling: Option<Nanos>,
    stopped: bool,
    backoff: Backoff,
    last: Option<SocketAddr>,
    /// What was reported last.
    reported: Option<FeedChange>,
    changes: VecDeque<FeedChange>,
    counts: Counts,
}

/// A connection that is up.
#[derive(Debug)]
struct Open {
    socket: WebSocket<Wire>,
    since: Nanos,
    /// When the last complete message came.
    heard: Nanos,
    /// When the last heartbeat went out.
    beat: Nanos,
    /// When the next subscription may go out, and how many went.
    subscribe: (Nanos, usize),
    /// Something may be readable.
    ready: bool,
    /// Something of ours has not left yet.
    unsent: bool,
    /// The peer said goodbye at this time, in these words.
    goodbye: Option<(Nanos, String)>,
    /// Bytes taken when the last message was complete.
    finished: u64,
    /// Control frames in the present window, and when it began.
    control: (u32, Nanos),
}

#[derive(Debug, Default)]
struct Counts {
    frames: u64,
    bytes: u64,
    opened: u64,
    refused: u64,
    denied: u64,
    lost: Tally,
}

/// Why a connection ends: the name it is counted under, the state users see, the words.
struct Loss(&'static str, FeedState, String);

impl Socket {
    /// A line that calls on its first turn.
    ///
    /// # Errors
    /// When the system gives no poll.
    pub fn new(line: Line, dialer: Dialer) -> io::Result<Self> {
        Ok(Self {
            endpoint: Arc::new(line.endpoint.clone()),
            dialer,
            answers: bounded(1),
            poll: Poll::new()?,
            events: Events::with_capacity(4),
            open: None,
            due: Some(Nanos(0)),
            calling: None,
            stopped: false,
            backoff: Backoff::new(line.venue.index() as u64 * 256 + u64::from(line.line)),
            last: None,
            reported: None,
            changes: VecDeque::with_capacity(CHANGES_MAX),
            counts: Counts::default(),
            line,
        })
    }

    /// Calls when it is time, and takes up an answer that has come.
    fn dial(&mut self, now: Now) {
        if let Some(since) = self.calling {
            if let Ok(answer) = self.answers.1.try_recv() {
                self.answered(answer, now);
            } else if now.mono.since(since) > ANSWER_WITHIN {
                // Whatever still comes goes to the old channel, and is dropped there.
                self.answers = bounded(1);
                let why = "dial: no answer in time (the resolver hangs?)".to_owned();
                self.answered(Err(Refusal { why, ..Refusal::default() }), now);
            }
        } else if self.due.is_some_and(|due| now.mono >= due) {
            self.call(now);
        }
    }

    fn call(&mut self, now: Now) {
        if self.reported.is_none() {
            self.change(FeedState::Connecting, 0, String::new());
        }
        let (endpoint, answer) = (self.endpoint.clone(), self.answers.0.clone());
        let accepted = self.dialer.call(Call { endpoint, last: self.last, answer }).is_ok();
        self.calling = accepted.then_some(now.mono);
        self.due = (!accepted).then(|| now.mono.plus(self.backoff.next(now.mono)));
    }

    fn answered(&mut self, answer: Answer, now: Now) {
        self.calling = None;
        match answer {
            Ok(opened) => self.opened(*opened, now),
            Err(refusal) => self.refused(refusal, now),
        }
    }

    fn opened(&mut self, opened: Opened, now: Now) {
        let fd = opened.socket.get_ref().as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), Token(0), interest) {
            return self.refused(Refusal { why: format!("poll: {e}"), ..Refusal::default() }, now);
        }
        self.counts.opened += 1;
        self.last = Some(opened.peer);
        self.due = None;
        match self.open.replace(Box::new(Open::new(opened.socket, now.mono))) {
            None => self.change(FeedState::Connecting, 0, String::new()),
            Some(mut replaced) => {
                self.counts.lost.add("replaced", 1);
                replaced.farewell();
            }
        }
    }

    fn refused(&mut self, refusal: Refusal, now: Now) {
        self.counts.refused += 1;
        let wait = match refusal.code {
            403 | 451 => BLOCKED_FOR.max(refusal.retry_after.unwrap_or(0) * NS_PER_S),
            418 | 429 => refusal.retry_after.map_or(EAGER_FOR, |s| s * NS_PER_S),
            _ => 0,
        };
        let state = if wait > 0 { FeedState::Blocked } else { FeedState::Down };
        self.due = Some(now.mono.plus(wait.max(self.backoff.next(now.mono))));
        if self.open.is_none() {
            self.change(state, refusal.code, refusal.why);
        }
    }

    /// Ends the open connection and plans the next.
    fn lose(&mut self, loss: Loss, now: Now) {
        let Some(mut open) = self.open.take() else { return };
        open.farewell();
        self.backoff.lived(now.mono.since(open.since));
        let Loss(name, state, why) = loss;
        self.counts.lost.add(name, 1);
        self.change(state, 0, why);
        if self.calling.is_none() && self.due.is_none() {
            self.due = Some(now.mono.plus(self.backoff.next(now.mono)));
        }
    }

    /// Reports a state, unless the same was reported last.
    fn change(&mut self, state: FeedState, code: u16, why: String) {
        let (venue, line) = (self.line.venue, self.line.line);
        let change = FeedChange { venue, line, state, code, why };
        if self.reported.as_ref() == Some(&change) {
            return;
        }
        if self.changes.len() < CHANGES_MAX {
            self.changes.push_back(change.clone());
        }
        self.reported = Some(change);
    }

    fn state(&self) -> FeedState {
        self.reported.as_ref().map_or(FeedState::Connecting, |change| change.state)
    }

    /// Asks the kernel whether anything is readable. Edges are remembered until the kernel runs dry.
    fn is_ready(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        if !open.ready {
            // An interrupted poll is an empty one.
            let polled = self.poll.poll(&mut self.events, Some(Duration::ZERO));
            open.ready = polled.is_ok() && !self.events.is_empty();
        }
        open.ready
    }

    fn drain(
        &mut self,
        now: Now,
        most: usize,
        take: &mut dyn FnMut(Frame<'_>) -> Verdict,
    ) -> Result<usize, Loss> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let (venue, line) = (self.line.venue, self.line.line);
        let (mut given, mut decoded, mut closing, mut refused) = (0, false, false, false);
        open.socket.get_mut().pipe_mut().allow(self.line.read_budget);
        let end = loop {
            if given == most {
                break Ok(());
            }
            let message = match open.next(now.mono) {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(()),
                Err(loss) => break Err(loss),
            };
            let bytes = message.into_data();
            self.counts.bytes += bytes.len() as u64;
            given += 1;
            let verdict = take(Frame { venue, line, bytes: &bytes, received: now });
            decoded |= verdict == Verdict::Decoded;
            closing |= verdict == Verdict::Control(Control::Closing);
            refused |= verdict == Verdict::Control(Control::Refused);
        };
        self.counts.frames += given as u64;
        if decoded && self.state() != FeedState::Live {
            self.change(FeedState::Live, 0, String::new());
        }
        if refused {
            self.counts.denied += 1;
            self.change(self.state(), 0, "the venue refused a subscription".to_owned());
        }
        if closing {
            self.call_soon(now);
        }
        end.map(|()| given)
    }

    /// Plans a call now, unless one is planned or under way.
    fn call_soon(&mut self, now: Now) {
        if self.calling.is_none() && self.due.is_none() {
            self.due = Some(now.mono);
        }
    }
}

impl Source for Socket {
    fn name(&self) -> String {
        format!("{}/{}", self.line.venue.name(), self.line.route)
    }

    fn read(&mut self, now: Now, most: usize, take: &mut dyn FnMut(Frame<'_>) -> Verdict) -> Read {
        if self.stopped {
            return Read::Ended;
        }
        self.dial(now);
        let given = if self.is_ready() { self.drain(now, most, take) } else { Ok(0) };
        let kept = given.and_then(|given| {
            self.open
                .as_mut()
                .map_or(Ok(()), |open| open.keep(&self.line, now.mono))
                .map(|()| given)
        });
        match kept {
            Ok(0) => {}
            Ok(_) => return Read::Frames,
            Err(loss) => self.lose(loss, now),
        }
        if self.open.as_ref().is_some_and(|open| now.mono.since(open.since) > REPLACE_AFTER) {
            self.call_soon(now);
        }
        Read::Idle
    }

    fn feed(&mut self) -> Option<FeedChange> {
        self.changes.pop_front()
    }

    fn stop(&mut self) {
        self.stopped = true;
        if let Some(mut open) = self.open.take() {
            open.farewell();
        }
    }

    fn ledger(&self, ledger: &mut Ledger) {
        let name = self.name();
        for (what, n) in [
            ("frames", self.counts.frames),
            ("bytes", self.counts.bytes),
            ("opened", self.counts.opened),
            ("refused", self.counts.refused),
            ("subscriptions_refused", self.counts.denied),
        ] {
            ledger.add(&format!("line_{what}{{{name}}}"), n);
        }
        ledger.add_tally("line_lost", &self.counts.lost);
    }
}

impl Open {
    fn new(socket: WebSocket<Wire>, now: Nanos) -> Self {
        Self {
            socket,
            since: now,
            heard: now,
            beat: now,
            subscribe: (now, 0),
            // Frames may have come with the upgrade, before any edge the poll could see.
            ready: true,
            unsent: false,
            goodbye: None,
            finished: 0,
            control: (0, now),
        }
    }

    /// The next message with a payload for us; `None` when there is none for now.
    fn next(&mut self, now: Nanos) -> Result<Option<Message>, Loss> {
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => {
                    self.ready = !self.socket.get_ref().pipe().is_dry();
                    return self.unfinished().map(|()| None);
                }
                Err(e) => return Err(self.ended(&e)),
            };
            self.heard = now;
            self.finished = self.socket.get_ref().pipe().taken();
            match message {
                Message::Text(_) | Message::Binary(_) => return Ok(Some(message)),
                Message::Close(frame) => {
                    let words = frame.map(|f| format!("{} {}", u16::from(f.code), f.reason));
                    self.goodbye = Some((now, words.unwrap_or_default()));
                }
                _ => self.count_control(now)?,
            }
        }
    }

    fn count_control(&mut self, now: Nanos) -> Result<(), Loss> {
        if now.since(self.control.1) > CONTROL_WINDOW {
            self.control = (0, now);
        }
        self.control.0 += 1;
        if self.control.0 > CONTROL_MAX {
            return Err(down("abuse", "abuse: a flood of pings".to_owned()));
        }
        Ok(())
    }

    fn unfinished(&self) -> Result<(), Loss> {
        let bytes = self.socket.get_ref().pipe().taken() - self.finished;
        if bytes > UNFINISHED_MAX {
            return Err(down("abuse", "abuse: 2 MiB without a complete message".to_owned()));
        }
        Ok(())
    }

    /// Everything a turn owes the connection beside reading it.
    fn keep(&mut self, line: &Line, now: Nanos) -> Result<(), Loss> {
        if let Some((since, words)) = &self.goodbye {
            return if now.since(*since) < GOODBYE { Ok(()) } else { Err(closed(words)) };
        }
        if now.since(self.heard) > line.dead_ms * NS_PER_MS {
            let why = format!("nothing arrived for {} s", line.dead_ms / 1000);
            return Err(Loss("stale", FeedState::Stale, why));
        }
        self.subscribe(line, now)?;
        if now.since(self.beat) >= line.heartbeat.every_ms * NS_PER_MS {
            self.beat = now;
            let ping = || Message::Ping(Vec::new().into());
            self.send(line.heartbeat.text.map_or_else(ping, Message::text))?;
        }
        if self.unsent { self.flush() } else { Ok(()) }
    }

    /// One frame at a time, within the venue's pace.
    fn subscribe(&mut self, line: &Line, now: Nanos) -> Result<(), Loss> {
        let (at, sent) = self.subscribe;
        let Some(text) = line.subscriptions.get(sent).filter(|_| now >= at) else { return Ok(()) };
        self.subscribe = (now.plus(SUBSCRIBE_EVERY), sent + 1);
        self.send(Message::text(text.as_str()))
    }

    fn send(&mut self, message: Message) -> Result<(), Loss> {
        let written = self.socket.write(message);
        self.sent(written)?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Loss> {
        let flushed = self.socket.flush();
        self.sent(flushed)
    }

    /// What does not fit into the kernel's buffer stays in ours, and goes out on a later turn.
    fn sent(&mut self, result: Result<(), Error>) -> Result<(), Loss> {
        match result {
            Ok(()) => self.unsent = false,
            Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => self.unsent = true,
            Err(e) => return Err(self.ended(&e)),
        }
        Ok(())
    }

    fn ended(&mut self, error: &Error) -> Loss {
        if let Some((_, words)) = self.goodbye.take() {
            return closed(&words);
        }
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => closed(""),
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                down("reset", "the peer closed the connection without a word".to_owned())
            }
            Error::Io(e) => io_loss(e),
            Error::Capacity(e) => down("too_large", format!("too large: {e}")),
            Error::WriteBufferFull(_) => down("abuse", "abuse: the peer does not read".to_owned()),
            Error::Utf8(e) => down("protocol", format!("protocol: {e}")),
            other => down("protocol", format!("protocol: {other}")),
        }
    }

    /// Says goodbye as far as that is possible without waiting.
    fn farewell(&mut self) {
        self.socket.get_mut().pipe_mut().allow(0);
        drop(self.socket.close(None));
    }
}

fn down(name: &'static str, why: String) -> Loss {
    Loss(name, FeedState::Down, why)
}

fn closed(words: &str) -> Loss {
    down("closed", format!("closed by the venue {words}").trim_end().to_owned())
}

fn io_loss(error: &io::Error) -> Loss {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            down("reset", "connection reset".to_owned())
        }
        ErrorKind::UnexpectedEof => {
            down("reset", "the peer closed the connection without a word".to_owned())
        }
        ErrorKind::TimedOut => down("timeout", "the peer stopped acknowledging".to_owned()),
        _ => down("io", error.to_string()),
    }
}

/// How long to wait before the next attempt: nothing, then 1 s to 2, 4, 8 .. 30 s at random, so that
/// many clients of one venue do not come back together.
#[derive(Debug)]
struct Backoff {
    failures: u32,
    seed: u64,
}

impl Backoff {
    fn new(seed: u64) -> Self {
        Self { failures: 0, seed }
    }

    /// A connection ended after `ns`.
    fn lived(&mut self, ns: u64) {
        if ns >= PROVEN {
            self.failures = 0;
        }
    }

    /// The wait before the next attempt, ns. The time it is asked at makes two runs differ.
    fn next(&mut self, now: Nanos) -> u64 {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return 0;
        }
        let most = WAIT_MAX.min(NS_PER_S << failures.min(5));
        NS_PER_S + mixed(self.seed ^ now.0) % (most - NS_PER_S + 1)
    }
}

/// One step of splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_at_once_and_the_others_wait() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            assert_eq!(backoff.next(Nanos(seed)), 0);
            let waits: Vec<u64> = (0..12).map(|i| backoff.next(Nanos(i))).collect();
            assert!(waits.iter().all(|w| (NS_PER_S..=WAIT_MAX).contains(w)), "{waits:?}");
            assert!(waits.first().is_some_and(|&w| w <= 2 * NS_PER_S), "{waits:?}");
        }
    }

    #[test]
    fn only_a_proven_connection_starts_the_waits_over() {
        let mut backoff = Backoff::new(7);
        backoff.next(Nanos(0));
        backoff.lived(PROVEN - 1);
        assert!(backoff.next(Nanos(0)) >= NS_PER_S);
        backoff.lived(PROVEN);
        assert_eq!(backoff.next(Nanos(0)), 0);
    }
}
