//! One question over HTTP, asked of somebody who may be a stranger.
//!
//! Nothing that comes is trusted: a head, a line and a body have a largest size, and each wait an end.
//! It is asked in HTTP/1.0, so that a proxy in between answers in one piece and not in chunks.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::place::Place;

/// A connection is made within this.
const CONNECT: Duration = Duration::from_secs(2);
/// The head of an answer, or a body, is whole within this.
const ANSWER: Duration = Duration::from_secs(3);
/// A frame is whole this long after the one before; four come each second.
const FRAME: Duration = Duration::from_secs(3);
/// Largest head of an answer, bytes, and most lines in it.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Largest frame or body, bytes: twice what a page keeps waiting for one connection.
const BODY_MAX: usize = 2 << 20;

/// Why nothing was heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody takes the connection.
    Nobody(String),
    /// It is taken, and nothing comes in time.
    Silent,
    /// What comes is not what foreshock says.
    Stranger(String),
    /// The page refuses us.
    Refused(String),
    /// The connection ended.
    Ended(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(why) | Self::Refused(why) | Self::Ended(why) => f.write_str(why),
            Self::Silent => write!(f, "takes the connection and says nothing"),
            Self::Stranger(why) => write!(f, "that is not foreshock's page: {why}"),
        }
    }
}

fn stranger(why: &str) -> Trouble {
    Trouble::Stranger(why.to_owned())
}

/// An answer, from behind its head on.
#[derive(Debug)]
pub struct Answer {
    socket: TcpStream,
    /// What came and was not taken yet.
    held: Vec<u8>,
    /// The body, where its length was said.
    length: Option<usize>,
}

/// Asks for `path`, which is answered with `kind`.
///
/// # Errors
/// When it is not.
pub fn ask(place: &Place, path: &str, kind: &str) -> Result<Answer, Trouble> {
    let mut socket = connect(place)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {place}\r\nAccept: {kind}\r\n\r\n");
    let asked =
        socket.set_write_timeout(Some(ANSWER)).and_then(|()| socket.write_all(request.as_bytes()));
    asked.map_err(|e| Trouble::Ended(e.to_string()))?;
    let mut answer = Answer { socket, held: Vec::new(), length: None };
    let end = Instant::now() + ANSWER;
    while !answer.read_head(kind)? {
        if answer.held.len() >= HEAD_MAX {
            return Err(stranger("its head has no end"));
        }
        answer.more(end)?;
    }
    Ok(answer)
}

fn connect(place: &Place) -> Result<TcpStream, Trouble> {
    let nobody = |e: &io::Error| Trouble::Nobody(words(e));
    let found = place.as_str().to_socket_addrs().map_err(|e| nobody(&e))?;
    let mut why = Trouble::Nobody("the name has no address".to_owned());
    for address in found {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(socket) => return Ok(socket),
            Err(e) => why = nobody(&e),
        }
    }
    Err(why)
}

/// An error in a few small words.
fn words(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "nobody answers there".to_owned(),
        _ => e.to_string(),
    }
}

impl Answer {
    /// Takes the head, once it is whole; whether it is.
    fn read_head(&mut self, kind: &str) -> Result<bool, Trouble> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let taken = match head.parse(&self.held) {
            Ok(httparse::Status::Partial) => return Ok(false),
            Ok(httparse::Status::Complete(taken)) => taken,
            Err(_) => return Err(stranger("it does not speak HTTP")),
        };
        let value = |name: &str| {
            let mut named = head.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
            named.next().and_then(|h| std::str::from_utf8(h.value).ok()).unwrap_or_default()
        };
        let is_kind =
            value("content-type").split(';').next().is_some_and(|said| said.trim() == kind);
        match head.code.unwrap_or(0) {
            200 if !is_kind => return Err(stranger("it answers with something else")),
            200 if !value("transfer-encoding").is_empty() => {
                return Err(stranger("it sends chunks"));
            }
            200 => {}
            421 => return Err(refused("does not answer to this name: add it to page.hosts there")),
            503 => return Err(refused("has no room for one more: too many look at it")),
            code => return Err(Trouble::Stranger(format!("it answers {code}"))),
        }
        self.length = value("content-length").parse().ok();
        self.held.drain(..taken);
        Ok(true)
    }

    /// Waits for more, until `end`.
    fn more(&mut self, end: Instant) -> Result<(), Trouble> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::Silent);
        }
        let mut buffer = [0; 16 << 10];
        let read =
            self.socket.set_read_timeout(Some(left)).and_then(|()| self.socket.read(&mut buffer));
        match read {
            Ok(0) => Err(Trouble::Ended("it hung up".to_owned())),
            Ok(n) => {
                self.held.extend(buffer.iter().take(n));
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Trouble::Silent)
            }
            Err(e) => Err(Trouble::Ended(e.to_string())),
        }
    }

    /// The whole body, as text.
    ///
    /// # Errors
    /// When it is too long, too late, or no text.
    pub fn body(mut self) -> Result<String, Trouble> {
        let end = Instant::now() + ANSWER;
        while self.length.is_none_or(|length| self.held.len() < length) {
            if self.held.len() > BODY_MAX {
                return Err(stranger("what it sends has no end"));
            }
            match self.more(end) {
                Err(Trouble::Ended(_)) if self.length.is_none() => break,
                more => more?,
            }
        }
        self.held.truncate(self.length.unwrap_or(usize::MAX));
        text(self.held)
    }

    /// The data of the next event of a stream.
    ///
    /// # Errors
    /// When it is too long, too late, or no text.
    pub fn event(&mut self) -> Result<String, Trouble> {
        let end = Instant::now() + FRAME;
        loop {
            let line = self.line(end)?;
            if let Some(data) = line.strip_prefix("data:") {
                return Ok(data.trim_start().to_owned());
            }
        }
    }

    fn line(&mut self, end: Instant) -> Result<String, Trouble> {
        let mut seen = 0;
        loop {
            let fresh = self.held.get(seen..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let rest = self.held.split_off(seen + at + 1);
                return text(std::mem::replace(&mut self.held, rest));
            }
            seen = self.held.len();
            if seen > BODY_MAX {
                return Err(stranger("what it sends has no end"));
            }
            self.more(end)?;
        }
    }
}

fn refused(why: &str) -> Trouble {
    Trouble::Refused(why.to_owned())
}

fn text(bytes: Vec<u8>) -> Result<String, Trouble> {
    String::from_utf8(bytes).map_err(|_| stranger("what it sends is no text"))
}
