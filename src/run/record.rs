//! `foreshock record`: what the venues send, byte for byte, to a file that `replay` reads.
//!
//! The same lines as `run`, without an engine. Frames gather in a block; when it is full or half a
//! second old it goes to a thread that packs and appends it. While the disk cannot keep up, or is full,
//! frames are counted as lost and the ordinals in the file show it; the lines stay open.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::Failure;
use super::account::settle;
use super::clock::Clock;
use super::crew::{Bench, Crew, Stop};
use super::live::{self, Beside};
use super::pipeline::stop_on_signals;
use crate::config::Config;
use crate::event::Venue;
use crate::ingest::capture::{Block, Writer};
use crate::ingest::instrument::Instruments;
use crate::ingest::intake::{Intake, spoken};
use crate::ingest::settings::Settings;
use crate::ingest::source::{FeedChange, Heard, Read, Source};
use crate::ledger::Ledger;
use crate::publish::courier::{Courier, Errand};
use crate::stage::{Stage, Turn};
use crate::time::{NS_PER_MS, Now};

/// Frames taken from one source in one turn.
const FRAMES_PER_SOURCE: usize = 32;
/// A frame is on its way to disk after this.
const FLUSH: u64 = 500 * NS_PER_MS;
/// Blocks on their way at most.
const BLOCKS: usize = 16;
const SYNC_EVERY: Duration = Duration::from_secs(1);
const NOTICES: usize = 1_024;

/// Records to `file` until interrupted, or for `duration`.
///
/// # Errors
/// When the file exists or cannot be made, nothing was heard, or the books do not balance.
pub fn record(config: &Config, file: &Path, duration: Option<Duration>) -> Result<(), Failure> {
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let deadline = duration.map(|duration| Instant::now() + duration);
    let clock = Clock::start();
    let age_gate_ms = i64::try_from(config.feeds.age_gate_ms).unwrap_or(i64::MAX);
    let mut intake = Intake::new(age_gate_ms).knowing(&config.feeds);
    let writer = Writer::create(file, clock.run().cast_unsigned())
        .map_err(|e| Failure::running(format!("{}: {e}", file.display())))?;
    let feeds = Settings { kernel_stamps: false, ..config.feeds.clone() };
    let sources = live::sources(&feeds, &mut intake, &stop)?;
    let (notices, heard) = bounded(NOTICES);
    let recorder = Recorder::new(sources, intake, writer, notices)
        .map_err(|e| Failure::running(format!("threads: {e}")))?;
    let counts = recorder.counts.clone();
    let stages: Vec<(Box<dyn Stage>, _)> = vec![(Box::new(recorder), None)];
    let (core, idle) = (config.run.reader_core, config.run.idle);
    let bench = Bench { name: "record".to_owned(), stages, core, idle, ..Bench::default() };
    let crew = Crew::start(vec![bench], clock, &stop)
        .map_err(|e| Failure::running(format!("threads: {e}")))?;
    let attended = live::attend(crew, &heard, &stop, Beside::default(), |_, _| {
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
    });
    let settled = settle(&attended.outcome, &mut std::io::stderr().lock());
    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let (written, bytes) = (count(&counts.written), count(&counts.bytes));
    println!("{}: {written} records, {bytes} bytes", file.display());
    if attended.heard == 0 {
        return Err(Failure::unreachable("no venue was heard; the lines above say why"));
    }
    settled
}

/// What the writing thread counts.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

/// Reads sources into a file.
struct Recorder {
    sources: Vec<Box<dyn Source>>,
    intake: Intake,
    tape: Tape,
    notices: Sender<FeedChange>,
    counts: Arc<Counts>,
    begun: bool,
    stopped: bool,
    frames: u64,
}

/// The block being filled, and those on their way.
struct Tape {
    courier: Courier<Block>,
    block: Option<Block>,
    ordinal: u64,
    lost: u64,
}

impl Tape {
    fn add(&mut self, put: impl Fn(&mut Block, u64) -> bool) {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        for _ in 0..2 {
            if self.block.is_none() {
                self.block = self.courier.blank();
            }
            let Some(block) = self.block.as_mut() else { break };
            if put(block, ordinal) {
                return;
            }
            self.send();
        }
        self.lost += 1;
    }

