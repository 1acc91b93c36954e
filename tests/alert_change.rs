//! Channels that come, change and go while a run goes on: what each is told, and what it is not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/place.rs"]
mod place;
#[path = "support/scratch.rs"]
mod scratch;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use foreshock::ledger::Ledger;
use foreshock::output::Message;
use foreshock::publish::Sink as _;
use foreshock::publish::alert::{Alerts, Hand, Settings, count};
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::Now;
use place::{Answer, Place};
use scratch::Scratch;

const RUN: u64 = 77;

struct Bench {
    sink: Alerts,
    hand: Hand,
    seq: u64,
    ledger: Ledger,
}

fn settings(channels: &[String]) -> Settings {
    let tables: String = channels.iter().map(|c| format!("[[channel]]\n{c}")).collect();
    toml::from_str(&tables).unwrap()
}

impl Bench {
    fn open(channels: &[String], folder: Option<&Scratch>) -> Self {
        let settings = settings(channels);
        let (hand, changes) = Hand::pair(&settings, folder.map(|f| f.path().to_owned()));
        let sink = Alerts::after(&settings, RUN, None, None, Some(changes)).unwrap();
        Self { sink, hand, seq: 0, ledger: Ledger::default() }
    }

    fn now() -> Now {
        Now::at_millis(1_760_130_000_000)
    }

    fn says(&mut self, level: Level) {
        self.seq += 1;
        let (seq, kind, symbol) = (self.seq, Kind::Change, Symbol::parse("BTCUSDT").unwrap());
        let report = Report { seq, kind, level, ..Report::empty(symbol, Self::now().mono) };
        self.sink.write(Self::now(), &[Message::Report(report)]);
    }

    fn turn(&mut self) -> Turn {
        let turn = self.sink.turn(Self::now());
        self.hand.settle(&mut self.ledger);
        turn
    }

