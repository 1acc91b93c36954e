//! Alerts against a real HTTPS server on loopback: what arrives, how often, and what never does.
//!
//! The sink is told its time where a test is about time; what passes between two attempts is only
//! ever asserted from below.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/scratch.rs"]
mod scratch;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use foreshock::event::{Body, Event, FeedState, Venue};
use foreshock::ledger::Ledger;
use foreshock::output::Message;
use foreshock::publish::Sink as _;
use foreshock::publish::alert::{Alerts, Books, Settings, count};
use foreshock::publish::redis::Status;
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::{Nanos, Now};
use peer::{Certificate, Peer, Stream};
use scratch::Scratch;
use serde_json::Value;

/// In every secret of these tests; it must never come out.
const CANARY: &str = "CANARY7f3a";
const START_MS: i64 = 1_760_130_000_000;

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Arrived {
    head: String,
    body: Value,
    at: Instant,
}

impl Arrived {
    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &'_ str| line.to_ascii_lowercase().starts_with(&format!("{name}: "));
        self.head.lines().find(|&l| line(l)).map(|line| line.split_once(": ").unwrap().1.trim())
    }
}

struct Server {
    peer: Peer,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    scratch: Scratch,
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn answer(status: &str, more: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Answers the nth request with what `answers` says; nothing, for as long as it takes, when empty.
fn server(answers: impl Fn(usize) -> String + Send + Sync + 'static) -> Server {
    let arrived: Arc<Mutex<Vec<Arrived>>> = Arc::default();
    let list = Arc::clone(&arrived);
    let peer = peer::peer(Certificate::Good, move |_, mut stream| {
        let Some(one) = arrival(&mut stream) else { return };
        let n = {
            let mut list = list.lock().unwrap();
            list.push(one);
            list.len() - 1
        };
        let answer = answers(n);
        if answer.is_empty() {
            return peer::linger(stream);
        }
        drop(stream.write_all(answer.as_bytes()));
        stream.conn.send_close_notify();
        drop(stream.flush());
    });
    let scratch = Scratch::new("alert");
    fs::write(scratch.path().join("ca.pem"), &peer.ca_pem).unwrap();
    Server { peer, arrived, scratch }
}

fn arrival(stream: &mut Stream) -> Option<Arrived> {
    let head = peer::request(stream);
    let at = Instant::now();
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length?];
    stream.read_exact(&mut body).ok()?;
    Some(Arrived { head, body: serde_json::from_slice(&body).unwrap(), at })
}

impl Server {
    fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    fn ca(&self) -> String {
        self.scratch.path().join("ca.pem").display().to_string()
    }

    /// A webhook channel that leads here.
    fn channel(&self, more: &str) -> String {
        format!(
            "[[channel]]\nkind = \"webhook\"\nname = \"hook\"\nurl = \"https://localhost:{}/hook\"\n\
             ca_file = \"{}\"\n{more}\n",
            self.peer.port,
            self.ca()
        )
    }
}

struct Bench {
    sink: Alerts,
    ms: i64,
    seq: u64,
}

const PRIVATE: &str = "allow_private = true";

fn bench(settings: &str, redis: Option<Arc<Status>>) -> Bench {
    let settings: Settings = toml::from_str(settings).unwrap();
    Bench { sink: Alerts::open(&settings, 77, redis).unwrap(), ms: START_MS, seq: 0 }
}

impl Bench {
    fn now(&self) -> Now {
        Now::at_millis(self.ms)
    }

    fn change(&mut self, symbol: &str, level: Level) {
        self.seq += 1;
        let symbol = Symbol::parse(symbol).unwrap();
        let report = Report {
            seq: self.seq,
            kind: Kind::Change,
            level,
            ..Report::empty(symbol, self.now().mono)
        };
        self.sink.write(self.now(), &[Message::Report(report)]);
    }

    fn feed(&mut self, state: FeedState) {
        let body = Body::Feed { state, code: 0 };
        let event = Event { body, venue: Venue::Okx, line: 1, ..Event::tick(Nanos(0)) };
        self.sink.write(self.now(), &[Message::Event(event)]);
    }

