//! A live line against a peer that does exactly what the test says. Time is the test's own.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod peer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshock::event::FeedState::{Blocked, Connecting, Down, Live, Stale, Suspect};
use foreshock::ingest::exchange::Listing;
use foreshock::ingest::line::Plan;
use foreshock::ingest::rest::Rest;
use foreshock::ingest::source::{Read, Source};
use foreshock::ledger::Ledger;
use foreshock::time::NS_PER_MS;
use peer::{
    Certificate, agree, agreement, frame, hear, line, line_with, linger, peer, request, send, text,
};

#[test]
fn frames_arrive_in_order_after_the_subscriptions() {
    let (heard, hearing) = channel();
    let peer = peer(Certificate::Good, move |_, mut stream| {
        agree(&mut stream);
        for _ in 0..2 {
            heard.send(hear(&mut stream).unwrap()).unwrap();
        }
        (0..500).for_each(|i| send(&mut stream, &text(&format!("{{{i}}}"))));
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(500);
    let expected: Vec<String> = (0..500).map(|i| format!("{{{i}}}")).collect();
    assert_eq!(line.frames, expected);
    let said: Vec<_> = hearing.try_iter().map(|(_, payload)| payload).collect();
    assert_eq!(said, [b"subscribe-a".to_vec(), b"subscribe-b".to_vec()]);
    assert_eq!(line.states(), [Connecting, Live]);
}

#[test]
fn frames_that_come_with_the_upgrade_are_not_lost() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        let request = request(&mut stream);
        let mut bytes = agreement(&request, "");
        (0..3).for_each(|i| bytes.extend(text(&format!("{{{i}}}"))));
        send(&mut stream, &bytes);
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(3);
    assert_eq!(line.frames, ["{0}", "{1}", "{2}"]);
}

#[test]
fn no_more_frames_are_given_than_were_asked_for() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        let many: Vec<u8> = (0..1_000).flat_map(|_| text("{}")).collect();
        send(&mut stream, &many);
        linger(stream);
    });
    let mut line = line(&peer);
    let mut largest = 0;
    while line.frames.len() < 1_000 {
        let before = line.frames.len();
        line.until_frames(before + 1);
        largest = largest.max(line.frames.len() - before);
    }
    assert_eq!(largest, 64);
}

#[test]
fn f7_heartbeats_go_out_and_pings_are_answered() {
    let (heard, hearing) = channel();
    let peer = peer(Certificate::Good, move |_, mut stream| {
        agree(&mut stream);
        send(&mut stream, &frame(0x89, b"are you there"));
        send(&mut stream, &text("{}"));
        while let Some(frame) = hear(&mut stream) {
            if frame.1 == b"ping" {
                send(&mut stream, &text("pong"));
            }
            heard.send(frame).unwrap();
        }
    });
    let mut line = line(&peer);
    line.until_frames(1);
    line.until(10, |line| line.frames.iter().filter(|f| *f == "pong").count() >= 3);
    let said: Vec<_> = hearing.try_iter().collect();
    assert!(said.contains(&(0x8a, b"are you there".to_vec())), "{said:?}");
    assert!(said.iter().filter(|(kind, p)| *kind == 0x81 && p == b"ping").count() >= 3);
}

