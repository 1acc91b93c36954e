//! Reads a file as it grows, line by line, and goes on to the file that comes after it.

use std::cmp::Ordering;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ledger::Tally;
use crate::time::{NS_PER_S, Nanos};

/// Bytes read at once, and the longest line: a block of a cascade has been 20 MB.
const CHUNK: usize = 256 << 10;
const LINE_MAX: usize = 64 << 20;
/// How often the folder is looked at.
const LOOK_EVERY: u64 = NS_PER_S;
/// Folders below the one that is named, and files in them, at most.
const DEPTH: u8 = 4;
const FILES_MAX: usize = 100_000;

/// Reads a growing file, and the one that comes after it.
#[derive(Debug)]
pub struct Follower {
    /// The folder or file that is followed.
    pub at: PathBuf,
    open: Option<Open>,
    /// What is found from now on is new, and read from its beginning.
    begun: bool,
    /// The file after this one; taken up when this one has been read to its end once more.
    next: Option<PathBuf>,
    looked: Option<Nanos>,
    chunk: Vec<u8>,
    /// The beginning of a line whose end has not been written, or of one that is skipped.
    rest: Vec<u8>,
    skipping: bool,
    /// What was noticed: `replaced`, `cut`, `torn`, `too_long`.
    pub noticed: Tally,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    id: (u64, u64),
    read: u64,
}

/// What a turn of a follower came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was read; there may be more.
    Read,
    /// Nothing new.
    Idle,
    /// There is no file.
    Missing,
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Follower {
    /// Follows what is written to `at`, a folder or a file, from now on.
    #[must_use]
    pub fn new(at: PathBuf) -> Self {
        Self {
            at,
            open: None,
            begun: false,
            next: None,
            looked: None,
            chunk: vec![0; CHUNK],
            rest: Vec::new(),
            skipping: false,
            noticed: Tally::default(),
        }
    }

    /// Reads a little further; whole lines go to `line`, until it says that it wants no more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn turn(&mut self, now: Nanos, line: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<Step> {
        let Some(open) = &mut self.open else { return self.begin(now) };
        let n = open.file.read(&mut self.chunk)?;
        open.read += n as u64;
        if n > 0 {
            self.split(n, line);
            return Ok(Step::Read);
        }
        self.at_end(now)
    }

    fn is_time(&mut self, now: Nanos) -> bool {
        let due = self.looked.is_none_or(|looked| now.since(looked) >= LOOK_EVERY);
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// Opens the newest file: at its end if it was there before us.
    fn begin(&mut self, now: Nanos) -> io::Result<Step> {
        if !self.is_time(now) {
            return Ok(Step::Missing);
        }
        let begun = std::mem::replace(&mut self.begun, true);
        let Some(path) = newest(&self.at) else { return Ok(Step::Missing) };
        self.take_up(path)?;
        if let Some(open) = self.open.as_mut().filter(|_| !begun) {
            open.read = open.file.seek(SeekFrom::End(0))?;
            // A line may be half written: it is left out, the next one is whole.
            self.skipping = !ends_a_line(open)?;
        }
        Ok(Step::Read)
    }

    fn take_up(&mut self, path: PathBuf) -> io::Result<()> {
        let file = File::open(&path)?;
        let id = identity(&file.metadata()?);
        self.open = Some(Open { path, file, id, read: 0 });
        (self.skipping, self.next) = (false, None);
        Ok(())
    }

    /// Everything is read: has the file been replaced or cut, is there another?
    fn at_end(&mut self, now: Nanos) -> io::Result<Step> {
        let Some(open) = &mut self.open else { return Ok(Step::Missing) };
        let found = fs::metadata(&open.path).ok();
        match found.filter(|found| identity(found) == open.id) {
            None => {
                self.give_up("replaced");
                self.open = None;
                self.looked = None;
                return Ok(Step::Read);
            }
            Some(found) if found.len() < open.read => {
                open.read = open.file.seek(SeekFrom::Start(0))?;
                self.give_up("cut");
                return Ok(Step::Read);
            }
            Some(_) => {}
        }
        if let Some(next) = self.next.take() {
            // The file was read to its end after the next one had been seen.
            self.give_up("torn");
            self.take_up(next)?;
            return Ok(Step::Read);
        }
        if self.is_time(now) {
            let path = self.open.as_ref().map(|open| open.path.clone());
            self.next = path.and_then(|path| after(&self.at, &path));
        }
        Ok(if self.next.is_some() { Step::Read } else { Step::Idle })
    }

    /// Lets go of what had been read of a line whose end will not come.
    fn give_up(&mut self, why: &'static str) {
        if why != "torn" || !self.rest.is_empty() {
            self.noticed.add(why, 1);
        }
        self.rest.clear();
        self.skipping = false;
    }

    fn split(&mut self, n: usize, line: &mut dyn FnMut(&[u8]) -> bool) {
        let chunk = self.chunk.get(..n).unwrap_or_default();
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let whole = part.ends_with(b"\n");
            if !self.skipping && self.rest.len() + part.len() <= LINE_MAX {
                self.rest.extend_from_slice(part);
            } else if !std::mem::replace(&mut self.skipping, true) {
                self.noticed.add("too_long", 1);
            }
            if whole {
                let text = self.rest.trim_ascii();
                if !self.skipping && !text.is_empty() && !line(text) {
                    return;
                }
                self.rest.clear();
                self.skipping = false;
            }
        }
    }
}

