//! The whole way, as a user goes it: four simulated venues over real TLS, the live pipeline, a real
//! Redis, a journal; and one liquidation followed from its venue to Redis and back out of the journal.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/redis.rs"]
mod redis_server;
#[path = "support/scratch.rs"]
mod scratch;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use redis_server::Server;
use scratch::Scratch;
use serde_json::Value;

fn foreshock(args: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_foreshock")).args(args).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stdout, stderr)
}

/// The number behind `name` in a conservation law.
fn count(text: &str, name: &str) -> u64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == name);
    at.and_then(|at| words.get(at + 1)).and_then(|n| n.parse().ok()).unwrap_or_else(|| {
        panic!("no count of {name:?} in {text}");
    })
}

#[test]
fn the_demo_reaches_redis_and_the_journal_and_balances_its_books() {
    if redis_server::skipped() {
        return;
    }
    let server = Server::start(&[]);
    let scratch = Scratch::new("demo");
    let redis = format!("redis.url=unix://{}", server.socket().display());
    let journal = format!("journal.directory=\"{}\"", scratch.path().join("journal").display());
    let log = scratch.path().join("demo.hlog");
    let latency = format!("latency.file=\"{}\"", log.display());
    let args = ["demo", "--duration", "12s", "--set", &redis, "--set", &journal, "--set", &latency];
    let (output, _, stderr) = foreshock(&args);
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("BROKEN"), "{stderr}");
    for venue in ["binance/market", "bybit/linear", "okx/public", "hyperliquid/ws"] {
        assert!(stderr.contains(&format!("feed {venue} live")), "{venue}: {stderr}");
    }

    // Every signal that was made is in the stream, numbered without a hole.
    let made = count(&stderr, "signals");
    assert!(made > 0, "{stderr}");
    let mut client = server.client();
    let entries = client.stream("foreshock:signals");
    let numbers: Vec<u64> =
        entries.iter().map(|(id, _)| id.split_once('-').unwrap().1.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=made).collect::<Vec<_>>());

    // One liquidation, newest in the list: the same in Redis and among the events of the journal.
    let newest = client.text(&["LINDEX", "cascade:events:buffer", "0"]);
    let newest: serde_json::Value = serde_json::from_str(&newest).unwrap();
    let reader = foreshock::record::Reader::open(&scratch.path().join("journal")).unwrap();
    let found = reader.map(Result::unwrap).any(|message| match message {
        foreshock::output::Message::Event(event) => {
            event.symbol.as_str() == newest["symbol"]
                && event.stamp.venue_ms() == newest["exchange_timestamp"].as_i64()
                && matches!(event.body, foreshock::event::Body::Liquidation { .. })
        }
        foreshock::output::Message::Report(_) => false,
    });
    assert!(found, "{newest} is not in the journal");

    // The journal gives the same signals again, and the latency log can be read.
    let path = scratch.path().join("journal");
    let (output, stdout, stderr) = foreshock(&["replay", path.to_str().unwrap()]);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains(&format!("signals {made}\n")), "{made}: {stdout}");
    assert!(stdout.contains("the same signals"), "{stdout}");

    // Each signal explains itself, and a different engine is found out.
    let explain = |signal: &str, set: &[&str]| {
        let args = [&["explain", signal, "--journal", path.to_str().unwrap()], set].concat();
        foreshock(&args)
    };
    for seq in [1, made] {
        let (output, stdout, stderr) = explain(&seq.to_string(), &[]);
        assert!(output.status.success(), "{stdout}{stderr}");
        assert!(stdout.contains("evidence") && stdout.contains("bit for bit"), "{stdout}");
    }
    let wary = ["--set", "engine.proof.significance=[1.0, 2.0, 3.0, 4.0]"];
    let (output, stdout, stderr) = explain(&made.to_string(), &wary);
    assert_eq!(output.status.code(), Some(6), "{stdout}{stderr}");
    let (output, _, stderr) = explain("999999", &[]);
    assert_eq!(output.status.code(), Some(1), "{stderr}");

    let svg = scratch.path().join("latency.svg");
    let args = ["latency", log.to_str().unwrap(), "--svg", svg.to_str().unwrap()];
    let (output, stdout, stderr) = foreshock(&args);
    assert!(output.status.success() && stdout.contains("receive_to_parsed"), "{stdout}{stderr}");
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
    read_by_another(&log);
}

/// Another implementation reads the same of every stage out of the log.
fn read_by_another(log: &Path) {
    let tools = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(tools).join("tools/bin/python");
    let script = root.join("tests/support/interval_log.py");
    if !python.exists() {
        eprintln!("skipped: no {} (tests/run.sh makes it)", python.display());
        return;
    }
    let output = Command::new(python).args([&script, log]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let mut theirs: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, stdout, stderr) = foreshock(&["latency", log.to_str().unwrap(), "--format", "json"]);
    let ours: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
    let mut ours: Vec<Value> = ours["stages"].as_array().unwrap().clone();
    for stages in [&mut ours, &mut theirs] {
        stages.sort_by_key(|stage| stage["name"].to_string());
    }
    assert!(ours.len() >= 8, "{ours:?}");
    assert!(ours.iter().any(|stage| stage["name"] == "kernel_to_read"), "{ours:?}");
    assert_eq!(ours, theirs);
}

#[test]
fn the_demo_needs_no_redis_and_goes_on_without_one_that_is_not_there() {
    let redis = "redis.url=redis://127.0.0.1:1";
    let (output, stdout, stderr) = foreshock(&["demo", "--duration", "6s", "--set", redis]);
    assert!(output.status.success(), "{stderr}");
    let said: Vec<_> = stderr.lines().filter(|line| line.starts_with("redis:")).collect();
    assert!((1..=3).contains(&said.len()), "once, not for every attempt: {said:?}");
    assert!(said.first().is_some_and(|line| line.contains("goes on")), "{said:?}");
    assert!(!stderr.contains("BROKEN") && stderr.contains("retained"), "{stderr}{stdout}");
}

#[test]
fn a_run_that_hears_nobody_says_so_and_has_its_own_exit_code() {
    let mut args = vec!["run", "--duration", "2s"];
    for set in [
        "feeds.venues.binance.enabled=false",
        "feeds.venues.bybit.enabled=false",
        "feeds.venues.hyperliquid.enabled=false",
        "feeds.venues.okx.rest=https://localhost:1",
        "feeds.venues.okx.urls.public=wss://localhost:1/",
    ] {
        args.extend(["--set", set]);
    }
    let (output, _, stderr) = foreshock(&args);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("refused") && stderr.contains("no venue was heard"), "{stderr}");
}
