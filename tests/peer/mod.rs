//! The other end of a line: a TLS server on loopback that does exactly what a test says, and a line
//! that is driven with a time of the test's own.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod behaviours;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use foreshock::event::{FeedState, Venue};
use foreshock::ingest::dial::{Dialer, Endpoint, Trust};
use foreshock::ingest::exchange::{Control, Verdict};
use foreshock::ingest::line::Plan;
use foreshock::ingest::socket::{Setup, Socket};
use foreshock::ingest::source::{FeedChange, Read, Source};
use foreshock::time::{NS_PER_MS, Now};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::handshake::derive_accept_key;

pub type Stream = StreamOwned<ServerConnection, TcpStream>;

/// What is wrong with the server's certificate.
#[derive(Clone, Copy, PartialEq)]
pub enum Certificate {
    Good,
    OtherHost,
    Expired,
    Future,
    /// Signed by itself.
    Own,
    /// Signed by an authority that the line does not know.
    Stranger,
    /// Good from 2020 to 2034.
    Brief,
}

/// A connection as the server holds it: TCP alone, or TLS.
pub trait Carrier: std::io::Read + std::io::Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Carrier for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Carrier for Stream {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// The connection is reset as soon as the server drops it.
pub fn reset(carrier: &dyn Carrier) {
    socket2::SockRef::from(carrier.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The server.
pub struct Peer {
    pub port: u16,
    pub ca_pem: String,
}

/// Serves each connection with `script`, which is told the connection's number from 0.
pub fn peer(
    certificate: Certificate,
    script: impl Fn(usize, Stream) + Send + Sync + 'static,
) -> Peer {
    peer_on("127.0.0.1", certificate, script)
}

/// The same at an address of this machine.
pub fn peer_on(
    address: &str,
    certificate: Certificate,
    script: impl Fn(usize, Stream) + Send + Sync + 'static,
) -> Peer {
    let (config, ca_pem) = identity(certificate, address);
    let port = raw_peer_on(address, move |n, tcp| {
        let tls = ServerConnection::new(config.clone()).unwrap();
        script(n, StreamOwned::new(tls, tcp));
    });
    Peer { port, ca_pem }
}

/// The same without TLS; gives the port.
pub fn raw_peer(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> u16 {
    raw_peer_on("127.0.0.1", script)
}

fn raw_peer_on(address: &str, script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = Arc::new(script);
    thread::spawn(move || {
        for (n, tcp) in listener.incoming().enumerate() {
            let (tcp, script) = (tcp.unwrap(), script.clone());
            tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            tcp.set_nodelay(true).unwrap();
            thread::spawn(move || script(n, tcp));
        }
    });
    port
}

/// A certificate for localhost and `address`, and the authority to trust.
pub fn identity(certificate: Certificate, address: &str) -> (Arc<ServerConfig>, String) {
    let Papers { leaf, key, ca_pem } = papers(certificate, address);
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)
        .unwrap();
    (Arc::new(config), ca_pem)
}

/// A certificate, its key, and the authority that signed it.
pub struct Papers {
    pub leaf: rcgen::Certificate,
    pub key: KeyPair,
    pub ca_pem: String,
}

/// Those of a server at localhost and `address`.
pub fn papers(certificate: Certificate, address: &str) -> Papers {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // With the leaf's own name the leaf would seem to have signed itself.
    authority.distinguished_name.push(DnType::CommonName, "authority of the test");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let names = match certificate {
        Certificate::OtherHost => vec!["example.com".to_owned()],
        _ => vec!["localhost".to_owned(), "venue.test".to_owned(), address.to_owned()],
    };
    let mut leaf = CertificateParams::new(names).unwrap();
    match certificate {
        Certificate::Expired => leaf.not_after = date_time_ymd(2020, 2, 3),
        Certificate::Future => leaf.not_before = date_time_ymd(2999, 2, 3),
        Certificate::Brief => {
            leaf.not_before = date_time_ymd(2020, 2, 3);
            leaf.not_after = date_time_ymd(2034, 2, 3);
        }
        _ => {}
    }
    let key = KeyPair::generate().unwrap();
    let leaf = match certificate {
        Certificate::Own => leaf.self_signed(&key).unwrap(),
        _ => leaf.signed_by(&key, &authority).unwrap(),
    };
    Papers { leaf, key, ca_pem: authority.pem() }
}

/// Reads the request up to its empty line.
pub fn request(stream: &mut (impl std::io::Read + ?Sized)) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// The head that agrees to the upgrade, with more header lines where given.
pub fn agreement(request: &str, more: &str) -> Vec<u8> {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = derive_accept_key(key.unwrap_or("").trim().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// Answers the upgrade.
pub fn agree(stream: &mut (impl std::io::Read + std::io::Write + ?Sized)) {
    let request = request(stream);
    send(stream, &agreement(&request, ""));
}

pub fn send(stream: &mut (impl std::io::Write + ?Sized), bytes: &[u8]) {
    // The line may have hung up already; the test looks at the line.
    drop(stream.write_all(bytes));
    drop(stream.flush());
}

/// An unmasked frame: 0x81 text, 0x88 close, 0x89 ping, 0x01 and 0x00 parts.
pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => vec![kind, length],
        (_, Ok(length)) => [&[kind, 126], &length.to_be_bytes()[..]].concat(),
        _ => claim(kind, payload.len() as u64),
    };
    bytes.extend_from_slice(payload);
    bytes
}

/// The header of a frame that says it is so long.
pub fn claim(kind: u8, length: u64) -> Vec<u8> {
    [&[kind, 127], &length.to_be_bytes()[..]].concat()
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// The next frame from the client, unmasked: kind and payload. `None` when it hung up.
pub fn hear(stream: &mut (impl std::io::Read + ?Sized)) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).ok()?;
    assert!(head[1] & 0x80 != 0, "a client masks");
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut payload).ok()?;
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= head[2 + i % 4];
    }
    Some((head[0], payload))
}

