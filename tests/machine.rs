//! Faults of the machine we run on: system calls that fail, a clock that is wrong, a resolver that lies.
//!
//! The line is a process of its own, under `strace`, under `faketime`, or in a network with a resolver
//! of ours. Where one of these is missing the test says so and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod peer;
#[path = "support/child.rs"]
mod child;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/resolver.rs"]
mod resolver;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use child::{Other, role, works};
use foreshock::event::FeedState::{self, Connecting, Down, Live};
use foreshock::ingest::dial::{Endpoint, Trust, dial};
use foreshock::ingest::line::Plan;
use foreshock::ingest::source::Read;
use peer::{Certificate, Driven, Peer, Stream, agree, line_of, peer, peer_on, plan, reset, text};
use resolver::Resolver;
use scratch::Scratch;

/// Numbered messages, one a millisecond.
fn count(stream: &mut Stream, until: impl Fn(usize) -> bool) {
    use std::io::Write;
    agree(stream);
    for n in 0.. {
        let frame = text(&format!("{{{n}"));
        if until(n) || stream.write_all(&frame).and_then(|()| stream.flush()).is_err() {
            return;
        }
        sleep(Duration::from_millis(1));
    }
}

fn line(announced: &str) -> Driven {
    let (url, pem) = announced.split_once(' ').unwrap();
    line_of(Plan { answers: 0, ..plan() }, url, Some(&pem.replace("\\n", "\n")))
}

fn announced(host: &str, peer: &Peer) -> String {
    format!("wss://{host}:{}/x {}", peer.port, peer.ca_pem.escape_default())
}

/// Real time until `done`, ten seconds at most.
fn wait(line: &mut Driven, done: impl Fn(&Driven) -> bool) {
    let (began, from) = (Instant::now(), line.ms);
    while !done(line) && began.elapsed() < Duration::from_secs(10) {
        line.ms = from + i64::try_from(began.elapsed().as_millis()).unwrap();
        if line.turn() == Read::Idle {
            sleep(Duration::from_micros(200));
        }
    }
    assert!(done(line), "{} messages, {:?}", line.heard, line.changes);
}

/// The numbers heard are those of so many connections, each without a gap from its first on.
fn is_whole(frames: &[String]) -> bool {
    let numbers: Vec<usize> = frames.iter().map(|frame| frame[1..].parse().unwrap()).collect();
    numbers.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] == 0)
}

/// Runs a line that hears 1,000 messages while a system call fails as `inject` says; gives what it
/// said of its states.
fn traced(test: &str, inject: &str) -> String {
    let scratch = Scratch::new("strace");
    let log = scratch.path().join("log");
    let peer = peer(Certificate::Good, |_, mut stream| count(&mut stream, |_| false));
    let call = inject.split(':').next().unwrap();
    let (inject, trace) = (format!("inject={inject}"), format!("trace={call}"));
    let wrapper =
        ["strace", "-f", "-o", log.to_str().unwrap(), "-e", trace.as_str(), "-e", inject.as_str()];
    let mut other = Other::start(&wrapper, test, &announced("127.0.0.1", &peer));
    let said = other.says("states").unwrap_or_else(|| panic!("{inject}: it died"));
    other.finish();
    let failed = std::fs::read_to_string(&log).unwrap().matches("(INJECTED)").count();
    eprintln!("{inject}: failed {failed} times; {said}");
    assert!(failed > 0, "{inject}: nothing failed");
    said
}

