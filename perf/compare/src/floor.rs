//! The kernel's floor: bytes are read and messages stamped; nothing is looked at but their lengths.
//!
//! One thread that never waits, a buffer of [`BUFFER`] bytes, TLS where the others have it.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;

use rustls::{ClientConnection, StreamOwned};
use tungstenite::Message;

use crate::clock;
use crate::contender::{Book, PATIENCE_NS, SUBSCRIBE, Task};

const BUFFER: usize = 64 * 1024;

/// Follows messages through what was read.
#[derive(Debug, Default)]
struct Cutter {
    header: [u8; 4],
    /// Bytes of the header seen.
    have: usize,
    /// Bytes of the payload to come.
    left: usize,
}

impl Cutter {
    /// Gives each message that ends in `bytes` to `done`, with the length of its payload.
    fn cut(&mut self, mut bytes: &[u8], mut done: impl FnMut(u64)) {
        while let [first, rest @ ..] = bytes {
            if self.left == 0 {
                self.header[self.have] = *first;
                self.have += 1;
                bytes = rest;
                self.left = self.payload();
                continue;
            }
            let n = self.left.min(bytes.len());
            self.left -= n;
            bytes = &bytes[n..];
            if self.left == 0 {
                self.have = 0;
                done(self.length() as u64);
            }
        }
    }

    fn length(&self) -> usize {
        match self.header[1] {
            126 => usize::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            short => usize::from(short),
        }
    }

    /// Length of the payload, once the header is whole.
    fn payload(&self) -> usize {
        let whole = if self.have > 1 && self.header[1] == 126 { 4 } else { 2 };
        if self.have < whole { 0 } else { self.length() }
    }
}

/// Listens until all have come.
///
/// # Errors
/// When the connection fails, or nothing comes for long.
pub fn run(task: &Task) -> Result<Book, String> {
    let tcp = task.connect()?;
    match task.tls()? {
        None => listen(task, subscribed(task, tcp)?, TcpStream::set_nonblocking),
        Some(config) => {
            let name = "127.0.0.1".try_into().map_err(|e| format!("tls: {e}"))?;
            let tls = ClientConnection::new(config, name).map_err(|e| format!("tls: {e}"))?;
            let stream = subscribed(task, StreamOwned::new(tls, tcp))?;
            listen(task, stream, |stream, on| stream.sock.set_nonblocking(on))
        }
    }
}

fn subscribed<S: Read + io::Write>(task: &Task, stream: S) -> Result<S, String> {
    let (mut socket, _) =
        tungstenite::client(task.url.as_str(), stream).map_err(|e| format!("upgrade: {e}"))?;
    socket.send(Message::text(SUBSCRIBE)).map_err(|e| format!("subscribe: {e}"))?;
    socket.read().map_err(|e| format!("subscribe: {e}"))?;
    Ok(socket.into_inner())
}

fn listen<S: Read>(
    task: &Task,
    mut stream: S,
    free: impl Fn(&S, bool) -> io::Result<()>,
) -> Result<Book, String> {
    free(&stream, true).map_err(|e| format!("floor: {e}"))?;
    let (mut book, mut cutter) = (Book::new(task), Cutter::default());
    let mut buffer = vec![0; BUFFER];
    let mut latest = clock::now();
    while !book.is_full() {
        let n = match stream.read(&mut buffer) {
            Ok(0) => return Err("floor: hung up".to_owned()),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if clock::now() > latest + PATIENCE_NS {
                    return Ok(book);
                }
                continue;
            }
            Err(e) => return Err(format!("floor: {e}")),
        };
        latest = clock::now();
        let mut bytes = 0;
        cutter.cut(&buffer[..n], |length| {
            bytes += length;
            book.decided(0, latest, latest);
        });
        book.bytes += bytes;
    }
    Ok(book)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Flow, digits};

    #[test]
    fn messages_are_found_wherever_reads_cut_them() {
        let (flow, mut bytes) = (Flow::default(), vec![0x81, 3, b'a', b'c', b'k']);
        (0..200).for_each(|n| flow.message(n).put(&digits(1), &mut bytes));
        for part in [1, 2, 3, 5, 64, 1_000, bytes.len()] {
            let (mut cutter, mut lengths) = (Cutter::default(), Vec::new());
            bytes.chunks(part).for_each(|part| cutter.cut(part, |n| lengths.push(n)));
            assert_eq!(lengths.len(), 201, "{part}");
            assert_eq!(lengths.iter().sum::<u64>(), 3 + flow.sum(200).bytes);
        }
    }
}
