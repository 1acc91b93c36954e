//! Instructions of one parse, window, decision, ring and encoding, counted by callgrind.
//!
//! Time on a shared machine says little; the instructions of the same binary on the same input are the
//! same. `cargo bench --bench instructions` prints them beside those of `perf/instructions.txt` and fails
//! with the name of what got more than 3 % dearer; `-- --save` takes the present ones as the measure. Each
//! case is run by this program itself, under valgrind, and only [`counted`] is counted. Without valgrind,
//! or with another compiler than the measure was taken with, it says so and fails nothing.
#![expect(clippy::expect_used, clippy::cast_precision_loss, reason = "a bench may give up")]

mod frames;
#[expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]
mod stream;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use foreshock::engine::grid::Grid;
use foreshock::engine::row::{Hit, Row};
use foreshock::engine::seconds::Watch;
use foreshock::engine::settings::Rhythm;
use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::Event;
use foreshock::ingest::exchange::{Desk, Verdict, exchange};
use foreshock::publish::json;
use foreshock::ring::ring;
use foreshock::signal::{Kind, Level, Report};
use foreshock::symbol::Symbol;
use foreshock::time::Nanos;
use frames::{FRAMES, Last};
use stream::Stream;

/// More than this part dearer is a regression.
const WORSE: f64 = 0.03;
/// Times that each case is done while counted.
const TIMES: u64 = 2_000;

/// What callgrind counts: nothing else of the program.
#[inline(never)]
fn counted(mut work: impl FnMut()) {
    for _ in 0..TIMES {
        work();
    }
}

fn parse(nth: usize) {
    let (_, venue, frame, events) = FRAMES[nth];
    let exchange = exchange(venue).expect("a venue that is spoken");
    let (mut desk, mut last) = (Desk::new(exchange), Last::default());
    assert_eq!(exchange.parse(frame.as_bytes(), &mut desk, &mut last), Verdict::Decoded);
    assert_eq!(last.events, events);
    counted(|| {
        black_box(exchange.parse(black_box(frame.as_bytes()), &mut desk, &mut last));
    });
}

fn window() {
    let (mut row, rhythm, mut stream) = (Row::new(), Rhythm::default(), Stream::new(1_000));
    let mut step = || {
        let event = stream.liquidation();
        let grid = Grid::at(event.received);
        row.advance(&grid, Watch { rhythm: &rhythm, live: u8::MAX, since: 0 });
        row.put(&event, &Hit { at: event.at(), places: grid.places(event.at()), usd: None });
        black_box(row.read(&grid));
    };
    (0..10_000).for_each(|_| step());
    counted(step);
}

fn engine(per_second: u64, settings: &Settings) {
    let (mut engine, mut stream) = (Engine::new(settings), Stream::new(per_second));
    let mut out = Outbox::new();
    let mut step = || {
        out.clear();
        engine.take(black_box(&stream.liquidation()), &mut out);
    };
    (0..100_000).for_each(|_| step());
    counted(step);
}

fn decision() -> Settings {
    let never = 24 * 3_600 * 1_000;
    Settings { state_ms: never, heartbeat_ms: never, ..Settings::default() }
}

fn push_and_pop() {
    let (mut outlet, mut inlet) = ring(1_024);
    let event = Event::tick(Nanos(7));
    counted(|| {
        outlet.push(black_box(event)).expect("room");
        black_box(inlet.pop());
    });
}

fn encode() {
    let report = Report {
        kind: Kind::Change,
        level: Level::Critical,
        seq: 7,
        probability: 0.71,
        btc_price: Some(60_000.5),
        ..Report::empty(Symbol::BTC, Nanos(1_700_000_000_000_000_000))
    };
    let mut out = String::with_capacity(1 << 16);
    counted(|| {
        out.clear();
        json::reproducible(black_box(&report), &mut out);
        black_box(&out);
    });
}

