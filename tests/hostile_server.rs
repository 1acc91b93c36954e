//! Servers that mean no good, or are broken: each is refused in words, none holds up the reader.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod peer;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foreshock::event::FeedState::{Down, Live, Stale};
use foreshock::ingest::dial::{Endpoint, Trust, dial};
use foreshock::ingest::source::{Read, Source};
use peer::{
    Certificate, Stream, agree, agreement, frame, line, line_with, linger, peer, raw_peer, request,
    send, text,
};

/// What a line says about a server that upgrades and then sends `bytes`.
fn verdict_on(bytes: Vec<u8>) -> String {
    let peer = peer(Certificate::Good, move |_, mut stream| {
        agree(&mut stream);
        send(&mut stream, &bytes);
        linger(stream);
    });
    line(&peer).until_state(Down).why
}

#[test]
fn f12_f13_what_is_not_the_protocol_ends_the_line_at_once() {
    let masked = vec![0x81, 0x81, 1, 2, 3, 4, 5];
    let fragmented_ping = frame(0x09, b"x");
    for (what, bytes) in [
        ("garbage", vec![0xff; 64]),
        ("reserved bit", frame(0xc1, b"x")),
        ("masked", masked),
        ("bad opcode", frame(0x83, b"x")),
        ("fragmented ping", fragmented_ping),
        ("continuation of nothing", frame(0x80, b"x")),
        ("bad UTF-8", frame(0x81, &[0xc3, 0x28])),
    ] {
        let why = verdict_on(bytes);
        assert!(why.starts_with("protocol: "), "{what}: {why}");
    }
}

#[test]
fn f10_a_length_beyond_all_memory_is_refused() {
    for claim in [1_u64 << 62, (1 << 63) - 1, u64::MAX] {
        let mut header = vec![0x81, 127];
        header.extend_from_slice(&claim.to_be_bytes());
        let why = verdict_on(header);
        assert!(why.starts_with("too large") || why.starts_with("protocol"), "{claim}: {why}");
    }
}

#[test]
fn f10_a_message_that_grows_without_end_is_refused() {
    let mut bytes = frame(0x01, &[b'a'; 125]);
    (0..9_000).for_each(|_| bytes.extend(frame(0x00, &[b'a'; 125])));
    assert!(verdict_on(bytes).starts_with("too large"));
}

/// Sends `bytes` for ever.
fn flood(mut stream: Stream, bytes: &[u8]) {
    use std::io::Write;
    agree(&mut stream);
    send(&mut stream, &text("{}"));
    while stream.write_all(bytes).is_ok() {}
}

#[test]
fn f9_a_flood_of_empty_fragments_is_cut_and_never_holds_a_turn() {
    let mut bytes = frame(0x01, b"");
    (0..8_000).for_each(|_| bytes.extend(frame(0x00, b"")));
    // A second beginning of a message is an error, so only the first block has one.
    let rest = bytes.split_off(2);
    let peer = peer(Certificate::Good, move |_, mut stream| {
        use std::io::Write;
        agree(&mut stream);
        send(&mut stream, &frame(0x01, b""));
        while stream.write_all(&rest).is_ok() {}
    });
    let mut line = line(&peer);
    let change = line.until_state(Down);
    assert_eq!(change.why, "abuse: 2 MiB without a complete message");
}

#[test]
fn f8_a_flood_of_pings_is_cut() {
    let bytes: Vec<u8> = (0..1_000).flat_map(|_| frame(0x89, b"")).collect();
    let peer = peer(Certificate::Good, move |_, stream| flood(stream, &bytes));
    let change = line(&peer).until_state(Down);
    assert!(change.why.starts_with("abuse: "), "{}", change.why);
}

#[test]
fn f11_good_frames_that_come_byte_by_byte_are_all_read() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        for i in 0..20 {
            for byte in text(&format!("{{\"n\":{i}}}")) {
                send(&mut stream, &[byte]);
            }
        }
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(20);
    assert_eq!(line.frames[19], "{\"n\":19}");
}

