//! The engine allocates nothing once it stands, whatever comes.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod stream;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use foreshock::engine::stage::{Tuning, Tunings};
use foreshock::engine::{Engine, EngineStage, Outbox, Settings};
use foreshock::event::{Body, Event, FeedState, Flags, Price, Side, Taker, Usd, VENUES};
use foreshock::ledger::Counts;
use foreshock::output::Output;
use foreshock::ring::ring;
use foreshock::stage::{Stage, Turn};
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_MS, Nanos, Now};
use stream::{Rng, liquidation, ms, symbol};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts per thread: the test harness's own threads are none of our business.
struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a plain cell
// of the calling thread without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Something of everything: every body and flag, more symbols than rows, silences, a reset.
fn event(rng: &mut Rng, now: &mut u64, symbols: &[Symbol]) -> Event {
    *now += if rng.below(1_000) == 0 { 400_000 * NS_PER_MS } else { rng.below(2 * NS_PER_MS) };
    let symbol = match rng.below(4) {
        0 => Symbol::BTC,
        _ => symbols[rng.below(symbols.len() as u64) as usize],
    };
    let venue = VENUES[rng.below(5) as usize];
    let at = Nanos(*now);
    let mut event = liquidation(at, symbol, venue, Some(Side::Short), rng.size());
    event.flags = Flags(if rng.below(4) == 0 { rng.below(128) as u8 } else { 0 });
    let price = Price::new(1e5 + rng.unit()).expect("a price");
    event.body = match rng.below(20) {
        0 => Body::Tick,
        1 => Body::Trade { taker: Taker::Buy, price, usd: None },
        2 => Body::Book { depth_usd: None, bid: price, ask: price },
        3 => Body::Mark { price, index: None },
        4 => Body::Funding { rate: 1e-4, next_ms: 0 },
        5 => Body::OpenInterest { base: Some(price), usd: None },
        6 => Body::Feed { state: FeedState::Live, code: 0 },
        7 if rng.below(500) == 0 => Body::Reset,
        _ => event.body,
    };
    event
}

#[test]
fn an_engine_that_stands_allocates_nothing() {
    let settings = Settings { max_symbols: 512, ..Settings::default() };
    let symbols: Vec<Symbol> = (0..600).map(symbol).collect();
    let mut engine = Engine::new(&settings);
    let mut out = Outbox::new();
    let (mut rng, mut now, mut reports) = (Rng(11), ms(0).0, 0);
    let allocations = counted(|| {
        for _ in 0..200_000 {
            out.clear();
            engine.take(&event(&mut rng, &mut now, &symbols), &mut out);
            reports += out.reports().len();
        }
    });
    assert!(reports > 1_000, "{reports}");
    assert!(engine.tally().get("other_symbols") > 0);
    assert_eq!(allocations, 0);
}

#[test]
fn neither_does_its_stage() {
    let (mut to_engine, inlet) = ring(256);
    let (outlet, mut from_engine) = ring(512);
    let mut stage = EngineStage::new(Engine::new(&Settings::default()), [inlet], outlet);
    let symbols: Vec<Symbol> = (0..50).map(symbol).collect();
    let (mut rng, mut now, mut lines) = (Rng(12), ms(0).0, 0);
    let mut counts = Counts::default();
    let allocations = counted(|| {
        for _ in 0..20_000 {
            let _ = to_engine.push(event(&mut rng, &mut now, &symbols));
            assert_ne!(stage.turn(Now::at_millis(5)), Turn::Done);
            while from_engine.pop().is_some() {
                lines += 1;
            }
            counts.clear();
            stage.count(&mut counts);
        }
    });
    assert!(lines > 20_000 && counts.get("consumed") == 20_000);
    assert_eq!(allocations, 0);
}

#[test]
fn nor_does_it_when_its_settings_change() {
    let (mut to_engine, inlet) = ring(256);
    let (mut tune, tunings) = ring(1);
    let (outlet, mut from_engine) = ring(512);
    let mut settings = Settings::default();
    let stage = EngineStage::new(Engine::new(&settings), [inlet], outlet);
    let mut stage = stage.tuned_by(Tunings::Live(tunings));
    let symbols: Vec<Symbol> = (0..50).map(symbol).collect();
    let (mut rng, mut now, mut tuned) = (Rng(13), ms(0).0, 0);
    let allocations = counted(|| {
        for number in 0..2_000 {
            let _ = to_engine.push(event(&mut rng, &mut now, &symbols));
            settings.levels.alert = 0.5 + 0.01 * (number % 10) as f64;
            let _ = tune.push(Tuning { number, settings });
            assert_ne!(stage.turn(Now::at_millis(5)), Turn::Done);
            while let Some(line) = from_engine.pop() {
                let is_tuned = |event: Event| matches!(event.body, Body::Tuned { .. });
                tuned += u64::from(matches!(line, Output::Event(event) if is_tuned(event)));
            }
        }
    });
    assert!(tuned > 1_900, "{tuned}");
    assert_eq!(allocations, 0);
}

#[test]
fn the_counter_counts() {
    assert!(counted(|| drop(std::hint::black_box(Box::new(Usd::new(1.0))))) >= 2);
}