/// Whether the file, which has been read up to its end, ends with a whole line.
fn ends_a_line(open: &mut Open) -> io::Result<bool> {
    let Some(last) = open.read.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    open.file.seek(SeekFrom::Start(last))?;
    open.file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

/// The newest file: `at` itself, or the last below it by the numbers in its path.
fn newest(at: &Path) -> Option<PathBuf> {
    if at.is_file() {
        return Some(at.to_owned());
    }
    files(at).into_iter().max_by(|a, b| by_number(a, b))
}

/// The file that comes after `path`.
fn after(at: &Path, path: &Path) -> Option<PathBuf> {
    let later = files(at).into_iter().filter(|file| by_number(file, path) == Ordering::Greater);
    later.min_by(|a, b| by_number(a, b))
}

/// `9` comes before `10`.
fn by_number(a: &Path, b: &Path) -> Ordering {
    let part = |path: &Path| -> Vec<(Option<u64>, String)> {
        let names = path.iter().map(|name| name.to_string_lossy().into_owned());
        names.map(|name| (name.parse().ok(), name)).collect()
    };
    part(a).cmp(&part(b))
}

/// Files below a folder whose names are numbers: the hours.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(folder, DEPTH, &mut found);
    found
}

fn collect(folder: &Path, depth: u8, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).take(FILES_MAX.saturating_sub(found.len())) {
        let hour = path.file_name().and_then(|name| name.to_str()).is_some_and(is_number);
        if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, found);
        } else if hour && path.is_file() {
            found.push(path);
        }
    }
}

fn is_number(name: &str) -> bool {
    name.parse::<u64>().is_ok()
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use super::*;

    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("fsk-node-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&path));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub fn append(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = File::options().append(true).create(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    /// Turns until nothing is new; a second passes each time.
    fn lines(follower: &mut Follower) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..50 {
            let now = follower.looked.map_or(Nanos(NS_PER_S), |looked| looked.plus(NS_PER_S));
            let mut line = |line: &[u8]| {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
                true
            };
            if follower.turn(now, &mut line).unwrap() != Step::Read {
                break;
            }
        }
        lines
    }

    #[test]
    fn what_is_written_from_now_on_is_read_and_a_torn_line_waits() {
        let folder = Folder::new("torn");
        folder.append("hourly/20261120/9", "old\nhalf of an o");
        let mut follower = Follower::new(folder.0.clone());
        assert_eq!(lines(&mut follower), [""; 0]);
        folder.append("hourly/20261120/9", "ld one\nnew\nto");
        assert_eq!(lines(&mut follower), ["new"]);
        folder.append("hourly/20261120/9", "rn\n\n");
        assert_eq!(lines(&mut follower), ["torn"]);
        assert_eq!(follower.noticed.total(), 0);
    }

    #[test]
    fn the_next_hours_are_taken_up_in_order_and_none_is_left_out() {
        let folder = Folder::new("hours");
        folder.append("hourly/20261120/9", "x\n");
        let mut follower = Follower::new(folder.0.clone());
        assert_eq!(lines(&mut follower), [""; 0]);
        for (file, text) in [
            ("hourly/20261120/9", "nine\nunfinished"),
            ("hourly/20261120/10", "ten\n"),
            ("hourly/20261121/0", "zero\n"),
            ("hourly/20261121/0.lz4", "packed\n"),
        ] {
            folder.append(file, text);
        }
        assert_eq!(lines(&mut follower), ["nine", "ten", "zero"]);
        assert_eq!(follower.noticed.get("torn"), 1);
    }

    #[test]
    fn a_file_that_is_cut_or_replaced_is_noticed_and_read_from_its_beginning() {
        let folder = Folder::new("cut");
        folder.append("9", "one\ntwo\nha");
        let file = folder.0.join("9");
        let mut follower = Follower::new(file.clone());
        assert_eq!(lines(&mut follower), [""; 0]);
        fs::write(&file, "3\n").unwrap();
        assert_eq!(lines(&mut follower), ["3"]);
        assert_eq!(follower.noticed.get("cut"), 1);
        folder.append("new", "four\n");
        fs::rename(folder.0.join("new"), &file).unwrap();
        assert_eq!(lines(&mut follower), ["four"]);
        assert_eq!(follower.noticed.get("replaced"), 1);
        fs::remove_file(&file).unwrap();
        assert_eq!(lines(&mut follower), [""; 0]);
        assert!(follower.open.is_none());
        folder.append("9", "five\n");
        assert_eq!(lines(&mut follower), ["five"]);
    }
}
