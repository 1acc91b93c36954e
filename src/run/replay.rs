//! `foreshock replay`: recordings through the pipeline, and a hash of what came out.
//!
//! The hash is SHA-256 over the reproducible JSON of every signal, one line each: it depends on the
//! recordings and the settings of the engine, and on nothing else (not on the layout, the size of the
//! rings, the speed or the build). A journal holds the signals it led to, so its replay is checked; and the
//! settings it was written with, so it is lived with these (see [`super::tuned`]).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Failure;
use super::account::settle;
use super::clock::Clock;
use super::count::Count;
use super::crew::Stop;
use super::pipeline::{self, Pipeline};
use super::reload::Takers;
use super::restore::Past;
use super::tuned::{Choice, differences, shown};
use crate::config::{Config, Layers};
use crate::engine::Settings;
use crate::engine::stage::Tuning;
use crate::event::Event;
use crate::ingest::intake::Intake;
use crate::ingest::playback::{Playback, Speed};
use crate::ingest::recording::{self, Recording};
use crate::output::Message;
use crate::publish::Sink;
use crate::publish::console::Lines;
use crate::publish::json;
use crate::record;
use crate::ring::ring;
use crate::tap::Taps;

/// Plays `files` at `speed`, at most `duration` of recorded time.
///
/// # Errors
/// An unreadable recording or one whose settings are not known (1), or a journal whose signals are not
/// reproduced (6).
pub fn replay(
    config: &Config,
    layers: &Layers,
    files: &[PathBuf],
    speed: Speed,
    out: Option<&Path>,
    duration: Option<Duration>,
) -> Result<(), Failure> {
    let stop = Stop::default();
    pipeline::stop_on_signals(&stop)?;
    let mut config = config.clone();
    let held = match files {
        [file] => held(file, &Choice::of(&config, layers))?,
        _ => None,
    };
    let tunings = held.as_ref().map_or_else(Vec::new, |held| held.adopt(&mut config));
    let recordings: Result<Vec<Box<dyn Recording>>, String> =
        files.iter().map(|path| recording::open(path)).collect();
    let age_gate_ms = i64::try_from(config.feeds.age_gate_ms).unwrap_or(i64::MAX);
    let intake = Intake::new(age_gate_ms).knowing(&config.feeds);
    let (outlet, events) = ring(config.run.event_ring);
    let duration_ns = duration.map(|d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    let playback = recordings
        .and_then(|recordings| Playback::new(recordings, intake, outlet, speed, duration_ns))
        .map_err(Failure::running)?;
    let trouble = playback.trouble();
    let seal = Seal::default();
    let count = Count::default();
    let so_far = count.so_far();
    let sinks: Vec<Box<dyn Sink>> = vec![hash(&seal, out)?, Box::new(count)];
    let begin = playback.begins();
    let clock = Clock::of_recording(begin);
    let ingest = Box::new(playback);
    // Nobody may take the past for the present.
    config.alert.mark = "REPLAY".to_owned();
    config.journal.restore = false;
    let crew = Pipeline {
        ingest,
        events,
        taps: Taps::default(),
        past: Past::default(),
        sinks,
        page: None,
        takers: Takers::of_the_past(tunings),
    }
    .start(&config, clock, &stop)?;
    so_far.show(&crew, begin);
    let outcome = crew.join();
    let settled = settle(&outcome, &mut io::stderr().lock());
    if let Some(trouble) = trouble.get() {
        return Err(Failure::running(trouble));
    }
    settled?;
    let (signals, digest) = seal.result();
    println!("signals {signals}");
    println!("sha256 {digest}");
    let whole = duration.is_none() && !stop.requested();
    if whole { compare(files, held.as_ref(), signals, &digest) } else { Ok(()) }
}

/// The sink that hashes, and writes to `out` if given.
fn hash(seal: &Seal, out: Option<&Path>) -> Result<Box<dyn Sink>, Failure> {
    let file = out.map(|path| {
        let file = File::create(path);
        file.map_err(|e| Failure::running(format!("{}: {e}", path.display())))
    });
    let tee = Tee { seal: seal.clone(), file: file.transpose()?.map(BufWriter::new) };
    Ok(Box::new(Lines::json(Box::new(tee))))
}

/// Hashes lines as they are written. Shared with whoever wants the result; not on the hot path.
#[derive(Clone, Default)]
struct Seal(Arc<Mutex<(u64, Sha256)>>);

impl Seal {
    fn update(&self, bytes: &[u8]) {
        let mut seal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seal.0 += bytes.iter().filter(|&&b| b == b'\n').count() as u64;
        seal.1.update(bytes);
    }

    /// Number of lines, and the hash in hex.
    fn result(&self) -> (u64, String) {
        let (lines, hash) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (lines, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Writes to the hash, and to a file if there is one.
struct Tee {
    seal: Seal,
    file: Option<BufWriter<File>>,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.seal.update(bytes);
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// What a journal holds beside its events.
struct Held {
    /// Number and hash of its signals; `None` where they are not whole.
    signals: Option<(u64, String)>,
    /// What the run began with.
    first: Settings,
    tunings: Vec<Tuning>,
    /// What is to be said of them.
    words: Vec<String>,
}

impl Held {
    /// Makes what the run began with the settings in force.
    fn adopt(&self, config: &mut Config) -> Vec<Tuning> {
        self.words.iter().for_each(|line| eprintln!("replay: {line}"));
        config.engine = self.first;
        self.tunings.clone()
    }
}

/// Reads a journal for what it holds; `None` where it is none, or nothing of it can be read.
fn held(file: &Path, choice: &Choice) -> Result<Option<Held>, Failure> {
    let unknown = |why: String| Failure::running(format!("{}: {why}", file.display()));
    let Ok(mut reader) = record::Reader::open(file) else { return Ok(None) };
    let (seal, mut line, mut whole) = (Seal::default(), String::new(), true);
    let mut held: Option<Held> = None;
    while let Some(message) = reader.next() {
        let message = match message {
            Ok(message) => message,
            Err(damage) => {
                whole = false;
                if damage.torn { continue } else { break }
            }
        };
        let held = match &mut held {
            Some(held) => held,
            none => none.insert(Held::begun(choice, &reader).map_err(unknown)?),
        };
        match message {
            Message::Event(event) => held.event(&event, choice, &reader).map_err(unknown)?,
            Message::Report(report) => {
                line.clear();
                json::reproducible(&report, &mut line);
                line.push('\n');
                seal.update(line.as_bytes());
            }
        }
    }
    let whole = whole && reader.missing() == 0;
    Ok(held.map(|held| Held { signals: whole.then(|| seal.result()), ..held }))
}

impl Held {
    fn begun(choice: &Choice, reader: &record::Reader) -> Result<Self, String> {
        let first = choice.first(reader)?;
        let words = differences(choice.configured(), &first)?;
        let word =
            |it| format!("engine.{}: the run began with that, and is lived with it", shown(it));
        let words = words.iter().map(word).collect();
        Ok(Self { signals: None, first, tunings: Vec::new(), words })
    }

    fn event(
        &mut self,
        event: &Event,
        choice: &Choice,
        reader: &record::Reader,
    ) -> Result<(), String> {
        let Some((number, settings)) = choice.next(event, reader)? else { return Ok(()) };
        let before = self.tunings.last().map_or(self.first, |tuning| tuning.settings);
        let (seq, _) = reader.numbers();
        for it in &differences(&before, &settings)? {
            self.words.push(format!("engine.{} after signal {seq}", shown(it)));
        }
        self.tunings.push(Tuning { number, settings });
        Ok(())
    }
}

/// Compares with the signals that a journal holds; other recordings hold none.
fn compare(
    files: &[PathBuf],
    held: Option<&Held>,
    signals: u64,
    digest: &str,
) -> Result<(), Failure> {
    let recorded = held.and_then(|held| held.signals.as_ref());
    let (Some((recorded, expected)), [file]) = (recorded, files) else { return Ok(()) };
    if expected == digest {
        println!("the journal holds the same signals");
        return Ok(());
    }
    Err(Failure::mismatch(format!(
        "{}: holds {recorded} signals (sha256 {expected}), the replay made {signals}; was the engine \
         configured otherwise, or is the beginning of the run missing?",
        file.display()
    )))
}
