//! Names into addresses, with a deadline.
//!
//! The system's resolver cannot be interrupted: without an answer it may take half a minute. So it is
//! asked on a thread of its own, which is left behind when it is late. A resolver that still hangs over
//! an earlier name delays no one for longer than the deadline either: there is one thread for each
//! dialler and one question waiting, never more.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

/// Longest wait for the addresses of a name.
pub const RESOLVE: Duration = Duration::from_secs(2);

type Found = io::Result<Vec<SocketAddr>>;

/// Asks the system's resolver.
#[derive(Debug)]
pub struct Resolver {
    asks: Sender<Ask>,
    within: Duration,
}

struct Ask {
    host: String,
    port: u16,
    answer: Sender<Found>,
}

impl Resolver {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> io::Result<Self> {
        Self::with(system, RESOLVE)
    }

    /// The thread ends when the resolver is dropped and the last answer is there.
    fn with(look_up: fn(&str, u16) -> Found, within: Duration) -> io::Result<Self> {
        let (asks, waiting) = bounded::<Ask>(1);
        let work = move || {
            for Ask { host, port, answer } in waiting {
                // Who asked may have given up meanwhile.
                drop(answer.try_send(look_up(&host, port)));
            }
        };
        thread::Builder::new().name("resolve".to_owned()).spawn(work)?;
        Ok(Self { asks, within })
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// In words: there are none, or no answer came in time.
    pub fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let (answer, found) = bounded(1);
        let ask = Ask { host: host.to_owned(), port, answer };
        let late = || format!("dns: {host}: no answer in time");
        self.asks.try_send(ask).map_err(|_| late())?;
        match found.recv_timeout(self.within) {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(e)) => Err(format!("dns: {host}: {e}")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(late()),
        }
    }
}

fn system(host: &str, port: u16) -> Found {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hangs(host: &str, port: u16) -> Found {
        if host == "hangs" {
            thread::sleep(Duration::from_secs(60));
        }
        system("127.0.0.1", port)
    }

    #[test]
    fn f24_a_resolver_that_hangs_is_left_behind_and_holds_up_no_other_name_for_long() {
        let resolver = Resolver::with(hangs, Duration::from_millis(20)).unwrap();
        assert_eq!(resolver.resolve("here", 9).map(|found| found.len()), Ok(1));
        assert_eq!(resolver.resolve("hangs", 9).unwrap_err(), "dns: hangs: no answer in time");
        // The second question waits in vain, the third is not even asked.
        for _ in 0..3 {
            assert_eq!(resolver.resolve("here", 9).unwrap_err(), "dns: here: no answer in time");
        }
    }

    #[test]
    fn a_name_that_is_none_says_so() {
        let resolver = Resolver::start().unwrap();
        let why = resolver.resolve("no such name", 9).unwrap_err();
        assert!(why.starts_with("dns: no such name: "), "{why}");
    }
}
