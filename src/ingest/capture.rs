//! Raw frames on disk, as they came: what `record` writes and `replay` reads.
//!
//! A capture is a row of blocks, each a header and a compressed payload. A block is written whole and
//! carries its lengths and a checksum: what a crash or a full disk left behind is a prefix of whole
//! blocks. Headers hold the time of their first frame, so a reader can step over payloads to a time.
//!
//! ```text
//! header (64 bytes, little endian)
//!   0 magic "FSHKRAW1"   8 run, wall clock ms    16 ordinal of the first record   24 records
//!  32 first received, ns 40 the same, wall ms    48 compressed bytes  52 bytes once unpacked
//!  56 CRC-32 of bytes 0..56 and the payload      60 zero
//! payload: raw deflate of records
//!   0 received, ns   8 received, wall ms   16 connection   20 kind   21 venue   22 line   23 zero
//!  24 bytes          28 the frame (kind 0), or instruments as they were known (kind 1)
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::Frame;
use super::dial::MESSAGE_MAX;
use super::instrument::{Contract, Instrument, Instruments};
use crate::event::{VENUES, Venue};
use crate::symbol::{SYMBOL_BYTES, Symbol};
use crate::time::{Millis, Nanos, Now};

/// The first bytes of every block, and so of every file.
pub const MAGIC_BYTES: &[u8; 8] = b"FSHKRAW1";
/// How a capture's files end.
pub const EXTENSION: &str = "fsraw";

const HEADER: usize = 64;
const RECORD: usize = 28;
/// Bytes of a block at which it is full, and most it can hold: one message more.
const FULL: usize = 256 << 10;
const BLOCK_MAX: usize = FULL + RECORD + MESSAGE_MAX;

/// Records on their way to disk. Never grows beyond what it was made with.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    records: u64,
    ordinal: u64,
    first: Now,
}

impl Default for Block {
    fn default() -> Self {
        let bytes = Vec::with_capacity(BLOCK_MAX);
        Self { bytes, records: 0, ordinal: 0, first: Now::default() }
    }
}

/// What a record is.
const FRAME: u8 = 0;
const INSTRUMENTS: u8 = 1;

impl Block {
    /// Adds a frame, which is record `ordinal` of the run. `false` when it does not fit.
    pub fn frame(&mut self, frame: &Frame<'_>, ordinal: u64) -> bool {
        self.add(FRAME, frame, ordinal)
    }

    /// Adds what is known of a venue's instruments, so that its frames mean the same when read back.
    pub fn instruments(
        &mut self,
        venue: Venue,
        known: &Instruments,
        now: Now,
        ordinal: u64,
    ) -> bool {
        let bytes = instrument_bytes(known);
        let frame = Frame { venue, line: 0, link: 0, bytes: &bytes, received: now };
        self.add(INSTRUMENTS, &frame, ordinal)
    }

    fn add(&mut self, kind: u8, frame: &Frame<'_>, ordinal: u64) -> bool {
        let Ok(length) = u32::try_from(frame.bytes.len()) else { return false };
        if self.bytes.len() + RECORD + frame.bytes.len() > self.bytes.capacity() {
            return false;
        }
        if self.records == 0 {
            (self.ordinal, self.first) = (ordinal, frame.received);
        }
        let venue = u8::try_from(frame.venue.index()).unwrap_or(u8::MAX);
        self.bytes.extend_from_slice(&frame.received.mono.0.to_le_bytes());
        self.bytes.extend_from_slice(&frame.received.wall.0.to_le_bytes());
        self.bytes.extend_from_slice(&frame.link.to_le_bytes());
        self.bytes.extend_from_slice(&[kind, venue, frame.line, 0]);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(frame.bytes);
        self.records += 1;
        true
    }

