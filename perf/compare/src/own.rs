//! foreshock itself: its own socket, reader, parser, rings and engine, in its inline layout.
//!
//! ```text
//! Socket ─▶ Reader (frame ─▶ JSON ─▶ Event) ═ring═▶ EngineStage ═ring═▶ Ear
//! ```
//! They are put together as `run::live` does it, with its settings, and take turns on one thread under
//! `run::crew`, with the clock reads of a real run. The only part of our own stands where the publisher
//! would: the [`Ear`] takes lines off the second door. It is told the time at which the engine's turn
//! ended; every event of that turn counts as decided then, which is never too early.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use foreshock::config::Config;
use foreshock::engine::{Engine, EngineStage};
use foreshock::event::{Body, Usd, Venue};
use foreshock::ingest::dial::{Dialer, Trust};
use foreshock::ingest::exchange::{Exchange, exchange};
use foreshock::ingest::instrument::{Contract, Instrument, Instruments, Terms};
use foreshock::ingest::intake::Intake;
use foreshock::ingest::reader::Reader;
use foreshock::ingest::socket::{Setup, Socket};
use foreshock::ingest::source::Source;
use foreshock::ledger::Ledger;
use foreshock::output::Output;
use foreshock::ring::{Inlet, ring};
use foreshock::run::clock::Clock;
use foreshock::run::crew::{self, Bench, Idle, Stop};
use foreshock::stage::{Stage, Turn};
use foreshock::time::{Nanos, Now};

use crate::clock;
use crate::contender::{Book, PATIENCE_NS, Task};
use crate::flow::{SYMBOLS, symbol};

/// Lines the ear takes in one turn, as a publisher would.
const LINES: usize = 256;
/// Notices for people that nobody reads here.
const NOTICES: usize = 1_024;
/// How often the clocks are compared, to find how far they are apart.
const COMPARISONS: usize = 1_000;

/// Listens until all have come.
///
/// # Errors
/// When the parts cannot be put together, or the books do not balance.
pub fn run(task: &Task, idle: Idle) -> Result<Book, String> {
    let clock = Clock::start();
    let mut config = Config::default();
    let mut own = config.feeds.venue(Venue::Binance);
    own.urls.insert("market".to_owned(), task.url.clone());
    config.feeds.venues.insert(Venue::Binance.name().to_owned(), own);
    let gate = i64::try_from(config.feeds.age_gate_ms).unwrap_or(i64::MAX);
    let mut intake = Intake::new(gate).telling_twins_apart().knowing(&config.feeds);
    let source = source(task, &config, &mut intake)?;
    let (outlet, events) = ring(config.run.event_ring);
    let (lines_out, lines_in) = ring(config.run.output_ring);
    let (notices, _unread) = bounded(NOTICES);
    let (vitals, _untold) = bounded(NOTICES);
    let reads = Reads::new(task);
    let seen = reads.clone();
    let ahead = ahead(clock);
    let stamp = move || {
        let parsed = clock.mono();
        seen.note(parsed.0 - ahead);
        parsed
    };
    let reader = Reader::new(vec![source], intake, outlet, Box::new(stamp), notices);
    let engine = EngineStage::new(Engine::new(&config.engine), vec![events], lines_out);
    let stop = Stop::default();
    let (done, book) = bounded(1);
    let ear = Ear {
        lines: lines_in,
        book: Some(Book::new(task)),
        done,
        ahead,
        latest: clock.mono(),
        stop: stop.clone(),
    };
    let stages: Vec<(Box<dyn Stage>, _)> = vec![
        (Box::new(reader.telling(vitals)), None),
        (Box::new(engine), None),
        (Box::new(ear), None),
    ];
    let mut bench = Bench { name: "inline".to_owned(), stages, idle, ..Bench::default() };
    let outcome = crew::run(&mut bench, || clock.now(), &stop);
    balanced(&outcome.ledger)?;
    finished(&book, &reads)
}

