//! `foreshock export`: what comes out of a journal, and that it goes in again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/scratch.rs"]
mod scratch;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use foreshock::record::files_in;
use scratch::Scratch;
use sha2::{Digest, Sha256};

const HEADER: &str = "ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd";
const START: u64 = 1_790_000_000_000;

/// Half a minute in which liquidations come faster and faster, of all venues, with all that may be
/// missing, and then half a minute of less.
fn market() -> String {
    let mut text = format!("{HEADER}\n");
    let mut state = 4_711_u64;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut ms = 0;
    while ms < 60_000 {
        let every = if ms < 30_000 { 2_000 / (1 + ms * ms / 9_000_000) } else { 900 };
        ms += 1 + draw(every.max(2));
        let venue = ["binance", "bybit", "okx", "hyperliquid", "elsewhere"][draw(5) as usize];
        let coin = draw(30);
        let symbol = match venue {
            "hyperliquid" => format!("COIN{coin}"),
            "binance" if coin == 7 => "1000COIN7USDT".to_owned(),
            _ => format!("COIN{coin}USDT"),
        };
        let side = ["long", "short", "long", ""][draw(4) as usize];
        let (price, usd) =
            (100.0 + draw(50_000) as f64 / 1e3, 1_000.0 + draw(90_000_000) as f64 / 1e3);
        let price = if draw(9) == 0 { String::new() } else { price.to_string() };
        let usd = if draw(11) == 0 { String::new() } else { usd.to_string() };
        let (at, received) = (START + ms, START + ms + draw(40));
        writeln!(text, "{at},{received},{venue},{symbol},{side},{price},,{usd}").unwrap();
    }
    let mut rows: Vec<_> = text.lines().skip(1).map(str::to_owned).collect();
    rows.sort_by_key(|row| row.split(',').nth(1).unwrap().parse::<u64>().unwrap());
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

fn foreshock(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foreshock"));
    command.args(args).env_remove("FORESHOCK_CONFIG").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Number and SHA-256 of the signals of a replay.
fn replay(file: &Path, more: &[&str]) -> (String, String) {
    let output = foreshock(&[&["replay", file.to_str().unwrap()], more].concat());
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let word = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    };
    (word("signals"), word("sha256"))
}

fn export(journal: &Path, what: &str, more: &[&str]) -> Output {
    let journal = journal.to_str().unwrap();
    foreshock(&[&["export", "--journal", journal, "--what", what], more].concat())
}

fn exported(journal: &Path, what: &str, more: &[&str]) -> String {
    let output = export(journal, what, more);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A journal of the market above, and the number and the hash of its signals.
fn journal(scratch: &Scratch) -> (PathBuf, (String, String)) {
    let (file, journal) = (scratch.path().join("in.csv"), scratch.path().join("journal"));
    fs::write(&file, market()).unwrap();
    let set = format!("journal.directory={}", journal.display());
    let told = replay(&file, &["--set", &set]);
    (journal, told)
}

/// Takes CSV apart as RFC 4180 says.
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty());
    rows
}

/// Rows by the names of their columns.
fn column<'a>(rows: &'a [Vec<String>], name: &str) -> Vec<&'a str> {
    let at = rows[0].iter().position(|known| known == name).unwrap_or_else(|| panic!("{name}"));
    rows[1..].iter().map(|row| row[at].as_str()).collect()
}

#[test]
fn exported_events_replay_to_the_same_signals() {
    let scratch = Scratch::new("round");
    let (journal, told) = journal(&scratch);
    assert!(told.0.parse::<u32>().unwrap() > 5, "{told:?}");
    let file = scratch.path().join("out.csv");
    fs::write(&file, "what was there before").unwrap();
    let output = export(&journal, "events", &["--output", file.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", said(&output));
    assert_eq!(replay(&file, &[]), told);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), market().lines().count());
    assert_eq!(text.lines().next(), Some(HEADER));
    let names: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing half written is left: {names:?}");
}