#[test]
fn f13_text_split_inside_a_letter_is_one_message() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        let mut bytes = frame(0x01, &[b'{', 0xe5, 0xb8]);
        bytes.extend(frame(0x80, &[0x81, b'}']));
        send(&mut stream, &bytes);
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(1);
    assert_eq!(line.frames, ["{\u{5e01}}"]);
}

#[test]
fn f11_bytes_that_never_finish_a_message_are_silence() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        use std::io::Write;
        agree(&mut stream);
        send(&mut stream, &text("{}"));
        // A frame of 16 KiB whose bytes keep coming, one at a time.
        send(&mut stream, &[0x81, 126, 0x40, 0]);
        while stream.write_all(b"a").and_then(|()| stream.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut line = line(&peer);
    line.until_frames(1);
    line.until(100, |line| line.states().contains(&Stale));
}

#[test]
fn f25_a_flapping_server_is_called_at_a_distance() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let peer = peer(Certificate::Good, move |_, mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        agree(&mut stream);
        send(&mut stream, &text("{}"));
        socket2::SockRef::from(&stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut line = line(&peer);
    line.until(10, |_| calls.load(Ordering::SeqCst) >= 2);
    let from = line.ms;
    line.until(10, |_| calls.load(Ordering::SeqCst) >= 6);
    assert!(line.ms - from >= 3_000, "{}", line.ms - from);
}

/// What dialling a server says that talks plain TCP where TLS is due.
fn refusal_of(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> String {
    let port = raw_peer(script);
    let endpoint = Endpoint::parse(&format!("wss://localhost:{port}/x")).unwrap();
    dial(&endpoint, None, 0, &Trust::new(None).unwrap()).expect_err("no connection").why
}

#[test]
fn f19_what_is_not_tls_is_refused() {
    let plain = refusal_of(|_, mut tcp| {
        send(&mut tcp, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        linger(tcp);
    });
    assert!(plain.contains("does not speak TLS"), "{plain}");
    let hung_up = refusal_of(|_, tcp| drop(tcp));
    assert!(hung_up.starts_with("tls: "), "{hung_up}");
    let half = refusal_of(|_, mut tcp| send(&mut tcp, &[0x16, 3, 3, 0, 80, 2]));
    assert!(half.starts_with("tls: "), "{half}");
}

#[test]
fn f18_a_server_that_drips_its_answer_gains_no_time() {
    for silent in [true, false] {
        let why = {
            let port = raw_peer(move |_, mut tcp| {
                use std::io::Write;
                let request = request(&mut tcp);
                if silent {
                    return linger(tcp);
                }
                for byte in agreement(&request, "X-Padding: ............................\r\n") {
                    std::thread::sleep(Duration::from_millis(200));
                    if tcp.write_all(&[byte]).is_err() {
                        return;
                    }
                }
            });
            let endpoint = Endpoint::parse(&format!("ws://localhost:{port}/x")).unwrap();
            dial(&endpoint, None, 0, &Trust::new(None).unwrap()).expect_err("no connection").why
        };
        assert_eq!(why, "upgrade: no answer in time");
    }
}

#[test]
fn f18_an_upgrade_that_is_not_one_is_refused() {
    for (what, head) in [
        ("wrong accept", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n".to_owned()),
        ("endless headers", format!("HTTP/1.1 101 X\r\n{}", "X-A: b\r\n".repeat(20_000))),
        ("not http", "hello\r\n\r\n".to_owned()),
        ("200", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
    ] {
        let peer = peer(Certificate::Good, move |_, mut stream| {
            request(&mut stream);
            send(&mut stream, head.as_bytes());
            linger(stream);
        });
        let why = line(&peer).until_state(Down).why;
        assert!(why.starts_with("upgrade: ") || why.starts_with("http 200"), "{what}: {why}");
    }
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