#[test]
fn f1_a_reset_line_is_called_again_and_subscribes_again() {
    let (heard, hearing) = channel();
    let peer = peer(Certificate::Good, move |n, mut stream| {
        agree(&mut stream);
        heard.send((n, hear(&mut stream).unwrap().1)).unwrap();
        send(&mut stream, &text(&format!("{{{n}}}")));
        if n == 0 {
            std::thread::sleep(Duration::from_millis(30));
            socket2::SockRef::from(&stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
        } else {
            linger(stream);
        }
    });
    let mut line = line(&peer);
    line.until_frames(2);
    assert_eq!(line.frames, ["{0}", "{1}"]);
    assert_eq!(line.states(), [Connecting, Live, Down, Connecting, Live]);
    assert_eq!(line.changes[2].why, "connection reset");
    let said: Vec<_> = hearing.try_iter().collect();
    assert_eq!(said, [(0, b"subscribe-a".to_vec()), (1, b"subscribe-a".to_vec())]);
    let mut ledger = Ledger::default();
    line.socket.ledger(&mut ledger);
    assert_eq!(ledger.get("line_opened{okx/public}"), 2);
    assert_eq!(ledger.get("line_lost{reset}"), 1);
}

#[test]
fn f19_f20_certificates_that_do_not_fit_are_refused_in_words() {
    for (certificate, trusted, words) in [
        (Certificate::Good, false, "authority that is not trusted"),
        (Certificate::OtherHost, true, "for another host than localhost"),
        (Certificate::Expired, true, "expired on 2020-02-03"),
        (Certificate::Expired, true, "check its clock"),
        (Certificate::Future, true, "begins on 2999-02-03"),
    ] {
        let peer = peer(certificate, |_, mut stream| drop(request(&mut stream)));
        let url = format!("wss://localhost:{}/x", peer.port);
        let mut line = line_with(&url, trusted.then_some(peer.ca_pem.as_str()));
        let change = line.until_state(Down);
        assert!(change.why.starts_with("tls: ") && change.why.contains(words), "{}", change.why);
    }
}

#[test]
fn f15_f16_f17_a_venue_that_refuses_is_left_alone_for_as_long_as_it_must_be() {
    for (status, more, state, code, wait_s, words) in [
        ("403 Forbidden", "", Blocked, 403, 300, "http 403"),
        ("451 Unavailable", "", Blocked, 451, 300, "(region)"),
        ("429 Too Many", "Retry-After: 700\r\n", Blocked, 429, 700, "too many"),
        ("418 Teapot", "Retry-After: 99999\r\n", Blocked, 418, 3_600, "banned"),
        // As a date, by the server's own clock.
        (
            "429 Too Many",
            "Date: Fri, 10 Oct 2025 21:00:00 GMT\r\nRetry-After: Fri, 10 Oct 2025 21:11:40 GMT\r\n",
            Blocked,
            429,
            700,
            "too many",
        ),
        ("503 Unwell", "", Down, 503, 0, "unwell"),
        ("301 Moved", "Location: wss://elsewhere/\r\n", Down, 301, 0, "redirect refused"),
    ] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let peer = peer(Certificate::Good, move |_, mut stream| {
            request(&mut stream);
            counted.fetch_add(1, Ordering::SeqCst);
            let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n");
            send(&mut stream, head.as_bytes());
            linger(stream);
        });
        let mut line = line(&peer);
        let change = line.until_state(state);
        assert_eq!(change.code, code);
        assert!(change.why.contains(words), "{}", change.why);
        let refused_at = line.ms;
        line.ms += (wait_s * 1_000 - 500).max(0);
        if wait_s > 0 {
            for _ in 0..50 {
                line.turn();
            }
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(calls.load(Ordering::SeqCst), 1, "{status}: called too early");
        }
        line.until(10, |_| calls.load(Ordering::SeqCst) >= 2);
        assert!(line.ms - refused_at <= (wait_s + 5) * 1_000, "{status}: called too late");
    }
}

#[test]
fn f25_nobody_there_is_said_and_tried_again_at_a_growing_distance() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut line = line_with(&format!("wss://127.0.0.1:{port}/x"), None);
    let change = line.until_state(Down);
    assert!(change.why.contains("connection refused"), "{}", change.why);
    let refused = |line: &peer::Driven| {
        let mut ledger = Ledger::default();
        line.socket.ledger(&mut ledger);
        ledger.get("line_refused{okx/public}")
    };
    let from = line.ms;
    line.until(100, |line| refused(line) >= 8);
    // At once, and then six waits of at least a second.
    assert!(line.ms - from >= 6_000, "{}", line.ms - from);
    assert_eq!(line.states(), [Connecting, Down], "one report is enough");
}

#[test]
fn f12_f14_an_extension_that_was_not_asked_for_is_refused() {
    let asked = Arc::new(Mutex::new(String::new()));
    let heard = asked.clone();
    let peer = peer(Certificate::Good, move |_, mut stream| {
        let request = request(&mut stream);
        let more = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        send(&mut stream, &agreement(&request, more));
        *heard.lock().unwrap() = request;
        linger(stream);
    });
    let change = line(&peer).until_state(Down);
    assert!(change.why.contains("permessage-deflate"), "{}", change.why);
    assert!(!asked.lock().unwrap().to_lowercase().contains("extensions"), "we offer none");
}

#[test]
fn f10_a_frame_that_is_too_large_is_refused_from_its_header() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        let mut header = vec![0x81, 127];
        header.extend_from_slice(&(1_u64 << 20).saturating_add(1).to_be_bytes());
        send(&mut stream, &header);
        linger(stream);
    });
    let change = line(&peer).until_state(Down);
    assert!(change.why.contains("too large"), "{}", change.why);
}

