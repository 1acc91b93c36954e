//! What a message costs in system calls: one read, and the polls between messages; nothing else.
//!
//! A child process hears messages that come one by one, over ws and over wss, under strace, which counts. What is
//! called before the first message and after the last one is told apart by a call that nothing else makes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/child.rs"]
mod child;
mod peer;

use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use child::{Other, role};
use foreshock::event::FeedState::Live;
use peer::{Certificate, agree, hear, line_with, peer, raw_peer, text};

const MESSAGES: usize = 300;
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

fn traced(url: &str, ca_pem: Option<&str>) -> BTreeMap<String, usize> {
    let name = "a_message_costs_one_read_and_nothing_else_but_polls";
    let trace = std::env::temp_dir().join(format!("fsk-calls-{}.txt", std::process::id()));
    let strace = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
    let said = format!("hear {url} {}", ca_pem.unwrap_or_default().escape_default());
    let mut other = Other::start(&strace, name, &said);
    while other.said.next().is_some() {}
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(trace).unwrap();
    between_marks(&text)
}

#[test]
fn a_message_costs_one_read_and_nothing_else_but_polls() {
    if let Some(role) = role() {
        let mut words = role.splitn(3, ' ').skip(1);
        let (url, pem) = (words.next().unwrap(), words.next().unwrap().replace("\\n", "\n"));
        return hear_all(url, (!pem.is_empty()).then_some(pem.as_str()));
    }
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: no strace");
        return;
    }
    let plain = raw_peer(|_, mut tcp| serve(&mut tcp));
    let tls = peer(Certificate::Good, |_, mut stream| serve(&mut stream));
    for (url, ca_pem) in [
        (format!("ws://localhost:{plain}/x"), None),
        (format!("wss://localhost:{}/x", tls.port), Some(tls.ca_pem.as_str())),
    ] {
        let mut calls = traced(&url, ca_pem);
        println!("{url}: {MESSAGES} messages, {calls:?}");
        let reads = calls.remove("recvmsg").unwrap_or(0);
        // Fewer where we were kept from running, and found several.
        assert!((MESSAGES / 2..=MESSAGES).contains(&reads), "{url}: {reads} reads");
        assert!(calls.remove("epoll_wait").unwrap_or(0) >= reads);
        assert!(calls.is_empty(), "{url}: {calls:?}");
    }
}
