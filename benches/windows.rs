//! What sliding windows and their kinematics cost: circular buckets against rescanning a deque.
//!
//! `cargo bench --bench windows`. Both sides answer the same questions for the same stream after each
//! event, of its symbol and of the market: 7 counts, 7 sums, and acceleration and jerk at 2 s and
//! 10 s. Over 100 symbols; before timing they are checked against each other.
#![expect(clippy::cast_possible_truncation, reason = "small known values")]

mod rescan;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use foreshock::engine::grid::Grid;
use foreshock::engine::kinematics::motion;
use foreshock::engine::row::{Hit, Load, Row};
use foreshock::engine::seconds::Watch;
use foreshock::engine::settings::Rhythm;
use foreshock::event::{Body, Event, Side, Stamp, Usd, Venue};
use foreshock::signal::{FAST, Motion, SLOW, WINDOW_COUNT, WINDOW_MS};
use foreshock::time::Nanos;
use rescan::{DEQUE, Deques};

const SYMBOLS: usize = 100;
/// 1,000 events a second over all symbols.
const STEP_NS: u64 = 1_000_000;
const START: u64 = 1_700_000_000_000_000_000;

type Answer = ([u32; WINDOW_COUNT], [u64; WINDOW_COUNT], [Motion; 2]);

fn usd(i: u64) -> Option<Usd> {
    Usd::from_micros(1_000_000 + i % 977)
}

fn event(i: u64) -> Event {
    let mut event = Event::tick(Nanos(START + i * STEP_NS));
    event.body = Body::Liquidation { side: Some(Side::Long), price: None, usd: usd(i) };
    event.venue = Venue::Bybit;
    event.stamp = Stamp::new(Some(event.received.millis()), 0);
    event
}

struct Buckets {
    rows: Vec<Row>,
    rhythm: Rhythm,
}

impl Buckets {
    /// The symbols' rows, and the market's.
    fn new() -> Self {
        Self { rows: vec![Row::new(); SYMBOLS + 1], rhythm: Rhythm::default() }
    }

    fn take(&mut self, i: u64) -> [Answer; 2] {
        let event = event(i);
        let grid = Grid::at(event.received);
        let hit = Hit { at: event.at(), places: grid.places(event.at()), usd: usd(i) };
        [i as usize % SYMBOLS, SYMBOLS].map(|row| {
            let row = &mut self.rows[row];
            row.advance(&grid, Watch { rhythm: &self.rhythm, live: u8::MAX, since: 0 });
            row.put(&event, &hit);
            let reading = row.read(&grid);
            let motion = |lags: [Load; 3], w: usize| {
                let seconds = WINDOW_MS[w] as f64 / 1e3;
                motion(lags.map(|load| load.events), lags.map(|load| load.usd), seconds)
            };
            (
                reading.now.map(|load| load.events),
                reading.now.map(|load| load.usd),
                [motion(reading.fast, FAST), motion(reading.slow, SLOW)],
            )
        })
    }
}

fn rescan(deques: &mut Deques, i: u64) -> [Answer; 2] {
    let at = event(i).received;
    [i as usize % SYMBOLS, SYMBOLS].map(|row| {
        deques.remember(row, at, usd(i).map_or(0, Usd::micros));
        let answer = deques.walk(row, at);
        (answer.counts, answer.usd, answer.motions())
    })
}

/// Both rows' counts and sums in the windows that the deque holds in whole.
fn check([own, market]: &[Answer; 2], [own_walked, market_walked]: &[Answer; 2]) {
    for (ours, walked, windows) in
        [(own, own_walked, WINDOW_COUNT), (market, market_walked, FAST + 1)]
    {
        for w in 0..windows {
            let near = ours.0[w].abs_diff(walked.0[w]);
            assert!(near <= 1 + walked.0[w] / 50, "{ours:?} {walked:?}");
            let near = ours.1[w].abs_diff(walked.1[w]);
            assert!(near <= 2_000_000 + walked.1[w] / 50, "{ours:?} {walked:?}");
        }
    }
}

fn windows(c: &mut Criterion) {
    let (mut buckets, mut deques) = (Buckets::new(), Deques::new(SYMBOLS + 1));
    let warm = (SYMBOLS * DEQUE) as u64;
    for i in 0..warm {
        let ours = buckets.take(i);
        if i % 9_973 == 0 || i + 1_000 > warm {
            check(&ours, &rescan(&mut deques, i));
        } else {
            for row in [i as usize % SYMBOLS, SYMBOLS] {
                deques.remember(row, event(i).received, usd(i).map_or(0, Usd::micros));
            }
        }
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
            black_box(rescan(&mut deques, i))
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
