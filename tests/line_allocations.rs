//! What stands between a socket and the ring allocates nothing per frame: the line, the twins, the
//! coverage, the comparison of venues, the tape. Counted per thread.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support {
    pub mod counting;
}

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use foreshock::event::Venue;
use foreshock::ingest::Frame;
use foreshock::ingest::arrival::Arrival;
use foreshock::ingest::capture::Block;
use foreshock::ingest::content::Content;
use foreshock::ingest::coverage::Coverage;
use foreshock::ingest::exchange::Verdict;
use foreshock::ingest::intake::Intake;
use foreshock::ingest::line::{Line, Order, Plan, Say};
use foreshock::ingest::source::Heard;
use foreshock::ingest::twins::link_of;
use foreshock::ledger::Counts;
use foreshock::time::{NS_PER_MS, Now};
use support::counting::allocations;

fn plan() -> Plan {
    Plan {
        venue: Venue::Bybit,
        line: 0,
        route: "linear",
        rare: true,
        subscriptions: vec!["a".to_owned()],
        answers: 0,
        fragile: false,
        heartbeat_ns: 1_000 * NS_PER_MS,
        dead_ns: 4_500 * NS_PER_MS,
        canary_ns: 4_500 * NS_PER_MS,
        rotate_at: Some(1),
    }
}

/// A frame of two liquidations, told at `ms`.
fn frame(ms: i64) -> String {
    let one = format!(r#"{{"T":{ms},"s":"SOLUSDT","S":"Buy","v":"20.9","p":"140.65"}}"#);
    format!(r#"{{"topic":"allLiquidation.SOLUSDT","data":[{one},{one}],"ts":{ms}}}"#)
}

#[test]
fn a_frame_of_two_lines_costs_no_allocation_on_its_way() {
    const START: i64 = 1_790_000_000_000;
    let frames: Vec<String> = (0..2_000).map(|i| frame(START + i * 20)).collect();
    let mut intake = Intake::new(10_000).telling_twins_apart();
    let (mut coverage, mut content) = (Coverage::default(), Content::default());
    let mut lines = [Line::new(plan()), Line::new(Plan { line: Plan::number(0, 1), ..plan() })];
    let mut blocks = [Block::default(), Block::default()];
    let mut counts = Counts::default();
    let mut beats = 0;
    let mut passed = 0;
    let mut play = |from: usize, to: usize| {
        for (text, i) in frames[from..to].iter().zip(from as i64..) {
            let now = Now::at_millis(START + i * 20);
            for (line, block) in lines.iter_mut().zip(&mut blocks) {
                let (number, link) = (line.plan().line, link_of(line.plan().line, 1));
                let bytes = text.as_bytes();
                let frame = Frame { venue: Venue::Bybit, line: number, link, bytes, received: now };
                if !block.frame(&frame, 0) {
                    block.clear();
                }
                let (verdict, events) = intake.frame(&frame);
                assert_eq!(verdict, Verdict::Decoded);
                passed += events.len();
                events.iter_mut().for_each(|event| coverage.mark(event));
                content.heard(Venue::Bybit, u32::try_from(events.len()).unwrap());
                line.frame(0, Heard { verdict, rare: true, late: false }, now.mono);
                while let Some(order) = line.order(now) {
                    match order {
                        Order::Call => drop(line.opened(now.mono)),
                        Order::Send(_, Say::Heartbeat) => beats += 1,
                        _ => {}
                    }
                }
                content.turn(now.mono, || Venue::Bybit.bit());
            }
            counts.clear();
            intake.count_all(&mut counts);
        }
    };
    play(0, 200);
    let spent = allocations(|| play(200, 2_000));
    assert_eq!(spent, 0);
    assert_eq!(counts.get("frames"), 4_000);
    assert_eq!(passed, 4_000, "each pair of twins once");
    assert!(beats >= 70, "{beats}");
}

#[test]
fn asking_when_it_arrived_costs_no_allocation() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut peer = listener.accept().unwrap().0;
    let mut arrival = Arrival::of(&tcp).unwrap();
    let (mut buffer, mut told) = ([0; 8], 0);
    // The kernel begins to stamp a moment after it is asked.
    while arrival.take().is_none() {
        peer.write_all(&[7; 8]).unwrap();
        arrival.read(&tcp, &mut buffer).unwrap();
    }
    peer.write_all(&[7; 800]).unwrap();
    let spent = allocations(|| {
        for _ in 0..100 {
            assert_eq!(arrival.read(&tcp, &mut buffer).unwrap(), 8);
            told += u32::from(arrival.take().is_some());
        }
    });
    assert_eq!((spent, told), (0, 100), "one segment, in parts: each part has its stamp");
}
