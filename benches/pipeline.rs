//! Frame to report, on one thread: parse, normalise, place in time, count, score.
//!
//! The three rooms without rings and sockets: what one liquidation costs from the first byte of its
//! JSON to the engine's decision, over 100 symbols in turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::Venue;
use foreshock::ingest::Frame;
use foreshock::ingest::intake::Intake;
use foreshock::time::Now;

const SYMBOLS: usize = 100;
const START_MS: i64 = 1_790_000_000_000;

/// A Binance liquidation of symbol `i`, announced a second after it happened.
fn frame(i: usize, ms: i64) -> String {
    let (pushed, happened) = (ms, ms - 1_000);
    format!(
        r#"{{"e":"forceOrder","E":{pushed},"o":{{"s":"COIN{i}USDT","S":"SELL","o":"LIMIT","f":"IOC","q":"2049.1","p":"0.0711500","ap":"0.0722187","X":"FILLED","l":"245.9","z":"2049.1","T":{happened},"ps":"COIN{i}USDT","st":1}}}}"#
    )
}

fn frame_to_report(c: &mut Criterion) {
    let mut intake = Intake::new(10_000);
    let mut engine = Engine::new(&Settings::default());
    let mut outbox = Outbox::new();
    let frames: Vec<String> = (0..SYMBOLS).map(|i| frame(i, START_MS)).collect();
    let mut n = 0;
    let mut step = || {
        let bytes = frames[n % SYMBOLS].as_bytes();
        let received = Now::at_millis(START_MS + (n / 10) as i64 % 5_000);
        n += 1;
        let (_, events) =
            intake.frame(&Frame { venue: Venue::Binance, line: 0, link: 0, bytes, received });
        let count = events.len();
        for event in events {
            outbox.clear();
            engine.take(black_box(event), &mut outbox);
        }
        count
    };
    assert_eq!((0..1_000).map(|_| step()).sum::<usize>(), 1_000, "each frame is one event");
    c.bench_function("pipeline/frame to report", |b| {
        b.iter_batched(|| (), |()| step(), BatchSize::SmallInput);
    });
    assert!(engine.rows() >= SYMBOLS, "{} rows", engine.rows());
}

criterion_group!(benches, frame_to_report);
criterion_main!(benches);
