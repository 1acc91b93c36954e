//! The street: every venue behind one loopback port, over real TLS.
//!
//! ```text
//! wss://localhost:PORT/binance/market/stream    https://localhost:PORT/binance/fapi/v1/exchangeInfo
//! ```
//!
//! The first segment of a path names the venue. A thread accepts, each connection has a thread, and one
//! thread lets the market's time follow the wall clock and hands every message to the connections that
//! joined its topic. The story begins when enough lines have subscribed. The authority that signs the
//! certificate is made at the start and known to nobody else; [`Street::ca_pem`] gives it out.

use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message as Frame, WebSocket};

use super::coins::Listing;
use super::market::{Act, Market, Schedule};
use super::voice::{Answer, Message, Voice, voices};
use crate::event::{VENUE_COUNT, Venue};
use crate::time::Millis;

/// Messages waiting for one connection; above it the client is too slow and is cut.
const INBOX: usize = 1 << 16;
/// How long a connection thread sleeps in `read` before it looks at its inbox.
const LISTEN: Duration = Duration::from_millis(2);
/// A request must be complete within this.
const REQUEST: Duration = Duration::from_secs(3);
const REQUEST_MAX: usize = 64 * 1024;
const CLOCK: Duration = Duration::from_millis(5);

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// What was sent for one venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages handed to connections, acknowledgements left out.
    pub messages: u64,
    /// Liquidations in them.
    pub liquidations: u64,
    /// Liquidations that truly happened.
    pub happened: u64,
}

/// The running street. Dropping it ends it.
#[derive(Debug)]
pub struct Street {
    port: u16,
    ca_pem: String,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
struct Shared {
    stop: AtomicBool,
    act: AtomicU8,
    lines: Mutex<Vec<Arc<Subscriber>>>,
    voices: Mutex<Vec<Box<dyn Voice>>>,
    listings: Vec<Listing>,
    counts: [[AtomicU64; 3]; VENUE_COUNT],
    tls: Arc<ServerConfig>,
}

/// One connection that was upgraded.
struct Subscriber {
    venue: Venue,
    route: &'static str,
    path: String,
    topics: Mutex<HashSet<String>>,
    inbox: Sender<String>,
    gone: AtomicBool,
}

impl Street {
    /// Opens the street on `127.0.0.1:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// In words: the port is in use, or no certificate or thread could be made.
    pub fn start(seed: u64, schedule: Schedule, port: u16) -> Result<Self, String> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| taken(port, &e))?;
        let port = listener.local_addr().map_err(|e| format!("street: {e}"))?.port();
        let (tls, ca_pem) = identity()?;
        let market = Market::new(seed, schedule, Millis(wall_ms()));
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            act: AtomicU8::new(0),
            lines: Mutex::new(Vec::new()),
            voices: Mutex::new(voices()),
            listings: market.listings().to_vec(),
            counts: Default::default(),
            tls,
        });
        let (a, b) = (shared.clone(), shared.clone());
        let threads = vec![
            spawn("street-accept", move || accept(&listener, &a))?,
            spawn("street-clock", move || follow(market, &schedule, &b))?,
        ];
        Ok(Self { port, ca_pem, shared, threads })
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every route of every venue, with its URL here.
    #[must_use]
    pub fn urls(&self) -> Vec<(Venue, &'static str, String)> {
        let mut urls = Vec::new();
        for voice in locked(&self.shared.voices).iter() {
            for (route, path) in voice.routes() {
                let venue = voice.venue();
                let url = format!("wss://localhost:{}/{}{path}", self.port, venue.name());
                urls.push((venue, *route, url));
            }
        }
        urls
    }

    /// What replaces `https://host` in a venue's REST requests.
    #[must_use]
    pub fn rest(&self, venue: Venue) -> String {
        format!("https://localhost:{}/{}", self.port, venue.name())
    }

    /// The certificate of the authority that signed the street's own.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The present act of the story.
    #[must_use]
    pub fn act(&self) -> Act {
        ACTS.get(usize::from(self.shared.act.load(Ordering::Relaxed))).copied().unwrap_or(Act::Over)
    }

    /// What was sent for a venue so far.
    #[must_use]
    pub fn sent(&self, venue: Venue) -> Sent {
        let count = |i: usize| {
            let row = self.shared.counts.get(venue.index());
            row.and_then(|row| row.get(i)).map_or(0, |n| n.load(Ordering::Relaxed))
        };
        Sent { messages: count(0), liquidations: count(1), happened: count(2) }
    }

    /// Asks every thread to end.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The accepting thread waits for a connection: give it one.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }

    /// Waits until the accepting thread and the clock have ended.
    pub fn join(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("act", &self.act).finish_non_exhaustive()
    }
}

const ACTS: [Act; 6] = [Act::Waiting, Act::Quiet, Act::BuildUp, Act::Cascade, Act::Calm, Act::Over];

