//! Whatever may wait: resolving, connecting, TLS, the upgrade.
//!
//! A socket sends a [`Call`] and goes on taking turns; a dial thread answers with a WebSocket that
//! never waits again, or with a [`Refusal`] in words. There are several threads, because a resolver
//! that hangs cannot be interrupted and must not hold up the other feeds. Each step has a deadline of
//! its own, and a refusal begins with the step that failed:
//!
//! ```text
//! dns:  ─▶ connect to:            ─▶ tls: ─▶ upgrade: (http:)
//! 2 s      2 s over all addresses    2 s     3 s from the beginning of TLS
//! ```
//!
//! Certificates are always checked; there is no switch to leave that out. `ws://` is for loopback.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderValue, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, WebSocket};

use super::backoff::Pace;
use super::line::Refusal;
use super::resolve::Resolver;
use super::wire::{Pipe, Wire};
use crate::event::{VENUE_COUNT, Venue};
use crate::time::Nanos;
use crate::{https, tls};

const CONNECT: Duration = Duration::from_secs(2);
const SECURE: Duration = Duration::from_secs(2);
/// From the beginning of TLS.
const UPGRADE: Duration = Duration::from_secs(3);
/// Calls waiting for a dial thread.
const CALLS: usize = 64;
/// Longest a venue may ask us to stay away, seconds.
const RETRY_AFTER_MAX: u64 = 3_600;
/// Largest message and frame accepted, bytes.
pub const MESSAGE_MAX: usize = 1 << 20;

/// Where a feed is: `wss://host[:port]/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The whole URL.
    pub url: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it is reached over TLS.
    pub tls: bool,
}

impl Endpoint {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Says what is wrong with it: another scheme, no host, or `ws://` to another machine.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: tungstenite::http::Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
        let tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(format!("{url:?}: must begin with wss://")),
        };
        let host = uri.host().unwrap_or("").trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(format!("{url:?}: no host"));
        }
        if !tls && !is_loopback(&host) {
            return Err(format!("{url:?}: ws:// is for loopback addresses only, use wss://"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { url: url.to_owned(), host, port, tls })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Which certificates are believed.
#[derive(Clone, Debug)]
pub struct Trust {
    tls: Arc<ClientConfig>,
}

impl Trust {
    /// The built-in roots, and those in `pem` beside them.
    ///
    /// # Errors
    /// When `pem` holds no usable certificate.
    pub fn new(pem: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = tls::built_in();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|e| format!("ca file: {e}"))?;
        }
        let config = tls::believing(roots)?.with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }
}

/// The certificates in a PEM file; at least one where there is a file.
pub(super) fn certificates(pem: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = pem.map_or(Ok(Vec::new()), tls::certificates);
    found.map_err(|e| format!("ca file: {e}"))
}

/// A request to connect.
#[derive(Debug)]
pub struct Call {
    /// Where to.
    pub endpoint: Arc<Endpoint>,
    /// The address that worked last, tried when the resolver fails.
    pub last: Option<SocketAddr>,
    /// Which of the venue's addresses is tried first, where there are several.
    pub nth: usize,
    /// Where the answer goes.
    pub answer: Sender<Answer>,
}

/// What came of a call.
pub type Answer = Result<Box<Opened>, Refusal>;

/// An upgraded connection that never waits. Frames that came with the upgrade are inside it.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub socket: WebSocket<Wire>,
    /// Who answered.
    pub peer: SocketAddr,
}

/// The threads that dial. They end when every caller is gone.
#[derive(Clone, Debug)]
pub struct Dialer {
    calls: Sender<Call>,
    /// Shared by all lines of a venue; asked once per connection, by one thread.
    paces: Arc<Mutex<[Pace; VENUE_COUNT]>>,
}

impl Dialer {
    /// Starts `threads` threads; one per line keeps every line independent of the others.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(threads: usize, trust: &Trust) -> io::Result<Self> {
        let (calls, waiting) = bounded(CALLS);
        for i in 0..threads.max(1) {
            let (waiting, trust) = (waiting.clone(), trust.clone());
            thread::Builder::new()
                .name(format!("dial-{i}"))
                .spawn(move || work(&waiting, &trust))?;
        }
        Ok(Self { calls, paces: Arc::default() })
    }

    /// Takes a place for a connection to a venue.
    ///
    /// # Errors
    /// Gives the time at which there will be one.
    pub fn pace(&self, venue: Venue, now: Nanos) -> Result<(), Nanos> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces[venue.index()].ask(now)
    }

    /// Asks for a connection. Never waits.
    ///
    /// # Errors
    /// Gives the call back when too many are waiting.
    pub fn call(&self, call: Call) -> Result<(), Call> {
        self.calls.try_send(call).map_err(crossbeam_channel::TrySendError::into_inner)
    }
}

