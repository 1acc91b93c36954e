//! What an attack on one line does to the others, which share its thread.
//!
//! By default the bounds that make it harmless are asserted, for every behaviour that is quick to play:
//! in each turn the attacked line gives no more frames than it may, and the other line hears all of
//! its messages, in order. `FORESHOCK_FULL=1 cargo test --release --test others -- --nocapture` also
//! measures, in windows with and without the attack, in turn, within one run:
//!
//! * how long the other line's messages lay in the kernel before they were read: what its user waits
//!   for because of us, whatever the attackers, who compute on the same cores, take from its sender;
//! * how long they took from their sender, which holds that too. Slices in which the machine gave our
//!   time to somebody else are left out of both;
//! * what the reader did for the attacked line, in CPU time of its thread: the part that a message may
//!   have to wait for. What it adds to 99 of 100 waits, and its share of all time:
//!
//! ```text
//! wait p99: the w for which  sum over turns of max(0, length - w) = 1 % of the time
//! ```
//!
//! Windows last `FORESHOCK_WINDOW_MS` (default 2,000); `FORESHOCK_ATTACK=flood` plays those so named.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod peer;
#[path = "support/child.rs"]
mod child;

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use child::{Other, role};
use foreshock::event::FeedState::{Connecting, Live};
use foreshock::ingest::exchange::{Control, Verdict};
use foreshock::ingest::line::Plan;
use foreshock::ingest::source::Source;
use foreshock::time::{NS_PER_MS, Now};
use peer::behaviours::{Behaviour, Served, serve_all, served};
use peer::{Certificate, Driven, agree, line_of, line_with, peer, plan, text};
use rustix::time::{ClockId, clock_gettime};

/// Frames asked for in one turn, as the reader does.
const MOST: usize = 32;
const SLICE: Duration = Duration::from_millis(10);
/// Between two messages of the other line.
const EVERY: Duration = Duration::from_micros(500);
/// Windows without and with an attack take turns so often.
const ROUNDS: u128 = 16;

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

/// What this thread had of the processor, ns.
fn computed() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap()
}

/// How often this thread was made to wait, and how long the machine was: what is not our doing.
fn waited() -> Option<(String, String)> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let pushed = status.lines().find(|line| line.starts_with("nonvoluntary"))?;
    Some((pushed.to_owned(), stat.lines().next()?.split(' ').nth(9)?.to_owned()))
}

/// Messages that say their number and when they were sent.
fn good() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        for n in 0_u64.. {
            let frame = text(&format!("{{{n} {}", micros()));
            if stream.write_all(&frame).and_then(|()| stream.flush()).is_err() {
                return;
            }
            sleep(EVERY);
        }
    });
    println!("\nvenue wss://localhost:{}/x {}", peer.port, peer.ca_pem.escape_default());
    sleep(Duration::from_secs(3_600));
}

/// The two lines, on one thread.
struct Pair {
    good: Driven,
    numbers: Vec<u64>,
    began: Instant,
}

/// A stretch without the attack and one with it, next to each other.
type Round = [Window; 2];

/// What came of a window.
#[derive(Default)]
struct Window {
    /// Microseconds from being sent to being heard.
    latencies: Vec<u64>,
    /// Nanoseconds from the kernel's receiving to the read.
    waits: Vec<u64>,
    /// What each turn of the attacked line took of the processor, ns.
    turns: Vec<u64>,
    lasted: Duration,
    most: usize,
}

impl Pair {
    fn new(announced: &str) -> Self {
        let (url, pem) = announced.split_once(' ').unwrap();
        let quiet = Plan { answers: 0, canary_ns: 60_000 * NS_PER_MS, ..plan() };
        let good = line_of(quiet, url, Some(&pem.replace("\\n", "\n")));
        Self { good, numbers: Vec::new(), began: Instant::now() }
    }

    fn now(&self) -> Now {
        Now::at_millis(1_000_000 + i64::try_from(self.began.elapsed().as_millis()).unwrap())
    }

    /// One turn of both lines, the attacked one first.
    fn turn(&mut self, attacked: Option<&mut Driven>, window: &mut Window) {
        let now = self.now();
        if let Some(attacked) = attacked {
            let before = computed();
            let given = attacked_turn(attacked, now);
            window.turns.push(computed().saturating_sub(before));
            window.most = window.most.max(given);
        }
        let Self { good, numbers, .. } = self;
        good.socket.read(now, MOST, &mut |frame| {
            let said = std::str::from_utf8(frame.bytes).unwrap();
            let (n, sent) = said[1..].split_once(' ').unwrap();
            numbers.push(n.parse().unwrap());
            window.latencies.push(micros().saturating_sub(sent.parse().unwrap()));
            Verdict::Decoded.into()
        });
        window.waits.extend(good.socket.waited());
        good.changes.extend(std::iter::from_fn(|| good.socket.feed()));
    }

