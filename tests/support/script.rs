//! Sources that do what a test says, and a reader over them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use foreshock::event::{Event, FeedState, Venue};
use foreshock::ingest::Frame;
use foreshock::ingest::intake::Intake;
use foreshock::ingest::reader::Reader;
use foreshock::ingest::source::{FeedChange, Heard, Read, Source};
use foreshock::ingest::twins::link_of;
use foreshock::ledger::Ledger;
use foreshock::ring::{Inlet, ring};
use foreshock::time::{Nanos, Now};

/// Where test time begins, ms.
pub const START: i64 = 1_790_000_000_000;

/// What a source is to do, and what it was told.
#[derive(Default)]
pub struct Script {
    pub frames: VecDeque<String>,
    pub changes: VecDeque<FeedState>,
    pub doubts: Vec<(u8, String)>,
}

pub type Shared = Arc<Mutex<Script>>;

pub struct Scripted {
    venue: Venue,
    line: u8,
    script: Shared,
}

impl Source for Scripted {
    fn name(&self) -> String {
        "scripted".to_owned()
    }

    fn read(&mut self, now: Now, most: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        let frames: Vec<String> = {
            let mut script = self.script.lock().unwrap();
            let n = most.min(script.frames.len());
            script.frames.drain(..n).collect()
        };
        let (venue, line, link) = (self.venue, self.line, link_of(self.line, 1));
        for text in &frames {
            take(Frame { venue, line, link, bytes: text.as_bytes(), received: now });
        }
        if frames.is_empty() { Read::Idle } else { Read::Frames }
    }

    fn feed(&mut self) -> Option<FeedChange> {
        let state = self.script.lock().unwrap().changes.pop_front()?;
        let (venue, line, why) = (self.venue, self.line, String::new());
        Some(FeedChange { venue, line, route: "r", rare: true, state, code: 0, why })
    }

    fn doubt(&mut self, mute: u8, why: &str, _: Now) {
        self.script.lock().unwrap().doubts.push((mute, why.to_owned()));
    }

    fn stop(&mut self) {}

    fn ledger(&self, _: &mut Ledger) {}
}

/// A reader over one scripted source for each of `lines`, and what comes out of it.
pub fn reader(lines: &[(Venue, u8)]) -> (Reader, Inlet<Event>, Vec<Shared>) {
    reader_into(1 << 16, lines)
}

/// The same, with room for so many events.
pub fn reader_into(room: usize, lines: &[(Venue, u8)]) -> (Reader, Inlet<Event>, Vec<Shared>) {
    let scripts: Vec<Shared> = lines.iter().map(|_| Shared::default()).collect();
    let source = |((venue, line), script): (&(Venue, u8), &Shared)| {
        let (venue, line, script) = (*venue, *line, script.clone());
        Box::new(Scripted { venue, line, script }) as Box<dyn Source>
    };
    let sources = lines.iter().zip(&scripts).map(source).collect();
    let (outlet, inlet) = ring(room);
    let intake = Intake::new(10_000).telling_twins_apart();
    let (notices, _) = crossbeam_channel::bounded(1_024);
    (Reader::new(sources, intake, outlet, Box::new(|| Nanos(0)), notices), inlet, scripts)
}

pub fn bybit(ms: i64) -> String {
    format!(
        r#"{{"topic":"allLiquidation.SOLUSDT","data":[{{"T":{ms},"s":"SOLUSDT","S":"Buy","v":"2","p":"140"}}],"ts":{ms}}}"#
    )
}

pub fn binance(ms: i64) -> String {
    format!(
        r#"{{"e":"forceOrder","E":{ms},"o":{{"s":"BTCUSDT","S":"SELL","q":"1","p":"60000","ap":"60001","z":"1","T":{ms}}}}}"#
    )
}

pub fn okx(ms: i64) -> String {
    format!(
        r#"{{"arg":{{"channel":"liquidation-orders"}},"data":[{{"details":[{{"bkPx":"1","posSide":"long","side":"sell","sz":"1","ts":"{ms}"}}],"instId":"BTC-USDT-SWAP"}}]}}"#
    )
}
