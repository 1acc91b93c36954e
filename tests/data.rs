//! Data that is wrong, early, late or too much, on its way through the reader into the engine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;

use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Event, FeedState, Flags, Venue};
use foreshock::ledger::Ledger;
use foreshock::ring::Inlet;
use foreshock::signal::Report;
use foreshock::stage::Stage;
use foreshock::time::{Millis, Now};
use script::{START, bybit, reader, reader_into};

/// What the engine makes of everything that has come.
fn judge(engine: &mut Engine, inlet: &mut Inlet<Event>, reports: &mut Vec<Report>) {
    let mut out = Outbox::new();
    while let Some(event) = inlet.pop() {
        out.clear();
        engine.take(&event, &mut out);
        reports.extend_from_slice(out.reports());
    }
}

/// Five minutes with a cascade at the end, told by a wall clock that is `wrong(ms)` off.
fn story(wrong: impl Fn(i64) -> i64) -> (Vec<Report>, Ledger) {
    told_by(0, wrong)
}

/// The same, and the steady clock was set wrong at the start.
fn told_by(started_ms: i64, wrong: impl Fn(i64) -> i64) -> (Vec<Report>, Ledger) {
    let (mut reader, mut inlet, scripts) = reader(&[(Venue::Bybit, 0)]);
    let mut engine = Engine::new(&Settings::default());
    let mut reports = Vec::new();
    scripts[0].lock().unwrap().changes.push_back(FeedState::Live);
    for ms in (0..300_000_i64).step_by(100) {
        let due = if ms > 280_000 { 4 } else { i64::from(ms % 2_000 == 0) };
        let told = (0..due).map(|i| bybit(START + ms - 90 + i));
        scripts[0].lock().unwrap().frames.extend(told);
        let wall = Millis(START + ms + wrong(ms));
        reader.turn(Now { wall, ..Now::at_millis(START + ms + started_ms) });
        judge(&mut engine, &mut inlet, &mut reports);
    }
    let mut ledger = Ledger::default();
    reader.ledger(&mut ledger);
    (reports, ledger)
}

#[test]
fn d13_a_wall_clock_that_jumps_moves_no_signal() {
    let (right, books) = story(|_| 0);
    assert!(right.len() > 100 && books.get("flagged{backfill}") == 0);
    let hour = 3_600_000;
    let jumps: [&dyn Fn(i64) -> i64; 4] = [
        &|ms| if ms > 100_000 { hour } else { 0 },
        &|ms| if ms > 100_000 { -hour } else { 0 },
        &|ms| if ms < 100_000 { hour } else { 0 },
        &|ms| ms / 10,
    ];
    for (i, jump) in jumps.iter().enumerate() {
        let (wrong, books) = story(jump);
        assert_eq!(books.get("flagged{backfill}"), 0, "jump {i}");
        assert_eq!(books.get("flagged{bad_time}"), 0, "jump {i}");
        assert!(wrong == right, "jump {i}: {} reports, not {}", wrong.len(), right.len());
    }
}

#[test]
fn d13_a_clock_that_is_wrong_from_the_start_makes_nobody_deaf() {
    let highest = |reports: &[Report]| reports.iter().map(|report| report.level).max();
    let (right, _) = story(|_| 0);
    for ahead in [60_000, 86_400_000] {
        let (wrong, books) = told_by(ahead, |_| ahead);
        let kept_out = books.get("flagged{backfill}");
        assert!((1..=20).contains(&kept_out), "{kept_out}: those before it is certain");
        assert_eq!(highest(&wrong), highest(&right));
        let said = i64::try_from(books.get("clock_ahead_ms")).unwrap();
        assert!((ahead..ahead + 100).contains(&said), "the books say {said} ms");
    }
}

#[test]
fn d13_a_steady_clock_that_stands_or_runs_back_breaks_nothing() {
    let (mut reader, mut inlet, scripts) = reader(&[(Venue::Bybit, 0)]);
    let mut engine = Engine::new(&Settings::default());
    let mut reports = Vec::new();
    for ms in [0, 100, 100, 100, 50, 0, 100, 200_000, 199_000, 1] {
        scripts[0].lock().unwrap().frames.push_back(bybit(START + ms));
        reader.turn(Now::at_millis(START + ms));
        judge(&mut engine, &mut inlet, &mut reports);
    }
    let mut ledger = Ledger::default();
    reader.ledger(&mut ledger);
    assert_eq!((ledger.get("frames"), ledger.get("events")), (10, 10));
}

