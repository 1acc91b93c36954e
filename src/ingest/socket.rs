//! The thin I/O around a [`Line`]: what it orders is done here, what happens here it is told.
//!
//! Each turn asks the kernel whether anything is readable, and reads only then, at most so many bytes
//! from each of the line's connections. What has to wait happens on a dial thread.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use tungstenite::error::ProtocolError;
use tungstenite::{Error, Message, WebSocket};

use super::Frame;
use super::dial::{Answer, Call, Dialer, Endpoint, Opened};
use super::exchange::{Control, Exchange, Route, Verdict};
use super::instrument::Instruments;
use super::line::{Line, Loss, Order, Plan, Refusal, Say, Slot};
use super::parts::Fault;
use super::settings::{Settings, minute_of_day};
use super::source::{FeedChange, Heard, Read, Source};
use super::twins::link_of;
use super::wire::Wire;
use crate::event::Completeness;
use crate::ledger::Ledger;
use crate::time::{NS_PER_MS, Nanos, Now};

/// A dialer that is busy is asked again after this.
const BUSY: u64 = 100 * NS_PER_MS;
/// Refusals that are read for their words; later ones are counted.
const REFUSALS_READ: u64 = 256;
/// Longest quotation of what a venue says, characters.
const QUOTE_MAX: usize = 200;

/// What a socket is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What its line is made from.
    pub plan: Plan,
    /// Where to.
    pub endpoint: Endpoint,
    /// The text that keeps it open; `None` for a WebSocket ping.
    pub heartbeat: Option<&'static str>,
    /// Bytes read in one turn from one connection, at most.
    pub read_budget: usize,
}

impl Setup {
    /// The lines of a venue, as many per route as the settings want. A route on which there is nothing
    /// to subscribe to has none.
    ///
    /// # Errors
    /// Names the setting that holds an unusable URL.
    pub fn of(
        exchange: &dyn Exchange,
        settings: &Settings,
        known: &Instruments,
    ) -> Result<Vec<Self>, String> {
        let own = settings.venue(exchange.venue());
        let copies = 0..own.lines;
        let routes = || (0..).zip(exchange.routes());
        let each = copies.flat_map(|copy| routes().map(move |(n, route)| (copy, n, route)));
        let setups = each.map(|(copy, n, route)| {
            let line = Plan::number(n, copy);
            Self::of_route(exchange, settings, known, line, route)
        });
        let wanted = |setup: &Result<Self, String>| {
            setup.as_ref().map_or(true, |setup| !setup.plan.subscriptions.is_empty())
        };
        setups.filter(wanted).collect()
    }

    fn of_route(
        exchange: &dyn Exchange,
        settings: &Settings,
        known: &Instruments,
        line: u8,
        route: &Route,
    ) -> Result<Self, String> {
        let venue = exchange.venue();
        let (own, wanted) = (settings.venue(venue), settings.wanted(venue));
        let url = own.urls.get(route.name).map_or(route.url, String::as_str);
        let endpoint = Endpoint::parse(url);
        let name = venue.name();
        let endpoint =
            endpoint.map_err(|e| format!("feeds.venues.{name}.urls.{}: {e}", route.name))?;
        let subscriptions = exchange.subscriptions(route, known, &wanted);
        let watched = exchange.completeness() == Completeness::Watched;
        let heartbeat = exchange.heartbeat();
        let plan = Plan {
            venue,
            line,
            route: route.name,
            rare: route.liquidations && !(watched && wanted.users().is_empty()),
            answers: subscriptions.iter().map(|frame| exchange.answers(frame)).sum(),
            subscriptions,
            fragile: exchange.fragile(),
            heartbeat_ns: heartbeat.every_ms * NS_PER_MS,
            dead_ns: settings.dead_ms * NS_PER_MS,
            canary_ns: settings.canary_ms * NS_PER_MS,
            rotate_at: own.rotate_at.as_deref().and_then(minute_of_day),
        };
        let read_budget = settings.read_budget;
        Ok(Self { plan, endpoint, heartbeat: heartbeat.text, read_budget })
    }
}

