//! Replay: the same input gives the same bytes, whatever the layout, the rings, the speed, the build.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A market of our own: 20 s of quiet, 15 s in which liquidations double every 2.5 s over 40
/// symbols, 10 s of calm. Times, sizes and symbols from a small congruential generator.
fn market(seconds_of_quiet: u64) -> String {
    let mut text = "ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd\n".to_owned();
    let mut state = 12_345_u64;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut row = |ms: u64, draw: &mut dyn FnMut(u64) -> u64| {
        let (symbol, venue) = (draw(40), ["binance", "bybit", "okx"][draw(3) as usize]);
        let (price, usd) = (100 + draw(50), 5_000 + draw(90_000));
        let qty = usd as f64 / price as f64;
        let at = 1_790_000_000_000 + ms;
        writeln!(text, "{at},,{venue},COIN{symbol}USDT,long,{price},{qty},{usd}").unwrap();
    };
    let (quiet, build, calm) = (seconds_of_quiet * 1_000, 15_000, 10_000);
    let mut ms = 0;
    while ms < quiet + build + calm {
        let rate = match ms {
            ms if (quiet..quiet + build).contains(&ms) => {
                2.0_f64.powf((ms - quiet) as f64 / 2_500.0)
            }
            _ => 0.5,
        };
        ms += (draw(2_000) as f64 / rate) as u64 + 1;
        row(ms, &mut draw);
    }
    text
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("foreshock-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn replay(binary: &Path, file: &Path, args: &[&str]) -> Output {
    Command::new(binary).arg("replay").arg(file).args(args).output().unwrap()
}

fn debug() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_foreshock"))
}

/// The lines `signals N` and `sha256 ...` of a replay that succeeded.
fn result(output: &Output) -> (u64, String) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    let word = |name: &str| {
        let line = stdout.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name:?} in {stdout}")).to_owned()
    };
    (word("signals ").parse().unwrap(), word("sha256 "))
}

#[test]
fn layout_and_ring_size_do_not_change_a_byte() {
    let scratch = Scratch::new("replay-layout");
    let file = scratch.file("market.csv", &market(20));
    let mut written = Vec::new();
    for (layout, ring) in [("inline", 65_536), ("inline", 64), ("shared", 64), ("dedicated", 4_096)]
    {
        let out = scratch.0.join(format!("{layout}-{ring}.jsonl"));
        let layout_set = format!("run.layout={layout}");
        let rings = [format!("run.event_ring={ring}"), format!("run.output_ring={ring}")];
        let args = ["--set", &layout_set, "--set", &rings[0], "--set", &rings[1], "--out"];
        let output = replay(&debug(), &file, &[&args[..], &[out.to_str().unwrap()]].concat());
        written.push((
            format!("{layout} {ring}"),
            result(&output),
            fs::read_to_string(out).unwrap(),
        ));
    }
    let (_, (signals, sha), text) = &written[0];
    assert!(*signals > 0 && text.lines().count() as u64 == *signals, "{signals} signals");
    assert!(text.contains("\"signal\":\"ALERT\""), "the cascade must be seen: {text}");
    for (name, (_, other_sha), other) in &written {
        let first = text.lines().zip(other.lines()).find(|(a, b)| a != b);
        assert_eq!(first, None, "{name} differs");
        assert_eq!((sha, text.len()), (other_sha, other.len()), "{name}");
    }
}

#[test]
fn debug_and_release_agree() {
    let release = debug().parent().unwrap().parent().unwrap().join("release/foreshock");
    if !release.exists() {
        eprintln!("skipped: {} is not built (tests/run.sh builds it)", release.display());
        return;
    }
    let scratch = Scratch::new("replay-release");
    let file = scratch.file("market.csv", &market(20));
    assert_eq!(result(&replay(&debug(), &file, &[])), result(&replay(&release, &file, &[])));
}

#[test]
fn speed_does_not_change_a_byte() {
    let scratch = Scratch::new("replay-speed");
    let file = scratch.file("market.csv", &market(2));
    let fast = result(&replay(&debug(), &file, &[]));
    assert_eq!(fast, result(&replay(&debug(), &file, &["--speed", "10"])));
}

#[test]
fn a_journal_gives_the_same_signals_and_says_when_it_does_not() {
    let scratch = Scratch::new("replay-journal");
    let file = scratch.file("market.csv", &market(20));
    let journal = scratch.0.join("journal");
    let directory = format!("journal.directory=\"{}\"", journal.display());
    let first = result(&replay(&debug(), &file, &["--set", &directory]));
    let again = replay(&debug(), &journal, &[]);
    assert_eq!(first, result(&again));
    assert!(String::from_utf8_lossy(&again.stdout).contains("the same signals"));

    let other = replay(&debug(), &journal, &["--set", "engine.levels.watch=0.2"]);
    let stderr = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("the replay made"), "{stderr}");
}

#[test]
fn a_long_gap_starts_a_new_session() {
    let scratch = Scratch::new("replay-gap");
    let one = market(2);
    let later = one.replace("\n179000", "\n179003");
    let both = format!("{one}{}", later.split_once('\n').unwrap().1);
    let out = scratch.0.join("out.jsonl");
    let file = scratch.file("two.csv", &both);
    result(&replay(&debug(), &file, &["--out", out.to_str().unwrap()]));
    let said: Vec<serde_json::Value> = fs::read_to_string(out)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let session = |from: i64, to: i64| -> Vec<String> {
        let within =
            |s: &&serde_json::Value| (from..to).contains(&s["timestamp"].as_i64().unwrap());
        let what = |s: &serde_json::Value| format!("{} {} {}", s["symbol"], s["signal"], s["risk"]);
        said.iter().filter(within).map(what).collect()
    };
    let first = session(1_790_000_000_000, 1_790_030_000_000);
    // The reset itself closes what was open: those signals say NONE and nothing is live.
    let second: Vec<_> = session(1_790_030_000_000, i64::MAX)
        .into_iter()
        .skip_while(|what| what.contains("NONE"))
        .collect();
    assert!(first.len() > 10 && first == second, "{first:#?}\n{second:#?}");
}

#[test]
fn recorded_markets_keep_the_books() {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/datasets"));
    if !shared.exists() {
        eprintln!("skipped: {} is not there", shared.display());
        return;
    }
    for set in ["binance_allsym_2025-10-22_24", "hyperliquid_sample_2025-05"] {
        let output = replay(&debug(), &shared.join(set).join("events.csv.gz"), &[]);
        result(&output);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("refused 0") && !stderr.contains("BROKEN"), "{set}: {stderr}");
    }
}
