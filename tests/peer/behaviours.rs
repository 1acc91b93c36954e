//! Everything that a hostile or broken server does, by name: what it is, which fault of the catalogue
//! it stands for, and what the line must make of it.
//!
//! A behaviour of the web is played over ws and over wss; one of TLS only where TLS is due.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use super::{
    Carrier, Certificate, Driven, Stream, agree, agreement, claim, frame, hear, line_with, linger,
    peer, raw_peer, request, reset, send, text,
};
use foreshock::event::FeedState::{self, Blocked, Connecting, Down, Live, Stale, Suspect};
use foreshock::ingest::dial::MESSAGE_MAX;

/// One way to behave.
pub struct Behaviour {
    pub name: &'static str,
    /// The faults it stands for, by their numbers in the catalogue.
    pub faults: &'static str,
    pub does: &'static str,
    pub act: Act,
    pub expect: Expect,
}

/// What the server does with a connection.
#[derive(Clone, Copy)]
pub enum Act {
    /// From the first byte of HTTP, over ws and over wss.
    Web(fn(&mut dyn Carrier)),
    /// From the first byte of TCP, where TLS is due.
    Raw(fn(&mut TcpStream)),
    /// Inside TLS, which it may break.
    Tls(fn(&mut Stream)),
    /// Nothing but show this certificate.
    Shows(Certificate),
}

/// What the line makes of it.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// So many messages arrive and the line is live.
    Heard(usize),
    /// It ends in this state, for a reason that has these words in it.
    Ends(FeedState, &'static str),
}

use Act::{Raw, Shows, Tls, Web};
use Expect::{Ends, Heard};

const TOO_LATE: &str = "no answer in time";

impl Behaviour {
    /// Whether it takes the three seconds that a handshake may take.
    pub fn is_slow(&self) -> bool {
        matches!(self.expect, Ends(_, TOO_LATE))
    }

    /// The ways to play it: over TLS or not.
    pub fn carriers(&self) -> &'static [bool] {
        if matches!(self.act, Web(_)) { &[false, true] } else { &[true] }
    }

    /// Starts a server that behaves so.
    pub fn serve(&self, tls: bool) -> Served {
        let certificate = if let Shows(shown) = self.act { shown } else { Certificate::Good };
        let (act, name) = (self.act, self.name);
        match (act, tls) {
            (Web(act), false) => {
                let port = raw_peer(move |_, mut tcp| act(&mut tcp));
                Served { url: format!("ws://localhost:{port}/{name}"), ca_pem: None }
            }
            (Raw(act), _) => {
                let port = raw_peer(move |_, mut tcp| act(&mut tcp));
                Served { url: format!("wss://localhost:{port}/{name}"), ca_pem: None }
            }
            _ => {
                let peer = peer(certificate, move |_, mut stream| match act {
                    Web(act) => act(&mut stream),
                    Tls(act) => act(&mut stream),
                    _ => linger(&mut stream),
                });
                let known = certificate != Certificate::Stranger;
                let url = format!("wss://localhost:{}/{name}", peer.port);
                Served { url, ca_pem: known.then_some(peer.ca_pem) }
            }
        }
    }

    /// Lets a line meet it; says what is wrong with what came of it.
    pub fn meet(&self, served: &Served) -> Result<(), String> {
        let mut line = line_with(&served.url, served.ca_pem.as_deref());
        line.keep = 1;
        // The line gives up on a dial thread after a minute of its time; a handshake takes real time.
        let step_ms = if self.is_slow() { 5 } else { 20 };
        for _ in 0..40_000 {
            if self.is_over(&line) {
                break;
            }
            line.step(step_ms);
        }
        line.socket_stop();
        let said = line.changes.iter().find(|change| !is_good(change.state));
        let said = said.map(|change| (change.state, change.why.as_str()));
        let fits = match (self.expect, said) {
            (Heard(n), None) => line.heard == n && line.states()[..2] == [Connecting, Live],
            (Ends(state, words), Some((is, why))) => state == is && why.contains(words),
            _ => false,
        };
        let harmless = said.is_none_or(|(_, why)| !why.chars().any(char::is_control));
        if fits && harmless {
            return Ok(());
        }
        let (n, expect, url) = (line.heard, self.expect, &served.url);
        Err(format!("{url}: {expect:?}, but {n} messages and {said:?}"))
    }

    fn is_over(&self, line: &Driven) -> bool {
        let heard = matches!(self.expect, Heard(n) if line.heard >= n);
        heard || line.changes.iter().any(|change| !is_good(change.state))
    }
}

