//! How long everything takes: one HDR histogram per stage, and an interval log of them.
//!
//! Nothing is measured on the hot path: the stamps ride in the data and are subtracted here.
//!
//! | stage | from | to | taken from |
//! |---|---|---|---|
//! | `venue_to_receive` | the venue's own stamp (wall clock, ms) | read from the socket | events with a sane stamp |
//! | `receive_to_parsed` | read | normalised | events |
//! | `parsed_to_taken` | normalised | the engine's turn that took it | reports right behind the event that tipped them |
//! | `taken_to_published` | that turn | handed to every sink | reports |
//!
//! Beside these, where it is known, `kernel_to_read`: from the kernel's own stamp on a segment to the read that
//! took it, of every turn in which something was read. It ends somewhere inside `receive_to_parsed`, which
//! begins with the turn: the two overlap and are not added up.
//!
//! An echoed event does not say when the engine took it, so the last two stages come from reports
//! alone; reports tipped by the clock have nothing that was parsed. `taken_to_published` ends with the
//! start of the publisher's *next* turn: at that moment every sink certainly has it. The first stage
//! compares two wall clocks, the venue's and ours: it is the venue's delay and never added to ours.
//!
//! Threads that measure for themselves (turns, arrivals, Redis' acknowledgement) record into a
//! [`Tap`](crate::tap::Tap).
//!
//! The thread that writes the log also keeps a [`Digest`] for whoever shows the latencies of a run.

mod compare;
mod digest;
mod log;
mod plot;
mod series;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::{Deserialize, Serialize};

pub use self::digest::{Digest, Digested};
pub use self::log::{PERCENTILES, Stage, Summary, summarise};
pub use self::series::Point;

use super::Sink;
use super::courier::{Courier, Errand};
use crate::event::{Body, Event, Flags};
use crate::ledger::{Counts, Ledger};
use crate::output::Message;
use crate::signal::Report;
use crate::stage::Turn;
use crate::tap::{LONGEST_NS, Taps, histogram};
use crate::time::{Millis, NS_PER_MS, Nanos, Now};

/// The stages, in the order of travel.
pub const STAGES: [&str; 4] =
    ["venue_to_receive", "receive_to_parsed", "parsed_to_taken", "taken_to_published"];

/// From received by the kernel to read by us; recorded by the reader.
pub const ARRIVED: &str = "kernel_to_read";

/// From handed over to acknowledged by Redis; recorded by its thread.
pub const ACKNOWLEDGED: &str = "published_to_acknowledged";

const VENUE: usize = 0;
const PARSED: usize = 1;
const TAKEN: usize = 2;
const PUBLISHED: usize = 3;

/// Where and how often the log is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The `.hlog` file; empty for none.
    pub file: PathBuf,
    /// Length of an interval, ms.
    pub every_ms: u64,
    /// At this size the file is renamed to `FILE.1` and begun anew, MB.
    pub file_mb: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { file: PathBuf::new(), every_ms: 1_000, file_mb: 64 }
    }
}

impl Settings {
    /// Whether a log is wanted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.file.as_os_str().is_empty()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), String> {
        if !(100..=3_600_000).contains(&self.every_ms) {
            return Err(format!("every_ms = {}: 100 to 3600000", self.every_ms));
        }
        if !(1..=1 << 20).contains(&self.file_mb) {
            return Err(format!("file_mb = {}: 1 to 1048576", self.file_mb));
        }
        Ok(())
    }
}

/// What was counted in one interval.
#[derive(Debug)]
struct Interval {
    start: Millis,
    length: Duration,
    stages: [Histogram<u64>; STAGES.len()],
}

impl Interval {
    fn new() -> Box<Self> {
        let stages = [(); STAGES.len()].map(|()| histogram());
        Box::new(Self { start: Millis(0), length: Duration::ZERO, stages })
    }

    fn clear(&mut self) {
        self.stages.iter_mut().for_each(Histogram::reset);
    }
}

/// The sink.
pub struct Latency {
    courier: Courier<Box<Interval>>,
    interval: Option<Box<Interval>>,
    begun: Option<Now>,
    every_ns: u64,
    /// The event echoed last, unless it was only the clock.
    latest: Option<(Nanos, u32)>,
    /// Taken stamps of reports handed over in this turn.
    pending: Vec<Nanos>,
    bad_times: u64,
    failed: Arc<AtomicU64>,
}

