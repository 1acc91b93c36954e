//! One connection to Redis, and one deadline over everything that is done with it.
//!
//! The `redis` crate packs commands and parses replies; the socket is ours, because a time-out per
//! system call starts anew with every piece that arrives, and a batch must end on time as a whole.
//! After any error the connection is worth nothing: a late reply would be taken for another
//! command's. Whoever gets an error from here drops the link.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use redis::{Cmd, Parser, Value};
use rustls::ClientConnection;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::address::Place;
use super::trust::Trust;
use crate::tls;

/// Commands packed one after the other.
#[derive(Default)]
pub(super) struct Packet {
    bytes: Vec<u8>,
    command: Cmd,
    commands: usize,
}

impl Packet {
    /// Adds a command. Arguments are arguments, whatever bytes they hold.
    pub(super) fn put(&mut self, name: &str, arguments: impl FnOnce(&mut Cmd)) {
        self.command.clear();
        self.command.arg(name);
        arguments(&mut self.command);
        self.command.write_packed_command(&mut self.bytes);
        self.commands += 1;
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.commands = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.commands
    }
}

/// A connection.
pub(super) struct Link {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    parser: Parser,
}

impl Link {
    fn new(socket: Socket) -> Self {
        Self { socket, tls: None, parser: Parser::new() }
    }

    /// Shakes hands.
    fn secured(mut self, trust: &Trust, deadline: Instant) -> io::Result<Self> {
        let mut tls = Box::new(trust.begin().map_err(io::Error::other)?);
        let mut timed = Timed { socket: &self.socket, deadline };
        while tls.is_handshaking() {
            tls.complete_io(&mut timed).map_err(stalled)?;
        }
        self.tls = Some(tls);
        Ok(self)
    }

    /// Sends all commands and gives each reply, in order.
    pub(super) fn exchange(
        &mut self,
        packet: &Packet,
        deadline: Instant,
        each: impl FnMut(usize, Value),
    ) -> io::Result<()> {
        let Self { socket, tls, parser } = self;
        let mut timed = Timed { socket, deadline };
        match tls {
            None => converse(&mut timed, parser, packet, deadline, each),
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut timed);
                converse(&mut stream, parser, packet, deadline, each)
            }
        }
    }
}

/// An end of the handshake that TLS itself says nothing about.
fn stalled(error: io::Error) -> io::Error {
    let how = match error.kind() {
        io::ErrorKind::TimedOut => "it does not answer in time",
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "it hangs up",
        _ => return error,
    };
    io::Error::other(format!("{how} where TLS begins; redis:// is without TLS"))
}

fn converse(
    stream: &mut (impl Read + Write),
    parser: &mut Parser,
    packet: &Packet,
    deadline: Instant,
    mut each: impl FnMut(usize, Value),
) -> io::Result<()> {
    stream.write_all(&packet.bytes)?;
    stream.flush()?;
    for i in 0..packet.commands {
        let reply = parser.parse_value(&mut *stream).map_err(|e| transport(&e, deadline))?;
        each(i, reply);
    }
    Ok(())
}

/// What the parser's error means for the connection; its own text may quote what it read.
fn transport(error: &redis::RedisError, deadline: Instant) -> io::Error {
    if let Some(why) = of_stream(error).and_then(tls::said) {
        return io::Error::new(io::ErrorKind::InvalidData, why.clone());
    }
    if Instant::now() >= deadline || error.is_timeout() {
        io::ErrorKind::TimedOut.into()
    } else if error.is_io_error() {
        io::ErrorKind::ConnectionReset.into()
    } else {
        io::Error::new(io::ErrorKind::InvalidData, "it does not speak the Redis protocol")
    }
}

/// The stream's own error, which the parser keeps in an `Arc`.
fn of_stream(error: &redis::RedisError) -> Option<&io::Error> {
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}

/// A socket whose every call may last until the deadline, no longer.
pub(in crate::publish) struct Timed<'a> {
    pub(in crate::publish) socket: &'a Socket,
    pub(in crate::publish) deadline: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        let mut socket = self.socket;
        socket.read(buffer).map_err(late)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        let mut socket = self.socket;
        socket.write(bytes).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The system says "would block" when a wait was too long.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Opens connections. Names are looked up on a thread of their own, since that cannot be bounded.
pub(in crate::publish) struct Dialer {
    place: Place,
    lookup: Option<Receiver<Vec<SocketAddr>>>,
    known: Vec<SocketAddr>,
}

impl Dialer {
    pub(in crate::publish) fn new(place: Place) -> Self {
        Self { place, lookup: None, known: Vec::new() }
    }

    /// A connection, over TLS where there is a `trust`.
    pub(super) fn connect(&mut self, trust: Option<&Trust>, deadline: Instant) -> io::Result<Link> {
        let link = Link::new(self.socket(deadline)?);
        match trust {
            Some(trust) => link.secured(trust, deadline),
            None => Ok(link),
        }
    }

    /// A socket that is connected.
    pub(in crate::publish) fn socket(&mut self, deadline: Instant) -> io::Result<Socket> {
        match self.place.clone() {
            Place::Unix(path) => open(&SockAddr::unix(path)?, Domain::UNIX, deadline),
            Place::Tcp(host, port) => self.tcp(&host, port, deadline),
        }
    }

    fn tcp(&mut self, host: &str, port: u16, deadline: Instant) -> io::Result<Socket> {
        self.look_up(host, port, deadline)?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in &self.known {
            match open(&SockAddr::from(*address), Domain::for_address(*address), deadline) {
                Ok(socket) => return tune(socket),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// Leaves the addresses in `known`; when the name service hangs, those known before.
    fn look_up(&mut self, host: &str, port: u16, deadline: Instant) -> io::Result<()> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            self.known = vec![SocketAddr::new(ip, port)];
            return Ok(());
        }
        let lookup = match self.lookup.take() {
            Some(lookup) => lookup,
            None => start_lookup(host.to_owned(), port)?,
        };
        match lookup.recv_deadline(deadline - deadline_share(deadline)) {
            Ok(found) if !found.is_empty() => self.known = found,
            Ok(_) => {}
            Err(_) => self.lookup = Some(lookup),
        }
        Ok(())
    }
}

/// Half of the time that is left is kept for connecting.
fn deadline_share(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / 2
}

fn start_lookup(host: String, port: u16) -> io::Result<Receiver<Vec<SocketAddr>>> {
    let (found, lookup) = bounded(1);
    std::thread::Builder::new().name("lookup".into()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        let _ = found.send(addresses.unwrap_or_default());
    })?;
    Ok(lookup)
}

fn open(address: &SockAddr, domain: Domain, deadline: Instant) -> io::Result<Socket> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.connect_timeout(address, left)?;
    Ok(socket)
}

/// No waiting for full packets; a peer that vanished is noticed within seconds.
fn tune(socket: Socket) -> io::Result<Socket> {
    let probes = TcpKeepalive::new().with_time(Duration::from_secs(5));
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&probes.with_interval(Duration::from_secs(1)).with_retries(3))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(4)))?;
    Ok(socket)
}