/// A live line.
#[derive(Debug)]
pub struct Socket {
    line: Line,
    endpoint: Arc<Endpoint>,
    heartbeat: Option<&'static str>,
    read_budget: usize,
    timed: bool,
    dialer: Dialer,
    answers: (Sender<Answer>, Receiver<Answer>),
    poll: Poll,
    events: Events,
    /// Whether somebody else watches our poll, and has said that there is something.
    watched: bool,
    roused: bool,
    open: [Option<Box<Open>>; 2],
    last: Option<SocketAddr>,
    stopped: bool,
    frames: u64,
    bytes: u64,
}

/// A connection that is up.
#[derive(Debug)]
struct Open {
    socket: WebSocket<Wire>,
    /// Something may be readable.
    ready: bool,
    /// Something of ours has not left yet.
    unsent: bool,
}

/// What one read of the library came to.
enum Part {
    Message(Message),
    /// Nothing for now.
    Nothing,
    Over(Loss),
}

impl Socket {
    /// A line that calls on its first turn.
    ///
    /// # Errors
    /// When the system gives no poll.
    pub fn new(setup: Setup, dialer: Dialer) -> io::Result<Self> {
        let Setup { plan, endpoint, heartbeat, read_budget } = setup;
        Ok(Self {
            line: Line::new(plan),
            endpoint: Arc::new(endpoint),
            heartbeat,
            read_budget,
            timed: false,
            dialer,
            answers: bounded(1),
            poll: Poll::new()?,
            events: Events::with_capacity(4),
            watched: false,
            roused: false,
            open: [None, None],
            last: None,
            stopped: false,
            frames: 0,
            bytes: 0,
        })
    }

    /// Finds out how long what it reads lay in the kernel.
    #[must_use]
    pub fn timing_arrivals(mut self) -> Self {
        self.timed = true;
        self
    }

    fn place(&mut self, slot: Slot) -> Option<&mut Open> {
        self.open.get_mut(slot)?.as_deref_mut()
    }

    /// Takes up an answer that has come.
    fn listen(&mut self, now: Nanos) {
        if let Ok(answer) = self.answers.1.try_recv() {
            match answer {
                Ok(opened) => self.opened(*opened, now),
                Err(refusal) => self.line.refused(refusal, now),
            }
        }
    }

