//! Reads a journal back, file by file and block by block: strictly, and past what is damaged.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{
    EVENT_BYTES, EVENT_WORDS, EXTENSION, HEADER_BYTES, MAGIC, MARK_WORDS, PAYLOAD_MAX,
    REPORT_BYTES, TAG_MARK, TAG_REPORT, TAG_SETTINGS, checksum, event_of, settings_bytes,
};
use crate::event::Body;
use crate::output::Message;
use crate::signal::{Cursor, REPORT_WORDS, Report, Words};

/// Where a journal stops making sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Bytes from its start.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// Whether the file merely ends too early, as after a crash; everything before it is whole.
    pub torn: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at byte {}", self.file.display(), self.what, self.offset)
    }
}

impl std::error::Error for Damage {}

/// Gives back what a journal holds, in order. After an error in one file it goes on with the next.
pub struct Reader {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, BufReader<File>)>,
    offset: u64,
    payload: Vec<u8>,
    at: usize,
    run: u64,
    ordinal: u64,
    missing: u64,
    /// Numbers of the last signal and the last episode.
    numbers: (u64, u64),
    /// Number and text of the settings that are in force.
    settings: Option<(u64, String)>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("run", &self.run).field("ordinal", &self.ordinal).finish()
    }
}

impl Reader {
    /// Reads one file, or all files of a directory in the order of their names.
    ///
    /// # Errors
    /// When the path cannot be read or holds no journal.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(if path.is_dir() { files_in(path)? } else { vec![path.to_owned()] })
    }

    fn of(files: Vec<PathBuf>) -> io::Result<Self> {
        if files.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no journal in this directory"));
        }
        let mut reader = Self {
            files: files.into_iter(),
            open: None,
            offset: 0,
            payload: Vec::new(),
            at: 0,
            run: 0,
            ordinal: 0,
            missing: 0,
            numbers: (0, 0),
            settings: None,
        };
        reader.next_file()?;
        Ok(reader)
    }

    /// Reads the end of a directory's journal: about its last `bytes`, from the beginning of a block.
    /// What lies before is passed over unread, header by header.
    ///
    /// # Errors
    /// When the directory cannot be read or holds no journal.
    pub fn tail(directory: &Path, bytes: u64) -> io::Result<Self> {
        let mut files = files_in(directory)?;
        let (mut first, mut beyond, mut left) = (0, 0, bytes);
        for (i, path) in files.iter().enumerate().rev() {
            let length = std::fs::metadata(path)?.len();
            (first, beyond) = (i, length.saturating_sub(left));
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
        let mut reader = Self::of(files.split_off(first))?;
        reader.pass_over(beyond)?;
        Ok(reader)
    }

    /// Goes to the first block that begins at `offset` or after it.
    fn pass_over(&mut self, offset: u64) -> io::Result<()> {
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        let mut header = [0; HEADER_BYTES];
        while self.offset < offset {
            let whole = matches!(fill(file, &mut header), Ok(HEADER_BYTES));
            let length = payload_length(&header, &header_words(&header));
            let Some(length) = length.ok().filter(|_| whole) else { break };
            self.offset += (HEADER_BYTES + length) as u64;
            file.seek_relative(i64::try_from(length).unwrap_or(i64::MAX))?;
        }
        file.seek(SeekFrom::Start(self.offset)).map(drop)
    }

    /// Numbers of the last signal and of the last episode up to the latest record, or before the block
    /// it is in; 0 when not known.
    #[must_use]
    pub fn numbers(&self) -> (u64, u64) {
        self.numbers
    }

    /// Number and text of the settings that the run had at the latest record; `None` where what was read of
    /// it does not say.
    #[must_use]
    pub fn settings(&self) -> Option<(u64, &str)> {
        self.settings.as_ref().map(|(number, text)| (*number, text.as_str()))
    }

    /// Start of the run that wrote the latest record, wall clock ms.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Number, within the run, of the next event.
    #[must_use]
    pub fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Events known to be missing so far: they were never written.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    fn next_file(&mut self) -> io::Result<bool> {
        self.open = None;
        self.offset = 0;
        self.payload.clear();
        self.at = 0;
        let Some(path) = self.files.next() else { return Ok(false) };
        let file = File::open(&path)?;
        self.open = Some((path, BufReader::with_capacity(1 << 16, file)));
        Ok(true)
    }

    fn step(&mut self) -> Result<Option<Message>, Fault> {
        loop {
            if self.at < self.payload.len() {
                let passed_over = match self.payload.get(self.at) {
                    Some(&TAG_MARK) => self.mark(),
                    Some(&TAG_SETTINGS) => self.note(),
                    _ => return self.record().map(Some).ok_or(NO_RECORD),
                };
                passed_over.ok_or(NO_RECORD)?;
                continue;
            }
            if !self.block()? && !self.next_file().map_err(|_| Fault::bad("cannot be opened"))? {
                return Ok(None);
            }
        }
    }

    /// Reads the next block; `false` at the end of the file.
    fn block(&mut self) -> Result<bool, Fault> {
        let Some((_, file)) = &mut self.open else { return Ok(false) };
        self.offset += if self.payload.is_empty() { 0 } else { block_bytes(&self.payload) };
        self.payload.clear();
        self.at = 0;
        let mut header = [0; HEADER_BYTES];
        match fill(file, &mut header)? {
            0 => return Ok(false),
            HEADER_BYTES => {}
            _ => return Err(Fault::torn("a header that is cut off")),
        }
        let words = header_words(&header);
        let length = payload_length(&header, &words)?;
        self.payload.resize(length, 0);
        if fill(file, &mut self.payload)? != length {
            self.payload.clear();
            return Err(Fault::torn("a block that is cut off"));
        }
        if checksum(&header, &self.payload) != crc_of(&header) {
            self.payload.clear();
            return Err(Fault::bad("a block whose checksum is wrong"));
        }
        self.follow(words[1], words[2]);
        Ok(true)
    }

    /// Counts what is missing between the last block, or the start of the run, and this block.
    fn follow(&mut self, run: u64, first: u64) {
        if run != self.run {
            (self.ordinal, self.settings) = (0, None);
        }
        self.missing += first.saturating_sub(self.ordinal);
        self.run = run;
        self.ordinal = first;
    }

    fn mark(&mut self) -> Option<()> {
        let mut words = [0; MARK_WORDS];
        read_words(self.payload.get(self.at..)?, &mut words)?;
        let [head, seq, episode] = words;
        self.numbers = (seq, episode);
        self.at += MARK_WORDS * 8;
        (head == u64::from(TAG_MARK)).then_some(())
    }

    fn note(&mut self) -> Option<()> {
        let rest = self.payload.get(self.at..)?;
        let mut words = [0; 2];
        read_words(rest, &mut words)?;
        let [head, number] = words;
        let length = usize::try_from(head >> 32).ok()?;
        let (text, padding) = rest.get(16..settings_bytes(length))?.split_at_checked(length)?;
        let text = std::str::from_utf8(text).ok()?.to_owned();
        self.settings = Some((number, text));
        self.at += settings_bytes(length);
        (head & 0xffff_ffff == u64::from(TAG_SETTINGS) && padding.iter().all(|&b| b == 0))
            .then_some(())
    }

    fn record(&mut self) -> Option<Message> {
        let rest = self.payload.get(self.at..)?;
        if *rest.first()? == TAG_REPORT {
            let mut words = [0; 1 + REPORT_WORDS];
            read_words(rest, &mut words)?;
            if words[0] != u64::from(TAG_REPORT) {
                return None;
            }
            let report = Report::get(&mut Cursor::new(&mut words[1..]))?;
            self.at += REPORT_BYTES;
            self.numbers = (report.seq, self.numbers.1.max(report.episode));
            return Some(Message::Report(report));
        }
        let mut words = [0; EVENT_WORDS];
        read_words(rest, &mut words)?;
        let event = event_of(&words)?;
        if let Body::Resume { seq, episode } = event.body {
            self.numbers = (seq, episode);
        }
        self.at += EVENT_BYTES;
        self.ordinal += 1;
        Some(Message::Event(event))
    }
}

