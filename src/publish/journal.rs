//! The journal: everything the engine took and every signal it made, on disk.
//!
//! Records gather in a [`Block`]; when it is full, a fifth of a second old, or holds a signal and there
//! are blocks to spare, it goes to a thread that appends it: a signal that the world has seen is
//! remembered by the run that comes after a sudden end. A block that could not be written whole is cut off again, so the file stays a row of
//! whole blocks; what was in it is counted as lost, and the next one is tried. Blocks are bounded:
//! while the disk is too slow for all of them, records are counted as lost and their ordinals
//! show the gap to whoever reads it.
//!
//! The engine's settings are kept beside what it took, as text that this room does not read: those it began
//! with, and others in the same block as the event that says they are in force, before it. A file that is not
//! the first begins with those in force. So whoever has a file that tells of settings has the settings.
//!
//! Files are named by run and number, and begin anew at a size; the oldest go when there are too
//! many.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};

use super::Sink;
use super::courier::{Courier, Errand};
use crate::event::{Body, Event};
use crate::ledger::{self, Ledger};
use crate::output::Message;
use crate::record::{Block, EVENT_BYTES, EXTENSION, REPORT_BYTES, files_in, settings_bytes};
use crate::stage::Turn;
use crate::time::{NS_PER_MS, Nanos, Now};

/// When what was written is made to survive a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// When the system likes; a crash of ours loses nothing that was written.
    Never,
    /// Once a second.
    #[default]
    Interval,
    /// After every block.
    Always,
}

/// How the journal is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directory; empty for no journal.
    pub directory: PathBuf,
    /// A record is on its way to disk after this, ms.
    pub flush_ms: u64,
    /// When to make it survive a power cut.
    pub fsync: Fsync,
    /// A file ends at this size, MB.
    pub file_mb: u64,
    /// Files kept, this run's and earlier ones, were they all full.
    pub files: usize,
    /// Whether a run goes on where the last one in the directory ended: its numbers, the signals that
    /// Redis has not got, and the windows.
    pub restore: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            flush_ms: 200,
            fsync: Fsync::default(),
            file_mb: 256,
            files: 16,
            restore: true,
        }
    }
}

impl Settings {
    /// Whether a journal is wanted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.directory.as_os_str().is_empty()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=10_000).contains(&self.flush_ms) {
            return Err(format!("flush_ms = {}: 1 to 10000", self.flush_ms));
        }
        if !(1..=1 << 20).contains(&self.file_mb) {
            return Err(format!("file_mb = {}: 1 to 1048576", self.file_mb));
        }
        if self.files < 2 {
            return Err(format!("files = {}: at least 2, one is being written", self.files));
        }
        Ok(())
    }
}

/// Settings of the engine, and the number that an event names them by.
#[derive(Clone, Debug)]
pub struct Note {
    /// The number.
    pub number: u64,
    /// The settings.
    pub text: Arc<str>,
}

/// What the engine's settings are.
#[derive(Debug)]
pub struct Notes {
    /// Those it begins with.
    pub first: Note,
    /// Where others are before the event that names them.
    pub others: Receiver<Note>,
}

/// Small files that may stand for a full one.
const SMALL_FILES: usize = 64;
/// Payload of one block.
const BLOCK_BYTES: usize = 256 << 10;
/// Events in one block of those a run begins with.
const BEGIN_WITH: usize = BLOCK_BYTES / EVENT_BYTES;
/// Blocks on their way at most: 8 MiB.
const BLOCKS: usize = 32;
/// While this many are empty a signal goes off at once, and the rest when it is due; else only full blocks do.
const SPARE: usize = BLOCKS / 2;
/// How often `Fsync::Interval` syncs.
const SYNC_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    broken: AtomicBool,
}

/// The sink.
pub struct Journal {
    courier: Courier<Block>,
    counts: Arc<Counts>,
    block: Option<Block>,
    since: Nanos,
    flush_ns: u64,
    ordinal: u64,
    lost: u64,
    /// Numbers of the last signal and the last episode.
    numbers: (u64, u64),
    notes: Option<Receiver<Note>>,
}

