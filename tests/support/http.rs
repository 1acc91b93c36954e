//! HTTP by hand, so that a test sees every byte.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head, in small letters.
    pub head: String,
    pub body: String,
}

/// A connection that gives up by itself.
pub fn connect(place: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends a request as it is, and reads until the answer is whole or the server hangs up.
pub fn raw(place: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = connect(place);
    stream.write_all(request).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16_384]);
    // A server that cuts us off ends the answer too.
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
        if whole(&bytes) && !request.starts_with(b"HEAD") {
            break;
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// Whether as much has come as the head says.
fn whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|n| n.trim().parse().ok()).is_some_and(|n: usize| body.len() >= n)
}

/// Asks for a path, as a browser on this machine does.
pub fn get(place: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\n\r\n");
    raw(place, request.as_bytes()).unwrap()
}
