//! A byte stream to a venue: TCP, bare or under TLS.
//!
//! The same stream is used twice. While it is dialled, on a thread that may wait, every read and
//! write ends at one absolute deadline, so that a peer which drips bytes gains no time. Once handed to
//! the reader it never waits, and each turn may take only so many bytes from the kernel. What passes is
//! followed by [`Parts`]: a frame that must not be is an error here, before the library sees it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use socket2::{SockRef, TcpKeepalive};

use super::arrival::Arrival;
use super::parts::Parts;

/// Data that the peer does not acknowledge for this long ends the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);

/// A TCP stream with a deadline (while dialling) or an allowance (afterwards).
#[derive(Debug)]
pub struct Pipe {
    tcp: TcpStream,
    /// When what is read had arrived, where that is asked for.
    arrival: Option<Arrival>,
    deadline: Option<Instant>,
    allowance: usize,
    /// The same after decryption: one record of TLS is up to 16 KiB, and comes at once.
    plain: usize,
    /// The frames in it, after decryption.
    parts: Parts,
    taken: u64,
    dry: bool,
    /// The peer has said that no more will come: only a read that asks for it finds the end.
    ending: bool,
}

impl Pipe {
    /// A connected stream that may wait until `deadline`.
    ///
    /// # Errors
    /// When the kernel refuses a socket option.
    pub fn new(tcp: TcpStream, deadline: Instant) -> io::Result<Self> {
        let socket = SockRef::from(&tcp);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
        socket.set_tcp_keepalive(&keepalive.with_interval(KEEPALIVE_EVERY).with_retries(2))?;
        Ok(Self {
            tcp,
            arrival: None,
            deadline: Some(deadline),
            allowance: usize::MAX,
            plain: usize::MAX,
            parts: Parts::default(),
            taken: 0,
            dry: false,
            ending: false,
        })
    }

