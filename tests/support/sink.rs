//! The Redis sink, and the clock it is told.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::{Duration, Instant};

use foreshock::output::Message;
use foreshock::publish::redis::{Address, Redis, STREAM, Secret, Settings};
use foreshock::publish::{Fate, Sink};
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::{Nanos, Now};

use crate::server::Client;

pub const RUN: u64 = 1_760_130_000_000;
pub const START_MS: i64 = 1_760_130_000_000;

/// The sink and the clock it is told.
pub struct Bench {
    pub sink: Redis,
    pub now_ms: i64,
    pub given: u64,
}

impl Bench {
    pub fn new(url: &str) -> Self {
        Self::with(&Settings { url: url.to_owned(), ..Settings::default() }, None)
    }

    pub fn with(settings: &Settings, password: Option<&str>) -> Self {
        let address = Address::parse(&settings.url).unwrap();
        let sink = Redis::start(settings, address, password.map(Secret::new), RUN, None).unwrap();
        Self { sink, now_ms: START_MS, given: 0 }
    }

    pub fn now(&self) -> Now {
        Now::at_millis(self.now_ms)
    }

    pub fn turn(&mut self) {
        self.now_ms += 1;
        self.sink.turn(self.now());
    }

    pub fn signals(&mut self, n: u64) {
        let batch: Vec<_> = (1..=n).map(|i| Message::Report(signal(self.given + i))).collect();
        self.given += n;
        self.sink.write(self.now(), &batch);
    }

    pub fn fate(&self) -> Fate {
        let fate = self.sink.fate().unwrap();
        assert_eq!(fate.published + fate.retained + fate.evicted, self.given);
        fate
    }

    /// Gives turns until `done`, at most ten seconds.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !done(self) {
            assert!(Instant::now() < end, "never: {what}; {}", self.words());
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn settle(&mut self) {
        self.until("everything published", |bench| bench.fate().retained == 0);
    }

    pub fn words(&self) -> String {
        self.sink.status().words()
    }

    pub fn close(mut self) -> Fate {
        self.sink.close(self.now());
        while self.sink.turn(self.now()) != Turn::Done {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.fate()
    }
}

pub fn signal(seq: u64) -> Report {
    let at = Nanos::from_millis(START_MS).plus(seq * 1_000_000);
    let kind = Kind::Change;
    Report {
        kind,
        seq,
        level: Level::Critical,
        probability: 0.75,
        ..Report::empty(Symbol::BTC, at)
    }
}

/// The numbers of a run that the stream holds; every entry must be of it.
pub fn numbers(client: &mut Client, run: u64) -> Vec<u64> {
    let prefix = format!("{run}-");
    let ids = client.stream(STREAM).into_iter().map(|(id, _)| id);
    ids.map(|id| id.strip_prefix(&prefix).unwrap_or_else(|| panic!("{id}")).parse().unwrap())
        .collect()
}

/// How often a fault is repeated: `few` times by default, `all` times in full.
pub fn times(few: u64, all: u64) -> u64 {
    let full = std::env::var_os("FORESHOCK_FULL").is_some_and(|value| value == "1");
    if full { all } else { few }
}
