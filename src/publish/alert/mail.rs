//! E-mail: one SMTP conversation for each message.
//!
//! Greeting, EHLO, STARTTLS unless the connection is TLS already, AUTH PLAIN where there is a user,
//! MAIL, RCPT, DATA, QUIT; everything within 10 s. A password is only ever sent over TLS. 4yz is worth
//! another attempt, 5yz is a refusal. A recipient who is refused stops the whole message, before anybody
//! gets it: give those who must not be stopped a channel of their own.
//!
//! The body goes as base64, so that no line of it can be a command, and every attempt has the same
//! `Message-ID`. What the server says is never repeated, but for its code.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::admit;
use super::message::Message;
use super::post::Outcome;
use super::settings::{Channel, Privacy, place};
use crate::publish::redis::Secret;
use crate::time::Millis;
use crate::tls;

const CONNECT: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(10);
/// Longest reply read, bytes.
const REPLY_MAX: usize = 16 << 10;
/// Bytes of text in an encoded word and in a line of the body.
const WORD: usize = 42;
const LINE: usize = 57;

/// Writes mail.
pub struct Mail {
    channel: Channel,
    password: Option<Secret>,
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
}

impl Mail {
    /// For one channel.
    ///
    /// # Errors
    /// When its server or its certificates are not usable.
    pub fn new(channel: &Channel, password: Option<Secret>) -> Result<Self, String> {
        let (host, port) = place(&channel.url, channel.privacy)?;
        let tls = tls::believing(tls::roots(&channel.ca_file)?)?.with_no_client_auth();
        Ok(Self { channel: channel.clone(), password, host, port, tls: Arc::new(tls) })
    }

    /// Makes one attempt.
    #[must_use]
    pub fn send(&self, message: &Message, again: bool) -> Outcome {
        match self.try_send(message, again) {
            Ok(()) => Outcome::Delivered,
            Err(outcome) => outcome,
        }
    }

    fn try_send(&self, message: &Message, again: bool) -> Result<(), Outcome> {
        let wire = self.connect()?;
        match self.channel.privacy {
            Privacy::None => {
                let mut talk = Talk::greeted(wire)?;
                talk.step("EHLO", "EHLO localhost", 2)?;
                self.hand_over(talk, message, again)
            }
            Privacy::Tls => {
                let mut talk = Talk::greeted(self.secured(wire)?)?;
                talk.step("EHLO", "EHLO localhost", 2)?;
                self.hand_over(talk, message, again)
            }
            Privacy::Starttls => {
                let mut open = Talk::greeted(wire)?;
                open.step("EHLO", "EHLO localhost", 2)?;
                open.step("STARTTLS", "STARTTLS", 2)?;
                if !open.heard.is_empty() {
                    // Said in the clear, to be believed as if it had been said in private.
                    return Err(Outcome::Refused("smtp: words before TLS".to_owned()));
                }
                let mut talk = Talk::new(self.secured(open.wire)?);
                talk.step("EHLO", "EHLO localhost", 2)?;
                self.hand_over(talk, message, again)
            }
        }
    }

    fn connect(&self) -> Result<Wire, Outcome> {
        let end = Instant::now() + WHOLE;
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found: Vec<SocketAddr> =
            found.map_err(|_| later("dns: no such host", false))?.collect();
        if !self.channel.allow_private {
            admit(&found).map_err(|refused| Outcome::Refused(refused.to_string()))?;
        }
        let reached = found.iter().find_map(|at| TcpStream::connect_timeout(at, CONNECT).ok());
        let tcp = reached.ok_or_else(|| later("cannot connect", false))?;
        Ok(Wire { tcp, end })
    }

    fn secured(&self, wire: Wire) -> Result<StreamOwned<ClientConnection, Wire>, Outcome> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| Outcome::Refused("tls: not a host's name".to_owned()))?;
        let tls = ClientConnection::new(Arc::clone(&self.tls), name);
        tls.map(|tls| StreamOwned::new(tls, wire)).map_err(|e| later(&format!("tls: {e}"), false))
    }

    fn hand_over<S: Read + Write>(
        &self,
        mut talk: Talk<S>,
        message: &Message,
        again: bool,
    ) -> Result<(), Outcome> {
        let Channel { user, from, to, .. } = &self.channel;
        if let Some(password) = self.password.as_ref().filter(|_| !user.is_empty()) {
            let words = BASE64.encode(format!("\0{user}\0{}", password.reveal()));
            talk.step("AUTH", &format!("AUTH PLAIN {words}"), 2)?;
        }
        talk.step("MAIL", &format!("MAIL FROM:<{from}>"), 2)?;
        for recipient in to {
            talk.step("RCPT", &format!("RCPT TO:<{recipient}>"), 2)?;
        }
        talk.step("DATA", "DATA", 3)?;
        talk.say(&letter(&self.channel, message, again)).map_err(|e| broken(&e, false))?;
        // From here on it may have arrived whatever we hear.
        talk.say(".").map_err(|e| broken(&e, true))?;
        let code = talk.reply().map_err(|e| broken(&e, true))?;
        judged("the message", code, 2)?;
        // It has been taken: how the other side says goodbye changes nothing.
        let _ = talk.say("QUIT");
        Ok(())
    }
}

