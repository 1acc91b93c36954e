//! Sinks that hang cost counters: Redis frozen, a webhook that never answers and a full disk, all at
//! once, while the program listens to a cascade over TLS.
//!
//! By default a slice runs and the counts are asserted: nothing is dropped before the engine, every
//! signal gets into Redis once it moves again, what the journal lost is counted. With `FORESHOCK_FULL=1
//! cargo test --release --test slow_sinks -- --nocapture` they hang for three times 60 s, with a minute
//! before, between and after in which they do not, and the stages of the program's own latency log are
//! compared: all calm minutes with all others, so that what the machine does slowly hits both.
//!
//! A full disk is a file system of our own that is filled up: that needs root, and is left out without.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/street.rs"]
mod street;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use foreshock::event::VENUES;
use foreshock::publish::latency::summarise;
use foreshock::publish::redis::STREAM;
use foreshock::simulate::market::Schedule;
use foreshock::simulate::street::Street;
use peer::{Certificate, Peer};
use scratch::Scratch;
use server::{Server, skipped};
use street::feeds;

fn full() -> bool {
    std::env::var_os("FORESHOCK_FULL").is_some_and(|value| value == "1")
}

/// A small file system, as root.
struct Disk(PathBuf);

impl Disk {
    fn mounted(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512m", "tmpfs"]).arg(&at).stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("without a full disk: only root can mount one");
        }
        mounted.then_some(Self(at))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&[7; 1 << 16]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A webhook that answers, or takes the request and says nothing.
struct Hook {
    peer: Peer,
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Hook {
    fn open() -> Self {
        let (hangs, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (hanging, asking) = (hangs.clone(), asked.clone());
        let peer = peer::peer(Certificate::Good, move |_, mut stream| {
            peer::request(&mut stream);
            asking.fetch_add(1, Ordering::SeqCst);
            if hanging.load(Ordering::SeqCst) {
                return peer::linger(stream);
            }
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            drop(stream.write_all(ok));
            stream.conn.send_close_notify();
            drop(stream.flush());
        });
        Self { peer, hangs, asked }
    }
}

struct Scene {
    street: Street,
    redis: Server,
    hook: Hook,
    disk: Option<Disk>,
    folder: Scratch,
}

impl Scene {
    fn open(cascade_s: f64) -> Self {
        let schedule =
            Schedule { quiet_s: 1.0, build_s: 2.0, cascade_s, lines: 1, ..Schedule::demo() };
        let folder = Scratch::new("slow");
        let disk = Disk::mounted(folder.path().join("disk"));
        let street = Street::start(11, schedule, 0).unwrap();
        Self { street, redis: Server::start(&[]), hook: Hook::open(), disk, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configuration(&self) -> String {
        let quoted = |name: &str| format!("{:?}", self.file(name).display().to_string());
        let mut text = format!("[run]\nstatus = {}\n", quoted("status"));
        let journal = if self.disk.is_some() { "disk/journal" } else { "journal" };
        text += &format!("[journal]\ndirectory = {}\n", quoted(journal));
        text += &format!("[redis]\nurl = {:?}\n", self.redis.url());
        text += &format!("[latency]\nfile = {}\n", quoted("latency.hlog"));
        text += "[[alert.channel]]\nkind = \"webhook\"\nlevel = \"WATCH\"\nallow_private = true\n";
        text += &format!("url = \"https://localhost:{}/x\"\n", self.hook.peer.port);
        text += &format!("ca_file = {}\n", quoted("hook.pem"));
        text += &format!("[feeds]\nca_file = {}\n", quoted("ca.pem"));
        text + &feeds(&self.street, &VENUES)
    }

    fn run(&self) -> Child {
        fs::write(self.file("ca.pem"), self.street.ca_pem()).unwrap();
        fs::write(self.file("hook.pem"), &self.hook.peer.ca_pem).unwrap();
        fs::write(self.file("config.toml"), self.configuration()).unwrap();
        Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(["run", "--config"])
            .arg(self.file("config.toml"))
            .env_remove("FORESHOCK_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.file("said")).unwrap())
            .spawn()
            .unwrap()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.file("said")).unwrap()
    }

    fn signals(&self) -> usize {
        usize::try_from(self.redis.client().number(&["XLEN", STREAM])).unwrap()
    }

    /// Everything hangs.
    fn hang(&self) {
        self.redis.signal("-STOP");
        self.hook.hangs.store(true, Ordering::SeqCst);
        self.disk.iter().for_each(Disk::fill);
    }

    fn go_on(&self) {
        self.disk.iter().for_each(|disk| fs::remove_file(disk.filler()).unwrap());
        self.hook.hangs.store(false, Ordering::SeqCst);
        self.redis.signal("-CONT");
    }

    /// Adds what was written to the latency log from byte `from` on to the log of such phases; where it
    /// ends.
    fn gather(&self, from: usize, into: &Path) -> usize {
        let text = fs::read_to_string(self.file("latency.hlog")).unwrap();
        let to = text.rfind('\n').unwrap() + 1;
        let head = text.lines().take_while(|line| line.starts_with('#'));
        let head = head.map(|line| line.len() + 1).sum::<usize>();
        let begun = fs::read_to_string(into).unwrap_or_else(|_| text[..head].to_owned());
        fs::write(into, begun + &text[from.max(head)..to]).unwrap();
        to
    }
}

/// Whether the books say so: `law` as they print it.
fn holds(said: &str, law: &str) -> bool {
    said.lines()
        .any(|line| line.trim_start().strip_prefix("holds").is_some_and(|l| l.contains(law)))
}

fn percentiles(log: &Path, stage: &str) -> (u64, u64, u64) {
    let summary = summarise(log).unwrap();
    let found = summary.stages.iter().find(|found| found.name == stage);
    let histogram = &found.unwrap_or_else(|| panic!("no {stage}")).histogram;
    (histogram.len(), histogram.value_at_percentile(50.0), histogram.value_at_percentile(99.0))
}

/// The phases side by side.
fn print(calm: &Path, hung: &Path) {
    for stage in
        ["turn_engine", "parsed_to_taken", "turn_ingest", "receive_to_parsed", "turn_publish"]
    {
        let [calm, hung] = [calm, hung].map(|log| percentiles(log, stage));
        println!(
            "{stage:18} p50 {:7} {:7} ns   p99 {:7} {:7} ns   {:+6.1} %   ({} {})",
            calm.1,
            hung.1,
            calm.2,
            hung.2,
            (hung.2 as f64 / calm.2.max(1) as f64 - 1.0) * 100.0,
            calm.0,
            hung.0,
        );
    }
}

fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn k4_r4_sinks_that_hang_cost_counters_only() {
    if skipped() {
        return;
    }
    let (phase, rounds) = if full() { (60, 7) } else { (3, 3) };
    let scene = Scene::open((phase * rounds) as f64 * 1.1 + 10.0);
    let mut child = scene.run();
    wait_for("a signal", || scene.signals() > 0);
    wait_for("an alert", || scene.hook.asked.load(Ordering::SeqCst) > 0);
    let logs = [scene.file("calm.hlog"), scene.file("hung.hlog")];
    let mut from = scene.gather(0, &scene.file("start.hlog"));
    for round in 0..rounds {
        let hangs = round % 2 == 1;
        if hangs {
            scene.hang();
        }
        thread::sleep(Duration::from_secs(phase));
        from = scene.gather(from, &logs[usize::from(hangs)]);
        if hangs {
            scene.go_on();
        }
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    assert!(child.wait().unwrap().success(), "{}", scene.said());
    let said = scene.said();
    println!("{said}");
    print(&logs[0], &logs[1]);
    assert!(holds(&said, "+ dropped 0"), "nothing was lost before the engine");
    let signals = scene.signals();
    let whole = format!("signals {signals} = published {signals} + retained 0 + evicted 0");
    assert!(holds(&said, &whole), "each signal once in the stream, {signals} of them");
    let lost = said.contains("journal_lost");
    assert_eq!(lost, scene.disk.is_some(), "what a full disk loses is counted");
}