    /// Turns for so long.
    fn play(&mut self, mut attacked: Option<&mut Driven>, ms: u128, window: &mut Window) {
        let began = Instant::now();
        while began.elapsed().as_millis() < ms {
            let (slice_began, waited) = (Instant::now(), waited());
            let mut slice = Window::default();
            while slice_began.elapsed() < SLICE {
                self.turn(attacked.as_deref_mut(), &mut slice);
            }
            window.most = window.most.max(slice.most);
            window.turns.append(&mut slice.turns);
            if waited == self::waited() {
                window.latencies.append(&mut slice.latencies);
                window.waits.append(&mut slice.waits);
            }
        }
        window.lasted += began.elapsed();
    }

    /// Whether everything was heard that was said, and nothing was said of the line.
    fn is_whole(&self) -> bool {
        let first = self.numbers[0];
        let in_order = self.numbers.iter().copied().eq(first..first + self.numbers.len() as u64);
        in_order && self.good.states() == [Connecting, Live]
    }
}

fn attacked_turn(attacked: &mut Driven, now: Now) -> usize {
    let mut given = 0;
    attacked.socket.read(now, MOST, &mut |frame| {
        given += 1;
        match frame.bytes {
            b"ack" => Verdict::Control(Control::Ack).into(),
            b"pong" => Verdict::Control(Control::Pong).into(),
            _ => Verdict::Decoded.into(),
        }
    });
    while attacked.socket.feed().is_some() {}
    given
}

fn attack(served: &Served) -> Driven {
    line_with(&served.url, served.ca_pem.as_deref())
}

