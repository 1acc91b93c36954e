//! What one event costs in the whole engine: windows, kinematics, risk and signal, of its symbol and
//! of the market.
//!
//! `cargo bench --bench engine`. 100 symbols, four venues; the result is asserted before timing.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Event, Price, Side, Stamp, Taker, Usd, VENUES};
use foreshock::symbol::Symbol;
use foreshock::time::Nanos;

const SYMBOLS: usize = 100;
const START: u64 = 1_700_000_000_000_000_000;

struct Stream {
    symbols: Vec<Symbol>,
    step_ns: u64,
    next: u64,
}

impl Stream {
    fn new(per_second: u64) -> Self {
        let symbols = (0..SYMBOLS).filter_map(|i| Symbol::of_base(&format!("S{i}"))).collect();
        Self { symbols, step_ns: 1_000_000_000 / per_second, next: 0 }
    }

    fn liquidation(&mut self) -> Event {
        let i = self.next;
        self.next += 1;
        // Hops through symbols and venues without a pattern the engine could profit from.
        let hop = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let mut event = Event::tick(Nanos(START + i * self.step_ns));
        event.symbol = self.symbols[hop as usize % SYMBOLS];
        event.venue = VENUES[(hop >> 8) as usize % 4];
        event.stamp = Stamp::new(Some(event.received.millis()), (hop >> 10) as u16 % 300);
        let side = if hop & 1 == 0 { Side::Long } else { Side::Short };
        event.body = Body::Liquidation {
            side: Some(side),
            price: None,
            usd: Usd::from_micros(1_000_000_000 + hop % 1_000_000),
        };
        event
    }

    fn trade(&mut self) -> Event {
        let mut event = self.liquidation();
        let price = Price::new(100.0 + (self.next % 7) as f64 / 1e3).expect("a price");
        event.body = Body::Trade { taker: Taker::Buy, price, usd: None };
        event
    }
}

fn warm(per_second: u64) -> (Engine, Stream, Outbox) {
    let (mut engine, mut stream, mut out) =
        (Engine::new(&Settings::default()), Stream::new(per_second), Outbox::new());
    let events = 300 * per_second.min(2_000);
    let mut last = None;
    for _ in 0..events {
        out.clear();
        engine.take(&stream.liquidation(), &mut out);
        last = out.reports().iter().rfind(|r| r.symbol == Symbol::MARKET).copied().or(last);
    }
    let market = last.expect("the market was reported");
    let minute = (per_second * 60).min(events);
    let near = u64::from(market.counts[5]).abs_diff(minute);
    assert!(near <= minute / 50, "{} events in 60 s, not {minute}", market.counts[5]);
    assert_eq!(market.breadth, SYMBOLS as u32);
    (engine, stream, out)
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine_100_symbols");
    group.throughput(Throughput::Elements(1));
    for per_second in [1_000, 10_000] {
        let (mut engine, mut stream, mut out) = warm(per_second);
        group.bench_function(format!("liquidation_at_{per_second}_per_s"), |b| {
            b.iter(|| {
                out.clear();
                engine.take(black_box(&stream.liquidation()), &mut out);
                black_box(out.reports().len())
            });
        });
    }
    let (mut engine, mut stream, mut out) = warm(1_000);
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
