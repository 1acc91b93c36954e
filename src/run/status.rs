//! What is running now: one small file a run, written once a second, read by whoever wants to know.
//!
//! The attending thread writes it, never a hot one: to a file of its own beside the old one, which it
//! then takes the place of, so that a reader sees one or the other whole. It is in a folder that only its
//! owner may enter, under the number of the process, and is removed at the end; one that is left behind
//! shows by its age and by its process being gone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use crate::event::{Completeness, FeedState, Venue};
use crate::ingest::exchange::exchange;
use crate::ingest::line::ROUTES_MAX;
use crate::ingest::node;
use crate::ingest::source::FeedChange;
use crate::ingest::vitals::Vitals;
pub use crate::publish::page::Feed;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos, Now};

/// How often it is written, and the age at which it is no longer true, ms.
const EVERY: u64 = NS_PER_S;
const STALE_MS: i64 = 5_000;
/// Vitals waiting to be taken.
const WAITING: usize = 128;
/// Files that are read, and the largest.
const FILES_MAX: usize = 64;
const BYTES_MAX: u64 = 1 << 20;
const EXTENSION: &str = "status.json";

/// What one run tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// When it was started, wall clock ms: the number of the run in everything it publishes.
    pub run: i64,
    /// When this was written, wall clock ms.
    pub written_ms: i64,
    /// Its lines, by venue.
    pub feeds: Vec<Feed>,
}

/// Writes the status of this run.
#[derive(Debug)]
pub struct Board {
    /// None where it cannot be written.
    path: Option<PathBuf>,
    /// Who shows the feeds beside it.
    told: Option<Sender<Vec<Feed>>>,
    clock: Clock,
    vitals: Receiver<Vitals>,
    feeds: BTreeMap<(Venue, u8), Feed>,
    whys: BTreeMap<(Venue, u8), String>,
    written: Nanos,
    broken: bool,
}

impl Board {
    /// One that is not written anywhere yet; what is sent into the channel is shown.
    #[must_use]
    pub fn new(clock: Clock) -> (Self, Sender<Vitals>) {
        let (tell, vitals) = bounded(WAITING);
        let (feeds, whys) = (BTreeMap::new(), BTreeMap::new());
        let (path, told, written, broken) = (None, None, Nanos(0), false);
        (Self { path, told, clock, vitals, feeds, whys, written, broken }, tell)
    }

    /// Tells `told` too how the feeds are, whenever it is time.
    pub fn tell(&mut self, told: Sender<Vec<Feed>>) {
        self.told = Some(told);
    }

    /// Writes it in `folder` from now on.
    ///
    /// # Errors
    /// In words: the folder cannot be made, or belongs to somebody else.
    pub fn open(&mut self, folder: &Path) -> Result<(), String> {
        let shown = folder.display();
        own(folder).map_err(|e| format!("{shown}: {e}"))?;
        for (path, status) in read(folder) {
            if !is_process(status.pid) {
                // Who was killed could not remove it.
                drop(fs::remove_file(path));
            }
        }
        self.path = Some(folder.join(format!("{}.{EXTENSION}", std::process::id())));
        Ok(())
    }

    /// A feed changed: the words are kept.
    pub fn say(&mut self, change: &FeedChange) {
        self.whys.insert((change.venue, change.line), change.why.clone());
    }

    /// Takes what was told, and writes it when it is time.
    pub fn turn(&mut self) {
        let now = self.clock.now();
        for vitals in self.vitals.try_iter() {
            let key = (vitals.venue, vitals.line);
            let why = self.whys.get(&key).cloned().unwrap_or_default();
            self.feeds.insert(key, shown(&vitals, why, now));
        }
        if now.mono.since(self.written) < EVERY {
            return;
        }
        self.written = now.mono;
        let feeds: Vec<Feed> = self.feeds.values().cloned().collect();
        if let Some(told) = &self.told {
            // Where the last ones still lie, the next ones come in a second.
            let _ = told.try_send(feeds.clone());
        }
        let Some(path) = &self.path else { return };
        let failed = self.write(path, feeds, now).err();
        if let Some(e) = failed.as_ref().filter(|_| !self.broken) {
            eprintln!("status: {}: {e}", path.display());
        }
        self.broken = failed.is_some();
    }

    fn write(&self, path: &Path, feeds: Vec<Feed>, now: Now) -> io::Result<()> {
        let (pid, run, written_ms) = (std::process::id(), self.clock.run(), now.wall.0);
        let status = Status { pid, run, written_ms, feeds };
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&status)?)?;
        fs::rename(&new, path)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            drop(fs::remove_file(path));
        }
    }
}

/// The folder where runs of this user tell how they are, unless the settings name another.
#[must_use]
pub fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("foreshock"),
        _ => std::env::temp_dir().join(format!("foreshock-{}", user())),
    }
}

/// Who runs this process.
fn user() -> u32 {
    fs::metadata("/proc/self").map_or(0, |own| own.uid())
}

/// Makes a folder that only its owner may enter; it must be ours.
fn own(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).recursive(true).create(folder) {
        Ok(()) if fs::symlink_metadata(folder)?.uid() == user() => Ok(()),
        Ok(()) => Err(io::Error::other("belongs to another user")),
        Err(e) => Err(e),
    }
}

