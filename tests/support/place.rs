//! A place for alerts: an HTTPS server that keeps what it is told.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::peer;

/// What it says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It takes it.
    Thanks,
    /// It takes it and does not say so.
    Silence,
    /// It cannot take it now.
    Later,
}

/// The key and body of a request.
pub type Told = (String, serde_json::Value);

pub struct Place {
    pub port: u16,
    ca: PathBuf,
    answer: Arc<Mutex<Answer>>,
    heard: Arc<Mutex<Vec<Told>>>,
    taken: Arc<Mutex<Vec<Told>>>,
}

impl Place {
    /// Its certificate goes into `ca`.
    pub fn open(ca: &Path, answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let (says, heard) = (Arc::clone(&answer), Arc::<Mutex<Vec<Told>>>::default());
        let (list, taken) = (Arc::clone(&heard), Arc::<Mutex<Vec<Told>>>::default());
        let takes = Arc::clone(&taken);
        let peer = peer::peer(peer::Certificate::Good, move |_, mut stream| {
            let head = peer::request(&mut stream);
            let header = |name: &str| {
                let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
                let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name));
                found.unwrap().1.to_owned()
            };
            let mut body = vec![0; header("content-length").parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let told = (header("idempotency-key"), serde_json::from_slice(&body).unwrap());
            let says = *says.lock().unwrap();
            list.lock().unwrap().push(told.clone());
            let status = match says {
                Answer::Thanks => {
                    takes.lock().unwrap().push(told);
                    "204 Thanks"
                }
                Answer::Later => "503 Later",
                Answer::Silence => return peer::linger(stream),
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            peer::send(&mut stream, answer.as_bytes());
        });
        fs::write(ca, &peer.ca_pem).unwrap();
        Self { port: peer.port, ca: ca.to_owned(), answer, heard, taken }
    }

    pub fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Settings of a webhook that leads here, without the name of their table.
    pub fn channel(&self, more: &str) -> String {
        let (port, ca) = (self.port, self.ca.display().to_string());
        format!(
            "kind = \"webhook\"\nurl = \"https://localhost:{port}/hook\"\nca_file = {ca:?}\n\
             allow_private = true\n{more}\n"
        )
    }

    pub fn heard(&self) -> Vec<Told> {
        self.heard.lock().unwrap().clone()
    }

    /// Those of them that it took.
    pub fn taken(&self) -> Vec<Told> {
        self.taken.lock().unwrap().clone()
    }

    pub fn until(&self, requests: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.heard().len() < requests {
            assert!(Instant::now() < end, "only {:?}", self.heard());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn texts(&self) -> Vec<String> {
        let text = |(_, body): Told| body["text"].as_str().unwrap().to_owned();
        self.heard().into_iter().map(text).collect()
    }

    pub fn keys(&self) -> BTreeSet<String> {
        self.heard().into_iter().map(|(key, _)| key).collect()
    }

    /// Changes of level that were told, each message counted once.
    pub fn told(&self) -> u64 {
        told(&self.heard())
    }
}

/// See [`Place::told`].
pub fn told(heard: &[Told]) -> u64 {
    let messages: BTreeMap<String, serde_json::Value> = heard.iter().cloned().collect();
    let words = ["WATCH", "ALERT", "CRITICAL", "EXTREME", "calm again"];
    let counts = |body: &serde_json::Value| -> u64 {
        words.iter().filter_map(|word| body["counts"][word].as_u64()).sum()
    };
    messages.values().map(counts).sum()
}

/// Changes that a channel of WATCH is to be told: those at or above it, and the first below it again.
pub fn due(changes: impl IntoIterator<Item = foreshock::signal::Report>) -> u64 {
    let (mut raised, mut due) = (BTreeSet::new(), 0);
    for report in changes {
        if report.kind != foreshock::signal::Kind::Change {
            continue;
        }
        if report.level >= foreshock::signal::Level::Watch {
            raised.insert(report.symbol);
            due += 1;
        } else {
            due += u64::from(raised.remove(&report.symbol));
        }
    }
    due
}