fn taken(port: u16, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!("port {port} is in use; choose another, or 0 for a free one")
        }
        ErrorKind::PermissionDenied => format!("port {port}: not allowed; choose one above 1023"),
        _ => format!("port {port}: {error}"),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|e| format!("{name}: {e}"))
}

/// A panic in a connection's thread must not silence the others.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}

/// An authority, and a certificate for loopback names signed by it.
fn identity() -> Result<(Arc<ServerConfig>, String), String> {
    let words = |e: rcgen::Error| format!("certificate: {e}");
    let mut authority = CertificateParams::new(Vec::new()).map_err(words)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(words)?;
    let authority = CertifiedIssuer::self_signed(authority, key).map_err(words)?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let key = KeyPair::generate().map_err(words)?;
    let leaf = CertificateParams::new(names).map_err(words)?;
    let leaf = leaf.signed_by(&key, &authority).map_err(words)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], private))
        .map_err(|e| format!("certificate: {e}"))?;
    Ok((Arc::new(config), authority.pem()))
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for tcp in listener.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let (Ok(tcp), shared) = (tcp, shared.clone()) else { continue };
        // A connection that fails is the client's affair; it sees it fail.
        drop(spawn("street-line", move || drop(serve(tcp, &shared))));
    }
}

/// Lets the market's time follow the wall clock.
fn follow(mut market: Market, schedule: &Schedule, shared: &Shared) {
    let patience = i64::try_from(schedule.patience_ms).unwrap_or(i64::MAX);
    let begin_by = market.now_ms().saturating_add(patience);
    let (mut items, mut messages) = (Vec::new(), Vec::new());
    while !shared.stop.load(Ordering::Relaxed) {
        if shared.subscribed() >= schedule.lines || market.now_ms() >= begin_by {
            market.begin();
        }
        while market.now_ms() <= wall_ms() {
            market.step(&mut items);
            shared.hand_out(&items, market.now_ms(), &mut messages);
            items.clear();
        }
        shared.act.store(market.act() as u8, Ordering::Relaxed);
        thread::sleep(CLOCK);
    }
}

impl Shared {
    /// Connections that have joined something.
    fn subscribed(&self) -> usize {
        let lines = locked(&self.lines);
        lines.iter().filter(|line| !locked(&line.topics).is_empty()).count()
    }

    fn hand_out(&self, items: &[super::market::Item], now_ms: i64, messages: &mut Vec<Message>) {
        let mut lines = locked(&self.lines);
        lines.retain(|line| !line.gone.load(Ordering::Relaxed));
        for voice in locked(&self.voices).iter_mut() {
            let venue = voice.venue();
            for item in items {
                let Some(listing) = self.listings.get(item.listing) else { continue };
                if listing.venue == venue {
                    voice.tell(item, listing, messages);
                    let forced = matches!(item.what, super::market::What::Liquidation { .. });
                    self.count(venue, 2, u64::from(forced));
                }
            }
            voice.flush(now_ms, messages);
            for message in messages.drain(..) {
                self.deliver(voice.as_ref(), &lines, &message);
            }
        }
    }

    fn deliver(&self, voice: &dyn Voice, lines: &[Arc<Subscriber>], message: &Message) {
        for line in lines {
            let here = line.venue == voice.venue() && line.route == message.route;
            if !here || !locked(&line.topics).contains(&message.topic) {
                continue;
            }
            if line.inbox.try_send(voice.dress(message, &line.path)).is_err() {
                line.gone.store(true, Ordering::Relaxed);
                continue;
            }
            self.count(line.venue, 0, 1);
            self.count(line.venue, 1, u64::from(message.liquidations));
        }
    }

    fn count(&self, venue: Venue, what: usize, n: u64) {
        if let Some(count) = self.counts.get(venue.index()).and_then(|row| row.get(what)) {
            count.fetch_add(n, Ordering::Relaxed);
        }
    }
}

/// A request's head and body.
struct Request {
    path: String,
    key: Option<String>,
    body: String,
}

fn serve(tcp: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(REQUEST))?;
    tcp.set_write_timeout(Some(REQUEST))?;
    let tls = ServerConnection::new(shared.tls.clone()).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, tcp);
    let request = read_request(&mut stream)?;
    let (venue, path) = split(&request.path);
    let Some(key) = &request.key else { return rest(&mut stream, shared, venue, path, &request) };
    let Some((venue, route)) = route(shared, venue, path) else { return refuse(&mut stream) };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    stream.sock.set_read_timeout(Some(LISTEN))?;
    let (inbox, messages) = bounded(INBOX);
    let (path, topics) = (path.to_owned(), Mutex::default());
    let gone = AtomicBool::new(false);
    let line = Arc::new(Subscriber { venue, route, path, topics, inbox, gone });
    locked(&shared.lines).push(line.clone());
    let config = WebSocketConfig::default().read_buffer_size(4096);
    let socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    talk(socket, &line, &messages, shared);
    line.gone.store(true, Ordering::Relaxed);
    Ok(())
}