#[test]
fn f21_a_close_frame_is_answered_and_the_line_called_again() {
    let (heard, hearing) = channel();
    let peer = peer(Certificate::Good, move |n, mut stream| {
        agree(&mut stream);
        send(&mut stream, &text(&format!("{{{n}}}")));
        if n == 0 {
            send(&mut stream, &frame(0x88, &[0x03, 0xf4, b'b', b'y', b'e']));
        }
        while let Some(frame) = hear(&mut stream) {
            if frame.0 == 0x88 {
                heard.send((n, frame.1)).unwrap();
            }
        }
    });
    // The peer leaves its socket open after the goodbye: our own deadline ends it.
    let mut line = line(&peer);
    line.until_frames(2);
    assert_eq!(hearing.recv().unwrap(), (0, vec![0x03, 0xf4, b'b', b'y', b'e']));
    assert_eq!(line.states(), [Connecting, Live, Down, Connecting, Live]);
    assert_eq!(line.changes[2].why, "closed by the venue 1012 bye");
}

#[test]
fn f2_silence_is_stale_and_the_line_is_called_again() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        send(&mut stream, &text("{}"));
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(1);
    let quiet_since = line.ms;
    line.until(100, |line| line.states().contains(&Stale));
    let after = line.ms - quiet_since;
    assert!((15_000..15_500).contains(&after), "{after}");
    line.until(100, |line| line.frames.len() >= 2);
}

#[test]
fn f4_an_acknowledgement_is_not_life() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        (0..10).for_each(|_| send(&mut stream, &text("pong")));
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(10);
    assert_eq!(line.states(), [Connecting]);
}

#[test]
fn f23_a_refused_subscription_is_reported() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        send(&mut stream, &text("{}"));
        send(&mut stream, &text("refused"));
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(2);
    let last = line.changes.last().unwrap();
    assert_eq!((last.state, last.why.as_str()), (Live, "refused: refused"));
}

#[test]
fn f22_a_line_that_will_be_closed_is_replaced_while_it_runs() {
    let peer = peer(Certificate::Good, |n, mut stream| {
        agree(&mut stream);
        send(&mut stream, &text(&format!("{{{n}}}")));
        if n == 0 {
            send(&mut stream, &text("closing"));
        }
        linger(stream);
    });
    let mut line = line(&peer);
    line.until_frames(3);
    assert_eq!(line.frames, ["{0}", "closing", "{1}"]);
    assert_eq!(line.states(), [Connecting, Live], "the user sees nothing");
}

#[test]
fn a_stopped_line_says_goodbye_and_ends() {
    let (heard, hearing) = channel();
    let peer = peer(Certificate::Good, move |_, mut stream| {
        agree(&mut stream);
        send(&mut stream, &text("{}"));
        while let Some(frame) = hear(&mut stream) {
            heard.send(frame.0).unwrap();
        }
        heard.send(0).unwrap();
    });
    let mut line = line(&peer);
    line.until_frames(1);
    line.socket.stop();
    assert_eq!(line.turn(), Read::Ended);
    drop(line);
    let said: Vec<_> = hearing.iter().take_while(|kind| *kind != 0).collect();
    assert_eq!(said.last(), Some(&0x88), "{said:?}");
}

#[test]
fn rest_gives_bytes_or_one_clear_line() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        let request = request(&mut stream);
        let (status, more, body) = match request.split(' ').nth(1).unwrap() {
            "/okx/good?x=1" => ("200 OK", "", "[1]"),
            "/okx/moved?x=1" => ("302 Found", "Location: /okx/good?x=1\r\n", ""),
            _ => ("451 No", "", ""),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}");
        send(&mut stream, head.as_bytes());
        linger(stream);
    });
    let base = format!("https://localhost:{}/okx", peer.port);
    let ask = |rest: &Rest, url| rest.fetch(&Listing { url, body: None }, Some(&base));
    let rest = Rest::new(Some(peer.ca_pem.as_bytes())).unwrap();
    assert_eq!(ask(&rest, "https://www.okx.com/good?x=1"), Ok(b"[1]".to_vec()));
    let moved = ask(&rest, "https://www.okx.com/moved?x=1").unwrap_err();
    assert!(moved.contains("http 302 (redirect refused)"), "{moved}");
    let refused = ask(&rest, "https://www.okx.com/no").unwrap_err();
    assert!(refused.contains("http 451 (region)"), "{refused}");
    let strangers = ask(&Rest::new(None).unwrap(), "https://www.okx.com/good?x=1").unwrap_err();
    assert!(strangers.contains("certificate"), "{strangers}");
}

/// A line that waits no longer than a real one for silence, and whose venue acknowledges.
fn strict(peer: &peer::Peer) -> peer::Driven {
    let limits = Plan { dead_ns: 4_500 * NS_PER_MS, canary_ns: 4_500 * NS_PER_MS, ..peer::plan() };
    peer::line_of(limits, &format!("wss://localhost:{}/x", peer.port), Some(&peer.ca_pem))
}

