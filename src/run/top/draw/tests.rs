//! The screen as it would be seen, and the frame that the other tests look at too.

use super::super::frame::Frame;
use super::super::link::Trouble;
use super::super::view::Order;
use super::super::watch::Heard;
use super::*;

/// A frame of a run in a cascade, with a deaf feed, a wide name and a text that bites.
pub(crate) fn frame() -> serde_json::Value {
    let state = |risk: f64| {
        serde_json::json!({
            "velocity": 12.5, "acceleration": 4.0, "jerk": -1.25, "risk": risk, "risk_level": "HIGH",
            "level": "CRITICAL", "probability": 0.61, "price": 95_775.4, "usd_60s": 1.9e6,
            "imbalance": 0.76, "gap": false, "regime": "VOLATILE",
        })
    };
    let feed = |venue: &str, state: &str, why: &str| {
        serde_json::json!({
            "venue": venue, "route": "public", "copy": 1, "state": state, "code": 0, "why": why,
            "since_ms": 0, "last_frame_ms": 1_760_130_000_000_i64 - 400, "last_liquidation_ms": null,
            "completeness": "complete", "frames": 1234, "won": 3, "beaten": 1,
            "lead_mean_us": null, "lead_max_us": null,
        })
    };
    let listed: Vec<_> = (0..40)
        .map(|n| {
            serde_json::json!([
                format!("COIN{n}USDT"),
                "NONE",
                n,
                0.5,
                100.0 * f64::from(n),
                0.25,
                0.0,
                null
            ])
        })
        .chain([serde_json::json!([
            "币安人生USDT",
            "EXTREME",
            91.0,
            7.5,
            1.2e6,
            3.0,
            -1.0,
            0.0123
        ])])
        .collect();
    serde_json::json!({
        "run": 7, "version": "0.1.0", "mark": "DEMO", "now": 1_760_130_000_000_i64, "age": 90,
        "still": false, "symbol": "MARKET", "row": null, "market": state(61.2),
        "past": { "t": [1_760_129_999_000_i64, 1_760_130_000_000_i64], "v": [1.0, 12.5] },
        "tape": [
            { "at": 1_760_130_000_000_i64, "symbol": "BTCUSDT", "venue": "bybit", "side": "long",
              "price": 95_775.4, "usd": 1.2e6, "flags": [] },
            { "at": 1_760_130_000_500_i64, "symbol": "E\u{1b}[2JVIL", "venue": "okx", "side": null,
              "price": null, "usd": null, "flags": [] },
        ],
        "signals": [{ "seq": 1, "at": 1_760_130_000_000_i64, "symbol": "BTCUSDT", "kind": "CHANGE",
            "level": "CRITICAL", "probability": 0.61, "risk": 61.2,
            "why": "HIGH 61/100: velocity 12.5/s, acceleration 4.0/s² (4.2 sd) led by bybit; 1.9 M USD in 60 s" }],
        "list": listed,
        "feeds": [feed("binance", "live", ""), feed("okx", "down", "connection refused")],
        "health": { "live": true, "ready": true, "stuck": [], "venues": 2, "heard": 1, "fresh": 1,
            "needed": 1, "deaf": ["okx"] },
        "redis": null,
        "latency": [{ "stage": "receive_to_parsed", "count": 3,
            "ns": [1, 2, 15_543, 4, 5, 6, 7, 121_599, 9, 213_631, 11, 12, 16_203_775] }],
        "counts": [["dropped", 0], ["rejected", 2], ["frames", 1_275]],
    })
}

pub(crate) fn sight(frame: &serde_json::Value, now: Instant) -> Sight {
    let mut sight = Sight::default();
    sight.hear(Heard::Frame(Box::new(Frame::read(&frame.to_string()).unwrap()), true), now);
    sight
}

fn drawn(sight: &Sight, view: &mut View, now: Instant, width: usize, height: usize) -> Vec<Line> {
    let place = Place::parse("127.0.0.1:9310").unwrap();
    let scene = Scene { sight, place: &place, now, stale: sight.stale(now), paused: None };
    draw(&scene, view, Size { width, height })
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| line.text() + "\n").collect()
}

#[test]
fn everything_that_counts_is_on_a_small_screen() {
    let now = Instant::now();
    let screen = text(&drawn(&sight(&frame(), now), &mut View::default(), now, 80, 24));
    for words in [
        "live  DEMO  ready 1/2  fresh 1/2  21:00:00 UTC",
        "◕ CRITICAL 61 %  risk 61 high  1.9M USD/60 s  longs 88 %  volatile",
        "velocity 12.5/s  accel 4.0  jerk -1.2  BTC 95,775.4",
        "! deaf okx: not heard",
        "币安人生USDT ● EXTREME",
        "2 feeds 1 of 2 heard, okx public down",
        "4 signals 21:00:00.000 ◕ CRITICAL 61 % BTCUSDT: HIGH 61/100",
        "dropped 0, rejected 2, slowest p99 122 µs",
        "q quit",
    ] {
        assert!(screen.contains(words), "{words}:\n{screen}");
    }
}

