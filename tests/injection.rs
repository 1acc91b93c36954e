//! Foreign text is data: names of markets and words of a venue that are commands, markup or colours
//! elsewhere do nothing in a log, in Redis or in JSON. (Alerts: `tests/alert.rs` and `publish::alert`.)
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;

use std::fs;
use std::process::{Command, Stdio};

use foreshock::event::FeedState;
use foreshock::publish::redis::STREAM;
use peer::Certificate;
use scratch::Scratch;
use server::{Server, skipped, text_of};

/// What must be nothing but a name.
const HOSTILE: [&str; 9] = [
    "A\r\nSET injected 1\r\n",
    "\u{1b}[31mRED\u{1b}[0m",
    "=cmd|'/c calc'!A0",
    "\"},{\"level\":\"EXTREME",
    "<img src=x onerror=alert(1)>",
    "*3\r\n$3\r\nSET",
    "*bold* [x](https://e.example)",
    "a b{c=\"d\"} 1\n",
    "@everyone",
];

fn plain(place: &str, text: &str) {
    let odd = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
    assert_eq!(odd, None, "{place}: {text:?}");
}

#[test]
fn s1_s9_hostile_names_are_refused_before_they_reach_a_log_or_redis() {
    if skipped() {
        return;
    }
    let (server, folder) = (Server::start(&[]), Scratch::new("injection"));
    let start = 1_760_130_000_000_u64;
    // Bybit's own format, one message a line; a good market cascades among the hostile ones.
    let mut lines = String::new();
    for i in 0..1_200_u64 {
        // Ten quiet minutes, then many a second.
        let ms = start + if i < 60 { 10_000 * i } else { 600_000 + 10 * (i - 60) };
        let hostile = HOSTILE[usize::try_from(i).unwrap() % HOSTILE.len()];
        let name = if i % 3 == 0 { format!("{hostile}USDT") } else { "SOLUSDT".to_owned() };
        let one = serde_json::json!({"T": ms, "s": name, "S": "Buy", "v": "2000", "p": "140"});
        let topic = format!("allLiquidation.{name}");
        let raw = serde_json::json!({"topic": topic, "data": [one], "ts": ms}).to_string();
        let line = serde_json::json!({"venue": "bybit", "raw": raw, "recv_ts": format!("{}.{:03}", ms / 1_000, ms % 1_000)});
        lines += &format!("{line}\n");
    }
    let (file, out) = (folder.path().join("raw.jsonl"), folder.path().join("signals"));
    fs::write(&file, lines).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(["replay", "--set", &format!("redis.url={}", server.url()), "--out"])
        .args([&out, &file])
        .env_remove("FORESHOCK_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success(), "{said}");
    plain("what it says", &said);
    assert!(said.contains("refused{symbol} 400"), "{said}");
    let signals = fs::read_to_string(&out).unwrap();
    assert!(signals.lines().count() > 2, "{said}");
    for line in signals.lines() {
        let signal: serde_json::Value = serde_json::from_str(line).unwrap();
        let symbol = signal["symbol"].as_str().unwrap();
        assert!(["SOLUSDT", "MARKET", "OTHER"].contains(&symbol), "{symbol:?}");
    }
    let mut client = server.client();
    assert!(client.number(&["XLEN", STREAM]) > 0);
    for key in client.list(&["KEYS", "*"]).iter().map(text_of) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_');
        assert!(key.chars().all(is_plain), "{key:?}");
    }
    assert_eq!(client.number(&["EXISTS", "injected"]), 0);
}

#[test]
fn s1_what_a_venue_says_when_it_hangs_up_is_quoted_harmlessly() {
    for words in HOSTILE {
        let reason = [&1_008_u16.to_be_bytes()[..], words.as_bytes()].concat();
        let peer = peer::peer(Certificate::Good, move |_, mut stream| {
            peer::agree(&mut stream);
            peer::send(&mut stream, &peer::frame(0x88, &reason));
            peer::linger(stream);
        });
        let change = peer::line(&peer).until_state(FeedState::Down);
        assert!(change.why.chars().all(|c| !c.is_control()), "{:?}", change.why);
        assert!(change.why.len() < 400, "{}", change.why);
    }
}