/// Every case by name.
fn cases() -> Vec<(String, Box<dyn Fn()>)> {
    let mut cases: Vec<(String, Box<dyn Fn()>)> = Vec::new();
    for (nth, (name, ..)) in FRAMES.iter().enumerate() {
        cases.push((format!("parse/{name}"), Box::new(move || parse(nth))));
    }
    cases.push(("window/put_and_read".to_owned(), Box::new(window)));
    cases.push(("engine/to_decision_10k".to_owned(), Box::new(|| engine(10_000, &decision()))));
    cases.push(("engine/to_decision_1k".to_owned(), Box::new(|| engine(1_000, &decision()))));
    let all = || engine(1_000, &Settings::default());
    cases.push(("engine/with_state_reports_1k".to_owned(), Box::new(all)));
    cases.push(("ring/push_and_pop".to_owned(), Box::new(push_and_pop)));
    cases.push(("encode/signal".to_owned(), Box::new(encode)));
    cases
}

/// Instructions of one time; `None` without valgrind.
fn count(case: &str) -> Option<u64> {
    let program = std::env::current_exe().expect("a name of our own");
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=*counted*",
    ]);
    let output = valgrind.arg(program).args(["--case", case]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let total: u64 = line.and_then(|(_, n)| n.trim().parse().ok()).expect("callgrind's total");
    assert!(total > TIMES, "{case}: nothing was counted; is `counted` a function any more?");
    Some(total / TIMES)
}

fn rustc() -> String {
    let version = Command::new("rustc").arg("--version").output().expect("a compiler");
    String::from_utf8_lossy(&version.stdout).trim().to_owned()
}

fn measure_file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/perf/instructions.txt"))
}

/// The measure, and the compiler it was taken with.
fn measure() -> (String, BTreeMap<String, u64>) {
    let text = fs::read_to_string(measure_file()).unwrap_or_default();
    let (head, rows) = text.split_once('\n').unwrap_or_default();
    let row = |line: &str| {
        let (name, n) = line.split_once(' ')?;
        Some((name.to_owned(), n.trim().parse().ok()?))
    };
    (head.trim_start_matches("# ").to_owned(), rows.lines().filter_map(row).collect())
}

fn compare(save: bool) -> ExitCode {
    let (compiler, before) = measure();
    let same = compiler == rustc();
    let (mut dearer, mut saved) = (Vec::new(), format!("# {}\n", rustc()));
    println!("{:34} {:>8} {:>8}", "instructions a time", "measure", "now");
    for (name, _) in cases() {
        let Some(now) = count(&name) else {
            println!("skipped: no valgrind (apt install valgrind)");
            return ExitCode::SUCCESS;
        };
        saved += &format!("{name} {now}\n");
        let was = before.get(&name).copied();
        let grown = was.map(|was| now as f64 / was.max(1) as f64 - 1.0);
        let shown = grown.map_or("new".to_owned(), |grown| format!("{:+.1} %", grown * 100.0));
        println!(
            "{name:34} {:>8} {now:>8}  {shown}",
            was.map_or("-".to_owned(), |n| n.to_string())
        );
        if grown.is_some_and(|grown| grown > WORSE) {
            dearer.push(name);
        }
    }
    if save {
        fs::write(measure_file(), saved).expect("perf/instructions.txt can be written");
        return ExitCode::SUCCESS;
    }
    if !same {
        println!("not judged: the measure is of {compiler:?}, this is {:?}; -- --save", rustc());
        return ExitCode::SUCCESS;
    }
    if dearer.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("more than {} % dearer: {}", WORSE * 100.0, dearer.join(", "));
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let case = arguments.iter().position(|a| a == "--case").and_then(|at| arguments.get(at + 1));
    let Some(case) = case else { return compare(arguments.iter().any(|a| a == "--save")) };
    let found = cases().into_iter().find(|(name, _)| name == case);
    found.expect("a case of this name").1();
    ExitCode::SUCCESS
}
