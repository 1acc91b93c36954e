//! A resolver on 127.0.0.1:53 that knows what a test tells it: nothing for a hang, no address for a
//! name that does not exist, or some.

use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it knows; `None`: it hangs.
type Known = Arc<Mutex<Option<Vec<IpAddr>>>>;

pub struct Resolver(Known);

impl Resolver {
    /// One that hangs.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("port 53 of a network of our own");
        let known = Known::default();
        let asked = known.clone();
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((n, from)) = socket.recv_from(&mut query) {
                if let Some(known) = &*asked.lock().unwrap() {
                    drop(socket.send_to(&answer(&query[..n], known), from));
                }
            }
        });
        Self(known)
    }

    pub fn knows(&self, known: Option<&[IpAddr]>) {
        *self.0.lock().unwrap() = known.map(<[IpAddr]>::to_vec);
    }
}

/// The answer to a query for one name.
fn answer(query: &[u8], known: &[IpAddr]) -> Vec<u8> {
    let name = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..name + 5];
    let wants_v6 = query[name + 2] == 28;
    let records: Vec<Vec<u8>> = known
        .iter()
        .filter(|ip| ip.is_ipv6() == wants_v6)
        .map(|ip| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        })
        .collect();
    let code = if known.is_empty() { 3 } else { 0 };
    let count = u8::try_from(records.len()).unwrap();
    let head = [query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    let mut bytes = [&head[..], question].concat();
    for record in records {
        let length = u8::try_from(record.len()).unwrap();
        bytes.extend([0xc0, 12, 0, query[name + 2], 0, 1, 0, 0, 0, 0, 0, length]);
        bytes.extend(record);
    }
    bytes
}
