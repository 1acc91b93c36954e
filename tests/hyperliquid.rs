//! Hyperliquid, honestly: trades are no coverage of its liquidations; a node's files are, replayed or
//! followed while they grow.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support {
    pub mod counting;
    pub mod scratch;
}

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Completeness, Event, FeedState, Side, Venue};
use foreshock::ingest::Frame;
use foreshock::ingest::exchange::Verdict;
use foreshock::ingest::intake::Intake;
use foreshock::ingest::node::Node;
use foreshock::ingest::reader::Reader;
use foreshock::ingest::source::{FeedChange, Heard, Read, Source, Unheard};
use foreshock::ingest::twins::link_of;
use foreshock::ledger::Ledger;
use foreshock::output::Message;
use foreshock::ring::ring;
use foreshock::signal::Report;
use foreshock::stage::Stage;
use foreshock::time::{Nanos, Now};
use support::counting::allocations;
use support::scratch::Scratch;

const T: i64 = 1_790_000_000_000;

/// Says trades of Hyperliquid, without ever speaking of a feed of liquidations.
struct Trades(i64);

impl Source for Trades {
    fn name(&self) -> String {
        "hyperliquid/ws".to_owned()
    }

    fn read(&mut self, now: Now, _: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        self.0 += 1;
        let text = format!(
            r#"{{"channel":"trades","data":[{{"coin":"BTC","side":"B","px":"60000","sz":"1","time":{},"tid":{}}}]}}"#,
            now.wall.0, self.0
        );
        let (venue, link, bytes) = (Venue::Hyperliquid, link_of(0, 1), text.as_bytes());
        take(Frame { venue, line: 0, link, bytes, received: now });
        Read::Frames
    }

    fn stop(&mut self) {}

    fn ledger(&self, _: &mut Ledger) {}
}

/// Liquidations of Bybit, heard.
struct Liquidations(Option<FeedChange>);

impl Source for Liquidations {
    fn name(&self) -> String {
        "bybit/linear".to_owned()
    }

    fn read(&mut self, now: Now, _: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        let text = format!(
            r#"{{"topic":"allLiquidation.BTCUSDT","data":[{{"T":{},"s":"BTCUSDT","S":"Buy","v":"1","p":"60000"}}]}}"#,
            now.wall.0
        );
        let (venue, link, bytes) = (Venue::Bybit, link_of(0, 1), text.as_bytes());
        take(Frame { venue, line: 0, link, bytes, received: now });
        Read::Frames
    }

    fn feed(&mut self) -> Option<FeedChange> {
        self.0.take()
    }

    fn stop(&mut self) {}

    fn ledger(&self, _: &mut Ledger) {}
}

/// The venues that are live and expected, as the last signal or state has them.
fn covered(unheard: bool) -> (u8, u8, [Option<Completeness>; 2]) {
    let (outlet, mut inlet) = ring(1 << 12);
    let (notices, _heard) = crossbeam_channel::bounded(64);
    let (venue, line, route, code) = (Venue::Bybit, 0, "linear", 0);
    let (rare, state, why) = (true, FeedState::Live, String::new());
    let bybit = FeedChange { venue, line, route, rare, state, code, why };
    let mut sources: Vec<Box<dyn Source>> =
        vec![Box::new(Trades(0)), Box::new(Liquidations(Some(bybit)))];
    if unheard {
        sources.push(Box::new(Unheard::new(Venue::Hyperliquid, 7, "fills", "nobody is watched")));
    }
    let intake = Intake::new(10_000).telling_twins_apart();
    let mut reader = Reader::new(sources, intake, outlet, Box::new(|| Nanos(0)), notices);
    let mut engine = Engine::new(&Settings::default());
    let (mut out, mut last) = (Outbox::new(), None);
    for ms in (0..20_000).step_by(100) {
        reader.turn(Now::at_millis(T + ms));
        while let Some(event) = inlet.pop() {
            engine.take(&event, &mut out);
            let shown = |r: &Report| [Venue::Bybit, Venue::Hyperliquid].map(|v| r.shown.of(v));
            last = out.reports().last().map(|r| (r.live, r.expected, shown(r))).or(last);
            out.clear();
        }
    }
    last.unwrap()
}

