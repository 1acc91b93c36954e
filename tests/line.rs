//! A line without a socket: what it orders, told what happens and when. Time is the test's own.

use foreshock::event::{FeedState, Venue};
use foreshock::ingest::exchange::{Control, Verdict};
use foreshock::ingest::line::{Line, Loss, Order, Plan, Refusal, Say, Slot};
use foreshock::ingest::source::{FeedChange, Heard};
use foreshock::time::{NS_PER_MS, Nanos, Now};

const START: i64 = 1_790_000_000_000;

fn plan() -> Plan {
    Plan {
        venue: Venue::Okx,
        line: 0,
        route: "public",
        rare: true,
        subscriptions: vec!["liquidations".to_owned(), "canary".to_owned()],
        answers: 2,
        fragile: false,
        heartbeat_ns: 20_000 * NS_PER_MS,
        dead_ns: 4_500 * NS_PER_MS,
        canary_ns: 4_500 * NS_PER_MS,
        rotate_at: None,
    }
}

/// A line and its time.
struct Driven {
    line: Line,
    ms: i64,
    /// What it ordered, with the time.
    orders: Vec<(i64, Order)>,
    changes: Vec<FeedChange>,
}

impl Driven {
    fn new(plan: Plan) -> Self {
        let (orders, changes) = (Vec::new(), Vec::new());
        let mut driven = Self { line: Line::new(plan), ms: START, orders, changes };
        driven.turn();
        driven
    }

    /// A line that is connected, subscribed and live.
    fn live(plan: Plan) -> Self {
        let mut driven = Self::new(plan);
        driven.open();
        driven.pass(300, |line, now| line.frame(0, ack(), now));
        driven.data(0);
        assert_eq!(driven.line.state(), FeedState::Live);
        driven
    }

    fn now(&self) -> Nanos {
        Now::at_millis(self.ms).mono
    }

    fn turn(&mut self) {
        let now = Now::at_millis(self.ms);
        while let Some(order) = self.line.order(now) {
            self.orders.push((self.ms, order));
        }
        assert!(self.line.is_attended());
        self.changes.extend(std::iter::from_fn(|| self.line.next_change()));
    }

    /// Lets `ms` pass in steps of 20; each step `each` happens.
    fn pass(&mut self, ms: i64, mut each: impl FnMut(&mut Line, Nanos)) {
        let end = self.ms + ms;
        while self.ms < end {
            self.ms += 20;
            each(&mut self.line, Now::at_millis(self.ms).mono);
            self.turn();
        }
    }

    fn open(&mut self) -> (Slot, Option<Slot>) {
        let opened = self.line.opened(self.now());
        self.turn();
        opened
    }

    fn data(&mut self, slot: Slot) {
        self.line.frame(slot, Verdict::Decoded.into(), self.now());
        self.turn();
    }

    /// Times of calls, since the start.
    fn calls(&self) -> Vec<i64> {
        let calls = self.orders.iter().filter(|(_, order)| *order == Order::Call);
        calls.map(|(at, _)| at - START).collect()
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.line.refused(refusal, self.now());
        self.turn();
    }
}

fn ack() -> Heard {
    Verdict::Control(Control::Ack).into()
}

fn quiet(_: &mut Line, _: Nanos) {}

fn canary(line: &mut Line, now: Nanos) {
    (0..2).for_each(|slot| line.frame(slot, Verdict::Decoded.into(), now));
}

#[test]
fn f16_f17_a_refusal_is_respected_and_the_longest_wait_is_the_venue_s() {
    for (code, retry_after, least, state) in [
        (403, None, 300_000, FeedState::Blocked),
        (451, Some(900), 900_000, FeedState::Blocked),
        (429, Some(77), 77_000, FeedState::Blocked),
        (418, None, 60_000, FeedState::Blocked),
        (503, Some(40), 40_000, FeedState::Down),
    ] {
        let mut line = Driven::new(plan());
        line.refuse(Refusal { code, retry_after, ..Refusal::new("no") });
        assert_eq!(line.line.state(), state);
        line.pass(least - 40, quiet);
        assert_eq!(line.calls(), [0], "{code}: called too early");
        line.pass(31_000, quiet);
        assert_eq!(line.calls().len(), 2, "{code}: called too late");
    }
}

#[test]
fn f25_a_line_that_only_flaps_is_called_at_growing_distances_and_never_given_up() {
    let mut line = Driven::new(plan());
    for _ in 0..200 {
        let before = line.calls().len();
        line.open();
        line.line.lost(0, Loss::down("reset", "connection reset"), line.now());
        line.turn();
        while line.calls().len() == before {
            line.pass(20, quiet);
        }
    }
    let gaps: Vec<i64> = line.calls().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[0], 0, "the first is at once");
    assert!(gaps[1..].iter().all(|gap| (1_000..=30_040).contains(gap)), "{gaps:?}");
    let late: i64 = gaps[6..].iter().sum::<i64>() / i64::try_from(gaps.len() - 6).unwrap();
    assert!((13_000..18_000).contains(&late), "full jitter from 1 to 30 s: {late} on average");
}

