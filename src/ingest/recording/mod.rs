//! Recorded input: files that are played back as if they happened now.
//!
//! Six forms, told apart by their first bytes (gzip is unpacked first):
//!
//! | form | first line | what an entry becomes |
//! |---|---|---|
//! | [`csv`] liquidations | `ts_ms,recv_ms,exchange,symbol,...` | an event |
//! | [`csv`] trades | `ts_ms,event_ms,symbol,price,qty,taker_side` | an event |
//! | [`lines`] raw messages | `{"venue":...,"raw":...}` | a frame, parsed like a live one |
//! | [`node`] files of a node's fills | `{"block_time":...`, `["0x...` | frames of Hyperliquid |
//! | [`raw`] capture | the magic of [`capture`] | a frame, with its connection |
//! | [`journal`] (a file, or a folder of them) | the magic of [`record`] | the engine's input, ticks and all |

pub mod csv;
pub mod lines;
pub mod node;
pub mod journal;
pub mod raw;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::capture;
use super::instrument::Instrument;
use crate::event::{Event, Venue};
use crate::record;
use crate::time::{Nanos, Now};

/// Longest line of a text recording, bytes.
pub const LINE_MAX: usize = 64 << 20;

/// One entry of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A raw message.
    Frame {
        /// Whose format it is in.
        venue: Venue,
        /// The message.
        bytes: Vec<u8>,
        /// When it was received, wall clock ms; `None` where the recording does not say.
        received_ms: Option<i64>,
    },
    /// A raw message of a known connection.
    Captured {
        /// Whose format it is in.
        venue: Venue,
        /// Which of the venue's lines brought it.
        line: u8,
        /// Which connection.
        link: u32,
        /// The message.
        bytes: Vec<u8>,
        /// When it was received.
        received: Now,
    },
    /// What a venue's instruments mean from here on.
    Instruments {
        /// Whose.
        venue: Venue,
        /// All of them.
        known: Vec<Instrument>,
        /// When.
        received: Now,
    },
    /// An event that needs no parsing; `received` is its time.
    Event(Event),
    /// A row that is no event, by reason.
    Refused(&'static str),
}

impl Entry {
    /// When it was received, as far as the recording says.
    #[must_use]
    pub fn at(&self) -> Option<Nanos> {
        match self {
            Self::Frame { received_ms, .. } => received_ms.map(Nanos::from_millis),
            Self::Captured { received, .. } | Self::Instruments { received, .. } => {
                Some(received.mono)
            }
            Self::Event(event) => Some(event.received),
            Self::Refused(_) => None,
        }
    }
}

/// A file being read.
pub trait Recording: Send {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// One line: what is wrong, and where in the file.
    fn next(&mut self) -> Result<Option<Entry>, String>;

    /// Whether its own ticks are part of it, so that none must be added.
    fn has_ticks(&self) -> bool {
        false
    }

    /// Whether its frames say which connection brought them, so that twins must be told apart.
    fn has_links(&self) -> bool {
        false
    }
}

/// Text input, line by line.
pub type Lines = Box<dyn BufRead + Send>;

/// Opens a recording.
///
/// # Errors
/// One line: the file, what is wrong with it, and what would be right.
pub fn open(path: &Path) -> Result<Box<dyn Recording>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|e| format!("{shown}: {e}"))?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Ok(Box::new(journal::JournalFile::open(path)?));
    }
    let mut input = unpacked(file).map_err(|e| format!("{shown}: {e}"))?;
    let first = first_line(&mut input).map_err(|e| format!("{shown}: {e}"))?;
    match first.trim_ascii_start() {
        text if text.starts_with(record::MAGIC_BYTES) => {
            Ok(Box::new(journal::JournalFile::open(path)?))
        }
        text if text.starts_with(capture::MAGIC_BYTES) => {
            Ok(Box::new(raw::CaptureFile::open(path)?))
        }
        text if node::is_fills(text) => Ok(Box::new(node::NodeFile::new(shown, input))),
        text if text.starts_with(LZ4) => {
            Err(format!("{shown}: is packed: unpack it with `lz4 -d`"))
        }
        text if text.starts_with(b"{") => Ok(Box::new(lines::LineFile::new(shown, input))),
        text if text.starts_with(b"ts_ms,") => Ok(Box::new(csv::CsvFile::new(shown, input)?)),
        [] => Err(format!("{shown}: is empty")),
        _ => Err(format!(
            "{shown}: not a recording: expected JSON lines with a `raw` field, a CSV that starts \
             with `ts_ms,`, a node's fills, or a foreshock capture or journal"
        )),
    }
}

/// How the archives of node files begin.
const LZ4: &[u8] = &[0x04, 0x22, 0x4d, 0x18];

/// The text of a file, whether it is packed with gzip or not.
///
/// # Errors
/// When its beginning cannot be read.
pub fn unpacked(file: File) -> io::Result<Lines> {
    let mut input = BufReader::with_capacity(1 << 16, file);
    if input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input))));
    }
    Ok(Box::new(input))
}

/// The beginning of the input, left unread.
fn first_line(input: &mut Lines) -> io::Result<Vec<u8>> {
    let start = input.fill_buf()?;
    Ok(start.get(..start.len().min(64)).unwrap_or_default().to_vec())
}

/// Reads one line of at most [`LINE_MAX`] bytes into `line`, without its end. `false` at the end.
pub(super) fn read_line(input: &mut Lines, line: &mut Vec<u8>) -> Result<bool, String> {
    line.clear();
    let mut limited = io::Read::take(&mut *input, LINE_MAX as u64 + 1);
    let n = limited.read_until(b'\n', line).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => "truncated: the compressed data ends too early".to_owned(),
        _ => e.to_string(),
    })?;
    if n > LINE_MAX {
        return Err(format!("line longer than {LINE_MAX} bytes"));
    }
    while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(n > 0)
}