    fn changes(&mut self, channels: &[String]) -> Result<(), String> {
        let ready = self.hand.ready(&settings(channels))?;
        self.hand.commit(ready);
        assert!(!self.hand.is_free());
        self.turn();
        assert!(self.hand.is_free());
        Ok(())
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(Instant::now() < end, "never {what}: {:?}", self.sink.books().next());
            self.turn();
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_settled(&mut self) {
        self.until("settled", |bench| bench.sink.books().all(|(_, books)| books.waiting() == 0));
    }

    fn close(mut self) -> Ledger {
        self.sink.close(Self::now());
        while self.turn() != Turn::Done {
            thread::sleep(Duration::from_millis(5));
        }
        self.sink.ledger(&mut self.ledger);
        self.ledger
    }
}

fn places() -> (Scratch, Place, Place) {
    let scratch = Scratch::new("alert-change");
    let place = |name: &str| Place::open(&scratch.path().join(name), Answer::Thanks);
    let (first, second) = (place("first.pem"), place("second.pem"));
    (scratch, first, second)
}

fn hook(place: &Place, more: &str) -> String {
    place.channel(&format!("name = \"hook\"\n{more}"))
}

#[test]
fn what_waits_goes_to_the_new_address_and_nothing_to_the_old() {
    let (_scratch, first, second) = places();
    first.say(Answer::Later);
    let mut bench = Bench::open(&[hook(&first, "")], None);
    bench.says(Level::Alert);
    first.until(1);
    bench.changes(&[hook(&second, "")]).unwrap();
    second.until(1);
    let silent = first.heard().len();
    bench.says(Level::None);
    bench.until_settled();
    assert_eq!(first.heard().len(), silent);
    assert_eq!(second.heard()[0], first.heard()[0], "under its key, word for word");
    assert!(second.texts()[1].contains("calm again"), "{:?}", second.texts());
    let ledger = bench.close();
    assert_eq!((ledger.get("alert_notes{hook}"), ledger.get("alert_delivered{hook}")), (2, 2));
}

#[test]
fn a_standing_alarm_is_not_told_again_and_is_calmed() {
    let (_scratch, first, _) = places();
    let mut bench = Bench::open(&[hook(&first, "")], None);
    bench.says(Level::Alert);
    bench.until_settled();
    bench.changes(&[hook(&first, "level = \"EXTREME\"")]).unwrap();
    bench.says(Level::Critical);
    bench.until_settled();
    bench.says(Level::None);
    bench.changes(&[hook(&first, "level = \"WATCH\"")]).unwrap();
    bench.says(Level::Watch);
    bench.until_settled();
    // Another name for the same place.
    let ops = first.channel("name = \"ops\"\nlevel = \"WATCH\"");
    bench.changes(&[ops]).unwrap();
    bench.says(Level::None);
    bench.until_settled();
    let words: Vec<String> =
        first.texts().iter().map(|text| text.split(" 0 %").next().unwrap().to_owned()).collect();
    assert_eq!(words, ["ALERT", "calm again: CRITICAL", "WATCH", "calm again: NONE"]);
    assert_eq!(first.keys().len(), 4, "no key is used twice: {:?}", first.keys());
    let ledger = bench.close();
    assert_eq!((ledger.get("alert_delivered{hook}"), ledger.get("alert_delivered{ops}")), (3, 1));
}

#[test]
fn one_that_is_gone_sends_what_it_was_given_and_hears_nothing_more() {
    let (_scratch, first, second) = places();
    first.say(Answer::Later);
    let both = [hook(&first, ""), second.channel("name = \"b\"")];
    let mut bench = Bench::open(&both, None);
    bench.says(Level::Alert);
    first.until(1);
    bench.changes(&both[1..]).unwrap();
    bench.says(Level::Extreme);
    let why = bench.changes(&both).unwrap_err();
    assert!(why.starts_with("alert: channel hook still has to send"), "{why}");
    first.say(Answer::Thanks);
    bench.until("left", |bench| bench.sink.books().count() == 1);
    assert_eq!(first.told(), 1, "{:?}", first.texts());
    bench.changes(&both).unwrap();
    bench.says(Level::Critical);
    bench.until_settled();
    let keys = first.keys();
    assert!(keys.len() == 2 && keys.contains("77-1") && keys.contains("77-1000001"), "{keys:?}");
    let ledger = bench.close();
    assert_eq!((ledger.get("alert_notes{hook}"), ledger.get("alert_delivered{hook}")), (2, 2));
    assert_eq!(ledger.get("alert_delivered{b}"), 3);
}

#[test]
fn the_first_channel_may_come_late_and_its_receipt_begins_with_what_it_hears() {
    let (scratch, first, _) = places();
    let receipt = scratch.path().join("alert-hook.told");
    fs::write(&receipt, "told 3-3\n").unwrap();
    let mut bench = Bench::open(&[], Some(&scratch));
    bench.says(Level::Extreme);
    assert_eq!(bench.turn(), Turn::Idle);
    bench.changes(&[hook(&first, "")]).unwrap();
    assert!(!receipt.exists(), "what a channel of that name was told once is not this one's past");
    first.say(Answer::Later);
    bench.says(Level::Alert);
    first.until(1);
    assert!(fs::read_to_string(&receipt).unwrap().starts_with("told 77-1\n"));
    first.say(Answer::Thanks);
    bench.until_settled();
    bench.close();
    assert_eq!(fs::read_to_string(&receipt).unwrap(), "told 77-2\n");
}

#[test]
fn what_cannot_be_had_changes_nothing() {
    let (_scratch, first, second) = places();
    let mut bench = Bench::open(&[hook(&first, "")], None);
    let bad = second.channel("name = \"b\"\ntoken_file = \"/nowhere\"");
    let why = bench.changes(&[hook(&second, ""), bad]).unwrap_err();
    assert!(why.contains("/nowhere"), "{why}");
    bench.says(Level::Alert);
    bench.until_settled();
    assert_eq!((first.told(), second.told()), (1, 0));
    let (_, books) = bench.sink.books().next().unwrap();
    assert_eq!(count(&books.delivered), 1);
}
