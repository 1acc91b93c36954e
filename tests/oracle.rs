//! The engine against the slowest possible recount: all events kept, everything computed from its
//! definition for every report. A fault both sides share would have to be made twice, differently.
//!
//! `FORESHOCK_FULL=1 cargo test --release --test oracle` runs many more seeds and events.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod stream;

use std::collections::{HashMap, HashSet};

use foreshock::engine::window::Window;
use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Event, Side, Stamp, VENUES, Venue};
use foreshock::signal::{Motion, Report, WINDOW_COUNT, WINDOW_MS};
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_MS, NS_PER_S, Nanos};
use stream::{Rng, liquidation, ms, symbol};

const WHOLE: u128 = 1 << 16;

fn is_full() -> bool {
    std::env::var_os("FORESHOCK_FULL").is_some()
}

/// Every liquidation of one symbol.
#[derive(Default)]
struct Tape(Vec<Event>);

#[derive(Clone, Copy, Default)]
struct Sum {
    events: u128,
    usd: u128,
    long: u128,
    short: u128,
}

fn rounded(part: Sum, rest: u128) -> Sum {
    let share = |value: u128| (value * rest + WHOLE / 2) / WHOLE;
    Sum {
        events: share(part.events),
        usd: share(part.usd),
        long: share(part.long),
        short: share(part.short),
    }
}

fn usd_of(event: &Event) -> (u128, Option<Side>) {
    let Body::Liquidation { usd, side, .. } = event.body else { panic!("not on a tape") };
    (usd.map_or(0, |usd| u128::from(usd.micros())), side)
}

impl Tape {
    /// Sum over the bucket ages `from..to` of a window.
    fn sum(&self, now: Nanos, width: u64, ages: std::ops::Range<u64>) -> Sum {
        let mut sum = Sum::default();
        for event in &self.0 {
            if ages.contains(&(now.0 / width - event.at().0 / width)) {
                let (usd, side) = usd_of(event);
                sum.events += 1;
                sum.usd += usd;
                match side {
                    Some(Side::Long) => sum.long += usd,
                    Some(Side::Short) => sum.short += usd,
                    None => {}
                }
            }
        }
        sum
    }

    /// What lies in (t - (k+1)w, t - kw], by the engine's stated quantisation.
    fn lag(&self, now: Nanos, window: usize, k: u64) -> Sum {
        let width = WINDOW_MS[window] * NS_PER_MS / 64;
        let rest = u128::from((width - now.0 % width) * WHOLE as u64 / width);
        let whole = self.sum(now, width, 64 * k..64 * (k + 1));
        let oldest = rounded(self.sum(now, width, 64 * (k + 1)..64 * (k + 1) + 1), rest);
        let lent = match k {
            0 => Sum::default(),
            _ => rounded(self.sum(now, width, 64 * k..64 * k + 1), rest),
        };
        Sum {
            events: whole.events + oldest.events - lent.events,
            usd: whole.usd + oldest.usd - lent.usd,
            long: whole.long + oldest.long,
            short: whole.short + oldest.short,
        }
    }

    fn motion(&self, now: Nanos, window: usize) -> Motion {
        let w = WINDOW_MS[window] as f64 / 1e3;
        let n = [0, 1, 2].map(|k| self.lag(now, window, k).events as f64);
        let u = [0, 1, 2].map(|k| self.lag(now, window, k).usd as f64 / 1e6);
        Motion {
            acceleration: (n[0] - n[1]) / (w * w),
            jerk: (n[0] - 2.0 * n[1] + n[2]) / (w * w * w),
            acceleration_sd: (n[0] - n[1]) / (n[0] + n[1]).max(1.0).sqrt(),
            jerk_sd: (n[0] - 2.0 * n[1] + n[2]) / (n[0] + 4.0 * n[1] + n[2]).max(1.0).sqrt(),
            value_acceleration: (u[0] - u[1]) / (w * w),
            value_jerk: (u[0] - 2.0 * u[1] + u[2]) / (w * w * w),
        }
    }

    /// The number in (t - w, t], without buckets.
    fn exact(&self, now: Nanos, window: usize) -> u64 {
        let since = now.minus(WINDOW_MS[window] * NS_PER_MS);
        self.0.iter().filter(|event| event.at() > since).count() as u64
    }

    fn distinct_ms(&self, now: Nanos) -> u32 {
        let since = now.minus(1_900 * NS_PER_MS);
        let recent = self.0.iter().filter(|event| event.at() > since);
        recent.map(|event| (event.venue, event.stamp.venue_ms())).collect::<HashSet<_>>().len()
            as u32
    }

    /// Counts of the `n` whole seconds before the present one, oldest first.
    fn seconds(&self, now: Nanos, n: u64, of: impl Fn(&Event) -> bool) -> Vec<f64> {
        let mut counts = vec![0.0; n as usize];
        let present = now.0 / NS_PER_S;
        for event in self.0.iter().filter(|event| of(event)) {
            let age = present - event.at().0 / NS_PER_S;
            if (1..=n).contains(&age) {
                counts[(n - age) as usize] += 1.0;
            }
        }
        counts
    }

