//! SIGHUP while a cascade runs: other thresholds come into force, and the journal can be lived again.
//!
//! The program itself listens to a simulated street.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/place.rs"]
mod place;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/street.rs"]
mod street;

use std::fs;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use foreshock::event::{Body, Event};
use foreshock::output::Message;
use foreshock::publish::Sink;
use foreshock::publish::journal::{Journal, Note, Notes, Settings};
use foreshock::record::{Reader, files_in};
use foreshock::signal::{Kind, Level};
use foreshock::stage::Turn;
use foreshock::time::{Nanos, Now};
use place::{Answer, Place};
use scene::{PATIENCE, Scene};

/// Bounds of WATCH, ALERT, CRITICAL and EXTREME.
type Bounds = [f64; 4];

const BEFORE: Bounds = [0.30, 0.50, 0.70, 0.90];
const LOW: Bounds = [0.10, 0.15, 0.20, 0.25];
const HIGH: Bounds = [0.93, 0.95, 0.97, 0.99];

fn levels([watch, alert, critical, extreme]: Bounds) -> String {
    format!(
        "[engine]\nheartbeat_ms = 300\n[engine.levels]\nwatch = {watch:?}\nalert = {alert:?}\n\
         critical = {critical:?}\nextreme = {extreme:?}\nhold_ms = 500\n"
    )
}

/// The level that a probability reaches.
fn reached(probability: f64, bounds: Bounds) -> Level {
    Level::ALL[bounds.iter().filter(|&&bound| probability >= bound).count()]
}

