//! The venue's end of a connection: loopback, WebSocket, bare or under TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

/// After the last subscription was answered, before anything is sent.
const SETTLE: Duration = Duration::from_millis(60);
const REQUEST_MAX: usize = 16 * 1024;

/// A connection, bare or under TLS.
#[derive(Debug)]
pub enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over it.
    Tls(Box<ServerConnection>, TcpStream),
}

impl Stream {
    /// The TCP stream below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) | Self::Tls(_, tcp) => tcp,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls, tcp) => rustls::Stream::new(&mut **tls, tcp).read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls, tcp) => rustls::Stream::new(&mut **tls, tcp).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls, tcp) => rustls::Stream::new(&mut **tls, tcp).flush(),
        }
    }
}

/// Who the server says it is: an authority made for this run, in PEM, and what it signed.
///
/// # Errors
/// In words, when no certificate can be made.
pub fn identity() -> Result<(Arc<ServerConfig>, String), String> {
    let words = |e: rcgen::Error| format!("certificate: {e}");
    let mut authority = CertificateParams::new(Vec::new()).map_err(words)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(words)?;
    let authority = CertifiedIssuer::self_signed(authority, key).map_err(words)?;
    let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
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

/// Waits for one client on a port of its own, told to `tell`; upgrades it, answers its subscriptions,
/// and gives the connection once it has no more of them. The authority's certificate goes to `ca`.
///
/// # Errors
/// In words, whatever goes wrong.
pub fn one_client(ca: Option<&Path>, tell: impl FnOnce(u16)) -> Result<Stream, String> {
    let words = |e: io::Error| format!("server: {e}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(words)?;
    let identity = ca.map(|_| identity()).transpose()?;
    if let (Some(path), Some((_, pem))) = (ca, &identity) {
        std::fs::write(path, pem).map_err(words)?;
    }
    tell(listener.local_addr().map_err(words)?.port());
    let (tcp, _) = listener.accept().map_err(words)?;
    tcp.set_nodelay(true).map_err(words)?;
    let stream = match identity {
        Some((config, _)) => {
            let tls = ServerConnection::new(config).map_err(|e| format!("tls: {e}"))?;
            Stream::Tls(Box::new(tls), tcp)
        }
        None => Stream::Plain(tcp),
    };
    subscribed(upgraded(stream).map_err(words)?)
}

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// With its query.
    pub path: String,
    /// What makes it an upgrade.
    pub key: Option<String>,
}

/// Reads a request up to its empty line, and a body as long as announced, which is passed over.
///
/// # Errors
/// When the connection fails, or the request is absurdly long.
pub fn request(stream: &mut impl Read) -> io::Result<Request> {
    let (mut bytes, mut part) = (Vec::new(), [0; 2048]);
    loop {
        let n = stream.read(&mut part)?;
        bytes.extend_from_slice(&part[..n]);
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
            return Ok(Request { path, key: header("Sec-WebSocket-Key") });
        }
    }
}

/// Says yes to an upgrade.
///
/// # Errors
/// When the connection fails.
pub fn upgrade(stream: &mut impl Write, key: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(answer.as_bytes())?;
    stream.flush()
}

fn upgraded(mut stream: Stream) -> io::Result<Stream> {
    let key = request(&mut stream)?.key.unwrap_or_default();
    upgrade(&mut stream, &key)?;
    Ok(stream)
}

/// Answers requests until none has come for a while.
fn subscribed(stream: Stream) -> Result<Stream, String> {
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    let mut asked = 0;
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                asked += 1;
                let request: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let answer = format!(r#"{{"result":null,"id":{}}}"#, request["id"]);
                socket.send(Message::text(answer)).map_err(|e| format!("server: {e}"))?;
                let wait = socket.get_ref().tcp().set_read_timeout(Some(SETTLE));
                wait.map_err(|e| format!("server: {e}"))?;
            }
            Ok(_) => {}
            Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock && asked > 0 => {
                return Ok(socket.into_inner());
            }
            Err(e) => return Err(format!("server: {e}")),
        }
    }
}
