//! What an attack may cost in memory: two megabytes. One test, so that nothing else allocates meanwhile.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod peer;

use std::io::Write;
use std::time::Duration;

use foreshock::event::FeedState;
use peer::{Certificate, Stream, agree, frame, line, linger, peer, send, text};

/// An attack: what the server does after the upgrade.
type Attack = fn(&mut Stream);

fn ping_flood_without_reading(stream: &mut Stream) {
    let pings: Vec<u8> = (0..500).flat_map(|_| frame(0x89, &[b'p'; 120])).collect();
    while stream.write_all(&pings).is_ok() {}
}

fn a_claim_of_2_to_the_62(stream: &mut Stream) {
    let mut header = vec![0x81, 127];
    header.extend_from_slice(&(1_u64 << 62).to_be_bytes());
    send(stream, &header);
}

fn sixteen_megabytes_in_one_frame(stream: &mut Stream) {
    let mut header = vec![0x81, 127];
    header.extend_from_slice(&(16_u64 << 20).to_be_bytes());
    send(stream, &header);
    while stream.write_all(&[b'a'; 4_096]).is_ok() {}
}

fn fragments_without_end(stream: &mut Stream) {
    send(stream, &frame(0x01, &[b'a'; 125]));
    let rest: Vec<u8> = (0..30).flat_map(|_| frame(0x00, &[b'a'; 125])).collect();
    while stream.write_all(&rest).is_ok() {}
}

fn empty_fragments_without_end(stream: &mut Stream) {
    send(stream, &frame(0x01, b""));
    let rest: Vec<u8> = (0..2_000).flat_map(|_| frame(0x00, b"")).collect();
    while stream.write_all(&rest).is_ok() {}
}

fn a_goodbye_of_control_characters(stream: &mut Stream) {
    let mut reason = vec![0x03, 0xf4];
    reason.extend_from_slice("\n\u{1b}[31m evil".as_bytes());
    send(stream, &frame(0x88, &reason));
}

const ATTACKS: [(&str, Attack); 6] = [
    ("f8 ping-flood-noread", ping_flood_without_reading),
    ("f10 claim-2^62", a_claim_of_2_to_the_62),
    ("f10 16mb", sixteen_megabytes_in_one_frame),
    ("f10 frag-16mb", fragments_without_end),
    ("f9 empty-frag-flood", empty_fragments_without_end),
    ("s1 close-evil", a_goodbye_of_control_characters),
];

/// Resident memory of this process, bytes.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * 4_096)
}

/// Lets one line suffer one attack until it is cut.
fn suffer(attack: Attack) {
    let peer = peer(Certificate::Good, move |_, mut stream| {
        agree(&mut stream);
        send(&mut stream, &text("{}"));
        attack(&mut stream);
        linger(stream);
    });
    let mut line = line(&peer);
    let change = line.until_state(FeedState::Down);
    assert!(!change.why.chars().any(char::is_control), "{:?}", change.why);
    line.socket_stop();
}

#[test]
fn no_attack_costs_two_megabytes() {
    let Some(_) = resident() else {
        eprintln!("skipped: no /proc/self/statm here");
        return;
    };
    // The first connections warm up what is made once: TLS, threads, the allocator.
    for (_, attack) in ATTACKS {
        suffer(attack);
    }
    for (name, attack) in ATTACKS {
        std::thread::sleep(Duration::from_millis(50));
        let before = resident().unwrap();
        suffer(attack);
        let grown = resident().unwrap().saturating_sub(before);
        eprintln!("{name}: {} KiB", grown >> 10);
        assert!(grown <= 2 << 20, "{name}: {grown} bytes");
    }
}