fn work(calls: &Receiver<Call>, trust: &Trust) {
    let resolver = Resolver::start();
    for call in calls {
        let resolver = resolver.as_ref().map_err(|e| reason("dns", e));
        let answer = resolver
            .and_then(|resolver| reach(&call.endpoint, call.last, call.nth, trust, resolver));
        // The caller may have stopped meanwhile; the connection is then dropped here.
        drop(call.answer.try_send(answer));
    }
}

/// Connects and upgrades, waiting as long as the deadlines allow.
///
/// # Errors
/// Says in words why not.
pub fn dial(endpoint: &Endpoint, last: Option<SocketAddr>, nth: usize, trust: &Trust) -> Answer {
    let resolver = Resolver::start().map_err(|e| reason("dns", &e))?;
    reach(endpoint, last, nth, trust, &resolver)
}

fn reach(
    endpoint: &Endpoint,
    last: Option<SocketAddr>,
    nth: usize,
    trust: &Trust,
    resolver: &Resolver,
) -> Answer {
    let mut addresses = resolve(endpoint, last, resolver)?;
    let first = nth % addresses.len().max(1);
    addresses.rotate_left(first);
    let (tcp, peer) = connect(&addresses)?;
    let began = Instant::now();
    let pipe = Pipe::new(tcp, began + SECURE).map_err(|e| reason("tcp", &e))?;
    let mut wire = if endpoint.tls { secure(pipe, endpoint, trust)? } else { Wire::Plain(pipe) };
    wire.pipe_mut().until(began + UPGRADE);
    let mut socket = upgrade(wire, endpoint)?;
    socket.get_mut().pipe_mut().free().map_err(|e| reason("tcp", &e))?;
    Ok(Box::new(Opened { socket, peer }))
}

fn resolve(
    endpoint: &Endpoint,
    last: Option<SocketAddr>,
    resolver: &Resolver,
) -> Result<Vec<SocketAddr>, Refusal> {
    let found = resolver.resolve(&endpoint.host, endpoint.port);
    let mut addresses = match (found, last) {
        (Ok(found), _) => found,
        (Err(_), Some(last)) => vec![last],
        (Err(why), None) => return Err(Refusal::new(why)),
    };
    addresses.retain(|address| endpoint.tls || address.ip().is_loopback());
    if addresses.is_empty() {
        return Err(Refusal::new(format!("dns: no address for {}", endpoint.host)));
    }
    Ok(addresses)
}

/// Tries each address, sharing one deadline among those that are left.
fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Refusal> {
    let deadline = Instant::now() + CONNECT;
    let mut refusal = Refusal::new("connect: no address");
    for (i, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let others = u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
        let share = (left / others).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, share) {
            Ok(tcp) => return Ok((tcp, *address)),
            Err(e) => refusal = reason(&format!("connect to {address}"), &e),
        }
    }
    Err(refusal)
}

fn secure(mut pipe: Pipe, endpoint: &Endpoint, trust: &Trust) -> Result<Wire, Refusal> {
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| Refusal::new(format!("tls: {:?} is not a host name", endpoint.host)))?;
    let mut tls = ClientConnection::new(trust.tls.clone(), name)
        .map_err(|e| Refusal::new(format!("tls: {e}")))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut pipe).map_err(|e| tls_reason(&endpoint.host, &e))?;
    }
    Ok(Wire::Tls(Box::new(StreamOwned::new(tls, pipe))))
}