/// Answers every frame: subscriptions with `ack`, heartbeats with `pong`.
fn answer_all(stream: &mut peer::Stream) {
    while let Some((_, said)) = hear(stream) {
        send(stream, &text(if said == b"ping" { "pong" } else { "ack" }));
    }
}

#[test]
fn f4_a_route_that_is_acknowledged_and_silent_is_suspect_within_5_s_and_never_live() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        answer_all(&mut stream);
    });
    let mut line = strict(&peer);
    line.until(10, |line| line.frames.contains(&"ack".to_owned()));
    let acknowledged = line.ms;
    line.until(10, |line| line.states().contains(&Suspect));
    assert!(line.ms - acknowledged <= 5_000, "{}", line.ms - acknowledged);
    line.until(50, |line| line.changes.iter().any(|c| c.why.contains("is the route dead?")));
    let states = line.states();
    assert_eq!(states, [Connecting, Suspect, Suspect], "{:?}", line.changes);
    assert!(line.changes[1].why.contains("canary missing"), "{}", line.changes[1].why);
}

#[test]
fn f2_f3_a_peer_that_freezes_is_stale_within_5_s() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        for _ in 0..2 {
            hear(&mut stream);
            send(&mut stream, &text("ack"));
        }
        send(&mut stream, &text("{}"));
        // Frozen: nothing is read, nothing said, and the socket stays open.
        std::thread::sleep(Duration::from_secs(20));
    });
    let mut line = strict(&peer);
    line.until_frames(3);
    let frozen = line.ms;
    line.until(10, |line| line.states().contains(&Stale));
    assert!(line.ms - frozen <= 5_000, "{}", line.ms - frozen);
}

#[test]
fn f6_a_peer_that_never_answers_a_ping_is_heard_while_data_flows() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        loop {
            use std::io::Write;
            std::thread::sleep(Duration::from_millis(2));
            let sent = stream.write_all(&text("{}")).and_then(|()| stream.flush());
            if sent.is_err() {
                return;
            }
        }
    });
    let mut line = strict(&peer);
    let from = line.ms;
    line.until(100, |line| line.ms - from > 60_000);
    assert_eq!(line.states()[..2], [Connecting, Live]);
    assert!(!line.states().contains(&Stale) && !line.states().contains(&Down));
}

#[test]
fn f23_a_subscription_that_is_never_acknowledged_ends_the_connection() {
    let peer = peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        while let Some((_, said)) = hear(&mut stream) {
            if said == b"ping" {
                send(&mut stream, &text("pong"));
            }
        }
    });
    let mut line = strict(&peer);
    line.until(10, |line| line.states().contains(&Down));
    assert_eq!(line.changes.last().unwrap().why, "subscribe: no acknowledgement within 5 s");
}

#[test]
fn f23_missing_acknowledgements_are_counted_and_each_refusal_is_said_once() {
    let peer = peer(Certificate::Good, |n, mut stream| {
        agree(&mut stream);
        hear(&mut stream);
        (0..3).for_each(|_| send(&mut stream, &text("refused")));
        loop {
            use std::io::Write;
            std::thread::sleep(Duration::from_millis(2));
            let sent = stream.write_all(&text(&format!("{{{n}}}"))).and_then(|()| stream.flush());
            if sent.is_err() {
                return;
            }
        }
    });
    let plan = Plan { answers: 7, ..peer::plan() };
    let url = format!("wss://localhost:{}/x", peer.port);
    let mut line = peer::line_of(plan, &url, Some(&peer.ca_pem));
    line.until(100, |line| line.changes.iter().any(|c| c.why.contains("not acknowledged")));
    let said: Vec<_> =
        line.changes.iter().map(|c| c.why.as_str()).filter(|w| !w.is_empty()).collect();
    assert_eq!(said, ["refused: refused", "subscribe: 4 of 7 subscriptions were not acknowledged"]);
}