#[test]
fn f24_a_resolver_that_hangs_is_given_up_and_asked_again() {
    let mut line = Driven::new(plan());
    line.pass(62_000, quiet);
    assert!(line.orders.iter().any(|(_, order)| *order == Order::Forget));
    assert!(line.calls().len() >= 2, "{:?}", line.calls());
    assert!(line.changes.iter().any(|change| change.why.contains("resolver")));
}

#[test]
fn f21_a_goodbye_is_waited_for_one_second() {
    let mut line = Driven::live(plan());
    let at = line.ms;
    line.line.goodbye(0, "1012 restart".to_owned(), line.now());
    line.pass(1_100, quiet);
    let hung = line.orders.iter().find(|(_, order)| matches!(order, Order::Hang(0))).unwrap();
    assert!((1_000..=1_040).contains(&(hung.0 - at)), "{}", hung.0 - at);
    assert_eq!(line.changes.last().unwrap().why, "closed by the venue 1012 restart");
}

#[test]
fn d12_after_a_pause_of_ours_nothing_is_judged_before_it_is_read() {
    let mut line = Driven::live(plan());
    for _ in 0..20 {
        line.ms += 10_000;
        line.turn();
        // What was waiting in the kernel is read on the turns after.
        line.pass(1_000, canary);
    }
    assert_eq!(line.line.state(), FeedState::Quiet);
    let alarm =
        |change: &FeedChange| !change.state.hears() && change.state != FeedState::Connecting;
    assert!(!line.changes.iter().any(alarm), "{:?}", line.changes);
    assert_eq!(line.line.counts.paused, 20);
}

#[test]
fn d12_a_pause_hides_no_death() {
    let mut line = Driven::live(plan());
    line.ms += 10_000;
    line.turn();
    line.pass(4_600, quiet);
    assert_eq!(line.line.state(), FeedState::Stale);
}

#[test]
fn f5_a_doubted_line_is_called_again_beside_the_old_one_and_believed_when_it_speaks() {
    let mut line = Driven::live(plan());
    line.line.doubt("silent in a cascade: bybit 40", line.now());
    line.turn();
    assert_eq!(line.line.state(), FeedState::Suspect);
    assert_eq!(line.calls().len(), 2, "a second connection at once");
    line.pass(1_000, canary);
    assert_eq!(line.line.state(), FeedState::Suspect, "the canary proves nothing here");
    assert_eq!(line.open(), (1, None), "the old one stays until the new one is settled");
    line.pass(1_000, |line, now| {
        canary(line, now);
        line.frame(1, ack(), now);
    });
    line.line.frame(1, Heard { rare: true, ..Verdict::Decoded.into() }, line.now());
    line.turn();
    assert_eq!(line.line.state(), FeedState::Live);
    line.pass(3_000, canary);
    assert!(line.orders.iter().any(|(_, order)| *order == Order::Hang(0)));
}

#[test]
fn d3_a_line_that_tells_of_the_past_only_is_not_heard() {
    let late = Heard { rare: true, late: true, ..Verdict::Decoded.into() };
    let mut line = Driven::live(plan());
    line.pass(8_000, |line, now| line.frame(0, late, now));
    let said = line.changes.last().unwrap();
    assert_eq!(said.state, FeedState::Suspect);
    assert!(said.why.starts_with("late: for 4500 ms"), "{}", said.why);
    line.pass(1_000, canary);
    assert_eq!(line.line.state(), FeedState::Live);
    // One that never was in time never was live.
    let mut line = Driven::new(plan());
    line.open();
    line.pass(3_000, |line, now| {
        line.frame(0, ack(), now);
        line.frame(0, late, now);
    });
    assert_eq!(line.line.state(), FeedState::Connecting);
}

#[test]
fn f5_a_doubt_that_is_over_leaves_the_line_as_it_was() {
    let mut line = Driven::live(plan());
    line.line.doubt("silent in a cascade", line.now());
    line.line.trust(line.now());
    assert_eq!(line.line.state(), FeedState::Live);
}

