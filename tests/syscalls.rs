//! What a message costs in system calls: one read, and the polls between messages; nothing else. And what a
//! turn costs a reader that has nothing to read: one poll, however many lines it has.
//!
//! A child process hears messages that come one by one, over ws and over wss, under strace, which counts. What is
//! called before the first message and after the last one is told apart by a call that nothing else makes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/child.rs"]
mod child;
mod peer;
#[path = "support/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use child::{Other, role, works};
use foreshock::event::FeedState::Live;
use foreshock::ingest::intake::Intake;
use foreshock::ingest::reader::Reader;
use foreshock::ingest::source::Source;
use foreshock::ledger::Counts;
use foreshock::ring::ring;
use foreshock::stage::Stage as _;
use foreshock::time::{Nanos, Now};
use peer::{Certificate, agree, hear, line_with, linger, peer, raw_peer, text};
use scratch::Scratch;

const MESSAGES: usize = 300;
/// Lines that say nothing, beside the one that speaks.
const MUTE: usize = 7;
/// Between two messages: each is read alone.
const APART: Duration = Duration::from_millis(2);

/// Hears the messages of `url`; what it does in between is marked by a call on its own.
fn hear_all(url: &str, ca_pem: Option<&str>) {
    let mut line = line_with(url, ca_pem);
    line.until(1, |line| line.states().last() == Some(&Live) && line.heard > 50);
    mark();
    let from = line.heard;
    while line.heard < from + MESSAGES {
        line.turn();
    }
    mark();
}

/// Hears the messages of `url` among lines that say nothing, as a reader does; tells its turns.
fn hear_among(url: &str, mute: &str) {
    let urls = std::iter::once(url).chain(std::iter::repeat_n(mute, MUTE));
    let sources: Vec<Box<dyn Source>> =
        urls.map(|url| Box::new(line_with(url, None).socket) as Box<dyn Source>).collect();
    let (outlet, mut inlet) = ring(1_024);
    let (notices, _changes) = crossbeam_channel::bounded(64);
    let clock = Box::new(|| Nanos(0));
    let mut reader = Reader::new(sources, Intake::new(10_000), outlet, clock, notices);
    let began = Instant::now();
    let mut frames = |turns: &mut u64, more: u64| {
        let mut counts = Counts::default();
        reader.count(&mut counts);
        let enough = counts.get("frames") + more;
        while counts.get("frames") < enough {
            let ms = 1_000_000 + i64::try_from(began.elapsed().as_millis()).unwrap();
            reader.turn(Now::at_millis(ms));
            while inlet.pop().is_some() {}
            *turns += 1;
            if turns.is_multiple_of(16) {
                counts.clear();
                reader.count(&mut counts);
            }
        }
    };
    frames(&mut 0, 300);
    let mut turns = 0;
    mark();
    frames(&mut turns, MESSAGES as u64);
    mark();
    println!("\nturns {turns}");
}

/// A system call that nothing else makes.
fn mark() {
    drop(std::fs::metadata("/foreshock-mark"));
}

fn says(n: usize) -> Vec<u8> {
    text(&format!("{{{n}"))
}

fn serve(stream: &mut (impl std::io::Read + std::io::Write)) {
    agree(stream);
    drop((hear(stream), hear(stream)));
    let mut messages = (0..).map(says);
    while messages.next().is_some_and(|message| stream.write_all(&message).is_ok()) {
        sleep(APART);
    }
}

/// Calls of the thread that made the marks, between them, by name.
fn between_marks(trace: &str) -> BTreeMap<String, usize> {
    let thread_of = |line: &str| line.split_whitespace().next().unwrap_or("").to_owned();
    let mark = |line: &&str| line.contains("/foreshock-mark");
    let who = thread_of(trace.lines().find(mark).expect("a mark"));
    let own = trace.lines().filter(|line| thread_of(line) == who);
    let calls = own.skip_while(|line| !mark(line)).skip(1).take_while(|line| !mark(line));
    let mut counts = BTreeMap::new();
    for call in calls {
        let call = call.split_once(' ').map_or("", |(_, call)| call.trim_start());
        if let Some((name, _)) = call.split_once('(') {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// The calls of a child with that role, and the turns that it told of.
fn traced(test: &str, role: &str) -> (BTreeMap<String, usize>, Option<usize>) {
    let scratch = Scratch::new("calls");
    let trace = scratch.path().join("trace");
    let strace = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
    let mut other = Other::start(&strace, test, role);
    let turns = other.says("turns").and_then(|n| n.parse().ok());
    other.finish();
    (between_marks(&std::fs::read_to_string(&trace).unwrap()), turns)
}

fn is_skipped() -> bool {
    !works(&["strace", "-o", "/dev/null", "true"])
}

#[test]
fn a_message_costs_one_read_and_nothing_else_but_polls() {
    let test = "a_message_costs_one_read_and_nothing_else_but_polls";
    if let Some(role) = role() {
        let (url, pem) = role.split_once(' ').unwrap();
        let pem = pem.replace("\\n", "\n");
        return hear_all(url, (!pem.is_empty()).then_some(pem.as_str()));
    }
    if is_skipped() {
        return;
    }
    let plain = raw_peer(|_, mut tcp| serve(&mut tcp));
    let tls = peer(Certificate::Good, |_, mut stream| serve(&mut stream));
    for role in [
        format!("ws://localhost:{plain}/x "),
        format!("wss://localhost:{}/x {}", tls.port, tls.ca_pem.escape_default()),
    ] {
        let (mut calls, _) = traced(test, &role);
        let url = role.split(' ').next().unwrap();
        println!("{url}: {MESSAGES} messages, {calls:?}");
        let reads = calls.remove("recvmsg").unwrap_or(0);
        // Fewer where we were kept from running, and found several.
        assert!((MESSAGES / 2..=MESSAGES).contains(&reads), "{url}: {reads} reads");
        assert!(calls.remove("epoll_wait").unwrap_or(0) >= reads);
        assert!(calls.is_empty(), "{url}: {calls:?}");
    }
}

#[test]
fn a_turn_costs_one_poll_however_many_lines_there_are() {
    let test = "a_turn_costs_one_poll_however_many_lines_there_are";
    if let Some(role) = role() {
        let (url, mute) = role.split_once(' ').unwrap();
        return hear_among(url, mute);
    }
    if is_skipped() {
        return;
    }
    let speaks = raw_peer(|_, mut tcp| serve(&mut tcp));
    let mute = raw_peer(|_, mut tcp| {
        agree(&mut tcp);
        linger(tcp);
    });
    let role = format!("ws://localhost:{speaks}/x ws://localhost:{mute}/x");
    let (mut calls, turns) = traced(test, &role);
    let turns = turns.unwrap();
    println!("{} lines, {MESSAGES} messages, {turns} turns, {calls:?}", MUTE + 1);
    let polls = calls.remove("epoll_wait").unwrap();
    assert!(turns > MESSAGES && polls <= turns + 2 * MESSAGES, "{polls} polls in {turns} turns");
    assert!(calls.remove("recvmsg").unwrap_or(0) <= MESSAGES + 20);
    // The lines' own pings.
    calls.remove("sendto");
    assert!(calls.is_empty(), "{calls:?}");
}