/// Runs a Hyperliquid-like venue that hangs up without a word over the subscription `bad`.
#[test]
fn the_one_subscription_that_closes_the_connection_is_left_out() {
    for bad in ["s0", "s3", "s7"] {
        let peer = peer(Certificate::Good, move |_, mut stream| {
            agree(&mut stream);
            while let Some((_, said)) = hear(&mut stream) {
                if said == bad.as_bytes() {
                    return;
                }
                send(&mut stream, &text("ack"));
                send(&mut stream, &text("{}"));
            }
        });
        let subscriptions: Vec<_> = (0..8).map(|i| format!("s{i}")).collect();
        let plan = Plan { subscriptions, answers: 8, fragile: true, ..peer::plan() };
        let url = format!("wss://localhost:{}/x", peer.port);
        let mut line = peer::line_of(plan, &url, Some(&peer.ca_pem));
        line.until(20, |line| line.changes.iter().any(|c| c.why.contains("left out")));
        let words = line.changes.iter().find(|c| c.why.contains("left out")).unwrap();
        assert!(words.why.ends_with(bad), "{}", words.why);
        // The others are all subscribed to, on a connection that stays.
        let from = line.frames.len();
        line.until(20, |line| line.frames[from..].iter().filter(|f| *f == "ack").count() >= 7);
        let mut ledger = Ledger::default();
        line.socket.ledger(&mut ledger);
        let opened = ledger.get("line_opened{okx/public}");
        assert!(opened <= 5, "{bad}: {opened} connections");
    }
}

#[test]
fn f22_a_planned_change_loses_nothing_and_hears_nothing_twice() {
    let told = Arc::new(AtomicUsize::new(0));
    let counter = told.clone();
    // Both connections carry the same numbered stream; the first announces its end and then ends.
    std::thread::spawn(move || {
        for _ in 0..3_000 {
            std::thread::sleep(Duration::from_millis(1));
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let peer = peer(Certificate::Good, move |n, mut stream| {
        use std::io::Write;
        agree(&mut stream);
        let mut next = told.load(Ordering::SeqCst);
        let began = std::time::Instant::now();
        let mut warned = n > 0;
        loop {
            while next < told.load(Ordering::SeqCst) {
                let frame = text(&format!("{{\"n\":{next}}}"));
                if stream.write_all(&frame).and_then(|()| stream.flush()).is_err() {
                    return;
                }
                next += 1;
            }
            if !warned && began.elapsed() > Duration::from_millis(500) {
                warned = true;
                send(&mut stream, &text("closing"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let url = format!("wss://localhost:{}/x", peer.port);
    let mut line = peer::line_of(Plan { answers: 0, ..peer::plan() }, &url, Some(&peer.ca_pem));
    line.until(10, |line| line.frames.contains(&"{\"n\":2900}".to_owned()));
    let mut numbers: Vec<usize> = line
        .frames
        .iter()
        .filter_map(|frame| frame.strip_prefix("{\"n\":")?.strip_suffix('}')?.parse().ok())
        .collect();
    let (heard, first) = (numbers.len(), numbers[0]);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers[numbers.len() - 1] - first + 1, numbers.len(), "something was missed");
    assert!(heard > numbers.len(), "the two connections did not overlap");
    assert_eq!(line.states(), [Connecting, Live], "the user sees nothing");
    let mut ledger = Ledger::default();
    line.socket.ledger(&mut ledger);
    assert_eq!(ledger.get("line_lost{replaced}"), 1);
}

/// Time from a TCP reset to the first event after subscribing again. `FORESHOCK_RESETS` resets, else
/// 100. Real time is printed, and only a bound that no working machine reaches is asserted.
#[test]
fn f1_a_reset_line_hears_again_at_once() {
    let resets: usize =
        std::env::var("FORESHOCK_RESETS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let reset_at = Arc::new(Mutex::new(std::time::Instant::now()));
    let stamp = reset_at.clone();
    let peer = peer(Certificate::Good, move |n, mut stream| {
        agree(&mut stream);
        hear(&mut stream);
        send(&mut stream, &text(&format!("{{{n}}}")));
        // The line is told to let time pass; then it is cut.
        while hear(&mut stream).is_some_and(|(_, said)| said != b"ping") {}
        *stamp.lock().unwrap() = std::time::Instant::now();
        socket2::SockRef::from(&stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let plan = Plan {
        subscriptions: vec!["subscribe-a".to_owned()],
        answers: 0,
        heartbeat_ns: 100_000 * NS_PER_MS,
        ..peer::plan()
    };
    let url = format!("wss://localhost:{}/x", peer.port);
    let mut line = peer::line_of(plan, &url, Some(&peer.ca_pem));
    line.until_frames(1);
    let mut took = Vec::new();
    for n in 1..=resets {
        // Long enough live for the waits to start over, and for a heartbeat to be due.
        line.ms += 101_000;
        while line.frames.len() <= n {
            if line.turn() == Read::Idle {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        took.push(reset_at.lock().unwrap().elapsed());
    }
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    eprintln!(
        "{resets} resets: heard again after p50 {p50:?}, p99 {p99:?}, max {:?}",
        took[took.len() - 1]
    );
    assert!(p99 < Duration::from_secs(20), "{p99:?}");
}
