//! `foreshock top` as somebody at a terminal or a program at a pipe has it: over a real run, over nobody,
//! over a run that goes away and comes back, and over strangers who wish it ill.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/child.rs"]
mod child;
#[path = "support/terminal.rs"]
mod terminal;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use terminal::Terminal;

const FORESHOCK: &str = env!("CARGO_BIN_EXE_foreshock");
const PATIENCE: Duration = Duration::from_secs(20);

fn top(args: &[&str]) -> Output {
    let mut command = Command::new(FORESHOCK);
    command.arg("top").args(args).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Why it ended: exit code and the one line it said.
fn failure(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
    (output.status.code(), stderr)
}

/// A simulated market with a page.
struct Demo(Child);

impl Demo {
    /// Starts one and says where its page is. Port 0 for any.
    fn start(port: u16) -> (Self, String) {
        let listen = format!("page.listen=127.0.0.1:{port}");
        let mut child = Command::new(FORESHOCK)
            .args(["demo", "--duration", "30s", "--set", &listen])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let found = said.by_ref().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("page: http://")
                .and_then(|rest| rest.strip_suffix('/'))
                .map(str::to_owned)
        });
        // Whatever else it says is heard, or it would wait.
        thread::spawn(move || said.for_each(drop));
        (Self(child), found.expect("a page"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program whose lines come one by one.
struct Lines {
    child: Child,
    said: Receiver<String>,
}

impl Lines {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(FORESHOCK);
        command.arg("top").args(args).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, said) = channel();
        thread::spawn(move || {
            out.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok());
        });
        Self { child, said }
    }

    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let line = self.said.recv_timeout(left).unwrap_or_else(|_| panic!("never {what}"));
            if wanted(&line) {
                return line;
            }
        }
    }

    /// The most memory it ever had, MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_run_is_seen_at_a_terminal_and_a_pipe_lost_and_found_again() {
    let (demo, place) = Demo::start(0);
    let port: u16 = place.rsplit_once(':').unwrap().1.parse().unwrap();
    // At a pipe: lines of words, or documents.
    let at = ["--address", place.as_str()];
    let lines = Lines::start(&[&at[..], &["--every", "200ms"]].concat());
    let documents = Lines::start(&[&at[..], &["--every", "200ms", "--format", "json"]].concat());
    lines.until("ready", |line| line.starts_with("top ") && line.contains("  ready: 4 of 4"));
    documents.until("a document", |line| line.starts_with(r#"{"run":"#));
    let block = stdout(&top(&[&at[..], &["--once"]].concat()));
    assert!(block.starts_with("top ") && block.contains(" DEMO  live "), "{block}");
    for start in ["market ", "feed     binance market", "feed     okx public", "counts   dropped "]
    {
        assert!(block.lines().any(|line| line.starts_with(start)), "{start}: {block}");
    }
    assert!(!block.contains('\x1b'), "{block:?}");
    let json = stdout(&top(&[&at[..], &["--once", "--format", "json"]].concat()));
    assert_eq!(json.lines().count(), 1);
    let status: Value = serde_json::from_str(&json).unwrap();
    assert!(status["health"]["venues"] == 4 && status["mark"] == "DEMO", "{status}");

    // At a terminal.
    let glass = Terminal::start(&[FORESHOCK, "top", "--address", &place], &[], (80, 24));
    let mut glass = glass.map(|mut glass| {
        let text = glass.until("a live screen", |glass| glass.line(0).contains("ready 4/4"));
        assert!(text.starts_with("live  DEMO") && text.contains("MARKET"), "{text}");
        assert!(text.lines().nth(23).unwrap().starts_with("q quit"), "{text}");
        assert!(glass.glass.is_other && glass.glass.is_blind && !glass.is_sane());
        glass
    });
    let mut press = |keys: &str, what: &str| {
        let Some(glass) = &mut glass else { return String::new() };
        glass.press(keys);
        glass.until(what, |glass| glass.text().contains(what))
    };
    press("2", "hyperliquid ws");
    press("\x1b[A\x1b[B5", "p99.9");
    press("1s", "symbols by velocity");
    press("s", "symbols by USD");
    press("?", "Ctrl-L Ctrl-Z");
    press("?/zz", "symbol: ZZ");
    press("\r", "only ZZ");
    press("/", "symbol: ");
    press("\x1b", "q quit");
    press("p", "PAUSED");
    press("p", "live  DEMO");
    if let Some(glass) = &mut glass {
        glass.resize((60, 15));
        glass.until("a smaller screen", |glass| glass.line(14).starts_with("q quit"));
        glass.resize((100, 30));
        glass.until("a larger screen", |glass| glass.line(29).starts_with("q quit"));
    }

    // The run dies.
    drop(demo);
    let lost = lines.until("that it is lost", |line| line.starts_with("lost "));
    assert!(lost.contains(&place) && lost.contains("trying again: "), "{lost}");
    lines.until("nobody", |line| line.contains("nobody listens there"));
    documents.until("a document that says so", |line| line == r#"{"lost":"nobody listens there"}"#);
    if let Some(glass) = &mut glass {
        let text = glass.until("that it is lost", |glass| {
            glass.line(0).starts_with("LOST ") && glass.line(1).contains(" old: ")
        });
        assert!(text.contains("trying again") && !text.contains("live  DEMO"), "{text}");
    }
    // And comes back.
    let (_demo, again) = Demo::start(port);
    assert_eq!(again, place);
    lines.until("it again", |line| line.starts_with("top ") && line.contains(" live "));
    documents.until("it again", |line| line.starts_with(r#"{"run":"#));
    if let Some(mut glass) = glass {
        glass.until("it again", |glass| glass.line(0).starts_with("live  DEMO"));
        glass.press("q");
        assert!(glass.finish().success());
        assert!(glass.is_sane() && !glass.glass.is_other && !glass.glass.is_blind);
    }
}

/// A page of ours: answers each connection with a head and then whatever `say` says.
fn page(head: &'static str, say: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let say = std::sync::Arc::new(say);
    thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let say = std::sync::Arc::clone(&say);
            thread::spawn(move || {
                let mut request = [0; 4096];
                drop(socket.read(&mut request));
                drop(socket.write_all(head.as_bytes()));
                say(&mut socket);
            });
        }
    });
    place
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";

/// Says it until nobody listens.
fn forever(text: &'static [u8], pause: Duration) -> impl Fn(&mut TcpStream) {
    move |socket| {
        while socket.write_all(text).is_ok() {
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
    }
}

fn frame() -> Value {
    json!({
        "run": 1, "version": "0", "mark": "", "now": 0, "age": null, "still": false, "market": null,
        "list": [], "feeds": null, "redis": null, "latency": [], "counts": [],
        "health": { "live": true, "ready": false, "stuck": [], "venues": 0, "heard": 0, "fresh": 0,
            "needed": 1, "deaf": [] },
    })
}

#[test]
fn where_nobody_is_it_says_where_it_looked_and_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = format!("127.0.0.1:{port}");
    let set = format!("page.listen={place}");
    for args in [
        &["--address", &place, "--once"][..],
        &["--address", &place],
        &["--set", &set, "--format", "json"],
        &["--address", &format!("http://{place}/")],
    ] {
        let (code, line) = failure(&top(args));
        assert_eq!(code, Some(1), "{line}");
        let wanted = format!(
            "foreshock: top: no foreshock at {place}: nobody listens there; start `foreshock run`"
        );
        assert!(line.starts_with(&wanted) && line.contains("--address HOST:PORT"), "{line}");
    }
    for args in [&["--address", "nowhere"][..], &["--set", "page.listen="], &["--every", "1ms"]] {
        assert_eq!(top(args).status.code(), Some(2), "{args:?}");
    }
    // At a terminal nothing is drawn for it.
    if let Some(mut glass) =
        Terminal::start(&[FORESHOCK, "top", "--address", &place], &[], (80, 24))
    {
        assert_eq!(glass.finish().code(), Some(1));
        assert!(
            !String::from_utf8_lossy(&glass.glass.raw).contains('\x1b'),
            "{}",
            glass.glass.text()
        );
        assert!(glass.is_sane());
    }
}

#[test]
fn a_stranger_is_bounded_in_time_and_memory_and_named() {
    let quick = Duration::ZERO;
    let slow = Duration::from_millis(300);
    let head = |head: &'static str| page(head, |socket| drop(socket.read(&mut [0; 16])));
    let cases = [
        (page("SSH-2.0-OpenSSH_9.6\r\n", |_| {}), false, "does not speak HTTP"),
        (
            page("HTTP/1.1 200 OK\r\n", forever(b"X-More: of this\r\n", quick)),
            false,
            "speak HTTP|no end",
        ),
        (
            page("HTTP/1.1 200 OK\r\nX: ", forever(b"aaaaaaaaaaaaaaaaaaaaaaaa", quick)),
            false,
            "its head has no end",
        ),
        (page("", forever(b"H", slow)), false, "does not speak HTTP"),
        (page("HTTP/1.1 200 OK\r\nX: ", forever(b"a", slow)), false, "says nothing"),
        (page("", |socket| drop(socket.read(&mut [0; 16]))), false, "says nothing"),
        (
            head("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"),
            false,
            "answers with something else",
        ),
        (head("HTTP/1.1 404 Not Found\r\n\r\n"), false, "it answers 404"),
        (
            head("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
            false,
            "it answers 302",
        ),
        (head("HTTP/1.1 503 Service Unavailable\r\n\r\n"), false, "too many look at it"),
        (page(EVENTS, |_| {}), false, "it hung up"),
        (page(EVENTS, forever(b": nothing\n", Duration::from_millis(1))), false, "says nothing"),
        (page(EVENTS, forever(b"data: x", quick)), false, "no end"),
        (page(EVENTS, forever(b"data: {}\n\n", quick)), false, "no frame: "),
        (page(EVENTS, forever(b"data: \xff\n\n", quick)), false, "no text"),
        (page(EVENTS, forever(b"data: {\"a\": \"\x1b[2J\"}\n\n", quick)), false, "no frame: "),
        (page(JSON, forever(b"[[[[[[[[[[", quick)), true, "no end"),
        (page(JSON, forever(b" ", slow)), true, "says nothing"),
        (page(JSON, |socket| drop(socket.write_all(b"\x1b[2Jnot json"))), true, "no JSON: "),
    ];
    let began = Instant::now();
    let looks = cases.map(|(place, json, why)| {
        let args = if json { &["--format", "json"][..] } else { &[] };
        let args = [&["--once", "--address", &place], args]
            .concat()
            .iter()
            .map(|arg| (*arg).to_owned())
            .collect::<Vec<_>>();
        thread::spawn(move || {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let (code, line) = failure(&top(&args));
            assert_eq!(code, Some(1), "{line}");
            assert!(line.contains(&place), "{line}");
            assert!(why.split('|').any(|why| line.contains(why)), "{why}: {line}");
            assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
        })
    });
    for look in looks {
        look.join().unwrap();
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn whoever_turns_into_a_stranger_later_stays_bounded_and_does_no_harm() {
    // A good frame, full of what bites, and then one without an end.
    let mut first = frame();
    first["mark"] = "\u{1b}[2J\u{9b}31m\u{202e}".into();
    first["list"] = json!([["\u{1b}]0;title\u{7}", "NONE", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]);
    first["signals"] = json!([{ "seq": 1, "at": 0, "symbol": "A\nB", "kind": "CHANGE", "level": "\u{1b}c",
        "probability": 1.0, "risk": 1.0, "why": "\r\u{1b}[31mred" }]);
    first["tape"] = json!([{ "at": 0, "symbol": "x".repeat(1 << 20), "venue": "okx", "side": null,
        "price": null, "usd": 1.0, "flags": [] }]);
    let data = format!("data: {first}\n\ndata: ");
    let endless = page(EVENTS, move |socket| {
        drop(socket.write_all(data.as_bytes()));
        forever(&[b'a'; 65_536], Duration::ZERO)(socket);
    });
    // And one that says the same as fast as it can.
    let again = format!("data: {first}\n\n");
    let flood = page(EVENTS, move |socket| while socket.write_all(again.as_bytes()).is_ok() {});
    let looks =
        [&endless, &flood].map(|place| Lines::start(&["--address", place, "--every", "200ms"]));
    let [endless, flood] = &looks;
    let text = endless.until("that it is no page", |line| line.starts_with("lost "));
    assert!(text.contains("what it sends has no end"), "{text}");
    for _ in 0..10 {
        let line = flood.until("a symbol", |line| line.starts_with("symbol "));
        assert!(
            line.contains("\u{fffd}]0;title\u{fffd}") && !line.chars().any(char::is_control),
            "{line:?}"
        );
        let line = flood.until("a signal", |line| line.starts_with("signal "));
        assert!(line.contains("A\u{fffd}B") && !line.chars().any(char::is_control), "{line:?}");
    }
    for look in &looks {
        let memory = look.memory();
        assert!(memory < 64, "{memory} MiB");
    }
    // On a terminal it stays a text as well.
    let place = page(EVENTS, {
        let data = format!("data: {first}\n\n");
        move |socket| {
            while socket.write_all(data.as_bytes()).is_ok() {
                thread::sleep(Duration::from_millis(250));
            }
        }
    });
    let Some(mut glass) = Terminal::start(&[FORESHOCK, "top", "--address", &place], &[], (80, 24))
    else {
        return;
    };
    let text = glass.until("the mark", |glass| glass.text().contains("]0;title"));
    assert!(text.contains("\u{fffd}[2J\u{fffd}31m\u{fffd}"), "{text}");
    glass.press("\x03");
    assert!(glass.finish().success());
    let raw = String::from_utf8_lossy(&glass.glass.raw);
    for bite in ["\x1b]0", "\x1bc", "\x1b[31mred", "\u{9b}", "\u{202e}"] {
        assert!(!raw.contains(bite), "{bite:?}");
    }
}

#[test]
fn a_run_that_falls_silent_is_not_shown_as_if_it_were_well() {
    // It says one thing and then nothing, on a connection that stays.
    let place = page(EVENTS, |socket| {
        drop(socket.write_all(format!("data: {}\n\n", frame()).as_bytes()));
        drop(socket.read(&mut [0; 16]));
    });
    let lines = Lines::start(&["--address", &place, "--every", "200ms"]);
    let line = lines.until("that it is silent", |line| line.starts_with("lost "));
    assert!(line.contains("says nothing"), "{line}");
}

#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    let data = format!("data: {}\n\n", frame());
    let place = page(EVENTS, move |socket| {
        while socket.write_all(data.as_bytes()).is_ok() {
            thread::sleep(Duration::from_millis(250));
        }
    });
    let start = |set: &[(&str, &str)]| {
        let mut glass = Terminal::start(&[FORESHOCK, "top", "--address", &place], set, (80, 24))?;
        glass.until("a screen", |glass| glass.line(23).starts_with("q quit"));
        assert!(!glass.is_sane());
        Some(glass)
    };
    let given_back =
        |glass: &Terminal| glass.is_sane() && !glass.glass.is_other && !glass.glass.is_blind;
    for keys in ["q", "\x1b", "\x03", "\x04"] {
        let Some(mut glass) = start(&[]) else { return };
        glass.press(keys);
        assert!(glass.finish().success() && given_back(&glass), "{keys:?}");
    }
    for name in ["TERM", "INT", "HUP"] {
        let Some(mut glass) = start(&[]) else { return };
        signal(glass.pid(), name);
        assert!(glass.finish().success() && given_back(&glass), "{name}");
    }
    // Left for the shell, and taken again.
    let Some(mut glass) = start(&[]) else { return };
    glass.press("\x1a");
    let began = Instant::now();
    while glass.state() != "T" {
        assert!(began.elapsed() < PATIENCE, "{}", glass.glass.text());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(glass.is_sane());
    signal(glass.pid(), "CONT");
    let is_raw = |glass: &Terminal| !glass.is_sane();
    while !is_raw(&glass) {
        assert!(began.elapsed() < PATIENCE, "{}", glass.glass.text());
        thread::sleep(Duration::from_millis(10));
    }
    glass.until("a screen", |glass| glass.is_other && glass.line(23).starts_with("q quit"));
    glass.press("q");
    assert!(glass.finish().success() && given_back(&glass));
    // Ended while the line to whoever looks hangs.
    let Some(mut glass) = start(&[]) else { return };
    glass.hang();
    glass.resize((200, 200));
    // Each of these draws the whole screen, of which the system keeps a few.
    for _ in 0..80 {
        glass.press("\x0c");
        thread::sleep(Duration::from_millis(10));
    }
    signal(glass.pid(), "TERM");
    assert_eq!(glass.finish().code(), Some(143));
    assert!(glass.is_sane());
    // Colours are there unless they are not wanted.
    for (set, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let Some(mut glass) = start(set) else { return };
        glass.press("q");
        glass.finish();
        let raw = String::from_utf8_lossy(&glass.glass.raw).into_owned();
        assert_eq!(raw.contains(";31m") || raw.contains(";33m"), coloured, "{set:?}: {raw:?}");
        assert!(raw.contains("NOT READY"), "{raw:?}");
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    if child::role().is_some() {
        let look = foreshock::run::top::terminal::Look { colour: true, ascii: false };
        let _terminal = foreshock::run::top::terminal::Terminal::open(look).unwrap();
        panic!("the worst");
    }
    let this = std::env::current_exe().unwrap();
    let name = "a_panic_gives_the_terminal_back_before_it_speaks";
    let command = [this.to_str().unwrap(), "--exact", name, "--nocapture"];
    let Some(mut glass) = Terminal::start(&command, &[(child::ROLE, "panic")], (80, 24)) else {
        return;
    };
    assert!(!glass.finish().success());
    assert!(glass.is_sane() && !glass.glass.is_other && !glass.glass.is_blind);
    let raw = String::from_utf8_lossy(&glass.glass.raw).into_owned();
    let (back, said) = (raw.find("\x1b[?1049l").unwrap(), raw.find("the worst").unwrap());
    assert!(back < said, "{raw:?}");
}
