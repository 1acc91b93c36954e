//! What one event costs in the whole engine: windows, kinematics and the judgement of risk that
//! decides the level, of its symbol and of the market.
//!
//! `cargo bench --bench engine`. 100 symbols, four venues; the result is asserted before timing.
//!
//! - `to_decision`: every event, up to the decision, and what changes a level. Nothing else is due:
//!   states and heartbeats are said ten times and once a second for each row at most, however many
//!   events there are.
//! - `to_decision_in_alarm`: the same while every row stands at a level, so that all evidence is weighed
//!   for each event; in a calm market most of it is ruled out at once.
//! - `with_state_reports`: as `to_decision`, with both as they come by default. At 1,000 events a second
//!   nearly every event makes its symbol say its state, and some the market too.
//! - `making_the_event_alone`: what of each of these figures is the bench's own.
//! - `rescanning`: what a row is judged by, found by walking its last 3,000 events: symbol and market.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod rescan;
mod stream;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreshock::engine::settings::Levels;
use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Event, Usd};
use foreshock::symbol::Symbol;
use foreshock::time::Nanos;
use rescan::Deques;
use stream::{START, SYMBOLS, Stream};

/// Long enough for no state and no heartbeat to be due while it is measured.
const NEVER_MS: u64 = 24 * 3_600 * 1_000;

/// Row of a symbol among the deques; the market comes after them.
fn row_of(stream: &Stream, event: &Event) -> usize {
    stream.symbols.iter().position(|symbol| *symbol == event.symbol).expect("one of them")
}

fn usd_of(event: &Event) -> u64 {
    let Body::Liquidation { usd, .. } = event.body else { return 0 };
    usd.map_or(0, Usd::micros)
}

/// An engine, its stream and the deques that saw the same, after five minutes.
fn warm(per_second: u64, settings: &Settings) -> (Engine, Stream, Outbox) {
    let (mut engine, mut stream, mut out) =
        (Engine::new(settings), Stream::new(per_second), Outbox::new());
    for _ in 0..300 * per_second.min(2_000) {
        out.clear();
        engine.take(&stream.liquidation(), &mut out);
    }
    assert!(engine.rows() > SYMBOLS, "{} rows", engine.rows());
    (engine, stream, out)
}

/// The deques after the same, where the engine with its states said the same.
fn warm_deques(per_second: u64) -> (Deques, Stream) {
    let (mut engine, mut stream, mut out) =
        (Engine::new(&Settings::default()), Stream::new(per_second), Outbox::new());
    let mut deques = Deques::new(SYMBOLS + 1);
    let mut compared = 0;
    let events = 300 * per_second.min(2_000);
    for i in 0..events {
        let event = stream.liquidation();
        out.clear();
        engine.take(&event, &mut out);
        let row = row_of(&stream, &event);
        for row in [row, SYMBOLS] {
            deques.remember(row, event.at(), usd_of(&event));
        }
        if i + 5 * per_second < events {
            continue;
        }
        for report in out.reports() {
            let is_market = report.symbol == Symbol::MARKET;
            let own = report.symbol == event.symbol;
            if !is_market && !own {
                continue;
            }
            let answer = deques.walk(if is_market { SYMBOLS } else { row }, event.received);
            // What the deque holds in whole: 2 s of each row at either rate, 100 ms of the market.
            for w in 0..if is_market { 1 } else { 3 } {
                let near = report.counts[w].abs_diff(answer.counts[w]);
                assert!(near <= 2 + answer.counts[w] / 20, "{report:?} {answer:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "{compared}");
    (deques, stream)
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine_100_symbols");
    group.throughput(Throughput::Elements(1));
    let all = Settings::default();
    let decision = Settings { state_ms: NEVER_MS, heartbeat_ms: NEVER_MS, ..all };
    // A level entered on anything at all, and never left.
    let levels = Levels { watch: f64::MIN_POSITIVE, ..all.levels };
    let alarm = Settings { levels, ..decision };
    let lines = [
        ("to_decision", &decision),
        ("to_decision_in_alarm", &alarm),
        ("with_state_reports", &all),
    ];
    for (per_second, (line, settings)) in
        [1_000, 10_000].into_iter().flat_map(|rate| lines.map(|line| (rate, line)))
    {
        let (mut engine, mut stream, mut out) = warm(per_second, settings);
        group.bench_function(format!("{line}_at_{per_second}_per_s"), |b| {
            b.iter(|| {
                out.clear();
                engine.take(black_box(&stream.liquidation()), &mut out);
                black_box(out.reports().len())
            });
        });
    }
    for per_second in [1_000, 10_000] {
        let (mut deques, mut stream) = warm_deques(per_second);
        group.bench_function(format!("rescanning_at_{per_second}_per_s"), |b| {
            b.iter(|| {
                let event = stream.liquidation();
                let row = row_of(&stream, &event);
                [row, SYMBOLS].map(|row| {
                    deques.remember(row, event.at(), usd_of(&event));
                    let answer = deques.walk(row, event.received);
                    black_box((answer.scores(&all), answer.motions()));
                })
            });
        });
    }
    let mut stream = Stream::new(1_000);
    group.bench_function("making_the_event_alone", |b| b.iter(|| black_box(stream.liquidation())));
    let (mut engine, mut stream, mut out) = warm(1_000, &all);
    group.bench_function("trade", |b| {
        b.iter(|| {
            out.clear();
            engine.take(black_box(&stream.trade()), &mut out);
            black_box(out.reports().len())
        });
    });
    group.bench_function("tick_while_all_decay", |b| {
        b.iter(|| {
            out.clear();
            stream.next += 1_000;
            let tick = Event::tick(Nanos(START + stream.next * stream.step_ns));
            engine.take(black_box(&tick), &mut out);
            black_box(out.reports().len())
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = engine
}
criterion_main!(benches);