    /// Records in it.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether it is time to write it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// When its first record was received.
    #[must_use]
    pub fn begins(&self) -> Nanos {
        self.first.mono
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    /// Packs it with its header into `out`, for run `run`.
    ///
    /// # Errors
    /// When it cannot be packed; memory is the only reason.
    pub fn seal(&self, run: u64, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        out.resize(HEADER, 0);
        let mut packer = DeflateEncoder::new(&mut *out, Compression::fast());
        packer.write_all(&self.bytes)?;
        packer.finish()?;
        let packed = out.len() - HEADER;
        let lengths = (packed as u64) | (self.bytes.len() as u64) << 32;
        let words = [
            u64::from_le_bytes(*MAGIC_BYTES),
            run,
            self.ordinal,
            self.records,
            self.first.mono.0,
            self.first.wall.0.cast_unsigned(),
            lengths,
        ];
        for (place, word) in out.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc =
            checksum(out.get(..56).unwrap_or_default(), out.get(HEADER..).unwrap_or_default());
        if let Some(place) = out.get_mut(56..60) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        Ok(())
    }
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// A file that blocks are appended to. What could not be written whole is cut off again.
#[derive(Debug)]
pub struct Writer {
    file: File,
    length: u64,
    run: u64,
    packed: Vec<u8>,
}

impl Writer {
    /// Begins a new file.
    ///
    /// # Errors
    /// When there is one already, or it cannot be made.
    pub fn create(path: &Path, run: u64) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        Ok(Self { file, length: 0, run, packed: Vec::with_capacity(BLOCK_MAX / 2) })
    }

    /// Appends a block; gives the bytes it took.
    ///
    /// # Errors
    /// When it could not be written whole. The file is then as it was before.
    pub fn append(&mut self, block: &Block) -> io::Result<u64> {
        block.seal(self.run, &mut self.packed)?;
        if let Err(e) = self.file.write_all(&self.packed) {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return Err(e);
        }
        self.length += self.packed.len() as u64;
        Ok(self.packed.len() as u64)
    }

    /// Makes what was written survive a power cut.
    ///
    /// # Errors
    /// When the device cannot.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// One record read back.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A frame.
    Frame {
        /// Whose.
        venue: Venue,
        /// Which of its lines.
        line: u8,
        /// Which connection.
        link: u32,
        /// The message.
        bytes: Vec<u8>,
        /// When it was received.
        received: Now,
    },
    /// What was known of a venue's instruments from here on.
    Instruments {
        /// Whose.
        venue: Venue,
        /// All of them.
        known: Vec<Instrument>,
        /// When.
        received: Now,
    },
}

/// Reads a capture, block by block.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
    records: Vec<u8>,
    at: usize,
    packed: Vec<u8>,
    ordinal: u64,
    missing: u64,
    torn: bool,
}