#[test]
fn exported_signals_are_those_that_were_hashed() {
    let scratch = Scratch::new("signals");
    let (journal, (n, hash)) = journal(&scratch);
    let lines = exported(&journal, "signals", &["--format", "json"]);
    assert_eq!(lines.lines().count().to_string(), n);
    let digest: String =
        Sha256::digest(lines.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, hash);

    let rows = cells(&exported(&journal, "signals", &[]));
    assert_eq!((rows.len() - 1).to_string(), n);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    for (i, line) in lines.lines().enumerate() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let cell = |name: &str| column(&rows, name)[i];
        assert_eq!(cell("seq"), json["meta"]["seq"].to_string());
        assert_eq!(cell("at_ms"), json["timestamp"].to_string());
        assert_eq!(cell("explanation"), json["explanation"].as_str().unwrap());
        assert!(
            line.contains(&format!("\"probability\":{},", cell("probability"))),
            "to the digit"
        );
        assert_eq!(cell("event_count_2s"), json["metrics"]["event_count_2s"].to_string());
        assert_eq!(cell("btc_price"), "", "nobody told it");
    }
}

#[test]
fn there_is_one_state_for_each_second_and_symbol_and_filters_keep_to_their_bounds() {
    let scratch = Scratch::new("state");
    let (journal, _) = journal(&scratch);
    let rows = cells(&exported(&journal, "state", &[]));
    let key = |i: usize| {
        let second = column(&rows, "at_ms")[i].parse::<u64>().unwrap() / 1_000;
        (column(&rows, "symbol")[i].to_owned(), second)
    };
    let (ats, symbols) = (column(&rows, "at_ms"), column(&rows, "symbol"));
    let mut keys: Vec<_> = (0..rows.len().min(400) - 1).map(key).collect();
    keys.sort();
    let all = keys.len();
    keys.dedup();
    assert_eq!((keys.len(), all), (all, 399));

    let (from, to) = (START + 20_000, START + 30_000);
    let bounds = [from.to_string(), to.to_string()];
    let args = ["--symbol", "MARKET", "--from", &bounds[0], "--to", &bounds[1]];
    let some = cells(&exported(&journal, "state", &args));
    let expected = ats.iter().zip(&symbols).filter(|(at, symbol)| {
        let at: u64 = at.parse().unwrap();
        **symbol == "MARKET" && (from..to).contains(&at)
    });
    let expected: Vec<_> = expected.map(|(at, _)| *at).collect();
    assert_eq!(column(&some, "at_ms"), expected);
    assert_eq!(expected.len(), 10);
    let lines = exported(&journal, "state", &[&args[..], &["--format", "json"]].concat());
    assert_eq!(lines.lines().count(), 10);
}

#[test]
fn a_journal_that_is_cut_off_or_damaged_gives_what_is_whole() {
    let scratch = Scratch::new("damage");
    let (journal, _) = journal(&scratch);
    let whole = exported(&journal, "events", &[]);
    let file = files_in(&journal).unwrap().pop().unwrap();
    let bytes = fs::read(&file).unwrap();
    let prefix = |output: &Output| {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(whole.starts_with(&text) && text.len() > HEADER.len(), "{} bytes", text.len());
        text.len() < whole.len()
    };

    fs::write(&file, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let output = export(&journal, "events", &[]);
    assert!(output.status.success() && prefix(&output));
    assert!(said(&output).contains("as after a crash"), "{}", said(&output));

    let mut wrong = bytes.clone();
    wrong[bytes.len() * 2 / 3] ^= 1;
    fs::write(&file, &wrong).unwrap();
    let out = scratch.path().join("part.csv");
    let output = export(&journal, "events", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(prefix(&output));
    assert!(said(&output).contains("checksum"), "{}", said(&output));
    let to_file = export(&journal, "events", &["--output", out.to_str().unwrap()]);
    assert_eq!(to_file.status.code(), Some(1));
    assert_eq!(fs::read(&out).unwrap(), output.stdout, "the file is there all the same");
}

#[test]
fn text_of_others_is_no_formula_and_what_cannot_be_written_is_named() {
    let scratch = Scratch::new("hostile");
    let (file, journal) = (scratch.path().join("in.csv"), scratch.path().join("journal"));
    fs::write(&file, format!("{HEADER}\n{START},,elsewhere,-1USDT,long,1,1,1\n")).unwrap();
    replay(&file, &["--set", &format!("journal.directory={}", journal.display())]);
    let text = exported(&journal, "events", &[]);
    assert_eq!(text, format!("{HEADER}\n{START},{START},other,'-1USDT,long,1,,1.000000\n"));
    let output = export(&journal, "events", &["--output", "/no/such/folder/x.csv"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/no/such/folder"), "{}", said(&output));
    let output = export(&journal, "events", &["--from", "yesterday"]);
    assert_eq!(output.status.code(), Some(2));
    let output = export(Path::new("/no/such/journal"), "events", &[]);
    assert_eq!(output.status.code(), Some(1));
}
