//! What it costs to turn one frame into its event, per venue, and against the usual ways.
//!
//! Every contender makes the same normalised event of a Binance `forceOrder`, and that is asserted
//! before anything is timed; ours is timed as it is, and with every frame left to simd-json.
//! `cargo bench --bench parse`; CPU features of the build change the ratios
//! (`RUSTFLAGS="-C target-cpu=native"`), so state them with the numbers.
#![expect(clippy::expect_used, reason = "a contender that finds nothing must not be timed")]

mod frames;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreshock::event::{Body, Completeness, Event, Positive, Side, Stamp, Venue};
use foreshock::ingest::exchange::{Desk, Verdict, exchange};
use foreshock::ingest::instrument::Instruments;
use foreshock::time::Nanos;
use frames::{FORCE_ORDER, FRAMES, Last};
use serde::Deserialize;

fn each_venue(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (name, venue, frame, events) in FRAMES {
        let Some(exchange) = exchange(venue) else { continue };
        let (mut desk, mut last) = (Desk::new(exchange), Last::default());
        assert_eq!(exchange.parse(frame.as_bytes(), &mut desk, &mut last), Verdict::Decoded);
        assert_eq!(last.events, events, "{name}");
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| exchange.parse(black_box(frame.as_bytes()), &mut desk, &mut last));
        });
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    e: &'a str,
    #[serde(borrow)]
    o: Order<'a>,
}

/// The fields that a liquidation's meaning depends on.
#[derive(Deserialize)]
struct Order<'a> {
    s: &'a str,
    #[serde(rename = "S")]
    side: &'a str,
    p: &'a str,
    ap: &'a str,
    q: &'a str,
    z: &'a str,
    #[serde(rename = "T")]
    time: i64,
    st: Option<u8>,
}

/// Typed, borrowed, and normalised to the same event as ours: the same table of instruments, the
/// same contract sizes, the same fallbacks.
fn typed(frame: &[u8], known: &Instruments) -> Option<Event> {
    let Message { e, o } = serde_json::from_slice(frame).ok()?;
    if e != "forceOrder" || o.st == Some(2) {
        return None;
    }
    let number = |first: &str, second: &str| {
        let text = if first.is_empty() { second } else { first };
        text.parse().ok().and_then(Positive::new)
    };
    let side = side_of(o.side)?;
    normalised(known, o.s, side, number(o.ap, o.p)?, number(o.z, o.q)?, o.time)
}

/// The same through a tree of values.
fn value(frame: &[u8], known: &Instruments) -> Option<Event> {
    let json: serde_json::Value = serde_json::from_slice(frame).ok()?;
    let order = json.get("o")?;
    let text = |key| order.get(key).and_then(serde_json::Value::as_str);
    if json.get("e")?.as_str()? != "forceOrder" || order.get("st")?.as_i64() == Some(2) {
        return None;
    }
    let number = |first, second| {
        let text = text(first).filter(|text| !text.is_empty()).or_else(|| text(second));
        text.and_then(|text| text.parse().ok()).and_then(Positive::new)
    };
    let (price, amount) = (number("ap", "p")?, number("z", "q")?);
    let time = order.get("T")?.as_i64()?;
    normalised(known, text("s")?, side_of(text("S")?)?, price, amount, time)
}

fn side_of(word: &str) -> Option<Side> {
    match word {
        "SELL" => Some(Side::Long),
        "BUY" => Some(Side::Short),
        _ => None,
    }
}

fn normalised(
    known: &Instruments,
    name: &str,
    side: Side,
    price: Positive,
    amount: Positive,
    time: i64,
) -> Option<Event> {
    let terms = known.get(name)?.terms();
    black_box(terms.base(amount, price)?);
    let body = Body::Liquidation {
        side: Some(side),
        price: Some(terms.price(price)?),
        usd: Some(terms.usd(amount, price)?),
    };
    Some(Event {
        symbol: terms.symbol,
        body,
        stamp: Stamp::new(Some(time), 0),
        venue: Venue::Binance,
        completeness: Completeness::Sampled,
        ..Event::tick(Nanos::default())
    })
}

fn contenders(c: &mut Criterion) {
    let frame = FORCE_ORDER.as_bytes();
    let exchange = exchange(Venue::Binance).expect("Binance is spoken");
    let (mut desk, mut last) = (Desk::new(exchange), Last::default());
    let known = desk.instruments.clone();
    assert_eq!(exchange.parse(frame, &mut desk, &mut last), Verdict::Decoded);
    let event = last.event.expect("one event");
    assert_eq!(typed(frame, &known), Some(event));
    assert_eq!(value(frame, &known), Some(event));

    let mut group = c.benchmark_group("forceOrder");
    group.bench_function("foreshock", |b| {
        b.iter(|| exchange.parse(black_box(frame), &mut desk, &mut last));
    });
    desk.scratch.plain = false;
    group.bench_function("foreshock, by simd-json alone", |b| {
        b.iter(|| exchange.parse(black_box(frame), &mut desk, &mut last));
    });
    group.bench_function("serde_json typed borrowed", |b| {
        b.iter(|| typed(black_box(frame), &known));
    });
    group.bench_function("serde_json value", |b| b.iter(|| value(black_box(frame), &known)));
}

criterion_group!(benches, contenders, each_venue);
criterion_main!(benches);