    fn send(&mut self) {
        if let Some(block) = self.block.take().filter(|block| block.records() > 0)
            && let Err(block) = self.courier.send(block)
        {
            self.lost += block.records();
        }
    }

    fn send_if_due(&mut self, now: Now) {
        let due = |block: &Block| {
            block.is_full() || block.records() > 0 && now.mono.since(block.begins()) >= FLUSH
        };
        if self.block.as_ref().is_some_and(due) {
            self.send();
        }
    }
}

impl Recorder {
    fn new(
        sources: Vec<Box<dyn Source>>,
        intake: Intake,
        mut writer: Writer,
        notices: Sender<FeedChange>,
    ) -> std::io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let books = counts.clone();
        let mut broken = false;
        let work = move |errand: Errand<'_, Block>| match errand {
            Errand::Parcel(block) => {
                let written = writer.append(block);
                broken = said(broken, written.as_ref().err());
                match written {
                    Ok(bytes) => {
                        books.written.fetch_add(block.records(), Ordering::Relaxed);
                        books.bytes.fetch_add(bytes, Ordering::Relaxed);
                    }
                    Err(_) => drop(books.failed.fetch_add(block.records(), Ordering::Relaxed)),
                }
                block.clear();
            }
            // What cannot be synced is seen when it is read; the next write says so.
            Errand::Pause | Errand::End => drop(writer.sync()),
        };
        let blocks = (0..BLOCKS).map(|_| Block::default()).collect();
        let courier = Courier::start("tape", blocks, SYNC_EVERY, work)?;
        let tape = Tape { courier, block: None, ordinal: 0, lost: 0 };
        let (begun, stopped, frames) = (false, false, 0);
        Ok(Self { sources, intake, tape, notices, counts, begun, stopped, frames })
    }

    /// Instruments come first: without them frames of contracts mean nothing.
    fn begin(&mut self, now: Now) {
        for exchange in spoken() {
            let venue: Venue = exchange.venue();
            let Some(desk) = self.intake.desk(venue) else { continue };
            let known: &Instruments = &desk.instruments;
            self.tape.add(|block, ordinal| block.instruments(venue, known, now, ordinal));
        }
    }

    fn read(&mut self, now: Now) -> bool {
        let Self { sources, intake, tape, notices, frames, .. } = self;
        let mut worked = false;
        for source in sources {
            let read = source.read(now, FRAMES_PER_SOURCE, &mut |frame| {
                *frames += 1;
                tape.add(|block, ordinal| block.frame(&frame, ordinal));
                // The parser's verdict drives the connection.
                let (verdict, _) = intake.frame(&frame);
                Heard { verdict, rare: intake.held_liquidation(), late: intake.was_late() }
            });
            worked |= read == Read::Frames;
            while let Some(change) = source.feed() {
                let _ = notices.try_send(change);
            }
        }
        worked
    }
}

/// Says once that it broke and once that it works again.
fn said(broken: bool, error: Option<&std::io::Error>) -> bool {
    match error {
        Some(e) if !broken => {
            eprintln!("record: cannot write ({e}); the lines stay open, frames are lost");
        }
        None if broken => eprintln!("record: writing again"),
        _ => {}
    }
    error.is_some()
}

impl Stage for Recorder {
    fn name(&self) -> &'static str {
        "record"
    }

    fn turn(&mut self, now: Now) -> Turn {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(now);
        }
        if self.stopped {
            return if self.tape.courier.is_done() { Turn::Done } else { Turn::Idle };
        }
        let worked = self.read(now);
        self.tape.send_if_due(now);
        if worked { Turn::Worked } else { Turn::Idle }
    }

    fn stop(&mut self) {
        self.sources.iter_mut().for_each(|source| source.stop());
        self.tape.send();
        self.tape.courier.end();
        self.stopped = true;
    }

    /// `recorded = written + lost`, each record a frame or a venue's instruments.
    fn ledger(&self, ledger: &mut Ledger) {
        self.sources.iter().for_each(|source| source.ledger(ledger));
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        ledger.add("record_frames", self.frames);
        ledger.add("record_written", count(&self.counts.written));
        ledger.add("record_lost", self.tape.lost + count(&self.counts.failed));
        ledger.add("record_bytes", count(&self.counts.bytes));
    }
}