    /// May wait until `deadline` from here on.
    pub fn until(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Never waits from here on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn free(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.tcp.set_nonblocking(true)
    }

    /// Finds out how long what is read from here on lay in the kernel, where it says so.
    pub fn time_arrivals(&mut self) {
        self.arrival = Arrival::of(&self.tcp);
    }

    /// The longest that something read since the last call had lain in the kernel, ns.
    pub fn waited(&mut self) -> Option<u64> {
        self.arrival.as_mut().and_then(Arrival::take)
    }

    /// Begins a turn that may take `bytes` from the kernel.
    pub fn allow(&mut self, bytes: usize) {
        (self.allowance, self.plain) = (bytes, bytes);
        self.dry = false;
    }

    /// The peer has closed its side, perhaps right behind what is waiting: every read asks the kernel from
    /// here on, to the end.
    pub fn ends(&mut self) {
        self.ending = true;
    }

    /// Whether the kernel had nothing left, as against the allowance being used up.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// The frames that pass.
    pub fn parts_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// An error once a frame came that must not. While dialling everything passes: what came with the
    /// upgrade is judged at the first read after it.
    fn sound(&self) -> io::Result<()> {
        match self.parts.fault().filter(|_| self.deadline.is_none()) {
            Some(fault) => Err(io::Error::new(ErrorKind::InvalidData, fault)),
            None => Ok(()),
        }
    }

    /// Follows what was read; gives how much of it may pass.
    fn follow(&mut self, read: &[u8]) -> io::Result<usize> {
        let good = self.parts.pass(read);
        if good > 0 || read.is_empty() {
            return Ok(if self.deadline.is_none() { good } else { read.len() });
        }
        self.sound().map(|()| read.len())
    }

    /// Bytes taken from the kernel so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Time left; `None` when there is no deadline.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        match deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(ErrorKind::TimedOut.into()),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.allowance);
        let part = buffer.get_mut(..most).unwrap_or_default();
        if part.is_empty() || self.dry && self.deadline.is_none() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let left = self.left()?;
        if left.is_some() {
            self.tcp.set_read_timeout(left)?;
        }
        let Self { tcp, arrival, .. } = self;
        let read = retried(|| match arrival {
            Some(arrival) => arrival.read(tcp, part),
            None => tcp.read(part),
        });
        match read {
            Ok(n) => {
                self.allowance = self.allowance.saturating_sub(n);
                self.taken += n as u64;
                // Less than there was room for: nothing is left, and asking once more would only cost a
                // system call. What comes later, the end included, is a new edge for the poll (epoll(7)).
                self.dry = n < part.len() && left.is_none() && !self.ending;
                Ok(n)
            }
            Err(e) => {
                self.dry = true;
                Err(late(e, left.is_some()))
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        if left.is_some() {
            self.tcp.set_write_timeout(left)?;
        }
        retried(|| self.tcp.write(bytes)).map_err(|e| late(e, left.is_some()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A signal that interrupts a system call says nothing about the connection.
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A wait that ran into its deadline looks like "would block" to the kernel.
fn late(error: io::Error, waiting: bool) -> io::Error {
    if waiting && error.kind() == ErrorKind::WouldBlock {
        return ErrorKind::TimedOut.into();
    }
    error
}

/// Bare TCP (loopback only) or TLS.
#[derive(Debug)]
pub enum Wire {
    /// TCP alone.
    Plain(Pipe),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ClientConnection, Pipe>>),
}

impl Wire {
    /// The TCP stream below.
    #[must_use]
    pub fn pipe(&self) -> &Pipe {
        match self {
            Self::Plain(pipe) => pipe,
            Self::Tls(tls) => &tls.sock,
        }
    }

    /// The TCP stream below.
    pub fn pipe_mut(&mut self) -> &mut Pipe {
        match self {
            Self::Plain(pipe) => pipe,
            Self::Tls(tls) => &mut tls.sock,
        }
    }
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe().tcp.as_raw_fd()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe().sound()?;
        let read = match self {
            Self::Plain(pipe) => pipe.read(buffer)?,
            Self::Tls(tls) => {
                let most = buffer.len().min(tls.sock.plain);
                let part = buffer.get_mut(..most).unwrap_or_default();
                if part.is_empty() {
                    // More may be decrypted already, whatever the kernel said before.
                    tls.sock.dry = false;
                    return Err(ErrorKind::WouldBlock.into());
                }
                let read = tls.read(part)?;
                tls.sock.plain = tls.sock.plain.saturating_sub(read);
                read
            }
        };
        self.pipe_mut().follow(buffer.get(..read).unwrap_or_default())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(pipe) => pipe.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(pipe) => pipe.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Pipe, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_millis(50);
        (Pipe::new(tcp, deadline).unwrap(), listener.accept().unwrap().0)
    }

    #[test]
    fn a_turn_takes_no_more_than_it_may() {
        let (mut pipe, mut peer) = pair();
        peer.write_all(&[7; 100]).unwrap();
        let mut buffer = [0; 64];
        pipe.read_exact(&mut [0; 10]).unwrap();
        pipe.free().unwrap();
        pipe.allow(70);
        assert_eq!((pipe.read(&mut buffer).unwrap(), pipe.read(&mut buffer).unwrap()), (64, 6));
        assert_eq!(pipe.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(!pipe.is_dry(), "there is more, but not in this turn");
        pipe.allow(70);
        assert_eq!(pipe.read(&mut buffer).unwrap(), 20);
        assert_eq!(pipe.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(pipe.is_dry());
        assert_eq!(pipe.taken(), 100);
    }

    #[test]
    fn what_gave_less_than_asked_for_is_not_asked_again() {
        let (mut pipe, mut peer) = pair();
        let mut buffer = [0; 64];
        pipe.free().unwrap();
        pipe.allow(1_000);
        peer.write_all(&[7; 10]).unwrap();
        assert_eq!(pipe.read(&mut buffer).unwrap(), 10);
        peer.write_all(&[8; 5]).unwrap();
        assert_eq!(pipe.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(pipe.is_dry(), "until the poll says otherwise");
        pipe.allow(1_000);
        assert_eq!(pipe.read(&mut buffer).unwrap(), 5);
        pipe.ends();
        peer.write_all(&[9; 3]).unwrap();
        drop(peer);
        pipe.allow(1_000);
        assert_eq!([(); 2].map(|()| pipe.read(&mut buffer).unwrap()), [3, 0], "and then the end");
    }

    #[test]
    fn a_wait_ends_at_the_deadline() {
        let (mut pipe, _peer) = pair();
        for _ in 0..2 {
            assert_eq!(pipe.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        }
    }

    #[test]
    fn a_signal_does_not_end_a_read() {
        let mut left = 3;
        let read = retried(|| {
            left -= 1;
            if left > 0 { Err(ErrorKind::Interrupted.into()) } else { Ok(5) }
        });
        assert_eq!((read.unwrap(), left), (5, 0));
    }
}
