//! Redis dies, freezes and forgets while the program replays a cascade.
//!
//! The load is the whole pipeline: the program itself plays a recording (one made here: a wave of
//! liquidations in another of six hundred coins every other second, played ten times as fast: hundreds of
//! signals a second) and publishes to a real server, to which the faults happen. At the end it is interrupted; the
//! stream must then hold exactly the signals it wrote to a file beside it: none lost, none doubled, all in
//! order. By default a slice runs; 1,000 kills, 200 freezes and 100 empty restarts (some seven minutes) are
//! `FORESHOCK_FULL=1 cargo test --release --test redis_cascade -- --test-threads 1`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use foreshock::publish::redis::STREAM;
use scratch::Scratch;
use serde_json::Value;
use server::{Server, skipped};

const HEADER: &str = "ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd";
const START_MS: u64 = 1_760_130_000_000;
/// Faults with one server and one run of the program, before fresh ones begin.
const ROUND: u64 = 100;

fn full() -> bool {
    std::env::var_os("FORESHOCK_FULL").is_some_and(|value| value == "1")
}

/// How often a fault is repeated: `few` times by default, `all` times in full.
fn times(few: u64, all: u64) -> u64 {
    if full() { all } else { few }
}

/// So many seconds of a cascade, as a recording.
fn cascade(seconds: u64, file: &Path) {
    let mut rows: Vec<(u64, u64, u64)> = Vec::new();
    for wave in 0..seconds / 2 {
        let coin = wave % 600;
        let row = |i: u64| {
            (START_MS + 2_000 * wave + 75 * i, coin, 1_000 * (1 + (7_919 * i + wave) % 50))
        };
        rows.extend((0..40).map(row));
    }
    rows.sort_unstable();
    let mut out = format!("{HEADER}\n");
    for (ms, coin, usd) in rows {
        out += &format!("{ms},{ms},bybit,C{coin:03}USDT,long,100,{},{usd}\n", usd / 100);
    }
    fs::write(file, out).unwrap();
}

/// The program at work, and the server it publishes to.
struct Play {
    server: Server,
    child: Child,
    folder: Scratch,
}