    fn opened(&mut self, mut opened: Opened, now: Nanos) {
        let fd = opened.socket.get_ref().as_raw_fd();
        // Which of the two it will be does not matter to the poll: both are looked at.
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), Token(0), interest) {
            return self.line.refused(Refusal::new(format!("poll: {e}")), now);
        }
        if self.timed {
            opened.socket.get_mut().pipe_mut().time_arrivals();
        }
        self.last = Some(opened.peer);
        let (slot, gone) = self.line.opened(now);
        if let Some(gone) = gone {
            self.hang(gone);
        }
        if let Some(place) = self.open.get_mut(slot) {
            *place = Some(Box::new(Open::new(opened.socket)));
        }
    }

    /// Does what the line orders, until it orders nothing.
    fn obey(&mut self, now: Now) {
        while let Some(order) = self.line.order(now) {
            match order {
                Order::Call => self.call(now.mono),
                // Whatever still comes goes to the old channel, and is dropped there.
                Order::Forget => self.answers = bounded(1),
                Order::Send(slot, say) => self.send(slot, say, now.mono),
                Order::Hang(slot) => self.hang(slot),
            }
        }
    }

    fn call(&mut self, now: Nanos) {
        let venue = self.line.plan().venue;
        if let Err(free) = self.dialer.pace(venue, now) {
            return self.line.postpone(free);
        }
        let (endpoint, answer) = (self.endpoint.clone(), self.answers.0.clone());
        let nth = usize::from(self.line.plan().copy());
        let call = Call { endpoint, last: self.last, nth, answer };
        if self.dialer.call(call).is_err() {
            self.line.postpone(now.plus(BUSY));
        }
    }

    fn send(&mut self, slot: Slot, say: Say, now: Nanos) {
        let message = match say {
            Say::Subscription(nth) => self.line.subscription(nth).map(Message::text),
            Say::Heartbeat => {
                let ping = || Message::Ping(Vec::new().into());
                Some(self.heartbeat.map_or_else(ping, Message::text))
            }
        };
        let sent = message.zip(self.place(slot)).map(|(message, open)| open.send(message));
        if let Some(Err(loss)) = sent {
            self.lose(slot, loss, now);
        }
    }

    /// Ends a connection that can no longer be used.
    fn lose(&mut self, slot: Slot, loss: Loss, now: Nanos) {
        self.line.lost(slot, loss, now);
        self.hang(slot);
    }

    fn hang(&mut self, slot: Slot) {
        if let Some(mut open) = self.open.get_mut(slot).and_then(Option::take) {
            open.farewell();
        }
    }

    /// Asks the kernel whether anything is readable. Edges are remembered until the kernel runs dry.
    fn look(&mut self) {
        if self.open.iter().flatten().all(|open| open.ready) {
            return;
        }
        if self.watched && !std::mem::take(&mut self.roused) {
            return;
        }
        // An interrupted poll is an empty one.
        let polled = self.poll.poll(&mut self.events, Some(Duration::ZERO));
        if polled.is_err() {
            self.roused = true;
        }
        if polled.is_err() || self.events.is_empty() {
            return;
        }
        let ends = self.events.iter().any(|event| event.is_read_closed() || event.is_error());
        for open in self.open.iter_mut().flatten() {
            open.ready = true;
            if ends {
                open.socket.get_mut().pipe_mut().ends();
            }
        }
    }

    /// Gives the frames of one connection, at most `most`.
    fn drain(
        &mut self,
        slot: Slot,
        now: Now,
        most: usize,
        take: &mut dyn FnMut(Frame<'_>) -> Heard,
    ) -> usize {
        let (venue, line) = (self.line.plan().venue, self.line.plan().line);
        let link = link_of(line, self.line.number(slot));
        let Some(open) = self.open.get_mut(slot).and_then(Option::as_mut) else { return 0 };
        if !open.ready {
            return 0;
        }
        open.socket.get_mut().pipe_mut().allow(self.read_budget);
        let mut given = 0;
        while given < most {
            let message = match open.next() {
                Part::Message(message) => message,
                Part::Nothing => break,
                Part::Over(loss) => {
                    self.lose(slot, loss, now.mono);
                    break;
                }
            };
            match message {
                Message::Close(frame) => {
                    let words = frame.map(|f| (u16::from(f.code), harmless(&f.reason)));
                    let words = words.map(|(code, reason)| format!("{code} {reason}"));
                    self.line.goodbye(slot, words.unwrap_or_default(), now.mono);
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    if let Err(loss) = self.line.control(slot, now.mono) {
                        self.lose(slot, loss, now.mono);
                        break;
                    }
                }
                data => {
                    let bytes = data.into_data();
                    given += 1;
                    self.bytes += bytes.len() as u64;
                    let heard = take(Frame { venue, line, link, bytes: &bytes, received: now });
                    self.line.frame(slot, heard, now.mono);
                    let refused = heard.verdict == Verdict::Control(Control::Refused);
                    if refused && self.line.counts.denied <= REFUSALS_READ {
                        self.line.complaint(&quoted(&bytes));
                    }
                }
            }
        }
        self.frames += given as u64;
        given
    }
}

