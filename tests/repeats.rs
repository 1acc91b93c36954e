//! What a venue says again after a subscription, and what two lines both say, counts once; what happened
//! twice counts twice; and what neither line heard is flagged, in the event and in the signal.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;

use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Event, FeedState, Flags, Venue};
use foreshock::ingest::Frame;
use foreshock::ingest::exchange::Verdict;
use foreshock::ingest::intake::Intake;
use foreshock::ingest::line::Plan;
use foreshock::ingest::reader::Reader;
use foreshock::ingest::source::{FeedChange, Heard, Read, Source};
use foreshock::ingest::twins::link_of;
use foreshock::ledger::Ledger;
use foreshock::ring::{Inlet, ring};
use foreshock::stage::Stage;
use foreshock::time::{Nanos, Now};

const T: i64 = 1_790_000_000_000;

/// Two trades (or fills, or liquidations) of each kind that a venue numbers: alike in everything but
/// their numbers.
fn numbered() -> Vec<(Venue, String)> {
    let binance = |id: u64| {
        format!(
            r#"{{"e":"aggTrade","E":{T},"a":{id},"s":"BTCUSDT","p":"60000","q":"1","T":{T},"m":true}}"#
        )
    };
    let bybit = |id: &str| {
        format!(r#"{{"T":{T},"s":"BTCUSDT","S":"Buy","v":"1","p":"60000","i":"{id}","BT":false}}"#)
    };
    let okx = |id: u64| {
        format!(
            r#"{{"instId":"BTC-USDT-SWAP","tradeId":"{id}","px":"60000","sz":"1","side":"buy","ts":"{T}"}}"#
        )
    };
    let trade = |tid: u64| {
        format!(
            r#"{{"coin":"BTC","side":"A","px":"60000","sz":"1","time":{T},"tid":{tid},"users":["0x1","0x2"]}}"#
        )
    };
    let fill = |tid: u64, liquidation: &str| {
        format!(
            r#"{{"coin":"BTC","px":"60000","sz":"1","side":"A","time":{T},"dir":"Close Long","tid":{tid}{liquidation}}}"#
        )
    };
    let forced = r#","liquidation":{"liquidatedUser":"0xab","markPx":"60001","method":"market"}"#;
    let fills = |rows: [String; 2]| {
        let rows = rows.join(",");
        format!(r#"{{"channel":"userFills","data":{{"user":"0xab","fills":[{rows}]}}}}"#)
    };
    let [x, y] = ["d8bd0fe8-17f4-5e2d-8c12-30a6bc2e6e11", "d8bd0fe8-17f4-5e2d-8c12-30a6bc2e6e12"];
    vec![
        (Venue::Binance, binance(1)),
        (Venue::Binance, binance(2)),
        (
            Venue::Bybit,
            format!(
                r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{T},"data":[{},{}]}}"#,
                bybit(x),
                bybit(y)
            ),
        ),
        (
            Venue::Okx,
            format!(
                r#"{{"arg":{{"channel":"trades","instId":"BTC-USDT-SWAP"}},"data":[{},{}]}}"#,
                okx(1),
                okx(2)
            ),
        ),
        (
            Venue::Hyperliquid,
            format!(r#"{{"channel":"trades","data":[{},{}]}}"#, trade(1), trade(2)),
        ),
        (Venue::Hyperliquid, fills([fill(3, ""), fill(4, "")])),
        (Venue::Hyperliquid, fills([fill(5, forced), fill(6, forced)])),
    ]
}

/// Events that pass when `frames` come over a connection.
fn passed(intake: &mut Intake, frames: &[(Venue, String)], line: u8, connection: u32) -> usize {
    let received = Now::at_millis(T + 5);
    let link = link_of(line, connection);
    let events = frames.iter().map(|(venue, text)| {
        let frame = Frame { venue: *venue, line, link, bytes: text.as_bytes(), received };
        let (verdict, events) = intake.frame(&frame);
        assert_eq!(verdict, Verdict::Decoded, "{text}");
        events.len()
    });
    events.sum()
}

#[test]
fn d1_what_a_venue_numbers_counts_once_over_reconnects_and_over_both_lines() {
    let frames = numbered();
    let mut intake = Intake::new(10_000).telling_twins_apart();
    assert_eq!(passed(&mut intake, &frames, 0, 1), 12, "alike, and two of each");
    for (line, connection) in [(0, 1), (0, 2), (Plan::number(0, 1), 1), (0, 3)] {
        assert_eq!(passed(&mut intake, &frames, line, connection), 0, "{line} {connection}");
    }
    let mut ledger = Ledger::default();
    intake.ledger(&mut ledger);
    assert_eq!(ledger.get("refused{duplicate}"), 4 * 12);
    assert_eq!(ledger.get("items"), ledger.get("events") + ledger.get("refused"));
}

#[test]
fn d1_a_snapshot_of_fills_after_a_reconnect_brings_only_what_was_missed() {
    let fill = |tid: u64| {
        format!(
            r#"{{"coin":"ETH","px":"2000","sz":"1","side":"A","time":{},"dir":"Close Long","tid":{tid},"liquidation":{{"liquidatedUser":"0xab","markPx":"1","method":"market"}}}}"#,
            T + i64::try_from(tid).unwrap()
        )
    };
    let say = |snapshot: bool, tids: &[u64]| {
        let rows: Vec<_> = tids.iter().map(|tid| fill(*tid)).collect();
        let (rows, flag) = (rows.join(","), if snapshot { r#""isSnapshot":true,"# } else { "" });
        let text =
            format!(r#"{{"channel":"userFills","data":{{{flag}"user":"0xab","fills":[{rows}]}}}}"#);
        (Venue::Hyperliquid, text)
    };
    let mut intake = Intake::new(10_000).telling_twins_apart();
    assert_eq!(passed(&mut intake, &[say(true, &[]), say(false, &[1, 2, 3])], 0, 1), 3);
    assert_eq!(passed(&mut intake, &[say(true, &[1, 2, 3, 4])], 0, 2), 1);
    assert_eq!(passed(&mut intake, &[say(false, &[4, 5])], 8, 1), 2, "4 was only in a snapshot");
    assert_eq!(passed(&mut intake, &[say(false, &[4, 5])], 0, 2), 0);
}

#[test]
fn d1_two_equal_liquidations_on_one_line_stay_two_and_on_the_other_line_are_the_same_two() {
    let batch = format!(
        r#"{{"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":{T},"data":[{0},{0}]}}"#,
        format_args!(r#"{{"T":{T},"s":"BTCUSDT","S":"Buy","v":"0.5","p":"60000"}}"#)
    );
    let frames = [(Venue::Bybit, batch)];
    let mut intake = Intake::new(10_000).telling_twins_apart();
    assert_eq!(passed(&mut intake, &frames, 0, 1), 2);
    assert_eq!(passed(&mut intake, &frames, Plan::number(0, 1), 1), 0);
    assert_eq!(passed(&mut intake, &frames, 0, 2), 0, "told again after a reconnect");
}

/// One turn of a scripted line.
enum Act {
    State(FeedState),
    /// A liquidation at this second of the story.
    Liquidation(i64),
}

struct Script {
    line: u8,
    acts: VecDeque<(i64, Act)>,
    change: Option<FeedState>,
}

impl Source for Script {
    fn name(&self) -> String {
        format!("bybit/{}", self.line)
    }

    fn read(&mut self, now: Now, _: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        let due = self.acts.front().is_some_and(|(ms, _)| T + ms <= now.wall.0);
        match due.then(|| self.acts.pop_front()).flatten() {
            None => Read::Idle,
            Some((_, Act::State(state))) => {
                self.change = Some(state);
                Read::Frames
            }
            Some((ms, Act::Liquidation(size))) => {
                let text = format!(
                    r#"{{"topic":"allLiquidation.BTCUSDT","ts":{0},"data":[{{"T":{0},"s":"BTCUSDT","S":"Buy","v":"{size}","p":"60000"}}]}}"#,
                    T + ms
                );
                let link = link_of(self.line, 1);
                let (venue, bytes) = (Venue::Bybit, text.as_bytes());
                take(Frame { venue, line: self.line, link, bytes, received: now });
                Read::Frames
            }
        }
    }

    fn feed(&mut self) -> Option<FeedChange> {
        let state = self.change.take()?;
        let (venue, route, line) = (Venue::Bybit, "linear", self.line);
        Some(FeedChange { venue, line, route, rare: true, state, code: 0, why: String::new() })
    }

    fn stop(&mut self) {}

    fn ledger(&self, _: &mut Ledger) {}
}

/// The events and the reports of a story that two lines tell.
fn told(first: Vec<(i64, Act)>, second: Vec<(i64, Act)>) -> (Vec<Event>, Vec<(i64, bool)>) {
    let (outlet, mut inlet) = ring(1 << 12);
    let (notices, _heard) = crossbeam_channel::bounded(64);
    let script = |line, acts: Vec<_>| Script { line, acts: acts.into(), change: None };
    let sources: Vec<Box<dyn Source>> =
        vec![Box::new(script(0, first)), Box::new(script(Plan::number(0, 1), second))];
    let intake = Intake::new(10_000).telling_twins_apart();
    let mut reader = Reader::new(sources, intake, outlet, Box::new(|| Nanos(0)), notices);
    let mut engine = Engine::new(&Settings::default());
    let (mut events, mut reports) = (Vec::new(), Vec::new());
    for ms in (0..60_000).step_by(20) {
        reader.turn(Now::at_millis(T + ms));
        take_all(&mut inlet, &mut engine, &mut events, &mut reports);
    }
    (events, reports)
}

fn take_all(
    inlet: &mut Inlet<Event>,
    engine: &mut Engine,
    events: &mut Vec<Event>,
    reports: &mut Vec<(i64, bool)>,
) {
    let mut out = Outbox::default();
    while let Some(event) = inlet.pop() {
        events.push(event);
        engine.take(&event, &mut out);
        reports.extend(out.reports().iter().map(|report| (report.at.millis() - T, report.gap)));
        out.clear();
    }
}

fn liquidations(events: &[Event]) -> Vec<(i64, bool)> {
    let mut found = Vec::new();
    for event in events.iter().filter(|e| matches!(e.body, Body::Liquidation { .. })) {
        found.push((event.stamp.venue_ms().unwrap() - T, event.flags.has(Flags::GAP)));
    }
    found
}

#[test]
fn f22_lines_that_relieve_each_other_leave_no_gap_and_what_neither_heard_is_flagged() {
    use Act::{Liquidation, State};
    use FeedState::{Down, Live};
    let story = |back_ms| {
        let first = vec![
            (0, State(Live)),
            (1_000, Liquidation(1)),
            (10_000, State(Down)),
            (30_000, State(Live)),
            (31_000, Liquidation(4)),
        ];
        let second = vec![(back_ms, State(Live)), (12_000, Liquidation(2)), (20_000, State(Down))];
        told(first, second)
    };
    // The second line comes before the first one goes, and goes before the first one is back.
    let (events, reports) = story(9_000);
    assert_eq!(liquidations(&events), [(1_000, false), (12_000, false), (31_000, true)]);
    let flagged: Vec<i64> = reports.iter().filter(|(_, gap)| *gap).map(|(at, _)| *at).collect();
    assert!(flagged.first().is_some_and(|at| (31_000..32_000).contains(at)), "{flagged:?}");
    assert!(reports.iter().any(|(at, gap)| *at < 31_000 && !gap), "{reports:?}");
    // It comes a second too late: what was said in between was heard by nobody.
    let (events, reports) = story(11_000);
    assert_eq!(liquidations(&events), [(1_000, false), (12_000, true), (31_000, true)]);
    let first = reports.iter().find(|(_, gap)| *gap).map(|(at, _)| *at);
    assert!(first.is_some_and(|at| (12_000..13_000).contains(&at)), "{first:?}");
}

/// The liquidations that count, as the row of the whole market has them in its widest window.
fn counted(frames: &[(Venue, String)]) -> (usize, u32) {
    let mut intake = Intake::new(10_000).telling_twins_apart();
    let mut engine = Engine::new(&Settings::default());
    let (mut out, mut told, mut most) = (Outbox::new(), 0, 0);
    for (i, (venue, text)) in (0..).zip(frames) {
        let (line, link, bytes) = (0, link_of(0, 1), text.as_bytes());
        let received = Now::at_millis(T + 20 + i);
        let (_, events) = intake.frame(&Frame { venue: *venue, line, link, bytes, received });
        let liquidations = events.iter().filter(|e| matches!(e.body, Body::Liquidation { .. }));
        told += liquidations.count();
        for event in events {
            engine.take(event, &mut out);
        }
        engine.take(&Event::tick(Nanos::from_millis(T + 2_000 + i * 1_000)), &mut out);
        most = out.reports().iter().map(|r| r.counts[6]).chain([most]).max().unwrap();
        out.clear();
    }
    (told, most)
}

#[test]
fn a_suspected_liquidation_counts_when_it_is_confirmed_and_never_twice() {
    const VAULT: &str = "0x2e3d94f0562703b25c83308a05046ddaf9a8dd14";
    let trade = |tid: u64| {
        let text = format!(
            r#"{{"channel":"trades","data":[{{"coin":"BTC","side":"A","px":"60000","sz":"1","time":{T},"tid":{tid},"users":["{VAULT}","0xab"]}}]}}"#
        );
        (Venue::Hyperliquid, text)
    };
    let fill = |tid: u64, liquidation: &str| {
        let text = format!(
            r#"{{"channel":"userFills","data":{{"user":"{VAULT}","fills":[{{"coin":"BTC","px":"60000","sz":"1","side":"B","time":{T},"dir":"Open Long","tid":{tid}{liquidation}}}]}}}}"#
        );
        (Venue::Hyperliquid, text)
    };
    let taken = r#","liquidation":{"liquidatedUser":"0xab","markPx":"60001","method":"backstop"}"#;
    for (what, frames, expected) in [
        ("suspected", vec![trade(1)], (1, 0)),
        ("confirmed", vec![trade(1), fill(1, taken)], (2, 1)),
        ("told again", vec![trade(1), fill(1, taken), trade(1), fill(1, taken)], (2, 1)),
        ("known before", vec![fill(1, taken), trade(1)], (1, 1)),
        ("only unloading", vec![trade(2), fill(2, "")], (1, 0)),
    ] {
        assert_eq!(counted(&frames), expected, "{what}");
    }
}
