//! Servers that mean no good, or are broken: each is refused in words, none holds up the reader.
//!
//! [`peer::behaviours`] says what they do. Each behaviour is met over ws and over wss where that makes
//! sense; `cargo test --test hostile_server table -- --nocapture` prints them all.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod peer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use foreshock::event::FeedState::{Down, Live};
use foreshock::ingest::dial::{Endpoint, Trust, dial};
use foreshock::ingest::source::{Read, Source};
use peer::behaviours::{BEHAVIOURS, Behaviour};
use peer::{Certificate, agree, line, line_with, linger, peer, raw_peer, reset, send, text};

/// Behaviours that are met at the same time.
const AT_ONCE: usize = 12;

/// Lets a line meet every behaviour that stands for one of `faults`.
fn meet(faults: &[&str]) {
    let stands = |b: &&Behaviour| b.faults.split(' ').any(|fault| faults.contains(&fault));
    let meetings: Vec<_> = BEHAVIOURS
        .iter()
        .filter(stands)
        .flat_map(|behaviour| behaviour.carriers().iter().map(move |tls| (behaviour, *tls)))
        .collect();
    let mut wrong = Vec::new();
    for some in meetings.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let meet =
                |&(b, tls): &(&'static Behaviour, bool)| scope.spawn(move || b.meet(&b.serve(tls)));
            let met: Vec<_> = some.iter().map(meet).collect();
            wrong.extend(met.into_iter().filter_map(|met| met.join().unwrap().err()));
        });
    }
    assert!(!meetings.is_empty() && wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn f1_an_end_without_a_word_is_a_reset() {
    meet(&["F1"]);
}

#[test]
fn f2_f3_silence_is_stale() {
    meet(&["F2", "F3"]);
}

#[test]
fn f4_f6_f23_what_is_alive_is_not_what_is_heard() {
    meet(&["F4", "F6", "F23"]);
}

#[test]
fn f8_f9_floods_of_what_is_no_message_are_cut() {
    meet(&["F8", "F9"]);
}

#[test]
fn f10_what_is_too_large_is_refused_from_its_header() {
    meet(&["F10"]);
}

#[test]
fn f11_progress_is_messages_and_not_bytes() {
    meet(&["F11"]);
}

#[test]
fn f12_f13_what_is_not_the_protocol_ends_the_line_at_once() {
    meet(&["F12", "F13"]);
}

#[test]
fn f14_f15_f16_f17_what_was_not_asked_for_is_refused_and_never_followed() {
    meet(&["F14", "F15", "F16", "F17"]);
}

#[test]
fn f18_an_upgrade_that_is_not_one_is_refused_in_time() {
    meet(&["F18"]);
}

#[test]
fn f19_f20_what_is_not_tls_or_not_to_be_trusted_is_refused() {
    meet(&["F19", "F20"]);
}

#[test]
fn f21_a_goodbye_ends_the_line_in_the_words_of_the_venue() {
    meet(&["F21"]);
}

#[test]
fn d10_a_burst_is_heard_to_its_last_message() {
    meet(&["D10"]);
}

#[test]
fn the_table_has_sixty_behaviours_and_each_is_met() {
    let met = include_str!("hostile_server.rs");
    for Behaviour { name, faults, does, expect, .. } in BEHAVIOURS {
        println!("{name:22} {faults:8} {does}: {expect:?}");
        let is_met = faults.split(' ').any(|fault| met.contains(&format!("\"{fault}\"")));
        assert!(is_met, "{name} is never met");
    }
    let names: BTreeSet<_> = BEHAVIOURS.iter().map(|behaviour| behaviour.name).collect();
    let meetings: usize = BEHAVIOURS.iter().map(|behaviour| behaviour.carriers().len()).sum();
    println!("{} behaviours, {meetings} meetings", names.len());
    assert_eq!(names.len(), BEHAVIOURS.len(), "a name twice");
    assert!(names.len() >= 60);
}

#[test]
fn f25_a_flapping_server_is_called_at_a_distance() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let peer = peer(Certificate::Good, move |_, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        agree(&mut stream);
        send(&mut stream, &text("{}"));
        reset(&stream);
    });
    let mut line = line(&peer);
    line.until(10, |_| calls.load(Ordering::SeqCst) >= 2);
    let from = line.ms;
    line.until(10, |_| calls.load(Ordering::SeqCst) >= 6);
    assert!(line.ms - from >= 3_000, "{}", line.ms - from);
}

#[test]
fn f18_the_upgrade_has_one_deadline_for_all_of_its_bytes() {
    let drip = BEHAVIOURS.iter().find(|behaviour| behaviour.name == "drip").unwrap();
    let peer::behaviours::Act::Web(act) = drip.act else { panic!("drip is for ws") };
    let port = raw_peer(move |_, mut tcp| act(&mut tcp));
    let endpoint = Endpoint::parse(&format!("ws://localhost:{port}/x")).unwrap();
    let refusal = dial(&endpoint, None, 0, &Trust::new(None).unwrap()).expect_err("no connection");
    assert_eq!(refusal.why, "upgrade: no answer in time");
}

#[test]
fn f24_a_dial_that_hangs_does_not_hold_up_a_turn() {
    let port = raw_peer(|_, tcp| linger(tcp));
    let mut line = line_with(&format!("ws://127.0.0.1:{port}/x"), None);
    // Ten turns pass while the dial thread waits for an answer that takes three seconds not to come.
    for _ in 0..10 {
        assert_eq!(line.turn(), Read::Idle);
    }
    assert!(!line.states().contains(&Down) && !line.states().contains(&Live));
    line.socket.stop();
}