    fn clustering(&self, now: Nanos, since: Nanos) -> Option<f64> {
        let listened = (now.0 / NS_PER_S - since.0 / NS_PER_S).min(300);
        if listened < 60 {
            return None;
        }
        let counts = self.seconds(now, listened, |_| true);
        let mean = counts.iter().sum::<f64>() / listened as f64;
        let variance =
            counts.iter().map(|n| (n - mean) * (n - mean)).sum::<f64>() / listened as f64;
        let enough = counts.iter().sum::<f64>() >= 20.0;
        enough.then(|| if variance > mean { 1.0 - (mean / variance).sqrt() } else { 0.0 })
    }

    fn correlation(&self, now: Nanos, since: Nanos) -> Option<f64> {
        if now.0 / 1_000_000_000 < since.0 / 1_000_000_000 + 60 {
            return None;
        }
        let venues: Vec<Vec<f64>> = VENUES
            .iter()
            .map(|&venue| self.seconds(now, 60, |event| event.venue == venue))
            .filter(|counts| counts.iter().sum::<f64>() >= 5.0)
            .collect();
        let mut all = Vec::new();
        for i in 0..venues.len() {
            all.extend((0..i).filter_map(|j| pearson(&venues[i], &venues[j])));
        }
        (!all.is_empty()).then(|| all.iter().map(|r| r.max(0.0)).sum::<f64>() / all.len() as f64)
    }
}

fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma) * (x - ma);
        bb += (y - mb) * (y - mb);
    }
    (aa > 1e-12 && bb > 1e-12).then(|| ab / (aa * bb).sqrt())
}

/// Relative errors of counts against the exact ones, to be averaged.
#[derive(Default)]
struct Errors {
    sum: f64,
    n: f64,
}

struct Oracle {
    tapes: HashMap<Symbol, Tape>,
    market: Tape,
    since: Option<Nanos>,
    errors: [Errors; WINDOW_COUNT],
    checked: usize,
}

impl Oracle {
    fn new() -> Self {
        Self {
            tapes: HashMap::new(),
            market: Tape::default(),
            since: None,
            errors: Default::default(),
            checked: 0,
        }
    }

    fn take(&mut self, event: &Event) {
        self.since.get_or_insert(event.received);
        if let Body::Liquidation { .. } = event.body {
            self.tapes.entry(event.symbol).or_default().0.push(*event);
            self.market.0.push(*event);
        }
    }

    fn check(&mut self, report: &Report, is_in_order: bool, context: &str) {
        let now = report.at;
        let is_market = report.symbol == Symbol::MARKET;
        let tape = if is_market { &self.market } else { &self.tapes[&report.symbol] };
        for window in 0..WINDOW_COUNT {
            let sum = tape.lag(now, window, 0);
            let (events, usd) = (report.counts[window], report.usd[window]);
            assert_eq!(u128::from(events), sum.events, "{context}: window {window}: {report:?}");
            assert_eq!(u128::from(usd), sum.usd, "{context}: USD of window {window}: {report:?}");
            let exact = tape.exact(now, window);
            if exact >= 20 {
                let errors = &mut self.errors[window];
                errors.sum += exact.abs_diff(u64::from(events)) as f64 / exact as f64;
                errors.n += 1.0;
            }
        }
        same_motion(report.fast, tape.motion(now, 2), context);
        same_motion(report.slow, tape.motion(now, 3), context);
        let Sum { long, short, .. } = tape.lag(now, 5, 0);
        let balance =
            (long + short > 0).then(|| (long as f64 - short as f64) / (long as f64 + short as f64));
        assert_near(report.imbalance, balance, "imbalance", context);
        if is_in_order {
            let since = self.since.expect("begun");
            assert_near(report.clustering, tape.clustering(now, since), "clustering", context);
            assert_near(report.correlation, tape.correlation(now, since), "correlation", context);
        }
        assert!(report.dispersion <= report.counts[2], "{context}: dispersion");
        assert!(report.dispersion >= tape.distinct_ms(now), "{context}: dispersion");
        let recent = |tape: &Tape| tape.sum(now, 31_250_000, 0..64).events > 0;
        if is_market {
            let whole = self.tapes.values().filter(|tape| recent(tape)).count() as u32;
            let partly = self.tapes.values().filter(|tape| tape.lag(now, 2, 0).events > 0);
            let slack = (partly.count() as u32).abs_diff(whole) + 2;
            assert!(report.breadth.abs_diff(whole) <= slack, "{context}: breadth {whole}");
        }
        self.checked += 1;
    }
}

fn assert_near(ours: Option<f64>, theirs: Option<f64>, what: &str, context: &str) {
    let near = match (ours, theirs) {
        (None, None) => true,
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * (1.0 + b.abs()),
        _ => false,
    };
    assert!(near, "{context}: {what} is {ours:?}, recounted {theirs:?}");
}