/// What a venue says, harmless: the words of a complaint where they are found, else all of it.
fn quoted(bytes: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let words = json.as_ref().and_then(|json| {
        let nested = json.get("error").and_then(|error| error.get("msg"));
        let named = ["msg", "ret_msg", "data"].iter().find_map(|key| json.get(key));
        nested.or(named).and_then(serde_json::Value::as_str)
    });
    let text = words.map_or_else(|| String::from_utf8_lossy(bytes), Into::into);
    harmless(&text)
}

/// Foreign text, as it may be shown: of bounded length, its control characters spelled out.
fn harmless(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(QUOTE_MAX) {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

impl Source for Socket {
    fn name(&self) -> String {
        let plan = self.line.plan();
        let copy = if plan.copy() == 0 { String::new() } else { format!("#{}", plan.copy() + 1) };
        format!("{}/{}{copy}", plan.venue.name(), plan.route)
    }

    fn read(&mut self, now: Now, most: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        if self.stopped {
            return Read::Ended;
        }
        self.listen(now.mono);
        self.look();
        let mut given = 0;
        for slot in 0..self.open.len() {
            given += self.drain(slot, now, most - given, take);
        }
        self.obey(now);
        for slot in 0..self.open.len() {
            let unsent = self.place(slot).filter(|open| open.unsent);
            if let Some(Err(loss)) = unsent.map(Open::flush) {
                self.lose(slot, loss, now.mono);
            }
        }
        let more = self.open.iter().flatten().any(|open| open.ready);
        if given > 0 || more { Read::Frames } else { Read::Idle }
    }

    fn watched(&mut self, by: &Registry, token: Token) -> io::Result<()> {
        let fd = self.poll.as_raw_fd();
        by.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        self.watched = true;
        Ok(())
    }

    fn rouse(&mut self) {
        self.roused = true;
    }

    fn waited(&mut self) -> Option<u64> {
        let open = self.open.iter_mut().flatten();
        open.filter_map(|open| open.socket.get_mut().pipe_mut().waited()).max()
    }

    fn feed(&mut self) -> Option<FeedChange> {
        self.line.next_change()
    }

    fn doubt(&mut self, mute: u8, why: &str, now: Now) {
        let plan = self.line.plan();
        if mute & plan.venue.bit() == 0 {
            self.line.trust(now.mono);
        } else if plan.rare {
            self.line.doubt(why, now.mono);
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.line.stop();
        (0..self.open.len()).for_each(|slot| self.hang(slot));
    }

    fn ledger(&self, ledger: &mut Ledger) {
        let name = self.name();
        ledger.add(&format!("line_frames{{{name}}}"), self.frames);
        ledger.add(&format!("line_bytes{{{name}}}"), self.bytes);
        self.line.ledger(&name, ledger);
    }
}

impl Open {
    fn new(socket: WebSocket<Wire>) -> Self {
        // Frames may have come with the upgrade, before any edge the poll could see.
        Self { socket, ready: true, unsent: false }
    }

    fn next(&mut self) -> Part {
        match self.socket.read() {
            Ok(message) => Part::Message(message),
            Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => {
                self.ready = !self.socket.get_ref().pipe().is_dry();
                Part::Nothing
            }
            Err(e) => Part::Over(loss_of(&e)),
        }
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
            Err(e) => return Err(loss_of(&e)),
        }
        Ok(())
    }

    /// Says goodbye as far as that is possible without waiting.
    fn farewell(&mut self) {
        self.socket.get_mut().pipe_mut().allow(0);
        drop(self.socket.close(None));
    }
}

fn loss_of(error: &Error) -> Loss {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Loss::closed(""),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Loss::down("reset", "the peer closed the connection without a word")
        }
        Error::Io(e) => io_loss(e),
        Error::Capacity(e) => Loss::down("too_large", format!("too large: {e}")),
        Error::WriteBufferFull(_) => Loss::down("abuse", "abuse: the peer does not read"),
        Error::Utf8(e) => Loss::down("protocol", format!("protocol: {e}")),
        other => Loss::down("protocol", format!("protocol: {other}")),
    }
}