impl Iterator for Reader {
    type Item = Result<Message, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let fault = match self.step() {
            Ok(message) => return message.map(Ok),
            Err(fault) => fault,
        };
        let within = if self.payload.is_empty() { 0 } else { HEADER_BYTES + self.at };
        let damage = Damage {
            file: self.open.as_ref().map(|(path, _)| path.clone()).unwrap_or_default(),
            offset: self.offset + within as u64,
            what: fault.what,
            torn: fault.torn,
        };
        if self.next_file().is_err() {
            self.open = None;
        }
        Some(Err(damage))
    }
}

const NO_RECORD: Fault = Fault::bad("a record that is not one");

#[derive(Debug)]
struct Fault {
    what: &'static str,
    torn: bool,
}

impl Fault {
    const fn bad(what: &'static str) -> Self {
        Self { what, torn: false }
    }

    fn torn(what: &'static str) -> Self {
        Self { what, torn: true }
    }
}

fn block_bytes(payload: &[u8]) -> u64 {
    (HEADER_BYTES + payload.len()) as u64
}

fn header_words(header: &[u8; HEADER_BYTES]) -> [u64; HEADER_BYTES / 8] {
    let mut words = [0; HEADER_BYTES / 8];
    for (word, bytes) in words.iter_mut().zip(header.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

fn crc_of(header: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_le_bytes([header[32], header[33], header[34], header[35]])
}

/// Bytes of payload, once everything about the header is right.
fn payload_length(
    header: &[u8; HEADER_BYTES],
    words: &[u64; HEADER_BYTES / 8],
) -> Result<usize, Fault> {
    if words[0] != MAGIC {
        return Err(Fault::bad("not a journal of this version"));
    }
    let length = usize::try_from(words[3]).unwrap_or(usize::MAX);
    let possible = (1..=PAYLOAD_MAX).contains(&length) && length.is_multiple_of(8);
    if !possible || header[36..].iter().any(|&b| b != 0) {
        return Err(Fault::bad("a header that is not one"));
    }
    Ok(length)
}

/// Fills `buffer` as far as the file goes.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Fault> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Fault::bad("cannot be read")),
        }
    }
    Ok(filled)
}

fn read_words(bytes: &[u8], words: &mut [u64]) -> Option<()> {
    let chunks = bytes.get(..words.len() * 8)?.as_chunks::<8>().0;
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
    }
    Some(())
}

/// The journal files of a directory, oldest first.
///
/// # Errors
/// When it cannot be read.
pub fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
