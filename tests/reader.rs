//! The reader over sources that do what the test says: gaps, mute venues, two lines of one venue.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "support/script.rs"]
mod script;

use foreshock::event::{Body, Event, FeedState, Flags, Venue};
use foreshock::ingest::line::Plan;
use foreshock::ledger::Ledger;
use foreshock::ring::Inlet;
use foreshock::stage::Stage;
use foreshock::time::Now;
use script::{START, binance, bybit, okx, reader};

fn liquidations(inlet: &mut Inlet<Event>) -> Vec<Event> {
    let events = std::iter::from_fn(|| inlet.pop());
    events.filter(|event| matches!(event.body, Body::Liquidation { .. })).collect()
}

#[test]
fn f5_a_venue_that_is_mute_in_a_cascade_is_doubted_within_30_s_and_trusted_when_it_speaks() {
    let lines = [(Venue::Binance, 0), (Venue::Bybit, 0), (Venue::Okx, 0)];
    let (mut reader, mut inlet, scripts) = reader(&lines);
    let now = |ms: i64| Now::at_millis(START + ms);
    for script in &scripts {
        script.lock().unwrap().changes.push_back(FeedState::Live);
    }
    let doubts = |i: usize| scripts[i].lock().unwrap().doubts.clone();
    for ms in (0..60_000).step_by(100) {
        reader.turn(now(ms));
    }
    assert!(doubts(2).is_empty(), "nobody cascades");
    let mut doubted = None;
    for ms in (60_000..120_000).step_by(100) {
        for (i, frame) in [(0, binance(START + ms)), (1, bybit(START + ms))] {
            scripts[i].lock().unwrap().frames.extend([frame]);
        }
        if doubted.is_some_and(|at| ms > at + 5_000) {
            scripts[2].lock().unwrap().frames.push_back(okx(START + ms));
        }
        reader.turn(now(ms));
        if doubted.is_none() && !doubts(2).is_empty() {
            doubted = Some(ms);
            scripts[2].lock().unwrap().changes.push_back(FeedState::Suspect);
        }
    }
    assert!(doubted.is_some_and(|at| at - 60_000 <= 30_000), "{doubted:?}");
    let told = doubts(2);
    assert_eq!(told.len(), 2, "doubted once, and trusted once: {told:?}");
    assert_eq!((told[0].0, told[1].0), (Venue::Okx.bit(), 0));
    assert!(told[0].1.contains("binance") && told[0].1.contains("bybit"), "{}", told[0].1);
    assert!(liquidations(&mut inlet).len() > 1_000);
}

#[test]
fn f1_the_first_event_after_a_gap_carries_it_and_the_state_goes_before_it() {
    let (mut reader, mut inlet, scripts) = reader(&[(Venue::Bybit, 0)]);
    let mut at = |ms: i64, state: Option<FeedState>, frame: bool| {
        let mut script = scripts[0].lock().unwrap();
        script.changes.extend(state);
        script.frames.extend(frame.then(|| bybit(START + ms)));
        drop(script);
        reader.turn(Now::at_millis(START + ms));
    };
    at(0, Some(FeedState::Live), true);
    at(100, None, true);
    at(200, Some(FeedState::Down), false);
    at(5_000, Some(FeedState::Connecting), false);
    at(5_100, Some(FeedState::Live), true);
    at(5_200, None, true);
    let flagged: Vec<bool> =
        liquidations(&mut inlet).iter().map(|event| event.flags.has(Flags::GAP)).collect();
    assert_eq!(flagged, [false, false, true, false]);
}

#[test]
fn d1_two_skewed_lines_of_one_venue_count_every_event_once() {
    let second = Plan::number(0, 1);
    let (mut reader, mut inlet, scripts) = reader(&[(Venue::Bybit, 0), (Venue::Bybit, second)]);
    // Every third event is a twin of the one before on the same line: two events.
    let told: Vec<i64> = (0..3_000).map(|i| i - i64::from(i % 3 == 2)).collect();
    for turn in 0..1_200_i64 {
        let ms = turn * 5;
        let due = |lag: i64| told.iter().filter(move |t| (ms - lag..ms - lag + 5).contains(*t));
        for (script, lag) in scripts.iter().zip([0, 85]) {
            script.lock().unwrap().frames.extend(due(lag).map(|t| bybit(START + t)));
        }
        reader.turn(Now::at_millis(START + ms));
        reader.turn(Now::at_millis(START + ms));
    }
    let mut heard: Vec<i64> =
        liquidations(&mut inlet).iter().map(|e| e.stamp.venue_ms().unwrap() - START).collect();
    heard.sort_unstable();
    let mut expected = told.clone();
    expected.sort_unstable();
    assert_eq!(heard, expected);
    let mut ledger = Ledger::default();
    reader.ledger(&mut ledger);
    assert_eq!(ledger.get("refused{duplicate}"), 3_000);
    assert_eq!(ledger.get("line_won{bybit/0}"), 3_000, "the second was always behind");
    assert!((80_000..=90_000).contains(&ledger.get("line_lead_mean_us{bybit/0}")));
    let broken: Vec<_> =
        ledger.laws().filter(|law| !law.holds && !law.text.contains("consumed")).collect();
    assert!(broken.is_empty(), "{broken:?}");
}
