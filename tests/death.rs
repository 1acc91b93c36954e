//! Our own death: what a run that was ended suddenly leaves, and how the next one goes on.
//!
//! The program itself listens to a simulated cascade over TLS and is ended with kill -9 at random
//! points. By default a slice runs; 100 kills are `FORESHOCK_FULL=1 cargo test --release --test death`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/place.rs"]
mod place;
#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/street.rs"]
mod street;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use foreshock::config::Config;
use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Event, FeedState, Flags, Side, Usd, Venue};
use foreshock::ledger::Ledger;
use foreshock::output::Message;
use foreshock::publish::Sink;
use foreshock::publish::journal::Journal;
use foreshock::publish::redis::STREAM;
use foreshock::record::{Reader, files_in};
use foreshock::run::restore::past;
use foreshock::signal::{Kind, Level, Report};
use foreshock::simulate::market::Schedule;
use foreshock::simulate::street::Street;
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_MS, NS_PER_S, Nanos, Now};
use place::{Answer, Place};
use redis::Value;
use scratch::Scratch;
use server::{Server, skipped, text_of};
use street::feeds;

/// Venues that everybody can hear.
const HEARD: [Venue; 3] = [Venue::Binance, Venue::Bybit, Venue::Okx];

/// Run and number of a signal.
type Id = (u64, u64);

/// A street in a long cascade, a Redis, and the program between them.
struct Scene {
    street: Street,
    folder: Scratch,
    runs: u64,
}

impl Scene {
    fn open(cascade_s: f64) -> Self {
        let schedule =
            Schedule { quiet_s: 1.0, build_s: 2.0, cascade_s, lines: 1, ..Schedule::demo() };
        let scene = Self {
            street: Street::start(7, schedule, 0).unwrap(),
            folder: Scratch::new("death"),
            runs: 0,
        };
        fs::write(scene.file("ca.pem"), scene.street.ca_pem()).unwrap();
        scene
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, redis: &Server) {
        let quoted = |name: &str| format!("{:?}", self.file(name).display().to_string());
        let mut text = format!("[run]\nstatus = {}\n", quoted("status"));
        // Every run begins a file: all of them are wanted.
        text += &format!("[journal]\ndirectory = {}\n", quoted("journal"));
        text += &format!("[redis]\nurl = {:?}\n", redis.url());
        text += &format!("[feeds]\nca_file = {}\n", quoted("ca.pem"));
        text += &feeds(&self.street, &HEARD);
        fs::write(self.file("config.toml"), text).unwrap();
    }