impl Play {
    fn start(options: &[&str], recording: &Path) -> Self {
        let (server, folder) = (Server::start(options), Scratch::new("cascade"));
        let said = File::create(folder.path().join("said")).unwrap();
        let told = File::create(folder.path().join("told")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(["replay", "--speed", "10", "--set"])
            .arg(format!("redis.url={}", server.url()))
            .arg("--out")
            .arg(folder.path().join("signals"))
            .arg(recording)
            .env_remove("FORESHOCK_CONFIG")
            .stdin(Stdio::null())
            .stdout(told)
            .stderr(said)
            .spawn()
            .unwrap();
        Self { server, child, folder }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// The load must last as long as the faults do.
    fn is_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends the program in order, and gives the number of signals it made and Redis has.
    fn settle(mut self) -> usize {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).stderr(Stdio::null()).status();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}", self.text("said"));
        let written = self.text("signals");
        let made: Vec<Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told = self.text("told");
        assert!(told.contains(&format!("signals {}\n", made.len())), "{told}");
        let stream = self.server.client().stream(STREAM);
        let seqs: Vec<String> = (1..=made.len()).map(|seq| seq.to_string()).collect();
        let ids: Vec<&str> = stream.iter().map(|(id, _)| id.split_once('-').unwrap().1).collect();
        assert_eq!(ids, seqs, "each once and in order");
        for ((id, fields), signal) in stream.iter().zip(&made) {
            let fields: BTreeMap<&str, &str> =
                fields.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
            assert_ne!(fields["kind"], "gap", "{id}");
            let published: Value = serde_json::from_str(fields["json"]).unwrap();
            for name in ["symbol", "signal", "kind", "timestamp", "probability", "scores"] {
                assert_eq!(published[name], signal[name], "{id}: {name}");
            }
        }
        made.len()
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lives through `count` faults at odd moments.
fn endure(what: &str, count: u64, options: &[&str], fault: impl Fn(&mut Server, u64)) {
    let (folder, began) = (Scratch::new("recording"), Instant::now());
    let recording = folder.path().join("cascade.csv");
    cascade(if full() { 900 } else { 240 }, &recording);
    let (mut left, mut signals) = (count, 0);
    while left > 0 {
        let mut play = Play::start(options, &recording);
        thread::sleep(Duration::from_secs(2));
        for round in 0..left.min(ROUND) {
            let dice = (round + left).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            thread::sleep(Duration::from_millis(20 + dice % 130));
            fault(&mut play.server, dice);
        }
        assert!(play.is_on(), "the recording ended before the faults did");
        left -= left.min(ROUND);
        signals += play.settle();
    }
    assert!(signals as u64 > 3 * count, "hardly anything was said: {signals}");
    let took = began.elapsed();
    eprintln!("{count} {what} in a cascade, {signals} signals: each once and in order; {took:?}");
}

/// kill -9, a moment of nobody, and a restart.
fn kill(server: &mut Server, dice: u64) {
    server.kill();
    thread::sleep(Duration::from_millis(dice % 40));
    server.launch();
}

/// A stop, two times in three longer than the deadline of a batch.
fn freeze(server: &mut Server, dice: u64) {
    server.signal("-STOP");
    thread::sleep(Duration::from_millis([90, 320, 700][(dice % 3) as usize]));
    server.signal("-CONT");
}

#[test]
fn a_server_killed_during_a_cascade_loses_and_doubles_nothing() {
    if !skipped() {
        let options = ["appendonly yes", "appendfsync everysec"];
        endure("kills", times(15, 1_000), &options, kill);
    }
}

#[test]
fn a_server_frozen_during_a_cascade_loses_and_doubles_nothing() {
    if !skipped() {
        endure("freezes", times(6, 200), &[], freeze);
    }
}

#[test]
fn a_server_that_forgets_during_a_cascade_is_told_everything_again() {
    if !skipped() {
        endure("empty restarts", times(8, 100), &[], kill);
    }
}

/// The minutes around the busiest one of a recording; `None` where it is not here.
fn busiest(name: &str, into: &Path) -> Option<PathBuf> {
    let path = format!("{}/../shared/datasets/{name}/events.csv.gz", env!("CARGO_MANIFEST_DIR"));
    let lines = BufReader::new(GzDecoder::new(File::open(&path).ok()?)).lines().map(Result::unwrap);
    let rows: Vec<(u64, String)> =
        lines.filter_map(|row| Some((row.split(',').next()?.parse().ok()?, row))).collect();
    let mut minutes: BTreeMap<u64, u64> = BTreeMap::new();
    rows.iter().for_each(|(ms, _)| *minutes.entry(ms / 60_000).or_default() += 1);
    let (busiest, _) = minutes.into_iter().max_by_key(|(_, n)| *n)?;
    let file = into.join("recorded.csv");
    let mut out = File::create(&file).unwrap();
    writeln!(out, "{HEADER}").unwrap();
    let around = busiest.saturating_sub(1)..busiest + 7;
    for (_, row) in rows.iter().filter(|(ms, _)| around.contains(&(ms / 60_000))) {
        writeln!(out, "{row}").unwrap();
    }
    Some(file)
}

#[test]
fn a_server_killed_during_a_recorded_cascade_loses_and_doubles_nothing() {
    if skipped() {
        return;
    }
    let folder = Scratch::new("recorded");
    let Some(recording) = busiest("binance_allsym_2025-10-22_24", folder.path()) else {
        eprintln!("skipped: no recordings beside the project");
        return;
    };
    let options = ["appendonly yes", "appendfsync everysec"];
    let mut play = Play::start(&options, &recording);
    let kills = times(20, 100);
    let mut done = 0;
    for round in 0..kills {
        thread::sleep(Duration::from_millis(350));
        kill(&mut play.server, round);
        done += u64::from(play.is_on());
    }
    let signals = play.settle();
    assert!(signals > 0);
    eprintln!("{done} kills in a recorded cascade, {signals} signals: each once and in order");
}