/// Whether there is such a process; one that has ended and waits for its parent is none.
fn is_process(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// Everything in the folder that is a status, in order of process.
fn read(folder: &Path) -> Vec<(PathBuf, Status)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(FILES_MAX);
    let files = entries.map(|entry| entry.path()).filter(|path| {
        let small = fs::metadata(path).is_ok_and(|found| found.len() <= BYTES_MAX);
        small && path.to_string_lossy().ends_with(EXTENSION)
    });
    let status = |path: &PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
    let mut found: Vec<_> = files.filter_map(|path| Some((status(&path)?, path))).collect();
    found.sort_by_key(|(status, _): &(Status, _)| status.pid);
    found.into_iter().map(|(status, path)| (path, status)).collect()
}

/// A run, as it was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// Whether what it tells is true now.
    pub fresh: bool,
    /// Why not, in words.
    pub why: Option<String>,
    /// How old it is, ms.
    pub age_ms: i64,
    /// What it told.
    #[serde(flatten)]
    pub status: Status,
}

/// The runs that tell of themselves in `folder`, at the wall clock's `now_ms`.
#[must_use]
pub fn runs(folder: &Path, now_ms: i64) -> Vec<Seen> {
    let seen = |(_, status): (PathBuf, Status)| {
        let age_ms = now_ms - status.written_ms;
        let why = if !is_process(status.pid) {
            Some("its process is gone".to_owned())
        } else {
            (age_ms > STALE_MS).then(|| "its process is there and does not write".to_owned())
        };
        Seen { fresh: why.is_none(), why, age_ms, status }
    };
    read(folder).into_iter().map(seen).collect()
}

fn shown(vitals: &Vitals, why: String, now: Now) -> Feed {
    let Vitals { venue, line, route, rare, state, code, race, .. } = *vitals;
    let ago = |at: Nanos| i64::try_from(now.mono.since(at) / NS_PER_MS).unwrap_or(i64::MAX);
    let wall = |at: Nanos| now.wall.0 - ago(at);
    let raced = (race.won + race.lost > 0).then_some(race);
    let led = raced.filter(|race| race.won > 0);
    Feed {
        venue: venue.name().to_owned(),
        route: route.to_owned(),
        copy: line / ROUTES_MAX + 1,
        state: state.name().to_owned(),
        code,
        // Of a feed that is well nothing needs to be said.
        why: if state == FeedState::Live { String::new() } else { why },
        since_ms: wall(vitals.since),
        last_frame_ms: vitals.frame.map(wall),
        last_liquidation_ms: vitals.liquidation.map(wall),
        completeness: rare.then(|| completeness(venue, route).name().to_owned()),
        frames: vitals.frames,
        won: raced.map(|race| race.won),
        beaten: raced.map(|race| race.lost),
        lead_mean_us: led.map(|race| race.lead / race.won / 1_000),
        lead_max_us: led.map(|race| race.longest / 1_000),
    }
}

/// How much of the truth about liquidations a route shows.
#[must_use]
pub fn completeness(venue: Venue, route: &str) -> Completeness {
    match exchange(venue) {
        _ if route == node::ROUTE => Completeness::Complete,
        Some(exchange) => exchange.completeness(),
        None => Completeness::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::twins::Race;

    fn vitals(state: FeedState, now: Nanos) -> Vitals {
        Vitals {
            venue: Venue::Okx,
            line: 8,
            route: "public",
            rare: true,
            state,
            code: 0,
            since: now.minus(3_000 * NS_PER_MS),
            frame: Some(now.minus(20 * NS_PER_MS)),
            liquidation: None,
            frames: 7,
            race: Race { won: 2, lost: 1, lead: 8_000_000, longest: 6_000_000 },
        }
    }

    #[test]
    fn a_run_is_seen_while_it_lives_and_its_file_goes_with_it() {
        let folder = std::env::temp_dir().join(format!("fsk-status-{}", std::process::id()));
        let clock = Clock::start();
        let (mut board, tell) = Board::new(clock);
        board.open(&folder).unwrap();
        tell.send(vitals(FeedState::Suspect, clock.mono())).unwrap();
        let why = "canary missing".to_owned();
        let (venue, line, route, rare) = (Venue::Okx, 8, "public", true);
        let state = FeedState::Suspect;
        board.say(&FeedChange { venue, line, route, rare, state, code: 0, why });
        board.turn();
        let written = clock.now().wall.0;
        let seen = runs(&folder, written);
        let [run] = seen.as_slice() else { panic!("{seen:?}") };
        assert!(run.fresh && run.status.pid == std::process::id());
        let feed = run.status.feeds.first().unwrap();
        assert_eq!(
            (feed.copy, feed.state.as_str(), feed.why.as_str()),
            (2, "suspect", "canary missing")
        );
        assert_eq!((feed.lead_mean_us, feed.lead_max_us), (Some(4_000), Some(6_000)));
        assert!((0..1_000).contains(&(written - feed.last_frame_ms.unwrap() - 20)));
        let late = runs(&folder, written + 6_000);
        assert!(late.iter().all(|run| !run.fresh), "a process that does not write");
        drop(board);
        assert_eq!(runs(&folder, written), []);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_is_said_to_be_stale_and_removed_by_the_next_run() {
        let folder = std::env::temp_dir().join(format!("fsk-dead-{}", std::process::id()));
        own(&folder).unwrap();
        // No process has a number above the kernel's limit.
        let status = Status { pid: 4_194_305, run: 1, written_ms: 1_000, feeds: Vec::new() };
        fs::write(folder.join("x.status.json"), serde_json::to_vec(&status).unwrap()).unwrap();
        fs::write(folder.join("y.status.json"), "half a st").unwrap();
        let seen = runs(&folder, 1_100);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].why.as_deref(), Some("its process is gone"));
        Board::new(Clock::start()).0.open(&folder).unwrap();
        assert_eq!(runs(&folder, 1_100), []);
        fs::remove_dir_all(folder).unwrap();
    }
}