    /// Starts the program, and waits until every line is live: how long that took.
    fn run(&mut self) -> (Child, Duration) {
        let began = Instant::now();
        self.runs += 1;
        let said = self.file(&format!("said-{}", self.runs));
        let child = Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(["run", "--config"])
            .arg(self.file("config.toml"))
            .env_remove("FORESHOCK_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let text = || fs::read_to_string(&said).unwrap();
        let live = || text().lines().filter(|line| line.ends_with(" live")).count();
        while live() < 5 {
            assert!(began.elapsed() < Duration::from_secs(20), "never live: {}", text());
            thread::sleep(Duration::from_millis(5));
        }
        (child, began.elapsed())
    }

    /// Ends it in order; its books must balance.
    fn end(&self, mut child: Child) {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{}", self.said());
    }

    fn said(&self) -> String {
        fs::read_to_string(self.file(&format!("said-{}", self.runs))).unwrap()
    }

    /// Signals of each run in its journal.
    fn journal(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut signals: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut reader = Reader::open(&self.file("journal")).unwrap();
        while let Some(message) = reader.next() {
            match message {
                Ok(Message::Report(report)) => {
                    signals.entry(reader.run()).or_default().push(report.seq)
                }
                Ok(Message::Event(_)) => {}
                Err(damage) => assert!(damage.torn, "{damage}"),
            }
        }
        signals
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn ids(redis: &Server) -> Vec<Id> {
    let entries = redis.client().stream(STREAM);
    let id = |(id, fields): (String, Vec<String>)| {
        assert_ne!(fields[1], "gap", "{id} {fields:?}");
        let (run, seq) = id.split_once('-').unwrap();
        (run.parse().unwrap(), seq.parse().unwrap())
    };
    entries.into_iter().map(id).collect()
}

fn full() -> bool {
    std::env::var_os("FORESHOCK_FULL").is_some_and(|value| value == "1")
}

/// Everything that listeners are told, until somebody says `end`.
fn listen(redis: &Server) -> thread::JoinHandle<BTreeSet<Id>> {
    // Without a time limit: the market may be silent for a while.
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
    let subscribe = redis::cmd("SUBSCRIBE").arg("cascade:signals").get_packed_command();
    stream.write_all(&subscribe).unwrap();
    let mut parser = redis::Parser::new();
    parser.parse_value(&mut stream).unwrap();
    thread::spawn(move || {
        let mut heard = BTreeSet::new();
        loop {
            let message = parser.parse_value(&mut stream).unwrap();
            let Value::Array(parts) = message else { panic!("no message") };
            let text = text_of(&parts[2]);
            if text == "end" {
                return heard;
            }
            let signal: serde_json::Value = serde_json::from_str(&text).unwrap();
            let number = |name: &str| signal["meta"][name].as_u64().unwrap();
            assert!(heard.insert((number("run"), number("seq"))), "told twice: {text}");
        }
    })
}

#[test]
fn k2_a_run_killed_at_random_points_loses_and_doubles_no_signal() {
    if skipped() {
        return;
    }
    let kills = if full() { 100 } else { 5 };
    let redis = Server::start(&[]);
    let mut scene = Scene::open(30.0 + 3.0 * kills as f64);
    scene.configure(&redis);
    let (mut child, _) = scene.run();
    let heard = listen(&redis);
    thread::sleep(Duration::from_secs(4));
    let (mut dice, mut away) = (0x9e37_79b9_7f4a_7c15_u64, Vec::new());
    for _ in 0..kills {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(200 + (dice >> 33) % 1_500));
        let killed = Instant::now();
        kill(child);
        (child, _) = scene.run();
        away.push(killed.elapsed());
    }
    thread::sleep(Duration::from_secs(1));
    scene.end(child);
    redis.client().ask(&["PUBLISH", "cascade:signals", "end"]);
    let (heard, stream, journal) = (heard.join().unwrap(), ids(&redis), scene.journal());
    away.sort();
    let (median, worst) = (away[away.len() / 2], away[away.len() - 1]);
    eprintln!(
        "{kills} kills, {} signals; kill to all lines live: {median:?}, at most {worst:?}",
        stream.len()
    );
    let there: BTreeSet<Id> = stream.iter().copied().collect();
    assert_eq!(there.len(), stream.len(), "none doubled");
    let written = journal.iter().flat_map(|(run, seqs)| seqs.iter().map(move |seq| (*run, *seq)));
    let lost: Vec<Id> = written.chain(heard).filter(|id| !there.contains(id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(journal.len() as u64 > kills / 4, "some runs had something to say: {journal:?}");
    let mut last = 0;
    for (run, seqs) in &journal {
        let expected: Vec<u64> = (last + 1..).take(seqs.len()).collect();
        assert_eq!(seqs, &expected, "run {run} goes on after {last}");
        last = *seqs.last().unwrap();
    }
    let unwritten = stream.len() - journal.values().map(Vec::len).sum::<usize>();
    eprintln!("{unwritten} signals got out before they were journalled");
    replays(&files_in(&scene.file("journal")).unwrap().pop().unwrap());
}

/// A run that went on can be replayed from its own file alone.
fn replays(file: &Path) {
    let mut replay = Command::new(env!("CARGO_BIN_EXE_foreshock"));
    let output = replay.arg("replay").arg(file).env_remove("FORESHOCK_CONFIG").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("holds the same signals"), "{said}");
}

#[test]
fn signals_made_while_redis_was_away_reach_it_through_the_run_after() {
    if skipped() {
        return;
    }
    let mut redis = Server::start(&[]);
    let mut scene = Scene::open(60.0);
    scene.configure(&redis);
    redis.kill();
    let (child, _) = scene.run();
    thread::sleep(Duration::from_secs(7));
    kill(child);
    redis.launch();
    let (child, _) = scene.run();
    thread::sleep(Duration::from_secs(1));
    scene.end(child);
    let journal = scene.journal();
    assert!(journal.len() == 2, "both had something to say: {journal:?}");
    let written = journal.iter().flat_map(|(run, seqs)| seqs.iter().map(move |seq| (*run, *seq)));
    assert_eq!(ids(&redis), written.collect::<Vec<_>>());
}

#[test]
fn a3_alerts_that_a_kill_kept_from_arriving_are_sent_by_the_run_after_and_none_twice() {
    if skipped() {
        return;
    }
    let redis = Server::start(&[]);
    let mut scene = Scene::open(60.0);
    scene.configure(&redis);
    let place = Place::open(&scene.file("alert-ca.pem"), Answer::Silence);
    let config = fs::read_to_string(scene.file("config.toml")).unwrap();
    let channel = format!("[[alert.channel]]\n{}", place.channel("level = \"WATCH\""));
    fs::write(scene.file("config.toml"), config + &channel).unwrap();
    let (child, _) = scene.run();
    place.until(1);
    // Others join the one that is on its way.
    thread::sleep(Duration::from_secs(2));
    kill(child);
    place.say(Answer::Thanks);
    let asked = place.heard().len();
    let (child, _) = scene.run();
    place.until(asked + 3);
    scene.end(child);
    let heard = place.heard();
    let (key, again) = &heard[asked];
    assert_eq!(*key, heard[0].0, "what was on its way goes again under its key");
    assert_eq!(again["counts"], heard[0].1["counts"]);
    // All but the clock at its end, which may round another way.
    let words = |body: &serde_json::Value| {
        body["text"].as_str().unwrap().split(" venues live (").next().unwrap().to_owned()
    };
    assert_eq!(words(again), words(&heard[0].1));
    let (child, _) = scene.run();
    thread::sleep(Duration::from_millis(1_500));
    scene.end(child);
    let journal = Reader::open(&scene.file("journal")).unwrap();
    let due = place::due(journal.filter_map(|message| match message {
        Ok(Message::Report(report)) => Some(report),
        _ => None,
    }));
    eprintln!("{due} changes, {} requests", place.heard().len());
    assert_eq!(place.told(), due, "none lost, none told twice");
}

const START: Nanos = Nanos(1_760_130_000 * NS_PER_S);

/// A cascade of half a minute over twenty symbols, with ticks, heard on a line that is live.
fn cascade() -> Vec<Event> {
    let body = Body::Feed { state: FeedState::Live, code: 0 };
    let mut events = vec![Event { body, venue: Venue::Bybit, ..Event::tick(START) }];
    let mut at = START;
    for i in 0..4_000_u64 {
        at = at.plus(40_000_000 / (1 + i / 200));
        let hop = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let symbol = Symbol::of_base(&format!("S{}", hop % 20)).unwrap();
        let usd = Usd::from_micros(1_000_000 * (1 + hop % 9_000));
        let body = Body::Liquidation { side: Some(Side::Long), price: None, usd };
        let forced = Event { symbol, body, venue: Venue::Bybit, ..Event::tick(at) };
        events.push(if i.is_multiple_of(7) { Event::tick(at) } else { forced });
    }
    events
}

/// The moment `s` seconds after it.
fn after(s: u64) -> Nanos {
    cascade().last().unwrap().received.plus(s * NS_PER_S)
}

/// What a run of `events` writes: them, and what the engine says of them.
fn messages_of(engine: &mut Engine, events: &[Event]) -> Vec<Message> {
    let (mut all, mut out) = (Vec::new(), Outbox::new());
    for event in events {
        all.push(Message::Event(*event));
        engine.take(event, &mut out);
        all.extend(out.reports().iter().copied().map(Message::Report));
        out.clear();
    }
    all
}

/// Writes a run into the journal of `config`, in ten blocks.
fn journal(config: &Config, run: u64, begins: &[Event], messages: &[Message]) {
    let mut journal = Journal::beginning_with(&config.journal, run, begins, None).unwrap();
    for (ms, batch) in (0..).step_by(1_000).zip(messages.chunks((messages.len() / 10).max(20))) {
        journal.write(Now::at_millis(ms), batch);
        journal.turn(Now::at_millis(ms + 500));
    }
    journal.close(Now::default());
    while journal.turn(Now::default()) != Turn::Done {
        thread::yield_now();
    }
    let mut ledger = Ledger::default();
    journal.ledger(&mut ledger);
    assert_eq!(ledger.get("journal_lost"), 0);
}

fn config(folder: &Scratch) -> Config {
    let mut config = Config::default();
    config.journal.directory = folder.path().join("journal");
    config.redis.url = "redis://127.0.0.1".to_owned();
    config
}

fn last_signal(messages: &[Message]) -> u64 {
    let seq = |message: &Message| match message {
        Message::Report(report) => report.seq,
        Message::Event(_) => 0,
    };
    messages.iter().map(seq).max().unwrap_or(0)
}

/// Reports of one more liquidation.
fn one_more(engine: &mut Engine, at: Nanos) -> Vec<Report> {
    let is = |event: &&Event| matches!(event.body, Body::Liquidation { .. });
    let more = Event { received: at, ..*cascade().iter().find(is).unwrap() };
    let said = messages_of(engine, &[Event::tick(at), more]);
    reports(&said)
}

fn reports(said: &[Message]) -> Vec<Report> {
    let report = |message: &Message| match message {
        Message::Report(report) => Some(*report),
        Message::Event(_) => None,
    };
    said.iter().filter_map(report).collect()
}

#[test]
fn windows_and_numbers_go_on_and_what_was_said_is_not_said_again() {
    let folder = Scratch::new("windows");
    let config = config(&folder);
    let mut unbroken = Engine::new(&Settings::default());
    let messages = messages_of(&mut unbroken, &cascade());
    let seq = last_signal(&messages);
    assert!(seq > 2, "{seq}");
    journal(&config, 7, &[], &messages);
    let now = after(1);
    let past = past(&config, now);
    assert_eq!((past.run, past.former.seq), (7, seq), "{}", past.words);
    assert_eq!(past.former.signals.len() as u64, seq);
    let mut restored = past.engine(&Settings::default());
    assert_eq!((restored.signals(), restored.made()), (seq, 0));
    let [unbroken, restored] =
        [&mut unbroken, &mut restored].map(|engine| one_more(engine, now.plus(NS_PER_MS)));
    let market = |reports: &[Report]| {
        *reports.iter().rev().find(|report| report.symbol == Symbol::MARKET).unwrap()
    };
    let [a, b] = [&unbroken, &restored].map(|reports| market(reports));
    assert_eq!((a.counts, a.usd, a.breadth), (b.counts, b.usd, b.breadth));
    assert!(a.counts[6] > 3_000, "{:?}", a.counts);
    assert_eq!((a.live, b.live), (Venue::Bybit.bit(), 0), "nobody is heard yet");
    assert!(b.gap && !a.gap, "what happened between is missing");
    assert!(restored.iter().all(|report| !report.is_signal() || report.seq > seq));
    let told = reports(&messages);
    let told = told.iter().rfind(|r| r.symbol == Symbol::MARKET && r.is_signal());
    let told = told.unwrap();
    assert!(told.level > Level::None && told.level == b.level, "{told:?}");
    assert_eq!(told.episode, b.episode, "it goes on");
}

#[test]
fn a_run_that_went_on_is_gone_on_with_in_turn_and_one_that_hardly_began_is_passed_over() {
    let folder = Scratch::new("chain");
    let config = config(&folder);
    let messages = messages_of(&mut Engine::new(&Settings::default()), &cascade());
    journal(&config, 7, &[], &messages);
    let first = past(&config, after(5));
    journal(&config, 8, &first.events[..first.events.len() / 2], &[]);
    let second = past(&config, after(6));
    assert_eq!(second.events.len(), first.events.len(), "the whole of run 7, not half of it");
    let live = [Message::Event(Event::tick(after(7)))];
    journal(&config, 9, &second.events, &live);
    let third = past(&config, after(8));
    let forced = |events: &[Event]| {
        let is = |event: &&Event| matches!(event.body, Body::Liquidation { .. });
        events.iter().filter(is).count()
    };
    assert_eq!(forced(&third.events), forced(&cascade()), "each once: {}", third.words);
    assert_eq!((third.run, third.former.seq), (9, last_signal(&messages)));
    assert_eq!(third.former.signals.len() as u64, third.former.seq, "those of run 7");
    assert!(third.events[1..].iter().all(|event| event.flags.has(Flags::RELIVED)));
}

#[test]
fn what_ended_long_ago_or_in_the_future_leaves_only_its_numbers() {
    let folder = Scratch::new("stale");
    let config = config(&folder);
    let messages = messages_of(&mut Engine::new(&Settings::default()), &cascade());
    journal(&config, 7, &[], &messages);
    for now in [after(400), START] {
        let past = past(&config, now);
        assert_eq!(past.former.seq, last_signal(&messages));
        assert!(matches!(past.events[0].body, Body::Resume { .. }));
        assert!(past.events[1..].iter().all(|e| matches!(e.body, Body::Stood { .. })));
        let mut engine = past.engine(&Settings::default());
        let ticks: Vec<Event> =
            (1..900).map(|n| Event::tick(now.plus(n * NS_PER_S / 10))).collect();
        let ended = reports(&messages_of(&mut engine, &ticks));
        let ended = ended.iter().filter(|r| r.is_signal() && r.level == Level::None).count();
        assert!(ended > 0 && ended == past.events.len() - 1, "what stood is ended: {ended}");
    }
    let off = Config { journal: config.journal.clone(), ..Config::default() };
    assert!(past(&off, after(5)).former.signals.is_empty(), "nobody to offer to");
}

#[test]
fn k2_wherever_the_journal_is_cut_a_whole_prefix_is_restored() {
    let folder = Scratch::new("cut");
    let config = config(&folder);
    let mut messages = Vec::new();
    for (seq, events) in (1..).zip(cascade()[..60].chunks(15)) {
        messages.extend(events.iter().copied().map(Message::Event));
        let report = Report { kind: Kind::Change, seq, ..Report::empty(Symbol::BTC, START) };
        messages.push(Message::Report(report));
    }
    journal(&config, 7, &[], &messages);
    let file = files_in(&config.journal.directory).unwrap().pop().unwrap();
    let whole = fs::read(&file).unwrap();
    let events: Vec<Event> = cascade();
    let mut lengths = BTreeSet::new();
    for cut in (0..=whole.len()).rev() {
        fs::write(&file, &whole[..cut]).unwrap();
        let past = past(&config, after(5));
        let plain = |event: &Event| Event { flags: Flags::default(), ..*event };
        let lived: Vec<Event> = past.events.iter().skip(1).map(plain).collect();
        let lived = &lived[..lived.len().saturating_sub(1)];
        assert_eq!(lived, &events[..lived.len()], "cut at {cut}");
        assert_eq!(past.former.seq, past.former.signals.last().map_or(0, |(_, report)| report.seq));
        assert_eq!(past.former.seq, past.former.signals.len() as u64);
        lengths.insert(lived.len());
    }
    assert!(lengths.len() > 3 && lengths.contains(&0) && lengths.contains(&60), "{lengths:?}");
}

#[test]
fn a_journal_of_another_version_is_named_and_the_run_begins_anew() {
    let folder = Scratch::new("version");
    let config = config(&folder);
    fs::create_dir_all(&config.journal.directory).unwrap();
    fs::write(
        config.journal.directory.join("0000000000001-000001.fsj"),
        b"FSHKJRN1 and so on, and so on, and so on, and so on",
    )
    .unwrap();
    let past = past(&config, START);
    assert!(past.words.contains("not a journal of this version"), "{}", past.words);
    assert_eq!((past.run, past.former.seq, past.events.len()), (0, 0, 0));
}