fn source(task: &Task, config: &Config, intake: &mut Intake) -> Result<Box<dyn Source>, String> {
    let binance = exchange(Venue::Binance).ok_or("no such venue")?;
    let instruments = instruments(binance);
    let setups = Setup::of(binance, &config.feeds, &instruments)?;
    let setup = setups.into_iter().find(|setup| setup.plan.rare).ok_or("no such route")?;
    if let Some(desk) = intake.desk(Venue::Binance) {
        desk.instruments = instruments;
    }
    let pem = task.ca.as_deref().map(read).transpose()?;
    let dialer =
        Dialer::start(1, &Trust::new(pem.as_deref())?).map_err(|e| format!("dial: {e}"))?;
    Ok(Box::new(Socket::new(setup, dialer).map_err(|e| format!("poll: {e}"))?))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// What the venue lists: the symbols of the flow, as REST would have told.
fn instruments(binance: &dyn Exchange) -> Instruments {
    let mut known = Instruments::default();
    known.extend(binance.built_in());
    known.extend((0..SYMBOLS).filter_map(|n| {
        let terms = Terms::of_coin(&format!("COIN{n}"), Some(Contract::Coins(1.0))).ok()?;
        Instrument::new(&symbol(n), terms)
    }));
    known
}

/// How far foreshock's steady clock, which shows Unix time, is ahead of ours.
fn ahead(clock: Clock) -> u64 {
    let compare = || {
        let before = clock::now();
        let theirs = clock.mono().0;
        let after = clock::now();
        (after - before, theirs - (before + (after - before) / 2))
    };
    let closest = (0..COMPARISONS).map(|_| compare()).min();
    closest.map_or(0, |(_, ahead)| ahead)
}

/// When the bytes of each frame came from the kernel, and when it was parsed: noted where the reader
/// stamps "parsed".
#[derive(Clone)]
struct Reads(Arc<Noted>);

struct Noted {
    next: AtomicUsize,
    frames: Box<[[AtomicU64; 2]]>,
}

impl Reads {
    /// Room for the messages and the answers before them; none where nothing is stamped.
    fn new(task: &Task) -> Self {
        let room = if task.stamped { task.count + 64 } else { 0 };
        let frames = (0..room).map(|_| [AtomicU64::new(1), AtomicU64::new(1)]).collect();
        Self(Arc::new(Noted { next: AtomicUsize::new(0), frames }))
    }

    fn note(&self, parsed: u64) {
        let Noted { next, frames } = &*self.0;
        if frames.is_empty() {
            return;
        }
        let n = next.load(Ordering::Relaxed);
        next.store(n + 1, Ordering::Relaxed);
        if let Some([read_at, parsed_at]) = frames.get(n) {
            read_at.store(clock::last_read(), Ordering::Relaxed);
            parsed_at.store(parsed, Ordering::Relaxed);
        }
    }

    fn noted(&self) -> Vec<[u64; 2]> {
        let n = self.0.next.load(Ordering::Relaxed);
        let frames = self.0.frames.iter().take(n);
        frames.map(|pair| pair.each_ref().map(|at| at.load(Ordering::Relaxed))).collect()
    }
}

/// Takes lines off the second door.
struct Ear {
    lines: Inlet<Output>,
    /// Handed over when all have come.
    book: Option<Book>,
    done: crossbeam_channel::Sender<Book>,
    ahead: u64,
    /// When a message last came.
    latest: Nanos,
    stop: Stop,
}

impl Ear {
    fn hear(&mut self, line: &Output, now: Now) {
        let Output::Event(event) = line else { return };
        let (Body::Liquidation { usd, .. }, Some(book)) = (event.body, &mut self.book) else {
            return;
        };
        self.latest = now.mono;
        book.decided(usd.map_or(0, Usd::micros), 0, now.mono.0 - self.ahead);
    }

    fn is_over(&self, now: Now) -> bool {
        let full = self.book.as_ref().is_some_and(Book::is_full);
        full || now.mono.since(self.latest) > PATIENCE_NS
    }
}

impl Stage for Ear {
    fn name(&self) -> &'static str {
        "ear"
    }

    fn turn(&mut self, now: Now) -> Turn {
        let mut worked = false;
        for _ in 0..LINES {
            let Some(line) = self.lines.pop() else { break };
            self.hear(&line, now);
            worked = true;
        }
        if self.book.is_some() && self.is_over(now) {
            if let Some(book) = self.book.take() {
                drop(self.done.try_send(book));
            }
            self.stop.request();
        }
        match (worked, self.lines.has_ended()) {
            (true, _) => Turn::Worked,
            (false, true) => Turn::Done,
            (false, false) => Turn::Idle,
        }
    }

    fn stop(&mut self) {}

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add("lines_heard", self.lines.taken());
    }
}

/// Nothing was dropped, refused or kept out of the rates.
fn balanced(ledger: &Ledger) -> Result<(), String> {
    let wrong = ledger.laws().find(|law| !law.holds);
    if let Some(law) = wrong {
        return Err(format!("foreshock: {law:?}"));
    }
    let kept_out = ledger.iter().filter(|(name, n)| {
        *n > 0
            && ["dropped", "refused", "rejected", "kept_out", "late"]
                .iter()
                .any(|word| name.contains(word))
    });
    let kept_out: Vec<String> = kept_out.map(|(name, n)| format!("{name} {n}")).collect();
    if kept_out.is_empty() { Ok(()) } else { Err(format!("foreshock: {}", kept_out.join(", "))) }
}

fn finished(book: &Receiver<Book>, reads: &Reads) -> Result<Book, String> {
    let mut book = book
        .recv_timeout(Duration::from_secs(1))
        .map_err(|_| "foreshock: ended before its time".to_owned())?;
    book.was_read(&reads.noted());
    Ok(book)
}
