//! The command line as a user meets it: bad input gets one clear line and the documented exit code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn foreshock(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(args)
        .env_remove("FORESHOCK_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs, and expects `code` and exactly one line on stderr that holds every word.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let output = foreshock(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: no {word:?} in {stderr}");
    }
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("foreshock-cli-{}-{name}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    path
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(text).unwrap();
    gz.finish().unwrap()
}

const HEADER: &[u8] = b"ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd\n";

#[test]
fn without_a_command_it_says_what_to_do_next() {
    let output = foreshock(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("foreshock demo"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    refused(&["replay", "/no/such/file.csv"], 1, &["/no/such/file.csv", "No such file"]);
    refused(&["decode", "--venue", "okx", "/no/such/file"], 1, &["/no/such/file"]);
    refused(&["replay", "/proc/self/task"], 1, &["/proc/self/task", "no journal"]);
}

#[test]
fn a_file_of_the_wrong_form_says_what_would_be_right() {
    let path = file("wrong", b"hello\n");
    refused(&["replay", path.to_str().unwrap()], 1, &["not a recording", "ts_ms"]);
    refused(&["latency", path.to_str().unwrap()], 1, &["hlog"]);
    let path = file("columns", b"ts_ms,open,high\n1,2,3\n");
    refused(&["replay", path.to_str().unwrap()], 1, &["columns", "notional_usd"]);
    let path = file("empty", b"");
    refused(&["replay", path.to_str().unwrap()], 1, &["is empty"]);
}

#[test]
fn a_truncated_file_is_an_error_not_a_shorter_market() {
    let mut text = HEADER.to_vec();
    for i in 0..5_000 {
        let ts = 1_733_330_785_584_u64 + i * 37;
        writeln!(text, "{ts},,binance,BTCUSDT,long,94809.6,0.0{i},1232.{i}").unwrap();
    }
    let whole = gzip(&text);
    let path = file("truncated.csv.gz", &whole[..whole.len() / 2]);
    let output = foreshock(&["replay", path.to_str().unwrap()]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("truncated") && stderr.contains("line "), "{stderr}");
}

#[test]
fn unknown_names_get_a_suggestion() {
    refused(&["decode", "--venue", "binanse"], 2, &["Did you mean binance"]);
    refused(&["decode", "--venue", "kraken"], 2, &["unknown venue", "bybit"]);
    refused(&["check", "--set", "run.evnt_ring=128"], 3, &["did you mean `event_ring`"]);
    refused(&["check", "--set", "feeds.venues.okex.enabled=true"], 3, &["okex"]);
}

#[test]
fn a_value_out_of_range_says_the_range() {
    refused(&["check", "--set", "run.event_ring=1"], 3, &["run.event_ring", "64..="]);
    refused(&["check", "--set", "feeds.dead_ms=1"], 3, &["feeds.dead_ms", "1000..="]);
    let path = file("range.toml", b"[run]\nevent_ring = \"many\"\n");
    refused(&["check", "--config", path.to_str().unwrap()], 3, &["line 2"]);
}

#[test]
fn a_dead_endpoint_is_refused_and_its_successor_named() {
    let set = "feeds.venues.binance.urls.market=wss://fstream.binance.com/ws";
    refused(&["check", "--set", set], 3, &["silent", "wss://fstream.binance.com/market/ws"]);
    let set = "feeds.venues.okx.urls.public=wss://wsaws.okx.com:8443/ws/v5/public";
    refused(&["run", "--set", set], 3, &["2025-04-28", "wss://ws.okx.com:8443/ws/v5/public"]);
    let set = "feeds.venues.bybit.urls.linear=wss://stream.bybit.com/v5/public/linear?liquidation.BTCUSDT";
    refused(&["check", "--set", set], 3, &["handler not found", "allLiquidation.{symbol}"]);
    let plan = String::from_utf8(foreshock(&["check"]).stdout).unwrap();
    for words in
        ["topic liquidation.{symbol}; use topic allLiquidation", "/market/ws (liquidations"]
    {
        assert!(plan.contains(words), "{words}: {plan}");
    }
}

#[test]
fn venues_say_what_they_show_and_what_is_gone() {
    let table = foreshock(&["venues"]);
    let table = String::from_utf8(table.stdout).unwrap();
    for words in ["binance/market", "sampled: at most one per symbol", "allLiquidation", "canary"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let address =
        "feeds.venues.hyperliquid.addresses=[\"0x0123456789012345678901234567890123456789\"]";
    let nobody = "feeds.venues.hyperliquid.vaults=[]";
    let vaults = "run.event_ring=128";
    for (set, completeness) in
        [(vaults, Some("watched")), (nobody, None), (address, Some("watched"))]
    {
        let output = foreshock(&["venues", "--format", "json", "--set", set]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let routes = json["routes"].as_array().unwrap();
        assert_eq!(routes.len(), 7);
        let own = routes.iter().find(|row| row["route"] == "fills").unwrap();
        assert_eq!(own["completeness"].as_str(), completeness);
        assert!(json["retired"].as_array().is_some_and(|gone| gone.len() >= 6));
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ca = file("ca.pem", b"");
    let args = ["simulate", "--port", &port, "--ca", ca.to_str().unwrap(), "--duration", "1s"];
    refused(&args, 1, &[&port, "in use"]);
}

#[test]
fn usage_errors_have_their_own_code() {
    assert_eq!(foreshock(&["replay"]).status.code(), Some(2));
    assert_eq!(foreshock(&["run", "--duration", "soon"]).status.code(), Some(2));
    assert_eq!(foreshock(&["nonsense"]).status.code(), Some(2));
}

#[test]
fn rows_that_are_no_events_are_counted_by_reason_and_the_rest_is_played() {
    let mut text = HEADER.to_vec();
    text.extend(b"1733330785584,,binance,BTCUSDT,long,94809.6,0.013,1232.52\n");
    text.extend(b"1733330785684,,binance,BTCUSDT,long,NaN,0.013,1232.52\n");
    text.extend(b"garbage\n\xff\xff\n");
    let path = file("mixed.csv", &text);
    let output = foreshock(&["replay", path.to_str().unwrap()]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    for count in ["refused{price} 1", "refused{columns} 1", "refused{utf8} 1"] {
        assert!(stderr.contains(count), "{count}: {stderr}");
    }
}