fn same_motion(ours: Motion, theirs: Motion, context: &str) {
    let pairs = [
        (ours.acceleration, theirs.acceleration),
        (ours.jerk, theirs.jerk),
        (ours.acceleration_sd, theirs.acceleration_sd),
        (ours.jerk_sd, theirs.jerk_sd),
        (ours.value_acceleration, theirs.value_acceleration),
        (ours.value_jerk, theirs.value_jerk),
    ];
    for (a, b) in pairs {
        assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{context}: {ours:?}, not {theirs:?}");
    }
}

/// What a stream is like.
struct Kind {
    symbols: u64,
    is_in_order: bool,
    events: usize,
}

/// The next event: bursts, a steady flow, silences; some moved back in their frame, some received
/// out of order.
fn next(rng: &mut Rng, now: &mut u64, kind: &Kind) -> Event {
    *now += match rng.below(400) {
        0 => rng.below(400_000_000_000),
        1..20 => rng.below(5_000_000_000),
        20..200 => rng.below(3_000_000),
        _ => rng.below(60_000_000),
    };
    if rng.below(5) == 0 {
        return Event::tick(Nanos(*now));
    }
    let late = if kind.is_in_order || rng.below(10) > 0 { 0 } else { rng.below(400_000_000) };
    let at = Nanos(*now - late);
    let side = [Some(Side::Long), Some(Side::Short), None][rng.below(3) as usize];
    let venue = [Venue::Binance, Venue::Bybit, Venue::Okx][rng.below(3) as usize];
    let size = rng.size();
    let mut event = liquidation(at, symbol(rng.below(kind.symbols)), venue, side, size);
    let back = if kind.is_in_order || rng.below(3) > 0 { 0 } else { rng.below(900) as u16 };
    event.stamp = Stamp::new(Some(at.millis() - 80 - i64::from(back)), back);
    event
}

fn run(seed: u64, kind: &Kind) -> Oracle {
    let mut rng = Rng(seed);
    let mut engine = Engine::new(&Settings::default());
    let (mut oracle, mut out, mut now) = (Oracle::new(), Outbox::new(), ms(0).0);
    for i in 0..kind.events {
        let event = next(&mut rng, &mut now, kind);
        out.clear();
        engine.take(&event, &mut out);
        oracle.take(&event);
        let context = format!("seed {seed}, event {i}");
        for report in out.reports() {
            oracle.check(report, kind.is_in_order, &context);
        }
    }
    oracle
}

fn run_many(seeds: std::ops::Range<u64>, kind: &Kind) {
    let mut errors: [Errors; WINDOW_COUNT] = Default::default();
    let mut checked = 0;
    for seed in seeds {
        let oracle = run(seed, kind);
        checked += oracle.checked;
        for (all, one) in errors.iter_mut().zip(&oracle.errors) {
            all.sum += one.sum;
            all.n += one.n;
        }
    }
    assert!(checked > kind.events / 20, "only {checked} reports were checked");
    for (window, errors) in errors.iter().enumerate().filter(|(_, errors)| errors.n > 100.0) {
        let mean = errors.sum / errors.n;
        println!("{} ms: mean error {mean:.5} over {}", WINDOW_MS[window], errors.n);
        assert!(mean <= 0.01, "window {window}: mean error {mean}");
    }
}

#[test]
fn a_few_symbols_in_order() {
    let (events, seeds) = if is_full() { (20_000, 0..12) } else { (2_500, 0..3) };
    run_many(seeds, &Kind { symbols: 3, is_in_order: true, events });
}

#[test]
fn d2_a_few_symbols_with_late_events() {
    let (events, seeds) = if is_full() { (20_000, 100..112) } else { (2_500, 100..103) };
    run_many(seeds, &Kind { symbols: 4, is_in_order: false, events });
}

#[test]
fn more_symbols_than_there_are_rows_but_two() {
    let (events, seeds) = if is_full() { (40_000, 200..203) } else { (5_000, 200..201) };
    run_many(seeds, &Kind { symbols: 4_094, is_in_order: false, events });
}

/// Sums are integers: after any number of adds and evictions they are what a recount gives.
#[test]
fn windows_conserve_what_passes_through_them() {
    let operations: u64 = if is_full() { 100_000_000 } else { 1_000_000 };
    let mut rng = Rng(7);
    let mut window = Window::<u64, 3>::new();
    let (mut head, mut added, mut seen) = (1_000, 0_u64, 0_u64);
    for i in 0..operations {
        head += [0, 0, 0, 0, 1, 1, 2, 70][rng.below(8) as usize];
        window.advance(head);
        let value = rng.below(1_000_000);
        if window.put(head - rng.below(200), value) {
            added += value;
        }
        if i % 4_096 == 0 {
            assert_eq!(window.sum(), window.recount(), "operation {i}");
            let lags = window.read(1 << 16);
            seen += lags.iter().sum::<u64>();
            assert!(lags.iter().sum::<u64>() <= added);
        }
    }
    assert!(seen > 0);
    assert_eq!(window.sum(), window.recount());
    window.advance(head + 193);
    assert_eq!(window.read(1 << 16), [0; 3], "everything that came in has left");
    assert!(window.is_empty());
}