    /// Lets this many milliseconds of the sink's own time pass.
    fn pass(&mut self, ms: i64) {
        for _ in 0..10 {
            self.ms += ms / 10;
            self.sink.turn(self.now());
        }
    }

    fn books(&self) -> &Books {
        self.sink.books().next().unwrap().1
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !done(self) {
            assert!(Instant::now() < end, "never: {what}; {:?}", self.books());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_delivered(&mut self, n: u64) {
        self.until("delivered", |bench| count(&bench.books().delivered) >= n);
    }

    fn close(mut self) -> Ledger {
        self.sink.close(self.now());
        while self.sink.turn(self.now()) != Turn::Done {
            thread::sleep(Duration::from_millis(5));
        }
        let mut ledger = Ledger::default();
        self.sink.ledger(&mut ledger);
        ledger
    }
}

#[test]
fn a_level_is_told_at_and_above_and_once_below() {
    let server = server(|_| OK.to_owned());
    let mut bench = bench(&server.channel(&format!("{PRIVATE}\nlevel = \"CRITICAL\"")), None);
    for (symbol, level) in [
        ("BTCUSDT", Level::Alert),
        ("ETHUSDT", Level::None),
        ("BTCUSDT", Level::Critical),
        ("BTCUSDT", Level::Watch),
        ("BTCUSDT", Level::None),
    ] {
        bench.change(symbol, level);
    }
    bench.until_delivered(2);
    let ledger = bench.close();
    assert_eq!((ledger.get("alert_notes{hook}"), ledger.get("alert_delivered{hook}")), (2, 2));
    let texts: Vec<String> =
        server.arrived().iter().map(|one| one.body["text"].as_str().unwrap().to_owned()).collect();
    assert!(texts[0].starts_with("CRITICAL ") && texts[0].contains("BTCUSDT"), "{texts:?}");
    assert!(texts.last().unwrap().contains("calm again: WATCH"), "{texts:?}");
}

#[test]
fn a1_after_500_twice_it_arrives_with_the_same_key_and_bytes() {
    let server = server(|n| if n < 2 { answer("500 Oh", "") } else { OK.to_owned() });
    let mut bench = bench(&server.channel(PRIVATE), None);
    bench.change("BTCUSDT", Level::Alert);
    bench.until_delivered(1);
    let arrived = server.arrived();
    assert_eq!(arrived.len(), 3);
    for one in &arrived {
        assert_eq!(one.header("idempotency-key"), Some("77-1"));
        assert_eq!(one.body, arrived[0].body);
    }
    assert_eq!(count(&bench.books().messages), 1);
}

#[test]
fn a1_the_pause_a_server_asks_for_is_kept() {
    let server = server(|n| match n {
        // As a date, by the server's own clock.
        0 => answer(
            "429 Too Many Requests",
            "Date: Fri, 10 Oct 2025 21:00:00 GMT\r\nRetry-After: Fri, 10 Oct 2025 21:00:03 GMT\r\n",
        ),
        _ => OK.to_owned(),
    });
    let mut bench = bench(&server.channel(PRIVATE), None);
    bench.change("BTCUSDT", Level::Alert);
    bench.until("asked to wait", |_| server.arrived().len() == 1);
    bench.change("ETHUSDT", Level::Alert);
    bench.until_delivered(2);
    let arrived = server.arrived();
    let waited = arrived[1].at.duration_since(arrived[0].at);
    assert!(waited >= Duration::from_millis(2_900), "{waited:?}");
    let keys: Vec<_> = arrived.iter().map(|one| one.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys, ["77-1", "77-1", "77-2"]);
}

#[test]
fn a1_a_server_that_hangs_delays_its_own_channel_and_nobody_else() {
    let server = server(|n| if n == 0 { String::new() } else { OK.to_owned() });
    let other = self::server(|_| OK.to_owned());
    let second = other.channel(PRIVATE).replace("\"hook\"", "\"other\"");
    let mut bench = bench(&format!("{}{second}", server.channel(PRIVATE)), None);
    bench.change("BTCUSDT", Level::Alert);
    bench.until("the other delivers", |bench| {
        bench.sink.books().nth(1).is_some_and(|(_, books)| count(&books.delivered) == 1)
    });
    assert_eq!(count(&bench.books().delivered), 0, "the first still hangs");
    bench.until_delivered(1);
    assert_eq!(server.arrived()[1].header("idempotency-key"), Some("77-1"));
}

#[test]
fn a1_a_redirect_is_refused_and_not_followed() {
    let server = server(|n| match n {
        0 => answer("301 Moved", "Location: /elsewhere\r\n"),
        _ => OK.to_owned(),
    });
    let mut bench = bench(&server.channel(PRIVATE), None);
    bench.change("BTCUSDT", Level::Alert);
    bench.until("refused", |bench| count(&bench.books().refused) == 1);
    bench.change("ETHUSDT", Level::Alert);
    bench.until_delivered(1);
    let arrived = server.arrived();
    assert!(arrived.iter().all(|one| one.path() == "/hook"), "{arrived:?}");
    assert_eq!(arrived[1].body["not_delivered_before"], 1);
}

#[test]
fn s4_an_address_inside_is_refused_before_a_connection_is_made() {
    let server = server(|_| OK.to_owned());
    for host in ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1"] {
        let settings = server.channel("").replace("localhost", host);
        let mut bench = bench(&settings, None);
        bench.change("BTCUSDT", Level::Alert);
        bench.until("refused", |bench| count(&bench.books().refused) == 1);
        assert_eq!(count(&bench.books().delivered), 0);
    }
    assert!(server.arrived().is_empty());
}

#[test]
fn a2_a_storm_is_few_messages_with_exact_counts() {
    let server = server(|_| OK.to_owned());
    let mut bench = bench(&server.channel(PRIVATE), None);
    bench.change("BTCUSDT", Level::Alert);
    bench.until("the first goes at once", |_| server.arrived().len() == 1);
    assert_eq!(server.arrived()[0].body["total"], 1);
    // Thirty symbols that rise and rise, about as many changes a second as on 10 October 2025, and
    // one burst that no queue can take.
    let began = Instant::now();
    let levels = [Level::Alert, Level::Critical, Level::Extreme];
    for i in 0..600_usize {
        bench.change(&format!("COIN{}USDT", i % 30), levels[i / 30 % 3]);
        thread::sleep(Duration::from_millis(5));
    }
    for i in 0..2_000_usize {
        bench.change(&format!("COIN{}USDT", i % 30), Level::Extreme);
    }
    let told = |server: &Server, key: &str| -> u64 {
        server.arrived().iter().map(|one| one.body[key].as_u64().unwrap()).sum()
    };
    bench.until("the burst is settled", |bench| bench.books().waiting() == 0);
    bench.change("ETHUSDT", Level::Critical);
    bench.until("all are told", |_| {
        told(&server, "total") + told(&server, "not_delivered_before") == 2_602
    });
    let seconds = began.elapsed().as_secs() + 1;
    let arrived = server.arrived();
    assert!(arrived.len() as u64 <= seconds + 1, "{} messages in {seconds} s", arrived.len());
    assert!(arrived.iter().all(|one| one.body["signals"].as_array().unwrap().len() <= 5));
    let books = bench.books();
    assert_eq!(count(&books.delivered), told(&server, "total"));
    assert_eq!(count(&books.overrun), told(&server, "not_delivered_before"));
    for one in &arrived {
        let counts = one.body["counts"].as_object().unwrap();
        let sum: u64 = counts.values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(one.body["total"], sum);
    }
}

#[test]
fn feeds_and_redis_are_told_when_they_fall_silent_and_when_they_return() {
    let server = server(|_| OK.to_owned());
    let redis = Arc::new(Status::default());
    redis.attempts.store(1, Ordering::Relaxed);
    redis.up.store(true, Ordering::Relaxed);
    let mut bench = bench(&server.channel(PRIVATE), Some(Arc::clone(&redis)));
    bench.feed(FeedState::Live);
    bench.pass(60_000);
    bench.feed(FeedState::Down);
    bench.pass(5_000);
    assert_eq!(count(&bench.books().notes), 0, "a short silence is no news");
    redis.up.store(false, Ordering::Relaxed);
    bench.pass(20_000);
    bench.until_delivered(2);
    bench.feed(FeedState::Live);
    redis.up.store(true, Ordering::Relaxed);
    bench.pass(1_000);
    bench.until_delivered(4);
    let texts: String = server.arrived().iter().map(|one| one.body["text"].to_string()).collect();
    for words in [
        "feed okx line 1: down; its liquidations are not heard",
        "Redis takes no signals",
        "feed okx line 1: live again",
        "Redis takes signals again",
    ] {
        assert_eq!(texts.matches(words).count(), 1, "{words}: {texts}");
    }
}

#[test]
fn what_is_left_at_the_end_is_sent_or_counted() {
    let server = server(|n| match n {
        0 => OK.to_owned(),
        _ => answer("503 Later", "Retry-After: 60\r\n"),
    });
    let mut bench = bench(&server.channel(PRIVATE), None);
    bench.change("BTCUSDT", Level::Alert);
    bench.until_delivered(1);
    bench.change("BTCUSDT", Level::Critical);
    bench.change("ETHUSDT", Level::Critical);
    let ledger = bench.close();
    let get = |name: &str| ledger.get(&format!("{name}{{hook}}"));
    assert_eq!((get("alert_notes"), get("alert_delivered"), get("alert_waiting")), (3, 1, 2));
}

/// Runs the program with the channels of `config`, their secrets in the environment.
fn foreshock(args: &[&str], config: &str, scratch: &Scratch, env: &[(&str, String)]) -> Output {
    let path = scratch.path().join("foreshock.toml");
    fs::write(&path, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(args)
        .arg("--config")
        .arg(&path)
        .env_remove("FORESHOCK_CONFIG")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// All four kinds, leading to `server`, and the environment with their secrets.
fn everyone(server: &Server) -> (String, Vec<(&'static str, String)>) {
    let (ca, here) = (server.ca(), format!("https://localhost:{}", server.peer.port));
    let common = format!("ca_file = \"{ca}\"\nallow_private = true\n");
    let channel =
        |kind: &str, more: &str| format!("[[alert.channel]]\nkind = \"{kind}\"\n{more}\n{common}");
    let config = [
        channel("webhook", &format!("url = \"{here}/hook\"")),
        channel("telegram", &format!("url = \"{here}\"\nchat = \"-100123\"")),
        channel("discord", ""),
        channel("slack", ""),
    ];
    let env = vec![
        ("FORESHOCK_ALERT_WEBHOOK_TOKEN", CANARY.to_owned()),
        ("FORESHOCK_ALERT_TELEGRAM_TOKEN", format!("123:{CANARY}")),
        ("FORESHOCK_ALERT_DISCORD_TOKEN", format!("{here}/discord/{CANARY}")),
        ("FORESHOCK_ALERT_SLACK_TOKEN", format!("{here}/slack/{CANARY}")),
    ];
    (config.concat(), env)
}

#[test]
fn s3_the_command_reaches_every_channel_and_no_secret_comes_out() {
    let server = server(|_| OK.to_owned());
    let (config, env) = everyone(&server);
    let output = foreshock(&["alert", "test"], &config, &server.scratch, &env);
    let words = text(&output);
    assert_eq!(output.status.code(), Some(0), "{words}");
    for kind in ["webhook", "telegram", "discord", "slack"] {
        assert!(words.contains(&format!("{kind} ({kind}): delivered")), "{words}");
    }
    let arrived = server.arrived();
    let paths: Vec<&str> = arrived.iter().map(Arrived::path).collect();
    let telegram = format!("/bot123:{CANARY}/sendMessage");
    let (discord, slack) = (format!("/discord/{CANARY}"), format!("/slack/{CANARY}"));
    assert_eq!(paths, ["/hook", &telegram, &discord, &slack]);
    assert_eq!(arrived[0].header("authorization"), Some(&*format!("Bearer {CANARY}")));
    assert_eq!(arrived[1].body["chat_id"], "-100123");
    let checked = foreshock(&["check"], &config, &server.scratch, &env);
    assert_eq!(checked.status.code(), Some(0));
    for output in [output, checked] {
        assert!(!text(&output).contains(CANARY), "{}", text(&output));
    }
}

#[test]
fn a_replay_says_what_it_is() {
    let server = server(|_| OK.to_owned());
    let (config, env) = everyone(&server);
    let mut events = "ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd\n".to_owned();
    // Ten quiet minutes, one liquidation in ten seconds, then eighty a second for five.
    let quiet = (0..60).map(|i| 10_000 * i);
    for ms in quiet.chain((0..400).map(|i| 600_000 + i * 25 / 2)).map(|ms| START_MS + ms) {
        events += &format!("{ms},{ms},bybit,BTCUSDT,long,100000,1,100000\n");
    }
    let file = server.scratch.path().join("events.csv");
    fs::write(&file, events).unwrap();
    let output = foreshock(&["replay", file.to_str().unwrap()], &config, &server.scratch, &env);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let arrived = server.arrived();
    for path in ["/hook", "/bot", "/discord", "/slack"] {
        assert!(
            arrived.iter().any(|one| one.path().starts_with(path)),
            "{path}: {}",
            text(&output)
        );
    }
    for one in &arrived {
        let said = one.body.get("text").or_else(|| one.body.get("content")).unwrap();
        assert!(said.as_str().unwrap().starts_with("REPLAY "), "{said}");
    }
    assert!(!text(&output).contains(CANARY), "{}", text(&output));
}

#[test]
fn s3_no_failure_repeats_a_secret() {
    let server = server(|n| match n {
        0 => answer("401 No", ""),
        1 => answer("302 There", "Location: https://localhost/x\r\n"),
        2 => "nonsense\r\n\r\n".to_owned(),
        _ => answer("429 Slow", "Retry-After: 9\r\n"),
    });
    let (config, env) = everyone(&server);
    let output = foreshock(&["alert", "test"], &config, &server.scratch, &env);
    let mut words = text(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    for said in
        ["webhook): refused: http 401", "redirects are not followed", "not HTTP", "alone for 9 s"]
    {
        assert!(words.contains(said), "{said}: {words}");
    }
    // Nobody listens there, not private, and no URL at all.
    for wrong in ["https://localhost:1/CANARY7f3a", "http://h/CANARY7f3a", "CANARY7f3a"] {
        let env = [("FORESHOCK_ALERT_SLACK_TOKEN", wrong.to_owned())];
        let config = "[[alert.channel]]\nkind = \"slack\"\nallow_private = true\n";
        let output = foreshock(&["alert", "test"], config, &server.scratch, &env);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        words += &text(&output);
    }
    let foreign = format!("https://localhost:{}/{CANARY}", server.peer.port);
    let config = "[[alert.channel]]\nkind = \"slack\"\nallow_private = true\n";
    let env = [("FORESHOCK_ALERT_SLACK_TOKEN", foreign)];
    let untrusted = foreshock(&["alert", "test"], config, &server.scratch, &env);
    assert_eq!(untrusted.status.code(), Some(1));
    words += &text(&untrusted);
    assert!(words.contains("ertificate"), "{words}");
    assert!(!words.contains(CANARY), "{words}");
}

#[test]
fn s3_a_secret_s_file_is_for_its_owner_only() {
    let server = server(|_| OK.to_owned());
    let file = server.scratch.path().join("token");
    fs::write(&file, format!("https://localhost:{}/{CANARY}\n", server.peer.port)).unwrap();
    let config = format!(
        "[[alert.channel]]\nkind = \"slack\"\nname = \"fromfile\"\nallow_private = true\nca_file = \"{}\"\ntoken_file = \"{}\"\n",
        server.ca(),
        file.display()
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = foreshock(&["alert", "test"], &config, &server.scratch, &[]);
    assert!(text(&output).contains("others can read it"), "{}", text(&output));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let output = foreshock(&["alert", "test"], &config, &server.scratch, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(server.arrived().len(), 1);
    let none = foreshock(&["alert", "test"], "", &server.scratch, &[]);
    assert_eq!(none.status.code(), Some(3), "{}", text(&none));
}
