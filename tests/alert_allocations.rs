//! Alerts cost the publisher's thread no allocation, whatever becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/counting.rs"]
mod counting;

use foreshock::event::{Body, Event, FeedState, Venue};
use foreshock::output::Message;
use foreshock::publish::Sink as _;
use foreshock::publish::alert::{Alerts, Hand, QUEUE, Settings, count};
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_S, Nanos, Now};

/// Nobody listens there.
const SETTINGS: &str = "[[channel]]\nkind = \"webhook\"\nname = \"a\"\nallow_private = true\n\
                        url = \"https://127.0.0.1:1/\"\n[[channel]]\nkind = \"webhook\"\n\
                        name = \"b\"\nurl = \"https://127.0.0.1:1/\"\n";

#[test]
fn telling_allocates_nothing() {
    let settings: Settings = toml::from_str(SETTINGS).unwrap();
    let (mut hand, changes) = Hand::pair(&settings, None);
    let mut sink = Alerts::after(&settings, 1, None, None, Some(changes)).unwrap();
    let symbols: Vec<Symbol> =
        (0..50).map(|i| Symbol::parse(&format!("COIN{i}USDT")).unwrap()).collect();
    let mut pass = |round: u64| {
        for (i, symbol) in symbols.iter().enumerate() {
            let now = Now { mono: Nanos(round * 60 * NS_PER_S + i as u64), ..Now::default() };
            let low = (round + i as u64).is_multiple_of(3);
            let level = if low { Level::None } else { Level::Extreme };
            let kind = Kind::Change;
            let report = Report { kind, level, ..Report::empty(*symbol, now.mono) };
            let state = if low { FeedState::Down } else { FeedState::Live };
            let body = Body::Feed { state, code: 0 };
            let event = Event { body, venue: Venue::Okx, ..Event::tick(now.mono) };
            sink.write(now, &[Message::Report(report), Message::Event(event)]);
            sink.turn(now);
        }
    };
    pass(0);
    assert_eq!(counting::allocations(|| (1..40).for_each(&mut pass)), 0);
    let (_, books) = sink.books().next().unwrap();
    assert!(count(&books.notes) > 2 * QUEUE as u64, "{books:?}");
    assert!(count(&books.overrun) > 0, "the queue was full: {books:?}");

    // One channel goes, one changes its level, one comes; what is made and freed is so elsewhere.
    let others = SETTINGS.replace("\"a\"", "\"c\"").replace("\"b\"", "\"b\"\nlevel = \"EXTREME\"");
    let ready = hand.ready(&toml::from_str(&others).unwrap()).unwrap();
    hand.commit(ready);
    let now = Now { mono: Nanos(3_000 * NS_PER_S), ..Now::default() };
    assert_eq!(counting::allocations(|| assert_eq!(sink.turn(now), Turn::Idle)), 0);
    let mut names: Vec<&str> = sink.books().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c"], "one leaves when what it was given is settled");
}