/// Waits until the journal's last run holds `n` signals.
fn until_signals(scene: &Scene, n: usize) {
    let end = Instant::now() + PATIENCE;
    let signals = || {
        let file = files_in(&scene.file("journal")).unwrap().pop().unwrap();
        let messages = Reader::open(&file).unwrap().map_while(Result::ok);
        messages.filter(|message| matches!(message, Message::Report(_))).count()
    };
    while signals() < n {
        assert!(Instant::now() < end, "only {} signals: {}", signals(), scene.said());
        thread::sleep(Duration::from_millis(50));
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Changes of level and the bounds that were in force, in order; and the last signal.
fn judged(scene: &Scene) -> (Vec<(Bounds, f64, Level)>, u64) {
    let (mut all, mut last, mut bounds) = (Vec::new(), 0, BEFORE);
    let file = files_in(&scene.file("journal")).unwrap().pop().unwrap();
    for message in Reader::open(&file).unwrap() {
        match message.unwrap() {
            Message::Event(Event { body: Body::Tuned { number }, .. }) => {
                bounds = [LOW, HIGH][usize::try_from(number).unwrap() - 1];
            }
            Message::Report(report) => {
                last = report.seq;
                if report.kind == Kind::Change {
                    all.push((bounds, report.probability, report.level));
                }
            }
            Message::Event(_) => {}
        }
    }
    (all, last)
}

#[test]
fn thresholds_change_in_a_cascade_and_its_journal_is_lived_again() {
    let mut scene = Scene::open();
    scene.configure(&levels(BEFORE));
    scene.start(&[], &[]);
    scene.until_live();
    until_signals(&scene, 5);
    scene.configure("[engine.levels]\nwatch = 0.6\n");
    scene.signal("HUP");
    scene.until("refused", |said| said.contains("reload: engine: levels."));
    for (bounds, line) in [
        (LOW, "engine.levels.alert 0.5 -> 0.15: in force"),
        (HIGH, "engine.levels.alert 0.15 -> 0.95: in force"),
    ] {
        scene.configure(&levels(bounds));
        scene.signal("HUP");
        scene.until(line, |said| said.contains(&format!("reload: {line}\n")));
        thread::sleep(Duration::from_millis(1_500));
    }
    scene.signal("TERM");
    assert!(scene.end().success(), "{}", scene.said());
    assert!(!scene.said().contains("BROKEN"), "{}", scene.said());

    let (all, last) = judged(&scene);
    for (bounds, probability, level) in &all {
        assert_eq!(reached(*probability, *bounds), *level, "{probability} by {bounds:?}");
    }
    for bounds in [BEFORE, LOW, HIGH] {
        let own = all.iter().filter(|(other, ..)| *other == bounds);
        let telling = own.filter(|(_, probability, level)| {
            [BEFORE, LOW, HIGH].iter().any(|other| reached(*probability, *other) != *level)
        });
        let telling = telling.count();
        eprintln!("{telling} changes would have been others without {bounds:?}");
        assert!(telling > 0, "nothing was judged by {bounds:?}: {all:?}");
    }

    // Without any configuration, with the one that came last, and with others on the command line.
    let config = scene.file("config.toml").display().to_string();
    for more in [&[][..], &["--config", &config]] {
        let (out, said) = texts(&scene.of_journal(&[&["replay", "FILE"], more].concat()));
        assert!(out.contains("holds the same signals"), "{out}{said}");
        assert!(said.contains("engine.levels.alert 0.15 -> 0.95 after signal"), "{said}");
    }
    let other = scene.of_journal(&["replay", "FILE", "--set", "engine.levels.watch=0.2"]);
    assert_eq!(other.status.code(), Some(6), "{:?}", texts(&other));
    let explained = scene.of_journal(&["explain", &last.to_string(), "--journal", "FILE"]);
    assert!(texts(&explained).0.contains("bit for bit"), "{:?}", texts(&explained));
    let state = |more: &[&str]| {
        let export = ["export", "--journal", "FILE", "--what", "state", "--symbol", "MARKET"];
        let (out, said) = texts(&scene.of_journal(&[&export, more].concat()));
        assert!(said.contains(" rows"), "{said}");
        out
    };
    assert_eq!(state(&[]), state(&["--config", &config]));
    assert_ne!(state(&[]), state(&["--set", "engine.levels.watch=0.2"]));

    // A run that goes on lives what was before with its own settings, and can be lived again too.
    scene.start(&[], &[]);
    scene.until("gone on", |said| said.contains("goes on after signal"));
    scene.until_live();
    thread::sleep(Duration::from_millis(500));
    scene.signal("KILL");
    scene.end();
    let (out, said) = texts(&scene.of_journal(&["replay", "FILE"]));
    assert!(out.contains("holds the same signals"), "{out}{said}");
}

#[test]
fn alerts_go_another_way_and_none_is_lost_or_told_twice() {
    let mut scene = Scene::open();
    let place = |name: &str| Place::open(&scene.file(name), Answer::Thanks);
    let (first, second) = (place("first.pem"), place("second.pem"));
    let channel = |place: &Place| {
        let channel = place.channel("level = \"WATCH\"");
        format!("{}[[alert.channel]]\n{channel}", levels(BEFORE))
    };
    scene.configure(&channel(&first));
    scene.start(&[], &[]);
    first.until(2);
    // What waits now arrives at the other place.
    first.say(Answer::Later);
    let heard = first.heard().len();
    first.until(heard + 1);
    scene.configure(&channel(&second));
    scene.signal("HUP");
    let line = "reload: alert.channel.webhook.url is another: in force\n";
    scene.until("another place", |said| said.contains(line));
    second.until(1);
    let silent = first.heard().len();
    second.until(3);
    scene.signal("TERM");
    assert!(scene.end().success(), "{}", scene.said());
    assert!(!scene.said().contains("BROKEN") && !scene.said().contains("CERT"), "{}", scene.said());
    assert_eq!(first.heard().len(), silent, "the old place is told nothing more");
    let journal = Reader::open(&scene.file("journal")).unwrap();
    let due = place::due(journal.filter_map(|message| match message {
        Ok(Message::Report(report)) => Some(report),
        _ => None,
    }));
    let (taken, others) = (first.taken(), second.keys());
    assert!(taken.iter().all(|(key, _)| !others.contains(key)), "{taken:?} {others:?}");
    let turned_away = first.keys().into_iter().filter(|key| !taken.iter().any(|(k, _)| k == key));
    let turned_away: Vec<String> = turned_away.collect();
    assert!(!turned_away.is_empty() && turned_away.iter().all(|key| others.contains(key)));
    let told = place::told(&taken) + second.told();
    eprintln!("{due} changes, {} and {} requests", first.heard().len(), second.heard().len());
    assert_eq!(told, due, "none lost, none told twice");
}

#[test]
fn the_latency_log_begins_anew_when_it_is_asked_to() {
    let mut scene = Scene::open();
    let log = scene.file("run.hlog");
    let file = format!("latency.file={:?}", log.display().to_string());
    scene.start(&[], &[&file, "latency.every_ms=100"]);
    scene.until_live();
    thread::sleep(Duration::from_millis(500));
    scene.signal("USR1");
    let (aside, end) = (scene.file("run.hlog.1"), Instant::now() + PATIENCE);
    while !aside.exists() {
        assert!(Instant::now() < end, "{}", scene.said());
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(500));
    scene.signal("TERM");
    assert!(scene.end().success(), "{}", scene.said());
    for log in [log, aside] {
        let summary = foreshock::publish::latency::summarise(&log).unwrap();
        assert!(!summary.stages.is_empty(), "{}", log.display());
    }
}

/// A journal in which settings come into force: with `notes`, and with others of `text` on their way.
fn crafted(folder: &scratch::Scratch, first: Option<&str>, text: Option<&str>) -> Output {
    let note = |number, text: &str| Note { number, text: text.into() };
    let (tell, others) = crossbeam_channel::bounded(1);
    text.into_iter().for_each(|text| tell.send(note(1, text)).unwrap());
    let notes = first.map(|first| Notes { first: note(0, first), others });
    let directory = folder.path().join("journal");
    drop(fs::remove_dir_all(&directory));
    let settings = Settings { directory: directory.clone(), ..Settings::default() };
    let mut journal = Journal::beginning_with(&settings, 7, &[], notes).unwrap();
    let events = [Event::tick(Nanos(1)), Event::tuned(1, Nanos(1)), Event::tick(Nanos(2))];
    journal.write(Now::default(), &events.map(Message::Event));
    journal.close(Now::default());
    while journal.turn(Now::default()) != Turn::Done {
        thread::yield_now();
    }
    std::process::Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .arg("replay")
        .arg(&directory)
        .env_remove("FORESHOCK_CONFIG")
        .output()
        .unwrap()
}

#[test]
fn settings_that_are_not_known_are_never_replaced_by_others() {
    let folder = scratch::Scratch::new("unknown-settings");
    let whole = crafted(&folder, Some(""), Some("heartbeat_ms = 500\n"));
    assert!(whole.status.success(), "{:?}", texts(&whole));
    for (first, text, words) in [
        (None, None, "settings 1 came into force and are not in it"),
        (Some(""), None, "settings 1 came into force and are not in it"),
        (Some(""), Some("heartbeat = 500\n"), "settings 1 cannot be understood (unknown field"),
        (Some("[levels]\nwatch = 7\n"), None, "settings 0 cannot be understood (levels.watch"),
    ] {
        let output = crafted(&folder, first, text);
        let (out, said) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{out}{said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{out}{said}");
        let export = std::process::Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(["export", "--what", "state", "--journal"])
            .arg(folder.path().join("journal"))
            .output()
            .unwrap();
        assert_eq!(export.status.code(), Some(1), "{:?}", texts(&export));
        assert!(texts(&export).1.contains(words), "{:?}", texts(&export));
    }
}