#[test]
fn every_size_is_filled_and_never_exceeded() {
    let now = Instant::now();
    let sight = sight(&frame(), now);
    for pane in Pane::ALL {
        for (width, height) in
            [(80, 24), (60, 15), (120, 40), (1, 1), (20, 3), (7, 200), (400, 9), (0, 0)]
        {
            for help in [false, true] {
                let mut view = View { pane, help, ..View::default() };
                let lines = drawn(&sight, &mut view, now, width, height);
                assert_eq!(lines.len(), height, "{pane:?} {width}x{height}");
                let wide =
                    lines.iter().find(|line| super::super::words::width(&line.text()) > width);
                assert_eq!(wide, None, "{pane:?} {width}x{height}");
            }
        }
    }
}

#[test]
fn the_pane_with_the_keys_is_open_and_scrolls_to_its_end() {
    let now = Instant::now();
    let sight = sight(&frame(), now);
    let mut view = View { order: Order::Money, ..View::default() };
    for _ in 0..99 {
        view.obey(super::super::keys::Key::Down);
        drawn(&sight, &mut view, now, 80, 24);
    }
    let screen = text(&drawn(&sight, &mut view, now, 80, 24));
    assert!(screen.contains("COIN0USDT") && !screen.contains("COIN39USDT"), "{screen}");
    assert!(screen.contains(" of 41") && screen.contains("MARKET"), "{screen}");
    let mut view = View { pane: Pane::Feeds, ..View::default() };
    let screen = text(&drawn(&sight, &mut view, now, 80, 24));
    assert!(
        screen.contains("✕ down, deaf") && screen.contains("    connection refused"),
        "{screen}"
    );
    assert!(screen.contains("75 %") && screen.contains("0.4 s"), "{screen}");
}

#[test]
fn a_foreign_text_stays_a_text() {
    let now = Instant::now();
    let mut view = View { pane: Pane::Tape, ..View::default() };
    let screen = text(&drawn(&sight(&frame(), now), &mut view, now, 80, 24));
    assert!(screen.contains("E\u{fffd}[2JVIL") && !screen.contains('\u{1b}'), "{screen}");
    // What was not told of it is not made up.
    let line = screen.lines().find(|line| line.contains("VIL")).unwrap();
    assert_eq!(line.matches(" -").count(), 3, "{line}");
}

#[test]
fn before_anything_was_said_there_are_dashes() {
    let now = Instant::now();
    let mut empty = frame();
    for key in ["market", "feeds"] {
        empty[key] = serde_json::Value::Null;
    }
    for key in ["list", "tape", "signals", "latency", "counts"] {
        empty[key] = serde_json::json!([]);
    }
    let screen = text(&drawn(&sight(&empty, now), &mut View::default(), now, 80, 24));
    assert!(screen.contains("○ - -  risk -  - USD/60 s  longs -  -"), "{screen}");
    assert!(screen.contains("velocity -/s  accel -  jerk -  BTC -"), "{screen}");
    assert!(screen.contains("2 feeds not known now"), "{screen}");
    assert!(screen.contains("dropped -, rejected -"), "{screen}");
}

#[test]
fn what_is_old_is_weak_and_says_how_old_it_is() {
    let now = Instant::now();
    let mut lost = sight(&frame(), now);
    lost.hear(Heard::Lost(Trouble::Silent), now + Duration::from_secs(3));
    let later = now + Duration::from_secs(12);
    let lines = drawn(&lost, &mut View::default(), later, 80, 24);
    let screen = text(&lines);
    assert!(screen.starts_with("LOST 127.0.0.1:9310 12 s ago, trying again: "), "{screen}");
    assert!(screen.contains("\n12 s old: ◕ CRITICAL"), "{screen}");
    let body = lines.iter().skip(1).take(22).flat_map(|line| line.words());
    assert!(body.clone().count() > 20 && body.clone().all(|(_, ink)| ink.dim), "{lines:?}");
    // It is heard again.
    let back = Frame::read(&frame().to_string()).unwrap();
    lost.hear(Heard::Frame(Box::new(back), true), later);
    assert!(text(&drawn(&lost, &mut View::default(), later, 80, 24)).starts_with("live "));
}

#[test]
fn a_run_that_stands_still_is_not_taken_for_a_quiet_market() {
    let now = Instant::now();
    let mut still = frame();
    still["still"] = true.into();
    still["age"] = 42_000.into();
    let screen = text(&drawn(&sight(&still, now), &mut View::default(), now, 80, 24));
    assert!(screen.starts_with("STANDS STILL: nothing came through for 42 s"), "{screen}");
    assert!(screen.contains("42 s old: "), "{screen}");
    assert!(!screen.starts_with("live"));
}

#[test]
fn room_goes_to_the_pane_with_the_keys_first() {
    assert_eq!(shares(&[42, 9, 6], 0, 12), [12, 0, 0]);
    assert_eq!(shares(&[42, 9, 20], 0, 31), [15, 8, 8]);
    assert_eq!(shares(&[42, 9, 20], 1, 31), [14, 9, 8]);
    assert_eq!(shares(&[42, 9, 20], 0, 18), [9, 9, 0]);
    assert_eq!(shares(&[2, 2, 2], 2, 40), [2, 2, 36]);
    assert_eq!(shares(&[1], 0, 0), [0]);
}
