//! `foreshock replay`: recordings through the pipeline, and a hash of what came out.
//!
//! The hash is SHA-256 over the reproducible JSON of every signal, one line each: it depends on the
//! recordings and the settings of the engine, and on nothing else (not on the layout, the size of the
//! rings, the speed or the build). A journal holds the signals it led to, so its replay is checked.

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
use super::restore::Past;
use crate::config::Config;
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
/// An unreadable recording (1), or a journal whose signals are not reproduced (6).
pub fn replay(
    config: &Config,
    files: &[PathBuf],
    speed: Speed,
    out: Option<&Path>,
    duration: Option<Duration>,
) -> Result<(), Failure> {
    let stop = Stop::default();
    pipeline::stop_on_signals(&stop)?;
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
    let mut config = config.clone();
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
        relief: None,
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
    if whole { compare(files, signals, &digest) } else { Ok(()) }
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

/// Compares with the signals that a journal holds; other recordings hold none.
fn compare(files: &[PathBuf], signals: u64, digest: &str) -> Result<(), Failure> {
    let [file] = files else { return Ok(()) };
    let Some((recorded, expected)) = recorded(file) else { return Ok(()) };
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

/// Number and hash of the signals in a journal; `None` where it is none, or not whole.
fn recorded(file: &Path) -> Option<(u64, String)> {
    let mut reader = record::Reader::open(file).ok()?;
    let seal = Seal::default();
    let mut line = String::new();
    let mut messages = 0;
    for message in reader.by_ref() {
        messages += 1;
        if let Message::Report(report) = message.ok()? {
            line.clear();
            json::reproducible(&report, &mut line);
            line.push('\n');
            seal.update(line.as_bytes());
        }
    }
    (messages > 0 && reader.missing() == 0).then(|| seal.result())
}
