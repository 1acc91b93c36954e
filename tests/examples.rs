//! The examples do what they promise: every signal once and in order, whatever happens to their
//! connections, to the server and to the run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/redis.rs"]
mod server;
#[path = "../examples/subscriber.rs"]
#[allow(dead_code, reason = "its arguments are those of a program")]
mod subscriber;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use foreshock::output::Message;
use foreshock::publish::Sink;
use foreshock::publish::redis::{Address, Redis, SIGNALS, STREAM, Settings};
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::{Nanos, Now};
use server::{Server, skipped};

const RUN: u64 = 1_760_130_000_000;
/// What makes this test the subscriber: where to, and after what.
const ROLE: &str = "FORESHOCK_SUBSCRIBER";

/// A run that publishes for real.
struct Publisher {
    sink: Redis,
    now_ms: i64,
    seq: u64,
}

impl Publisher {
    fn new(url: &str, run: u64, seq: u64, retain: usize) -> Self {
        let settings = Settings { url: url.to_owned(), retain, ..Settings::default() };
        let address = Address::parse(url).unwrap();
        let sink = Redis::start(&settings, address, None, run, None).unwrap();
        Self { sink, now_ms: i64::try_from(run).unwrap(), seq }
    }

    fn now(&self) -> Now {
        Now::at_millis(self.now_ms)
    }

    fn signals(&mut self, n: u64) {
        let batch: Vec<_> = (1..=n)
            .map(|i| {
                let at = self.now().mono;
                let (kind, level) = (Kind::Change, Level::Alert);
                Message::Report(Report {
                    kind,
                    seq: self.seq + i,
                    level,
                    ..Report::empty(Symbol::BTC, Nanos(at.0 + i))
                })
            })
            .collect();
        self.seq += n;
        let now = self.now();
        self.sink.write(now, &batch);
        self.turn();
    }

    fn turn(&mut self) {
        self.now_ms += 1;
        let now = self.now();
        self.sink.turn(now);
    }

    fn settle(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.sink.fate().unwrap().retained > 0 {
            assert!(Instant::now() < end, "never published: {}", self.sink.status().words());
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn close(mut self) {
        let now = self.now();
        self.sink.close(now);
        while self.sink.turn(now) != Turn::Done {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// An example at work, and what it printed.
struct Subscriber {
    child: Child,
    file: PathBuf,
}

impl Subscriber {
    fn start(mut command: Command, server: &Server, name: &str) -> Self {
        let file = server.scratch.path().join(name);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.stdout(File::create(&file).unwrap()).spawn().unwrap();
        Self { child, file }
    }

    fn printed(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        // A test says a word of its own before.
        let signals = whole.lines().filter(|line| line.starts_with(char::is_numeric));
        signals.map(str::to_owned).collect()
    }

    /// Waits until as many lines are there.
    fn prints(&self, n: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.printed().len() < n {
            assert!(Instant::now() < end, "{} of {n} lines", self.printed().len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the stream holds, as the examples print it.
fn truth(server: &Server) -> Vec<String> {
    let line = |(id, fields): (String, Vec<String>)| {
        let at = fields.iter().position(|field| field == "json")?;
        Some(format!("{id} {}", fields[at + 1]))
    };
    server.client().stream(STREAM).into_iter().filter_map(line).collect()
}

fn cut(server: &Server) {
    server.client().ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
}

/// Five signals of a third run, of which only the first and the last are published.
fn whisper(server: &Server, run: u64) {
    let mut client = server.client();
    for seq in 1..=5 {
        let text = format!("{{\"meta\":{{\"run\":{run},\"seq\":{seq}}}}}");
        client.ask(&["XADD", STREAM, &format!("{run}-{seq}"), "json", &text]);
        if matches!(seq, 1 | 5) {
            // What was heard twice is told once.
            client.ask(&["PUBLISH", SIGNALS, &text]);
            client.ask(&["PUBLISH", SIGNALS, &text]);
        }
    }
}

/// Lives through all that may happen, and ends with what the stream holds.
fn endure(start: impl Fn(&Server, &str, &str) -> Subscriber) {
    // A kill must not make the server forget: that is told to nobody.
    let mut server = Server::start(&["appendonly yes", "appendfsync always"]);
    let mut run = Publisher::new(&server.url(), RUN, 0, 100_000);
    // What was there before it began.
    run.signals(30);
    run.settle();
    let subscriber = start(&server, "0-0", "out");
    subscriber.prints(30);
    for round in 0..12 {
        for _ in 0..10 {
            run.signals(3);
            std::thread::sleep(Duration::from_millis(2 + round));
        }
        cut(&server);
        run.signals(7);
    }
    run.settle();
    server.signal("-STOP");
    run.signals(50);
    std::thread::sleep(Duration::from_millis(400));
    server.signal("-CONT");
    run.signals(20);
    run.settle();
    subscriber.prints(30 + 12 * 37 + 70);

    // A server that was gone, and numbers that are gone for good; then a run that goes on.
    server.kill();
    let seq = run.seq;
    run.close();
    let mut next = Publisher::new(&server.url(), RUN + 60_000, seq, 10);
    next.signals(40);
    next.turn();
    std::thread::sleep(Duration::from_millis(100));
    server.launch();
    next.settle();
    for _ in 0..20 {
        next.signals(5);
        next.settle();
    }
    whisper(&server, RUN + 120_000);
    let truth = truth(&server);
    assert!(truth.len() > 600 && truth.len() < 30 + 12 * 37 + 70 + 145, "{}", truth.len());
    subscriber.prints(truth.len());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(subscriber.printed(), truth);

    // Another that goes on in the middle.
    let half = truth.len() / 2;
    let later = start(&server, truth[half].split(' ').next().unwrap(), "later");
    later.prints(truth.len() - half - 1);
    assert_eq!(later.printed(), truth[half + 1..]);
    next.close();
}

#[test]
fn the_rust_subscriber_tells_every_signal_once_and_in_order() {
    if skipped() {
        return;
    }
    endure(|server, last, name| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "be_the_subscriber", "--nocapture"]);
        command.env(ROLE, format!("{} {last}", server.url()));
        Subscriber::start(command, server, name)
    });
}

/// The example in a process of its own.
#[test]
fn be_the_subscriber() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (url, last) = role.split_once(' ').unwrap();
    subscriber::subscribe(url, subscriber::id_of(last).unwrap()).unwrap();
}

#[test]
fn the_python_subscriber_tells_every_signal_once_and_in_order() {
    if skipped() {
        return;
    }
    let able = |python: &&str| {
        let mut check = Command::new(python);
        check.args(["-c", "import redis"]).stdout(Stdio::null()).stderr(Stdio::null());
        check.status().is_ok_and(|status| status.success())
    };
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(able) else {
        eprintln!("skipped: no python3 that can `import redis` (apt install python3-redis)");
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/subscriber.py");
    endure(|server, last, name| {
        let mut command = Command::new(python);
        command.arg(script).args([&server.url(), last]);
        Subscriber::start(command, server, name)
    });
}