impl Latency {
    /// Opens the log, if one is wanted.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(settings: &Settings, taps: Taps) -> io::Result<Self> {
        Self::telling(settings, taps, Arc::default(), Arc::default())
    }

    /// The same, and tells `digest`; the log begins anew when `renew` has been set.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn telling(
        settings: &Settings,
        taps: Taps,
        digest: Arc<Digest>,
        renew: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let failed = Arc::new(AtomicU64::new(0));
        let failures = Arc::clone(&failed);
        let mut writer = Writer::open(settings, taps, digest)?;
        let work = move |errand: Errand<'_, Box<Interval>>| {
            let renewed =
                if renew.swap(false, Ordering::Relaxed) { writer.renew() } else { Ok(()) };
            let written = match errand {
                Errand::Parcel(interval) => {
                    let written = writer.write(interval);
                    interval.clear();
                    written
                }
                Errand::Pause => Ok(()),
                Errand::End => writer.end(),
            };
            if written.and(renewed).is_err() {
                failures.fetch_add(1, Ordering::Relaxed);
            }
        };
        let pause = Duration::from_secs(1);
        let courier = Courier::start("latency", vec![Interval::new()], pause, work)?;
        Ok(Self {
            courier,
            interval: Some(Interval::new()),
            begun: None,
            every_ns: settings.every_ms * NS_PER_MS,
            latest: None,
            pending: Vec::with_capacity(super::BATCH),
            bad_times: 0,
            failed,
        })
    }

    fn record(&mut self, stage: usize, ns: u64) {
        let stages = self.interval.as_mut().map(|interval| &mut interval.stages);
        if let Some(histogram) = stages.and_then(|stages| stages.get_mut(stage)) {
            histogram.saturating_record(ns);
        }
    }

    fn event(&mut self, event: &Event, now: Now) {
        if matches!(
            event.body,
            Body::Tick
                | Body::Reset
                | Body::Resume { .. }
                | Body::Stood { .. }
                | Body::Tuned { .. }
                | Body::Feed { .. }
        ) {
            self.latest = None;
            return;
        }
        self.latest = Some((event.received, event.parse_ns));
        self.record(PARSED, event.parse_ns.into());
        match venue_delay(event, now) {
            Some(ns) => self.record(VENUE, ns),
            None => self.bad_times += 1,
        }
    }

    fn report(&mut self, report: &Report) {
        self.pending.push(report.taken);
        let cause = self.latest.filter(|(received, _)| *received == report.received);
        if let Some((received, parse_ns)) = cause {
            let parsed = received.plus(parse_ns.into());
            self.record(TAKEN, report.taken.since(parsed));
        }
    }

    /// What was handed over in the turn before this one.
    fn settle(&mut self, now: Now) {
        while let Some(taken) = self.pending.pop() {
            self.record(PUBLISHED, now.mono.since(taken));
        }
    }

    /// Sends the interval off; while none has come back, this one grows longer.
    fn send(&mut self, now: Now) {
        let begun = *self.begun.get_or_insert(now);
        let Some(blank) = self.courier.blank() else { return };
        if let Some(mut full) = self.interval.replace(blank) {
            full.start = begun.wall;
            full.length = Duration::from_nanos(now.mono.since(begun.mono));
            // The thread is gone only after the end, when there is nobody to tell.
            let _ = self.courier.send(full);
        }
        self.begun = Some(now);
    }
}

/// Between the venue's stamp and our receiving it, ns; `None` when the stamp is not a live one.
fn venue_delay(event: &Event, now: Now) -> Option<u64> {
    let unfit = Flags::BAD_TIME.with(Flags::BACKFILL).with(Flags::SNAPSHOT);
    if event.flags.has(unfit) {
        return None;
    }
    let ms = now.wall_of(event.received).0.checked_sub(event.stamp.venue_ms()?)?;
    u64::try_from(ms).ok()?.checked_mul(NS_PER_MS).filter(|&ns| ns <= LONGEST_NS)
}

impl Sink for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn write(&mut self, now: Now, batch: &[Message]) {
        for message in batch {
            match message {
                Message::Event(event) => self.event(event, now),
                Message::Report(report) => self.report(report),
            }
        }
    }

    fn turn(&mut self, now: Now) -> Turn {
        self.settle(now);
        if self.courier.is_done() {
            return Turn::Done;
        }
        let begun = *self.begun.get_or_insert(now);
        if now.mono.since(begun.mono) >= self.every_ns {
            self.send(now);
        }
        Turn::Idle
    }

    fn close(&mut self, now: Now) {
        self.settle(now);
        self.send(now);
        self.courier.end();
    }

    fn count(&self, counts: &mut Counts) {
        counts.add("latency_bad_times", self.bad_times);
        counts.add("latency_failed", self.failed.load(Ordering::Relaxed));
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count(counts));
    }
}

/// Writes intervals. Lives on its own thread.
struct Writer {
    log: Option<Log>,
    digest: Arc<Digest>,
    taps: Taps,
}

/// The file.
struct Log {
    path: PathBuf,
    limit: u64,
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
}

impl Writer {
    fn open(settings: &Settings, taps: Taps, digest: Arc<Digest>) -> io::Result<Self> {
        let log = settings.is_on().then(|| Log::open(settings)).transpose()?;
        Ok(Self { log, digest, taps })
    }

