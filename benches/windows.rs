//! What a sliding window costs: circular buckets against rescanning a deque.
//!
//! `cargo bench --bench windows`. Both sides answer the same question for the same stream, 7 counts
//! and 7 sums after each event, over 100 symbols; before timing they are checked against each other.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

use std::collections::VecDeque;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreshock::engine::grid::{Grid, places};
use foreshock::engine::row::{Hit, Row};
use foreshock::engine::seconds::Watch;
use foreshock::engine::settings::Rhythm;
use foreshock::event::{Body, Event, Side, Stamp, Usd, Venue};
use foreshock::signal::{WINDOW_COUNT, WINDOW_MS};
use foreshock::time::{NS_PER_MS, Nanos};

const SYMBOLS: usize = 100;
/// 1,000 events a second over all symbols.
const STEP_NS: u64 = 1_000_000;
/// What a deque of 300 s would hold at that rate, for each symbol.
const DEQUE: usize = 3_000;
const START: u64 = 1_700_000_000_000_000_000;

type Answer = ([u32; WINDOW_COUNT], [u64; WINDOW_COUNT]);

fn event(i: u64) -> Event {
    let mut event = Event::tick(Nanos(START + i * STEP_NS));
    event.body = Body::Liquidation {
        side: Some(Side::Long),
        price: None,
        usd: Usd::from_micros(1_000_000 + i % 977),
    };
    event.venue = Venue::Bybit;
    event.stamp = Stamp::new(Some(event.received.millis()), 0);
    event
}

struct Buckets {
    rows: Vec<Row>,
    rhythm: Rhythm,
}

impl Buckets {
    fn new() -> Self {
        Self { rows: vec![Row::new(); SYMBOLS], rhythm: Rhythm::default() }
    }

    fn take(&mut self, i: u64) -> Answer {
        let event = event(i);
        let at = event.at();
        let Body::Liquidation { usd, .. } = event.body else { unreachable!() };
        let grid = Grid::at(at);
        let row = &mut self.rows[i as usize % SYMBOLS];
        row.advance(&grid, Watch { rhythm: &self.rhythm, live: u8::MAX, since: 0 });
        row.put(&event, &Hit { at, places: places(at), usd });
        let now = row.read(&grid).now;
        (now.map(|load| load.events), now.map(|load| load.usd))
    }
}

struct Deques(Vec<VecDeque<(u64, u64)>>);

impl Deques {
    fn new() -> Self {
        Self(vec![VecDeque::with_capacity(DEQUE + 1); SYMBOLS])
    }

    fn take(&mut self, i: u64) -> Answer {
        let now = START + i * STEP_NS;
        let deque = &mut self.0[i as usize % SYMBOLS];
        deque.push_back((now, 1_000_000 + i % 977));
        while deque.front().is_some_and(|(at, _)| now - at >= WINDOW_MS[6] * NS_PER_MS) {
            deque.pop_front();
        }
        let mut answer = ([0; WINDOW_COUNT], [0; WINDOW_COUNT]);
        for &(at, usd) in deque.iter() {
            for (w, ms) in WINDOW_MS.iter().enumerate() {
                if now - at < ms * NS_PER_MS {
                    answer.0[w] += 1;
                    answer.1[w] += usd;
                }
            }
        }
        answer
    }
}

fn windows(c: &mut Criterion) {
    let (mut buckets, mut deques) = (Buckets::new(), Deques::new());
    let warm = (SYMBOLS * DEQUE) as u64;
    for i in 0..warm {
        let ours = buckets.take(i);
        if i % 9_973 == 0 || i + 1 == warm {
            // The deque of this symbol is filled in one go, to compare with.
            let mut deque = Deques::new();
            let symbol = i % SYMBOLS as u64;
            let theirs =
                (0..=i / SYMBOLS as u64).map(|n| deque.take(n * SYMBOLS as u64 + symbol)).last();
            let theirs = theirs.expect("at least one");
            for w in 0..WINDOW_COUNT {
                let near = ours.0[w].abs_diff(theirs.0[w]);
                assert!(near <= 1 + theirs.0[w] / 50, "{ours:?} {theirs:?} at {i}");
            }
        }
        deques.0[i as usize % SYMBOLS].push_back((START + i * STEP_NS, 1_000_000 + i % 977));
    }
    let mut group = c.benchmark_group("windows_100_symbols");
    group.throughput(Throughput::Elements(1));
    let mut i = warm;
    group.bench_function("buckets", |b| {
        b.iter(|| {
            i += 1;
            black_box(buckets.take(i))
        });
    });
    let mut i = warm;
    group.bench_function("deque_of_3000", |b| {
        b.iter(|| {
            i += 1;
            black_box(deques.take(i))
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = windows
}
criterion_main!(benches);