#[test]
fn f27_system_calls_that_fail_end_a_connection_at_most_and_an_interruption_nothing() {
    let test = "f27_system_calls_that_fail_end_a_connection_at_most_and_an_interruption_nothing";
    if let Some(announced) = role() {
        let mut line = line(&announced);
        wait(&mut line, |line| line.heard >= 1_000);
        assert!(is_whole(&line.frames), "{:?}", line.frames);
        let whys: Vec<_> = line.changes.iter().map(|change| change.why.as_str()).collect();
        return println!("\nstates {:?} {whys:?}", line.states());
    }
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        return;
    }
    let unharmed = format!("{:?}", [Connecting, Live]);
    for inject in [
        // The handshake reads by one call, the line by the other.
        "recvfrom:error=EINTR:when=2+3",
        "recvmsg:error=EINTR:when=2+3",
        "recvmsg:error=EAGAIN:when=9+3",
        "sendto:error=EINTR:when=1+2",
        "epoll_wait:error=EINTR:when=1+2",
        // What TLS could not send is kept and sent again.
        "sendto:error=ENOBUFS:when=4",
    ] {
        let said = traced(test, inject);
        assert!(said.starts_with(&unharmed), "{inject}: {said}");
    }
    for (inject, words) in [
        ("recvmsg:error=ECONNRESET:when=60", "connection reset"),
        ("recvmsg:error=ENOBUFS:when=60", "No buffer space"),
        ("sendto:error=ENOBUFS:when=4..5", "No buffer space"),
        ("sendto:error=EPIPE:when=4..5", "connection reset"),
        ("socket:error=EMFILE:when=1", "Too many open files"),
        ("connect:error=ENETUNREACH:when=1", "Network is unreachable"),
        ("epoll_ctl:error=ENOSPC:when=1", "No space left"),
    ] {
        let said = traced(test, inject);
        assert!(said.contains("Down") && said.contains(words), "{inject}: {said}");
        assert!(said.contains("Live"), "{inject}: {said}");
    }
}

#[test]
fn f20_a_certificate_that_is_refused_for_a_wrong_clock_says_so() {
    if let Some(announced) = role() {
        let (url, pem) = announced.split_once(' ').unwrap();
        let trust = Trust::new(Some(pem.replace("\\n", "\n").as_bytes())).unwrap();
        let refusal = dial(&Endpoint::parse(url).unwrap(), None, 0, &trust).expect_err("refused");
        return println!("\nrefused {}", refusal.why);
    }
    if !works(&["faketime", "2035-01-01", "true"]) {
        return;
    }
    let peer = peer(Certificate::Brief, |_, mut stream| agree(&mut stream));
    for (time, words) in [
        ("2035-01-01 12:00:00", "expired on 2034-02-03, and this machine says 2035-01-01"),
        ("2000-01-01 12:00:00", "begins on 2020-02-03, and this machine says 2000-01-01"),
    ] {
        let test = "f20_a_certificate_that_is_refused_for_a_wrong_clock_says_so";
        let mut other = Other::start(&["faketime", time], test, &announced("localhost", &peer));
        let why = other.says("refused").expect("a refusal");
        other.finish();
        assert!(why.contains(words) && why.contains("check its clock"), "{why}");
        assert!(why.contains("localhost"), "{why}");
    }
}

#[test]
fn f28_a_feed_that_is_down_for_hours_costs_the_others_nothing() {
    // The venue hangs up at once; its line's time is three hours.
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let down = peer(Certificate::Good, move |_, stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        drop(stream);
    });
    let up = peer(Certificate::Good, |_, mut stream| count(&mut stream, |_| false));
    let mut up = line(&announced("localhost", &up));
    let mut down = line(&announced("localhost", &down));
    let three_hours = down.ms + 3 * 3_600_000;
    while down.ms < three_hours {
        // Wherever the lone line has to wait for a dial thread, its time waits with it.
        if down.turn() == Read::Idle {
            down.ms += 200;
            sleep(Duration::from_micros(20));
        }
        up.turn();
    }
    wait(&mut up, |line| line.heard > 100);
    assert_eq!(up.states()[..2], [Connecting, Live]);
    assert!(up.states().iter().all(|state| *state != Down) && is_whole(&up.frames));
    let calls = calls.load(Ordering::SeqCst);
    assert!((200..=3_600).contains(&calls), "{calls} calls in three hours");
    let said = down.changes.iter().filter(|change| change.state == Down).count();
    assert!(said <= calls, "said {said} times that it is down, of {calls} calls");
}