#[test]
fn d7_a_flood_of_symbols_ends_in_other() {
    let (mut reader, mut inlet, scripts) = reader(&[(Venue::Bybit, 0)]);
    let mut engine = Engine::new(&Settings::default());
    let mut reports = Vec::new();
    let flood = if std::env::var_os("FORESHOCK_FULL").is_some() { 1_000_000 } else { 50_000 };
    for n in 0..flood {
        let ms = START + n / 32;
        scripts[0].lock().unwrap().frames.push_back(bybit(ms).replace("SOL", &format!("X{n}Y")));
        if n % 32 == 31 {
            reader.turn(Now::at_millis(ms));
            judge(&mut engine, &mut inlet, &mut reports);
            reports.clear();
        }
    }
    reader.turn(Now::at_millis(START + flood / 32));
    judge(&mut engine, &mut inlet, &mut reports);
    assert!(engine.rows() <= 4_096, "{} rows", engine.rows());
    let others = usize::try_from(engine.tally().get("other_symbols")).unwrap();
    assert_eq!(others + engine.rows() - 2, usize::try_from(flood).unwrap(), "all are counted");
}

#[test]
fn d11_a_stalled_engine_costs_events_that_are_counted_and_the_next_says_so() {
    let (mut reader, mut inlet, scripts) = reader_into(1_024, &[(Venue::Bybit, 0)]);
    let mut heard = 0;
    let mut flagged = 0;
    for ms in 0..10_000_i64 {
        scripts[0].lock().unwrap().frames.push_back(bybit(START + ms));
        reader.turn(Now::at_millis(START + ms));
        // From the second to the seventh second nobody takes anything.
        if !(2_000..7_000).contains(&ms) {
            for event in std::iter::from_fn(|| inlet.pop()) {
                heard += u64::from(matches!(event.body, Body::Liquidation { .. }));
                flagged += u32::from(event.flags.has(Flags::GAP));
            }
        }
    }
    let mut ledger = Ledger::default();
    reader.ledger(&mut ledger);
    assert_eq!(ledger.get("frames"), 10_000, "the reader never waits");
    let dropped = ledger.get("dropped");
    assert!(dropped > 3_900 && flagged == 1, "{dropped} dropped, {flagged} flagged");
    ledger.add("consumed", inlet.taken());
    let broken: Vec<_> = ledger.laws().filter(|law| !law.holds).collect();
    assert!(broken.is_empty(), "{broken:?}");
    assert!(heard + dropped >= 10_000);
}

/// What Bybit says SOL is worth.
fn mark(ms: i64, price: &str) -> String {
    format!(
        r#"{{"topic":"tickers.SOLUSDT","type":"snapshot","data":{{"symbol":"SOLUSDT","markPrice":"{price}"}},"ts":{ms}}}"#
    )
}

/// The value of a minute of SOL after these frames, one a second, and how many were outliers.
fn worth(frames: &[String]) -> (u64, u64) {
    let (mut reader, mut inlet, scripts) = reader(&[(Venue::Bybit, 0)]);
    let mut engine = Engine::new(&Settings::default());
    let mut reports = Vec::new();
    scripts[0].lock().unwrap().changes.push_back(FeedState::Live);
    for (frame, ms) in frames.iter().zip((0..).step_by(1_000)) {
        scripts[0].lock().unwrap().frames.push_back(frame.clone());
        reader.turn(Now::at_millis(START + ms + 90));
        judge(&mut engine, &mut inlet, &mut reports);
    }
    let last = reports.iter().rfind(|report| report.symbol.as_str() == "SOLUSDT").unwrap();
    (last.usd[5] / 1_000_000, engine.tally().get("outliers"))
}

#[test]
fn d5_a_price_a_thousand_times_off_is_worth_nothing_and_moves_nothing() {
    let off = |ms| bybit(ms).replace(r#""140""#, r#""140000""#);
    let at = |second: i64| START + second * 1_000;
    assert_eq!(worth(&[mark(at(0), "140"), bybit(at(1)), bybit(at(2))]), (560, 0));
    assert_eq!(worth(&[mark(at(0), "140"), off(at(1)), bybit(at(2))]), (280, 1));
    let tick = [mark(at(0), "140"), mark(at(1), "140000"), bybit(at(2))];
    assert_eq!(worth(&tick), (280, 0), "one bad tick");
    let mut insists = vec![mark(at(0), "140")];
    insists.extend((1..6).map(|second| mark(at(second), "140000")));
    insists.push(bybit(at(6)));
    assert_eq!(worth(&insists), (0, 1), "who insists is believed");
    assert_eq!(worth(&[off(at(0)), bybit(at(1))]).1, 0, "nothing is known to hold it against");
}
