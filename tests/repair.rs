//! A gap in OKX's feed is filled from its REST answers, and only with what was missed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod peer;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshock::event::{Body, Flags, Venue};
use foreshock::ingest::Frame;
use foreshock::ingest::instrument::Instruments;
use foreshock::ingest::intake::Intake;
use foreshock::ingest::repair::{Gap, Repair};
use foreshock::ingest::rest::Rest;
use foreshock::ingest::source::{Heard, Source};
use foreshock::ingest::twins::link_of;
use foreshock::time::{Millis, Now};
use peer::{Certificate, linger, peer, request, send};

const START: i64 = 1_790_000_000_000;

fn order(ms: i64) -> String {
    let ts = START + ms;
    format!(
        r#"{{"bkPx":"60000.5","bkLoss":"0","ccy":"","posSide":"long","side":"sell","sz":"2","ts":"{ts}"}}"#
    )
}

fn rows(orders: &[i64]) -> String {
    let details: Vec<_> = orders.iter().map(|ms| order(*ms)).collect();
    let details = details.join(",");
    format!(r#"[{{"details":[{details}],"instId":"BTC-USDT-SWAP","instType":"SWAP"}}]"#)
}

#[test]
fn what_was_missed_is_repaired_and_what_was_heard_is_not_counted_twice() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = asked.clone();
    let peer = peer(Certificate::Good, move |_, mut stream| {
        let request = request(&mut stream);
        let path = request.split(' ').nth(1).unwrap().to_owned();
        // Two pages: newest first, and the second reaches back beyond the gap.
        let data = match path.contains("after=") {
            false => rows(&[5_000, 4_000, 4_000, 3_000]),
            true => rows(&[2_000, 1_000, -90_000]),
        };
        paths.lock().unwrap().push(path);
        let body = format!(r#"{{"code":"0","msg":"","data":{data}}}"#);
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        send(&mut stream, head.as_bytes());
        linger(stream);
    });
    let rest = Rest::new(Some(peer.ca_pem.as_bytes())).unwrap();
    let base = Some(format!("https://localhost:{}/okx", peer.port));
    let first = ["BTC-USDT".to_owned()];
    let mut repair = Repair::start(rest, base, &Instruments::default(), &first).unwrap();
    let mut intake = Intake::new(600_000).telling_twins_apart();

    // Heard before the gap, over the line: 1,000 and one of the two of 4,000.
    let heard = format!(
        r#"{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":{}}}"#,
        rows(&[1_000, 4_000])
    );
    let received = Now::at_millis(START + 4_100);
    let (bytes, link) = (heard.as_bytes(), link_of(0, 1));
    let live = Frame { venue: Venue::Okx, line: 0, link, bytes, received };
    assert_eq!(intake.frame(&live).1.len(), 2);

    let gap = Gap { from: Millis(START - 1_000), to: Millis(START + 4_500) };
    repair.heal(Venue::Bybit, gap);
    repair.heal(Venue::Okx, gap);
    let mut repaired = Vec::new();
    for _ in 0..5_000 {
        repair.read(Now::at_millis(START + 6_000), 8, &mut |frame| {
            let (verdict, events) = intake.frame(&frame);
            repaired.extend(events.iter().copied());
            Heard::from(verdict)
        });
        if asked.lock().unwrap().len() == 2 && repaired.len() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let times: Vec<_> = repaired.iter().map(|e| e.stamp.venue_ms().unwrap() - START).collect();
    assert_eq!(times, [4_000, 3_000, 2_000], "the rest was heard, or lies outside the gap");
    for event in &repaired {
        assert!(event.flags.has(Flags::BACKFILL), "kept out of the rates");
        assert!(matches!(event.body, Body::Liquidation { usd: Some(_), .. }), "{:?}", event.body);
    }
    let paths = asked.lock().unwrap().clone();
    assert!(paths[0].starts_with("/okx/api/v5/public/liquidation-orders?"), "{paths:?}");
    assert!(paths[1].contains(&format!("uly=BTC-USDT&after={}", START + 3_000)), "{paths:?}");
    assert_eq!(intake.counts(Venue::Okx).refused.get("duplicate"), 2);
}
