//! Sends the flow, open-loop: message `n` of a rate leaves at `start + n / rate`, and waits for nobody.
//!
//! The sender spins on a core of its own. What is due leaves in one write; under TLS in one record. Two
//! stamps are kept of each message: when it should have left, and from when its latency counts. That
//! is the moment before its write, unless the *listener* held the sender up (the kernel took no more
//! bytes since the message before): then it is when the message should have left, so that a listener
//! which stalls is charged for all that queued meanwhile (no coordinated omission), and the sender's
//! own hiccups are not.
//!
//! Flat out, writes are [`CHUNK`] bytes of whole messages, and TLS records as large as they may be. A
//! burst is flat out with one time for all of it: its beginning.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;

use rustls::ServerConnection;

use crate::clock;
use crate::flow::{Flow, digits};
use crate::server::Stream;

/// Bytes of one write flat out, about.
pub const CHUNK: usize = 64 * 1024;
/// Before the first message.
const LEAD_NS: u64 = 5_000_000;

/// How to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many messages a second.
    Rate(u64),
    /// As fast as they are taken.
    Flat,
    /// The same, with stamps: all were due at the beginning.
    Burst,
}

/// From when a message counts, and when it should have left; `clock::now`.
pub type Stamps = Vec<[u64; 2]>;

/// A connection that never waits inside.
struct Spout {
    stream: Stream,
    /// The kernel took no more since this was last asked.
    held_up: bool,
}

impl Spout {
    fn new(stream: Stream) -> io::Result<Self> {
        stream.tcp().set_read_timeout(None)?;
        stream.tcp().set_nonblocking(true)?;
        Ok(Self { stream, held_up: false })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => push(tcp, bytes, &mut self.held_up),
            Stream::Tls(tls, tcp) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let n = tls.writer().write(rest)?;
                    rest = &rest[n..];
                    drain(tls, tcp, &mut self.held_up)?;
                }
                Ok(())
            }
        }
    }
}

fn push(tcp: &mut TcpStream, mut bytes: &[u8], held_up: &mut bool) -> io::Result<()> {
    while !bytes.is_empty() {
        match tcp.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => *held_up = true,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn drain(tls: &mut ServerConnection, tcp: &mut TcpStream, held_up: &mut bool) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => *held_up = true,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// What is written into messages as the venue's time.
struct Time {
    ahead_ns: u64,
    ms: u64,
    digits: [u8; 13],
}

impl Time {
    fn start() -> Self {
        let wall_ns = clock::wall_ms().unsigned_abs() * 1_000_000;
        Self { ahead_ns: wall_ns - clock::now(), ms: 0, digits: [b'0'; 13] }
    }

    fn at(&mut self, now: u64) -> &[u8; 13] {
        let ms = (now + self.ahead_ns) / 1_000_000;
        if ms != self.ms {
            (self.ms, self.digits) = (ms, digits(ms.cast_signed()));
        }
        &self.digits
    }
}

/// Sends `count` messages; gives the stamps of those that have any.
///
/// # Errors
/// When the listener hangs up before the end.
pub fn send(stream: Stream, flow: &Flow, count: usize, pace: Pace) -> io::Result<Stamps> {
    let mut spout = Spout::new(stream)?;
    let stamps = match pace {
        Pace::Rate(rate) => paced(&mut spout, flow, count, rate),
        Pace::Flat => flat(&mut spout, flow, count).map(|_| Stamps::new()),
        Pace::Burst => flat(&mut spout, flow, count).map(|begun| vec![[begun; 2]; count]),
    }?;
    wait_for_the_end(&spout)?;
    Ok(stamps)
}

fn paced(spout: &mut Spout, flow: &Flow, count: usize, rate: u64) -> io::Result<Stamps> {
    let mut stamps = Stamps::with_capacity(count);
    let (mut time, mut due_bytes) = (Time::start(), Vec::with_capacity(CHUNK));
    let start = clock::now() + LEAD_NS;
    let due = |n: usize| start + n as u64 * 1_000_000_000 / rate;
    while stamps.len() < count {
        let now = clock::now();
        due_bytes.clear();
        let first = stamps.len();
        for n in first..count {
            if due(n) > now || due_bytes.len() + 1_024 > CHUNK {
                break;
            }
            flow.message(n).put(time.at(now), &mut due_bytes);
            stamps.push([if spout.held_up { due(n) } else { 0 }, due(n)]);
        }
        if due_bytes.is_empty() {
            std::hint::spin_loop();
            continue;
        }
        let leaves = clock::now();
        for stamp in stamps.iter_mut().skip(first).filter(|stamp| stamp[0] == 0) {
            stamp[0] = leaves;
        }
        spout.held_up = false;
        spout.put(&due_bytes)?;
    }
    Ok(stamps)
}

/// Gives when it began.
fn flat(spout: &mut Spout, flow: &Flow, count: usize) -> io::Result<u64> {
    let (mut time, mut chunk) = (Time::start(), Vec::with_capacity(CHUNK + 1_024));
    let (begun, mut n) = (clock::now(), 0);
    while n < count {
        chunk.clear();
        let ms = time.at(clock::now());
        while n < count && chunk.len() < CHUNK {
            flow.message(n).put(ms, &mut chunk);
            n += 1;
        }
        spout.put(&chunk)?;
    }
    Ok(begun)
}

/// The listener hangs up when it has everything.
fn wait_for_the_end(spout: &Spout) -> io::Result<()> {
    let tcp = spout.stream.tcp();
    tcp.set_nonblocking(false)?;
    tcp.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let mut rest = [0; 1_024];
    let mut tcp = tcp;
    while matches!(io::Read::read(&mut tcp, &mut rest), Ok(1..)) {}
    Ok(())
}