#[test]
fn trades_alone_are_no_coverage_of_liquidations() {
    let both = Venue::Bybit.bit() | Venue::Hyperliquid.bit();
    let shown = [Some(Completeness::Complete), None];
    assert_eq!(covered(true), (Venue::Bybit.bit(), both, shown), "expected, and not heard");
    assert_eq!(covered(false), (both, both, shown), "one that never speaks of its feeds counts");
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A block in which one is liquidated into the book, one taken over by a vault, and two only trade.
fn block(ms: i64, tid: u64) -> String {
    let pair = |user: &str, side: &str, crossed: bool, tid: u64, more: &str| {
        format!(
            r#"["{user}",{{"coin":"ETH","px":"2000","sz":"1","side":"{side}","time":{ms},"startPosition":"0","dir":"Open Long","closedPnl":"0","hash":"0x0","oid":1,"crossed":{crossed},"fee":"0","tid":{tid}{more},"feeToken":"USDC"}}]"#
        )
    };
    let of = |who: &str, method: &str| {
        format!(
            r#","liquidation":{{"liquidatedUser":"{who}","markPx":"2000","method":"{method}"}}"#
        )
    };
    let vault = "0x2e3d94f0562703b25c83308a05046ddaf9a8dd14";
    let pairs = [
        pair("0xaa", "A", true, tid, &of("0xaa", "market")),
        pair("0xbb", "B", false, tid, &of("0xaa", "market")),
        pair("0xcc", "B", true, tid + 1, &of("0xcc", "backstop")),
        pair(vault, "A", false, tid + 1, &of("0xcc", "backstop")),
        pair("0xdd", "B", true, tid + 2, ""),
        pair("0xee", "A", false, tid + 2, ""),
    ];
    format!(
        "{{\"block_time\":\"2026-09-21T14:13:20\",\"block_number\":{tid},\"events\":[{}]}}\n",
        pairs.join(",")
    )
}

#[test]
fn a_node_s_file_is_replayed_and_decoded_and_each_liquidation_counts_once() {
    let folder = Scratch::new("node-file");
    let file = folder.path().join("13");
    let text: String =
        (0..50).map(|n| block(T + 20 * n, 10 + 3 * u64::try_from(n).unwrap())).collect();
    fs::write(&file, text).unwrap();
    let program = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_foreshock")).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    };
    let file = file.to_str().unwrap();
    let (told, said) = program(&["decode", "--venue", "hyperliquid", file]);
    assert!(said.contains("frames 50 = decoded 50"), "{said}");
    let count = |what: &str| told.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("\"liquidation\""), count("\"trade\"")), (100, 100));
    assert_eq!((count("\"liquidated\":\"long\""), count("\"liquidated\":\"short\"")), (50, 50));
    let liquidation = told.lines().find(|line| line.contains("\"liquidation\"")).unwrap();
    assert!(liquidation.contains("\"completeness\":\"complete\""), "{liquidation}");
    let (out, said) = program(&["replay", file]);
    assert!(out.contains("sha256") && said.contains("events 200"), "{out}{said}");
}