fn io_loss(error: &io::Error) -> Loss {
    if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        return Loss::down(fault.name(), format!("{}: {fault}", fault.name()));
    }
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            Loss::down("reset", "connection reset")
        }
        ErrorKind::UnexpectedEof => {
            Loss::down("reset", "the peer closed the connection without a word")
        }
        ErrorKind::TimedOut => Loss::down("timeout", "the peer stopped acknowledging"),
        _ => Loss::down("io", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FeedState, Venue};
    use crate::ingest::dial::Trust;
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    /// Plays a line to a server that sends `bytes`, until `n` messages or the end; gives how many came and
    /// the most bytes that one turn took from the kernel, after the first.
    fn played(bytes: Vec<u8>, n: u64) -> (u64, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            let mut server = tungstenite::accept(listener.accept().unwrap().0).unwrap();
            drop(server.get_mut().write_all(&bytes));
            drop(server.read());
        });
        let plan = Plan {
            venue: Venue::Okx,
            line: 0,
            route: "public",
            rare: false,
            subscriptions: Vec::new(),
            answers: 0,
            fragile: false,
            heartbeat_ns: u64::MAX,
            dead_ns: u64::MAX,
            canary_ns: u64::MAX,
            rotate_at: None,
        };
        let endpoint = Endpoint::parse(&url).unwrap();
        let setup = Setup { plan, endpoint, heartbeat: None, read_budget: 16 * 1024 };
        let dialer = Dialer::start(1, &Trust::new(None).unwrap()).unwrap();
        let mut socket = Socket::new(setup, dialer).unwrap();
        let taken = |socket: &Socket| {
            let open = socket.open.iter().flatten().next();
            open.map_or(0, |open| open.socket.get_ref().pipe().taken())
        };
        let (mut most, mut before) = (0, 0);
        while socket.frames < n && socket.line.state() != FeedState::Down {
            socket.read(Now::at_millis(1_000), 10_000, &mut |_| Verdict::Decoded.into());
            drop(socket.feed());
            let after = taken(&socket);
            // The first is counted with the handshake.
            most = if before == 0 { 0 } else { most.max(after.saturating_sub(before)) };
            before = after;
        }
        (socket.frames, most)
    }

    #[test]
    fn f9_a_turn_takes_no_more_than_its_budget() {
        let useful = [&[0x81, 100][..], &[b'x'; 100]].concat().repeat(10_000);
        let (frames, most) = played(useful, 10_000);
        assert_eq!(frames, 10_000);
        assert!((1..=16 * 1024).contains(&most), "{most}");
    }

    #[test]
    fn f9_f12_messages_before_a_frame_that_must_not_be_are_heard() {
        let empty_parts = [&[0x01, 0][..], &[0x00, 0].repeat(100_000)].concat();
        for bad in [&empty_parts[..], &[0xc1, 5], &[0x81, 0x81]] {
            let good = [0x81, 1, b'x'].repeat(500);
            assert_eq!(played([&good, bad].concat(), 501).0, 500);
        }
    }

    #[test]
    fn f23_what_a_venue_refuses_is_quoted_harmlessly() {
        for (said, words) in [
            (
                r#"{"event":"error","msg":"channel:x doesn't exist","code":"60018","connId":"4"}"#,
                "channel:x doesn't exist",
            ),
            (r#"{"success":false,"ret_msg":"args size \u003e10"}"#, "args size >10"),
            (r#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#, "Invalid request"),
            (r#"{"channel":"error","data":"bad\n\u001b[31mcoin"}"#, "bad\\n\\u{1b}[31mcoin"),
            ("refused", "refused"),
        ] {
            assert_eq!(quoted(said.as_bytes()), words);
        }
        assert_eq!(quoted(&[b'x'; 9_000]).len(), 200);
    }
}