fn is_good(state: FeedState) -> bool {
    matches!(state, Connecting | Live)
}

/// Where a behaviour can be met.
pub struct Served {
    pub url: String,
    pub ca_pem: Option<String>,
}

/// Serves all behaviours and says where, a line each, until its input ends. For a process of its own,
/// whose memory and time are not the line's; [`served`] reads what it says.
pub fn serve_all() {
    println!();
    for behaviour in BEHAVIOURS {
        for tls in behaviour.carriers() {
            let Served { url, ca_pem } = behaviour.serve(*tls);
            println!(
                "served {} {url} {}",
                behaviour.name,
                ca_pem.unwrap_or_default().escape_default()
            );
        }
    }
    println!("served");
    let mut wait = String::new();
    while std::io::stdin().read_line(&mut wait).is_ok_and(|n| n > 0) {}
}

/// What [`serve_all`] says.
pub fn served(said: impl Iterator<Item = String>) -> Vec<(&'static Behaviour, Served)> {
    said.take_while(|line| line != "served")
        .filter_map(|line| {
            let mut words = line.strip_prefix("served ")?.splitn(3, ' ');
            let (name, url, pem) = (words.next()?, words.next()?, words.next()?);
            let behaviour = BEHAVIOURS.iter().find(|behaviour| behaviour.name == name)?;
            let ca_pem = (!pem.is_empty()).then(|| pem.replace("\\n", "\n"));
            Some((behaviour, Served { url: url.to_owned(), ca_pem }))
        })
        .collect()
}

/// Answers the request with these bytes.
fn answer(carrier: &mut dyn Carrier, bytes: &[u8]) {
    request(carrier);
    send(carrier, bytes);
    linger(carrier);
}

/// Answers with an HTTP status, header lines and no body.
fn status(carrier: &mut dyn Carrier, status: &str, more: &str) {
    let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n");
    answer(carrier, head.as_bytes());
}

/// Agrees to the upgrade in a head that was changed.
fn agrees_but(carrier: &mut dyn Carrier, change: impl Fn(String) -> String) {
    let request = request(carrier);
    let head = change(String::from_utf8(agreement(&request, "")).unwrap());
    send(carrier, head.as_bytes());
    linger(carrier);
}

/// Upgrades and says these bytes.
fn says(carrier: &mut dyn Carrier, bytes: &[u8]) {
    agree(carrier);
    send(carrier, bytes);
    linger(carrier);
}

/// Upgrades, says `first` and then `again` until the client hangs up.
fn floods(carrier: &mut dyn Carrier, first: &[u8], again: &[u8]) {
    agree(carrier);
    send(carrier, first);
    while carrier.write_all(again).is_ok() {}
}

/// Says `bytes` one at a time.
fn drips(carrier: &mut dyn Carrier, bytes: &[u8], each: Duration) {
    for byte in bytes {
        if carrier.write_all(&[*byte]).and_then(|()| carrier.flush()).is_err() {
            return;
        }
        sleep(each);
    }
    linger(carrier);
}

/// Upgrades and answers every frame of the client with what `reply` says.
fn converses(carrier: &mut dyn Carrier, reply: fn(&[u8]) -> Option<&'static str>) {
    agree(carrier);
    while let Some((_, said)) = hear(carrier) {
        if let Some(words) = reply(&said) {
            send(carrier, &text(words));
        }
    }
}