/// Stays until the client hangs up.
pub fn linger(mut stream: impl std::io::Read) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).is_ok_and(|n| n > 0) {}
}

/// A line, its time, and what came out of it.
pub struct Driven {
    pub socket: Socket,
    pub ms: i64,
    /// Messages heard, and the first of them: as many as are to be kept.
    pub heard: usize,
    pub frames: Vec<String>,
    pub keep: usize,
    pub changes: Vec<FeedChange>,
}

pub const DEAD_MS: u64 = 15_000;

/// A line to a TLS peer that trusts it.
pub fn line(peer: &Peer) -> Driven {
    line_with(&format!("wss://localhost:{}/x", peer.port), Some(&peer.ca_pem))
}

pub fn line_with(url: &str, ca_pem: Option<&str>) -> Driven {
    line_of(plan(), url, ca_pem)
}

/// The plan of a line that subscribes with two frames and pings with a text.
pub fn plan() -> Plan {
    Plan {
        venue: Venue::Okx,
        line: 3,
        route: "public",
        rare: false,
        subscriptions: vec!["subscribe-a".to_owned(), "subscribe-b".to_owned()],
        answers: 2,
        fragile: false,
        heartbeat_ns: 10_000 * NS_PER_MS,
        dead_ns: DEAD_MS * NS_PER_MS,
        canary_ns: DEAD_MS * NS_PER_MS,
        rotate_at: None,
    }
}

pub fn line_of(plan: Plan, url: &str, ca_pem: Option<&str>) -> Driven {
    let trust = Trust::new(ca_pem.map(str::as_bytes)).unwrap();
    let endpoint = Endpoint::parse(url).unwrap();
    let setup = Setup { plan, endpoint, heartbeat: Some("ping"), read_budget: 32 * 1024 };
    let socket = Socket::new(setup, Dialer::start(1, &trust).unwrap()).unwrap();
    let socket = socket.timing_arrivals();
    let (frames, changes) = (Vec::new(), Vec::new());
    Driven { socket, ms: 1_000_000, heard: 0, frames, keep: usize::MAX, changes }
}

impl Driven {
    /// One turn. Frames that start with `{` are data, `closing` is the venue's warning.
    pub fn turn(&mut self) -> Read {
        let now = Now::at_millis(self.ms);
        let Self { socket, heard, frames, keep, .. } = self;
        let read = socket.read(now, 64, &mut |frame| {
            let text = std::str::from_utf8(frame.bytes).unwrap();
            let verdict = match text {
                "pong" => Verdict::Control(Control::Pong),
                "ack" => Verdict::Control(Control::Ack),
                "refused" => Verdict::Control(Control::Refused),
                "closing" => Verdict::Control(Control::Closing),
                _ => Verdict::Decoded,
            };
            *heard += 1;
            if frames.len() < *keep {
                frames.push(text.to_owned());
            }
            verdict.into()
        });
        self.changes.extend(std::iter::from_fn(|| self.socket.feed()));
        read
    }

    /// One turn; when there was nothing to do, time passes.
    pub fn step(&mut self, ms: i64) {
        if self.turn() == Read::Idle {
            thread::sleep(Duration::from_micros(500));
            self.ms += ms;
        }
    }

    /// Turns until `done`; its time grows by `step_ms` a turn. Fails when nothing comes of it.
    pub fn until(&mut self, step_ms: i64, done: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.step(step_ms);
        }
        panic!("frames {:?}, changes {:?}", self.frames, self.changes);
    }

    pub fn until_frames(&mut self, n: usize) {
        self.until(1, |driven| driven.frames.len() >= n);
    }

    pub fn until_state(&mut self, state: FeedState) -> FeedChange {
        self.until(1, |driven| driven.changes.iter().any(|change| change.state == state));
        self.changes.iter().find(|change| change.state == state).unwrap().clone()
    }

    pub fn socket_stop(&mut self) {
        self.socket.stop();
    }

    pub fn states(&self) -> Vec<FeedState> {
        self.changes.iter().map(|change| change.state).collect()
    }
}
