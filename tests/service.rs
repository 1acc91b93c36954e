//! Run as a service: what the service manager is told, and how a run ends when it is asked to.
//!
//! The program itself listens to a simulated street; the manager is a socket of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/scene.rs"]
mod scene;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/street.rs"]
mod street;

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use scene::{PATIENCE, Scene};
use scratch::Scratch;

/// Lines told to `manager`, until one for which `last` holds.
fn told(manager: &UnixDatagram, last: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let end = Instant::now() + PATIENCE;
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    while !lines.iter().any(|line| last(line)) {
        assert!(Instant::now() < end, "only {lines:?}");
        let mut bytes = [0; 4_096];
        let n = manager.recv(&mut bytes).unwrap_or_else(|e| panic!("{e}, only {lines:?}"));
        let text = std::str::from_utf8(&bytes[..n]).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[test]
fn the_manager_is_told_ready_beats_status_and_the_end() {
    let mut scene = Scene::open();
    let place = scene.file("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    let place = place.display().to_string();
    scene.start(&[("NOTIFY_SOCKET", &place), ("WATCHDOG_USEC", "300000")], &[]);
    let before = told(&manager, |line| line == "READY=1");
    assert!(scene.said().lines().any(|line| line.ends_with(" live")), "{}", scene.said());
    assert!(!before.iter().any(|line| line.starts_with("STOPPING")), "{before:?}");
    let all = |line: &str| line.starts_with("STATUS=5 of 5 feeds live, ");
    let status = told(&manager, |line| all(line) && !line.ends_with(", 0 signals"));
    for _ in 0..3 {
        told(&manager, |line| line == "WATCHDOG=1");
    }
    scene.signal("TERM");
    let last = told(&manager, |line| line == "STOPPING=1");
    assert!(scene.end().success(), "{}", scene.said());
    let again = status.iter().chain(&last).filter(|line| *line == "READY=1").count();
    assert_eq!(again, 0, "ready is said once");
}

#[test]
fn an_abstract_address_is_understood_and_beats_meant_for_another_process_are_not_sent() {
    let mut scene = Scene::open();
    let name = format!("foreshock-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let place = format!("@{name}");
    let beats = [("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
    scene.start(&[("NOTIFY_SOCKET", &place), beats[0], beats[1]], &[]);
    let mut said = told(&manager, |line| line.starts_with("STATUS=5 of 5"));
    scene.signal("TERM");
    said.extend(told(&manager, |line| line == "STOPPING=1"));
    assert!(said.iter().any(|line| line == "READY=1"), "{said:?}");
    assert!(!said.iter().any(|line| line.starts_with("WATCHDOG")), "{said:?}");
    assert!(scene.end().success(), "{}", scene.said());
}

#[test]
fn a_manager_that_is_not_there_is_no_reason_not_to_run() {
    let mut scene = Scene::open();
    let nowhere = scene.file("nowhere").display().to_string();
    scene.start(&[("NOTIFY_SOCKET", &nowhere), ("WATCHDOG_USEC", "many")], &[]);
    scene.until_live();
    scene.signal("TERM");
    assert!(scene.end().success(), "{}", scene.said());
}

#[test]
fn asked_to_end_it_drains_soon_and_its_books_balance() {
    let mut scene = Scene::open();
    scene.start(&[], &[]);
    scene.until_live();
    thread::sleep(Duration::from_millis(500));
    scene.signal("TERM");
    let asked = Instant::now();
    let status = scene.end();
    let (took, said) = (asked.elapsed(), scene.said());
    eprintln!("drained in {took:?}");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("conservation") && !said.contains("BROKEN"), "{said}");
    assert!(said.contains("holds  pushed"), "{said}");
    assert!(took < Duration::from_secs(2), "{took:?}: {said}");
}

/// A server that takes connections and never says a word.
fn mute() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A run that is live and has been asked to end, with a Redis that never says a word.
fn asked_with_a_silent_redis() -> (Scene, TcpListener) {
    let mut scene = Scene::open();
    let (listener, port) = mute();
    let redis = format!("redis.url=redis://127.0.0.1:{port}");
    scene.start(&[], &[&redis]);
    scene.until_live();
    scene.signal("TERM");
    (scene, listener)
}

#[test]
fn asked_twice_it_ends_at_once() {
    // A Redis that is silent holds up the end for 1.5 s, which leaves time to ask again.
    let (mut scene, _silent) = asked_with_a_silent_redis();
    thread::sleep(Duration::from_millis(300));
    scene.signal("TERM");
    let status = scene.end();
    assert_eq!(status.code(), Some(128 + 15), "{}", scene.said());
    assert!(!scene.said().contains("conservation"), "{}", scene.said());
}

#[test]
fn a_sink_that_is_silent_does_not_hold_up_the_end() {
    let (mut scene, _silent) = asked_with_a_silent_redis();
    let asked = Instant::now();
    let status = scene.end();
    eprintln!("with a silent Redis drained in {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", scene.said());
    assert!(asked.elapsed() < Duration::from_secs(4), "{}", scene.said());
    assert!(!scene.said().contains("BROKEN"), "{}", scene.said());
}

#[test]
fn asked_to_end_while_venues_do_not_answer_it_ends() {
    let mut scene = Scene::open();
    let (_listener, port) = mute();
    let rest = ["binance", "bybit", "okx"]
        .map(|venue| format!("feeds.venues.{venue}.rest=https://localhost:{port}"));
    scene.start(&[], &rest.each_ref().map(String::as_str));
    scene.until("begun", |said| said.starts_with("layout "));
    thread::sleep(Duration::from_millis(300));
    scene.signal("TERM");
    let asked = Instant::now();
    assert_eq!(scene.end().code(), Some(0), "{}", scene.said());
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}: {}", asked.elapsed(), scene.said());
    assert!(scene.said().contains("conservation"), "{}", scene.said());
}

#[test]
fn a_hangup_reads_the_file_again_and_says_what_came_of_it() {
    let mut scene = Scene::open();
    let heartbeats = |scene: &Scene| {
        fs::read_to_string(scene.file("shown")).unwrap().matches(" (still)").count()
    };
    let standing = "[engine]\nheartbeat_ms = 1000\n";
    scene.configure(standing);
    scene.start(&[], &[]);
    scene.until_live();
    scene.configure("[console]\nheartbeats = 1\n");
    scene.signal("HUP");
    scene.until("refused", |said| said.contains("line 2: ") && said.contains("nothing is changed"));
    assert_eq!(heartbeats(&scene), 0);
    let engine = "[engine]\nheartbeat_ms = 2000\n";
    scene.configure(&format!("[console]\nheartbeats = true\n{engine}max_symbols = 100\n"));
    scene.signal("HUP");
    for line in [
        "console.heartbeats false -> true: in force",
        "engine.heartbeat_ms 1000 -> 2000: in force",
        "engine.max_symbols 4096 -> 100; needs a restart",
    ] {
        scene.until(line, |said| said.contains(&format!("reload: {line}\n")));
    }
    let end = Instant::now() + PATIENCE;
    while heartbeats(&scene) == 0 {
        assert!(Instant::now() < end, "no heartbeat is shown: {}", scene.said());
        thread::sleep(Duration::from_millis(20));
    }
    scene.configure(&format!("[console]\nheartbeats = true\n{engine}"));
    scene.signal("HUP");
    scene.until("the same", |said| said.contains("reload: no setting is another\n"));
    scene.signal("TERM");
    assert!(scene.end().success(), "{}", scene.said());
    assert!(!scene.said().contains("BROKEN"), "{}", scene.said());
}

#[test]
fn systemd_takes_the_unit_and_finds_it_shut() {
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).output();
    if analyze(&["--version"]).is_err() {
        eprintln!("skipped: there is no systemd-analyze here (apt install systemd)");
        return;
    }
    let folder = Scratch::new("unit");
    let unit = folder.path().join("foreshock.service");
    let text = include_str!("../examples/service/foreshock.service");
    let here = text.replace("/usr/local/bin/foreshock", env!("CARGO_BIN_EXE_foreshock"));
    fs::write(&unit, here).unwrap();
    let unit = unit.to_str().unwrap();
    let said = |output: &std::process::Output| {
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        format!("{out}{err}")
    };
    let verified = analyze(&["verify", "--man=no", unit]).unwrap();
    // What it does not know is a line, and no failure.
    assert!(
        verified.status.success() && !said(&verified).contains("foreshock"),
        "{}",
        said(&verified)
    );
    let secure = analyze(&["security", "--offline=true", "--threshold=20", unit]).unwrap();
    let said = said(&secure);
    eprintln!("{}", said.lines().last().unwrap_or_default());
    let known = !said.contains("unrecognized option");
    assert!(!known || secure.status.success(), "an exposure above 2.0: {said}");
}