impl Journal {
    /// Opens a journal for the run that started at `run`, wall clock ms.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn open(settings: &Settings, run: u64) -> io::Result<Self> {
        Self::beginning_with(settings, run, &[], None)
    }

    /// The same for a run whose engine has taken `events` already: they are written before this
    /// returns, so that the run can be lived again from its own records; and so are the settings that `notes`
    /// begins with.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn beginning_with(
        settings: &Settings,
        run: u64,
        events: &[Event],
        notes: Option<Notes>,
    ) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let mut writer = Writer::open(settings, run, Arc::clone(&counts))?;
        writer.begin(notes.as_ref().map(|notes| &notes.first), events);
        let work = move |errand: Errand<'_, Block>| match errand {
            Errand::Parcel(block) => {
                writer.write(block);
                block.clear();
            }
            Errand::Pause => writer.sync_if_due(),
            Errand::End => writer.sync(),
        };
        let blocks = (0..BLOCKS).map(|_| Block::with_capacity(BLOCK_BYTES)).collect();
        let courier = Courier::start("journal", blocks, SYNC_EVERY / 4, work)?;
        Ok(Self {
            courier,
            counts,
            block: None,
            since: Nanos::default(),
            flush_ns: settings.flush_ms * NS_PER_MS,
            ordinal: events.len() as u64,
            lost: 0,
            numbers: events.iter().find_map(numbers_of).unwrap_or_default(),
            notes: notes.map(|notes| notes.others),
        })
    }

    /// Whether the latest block could not be written (disk full, device gone).
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.counts.broken.load(Ordering::Relaxed)
    }

    /// The block being filled, with room for one more record.
    fn room(&mut self, bytes: usize, now: Now) -> Option<&mut Block> {
        if self.block.as_ref().is_some_and(|block| !block.fits(bytes)) {
            self.send();
        }
        if self.block.is_none() {
            self.block = self.courier.blank();
            self.since = now.mono;
            let (seq, episode) = self.numbers;
            self.block.iter_mut().for_each(|block| block.mark(seq, episode));
        }
        self.block.as_mut()
    }

    /// Puts a message into the block; whether it is a signal.
    fn put(&mut self, message: &Message, now: Now) -> bool {
        let ordinal = self.ordinal;
        let taken = match message {
            Message::Event(event) => {
                let note = self.note(event);
                self.ordinal += 1;
                // One does not go without the other: both are there, or both are lost.
                let bytes = note.as_ref().map_or(0, |note| settings_bytes(note.text.len()));
                self.room(bytes + EVENT_BYTES, now).map(|block| {
                    if let Some(Note { number, text }) = &note {
                        block.settings(*number, text, ordinal);
                    }
                    block.event(event, ordinal);
                })
            }
            Message::Report(report) if report.is_signal() => {
                let taken = self.room(REPORT_BYTES, now).map(|block| block.report(report, ordinal));
                self.numbers = (report.seq, self.numbers.1.max(report.episode));
                taken
            }
            Message::Report(_) => return false,
        };
        self.lost += u64::from(taken.is_none());
        matches!(message, Message::Report(_))
    }

    /// The settings that an event says are in force.
    #[inline]
    fn note(&self, event: &Event) -> Option<Note> {
        let Body::Tuned { number } = event.body else { return None };
        self.notes.iter().flat_map(Receiver::try_iter).find(|note| note.number == number)
    }

    fn send(&mut self) {
        let Some(block) = self.block.take() else { return };
        if let Err(block) = self.courier.send(block) {
            self.lost += block.records();
        }
    }
}

impl Sink for Journal {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn write(&mut self, now: Now, batch: &[Message]) {
        let mut urgent = false;
        for message in batch {
            urgent |= self.put(message, now);
        }
        if urgent && self.courier.spare() >= SPARE {
            self.send();
        }
    }

    fn turn(&mut self, now: Now) -> Turn {
        if self.courier.is_done() {
            return Turn::Done;
        }
        // A disk that stalls is given fewer and fuller blocks, or all would be on their way with little in them.
        let has_spare = self.courier.spare() >= SPARE;
        let due = has_spare && now.mono.since(self.since) >= self.flush_ns;
        if due && self.block.is_some() {
            self.send();
            return Turn::Worked;
        }
        Turn::Idle
    }

    fn close(&mut self, _: Now) {
        self.send();
        self.courier.end();
    }

    fn count(&self, counts: &mut ledger::Counts) {
        counts.add("journal_records", self.counts.written.load(Ordering::Relaxed));
        counts.add("journal_lost", self.lost + self.counts.failed.load(Ordering::Relaxed));
        counts.add("journal_bytes", self.counts.bytes.load(Ordering::Relaxed));
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count(counts));
    }
}

/// Appends blocks to files. Lives on its own thread.
struct Writer {
    settings: Settings,
    run: u64,
    number: u32,
    file: Option<File>,
    length: u64,
    unsynced: bool,
    synced: Instant,
    counts: Arc<Counts>,
    /// The settings in force, as they are written.
    settings_noted: Vec<u8>,
}

impl Writer {
    fn open(settings: &Settings, run: u64, counts: Arc<Counts>) -> io::Result<Self> {
        fs::create_dir_all(&settings.directory)?;
        let mut writer = Self {
            settings: settings.clone(),
            run,
            number: 0,
            file: None,
            length: 0,
            unsynced: false,
            synced: Instant::now(),
            counts,
            settings_noted: Vec::new(),
        };
        writer.next_file()?;
        Ok(writer)
    }

