//! What arrives late and all at once did not happen at once: a process that stood still, and a venue that
//! comes back with a backlog, make no alarm that an undisturbed run does not make, unless it is flagged.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;
mod support {
    pub mod scratch;
}

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Event, FeedState, Venue};
use foreshock::ingest::Frame;
use foreshock::ingest::intake::Intake;
use foreshock::ingest::reader::Reader;
use foreshock::ingest::source::{FeedChange, Heard, Read, Source};
use foreshock::ingest::twins::link_of;
use foreshock::ledger::Ledger;
use foreshock::output::Message;
use foreshock::ring::ring;
use foreshock::signal::{Report, RiskLevel};
use foreshock::stage::Stage;
use foreshock::time::{Nanos, Now};
use peer::{Certificate, Peer, agree, peer};
use support::scratch::Scratch;

/// A venue that says ten liquidations a second to whoever connects, whether it listens or not.
fn busy() -> Peer {
    peer(Certificate::Good, |_, mut stream| {
        agree(&mut stream);
        let began = wall_ms();
        for n in 0.. {
            let early = began + n * EVERY_MS - wall_ms();
            thread::sleep(Duration::from_millis(u64::try_from(early).unwrap_or(0)));
            let text = rows(&[row(n, began + n * EVERY_MS)], wall_ms());
            let length = u16::try_from(text.len()).unwrap().to_be_bytes();
            let frame = [&[0x81, 126], &length[..], text.as_bytes()].concat();
            if stream.write_all(&frame).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    })
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A configuration with this venue alone.
fn config(peer: &Peer, folder: &Path) -> String {
    let ca = folder.join("ca.pem");
    fs::write(&ca, &peer.ca_pem).unwrap();
    let mut text = format!("[feeds]\nca_file = {:?}\n", ca.display().to_string());
    for off in ["binance", "okx", "hyperliquid"] {
        text += &format!("[feeds.venues.{off}]\nenabled = false\n");
    }
    let url = format!("wss://localhost:{}/x", peer.port);
    // Instruments are not to be had here: those known without asking will do.
    text += "[feeds.venues.bybit]\nrest = \"https://localhost:1\"\n";
    text += &format!("urls = {{ linear = {url:?}, inverse = {url:?} }}\n");
    let path = folder.join("busy.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn run(config: &str, journal: &Path, seconds: u64) -> Child {
    Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(["run", "--config", config, "--duration", &format!("{seconds}s")])
        .args(["--set", &format!("journal.directory={:?}", journal.display().to_string())])
        .args(["--set", &format!("run.status={:?}", journal.display().to_string())])
        .env_remove("FORESHOCK_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What is said about the runs that tell of themselves in `folder`.
fn venues(folder: &Path) -> String {
    let status = format!("run.status={:?}", folder.display().to_string());
    let mut program = Command::new(env!("CARGO_BIN_EXE_foreshock"));
    let output = program.args(["venues", "--set", &status]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let from = text.find("\nrun ").unwrap_or(text.len());
    text[from..].to_owned()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Every report of a run, in order, and its liquidations.
fn reports(journal: &Path) -> (Vec<Report>, usize) {
    let (mut reports, mut liquidations) = (Vec::new(), 0);
    for message in foreshock::record::Reader::open(journal).unwrap() {
        match message.unwrap() {
            Message::Report(report) => reports.push(report),
            Message::Event(event) => {
                let forced = matches!(event.body, foreshock::event::Body::Liquidation { .. });
                liquidations += usize::from(forced);
            }
        }
    }
    (reports, liquidations)
}

fn worst(reports: &[Report]) -> Option<RiskLevel> {
    reports.iter().map(|report| report.risk_level).max()
}

#[test]
fn d12_a_process_that_stood_still_for_ten_seconds_makes_no_false_alarm() {
    let folder = Scratch::new("pause");
    let folder = folder.path();
    let config = config(&busy(), folder);
    let [plain, paused] = ["plain", "paused"].map(|name| folder.join(name));
    let children = [run(&config, &plain, 17), run(&config, &paused, 17)];
    thread::sleep(Duration::from_millis(5_000));
    signal(&children[1], "-STOP");
    thread::sleep(Duration::from_secs(8));
    let [alive, still] = [&plain, &paused].map(|folder| venues(folder));
    thread::sleep(Duration::from_secs(2));
    signal(&children[1], "-CONT");
    assert!(alive.contains("bybit/linear") && alive.contains(" live "), "{alive}");
    assert!(alive.contains("(complete)") && !alive.contains("STALE"), "{alive}");
    assert!(still.contains("STALE") && still.contains("does not write"), "{still}");
    let said = children.map(|child| {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    });
    assert!(said[1].contains("line_paused"), "{}", said[1]);
    let ((plain, heard), (paused, late)) = (reports(&plain), reports(&paused));
    println!("{heard} and {late} liquidations, {:?} and {:?}", worst(&plain), worst(&paused));
    assert!(late * 10 > heard * 9 && late > 200, "the backlog was heard: {late} of {heard}");
    assert!(worst(&plain) < Some(RiskLevel::High), "ten a second are ordinary here");
    assert!(worst(&paused) < Some(RiskLevel::High), "{}", said[1]);
}

const T: i64 = 1_790_000_000_000;
const EVERY_MS: i64 = 100;

/// The `n`th liquidation: symbols and sizes change, and are the same in every run.
fn row(n: i64, at_ms: i64) -> String {
    let (symbol, size) = (n * 7 % 60, 2_000 + n * 37 % 9_000);
    format!(r#"{{"T":{at_ms},"s":"S{symbol}USDT","S":"Buy","v":"{size}","p":"1"}}"#)
}

fn rows(rows: &[String], at_ms: i64) -> String {
    let rows = rows.join(",");
    format!(r#"{{"topic":"allLiquidation.BTCUSDT","ts":{at_ms},"data":[{rows}]}}"#)
}

/// When the `n`th liquidation happens, irregularly.
fn due(n: i64) -> i64 {
    n * EVERY_MS + n * 7_919 % EVERY_MS
}

/// A venue that says ten liquidations a second, and between `gone` and `back` nothing.
struct Absent {
    gone: i64,
    back: i64,
    next: i64,
    changes: Vec<FeedState>,
    said: usize,
}

impl Source for Absent {
    fn name(&self) -> String {
        "bybit/linear".to_owned()
    }

    fn read(&mut self, now: Now, _: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        let ms = now.wall.0 - T;
        let states = &mut self.changes;
        match (states.len(), ms) {
            (0, _) => states.push(FeedState::Live),
            (1, ms) if ms >= self.gone => states.push(FeedState::Down),
            (2, ms) if ms >= self.back => states.push(FeedState::Live),
            _ => {}
        }
        if states.len() == 2 {
            return Read::Idle;
        }
        let mut told = Vec::new();
        while due(self.next) + 100 <= ms {
            told.push(row(self.next, T + due(self.next)));
            self.next += 1;
        }
        // The backlog comes in frames of a few, as a venue that gathers would send it.
        for part in told.chunks(4) {
            let text = rows(part, now.wall.0);
            let (venue, link, bytes) = (Venue::Bybit, link_of(0, 1), text.as_bytes());
            take(Frame { venue, line: 0, link, bytes, received: now });
        }
        if told.is_empty() { Read::Idle } else { Read::Frames }
    }

    fn feed(&mut self) -> Option<FeedChange> {
        let state = *self.changes.get(self.said)?;
        self.said += 1;
        let (venue, route) = (Venue::Bybit, "linear");
        Some(FeedChange { venue, line: 0, route, rare: true, state, code: 0, why: String::new() })
    }

    fn stop(&mut self) {}

    fn ledger(&self, _: &mut Ledger) {}
}

/// What the engine makes of two minutes of it.
fn told(gone: i64, back: i64) -> (Vec<Report>, Vec<Event>) {
    let (outlet, mut inlet) = ring(1 << 12);
    let (notices, _heard) = crossbeam_channel::bounded(64);
    let venue = Absent { gone, back, next: 0, changes: Vec::new(), said: 0 };
    let intake = Intake::new(10_000).telling_twins_apart();
    let mut reader =
        Reader::new(vec![Box::new(venue)], intake, outlet, Box::new(|| Nanos(0)), notices);
    let mut engine = Engine::new(&Settings::default());
    let (mut reports, mut events, mut out) = (Vec::new(), Vec::new(), Outbox::new());
    for ms in (0..120_000).step_by(20) {
        reader.turn(Now::at_millis(T + ms));
        while let Some(event) = inlet.pop() {
            engine.take(&event, &mut out);
            reports.extend_from_slice(out.reports());
            events.push(event);
            out.clear();
        }
    }
    (reports, events)
}

#[test]
fn d12_a_venue_that_comes_back_with_a_backlog_makes_no_false_alarm() {
    let forced = |events: &[Event]| {
        let of = |e: &&Event| matches!(e.body, foreshock::event::Body::Liquidation { .. });
        events.iter().filter(of).count()
    };
    let (plain, all) = told(1_000_000, 1_000_000);
    assert!(worst(&plain) < Some(RiskLevel::High), "ten a second are ordinary here");
    for away in [2_000, 5_000, 9_000] {
        let (reports, events) = told(60_000, 60_000 + away);
        assert_eq!(forced(&events), forced(&all), "nothing was lost, it only came late");
        assert!(reports.iter().any(|report| report.gap), "{away} ms: it is flagged");
        println!("{away} ms away: {:?}, else {:?}", worst(&reports), worst(&plain));
        assert!(worst(&reports) < Some(RiskLevel::High), "{away} ms away");
    }
}