#[test]
fn d9_a_format_that_changed_is_suspect_within_100_messages_and_live_when_it_is_understood() {
    let bad = Verdict::Rejected("schema").into();
    let mut line = Driven::live(plan());
    // One in a hundred is an accident.
    for i in 0..1_000 {
        let heard = if i % 100 == 7 { bad } else { Verdict::Decoded.into() };
        line.line.frame(0, heard, line.now());
    }
    line.turn();
    assert_eq!(line.line.state(), FeedState::Live);
    for i in 0..200 {
        let heard = if i % 40 == 7 { bad } else { Verdict::Decoded.into() };
        line.line.frame(0, heard, line.now());
    }
    line.turn();
    let said = line.changes.last().unwrap();
    assert_eq!(said.state, FeedState::Suspect);
    assert!(said.why.contains("has the format changed?"), "{}", said.why);
    for _ in 0..200 {
        line.data(0);
    }
    assert_eq!(line.line.state(), FeedState::Live);
}

#[test]
fn f22_the_operator_s_minute_replaces_each_connection_once() {
    // START is 14:13:20 UTC.
    let mut line = Driven::live(Plan { rotate_at: Some(14 * 60 + 17), ..plan() });
    line.pass(219_000, canary);
    assert_eq!(line.calls().len(), 1, "not before its minute");
    line.pass(2_000, canary);
    assert_eq!(line.calls().len(), 2);
    line.open();
    line.pass(8_000, |line, now| {
        canary(line, now);
        line.frame(1, ack(), now);
    });
    assert!(line.orders.iter().any(|(_, order)| *order == Order::Hang(0)));
    line.pass(120_000, canary);
    assert_eq!(line.calls().len(), 2, "once in its minute");
    let alarms = line.changes.iter().filter(|change| !change.state.hears()).count();
    assert_eq!(alarms, 1, "only the beginning: {:?}", line.changes);
}

#[test]
fn f22_the_end_of_a_new_connection_that_was_to_take_over_leaves_a_call_planned() {
    let mut line = Driven::live(plan());
    line.pass(150_000, canary);
    line.line.frame(0, Verdict::Control(Control::Closing).into(), line.now());
    line.turn();
    assert_eq!(line.calls().len(), 2);
    let (slot, _) = line.open();
    line.line.lost(slot, Loss::down("reset", "connection reset"), line.now());
    line.turn();
    line.pass(31_000, canary);
    assert!(line.calls().len() >= 3, "{:?}", line.calls());
    assert_eq!(line.line.state(), FeedState::Quiet, "the old one was heard all the time");
}

#[test]
fn f7_f2_heartbeats_keep_their_pace_and_come_early_when_nothing_is_heard() {
    let mut line = Driven::live(plan());
    let beats = |line: &Driven| {
        line.orders.iter().filter(|(_, o)| matches!(o, Order::Send(_, Say::Heartbeat))).count()
    };
    line.pass(86_000, canary);
    assert_eq!(beats(&line), 4, "one each 20 s while data flows");
    line.pass(2_400, quiet);
    assert_eq!(beats(&line), 5, "and one when half the time is gone");
    line.line.frame(0, Verdict::Control(Control::Pong).into(), line.now());
    line.pass(2_000, quiet);
    assert_eq!(line.line.state(), FeedState::Quiet);
}

/// Freezes and silent routes at random moments of a canary that is up to three seconds apart.
#[test]
fn f2_f4_silence_is_found_within_5_s() {
    let mut took = [Vec::new(), Vec::new()];
    for n in 0..600_i64 {
        let deaf = n % 2 == 0;
        let mut line = Driven::live(plan());
        let mut next = line.ms;
        let mut say = |line: &mut Line, now: Nanos| {
            if now.millis() >= next {
                next = now.millis() + 50 + (n * 977 + now.millis() / 100 * 131) % 2_950;
                line.frame(0, Verdict::Decoded.into(), now);
            }
        };
        line.pass(6_000 + n * 37 % 9_000, &mut say);
        // One heartbeat may be on its way already.
        let (from, mut answered) = (line.ms, 0);
        while line.line.hears() && line.ms < from + 20_000 {
            line.pass(20, quiet);
            // Alive: heartbeats are answered. Frozen: nothing is.
            if deaf && line.orders.len() > answered {
                answered = line.orders.len();
                line.line.frame(0, Verdict::Control(Control::Pong).into(), line.now());
            }
        }
        let state = if deaf { FeedState::Suspect } else { FeedState::Stale };
        assert!(line.changes.iter().any(|change| change.state == state), "{:?}", line.changes);
        took[usize::from(deaf)].push(line.ms - from);
    }
    for (what, took) in ["frozen", "deaf"].into_iter().zip(&mut took) {
        took.sort_unstable();
        let (p50, p99, most) =
            (took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]);
        eprintln!("{what}: found after p50 {p50} ms, p99 {p99} ms, at most {most} ms");
        assert!(p99 <= 5_000 && most <= 10_000, "{what}: p99 {p99}, max {most}");
    }
}
