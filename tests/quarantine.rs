//! One bad subscription among two hundred, at a venue that answers it by hanging up: it is found and left
//! out by name, and everything else is heard, within a few connections. Time is the test's own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;
use std::time::Duration;

use foreshock::event::{FeedState, Venue};
use foreshock::ingest::dial::{Dialer, Endpoint, Trust};
use foreshock::ingest::exchange::{Control, Verdict};
use foreshock::ingest::intake::Intake;
use foreshock::ingest::line::Plan;
use foreshock::ingest::socket::{Setup, Socket};
use foreshock::ingest::source::{Heard, Read, Source};
use foreshock::ledger::Ledger;
use foreshock::simulate::market::Schedule;
use foreshock::simulate::street::Street;
use foreshock::time::{NS_PER_MS, Now};

const SUBSCRIPTIONS: usize = 200;

fn subscribe(what: &str) -> String {
    format!(r#"{{"method":"subscribe","subscription":{{{what}}}}}"#)
}

/// The chatter that shows that the line lives, fills of many addresses, and at `bad` a coin there is not.
fn subscriptions(bad: usize) -> Vec<String> {
    let address = |n: usize| subscribe(&format!(r#""type":"userFills","user":"0x{n:040x}""#));
    let mut all: Vec<_> = (0..SUBSCRIPTIONS).map(address).collect();
    all[1] = subscribe(r#""type":"bbo","coin":"BTC""#);
    all[bad] = subscribe(r#""type":"trades","coin":"NOSUCHCOIN""#);
    all
}

/// Connections and simulated seconds until all but the bad one are acknowledged on one connection.
fn cost(street: &Street, bad: usize) -> (u64, i64) {
    let (_, _, url) = street.urls().into_iter().find(|(of, ..)| *of == Venue::Hyperliquid).unwrap();
    let plan = Plan {
        venue: Venue::Hyperliquid,
        line: 0,
        route: "ws",
        rare: true,
        subscriptions: subscriptions(bad),
        answers: u32::try_from(SUBSCRIPTIONS).unwrap(),
        fragile: true,
        heartbeat_ns: 30_000 * NS_PER_MS,
        dead_ns: 60_000 * NS_PER_MS,
        canary_ns: 60_000 * NS_PER_MS,
        rotate_at: None,
    };
    let endpoint = Endpoint::parse(&url).unwrap();
    let setup = Setup { plan, endpoint, heartbeat: None, read_budget: 1 << 16 };
    let trust = Trust::new(Some(street.ca_pem().as_bytes())).unwrap();
    let mut socket = Socket::new(setup, Dialer::start(1, &trust).unwrap()).unwrap();
    let (mut intake, mut acknowledged, mut ms, mut left_out) = (Intake::new(10_000), 0, 0, None);
    while acknowledged < SUBSCRIPTIONS - 1 || left_out.is_none() {
        let read = socket.read(Now::at_millis(1_000_000 + ms), 64, &mut |frame| {
            let (verdict, _) = intake.frame(&frame);
            acknowledged += usize::from(verdict == Verdict::Control(Control::Ack));
            Heard { verdict, rare: false, late: false }
        });
        while let Some(change) = socket.feed() {
            if change.state == FeedState::Down {
                acknowledged = 0;
            }
            if change.why.contains("left out") {
                left_out = Some(change.why);
            }
        }
        if read == Read::Idle {
            // An answer takes the street two milliseconds of real time.
            thread::sleep(Duration::from_micros(500));
            ms += 10;
        }
        assert!(ms < 600_000, "bad {bad}: {acknowledged} acknowledged, {left_out:?}");
    }
    assert!(left_out.unwrap().contains("NOSUCHCOIN"), "by name");
    let mut ledger = Ledger::default();
    socket.ledger(&mut ledger);
    socket.stop();
    assert_eq!(ledger.get("line_subscriptions_left_out{hyperliquid/ws}"), 1);
    (ledger.get("line_opened{hyperliquid/ws}"), ms / 1_000)
}

#[test]
fn one_bad_subscription_of_two_hundred_costs_three_connections() {
    let story = Schedule { lines: usize::MAX, patience_ms: 0, ..Schedule::demo() };
    let street = Street::start(3, story, 0).unwrap();
    for bad in [2, 100, SUBSCRIPTIONS - 1] {
        let (connections, seconds) = cost(&street, bad);
        println!("bad at {bad}: {connections} connections, {seconds} s");
        // One that hangs up, one that finds who is to blame, one that stays; the venue allows thirty.
        assert!(connections <= 4, "bad at {bad}: {connections} connections");
    }
    street.join();
}
