//! One connection: a request is read, an answer is written, and neither may take long.
//!
//! A stream is an answer without an end. It is given a new frame only when the last one has left, so a
//! slow browser sees fewer frames; one that takes nothing for a while is cut off. Nothing here waits.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::http::{Guard, HEAD_MAX, Refusal, Request};
use super::view::Eye;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// A request is complete, and an answer that ends is taken, within this.
const REQUEST_NS: u64 = 5 * NS_PER_S;
/// A stream takes something within this.
const STALL_NS: u64 = 10 * NS_PER_S;
/// After the answer, the other side has this long to hang up.
const LINGER_NS: u64 = NS_PER_S;
/// Bytes waiting for one connection, at most.
pub const WAITING_MAX: usize = 1 << 20;
/// Between two frames of a stream.
const FRAME_NS: u64 = 250 * NS_PER_MS;

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was answered, or hung up.
    Done,
    /// It took too long to ask.
    Late,
    /// It did not take what it was sent.
    Stalled,
    /// More was waiting for it than may.
    Full,
}

#[derive(Debug)]
enum Phase {
    Asking,
    Answering,
    Streaming { eye: Eye, framed: Option<Nanos>, frames: u64 },
    Leaving,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    phase: Phase,
    /// When this phase began, or the stream last took something.
    since: Nanos,
    inbox: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
}

impl Client {
    /// A connection that was just accepted.
    pub fn new(socket: TcpStream, now: Nanos) -> Self {
        let (inbox, out) = (Vec::new(), Vec::new());
        Self { socket, phase: Phase::Asking, since: now, inbox, out, sent: 0 }
    }

    /// Whether it is a stream.
    pub fn is_stream(&self) -> bool {
        matches!(self.phase, Phase::Streaming { .. })
    }

    /// Reads on; gives the request once it is there.
    pub fn ask(&mut self, guard: &Guard) -> Result<Option<Request>, Refusal> {
        if !matches!(self.phase, Phase::Asking) {
            return Ok(None);
        }
        if self.receive().is_none() {
            self.phase = Phase::Leaving;
            return Ok(None);
        }
        if self.inbox.is_empty() { Ok(None) } else { guard.read(&self.inbox) }
    }

    /// Takes what came into the inbox; `None` when nothing will come any more.
    fn receive(&mut self) -> Option<()> {
        let mut buffer = [0; 2048];
        while self.inbox.len() < HEAD_MAX {
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.inbox.extend(buffer.iter().take(n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(())
    }

    /// Answers, and hangs up then.
    pub fn answer(&mut self, head: &str, body: &[u8], now: Nanos) {
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(body);
        (self.phase, self.since) = (Phase::Answering, now);
    }

    /// Answers, and goes on with frames.
    pub fn stream(&mut self, head: &str, eye: Eye, now: Nanos) {
        self.out.extend_from_slice(head.as_bytes());
        // What a browser waits before it comes again, ms.
        self.out.extend_from_slice(b"retry: 1000\n\n");
        self.phase = Phase::Streaming { eye, framed: None, frames: 0 };
        self.since = now;
    }

    /// Puts the next frame of a stream, when it is time and the last one has left. `make` is told
    /// whether everything is wanted.
    pub fn frame(&mut self, now: Nanos, make: impl FnOnce(&mut Eye, bool) -> String) -> bool {
        let idle = self.out.len() == self.sent;
        let Phase::Streaming { eye, framed, frames } = &mut self.phase else { return false };
        if !idle || framed.is_some_and(|framed| now.since(framed) < FRAME_NS) {
            return false;
        }
        let everything = frames.is_multiple_of(4);
        (*framed, *frames) = (Some(now), *frames + 1);
        let json = make(eye, everything);
        // JSON has no line ends of its own.
        for part in ["data: ", &json, "\n\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        // Nothing was waiting, so the time to take it begins now.
        self.since = now;
        true
    }

    /// Writes on; `Some` when the connection is over.
    pub fn turn(&mut self, now: Nanos) -> Option<Gone> {
        if self.out.len() - self.sent > WAITING_MAX {
            return Some(Gone::Full);
        }
        if self.send(now).is_none() {
            return Some(Gone::Done);
        }
        let passed = now.since(self.since);
        let sent = self.sent == self.out.len();
        match &self.phase {
            Phase::Asking => (passed > REQUEST_NS).then_some(Gone::Late),
            Phase::Answering if sent => {
                let _ = self.socket.shutdown(Shutdown::Write);
                (self.phase, self.since) = (Phase::Leaving, now);
                None
            }
            Phase::Answering => (passed > REQUEST_NS).then_some(Gone::Stalled),
            Phase::Streaming { .. } if !sent => (passed > STALL_NS).then_some(Gone::Stalled),
            Phase::Streaming { .. } => self.has_hung_up().then_some(Gone::Done),
            // What is still on its way is read, or the answer might be torn up on the other side.
            Phase::Leaving => (passed > LINGER_NS || self.has_hung_up()).then_some(Gone::Done),
        }
    }

    fn send(&mut self, now: Nanos) -> Option<()> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return None,
                Ok(n) => (self.sent, self.since) = (self.sent + n, now),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        self.out.clear();
        self.sent = 0;
        Some(())
    }

    /// Throws away what comes; whether nothing will come any more.
    fn has_hung_up(&mut self) -> bool {
        let mut buffer = [0; 512];
        match self.socket.read(&mut buffer) {
            Ok(n) => n == 0,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}
