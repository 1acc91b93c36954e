//! E-mail against a real SMTP server on loopback, with and without TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/scratch.rs"]
mod scratch;

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use peer::Certificate;
use rustls::{ServerConnection, StreamOwned};
use scratch::Scratch;

const CANARY: &str = "CANARY9b21";

/// What one server was told, line by line, and how often it says what it should not.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn has(&self, start: &str) -> bool {
        self.lines().iter().any(|line| line.starts_with(start))
    }
}

/// Speaks SMTP; `answer` may say something else to a line than what is usual.
fn converse(
    stream: impl Read + Write,
    heard: &Heard,
    greet: bool,
    answer: impl Fn(&str) -> Option<&'static str>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let say = |stream: &mut BufReader<_>, line: &str| {
        let wire: &mut (dyn Write + '_) = BufReader::get_mut(stream);
        write!(wire, "{line}\r\n").ok()?;
        wire.flush().ok()
    };
    if greet {
        say(&mut stream, "220-hello\r\n220 there")?;
    }
    let mut data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.strip_suffix("\r\n")?.to_owned();
        heard.0.lock().unwrap().push(line.clone());
        let usual = match line.split([' ', ':']).next()? {
            _ if data && line != "." => continue,
            "." => "250 taken",
            "EHLO" => "250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN",
            "STARTTLS" => "220 go",
            "AUTH" => "235 yes",
            "MAIL" | "RCPT" => "250 fine",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "500 what",
        };
        let said = answer(&line).unwrap_or(usual);
        data = line == "DATA" && said.starts_with("354");
        say(&mut stream, said)?;
        match line.as_str() {
            "STARTTLS" if said.starts_with("220") => return Some(()),
            "QUIT" => return None,
            _ => {}
        }
    }
}

struct Bench {
    scratch: Scratch,
    port: u16,
    heard: Heard,
}

/// TLS from the first byte.
fn tls(answer: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) -> Bench {
    let (heard, scratch) = (Heard::default(), Scratch::new("mail"));
    let list = heard.clone();
    let peer = peer::peer(Certificate::Good, move |_, stream| {
        converse(stream, &list, true, &answer);
    });
    fs::write(scratch.path().join("ca.pem"), &peer.ca_pem).unwrap();
    Bench { scratch, port: peer.port, heard }
}

fn clear(answer: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) -> Bench {
    let (heard, scratch) = (Heard::default(), Scratch::new("mail"));
    let list = heard.clone();
    let port = peer::raw_peer(move |_, stream: TcpStream| {
        converse(stream, &list, true, &answer);
    });
    Bench { scratch, port, heard }
}

/// TLS once it has been asked for.
fn starttls() -> Bench {
    let (heard, scratch) = (Heard::default(), Scratch::new("mail"));
    let list = heard.clone();
    let (config, ca_pem) = peer::identity(Certificate::Good, "127.0.0.1");
    let port = peer::raw_peer(move |_, tcp: TcpStream| {
        if converse(&tcp, &list, true, |_| None).is_some() {
            list.0.lock().unwrap().push("(TLS)".to_owned());
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            converse(StreamOwned::new(tls, tcp), &list, false, |_| None);
        }
    });
    fs::write(scratch.path().join("ca.pem"), &ca_pem).unwrap();
    Bench { scratch, port, heard }
}