/// What a block's header says.
struct Header {
    ordinal: u64,
    records: u64,
    first: Nanos,
    packed: usize,
    unpacked: usize,
    crc: u32,
    bytes: [u8; HEADER],
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 16, File::open(path)?),
            offset: 0,
            records: Vec::new(),
            at: 0,
            packed: Vec::new(),
            ordinal: 0,
            missing: 0,
            torn: false,
        })
    }

    /// Records that were never written, as far as was read.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Whether the file was found cut off: everything before was whole.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Steps over whole blocks, without unpacking them, so that the next record comes from the last
    /// block that began at or before `at`.
    ///
    /// # Errors
    /// When a header makes no sense.
    pub fn seek(&mut self, at: Nanos) -> Result<(), String> {
        (self.at, self.offset) = (0, 0);
        self.records.clear();
        let mut best = 0;
        let mut records = (0, 0);
        self.go(0)?;
        while let Some(header) = self.header()? {
            if header.first > at {
                break;
            }
            (best, records) = (self.offset, (header.ordinal, header.records));
            self.offset += (HEADER + header.packed) as u64;
            self.go(self.offset)?;
        }
        self.ordinal = records.0;
        self.offset = best;
        self.go(best)
    }

    fn go(&mut self, offset: u64) -> Result<(), String> {
        self.file.seek(SeekFrom::Start(offset)).map(drop).map_err(|e| self.fault(&e.to_string()))
    }

    fn fault(&self, what: &str) -> String {
        format!("{}: {what} at byte {}", self.path.display(), self.offset)
    }

    /// The next record; `None` at the end, also where a crash cut the file off.
    ///
    /// # Errors
    /// One line: the file, the place, and what is wrong there.
    pub fn next_record(&mut self) -> Result<Option<Record>, String> {
        while self.at >= self.records.len() {
            if !self.block()? {
                return Ok(None);
            }
        }
        let (record, length) = record(self.records.get(self.at..).unwrap_or_default())
            .ok_or_else(|| self.fault("a record that is not one"))?;
        self.at += length;
        self.ordinal += 1;
        Ok(Some(record))
    }

    fn header(&mut self) -> Result<Option<Header>, String> {
        let mut bytes = [0; HEADER];
        match fill(&mut self.file, &mut bytes) {
            Ok(0) => return Ok(None),
            Ok(HEADER) => {}
            Ok(_) => {
                self.torn = true;
                return Ok(None);
            }
            Err(e) => return Err(self.fault(&e.to_string())),
        }
        let word = |n: usize| word_at(&bytes, n * 8);
        let header = Header {
            ordinal: word(2),
            records: word(3),
            first: Nanos(word(4)),
            packed: usize::try_from(word(6) & 0xffff_ffff).unwrap_or(usize::MAX),
            unpacked: usize::try_from(word(6) >> 32).unwrap_or(usize::MAX),
            crc: u32::try_from(word(7) & 0xffff_ffff).unwrap_or(0),
            bytes,
        };
        let sane = header.unpacked <= BLOCK_MAX && header.packed <= BLOCK_MAX * 2;
        if !bytes.starts_with(MAGIC_BYTES) || !sane {
            return Err(self.fault("no capture"));
        }
        Ok(Some(header))
    }

    /// Reads the next block; `false` at the end.
    fn block(&mut self) -> Result<bool, String> {
        let Some(header) = self.header()? else { return Ok(false) };
        self.packed.resize(header.packed, 0);
        let mut packed = std::mem::take(&mut self.packed);
        let filled = fill(&mut self.file, &mut packed);
        self.packed = packed;
        if filled.map_err(|e| self.fault(&e.to_string()))? < header.packed {
            self.torn = true;
            return Ok(false);
        }
        let summed = header.bytes.get(..56).unwrap_or_default();
        if checksum(summed, &self.packed) != header.crc {
            return Err(self.fault("a block whose checksum is wrong"));
        }
        self.records.clear();
        self.at = 0;
        let most = header.unpacked as u64;
        let unpacked = DeflateDecoder::new(self.packed.as_slice())
            .take(most + 1)
            .read_to_end(&mut self.records);
        if unpacked.ok() != Some(header.unpacked) {
            return Err(self.fault("a block that cannot be unpacked"));
        }
        self.missing += header.ordinal.saturating_sub(self.ordinal);
        self.ordinal = header.ordinal;
        self.offset += (HEADER + header.packed) as u64;
        Ok(true)
    }
}

/// Reads until `bytes` is full or the file ends.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match file.read(bytes.get_mut(at..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(at)
}

fn word_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    u64::from_le_bytes(word.unwrap_or_default())
}

fn half_at(bytes: &[u8], at: usize) -> u32 {
    let half = bytes.get(at..at + 4).and_then(|half| half.try_into().ok());
    u32::from_le_bytes(half.unwrap_or_default())
}

/// The record at the start of `bytes`, and its length.
fn record(bytes: &[u8]) -> Option<(Record, usize)> {
    let head = bytes.get(..RECORD)?;
    let [kind, venue, line, 0] = *head.get(20..24)? else { return None };
    let venue = *VENUES.get(usize::from(venue))?;
    let received =
        Now { mono: Nanos(word_at(head, 0)), wall: Millis(word_at(head, 8).cast_signed()) };
    let end = RECORD + usize::try_from(half_at(head, 24)).ok()?;
    let body = bytes.get(RECORD..end)?;
    let link = half_at(head, 16);
    let record = match kind {
        FRAME => Record::Frame { venue, line, link, bytes: body.to_vec(), received },
        INSTRUMENTS => Record::Instruments { venue, known: instruments_of(body)?, received },
        _ => return None,
    };
    Some((record, end))
}

