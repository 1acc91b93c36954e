//! A line over a bad road: packets are lost, late and out of order, the road is narrow or long.
//!
//! The line and the venue are processes in networks of their own (`support/road.rs`). A machine that
//! allows no such thing skips, and says so. `FORESHOCK_FULL=1` stays on each road for a minute and
//! resets a line a thousand times at 50 ms of round trip (five minutes in all).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod peer;
#[path = "support/child.rs"]
mod child;
#[path = "support/road.rs"]
mod road;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use child::{Other, role};
use foreshock::event::FeedState::{Connecting, Live, Stale};
use foreshock::ingest::line::Plan;
use foreshock::ingest::source::Read;
use foreshock::time::NS_PER_MS;
use peer::{Certificate, Driven, agree, hear, peer_on, reset, send, text};
use road::{Road, THERE, Weather};

fn is_full() -> bool {
    std::env::var_os("FORESHOCK_FULL").is_some()
}

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

/// Where the venue is, as its process says it: the URL and the authority.
fn announce(peer: &peer::Peer) {
    println!("\nvenue wss://{THERE}:{}/x {}", peer.port, peer.ca_pem.escape_default());
    sleep(Duration::from_secs(900));
}

/// A line of the other process's plan, to the venue that was announced.
fn line(announced: &str, plan: Plan) -> Driven {
    let (url, pem) = announced.split_once(' ').unwrap();
    peer::line_of(plan, url, Some(&pem.replace("\\n", "\n")))
}

/// A turn whose time is real.
fn turn(line: &mut Driven, began: Instant, skipped_ms: i64) {
    line.ms = 1_000_000 + skipped_ms + i64::try_from(began.elapsed().as_millis()).unwrap();
    if line.turn() == Read::Idle {
        sleep(Duration::from_micros(100));
    }
}