    /// Writes what the run begins with; what cannot be written is counted as lost.
    fn begin(&mut self, note: Option<&Note>, events: &[Event]) {
        let mut block = Block::with_capacity(BLOCK_BYTES);
        if let Some(note) = note {
            block.settings(note.number, &note.text, 0);
            self.write(&mut block);
            block.clear();
        }
        for (ordinal, events) in (0..).step_by(BEGIN_WITH).zip(events.chunks(BEGIN_WITH)) {
            (ordinal..).zip(events).for_each(|(ordinal, event)| block.event(event, ordinal));
            self.write(&mut block);
            block.clear();
        }
    }

    fn next_file(&mut self) -> io::Result<()> {
        self.sync();
        self.file = None;
        self.number += 1;
        let name = format!("{:013}-{:06}.{EXTENSION}", self.run, self.number);
        let path = self.settings.directory.join(name);
        self.file = Some(OpenOptions::new().write(true).create_new(true).open(path)?);
        self.length = 0;
        // An old file that cannot be removed is no reason to lose new records; it is tried again.
        let _ = prune(&self.settings.directory, &self.settings);
        Ok(())
    }

    fn write(&mut self, block: &mut Block) {
        let records = block.records();
        let result = self.append(block);
        let count = if result.is_ok() { &self.counts.written } else { &self.counts.failed };
        count.fetch_add(records, Ordering::Relaxed);
        self.report(result.err());
        if self.settings.fsync == Fsync::Always {
            self.sync();
        }
        self.sync_if_due();
    }

    fn append(&mut self, block: &mut Block) -> io::Result<()> {
        let (noted, first) = block.noted();
        if self.file.is_none() || self.length >= self.settings.file_mb << 20 {
            self.next_file()?;
            let known = std::mem::take(&mut self.settings_noted);
            if !known.is_empty() {
                // What comes now matters more: if this fails, so does that, and that is said.
                let _ = self.put(&mut Block::of_noted(&known, first));
            }
            self.settings_noted = known;
        }
        let noted = noted.to_owned();
        self.put(block)?;
        if !noted.is_empty() {
            self.settings_noted = noted;
        }
        Ok(())
    }

    fn put(&mut self, block: &mut Block) -> io::Result<()> {
        let bytes = block.seal(self.run);
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(e) = file.write_all(bytes) {
            cut(file, self.length).inspect_err(|_| self.file = None)?;
            return Err(e);
        }
        self.length += bytes.len() as u64;
        self.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.unsynced = true;
        Ok(())
    }

    /// Says once that it broke and once that it works again.
    fn report(&mut self, error: Option<io::Error>) {
        let broken = error.is_some();
        if self.counts.broken.swap(broken, Ordering::Relaxed) == broken {
            return;
        }
        match error {
            Some(e) => eprintln!("journal: cannot write ({e}); the run goes on, records are lost"),
            None => eprintln!("journal: writing again"),
        }
    }

    fn sync_if_due(&mut self) {
        if self.settings.fsync == Fsync::Interval && self.synced.elapsed() >= SYNC_EVERY {
            self.sync();
        }
    }

    fn sync(&mut self) {
        if self.settings.fsync == Fsync::Never || !self.unsynced {
            return;
        }
        if let Some(file) = &self.file {
            // What cannot be synced cannot be read back either; the next write says so.
            self.unsynced = file.sync_data().is_err();
        }
        self.synced = Instant::now();
    }
}

fn numbers_of(event: &Event) -> Option<(u64, u64)> {
    let Body::Resume { seq, episode } = event.body else { return None };
    Some((seq, episode))
}

/// Takes away what a failed write left behind.
fn cut(file: &mut File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length)).map(drop)
}

/// Removes the oldest files once those before the newest hold more than `files - 1` full ones would:
/// a run that ends soon leaves a small file, and many of them must not drive out a long history.
fn prune(directory: &Path, settings: &Settings) -> io::Result<()> {
    let full = settings.file_mb << 20;
    let mut room = full.saturating_mul(settings.files.saturating_sub(1) as u64);
    let mut left = settings.files.saturating_mul(SMALL_FILES);
    let files = files_in(directory)?;
    for path in files.iter().rev().skip(1) {
        let bytes = fs::metadata(path)?.len().min(full);
        if bytes > room || left == 0 {
            // Whatever is older goes as well: a history has no holes.
            (room, left) = (0, 0);
            fs::remove_file(path)?;
        } else {
            (room, left) = (room - bytes, left - 1);
        }
    }
    Ok(())
}