fn upgrade(wire: Wire, endpoint: &Endpoint) -> Result<WebSocket<Wire>, Refusal> {
    let mut request =
        endpoint.url.as_str().into_client_request().map_err(|e| upgrade_reason(&e))?;
    let agent = HeaderValue::from_static(concat!("foreshock/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert("User-Agent", agent);
    let (socket, answer) = tungstenite::client::client_with_config(request, wire, Some(limits()))
        .map_err(|error| match error {
        HandshakeError::Failure(e) => upgrade_reason(&e),
        HandshakeError::Interrupted(_) => Refusal::new("upgrade: interrupted"),
    })?;
    // We offer no extension, and the library does not look: frames would be unreadable later.
    match answer.headers().get("Sec-WebSocket-Extensions") {
        Some(unasked) => {
            Err(Refusal::new(format!("upgrade: extension {unasked:?} was not asked for")))
        }
        None => Ok(socket),
    }
}

/// Small buffers: the reader zeroes its read buffer on every read, and a peer that pings without
/// reading must not make us hoard answers.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(64 * 1024)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
}

fn upgrade_reason(error: &tungstenite::Error) -> Refusal {
    match error {
        tungstenite::Error::Http(answer) => http_reason(answer),
        tungstenite::Error::Io(e) => reason("upgrade", e),
        other => Refusal::new(format!("upgrade: {other}")),
    }
}

fn http_reason<T>(answer: &Response<T>) -> Refusal {
    let code = answer.status().as_u16();
    let retry_after = https::retry_after(answer.headers(), SystemTime::now());
    Refusal {
        why: format!("http {code}{}", http_hint(code)),
        code,
        retry_after: retry_after.map(|pause| whole_seconds(pause).min(RETRY_AFTER_MAX)),
    }
}

/// No shorter than what was asked for.
fn whole_seconds(pause: Duration) -> u64 {
    pause.as_secs().saturating_add(u64::from(pause.subsec_nanos() > 0))
}

/// What a status usually means at a venue.
pub(super) fn http_hint(code: u16) -> &'static str {
    match code {
        301..=308 => " (redirect refused)",
        403 => " (refused: region, or too many requests)",
        404 => " (no such endpoint)",
        418 => " (banned for too many requests)",
        429 => " (too many requests)",
        451 => " (region)",
        500..=599 => " (the venue is unwell)",
        _ => "",
    }
}

/// An I/O error in words.
fn reason(what: &str, error: &io::Error) -> Refusal {
    Refusal::new(match error.kind() {
        ErrorKind::ConnectionRefused => format!("{what}: connection refused"),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => format!("{what}: connection reset"),
        ErrorKind::UnexpectedEof => format!("{what}: the peer closed the connection"),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => format!("{what}: no answer in time"),
        _ => format!("{what}: {error}"),
    })
}

fn tls_reason(host: &str, error: &io::Error) -> Refusal {
    match tls::said(error) {
        Some(e) => Refusal::new(tls::words(host, e)),
        None => reason("tls", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_taken_apart() {
        let at = Endpoint::parse("wss://ws.okx.com:8443/ws/v5/public").unwrap();
        assert_eq!((at.host.as_str(), at.port, at.tls), ("ws.okx.com", 8443, true));
        assert_eq!(Endpoint::parse("wss://a.b/ws").unwrap().port, 443);
        assert_eq!(Endpoint::parse("ws://[::1]:9/x").unwrap().host, "::1");
    }

    #[test]
    fn plain_text_never_leaves_the_machine() {
        for bad in ["ws://okx.com/x", "http://localhost/", "wss://", "ws://10.0.0.1/", "x"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_that_leads_off_the_machine_is_not_called_without_tls() {
        let host = "192.0.2.1".to_owned();
        let mut endpoint = Endpoint { url: String::new(), host, port: 9, tls: false };
        let resolver = Resolver::start().unwrap();
        assert!(resolve(&endpoint, None, &resolver).is_err());
        endpoint.tls = true;
        assert_eq!(resolve(&endpoint, None, &resolver).map(|found| found.len()), Ok(1));
    }

    fn refusal_of(url: &str, last: Option<SocketAddr>) -> String {
        let (endpoint, trust) = (Endpoint::parse(url).unwrap(), Trust::new(None).unwrap());
        dial(&endpoint, last, 0, &trust).unwrap_err().why
    }

    #[test]
    fn f18_every_step_has_a_deadline_and_says_its_name() {
        // Accepts nobody, and holds one connection that is not accepted: the next is not answered.
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let at = full.local_addr().unwrap().as_socket().unwrap();
        let _held = TcpStream::connect(at).unwrap();
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = mute.local_addr().unwrap().port();
        let steps = [
            (format!("wss://no.such.host.invalid:{port}/"), None, "dns: no.such.host.invalid: "),
            (format!("ws://{at}/"), None, "connect to 127.0.0.1:"),
            (format!("wss://127.0.0.1:{port}/"), None, "tls: no answer in time"),
            (format!("ws://127.0.0.1:{port}/"), None, "upgrade: no answer in time"),
            // What the resolver does not know any more, the last address still does.
            (
                format!("wss://no.such.host.invalid:{port}/"),
                mute.local_addr().ok(),
                "tls: no answer in time",
            ),
        ];
        thread::scope(|scope| {
            for (url, last, step) in steps {
                scope.spawn(move || {
                    let why = refusal_of(&url, last);
                    assert!(why.starts_with(step), "{url}: {why}");
                    assert!(step != "connect to 127.0.0.1:" || why.ends_with("no answer in time"));
                });
            }
        });
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        assert!(Trust::new(Some(b"not pem")).unwrap_err().contains("no certificate"));
    }
}
