//! How long bytes lay in the kernel before they were read.
//!
//! ```text
//! waited = the wall clock after the read - the kernel's stamp on the last segment it gave
//! ```
//!
//! The stamp (`SO_TIMESTAMPNS`) is set when the network card's driver, or the loopback, hands the segment to
//! the kernel; it and the time after the read are of one clock, so that nothing has to be converted. A
//! read that takes several segments is told the stamp of the last: what came first has waited longer,
//! never shorter. What the kernel does not stamp is `None`.

use std::io::{self, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, RecvMsg, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use rustix::time::{ClockId, clock_gettime};

use crate::time::NS_PER_S;

/// Reads a socket whose segments are stamped.
#[derive(Debug)]
pub struct Arrival {
    /// Where the kernel writes the stamp.
    control: Vec<u8>,
    /// The longest wait since it was asked for, ns.
    longest: Option<u64>,
}

impl Arrival {
    /// Has what arrives from here on stamped; `None` where the kernel does not.
    #[must_use]
    pub fn of(tcp: &TcpStream) -> Option<Self> {
        setsockopt(tcp, ReceiveTimestampns, &true).ok()?;
        Some(Self { control: cmsg_space!(TimeSpec), longest: None })
    }

    /// Reads once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&mut self, tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut into = [IoSliceMut::new(buffer)];
        let (fd, control) = (tcp.as_raw_fd(), Some(self.control.as_mut_slice()));
        let read: RecvMsg<'_, '_, ()> = recvmsg(fd, &mut into, control, MsgFlags::empty())?;
        if let Some(waited) = stamp(&read).and_then(|stamp| wall_ns()?.checked_sub(stamp)) {
            self.longest = self.longest.max(Some(waited));
        }
        Ok(read.bytes)
    }

    /// The longest wait of a read since the last call, ns.
    pub fn take(&mut self) -> Option<u64> {
        self.longest.take()
    }
}

fn stamp(read: &RecvMsg<'_, '_, ()>) -> Option<u64> {
    read.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(at) => nanos(at.tv_sec(), at.tv_nsec()),
        _ => None,
    })
}

fn wall_ns() -> Option<u64> {
    let now = clock_gettime(ClockId::Realtime);
    nanos(now.tv_sec, now.tv_nsec)
}

fn nanos(seconds: i64, ns: i64) -> Option<u64> {
    u64::try_from(seconds).ok()?.checked_mul(NS_PER_S)?.checked_add(u64::try_from(ns).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    #[test]
    fn what_lay_in_the_kernel_says_how_long() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        let mut arrival = Arrival::of(&tcp).unwrap();
        let (mut buffer, began) = ([0; 8], Instant::now());
        // The first socket that asks has the kernel begin to stamp, a moment later.
        let waited = (0..50).find_map(|_| {
            peer.write_all(&[7; 3]).unwrap();
            sleep(Duration::from_millis(30));
            assert_eq!(arrival.read(&tcp, &mut buffer).unwrap(), 3);
            arrival.take()
        });
        let waited = u128::from(waited.unwrap());
        assert!((30_000_000..=began.elapsed().as_nanos()).contains(&waited), "{waited}");
        assert_eq!((arrival.take(), &buffer[..3]), (None, &[7; 3][..]));
        tcp.set_nonblocking(true).unwrap();
        let empty = arrival.read(&tcp, &mut buffer).unwrap_err();
        assert_eq!((empty.kind(), arrival.take()), (io::ErrorKind::WouldBlock, None));
        drop(peer);
        sleep(Duration::from_millis(5));
        assert_eq!(arrival.read(&tcp, &mut buffer).unwrap(), 0, "the end is no wait");
        assert_eq!(arrival.take(), None);
    }
}