/// A network of its own whose names are resolved by a test.
struct Net(String);

impl Net {
    fn new() -> Option<Self> {
        let net = Self(format!("fsk-{}-dns", std::process::id()));
        if !works(&["ip", "netns", "add", &net.0]) {
            return None;
        }
        works(&["ip", "-n", &net.0, "link", "set", "lo", "up"]);
        let names = format!("/etc/netns/{}", net.0);
        std::fs::create_dir_all(&names).unwrap();
        std::fs::write(format!("{names}/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        Some(net)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(format!("/etc/netns/{}", self.0)));
        works(&["ip", "netns", "del", &self.0]);
    }
}

#[test]
fn f24_a_resolver_that_hangs_fails_or_changes_its_mind_holds_nobody_up() {
    if role().is_some() {
        resolve();
        return println!("\nresolved well");
    }
    let Some(net) = Net::new() else { return };
    let test = "f24_a_resolver_that_hangs_fails_or_changes_its_mind_holds_nobody_up";
    let mut other = Other::start(&["ip", "netns", "exec", &net.0], test, "line");
    assert_eq!(other.says("resolved").as_deref(), Some("well"));
    other.finish();
}

/// The states, and the addresses called, of one line while the resolver goes through its moods.
fn resolve() {
    let resolver = Resolver::start();
    let called = Arc::new(Mutex::new(Vec::new()));
    let cut = Arc::new(AtomicBool::new(false));
    let (calls, cutting) = (called.clone(), cut.clone());
    let venue = peer_on("::", Certificate::Good, move |_, mut stream| {
        calls.lock().unwrap().push(stream.sock.local_addr().unwrap().ip().to_canonical());
        count(&mut stream, |_| cutting.swap(false, Ordering::SeqCst));
        reset(&stream);
    });
    let other = peer(Certificate::Good, |_, mut stream| count(&mut stream, |_| false));

    // It hangs: the line waits on a dial thread, and the other line hears.
    let mut hung = line(&announced("venue.test", &other));
    let mut heard = line(&announced("127.0.0.1", &other));
    let began = Instant::now();
    wait(&mut heard, |line| line.heard >= 300);
    hung.turn();
    let mut longest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(1) {
        let before = Instant::now();
        hung.turn();
        longest = longest.max(before.elapsed());
        heard.turn();
    }
    assert_eq!(hung.states(), [Connecting], "it still waits");
    eprintln!("longest turn beside a hanging resolver: {longest:?}");

    // It knows no such name.
    resolver.knows(Some(&[]));
    let mut unknown = line(&announced("venue.test", &venue));
    wait(&mut unknown, |line| line.states().contains(&Down));
    let why = &unknown.changes.last().unwrap().why;
    assert!(why.starts_with("dns: venue.test: "), "{why}");
    unknown.socket_stop();

    // It answers; then it fails, and the last address is called; then it has another; then only v6.
    let mut line = line(&announced("venue.test", &venue));
    for (knows, expected) in [
        (vec!["127.0.0.1"], "127.0.0.1"),
        (vec![], "127.0.0.1"),
        (vec!["127.0.0.2"], "127.0.0.2"),
        (vec!["::1"], "::1"),
    ] {
        let knows: Vec<std::net::IpAddr> = knows.iter().map(|ip| ip.parse().unwrap()).collect();
        resolver.knows(Some(&knows));
        let (before, lives) = (line.heard, live(&line.states()));
        cut.store(lives > 0, Ordering::SeqCst);
        wait(&mut line, |line| live(&line.states()) > lives && line.heard > before + 20);
        assert_eq!(called.lock().unwrap().last().unwrap().to_string(), expected);
        // A connection that was heard for a minute is called again at once.
        line.ms += 70_000;
    }
    assert!(is_whole(&line.frames));
}

fn live(states: &[FeedState]) -> usize {
    states.iter().filter(|state| **state == Live).count()
}