impl Bench {
    fn test(&self, more: &str) -> Output {
        let path = self.scratch.path().join("foreshock.toml");
        let ca = self.scratch.path().join("ca.pem");
        let ca = if ca.exists() { ca.display().to_string() } else { String::new() };
        let config = format!(
            "[[alert.channel]]\nkind = \"mail\"\nurl = \"localhost:{}\"\nallow_private = true\n\
             from = \"engine@example.com\"\nto = [\"me@example.com\", \"you@example.org\"]\n\
             ca_file = \"{ca}\"\n{more}\n",
            self.port
        );
        fs::write(&path, config).unwrap();
        Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(["alert", "test", "--config"])
            .arg(&path)
            .env("FORESHOCK_ALERT_MAIL_TOKEN", CANARY)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[test]
fn a_letter_arrives_over_tls_with_a_password() {
    let bench = tls(|_| None);
    let output = bench.test("privacy = \"tls\"\nuser = \"engine\"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let lines = bench.heard.lines();
    let login = BASE64.encode(format!("\0engine\0{CANARY}"));
    let commands: Vec<&str> = lines.iter().map(String::as_str).take(6).collect();
    assert_eq!(
        commands,
        [
            "EHLO localhost",
            &format!("AUTH PLAIN {login}"),
            "MAIL FROM:<engine@example.com>",
            "RCPT TO:<me@example.com>",
            "RCPT TO:<you@example.org>",
            "DATA",
        ]
    );
    let blank = lines.iter().position(String::is_empty).unwrap();
    let end = lines.iter().position(|line| line == ".").unwrap();
    let body = BASE64.decode(lines[blank + 1..end].concat()).unwrap();
    assert!(String::from_utf8(body).unwrap().starts_with("test: foreshock can reach you here"));
    assert!(lines.iter().all(|line| line.len() <= 78 && line.is_ascii()), "{lines:?}");
    for head in ["From: <engine@", "To: <me@example.com>, <you@", "Date: ", "Message-ID: <"] {
        assert!(lines[..blank].iter().any(|line| line.starts_with(head)), "{head}: {lines:?}");
    }
    assert_eq!(lines.last().map(String::as_str), Some("QUIT"));
    assert!(!text(&output).contains(CANARY));
}

#[test]
fn a_relay_on_this_machine_needs_no_tls_and_gets_no_password() {
    let bench = clear(|_| None);
    let output = bench.test("privacy = \"none\"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(bench.heard.has("DATA") && !bench.heard.has("AUTH"));
    let refused = bench.test("privacy = \"none\"\nuser = \"engine\"");
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
}

#[test]
fn the_password_waits_for_starttls() {
    let bench = starttls();
    let output = bench.test("user = \"engine\"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let lines = bench.heard.lines();
    let begun: Vec<&str> =
        lines.iter().map(|line| line.split(' ').next().unwrap()).take(5).collect();
    assert_eq!(begun, ["EHLO", "STARTTLS", "(TLS)", "EHLO", "AUTH"]);
}

#[test]
fn without_starttls_nothing_is_said() {
    for answer in ["502 no such thing", "454 not now", "220 go\r\n250 injected"] {
        let bench = clear(move |line| (line == "STARTTLS").then_some(answer));
        let output = bench.test("user = \"engine\"");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(!bench.heard.has("AUTH") && !bench.heard.has("MAIL"), "{:?}", bench.heard.lines());
        assert!(!text(&output).contains(CANARY));
    }
}

#[test]
fn what_the_server_says_no_to_is_named_with_its_code() {
    for (at, answer, words) in [
        ("AUTH", "535 bad password CANARY9b21", "refused: smtp 535 to AUTH"),
        ("MAIL", "550 no", "refused: smtp 550 to MAIL"),
        ("RCPT TO:<you", "550 no", "refused: smtp 550 to RCPT"),
        ("DATA", "451 busy", "smtp 451 to DATA"),
        (".", "452 full", "smtp 452 to the message"),
        ("DATA", "nonsense", "the connection broke"),
    ] {
        let bench = tls(move |line| line.starts_with(at).then_some(answer));
        let output = bench.test("privacy = \"tls\"\nuser = \"engine\"");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
        assert!(!text(&output).contains(CANARY), "{}", text(&output));
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_before_the_password() {
    let bench = tls(|_| None);
    fs::remove_file(bench.scratch.path().join("ca.pem")).unwrap();
    let output = bench.test("privacy = \"tls\"\nuser = \"engine\"");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(bench.heard.lines().is_empty() && text(&output).contains("tls"), "{}", text(&output));
}