/// The payload of a goodbye.
fn goodbye(code: u16, words: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), words].concat())
}

/// Waits for the client's first words in the handshake, then says `bytes`.
fn raw_answer(tcp: &mut TcpStream, bytes: &[u8]) {
    use std::io::Read;
    drop(tcp.read(&mut [0; 512]));
    send(tcp, bytes);
    linger(tcp);
}

/// A TLS record of this kind.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], &length[..], body].concat()
}

/// The beginning of an answer in TLS of this version, with a cipher the client offers to TLS 1.2.
fn server_hello(version: [u8; 2]) -> Vec<u8> {
    let body = [&version[..], &[7; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    record(0x16, &[&[2, 0, 0, length], &body[..]].concat())
}

const fn row(
    name: &'static str,
    faults: &'static str,
    does: &'static str,
    act: Act,
    expect: Expect,
) -> Behaviour {
    Behaviour { name, faults, does, act, expect }
}

/// All of them.
#[rustfmt::skip]
pub const BEHAVIOURS: &[Behaviour] = &[
    // Before and in place of the upgrade.
    row("accept-reset", "F1 F25", "resets every connection it accepts", Web(|c| reset(c)), Ends(Down, "")),
    row("accept-close", "F18", "hangs up on the request", Web(|c| drop(request(c))), Ends(Down, "upgrade: ")),
    row("silent-upgrade", "F18", "never answers the request", Web(|c| linger(c)), Ends(Down, TOO_LATE)),
    row("drip", "F18", "answers one byte each 100 ms", Web(|c| { let r = request(c); drips(c, &agreement(&r, "X-Padding: .................\r\n"), Duration::from_millis(100)) }), Ends(Down, TOO_LATE)),
    row("half-head", "F18", "hangs up in the middle of its answer", Web(|c| { request(c); send(c, b"HTTP/1.1 101 Sw") }), Ends(Down, "upgrade: ")),
    row("endless-headers", "F18", "20,000 header lines", Web(|c| answer(c, format!("HTTP/1.1 101 X\r\n{}", "X-A: b\r\n".repeat(20_000)).as_bytes())), Ends(Down, "upgrade: ")),
    row("many-headers", "F18", "2,000 header lines and an end", Web(|c| answer(c, format!("HTTP/1.1 101 X\r\n{}\r\n", "X-A: b\r\n".repeat(2_000)).as_bytes())), Ends(Down, "upgrade: ")),
    row("long-header", "F18", "one header line of 1 MB", Web(|c| answer(c, format!("HTTP/1.1 101 X\r\nX-A: {}\r\n\r\n", "b".repeat(1_000_000)).as_bytes())), Ends(Down, "upgrade: ")),
    row("bad-accept", "F18", "a wrong Sec-WebSocket-Accept", Web(|c| agrees_but(c, |head| head.replace("Accept: ", "Accept: A"))), Ends(Down, "upgrade: ")),
    row("no-accept", "F18", "no Sec-WebSocket-Accept", Web(|c| agrees_but(c, |head| head.replace("Sec-WebSocket-Accept", "X-Accept"))), Ends(Down, "upgrade: ")),
    row("no-upgrade", "F18", "101 without Upgrade", Web(|c| agrees_but(c, |head| head.replace("Upgrade: websocket", "X-Upgrade: websocket"))), Ends(Down, "upgrade: ")),
    row("other-upgrade", "F18", "101 to h2c", Web(|c| agrees_but(c, |head| head.replace("Upgrade: websocket", "Upgrade: h2c"))), Ends(Down, "upgrade: ")),
    row("no-connection", "F18", "101 without Connection", Web(|c| agrees_but(c, |head| head.replace("Connection: Upgrade", "Connection: close"))), Ends(Down, "upgrade: ")),
    row("subprotocol", "F12", "a subprotocol that was not asked for", Web(|c| agrees_but(c, |head| head.replace("Connection:", "Sec-WebSocket-Protocol: soap\r\nConnection:"))), Ends(Down, "upgrade: ")),
    row("deflate", "F12 F14", "permessage-deflate, unasked", Web(|c| agrees_but(c, |head| head.replace("Connection:", "Sec-WebSocket-Extensions: permessage-deflate\r\nConnection:"))), Ends(Down, "permessage-deflate")),
    row("extension", "F12", "an extension nobody knows", Web(|c| agrees_but(c, |head| head.replace("Connection:", "Sec-WebSocket-Extensions: x-mux; q=1\r\nConnection:"))), Ends(Down, "was not asked for")),
    row("not-http", "F18", "answers with words", Web(|c| answer(c, b"hello\r\n\r\n")), Ends(Down, "upgrade: ")),
    row("http10", "F18", "agrees in HTTP/1.0", Web(|c| agrees_but(c, |head| head.replace("HTTP/1.1", "HTTP/1.0"))), Ends(Down, "upgrade: ")),
    row("http2", "F18", "speaks HTTP/2", Web(|c| answer(c, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])), Ends(Down, "")),
    row("nul-header", "F18", "NUL in its header", Web(|c| answer(c, b"HTTP/1.1 101 X\r\nX-A: \0\r\n\r\n")), Ends(Down, "upgrade: ")),
    row("http200", "F18", "200", Web(|c| status(c, "200 OK", "")), Ends(Down, "http 200")),
    row("http301", "F15", "moved", Web(|c| status(c, "301 Moved", "Location: wss://example.com/\r\n")), Ends(Down, "redirect refused")),
    row("http302", "F15", "found elsewhere", Web(|c| status(c, "302 Found", "Location: /x\r\n")), Ends(Down, "redirect refused")),
    row("http307", "F15", "moved for now", Web(|c| status(c, "307 Moved", "Location: ws://127.0.0.1/\r\n")), Ends(Down, "redirect refused")),
    row("http308", "F15", "moved for good", Web(|c| status(c, "308 Moved", "Location: ws://127.0.0.1/\r\n")), Ends(Down, "redirect refused")),
    row("http400", "F18", "400", Web(|c| status(c, "400 Bad", "")), Ends(Down, "http 400")),
    row("http401", "F18", "401", Web(|c| status(c, "401 Who", "")), Ends(Down, "http 401")),
    row("http403", "F16", "refuses us", Web(|c| status(c, "403 No", "")), Ends(Blocked, "http 403")),
    row("http404", "F18", "knows no such endpoint", Web(|c| status(c, "404 No", "")), Ends(Down, "no such endpoint")),
    row("http418", "F17", "bans us", Web(|c| status(c, "418 Teapot", "Retry-After: 99\r\n")), Ends(Blocked, "banned")),
    row("http429", "F17", "finds us too eager", Web(|c| status(c, "429 Slow", "Retry-After: 7\r\n")), Ends(Blocked, "too many")),
    row("http451", "F16", "refuses our region", Web(|c| status(c, "451 Law", "")), Ends(Blocked, "(region)")),
    row("http500", "F18", "500", Web(|c| status(c, "500 Oh", "")), Ends(Down, "unwell")),
    row("http502", "F18", "502", Web(|c| status(c, "502 Oh", "")), Ends(Down, "unwell")),
    row("http503", "F18", "503, and a megabyte of words", Web(|c| { request(c); send(c, b"HTTP/1.1 503 Oh\r\nContent-Length: 1000000\r\n\r\n"); floods_on(c, &[b'x'; 4_096]) }), Ends(Down, "unwell")),

    // What is not the protocol.
    row("garbage", "F12", "bytes that mean nothing", Web(|c| says(c, &[0xff; 64])), Ends(Down, "protocol: ")),
    row("rsv1", "F12", "a first reserved bit", Web(|c| says(c, &frame(0xc1, b"x"))), Ends(Down, "protocol: ")),
    row("rsv2", "F12", "a second reserved bit", Web(|c| says(c, &frame(0xa1, b"x"))), Ends(Down, "protocol: ")),
    row("rsv3", "F12", "a third reserved bit", Web(|c| says(c, &frame(0x91, b"x"))), Ends(Down, "protocol: ")),
    row("masked", "F12", "masks its frames", Web(|c| says(c, &[0x81, 0x81, 1, 2, 3, 4, 5])), Ends(Down, "protocol: ")),
    row("rsv1-and-mute", "F12", "a reserved bit in a header, and then nothing", Web(|c| says(c, &claim(0xc1, 900_000))), Ends(Down, "protocol: a frame with a reserved bit")),
    row("masked-and-mute", "F12", "half a masked frame, and then nothing", Web(|c| says(c, &[0x81, 0xfe])), Ends(Down, "protocol: a masked frame")),
    row("bad-opcode", "F12", "data of a kind that is reserved", Web(|c| says(c, &frame(0x83, b"x"))), Ends(Down, "protocol: ")),
    row("bad-control", "F12", "control of a kind that is reserved", Web(|c| says(c, &frame(0x8b, b"x"))), Ends(Down, "protocol: ")),
    row("fragmented-ping", "F12", "a ping in two parts", Web(|c| says(c, &frame(0x09, b"x"))), Ends(Down, "protocol: ")),
    row("long-ping", "F12", "a ping of 126 bytes", Web(|c| says(c, &frame(0x89, &[0; 126]))), Ends(Down, "protocol: ")),
    row("lone-part", "F12", "the end of no message", Web(|c| says(c, &frame(0x80, b"x"))), Ends(Down, "protocol: ")),
    row("nested", "F12", "a message within a message", Web(|c| says(c, &[frame(0x01, b"a"), frame(0x81, b"b")].concat())), Ends(Down, "protocol: ")),
    row("after-garbage", "F12", "good messages, then garbage", Web(|c| says(c, &[text("{}"), vec![0xf0; 200]].concat())), Ends(Down, "protocol: ")),
    row("http-after", "F12", "HTTP after the upgrade", Web(|c| says(c, &b"HTTP/1.1 200 OK\r\n".repeat(20))), Ends(Down, "protocol: ")),
    row("bad-utf8", "F13", "text that is no UTF-8", Web(|c| says(c, &frame(0x81, &[0xc3, 0x28]))), Ends(Down, "protocol: ")),
    row("bad-utf8-later", "F13", "a second part that is no UTF-8", Web(|c| says(c, &[frame(0x01, b"{"), frame(0x80, &[0xfe])].concat())), Ends(Down, "protocol: ")),
    row("trunc-utf8", "F13", "a letter that never ends", Web(|c| says(c, &frame(0x81, &[b'{', 0xe5, 0xb8]))), Ends(Down, "protocol: ")),
    row("overlong-utf8", "F13", "a slash in two bytes", Web(|c| says(c, &frame(0x81, &[0xc0, 0xaf]))), Ends(Down, "protocol: ")),
    row("surrogate-utf8", "F13", "half a pair of surrogates", Web(|c| says(c, &frame(0x81, &[0xed, 0xa0, 0x80]))), Ends(Down, "protocol: ")),
    row("split-utf8", "F13", "a letter in two parts", Web(|c| says(c, &[frame(0x01, &[b'{', 0xe5, 0xb8]), frame(0x80, &[0x81, b'}'])].concat())), Heard(1)),

    // Sizes.
    row("claim-2^62", "F10", "says 2^62 bytes will come", Web(|c| says(c, &claim(0x81, 1 << 62))), Ends(Down, "too large")),
    row("claim-2^63-1", "F10", "says 2^63-1 bytes will come", Web(|c| says(c, &claim(0x81, (1 << 63) - 1))), Ends(Down, "too large")),
    row("claim-2^64-1", "F10", "says 2^64-1 bytes will come", Web(|c| says(c, &claim(0x81, u64::MAX))), Ends(Down, "")),
    row("claim-1m+1", "F10", "says one byte too much will come", Web(|c| says(c, &claim(0x81, MESSAGE_MAX as u64 + 1))), Ends(Down, "too large")),
    row("16mb", "F10", "a frame of 16 MB", Web(|c| floods(c, &claim(0x81, 16 << 20), &[b'a'; 4_096])), Ends(Down, "too large")),
    row("frag-16mb", "F10", "a message of parts without end", Web(|c| floods(c, &frame(0x01, b"a"), &frame(0x00, &[b'a'; 4_000]))), Ends(Down, "too large")),
    row("crumbs", "F9", "a message of small parts without end", Web(|c| floods(c, &frame(0x01, b"a"), &frame(0x00, &[b'a'; 125]).repeat(30))), Ends(Down, "abuse: a message in parts that carry next to nothing")),
    row("crumbs-each", "F9", "many messages, each in a few empty parts", Web(|c| floods(c, &text("{}"), &[frame(0x01, b""), frame(0x00, b""), frame(0x80, b"{}")].concat().repeat(100))), Ends(Down, "abuse: a message in parts that carry next to nothing")),
    row("1m", "F10", "the largest message there may be", Web(|c| says(c, &frame(0x81, &vec![b'a'; MESSAGE_MAX]))), Heard(1)),
    row("padded-length", "F10", "a length in more bytes than it needs", Web(|c| says(c, &[claim(0x81, 2), b"{}".to_vec()].concat())), Heard(1)),

    // Floods.
    row("empty-frag-flood", "F9", "empty parts without end", Web(|c| floods(c, &frame(0x01, b""), &frame(0x00, b"").repeat(2_000))), Ends(Down, "abuse: a message in parts that carry next to nothing")),
    row("ping-flood", "F8", "pings without end, and reads the pongs", Web(pings_and_reads), Ends(Down, "abuse: ")),
    row("ping-flood-noread", "F8", "pings without end, and reads nothing", Web(|c| floods(c, &text("{}"), &frame(0x89, &[b'p'; 120]).repeat(100))), Ends(Down, "abuse: ")),
    row("pong-flood", "F8", "pongs without end", Web(|c| floods(c, &text("{}"), &frame(0x8a, b"").repeat(1_000))), Ends(Down, "abuse: ")),
    row("burst", "D10", "100,000 messages at once", Web(|c| says(c, &text("{}").repeat(100_000))), Heard(100_000)),
    row("empty-messages", "D10", "10,000 messages of nothing", Web(|c| says(c, &frame(0x81, b"").repeat(10_000))), Heard(10_000)),
    row("binary", "F13", "binary messages", Web(|c| says(c, &frame(0x82, b"{}").repeat(9))), Heard(9)),
    row("tiny-parts", "F11", "every letter in a part of its own", Web(|c| says(c, &[frame(0x01, b"{"), frame(0x00, b"").repeat(60), frame(0x80, b"}")].concat())), Heard(1)),
    row("ping-inside", "F12", "a ping between the parts of a message", Web(|c| says(c, &[frame(0x01, b"{"), frame(0x89, b"x"), frame(0x80, b"}")].concat())), Heard(1)),

    // Slowness and silence.
    row("bytewise", "F11", "good messages, byte by byte", Web(|c| { agree(c); drips(c, &text("{}").repeat(20), Duration::ZERO) }), Heard(20)),
    row("claim-slow", "F11", "a frame of 16 KiB that drips", Web(|c| { agree(c); send(c, &text("{}")); send(c, &[0x81, 126, 0x40, 0]); drips(c, &[b'a'; 16_383], Duration::from_millis(1)) }), Ends(Stale, "nothing arrived")),
    row("parts-slow", "F11", "empty parts that drip", Web(|c| { agree(c); send(c, &[text("{}"), frame(0x01, b"")].concat()); drips(c, &frame(0x00, b"").repeat(9_000), Duration::from_millis(1)) }), Ends(Down, "abuse: a message in parts that carry next to nothing")),
    row("mute", "F23", "upgrades and says nothing", Web(|c| { agree(c); linger(c) }), Ends(Down, "subscribe: no acknowledgement")),
    row("falls-silent", "F2 F3", "one message, and silence", Web(|c| says(c, &text("{}"))), Ends(Stale, "nothing arrived")),
    row("mute-nopong", "F6", "answers no ping while data flows", Web(|c| { agree(c); (0..200).for_each(|_| { send(c, &text("{}")); sleep(Duration::from_millis(1)) }); linger(c) }), Heard(200)),
    row("ack-only", "F4", "acknowledges, answers pings, says nothing", Web(|c| converses(c, |said| Some(if said == b"ping" { "pong" } else { "ack" }))), Ends(Suspect, "canary missing")),
    row("pong-only", "F23", "answers pings and never acknowledges", Web(|c| converses(c, |said| (said == b"ping").then_some("pong"))), Ends(Down, "subscribe: no acknowledgement")),

    // Ends.
    row("close1000", "F21", "says goodbye, 1000", Web(|c| says(c, &goodbye(1000, b"bye"))), Ends(Down, "closed by the venue 1000 bye")),
    row("close1001", "F21", "goes away, 1001", Web(|c| says(c, &goodbye(1001, b""))), Ends(Down, "closed by the venue 1001")),
    row("close1012", "F21", "restarts, 1012, and keeps its socket open", Web(|c| { agree(c); send(c, &goodbye(1012, b"restart")); sleep(Duration::from_secs(5)) }), Ends(Down, "closed by the venue 1012 restart")),
    row("close-wordless", "F21", "says goodbye without a code", Web(|c| says(c, &frame(0x88, b""))), Ends(Down, "closed by the venue")),
    row("close-half-code", "F12 F21", "half a code", Web(|c| says(c, &frame(0x88, &[3]))), Ends(Down, "protocol: ")),
    row("close-1005", "F12 F21", "a code that must not be sent", Web(|c| says(c, &goodbye(1005, b""))), Ends(Down, "")),
    row("close-999", "F12 F21", "a code below all codes", Web(|c| says(c, &goodbye(999, b""))), Ends(Down, "")),
    row("close-bad-utf8", "F13 F21", "a goodbye that is no UTF-8", Web(|c| says(c, &goodbye(1000, &[0xc3, 0x28]))), Ends(Down, "protocol: ")),
    row("close-evil", "F21", "control characters in its goodbye", Web(|c| says(c, &goodbye(1012, b"\n\x1b[31m evil"))), Ends(Down, "1012 \\n\\u{1b}[31m evil")),
    row("close-twice", "F21", "says goodbye twice", Web(|c| says(c, &goodbye(1000, b"a").repeat(2))), Ends(Down, "closed by the venue 1000")),
    row("data-after-close", "F21", "goes on after its goodbye", Web(|c| floods(c, &goodbye(1000, b""), &text("{}").repeat(100))), Ends(Down, "closed by the venue 1000")),
    row("fin", "F1", "hangs up without a word", Web(|c| { agree(c); drop((hear(c), hear(c))); send(c, &text("{}")) }), Ends(Down, "closed the connection without a word")),
    row("half-frame-fin", "F1", "hangs up inside a frame", Web(|c| { agree(c); drop((hear(c), hear(c))); send(c, &[0x81, 9, b'a']) }), Ends(Down, "closed the connection without a word")),
    row("reset", "F1", "resets after a message", Web(|c| { agree(c); send(c, &text("{}")); drop(hear(c)); sleep(Duration::from_millis(20)); reset(c) }), Ends(Down, "reset")),
    row("half-frame-reset", "F1", "resets inside a frame", Web(|c| { agree(c); send(c, &[0x81, 9, b'a']); drop(hear(c)); sleep(Duration::from_millis(20)); reset(c) }), Ends(Down, "reset")),

    // TLS.
    row("tls-plain-http", "F19", "HTTP where TLS is due", Raw(|t| raw_answer(t, b"HTTP/1.1 400 Bad Request\r\n\r\n")), Ends(Down, "does not speak TLS")),
    row("tls-garbage", "F19", "garbage where TLS is due", Raw(|t| raw_answer(t, &[0xa5; 600])), Ends(Down, "does not speak TLS")),
    row("tls-silent", "F19", "says nothing where TLS is due", Raw(|t| linger(t)), Ends(Down, TOO_LATE)),
    row("tls-hangs-up", "F19", "hangs up where TLS is due", Raw(|_| {}), Ends(Down, "tls: ")),
    row("tls-half-hello", "F19", "half a greeting, and hangs up", Raw(|t| send(t, &[0x16, 3, 3, 0, 80, 2])), Ends(Down, "tls: ")),
    row("tls-half-hello-stays", "F19", "half a greeting, and stays", Raw(|t| raw_answer(t, &[0x16, 3, 3, 0, 80, 2])), Ends(Down, TOO_LATE)),
    row("tls-drip", "F19", "a greeting that drips", Raw(|t| { let hello = [&[0x16, 3, 3, 0x40, 0][..], &[2; 400]].concat(); drips(t, &hello, Duration::from_millis(50)) }), Ends(Down, TOO_LATE)),
    row("tls-oversized", "F19", "a record larger than any may be", Raw(|t| raw_answer(t, &[&[0x16, 3, 3, 0xff, 0xff][..], &[0; 65_535]].concat())), Ends(Down, "tls: ")),
    row("tls-alert", "F19", "refuses the handshake", Raw(|t| raw_answer(t, &record(0x15, &[2, 40]))), Ends(Down, "tls: ")),
    row("tls-1.0", "F19", "TLS 1.0", Raw(|t| raw_answer(t, &server_hello([3, 1]))), Ends(Down, "tls: ")),
    row("tls-1.1", "F19", "TLS 1.1", Raw(|t| raw_answer(t, &server_hello([3, 2]))), Ends(Down, "tls: ")),
    row("tls-bad-record", "F19", "a record that was tampered with", Tls(|s| { agree(s); send(s, &text("{}")); send(&mut s.sock, &record(0x17, &[7; 40])); linger(s) }), Ends(Down, "")),
    row("tls-plain-inside", "F19", "plain text in the middle of TLS", Tls(|s| { agree(s); send(s, &text("{}")); send(&mut s.sock, &text("{}")); linger(s) }), Ends(Down, "")),
    row("tls-close-notify", "F1", "an orderly end of TLS, no goodbye", Tls(|s| { agree(s); s.conn.send_close_notify(); send(s, b"") ; linger(s) }), Ends(Down, "without a word")),
    row("cert-expired", "F19 F20", "a certificate that is over", Shows(Certificate::Expired), Ends(Down, "expired on 2020-02-03")),
    row("cert-future", "F19 F20", "a certificate that has not begun", Shows(Certificate::Future), Ends(Down, "check its clock")),
    row("cert-other-host", "F19", "the certificate of another host", Shows(Certificate::OtherHost), Ends(Down, "for another host than localhost")),
    row("cert-stranger", "F19", "a certificate of an unknown authority", Shows(Certificate::Stranger), Ends(Down, "authority that is not trusted")),
    row("cert-own", "F19", "a certificate signed by itself", Shows(Certificate::Own), Ends(Down, "tls: certificate of localhost")),
];

fn floods_on(carrier: &mut dyn Carrier, bytes: &[u8]) {
    while carrier.write_all(bytes).is_ok() {}
}

fn pings_and_reads(carrier: &mut dyn Carrier) {
    agree(carrier);
    send(carrier, &text("{}"));
    for _ in 0..100 {
        send(carrier, &frame(0x89, b"").repeat(100));
        for _ in 0..100 {
            if hear(carrier).is_none() {
                return;
            }
        }
    }
}