/// The venue and the line in their networks; gives what the line says of itself.
fn play(test: &str, weather: Weather, plays: &str) -> Option<String> {
    let road = match Road::open(weather) {
        Ok(road) => road,
        Err(why) => {
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let mut venue = Other::start(&Road::in_net(&road.there), test, "venue");
    let announced = venue.says("venue").expect("a venue");
    let role = format!("line {plays} {announced}");
    let mut line = Other::start(&Road::in_net(&road.here), test, &role);
    let heard = line.says("heard").expect("the line to say what it heard");
    line.finish();
    Some(heard)
}

/// Numbered messages as long as a liquidation, so many every 10 ms.
fn tell(many: usize) {
    let peer = peer_on(THERE, Certificate::Good, move |_, mut stream| {
        agree(&mut stream);
        let frame = |n: usize| text(&format!("{{{n:6} {:90}}}", ' '));
        for from in (0..).step_by(many) {
            let frames: Vec<u8> = (from..from + many).flat_map(frame).collect();
            if stream.write_all(&frames).and_then(|()| stream.flush()).is_err() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
    });
    announce(&peer);
}

/// Listens so long, and says how many messages came and whether one was missing or out of order.
fn listen(role: &str) {
    let (seconds, announced) = role.split_once(' ').unwrap();
    let ms = 4_500 * NS_PER_MS;
    let plan = Plan { answers: 0, dead_ns: ms, canary_ns: ms, ..peer::plan() };
    let mut line = line(announced, plan);
    let began = Instant::now();
    while began.elapsed().as_secs() < seconds.parse().unwrap() {
        turn(&mut line, began, 0);
    }
    let numbers: Vec<usize> =
        line.frames.iter().map(|frame| frame[1..7].trim().parse().unwrap()).collect();
    let in_order = numbers.iter().copied().eq(0..numbers.len());
    // A handshake may be too slow for its deadline here; what counts is what comes after it.
    let after = line.states().into_iter().skip_while(|state| *state != Live).collect::<Vec<_>>();
    println!("\nheard {} {in_order} {after:?}", numbers.len());
}

fn hears_everything(test: &str, weather: Weather) {
    match role().as_deref() {
        // A narrow road is nearly filled.
        Some("venue") => return tell(if weather.kbit > 0 { 9 } else { 1 }),
        Some(role) => return listen(role.strip_prefix("line ").unwrap()),
        None => {}
    }
    let seconds = if is_full() { 60 } else { 8 };
    let Some(heard) = play(test, weather, &seconds.to_string()) else { return };
    eprintln!("{weather:?}, {seconds} s: {heard}");
    let mut words = heard.splitn(3, ' ');
    let n: usize = words.next().unwrap().parse().unwrap();
    assert_eq!(words.next(), Some("true"), "a message was lost or came out of order");
    assert_eq!(words.next(), Some("[Live]"), "the line fell");
    assert!(n > seconds * 30, "only {n} messages in {seconds} s");
}

#[test]
fn f26_loss_delay_and_disorder_lose_no_message() {
    let weather = Weather { delay_ms: 55, jitter_ms: 45, loss: 5, kbit: 0 };
    hears_everything("f26_loss_delay_and_disorder_lose_no_message", weather);
}

#[test]
fn f26_a_narrow_road_loses_no_message() {
    let weather = Weather { delay_ms: 10, jitter_ms: 5, loss: 0, kbit: 1_000 };
    hears_everything("f26_a_narrow_road_loses_no_message", weather);
}

/// Says when it hears, when it no longer does, and when it hears again.
fn falls(announced: &str) {
    let ms = 4_500 * NS_PER_MS;
    let plan = Plan { answers: 0, dead_ns: ms, canary_ns: ms, ..peer::plan() };
    let (mut line, began) = (line(announced, plan), Instant::now());
    let mut until = |word: &str, done: &dyn Fn(&Driven) -> bool| {
        while !done(&line) {
            turn(&mut line, began, 0);
        }
        println!("\n{word} {}", micros());
        line.heard = 0;
    };
    until("lively", &|line| line.heard >= 100);
    until("stale", &|line| line.states().contains(&Stale));
    until("heard", &|line| line.heard >= 100);
}

#[test]
fn f2_f3_a_road_that_is_cut_and_a_venue_that_freezes_are_stale_within_5_s() {
    match role().as_deref() {
        Some("venue") => return tell(1),
        Some(role) => return falls(role),
        None => {}
    }
    let test = "f2_f3_a_road_that_is_cut_and_a_venue_that_freezes_are_stale_within_5_s";
    let weather = Weather { delay_ms: 10, jitter_ms: 0, loss: 0, kbit: 0 };
    let mut road = match Road::open(weather) {
        Ok(road) => road,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut venue = Other::start(&Road::in_net(&road.there), test, "venue");
    let announced = venue.says("venue").expect("a venue");
    for is_cut in [true, false] {
        let mut line = Other::start(&Road::in_net(&road.here), test, &announced);
        line.says("lively").expect("a line that hears");
        let from = micros();
        if is_cut {
            road.cut()
        } else {
            venue.signal("STOP")
        }
        let stale: u128 = line.says("stale").expect("a line that notices").parse().unwrap();
        let took = (stale - from) / 1_000;
        eprintln!("{}: stale after {took} ms", if is_cut { "cut" } else { "frozen" });
        // A dead line is found after 4.5 s; the rest is for a machine that is busy.
        assert!((4_000..10_000).contains(&took), "{took} ms");
        if is_cut {
            road.pave(weather).unwrap();
        } else {
            venue.signal("CONT");
        }
        line.says("heard").expect("a line that hears again");
        line.finish();
    }
}

/// A venue that resets when it hears a ping, and says in its first message when it last did.
fn resets() {
    let last = Arc::new(Mutex::new(0));
    let peer = peer_on(THERE, Certificate::Good, move |_, mut stream| {
        agree(&mut stream);
        hear(&mut stream);
        send(&mut stream, &text(&format!("{{{}", last.lock().unwrap())));
        while hear(&mut stream).is_some_and(|(_, said)| said != b"ping") {}
        *last.lock().unwrap() = micros();
        reset(&stream);
    });
    announce(&peer);
}

/// Is reset so often, and says how long it took until it heard again, in the order of length, us.
fn comes_back(role: &str) {
    let (resets, announced) = role.split_once(' ').unwrap();
    let resets: usize = resets.parse().unwrap();
    let plan = Plan {
        subscriptions: vec!["subscribe".to_owned()],
        answers: 0,
        heartbeat_ns: 100_000 * NS_PER_MS,
        ..peer::plan()
    };
    let mut line = line(announced, plan);
    let (began, mut skipped_ms, mut took) = (Instant::now(), 0, Vec::new());
    while took.len() < resets {
        let heard = line.heard;
        turn(&mut line, began, skipped_ms);
        if line.heard > heard {
            let reset: u128 = line.frames[heard][1..].parse().unwrap();
            if reset > 0 {
                took.push(micros() - reset);
            }
            // Long enough live for the waits to start over, and for a ping to be due.
            skipped_ms += 101_000;
        }
    }
    took.sort_unstable();
    assert!(line.states().contains(&Connecting));
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("\nheard {p50} {p99} {}", took[took.len() - 1]);
}

#[test]
fn f1_a_reset_line_hears_again_over_a_long_road() {
    match role().as_deref() {
        Some("venue") => return resets(),
        Some(role) => return comes_back(role.strip_prefix("line ").unwrap()),
        None => {}
    }
    let resets = if is_full() { 1_000 } else { 30 };
    let weather = Weather { delay_ms: 25, jitter_ms: 0, loss: 0, kbit: 0 };
    let test = "f1_a_reset_line_hears_again_over_a_long_road";
    let Some(heard) = play(test, weather, &resets.to_string()) else { return };
    let us: Vec<u64> = heard.split(' ').map(|n| n.parse().unwrap()).collect();
    let (p50, p99, most) = (us[0] / 1_000, us[1] / 1_000, us[2] / 1_000);
    eprintln!("{resets} resets at 50 ms of round trip: p50 {p50} ms, p99 {p99} ms, max {most} ms");
    // Four and a half round trips. In a slice the machine may be busy with other things.
    assert!(p50 >= 200, "the road is not as long as it should be: {p50} ms");
    assert!(p99 <= if is_full() { 500 } else { 20_000 }, "p99 {p99} ms");
}
