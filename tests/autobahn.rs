//! The Autobahn fuzzing server against our own dialling, wire and limits: an echo client runs every case
//! and asks the server what it thought of it.
//!
//! `tests/autobahn/run.sh` starts the server, over ws and over wss, and then this. Without it there is
//! nobody to talk to, and the test says so. A WebSocket of ours holds back no more than 64 KiB that it
//! has to send and takes no message above 1 MiB, nor one in crumbs. The echo needs the first limit
//! lifted, the largest cases the others too; `FORESHOCK_AUTOBAHN_LIMITS=1` keeps those and shows what
//! they refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::thread::sleep;
use std::time::Duration;

use foreshock::ingest::dial::{Endpoint, Opened, Trust, dial};
use tungstenite::{Error, Message};

/// Bytes taken from the kernel in one turn, as a line takes them.
const BUDGET: usize = 16 * 1024;
const AGENT: &str = "foreshock";

struct Fuzzer {
    base: String,
    trust: Trust,
    keeps_limits: bool,
}

impl Fuzzer {
    fn call(&self, path: &str) -> Box<Opened> {
        let endpoint = Endpoint::parse(&format!("{}/{path}", self.base)).unwrap();
        let mut opened = dial(&endpoint, None, 0, &self.trust).expect("the fuzzing server");
        opened.socket.set_config(|limits| {
            limits.max_write_buffer_size = usize::MAX;
            if !self.keeps_limits {
                limits.max_message_size = None;
                limits.max_frame_size = None;
            }
        });
        if !self.keeps_limits {
            opened.socket.get_mut().pipe_mut().parts_mut().spare(u64::MAX);
        }
        opened
    }

    /// Echoes until the server has had enough; gives the last text.
    fn echo(&self, path: &str, echoes: bool) -> String {
        let mut socket = self.call(path).socket;
        let mut last = String::new();
        loop {
            socket.get_mut().pipe_mut().allow(BUDGET);
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    if !echoes {
                        last = message.to_text().unwrap().to_owned();
                    } else if socket.write(message).is_err_and(|e| !is_for_later(&e)) {
                        return last;
                    }
                }
                Ok(_) => {}
                Err(e) if is_for_later(&e) => {
                    if socket.get_ref().pipe().is_dry() {
                        sleep(Duration::from_micros(50));
                    }
                }
                Err(_) => return last,
            }
            if socket.flush().is_err_and(|e| !is_for_later(&e)) {
                return last;
            }
        }
    }
}

fn is_for_later(error: &Error) -> bool {
    matches!(error, Error::Io(e) if e.kind() == ErrorKind::WouldBlock)
}

#[test]
fn f12_f13_every_case_of_autobahn_without_compression_passes() {
    let Ok(base) = std::env::var("FORESHOCK_AUTOBAHN") else {
        eprintln!("skipped: no fuzzing server; tests/autobahn/run.sh starts one");
        return;
    };
    let ca = std::env::var("FORESHOCK_AUTOBAHN_CA").ok().map(|path| std::fs::read(path).unwrap());
    let trust = Trust::new(ca.as_deref()).unwrap();
    let keeps_limits = std::env::var_os("FORESHOCK_AUTOBAHN_LIMITS").is_some();
    let fuzzer = Fuzzer { base, trust, keeps_limits };
    let cases: usize = fuzzer.echo("getCaseCount", false).parse().unwrap();
    let mut verdicts = BTreeMap::<String, usize>::new();
    let mut failed = Vec::new();
    for case in 1..=cases {
        fuzzer.echo(&format!("runCase?case={case}&agent={AGENT}"), true);
        let ask = |what: &str| fuzzer.echo(&format!("{what}?case={case}&agent={AGENT}"), false);
        let status: serde_json::Value = serde_json::from_str(&ask("getCaseStatus")).unwrap();
        let verdict = status["behavior"].as_str().unwrap().to_owned();
        if !["OK", "NON-STRICT", "INFORMATIONAL"].contains(&verdict.as_str()) {
            let info: serde_json::Value = serde_json::from_str(&ask("getCaseInfo")).unwrap();
            failed.push(info["id"].as_str().unwrap_or("?").to_owned());
        }
        *verdicts.entry(verdict).or_default() += 1;
    }
    fuzzer.echo(&format!("updateReports?agent={AGENT}"), true);
    println!("{cases} cases: {verdicts:?}; failed: {failed:?}");
    assert!(cases > 0 && (keeps_limits || failed.is_empty()), "{failed:?}");
}