/// What the program heard of the fills that are written while it runs.
#[test]
fn a_node_s_files_are_followed_by_the_program_over_the_end_of_an_hour() {
    let folder = Scratch::new("node-live");
    let (node, journal) =
        (folder.path().join("node_fills_by_block"), folder.path().join("journal"));
    let day = node.join("hourly/20261120");
    fs::create_dir_all(&day).unwrap();
    fs::write(day.join("9"), block(wall_ms(), 1)).unwrap();
    let set = |key: &str, value: &Path| format!("{key}={:?}", value.display().to_string());
    let venue = "feeds.venues.hyperliquid";
    let settings = [
        "feeds.venues.binance.enabled=false".to_owned(),
        "feeds.venues.bybit.enabled=false".to_owned(),
        "feeds.venues.okx.enabled=false".to_owned(),
        format!("{venue}.rest=https://localhost:1"),
        format!("{venue}.urls.ws=wss://localhost:1/"),
        format!("{venue}.urls.fills=wss://localhost:1/"),
        set(&format!("{venue}.node"), &node),
        set("journal.directory", &journal),
        set("run.status", folder.path()),
    ];
    let mut program = Command::new(env!("CARGO_BIN_EXE_foreshock"));
    program.args(["run", "--duration", "6s"]).env_remove("FORESHOCK_CONFIG");
    for setting in &settings {
        program.args(["--set", setting]);
    }
    let child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(1_500));
    for n in 0..30 {
        let hour = if n < 15 { "9" } else { "10" };
        let mut file = File::options().append(true).create(true).open(day.join(hour)).unwrap();
        let line = block(wall_ms(), 100 + 3 * n);
        // Written in two parts, as a buffer may be flushed.
        let (begin, end) = line.split_at(line.len() / 2);
        file.write_all(begin.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(30));
        file.write_all(end.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(30));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("feed hyperliquid/node live"), "{said}");
    let mut sides = [0, 0];
    for message in foreshock::record::Reader::open(&journal).unwrap() {
        if let Message::Event(Event {
            body: Body::Liquidation { side, .. }, completeness, ..
        }) = message.unwrap()
        {
            assert_eq!(completeness, Completeness::Complete);
            sides[usize::from(side == Some(Side::Short))] += 1;
        }
    }
    assert_eq!(sides, [30, 30], "what was there before it began is not news: {said}");
}

#[test]
fn reading_what_a_node_wrote_neither_takes_nor_frees_memory() {
    let folder = Scratch::new("node-memory");
    let path = folder.path().join("9");
    let mut node = Node::start(path.clone()).unwrap();
    // What is there after it has looked is news.
    while node.feed().is_none_or(|change| change.state != FeedState::Down) {
        node.read(Now::at_millis(T), 1, &mut |_| Verdict::Decoded.into());
        thread::sleep(Duration::from_millis(1));
    }
    let mut file = File::create(&path).unwrap();
    let (mut heard, mut spent, mut ms) = (0, Vec::with_capacity(8), 0);
    for round in 0..8 {
        let (from, mut calls) = (heard, 0);
        (0..200).for_each(|_| file.write_all(b"{\"events\":[]}\n").unwrap());
        while heard < from + 200 {
            ms += 1;
            calls += allocations(|| {
                node.read(Now::at_millis(T + ms), 32, &mut |_| {
                    heard += 1;
                    Verdict::Decoded.into()
                });
            });
            thread::sleep(Duration::from_millis(1));
            assert!(ms < 20_000, "round {round}: {heard}");
        }
        spent.push(calls);
    }
    assert_eq!(spent.iter().skip(2).sum::<u64>(), 0, "{spent:?}");
}

#[test]
fn a_run_that_watches_nobody_says_that_it_does_not_hear_liquidations() {
    let folder = Scratch::new("nobody");
    let venue = "feeds.venues.hyperliquid";
    let settings = [
        "feeds.venues.binance.enabled=false".to_owned(),
        "feeds.venues.bybit.enabled=false".to_owned(),
        "feeds.venues.okx.enabled=false".to_owned(),
        format!("{venue}.rest=https://localhost:1"),
        format!("{venue}.urls.ws=wss://localhost:1/"),
        format!("{venue}.vaults=[]"),
        format!("run.status={:?}", folder.path().display().to_string()),
    ];
    let mut program = Command::new(env!("CARGO_BIN_EXE_foreshock"));
    program.args(["run", "--duration", "1s"]).env_remove("FORESHOCK_CONFIG");
    for setting in &settings {
        program.args(["--set", setting]);
    }
    let output = program.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("feed hyperliquid/fills down: its liquidations are not heard"), "{said}");
}