/// Each: length of the name, kind of contract, symbol, size, multiplier, name.
fn instrument_bytes(known: &Instruments) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Instrument { name, symbol, contract, multiplier } in known.sorted() {
        let Ok(length) = u8::try_from(name.len()) else { continue };
        let (kind, size) = match contract {
            Contract::Coins(size) => (0, size),
            Contract::Usd(size) => (1, size),
        };
        bytes.extend_from_slice(&[length, kind]);
        bytes.extend_from_slice(&symbol.to_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&multiplier.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

fn instruments_of(mut bytes: &[u8]) -> Option<Vec<Instrument>> {
    let mut known = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(2 + SYMBOL_BYTES + 16)?;
        let (name, after) = rest.split_at_checked(usize::from(*head.first()?))?;
        let number = |at: usize| Some(f64::from_bits(word_at(head, at))).filter(|n| *n > 0.0);
        let (size, multiplier) = (number(2 + SYMBOL_BYTES)?, number(10 + SYMBOL_BYTES)?);
        let contract = match head.get(1)? {
            0 => Contract::Coins(size),
            1 => Contract::Usd(size),
            _ => return None,
        };
        let symbol = head.get(2..2 + SYMBOL_BYTES)?.try_into().ok()?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        known.push(Instrument { name, symbol: Symbol::from_bytes(symbol)?, contract, multiplier });
        bytes = after;
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::exchange::EXCHANGES;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("foreshock-capture-{}-{name}.fsraw", std::process::id()))
    }

    fn frame(i: u64) -> Record {
        let at = 1_790_000_000_000 + i * 7;
        let received = Now { mono: Nanos(at * 1_000_000 + i), wall: Millis(at.cast_signed()) };
        let (pad, link) = (usize::try_from(i % 90).unwrap(), u32::try_from(i + 7).unwrap());
        let bytes = format!("{{\"n\":{i},\"pad\":\"{}\"}}", "x".repeat(pad)).into_bytes();
        Record::Frame { venue: Venue::Okx, line: 8, link, bytes, received }
    }

    fn add(block: &mut Block, record: &Record, ordinal: u64) {
        let Record::Frame { venue, line, link, bytes, received } = record else { panic!() };
        let frame = Frame { venue: *venue, line: *line, link: *link, bytes, received: *received };
        assert!(block.frame(&frame, ordinal));
    }

    /// A file of `blocks` blocks of ten frames each.
    fn written(name: &str, blocks: u64) -> PathBuf {
        let path = path(name);
        drop(std::fs::remove_file(&path));
        let mut writer = Writer::create(&path, 9).unwrap();
        for b in 0..blocks {
            let mut block = Block::default();
            (b * 10..b * 10 + 10).for_each(|i| add(&mut block, &frame(i), i));
            writer.append(&block).unwrap();
        }
        path
    }

    fn read(path: &Path) -> Result<Vec<Record>, String> {
        let mut reader = Reader::open(path).unwrap();
        std::iter::from_fn(|| reader.next_record().transpose()).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let path = written("whole", 5);
        assert_eq!(read(&path).unwrap(), (0..50).map(frame).collect::<Vec<_>>());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn k2_cut_off_anywhere_a_prefix_of_whole_blocks_remains() {
        let path = written("torn", 3);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let records = read(&path).unwrap();
            assert_eq!(records.len() % 10, 0, "cut at {length}");
            assert_eq!(records, (0..records.len() as u64).map(frame).collect::<Vec<_>>());
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_bit_that_flipped_is_found() {
        let path = written("bits", 1);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..60).chain((60..whole.len()).step_by(7)).filter(|at| !(60..64).contains(at)) {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            // A longer length looks like a file that was cut off; nothing of it is accepted either.
            assert!(read(&path).map_or(true, |records| records.is_empty()), "byte {at}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_time_is_found_without_unpacking_what_lies_before() {
        let path = written("seek", 20);
        let mut reader = Reader::open(&path).unwrap();
        for i in [0_u64, 55, 120, 199, 7] {
            let Record::Frame { received, .. } = frame(i) else { panic!() };
            reader.seek(received.mono).unwrap();
            assert_eq!(reader.next_record().unwrap(), Some(frame(i / 10 * 10)), "{i}");
        }
        assert_eq!(reader.missing(), 0);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn instruments_mean_the_same_when_read_back() {
        let mut known = Instruments::default();
        EXCHANGES.iter().for_each(|exchange| known.extend(exchange.built_in()));
        let back = instruments_of(&instrument_bytes(&known)).unwrap();
        assert!(back.iter().eq(known.sorted()) && back.len() > 100);
    }

    #[test]
    fn a_full_block_takes_no_more_and_never_grows() {
        let mut block = Block::default();
        let capacity = block.bytes.capacity();
        let bytes = vec![b'x'; MESSAGE_MAX];
        let received = Now::at_millis(1);
        let frame = Frame { venue: Venue::Okx, line: 0, link: 1, bytes: &bytes, received };
        assert!(block.frame(&frame, 0) && block.is_full() && !block.frame(&frame, 1));
        assert_eq!((block.records(), block.bytes.capacity()), (1, capacity));
    }
}