/// Reads up to the empty line, and then as many bytes as were announced.
fn read_request(stream: &mut Stream) -> io::Result<Request> {
    let (mut bytes, mut part) = (Vec::new(), [0; 2048]);
    loop {
        let n = stream.read(&mut part)?;
        bytes.extend_from_slice(part.get(..n).unwrap_or_default());
        if n == 0 || bytes.len() > REQUEST_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
            pairs.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned())
        };
        let announced = header("Content-Length").and_then(|n| n.parse().ok()).unwrap_or(0);
        if body.len() >= announced {
            let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
            return Ok(Request { path, key: header("Sec-WebSocket-Key"), body: body.to_owned() });
        }
    }
}

/// `/okx/ws/v5/public` is `okx` and `/ws/v5/public`.
fn split(path: &str) -> (Option<Venue>, &str) {
    let rest = path.trim_start_matches('/');
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, below) = rest.split_at(end);
    (Venue::named(name), below)
}

/// The route whose path has the most in common with the one asked for: Binance's `/market/ws` and
/// `/market/stream` are the same route.
fn route(shared: &Shared, venue: Option<Venue>, path: &str) -> Option<(Venue, &'static str)> {
    let voices = locked(&shared.voices);
    let voice = voices.iter().find(|voice| Some(voice.venue()) == venue)?;
    let below = |known: &str| path == known || path.starts_with(&stem(known));
    let found = voice.routes().iter().find(|(_, known)| below(known));
    found.map(|(name, _)| (voice.venue(), *name))
}

/// `/market/stream` is anything below `/market`; a path of one kind only is itself.
fn stem(known: &str) -> String {
    known.strip_suffix("/stream").unwrap_or(known).to_owned()
}

/// What a venue answers to whoever asks it the time.
fn time(venue: Venue, path: &str, now_ms: i64) -> Option<String> {
    match (venue, path) {
        (Venue::Binance, "/fapi/v1/time") => Some(format!(r#"{{"serverTime":{now_ms}}}"#)),
        (Venue::Bybit, "/v5/market/time") => Some(format!(
            r#"{{"retCode":0,"result":{{"timeSecond":"{}"}},"time":{now_ms}}}"#,
            now_ms / 1_000
        )),
        (Venue::Okx, "/api/v5/public/time") => {
            Some(format!(r#"{{"code":"0","msg":"","data":[{{"ts":"{now_ms}"}}]}}"#))
        }
        _ => None,
    }
}

fn rest(
    stream: &mut Stream,
    shared: &Shared,
    venue: Option<Venue>,
    path: &str,
    request: &Request,
) -> io::Result<()> {
    let voices = locked(&shared.voices);
    let voice = voices.iter().find(|voice| Some(voice.venue()) == venue);
    let found = voice.and_then(|voice| {
        let time = time(voice.venue(), path, wall_ms());
        time.or_else(|| voice.rest(&shared.listings, path, &request.body))
    });
    drop(voices);
    match found {
        Some(body) => reply(stream, "200 OK", &body),
        None => refuse(stream),
    }
}

fn refuse(stream: &mut Stream) -> io::Result<()> {
    reply(stream, "404 Not Found", r#"{"code":404,"msg":"no such endpoint"}"#)
}

fn reply(stream: &mut Stream, status: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Sends what the clock hands out, answers what the client says.
fn talk(
    mut socket: WebSocket<Stream>,
    line: &Subscriber,
    messages: &Receiver<String>,
    shared: &Shared,
) {
    while !shared.stop.load(Ordering::Relaxed) && !line.gone.load(Ordering::Relaxed) {
        for text in messages.try_iter().take(1_000) {
            if socket.write(Frame::text(text)).is_err() {
                return;
            }
        }
        if socket.flush().is_err() {
            return;
        }
        match socket.read() {
            Ok(Frame::Text(text)) => {
                if hear(&mut socket, line, shared, &text).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(Error::Io(e))
                if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn hear(
    socket: &mut WebSocket<Stream>,
    line: &Subscriber,
    shared: &Shared,
    text: &str,
) -> Result<(), ()> {
    let answers = {
        let voices = locked(&shared.voices);
        let voice = voices.iter().find(|voice| voice.venue() == line.venue).ok_or(())?;
        voice.answer(&shared.listings, line.route, text)
    };
    for answer in answers {
        match answer {
            Answer::Say(text) => socket.write(Frame::text(text)).map_err(drop)?,
            Answer::Join(topic) => drop(locked(&line.topics).insert(topic)),
            Answer::Leave(topic) => drop(locked(&line.topics).remove(&topic)),
            Answer::HangUp => return Err(()),
        }
    }
    socket.flush().map_err(drop)
}