/// The letter, its lines ended as SMTP wants them, without the last end.
fn letter(channel: &Channel, message: &Message, again: bool) -> String {
    let Channel { from, to, .. } = channel;
    let (date, key, name) = (date(message.at), &message.key, channel.name());
    let host = from.rsplit('@').next().unwrap_or("localhost");
    let head = format!(
        "From: <{from}>\r\nTo: <{}>\r\nSubject: {}\r\nDate: {date}\r\n\
         Message-ID: <{key}.{name}@{host}>\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n",
        to.join(">, <"),
        encoded_words(&message.headline().chars().take(100).collect::<String>()),
    );
    let text = message.marked(again).replace('\n', "\r\n");
    let lines = text.as_bytes().chunks(LINE).map(|line| BASE64.encode(line));
    lines.fold(head, |letter, line| letter + "\r\n" + &line)
}

/// Text in a header, whatever characters it has: `=?utf-8?B?..?=`, at most 75 bytes each.
fn encoded_words(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= WORD => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words: Vec<_> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64.encode(word))).collect();
    words.join("\r\n ")
}

/// `Fri, 10 Oct 2025 21:00:00 +0000`.
fn date(at: Millis) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, s) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000) / 1_000);
    // Years that begin in March end with the leap day; 719,468 days from 0000-03-01 to 1970-01-01.
    let n = days + 719_468;
    let (era, in_era) = (n.div_euclid(146_097), n.rem_euclid(146_097));
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + i64::from(month >= 10);
    let named = |names: &[&'static str], i: i64| {
        usize::try_from(i).ok().and_then(|i| names.get(i).copied()).unwrap_or_default()
    };
    let (weekday, month) = (named(&DAYS, days.rem_euclid(7)), named(&MONTHS, month));
    let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
    format!("{weekday}, {day} {month} {year} {h:02}:{m:02}:{s:02} +0000")
}

fn later(why: &str, perhaps: bool) -> Outcome {
    Outcome::Later { why: why.to_owned(), after: None, perhaps }
}

fn broken(error: &io::Error, perhaps: bool) -> Outcome {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => later("no answer in time", perhaps),
        _ => match tls::said(error) {
            Some(why) => later(&tls::words("the server", why), perhaps),
            None => later("the connection broke", perhaps),
        },
    }
}

fn judged(step: &str, code: u16, wanted: u16) -> Result<(), Outcome> {
    match code / 100 {
        class if class == wanted => Ok(()),
        4 => Err(later(&format!("smtp {code} to {step}"), false)),
        _ => Err(Outcome::Refused(format!("smtp {code} to {step}"))),
    }
}

/// A connection on which everything happens before `end`, however slowly the other side drips.
struct Wire {
    tcp: TcpStream,
    end: Instant,
}

impl Wire {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(bytes)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Words and answers.
struct Talk<S> {
    wire: S,
    heard: Vec<u8>,
}

impl<S: Read + Write> Talk<S> {
    fn new(wire: S) -> Self {
        Self { wire, heard: Vec::new() }
    }

    /// After the server has said hello.
    fn greeted(wire: S) -> Result<Self, Outcome> {
        let mut talk = Self::new(wire);
        let code = talk.reply().map_err(|e| broken(&e, false))?;
        judged("hello", code, 2).map(|()| talk)
    }

    fn step(&mut self, name: &str, line: &str, wanted: u16) -> Result<(), Outcome> {
        let code = self.say(line).and_then(|()| self.reply()).map_err(|e| broken(&e, false))?;
        judged(name, code, wanted)
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.wire.write_all(line.as_bytes())?;
        self.wire.write_all(b"\r\n")?;
        self.wire.flush()
    }

    /// The code of the next reply: `250-` lines go on, the line `250 ` is the last.
    fn reply(&mut self) -> io::Result<u16> {
        loop {
            let line = self.line()?;
            let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
            let code = code.ok_or(io::ErrorKind::InvalidData)?;
            if line.get(3) != Some(&b'-') {
                return Ok(code);
            }
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                return Ok(self.heard.drain(..=end).collect());
            }
            if self.heard.len() > REPLY_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut more = [0; 512];
            let n = self.wire.read(&mut more)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.heard.extend(more.iter().take(n));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendar_s() {
        for (ms, text) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (1_760_130_000_000, "Fri, 10 Oct 2025 21:00:00 +0000"),
            (1_709_164_800_000, "Thu, 29 Feb 2024 00:00:00 +0000"),
            (1_709_251_199_999, "Thu, 29 Feb 2024 23:59:59 +0000"),
            (951_868_800_000, "Wed, 1 Mar 2000 00:00:00 +0000"),
        ] {
            assert_eq!(date(Millis(ms)), text);
        }
    }

    #[test]
    fn a_header_holds_any_text_in_short_words() {
        let text = "币安人生USDT ALERT² ".repeat(6);
        let header = encoded_words(&text);
        let mut back = String::new();
        for word in header.split("\r\n ") {
            assert!(word.len() <= 75 && word.is_ascii(), "{word}");
            let inside = word.strip_prefix("=?utf-8?B?").unwrap().strip_suffix("?=").unwrap();
            back += &String::from_utf8(BASE64.decode(inside).unwrap()).unwrap();
        }
        assert_eq!(back, text);
    }

    #[test]
    fn a_reply_ends_with_its_last_line() {
        let said = b"250-one\r\n250-two\r\n250 three\r\n220 go\r\nhm\r\n".to_vec();
        let mut talk = Talk::new(io::Cursor::new(said));
        assert_eq!((talk.reply().unwrap(), talk.reply().unwrap()), (250, 220));
        assert!(talk.reply().is_err() && talk.reply().is_err());
        let endless = vec![b'2'; 2 * REPLY_MAX];
        assert!(Talk::new(io::Cursor::new(endless)).reply().is_err());
    }
}