/// The other line's process, and the attackers' with the lowest priority: what they compute is not ours.
fn processes(test: &str) -> (Other, Pair, Other, Vec<(&'static Behaviour, Served)>) {
    let mut venue = Other::start(&[], test, "good");
    let mut pair = Pair::new(&venue.says("venue").unwrap());
    let mut servers = Other::start(&["nice", "-n", "39"], test, "servers");
    let attacks = served(servers.said.by_ref().map_while(Result::ok));
    while pair.numbers.is_empty() {
        pair.turn(None, &mut Window::default());
    }
    (venue, pair, servers, attacks)
}

fn is_child() -> bool {
    match role().as_deref() {
        Some("good") => good(),
        Some(_) => serve_all(),
        None => return false,
    }
    true
}

#[test]
fn f8_f28_an_attacked_line_takes_its_share_of_a_turn_and_the_other_hears_everything() {
    let test = "f8_f28_an_attacked_line_takes_its_share_of_a_turn_and_the_other_hears_everything";
    if is_child() {
        return;
    }
    let (_venue, mut pair, _servers, attacks) = processes(test);
    for (behaviour, served) in attacks.iter().filter(|(behaviour, _)| !behaviour.is_slow()) {
        let mut window = Window::default();
        let mut attacked = attack(served);
        pair.play(Some(&mut attacked), 25, &mut window);
        attacked.socket_stop();
        assert!(window.most <= MOST, "{}: {} frames in a turn", behaviour.name, window.most);
    }
    assert!(pair.numbers.len() > 500, "only {} messages", pair.numbers.len());
    assert!(pair.is_whole(), "{:?}", pair.good.changes);
}

/// What is added to a wait at most, 99 times of 100, when these turns came in so much time, ns.
fn wait(turns: &mut [u64], lasted: Duration) -> u64 {
    turns.sort_unstable_by(|a, b| b.cmp(a));
    let rare = u64::try_from(lasted.as_nanos() / 100).unwrap();
    let (mut longer, mut n) = (0, 0);
    for (i, turn) in turns.iter().enumerate() {
        longer += turn;
        n += 1;
        let next = turns.get(i + 1).copied().unwrap_or(0);
        if longer.checked_sub(rare).is_some_and(|over| over / n >= next) {
            return (longer - rare) / n;
        }
    }
    0
}

#[test]
fn the_wait_for_a_turn_counts_time_and_not_turns() {
    // A long turn that takes a hundredth of the time, and then ten of them.
    let lasted = Duration::from_millis(10);
    assert_eq!(wait(&mut [vec![1_000; 9_900], vec![100_000]].concat(), lasted), 999);
    assert_eq!(wait(&mut [vec![1_000; 9_000], vec![100_000; 10]].concat(), lasted), 90_000);
    assert_eq!(wait(&mut [1_000; 90], lasted), 0, "less than a hundredth of the time adds nothing");
}

fn percentile(values: &mut [u64], of: usize) -> u64 {
    values.sort_unstable();
    values.get(values.len() * of / 1_000).copied().unwrap_or(0)
}

/// All of one kind in those rounds, and its percentile (in thousandths).
fn pooled(rounds: &[&Round], side: usize, of: usize, pick: fn(&Window) -> &[u64]) -> f64 {
    let mut all: Vec<u64> = rounds.iter().flat_map(|r| pick(&r[side])).copied().collect();
    percentile(&mut all, of).max(1) as f64
}

/// How much a percentile grew, in percent, and between what (95 of 100 times): rounds drawn again and
/// again from those that there were.
fn growth(rounds: &[Round], pick: fn(&Window) -> &[u64]) -> [f64; 3] {
    let grown = |rounds: &[&Round]| {
        let [before, during] = [0, 1].map(|side| pooled(rounds, side, 990, pick));
        (during / before - 1.0) * 100.0
    };
    let draws = (4_000 / rounds.len()).clamp(40, 200);
    let mut seed = 7_u64;
    let mut drawn: Vec<f64> = (0..draws)
        .map(|_| {
            let mut draw = || {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                &rounds[(seed >> 33) as usize % rounds.len()]
            };
            let again: Vec<&Round> = (0..rounds.len()).map(|_| draw()).collect();
            grown(&again)
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    [grown(&rounds.iter().collect::<Vec<_>>()), drawn[draws / 40], drawn[draws - 1 - draws / 40]]
}

#[test]
fn growth_is_found_and_its_absence_too() {
    let window = |times: u64| Window {
        waits: (1..=1_000).map(|n| n * times).collect(),
        ..Window::default()
    };
    let rounds = |times| (0..8).map(|_| [window(10), window(times)]).collect::<Vec<_>>();
    assert_eq!(growth(&rounds(10), |w| &w.waits), [0.0; 3]);
    let [grown, low, high] = growth(&rounds(12), |w| &w.waits);
    assert!((19.9..20.1).contains(&grown) && low > 19.9 && high < 20.1, "{grown} {low} {high}");
}

/// What rounds say of the windows without and with the attack.
fn told(rounds: &[Round]) -> String {
    let refs: Vec<&Round> = rounds.iter().collect();
    let us = |of, pick: fn(&Window) -> &[u64], unit: f64| {
        let [before, during] = [0, 1].map(|side| pooled(&refs, side, of, pick) / unit);
        format!("{before:6.1} {during:6.1}")
    };
    let grown = |pick| {
        let [grown, low, high] = growth(rounds, pick);
        format!("{grown:+6.1} % ({low:+.0} to {high:+.0})")
    };
    let waits: fn(&Window) -> &[u64] = |w| &w.waits;
    let latencies: fn(&Window) -> &[u64] = |w| &w.latencies;
    let turns = [0, 1].map(|side| {
        let mut turns: Vec<u64> = refs.iter().flat_map(|r| &r[side].turns).copied().collect();
        let lasted = refs.iter().map(|r| r[side].lasted).sum::<Duration>();
        let share = turns.iter().sum::<u64>() as f64 / lasted.as_nanos().max(1) as f64 * 100.0;
        (!turns.is_empty()).then(|| format!("{:5} {share:5.2} %", wait(&mut turns, lasted)))
    });
    format!(
        "{:6}  {} {} {:24} {} {:24} {}",
        refs.iter().map(|r| r[1].waits.len()).sum::<usize>(),
        us(500, waits, 1e3),
        us(990, waits, 1e3),
        grown(waits),
        us(990, latencies, 1.0),
        grown(latencies),
        turns.map(Option::unwrap_or_default).join("  "),
    )
}

#[test]
fn f8_f9_f10_the_other_line_is_as_fast_as_before() {
    if is_child() {
        return;
    }
    if std::env::var_os("FORESHOCK_FULL").is_none() {
        eprintln!("skipped: times are measured with FORESHOCK_FULL=1");
        return;
    }
    let wanted = std::env::var("FORESHOCK_ATTACK").unwrap_or_default();
    let ms = std::env::var("FORESHOCK_WINDOW_MS").ok().and_then(|ms| ms.parse().ok());
    let ms: u128 = ms.unwrap_or(2_000);
    let (_venue, mut pair, _servers, attacks) =
        processes("f8_f9_f10_the_other_line_is_as_fast_as_before");
    let calm = attacks.iter().find(|(b, s)| b.name == "mute" && s.ca_pem.is_some()).unwrap();
    println!(
        "{:26} heard  in the kernel: p50 us, p99 us, growth (95 %)      from its sender: p99 us, growth (95 %)     our turns: p99 ns, share of time",
        "attack"
    );
    let mut all = Vec::new();
    for (_, served) in attacks.iter().filter(|(_, served)| served.url.contains(&wanted)) {
        let mut idle = attack(&calm.1);
        let mut attacked = attack(served);
        let rounds: Vec<Round> = (0..ROUNDS)
            .map(|_| {
                let mut round = Round::default();
                pair.play(Some(&mut idle), ms / ROUNDS, &mut round[0]);
                pair.play(Some(&mut attacked), ms / ROUNDS, &mut round[1]);
                round
            })
            .collect();
        attacked.socket_stop();
        idle.socket_stop();
        println!("{:26} {}", served.url.replace("localhost:", ""), told(&rounds));
        // A million turns a second: they are told attack by attack.
        let bare = |mut round: Round| {
            round.iter_mut().for_each(|window| window.turns = Vec::new());
            round
        };
        all.extend(rounds.into_iter().map(bare));
    }
    println!("{:26} {}", "all together", told(&all));
    assert!(pair.is_whole(), "{:?}", pair.good.changes);
}