    /// Begins the log anew, if there is one.
    fn renew(&mut self) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), Log::begin_anew)
    }

    fn write(&mut self, interval: &Interval) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            log.renew()?;
        }
        for (name, histogram) in STAGES.into_iter().zip(&interval.stages) {
            self.put(name, histogram, interval)?;
        }
        let taps = std::mem::take(&mut self.taps);
        let told = taps.drain(|name, histogram| self.put(name, histogram, interval));
        self.taps = taps;
        told?;
        self.log.as_mut().map_or(Ok(()), |log| log.file.flush())
    }

    fn put(
        &mut self,
        name: &'static str,
        histogram: &Histogram<u64>,
        interval: &Interval,
    ) -> io::Result<()> {
        if histogram.is_empty() {
            return Ok(());
        }
        self.digest.add(name, histogram, interval.start);
        self.log.as_mut().map_or(Ok(()), |log| log.line(name, histogram, interval))
    }

    /// What the taps handed over last.
    fn end(&mut self) -> io::Result<()> {
        let start = Millis(wall_ms());
        self.write(&Interval { start, ..*Interval::new() })
    }
}

impl Log {
    fn open(settings: &Settings) -> io::Result<Self> {
        let path = settings.file.clone();
        let (file, limit) = (begin(&path)?, settings.file_mb << 20);
        Ok(Self { path, limit, file, serializer: V2DeflateSerializer::new() })
    }

    /// Begins anew when the file has grown too large.
    fn renew(&mut self) -> io::Result<()> {
        if self.file.get_ref().metadata()?.len() >= self.limit {
            self.begin_anew()?;
        }
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file = begin(&self.path)?;
        Ok(())
    }

    fn line(
        &mut self,
        name: &str,
        histogram: &Histogram<u64>,
        interval: &Interval,
    ) -> io::Result<()> {
        let start = Duration::from_millis(u64::try_from(interval.start.0).unwrap_or(0));
        IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.file, &mut self.serializer)?
            .write_histogram(histogram, start, interval.length, Tag::new(name))
            .map_err(|e| io::Error::other(e.to_string()))
    }
}

fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

/// A new log; one that was there is kept as `FILE.1`.
fn begin(path: &Path) -> io::Result<BufWriter<File>> {
    if path.exists() {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        fs::rename(path, aside)?;
    }
    let options = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut file = BufWriter::new(options);
    writeln!(file, "#foreshock latencies, ns, one histogram per stage")?;
    writeln!(file, "#[Histogram log format version 1.3]")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Stamp, Venue};
    use crate::symbol::Symbol;

    fn liquidation(venue_ms: i64, flags: Flags) -> Event {
        let mut event = Event::tick(Nanos::from_millis(10_000));
        event.body = Body::Liquidation { side: None, price: None, usd: None };
        event.venue = Venue::Okx;
        event.parse_ns = 700;
        event.stamp = Stamp::new(Some(venue_ms), 0);
        event.flags = flags;
        event
    }

    #[test]
    fn the_venue_delay_needs_a_sane_stamp() {
        let now = Now::at_millis(10_500);
        let delay = |ms, flags| venue_delay(&liquidation(ms, flags), now);
        assert_eq!(delay(9_400, Flags::default()), Some(600 * NS_PER_MS));
        assert_eq!(delay(10_001, Flags::default()), None, "from the future");
        assert_eq!(delay(0, Flags::default()), None, "no stamp");
        assert_eq!(delay(9_400, Flags::BACKFILL), None);
    }

    #[test]
    fn each_stage_gets_its_own_difference() {
        let directory = std::env::temp_dir().join(format!("fsk-latency-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("a.hlog");
        let settings = Settings { file: file.clone(), ..Settings::default() };
        let renew = Arc::new(AtomicBool::new(true));
        let mut taps = Taps::default();
        let mut tap = taps.tap("turn_engine");
        let mut sink =
            Latency::telling(&settings, taps, Arc::default(), Arc::clone(&renew)).unwrap();
        let event = liquidation(9_400, Flags::default());
        let taken = event.received.plus(2_700);
        let report = |received| Report { taken, received, ..Report::empty(Symbol::BTC, taken) };
        let now = Now::at_millis(10_000);
        let tick = Event::tick(event.received);
        sink.write(
            now,
            &[
                Message::Event(event),
                Message::Report(report(event.received)),
                Message::Event(tick),
                Message::Report(report(event.received)),
            ],
        );
        sink.turn(Now { mono: taken.plus(5_000), ..now });
        tap.record(123);
        drop(tap);
        sink.close(now);
        while sink.turn(now) != Turn::Done {
            std::thread::yield_now();
        }
        let summary = summarise(&file).unwrap();
        let seen: Vec<_> = summary
            .stages
            .iter()
            .map(|stage| (stage.name.as_str(), stage.histogram.len(), stage.histogram.max()))
            .collect();
        let expected = [
            ("venue_to_receive", 1, 600_047_615),
            ("receive_to_parsed", 1, 700),
            ("parsed_to_taken", 1, 2_001),
            ("taken_to_published", 2, 5_003),
            ("turn_engine", 1, 123),
        ];
        for (seen, expected) in seen.iter().zip(expected) {
            assert_eq!((seen.0, seen.1), (expected.0, expected.1));
            assert!(seen.2.abs_diff(expected.2) * 1_000 <= expected.2, "{seen:?} {expected:?}");
        }
        assert_eq!(seen.len(), expected.len());
        assert!(!renew.load(Ordering::Relaxed) && directory.join("a.hlog.1").exists(), "asked");
        fs::remove_dir_all(&directory).unwrap();
    }
}
