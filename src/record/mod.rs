//! What is on disk: the engine's input and its signals, so that a run can be lived again.
//!
//! A journal is a row of files, each a row of blocks, each a header and a payload of records. A
//! block is written whole and carries its length and a checksum, so what a crash or a full disk left
//! behind is a prefix of whole blocks, wherever it was cut.
//!
//! ```text
//! header (48 bytes, little endian)
//!   0 magic "FSHKJRN3"   8 run, wall clock ms   16 ordinal of the first event
//!  24 payload bytes      32 CRC-32 of bytes 0..32 and the payload      36 zero
//! record                 words of 64 bits, little endian
//!   event   8 words      head, origin, symbol (2), received, stamp, a, b
//!   report  1 + 82 words head, then the report as it crosses the ring
//!   mark    3 words      head, number of the last signal and of the last episode before the block
//!   settings             head (32-63 bytes of text), number, the text, padded with zeros
//! head   bits 0-7 tag, 8-15 small enum (0: missing), 16-31 code, 32-63 whole USD of depth
//! origin bits 0-31 parse ns, 32-39 venue, 40-47 line, 48-55 flags, 56-63 completeness
//! ```
//!
//! Settings are what the engine judges by from there on: number 0 before the first event of a run, others
//! right before the event that says they are in force. This room takes them as text and does not read it.
//!
//! Reading is strict: a word that no writer writes is [`Damage`] that names its place. The ordinals
//! show how many events are missing between two blocks.

mod reader;

use std::num::NonZeroU32;
use std::ops::Range;

use crate::event::{
    Body, COMPLETENESSES, Event, FeedState, Flags, Positive, Side, Stamp, Taker, Usd, VENUES,
};
use crate::signal::{Cursor, Level, REPORT_WORDS, Report, Words};
use crate::symbol::Symbol;
use crate::time::Nanos;

pub use reader::{Damage, Reader, files_in};

/// The first bytes of every block, and so of every file.
pub const MAGIC_BYTES: &[u8; 8] = b"FSHKJRN3";
const MAGIC: u64 = u64::from_le_bytes(*MAGIC_BYTES);
/// Bytes of a block's header.
pub const HEADER_BYTES: usize = 48;
/// Most bytes of payload in one block.
pub const PAYLOAD_MAX: usize = 1 << 20;
/// Words of an event.
pub const EVENT_WORDS: usize = 8;
/// Bytes of an event's record.
pub const EVENT_BYTES: usize = EVENT_WORDS * 8;
/// Bytes of a report's record.
pub const REPORT_BYTES: usize = (1 + REPORT_WORDS) * 8;
/// How a journal's files end.
pub const EXTENSION: &str = "fsj";

const TAG_REPORT: u8 = 0xf0;
const TAG_MARK: u8 = 0xf1;
const TAG_SETTINGS: u8 = 0xf2;
/// Words of a mark.
const MARK_WORDS: usize = 3;

/// The words of an event.
#[must_use]
pub fn event_words(event: &Event) -> [u64; EVENT_WORDS] {
    let (tag, small, code, depth, a, b) = body_parts(&event.body);
    let head = u64::from(tag)
        | u64::from(small) << 8
        | u64::from(code) << 16
        | u64::from(depth.map_or(0, NonZeroU32::get)) << 32;
    let origin = u64::from(event.parse_ns)
        | (event.venue as u64) << 32
        | u64::from(event.line) << 40
        | u64::from(event.flags.0) << 48
        | (event.completeness as u64) << 56;
    let symbol = u128::from_le_bytes(event.symbol.to_bytes());
    let [low, high] = [symbol, symbol >> 64].map(low_word);
    [head, origin, low, high, event.received.0, event.stamp.to_bits(), a, b]
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low_word(wide: u128) -> u64 {
    wide as u64
}

type Parts = (u8, u8, u16, Option<NonZeroU32>, u64, u64);

fn body_parts(body: &Body) -> Parts {
    let (tag, small, a, b) = match *body {
        Body::Tick => (1, 0, 0, 0),
        Body::Reset => (2, 0, 0, 0),
        Body::Resume { seq, episode } => (11, 0, seq, episode),
        Body::Stood { level, episode } => (12, level as u8 + 1, episode, 0),
        Body::Tuned { number } => (13, 0, number, 0),
        Body::Liquidation { side, price, usd } => {
            (3, side.map_or(0, |side| side as u8 + 1), maybe(price), usd.map_or(0, Usd::micros))
        }
        Body::Fill { taker, price, usd } => (4, taker as u8 + 1, bits(price), usd.micros()),
        Body::Trade { taker, price, usd } => {
            (5, taker as u8 + 1, bits(price), usd.map_or(0, Usd::micros))
        }
        Body::Book { depth_usd, bid, ask } => return (6, 0, 0, depth_usd, bits(bid), bits(ask)),
        Body::Mark { price, index } => (7, 0, bits(price), maybe(index)),
        Body::Funding { rate, next_ms } => (8, 0, rate.to_bits(), next_ms.cast_unsigned()),
        Body::OpenInterest { base, usd } => (9, 0, maybe(base), usd.map_or(0, Usd::micros)),
        Body::Feed { state, code } => return (10, state as u8 + 1, code, None, 0, 0),
    };
    (tag, small, 0, None, a, b)
}

fn bits(value: Positive) -> u64 {
    value.get().to_bits()
}

fn maybe(value: Option<Positive>) -> u64 {
    value.map_or(0, bits)
}

/// The event of these words; `None` unless every bit is one that [`event_words`] writes.
#[must_use]
pub fn event_of(words: &[u64; EVENT_WORDS]) -> Option<Event> {
    let [head, origin, low, high, received, stamp, ..] = *words;
    let [.., venue, line, flags, completeness] = origin.to_le_bytes();
    let event = Event {
        symbol: Symbol::from_bytes((u128::from(high) << 64 | u128::from(low)).to_le_bytes())?,
        body: body_of(head, words[6], words[7])?,
        received: Nanos(received),
        stamp: Stamp::from_bits(stamp),
        parse_ns: u32::try_from(origin & 0xffff_ffff).ok()?,
        venue: *VENUES.get(usize::from(venue))?,
        line,
        flags: Flags(flags),
        completeness: *COMPLETENESSES.get(usize::from(completeness))?,
    };
    let known = Flags::NAMES.iter().fold(0, |bits, (flag, _)| bits | flag.0);
    // Writing it again must give the same words: whatever was ignored above shows here.
    (flags & !known == 0 && event_words(&event) == *words).then_some(event)
}

const SIDES: [Side; 2] = [Side::Long, Side::Short];
const TAKERS: [Taker; 2] = [Taker::Buy, Taker::Sell];
const STATES: [FeedState; 7] = [
    FeedState::Connecting,
    FeedState::Live,
    FeedState::Quiet,
    FeedState::Suspect,
    FeedState::Stale,
    FeedState::Down,
    FeedState::Blocked,
];

fn body_of(head: u64, a: u64, b: u64) -> Option<Body> {
    let [tag, small, code @ .., d0, d1, d2, d3] = head.to_le_bytes();
    let depth_usd = NonZeroU32::new(u32::from_le_bytes([d0, d1, d2, d3]));
    let number = |bits: u64| Positive::new(f64::from_bits(bits));
    let optional = |bits: u64| if bits == 0 { Some(None) } else { number(bits).map(Some) };
    Some(match tag {
        1 => Body::Tick,
        2 => Body::Reset,
        3 => {
            let side = if small == 0 { None } else { Some(nth(&SIDES, small)?) };
            Body::Liquidation { side, price: optional(a)?, usd: Usd::from_micros(b) }
        }
        4 => {
            Body::Fill { taker: nth(&TAKERS, small)?, price: number(a)?, usd: Usd::from_micros(b)? }
        }
        5 => {
            Body::Trade { taker: nth(&TAKERS, small)?, price: number(a)?, usd: Usd::from_micros(b) }
        }
        6 => Body::Book { depth_usd, bid: number(a)?, ask: number(b)? },
        7 => Body::Mark { price: number(a)?, index: optional(b)? },
        8 => {
            let rate = Some(f64::from_bits(a)).filter(|rate| rate.is_finite())?;
            Body::Funding { rate, next_ms: b.cast_signed() }
        }
        9 => Body::OpenInterest { base: optional(a)?, usd: Usd::from_micros(b) },
        10 => Body::Feed { state: nth(&STATES, small)?, code: u16::from_le_bytes(code) },
        11 => Body::Resume { seq: a, episode: b },
        12 => Body::Stood { level: nth(Level::ALL, small)?, episode: a },
        13 => Body::Tuned { number: a },
        _ => return None,
    })
}

/// The value written as its position plus one.
fn nth<T: Copy>(values: &[T], small: u8) -> Option<T> {
    values.get(usize::from(small.checked_sub(1)?)).copied()
}

/// One block, filled record by record. Its bytes are ready to be written at any time.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    records: u32,
    first: u64,
    /// Where the last settings are among the bytes.
    settings: Range<usize>,
}

impl Block {
    /// An empty block that holds `payload` bytes without growing.
    #[must_use]
    pub fn with_capacity(payload: usize) -> Self {
        let mut block =
            Self { bytes: Vec::with_capacity(HEADER_BYTES + payload), ..Self::default() };
        block.clear();
        block
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        (self.records, self.settings) = (0, 0..0);
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Records in it.
    #[must_use]
    pub fn records(&self) -> u64 {
        u64::from(self.records)
    }

    /// Whether a record of `bytes` fits without growing.
    #[must_use]
    pub fn fits(&self, bytes: usize) -> bool {
        let end = self.bytes.len() + bytes;
        end <= self.bytes.capacity() && end <= HEADER_BYTES + PAYLOAD_MAX
    }

    /// Adds an event, whose number within the run is `ordinal`.
    pub fn event(&mut self, event: &Event, ordinal: u64) {
        self.begin(ordinal);
        self.words(&event_words(event));
    }

    /// Adds a report, made when `ordinal` events had been taken.
    pub fn report(&mut self, report: &Report, ordinal: u64) {
        self.begin(ordinal);
        let mut words = [0; 1 + REPORT_WORDS];
        u64::from(TAG_REPORT).put(&mut Cursor::new(&mut words));
        report.put(&mut Cursor::new(&mut words[1..]));
        self.words(&words);
    }

    /// Notes the last numbers given before what follows, so that any block tells them. No record.
    pub fn mark(&mut self, seq: u64, episode: u64) {
        self.append(&[u64::from(TAG_MARK), seq, episode]);
    }

    /// Notes settings `number`, in words, which `ordinal` events come before. No record.
    pub fn settings(&mut self, number: u64, text: &str, ordinal: u64) {
        self.begin(ordinal);
        let head = u64::from(TAG_SETTINGS) | (text.len() as u64) << 32;
        let start = self.bytes.len();
        self.append(&[head, number]);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.settings = start..self.bytes.len();
    }

    /// The last settings in it as they are written, and the number of events before its first.
    #[must_use]
    pub fn noted(&self) -> (&[u8], u64) {
        (self.bytes.get(self.settings.clone()).unwrap_or(&[]), self.first)
    }

    /// A block of these settings alone.
    #[must_use]
    pub fn of_noted(settings: &[u8], ordinal: u64) -> Self {
        let mut block = Self::with_capacity(settings.len());
        block.first = ordinal;
        block.bytes.extend_from_slice(settings);
        block
    }

    fn begin(&mut self, ordinal: u64) {
        if self.records == 0 {
            self.first = ordinal;
        }
    }

    fn words(&mut self, words: &[u64]) {
        self.append(words);
        self.records += 1;
    }

    fn append(&mut self, words: &[u64]) {
        for word in words {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// The whole block with its header, for run `run`.
    pub fn seal(&mut self, run: u64) -> &[u8] {
        let payload = self.bytes.len().saturating_sub(HEADER_BYTES);
        let mut header = [0; HEADER_BYTES];
        let fields = [MAGIC, run, self.first, payload as u64];
        for (place, field) in header.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let crc = checksum(&header, self.bytes.get(HEADER_BYTES..).unwrap_or(&[]));
        header[32..36].copy_from_slice(&crc.to_le_bytes());
        if let Some(place) = self.bytes.get_mut(..HEADER_BYTES) {
            place.copy_from_slice(&header);
        }
        &self.bytes
    }
}

/// Bytes that settings of so many bytes of text take.
#[must_use]
pub const fn settings_bytes(text: usize) -> usize {
    16 + text.next_multiple_of(8)
}

fn checksum(header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..32]);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies() -> Vec<Body> {
        let price = Positive::new(0.1).unwrap();
        let usd = Usd::new(12.5).unwrap();
        let mut bodies = vec![
            Body::Tick,
            Body::Reset,
            Body::Resume { seq: u64::MAX, episode: 7 },
            Body::Stood { level: Level::Extreme, episode: 7 },
            Body::Tuned { number: u64::MAX },
            Body::Liquidation { side: None, price: None, usd: None },
            Body::Book { depth_usd: None, bid: price, ask: price },
            Body::Book { depth_usd: NonZeroU32::new(u32::MAX), bid: price, ask: price },
            Body::Mark { price, index: None },
            Body::Mark { price, index: Some(price) },
            Body::Funding { rate: -0.0, next_ms: i64::MIN },
            Body::OpenInterest { base: Some(price), usd: None },
            Body::OpenInterest { base: None, usd: Some(usd) },
        ];
        for side in SIDES {
            bodies.push(Body::Liquidation { side: Some(side), price: Some(price), usd: Some(usd) });
        }
        for taker in TAKERS {
            bodies.push(Body::Fill { taker, price, usd });
            bodies.push(Body::Trade { taker, price, usd: None });
        }
        for state in STATES {
            bodies.push(Body::Feed { state, code: 451 });
        }
        bodies
    }

    fn events() -> Vec<Event> {
        let mut events = Vec::new();
        for (i, body) in (0..).zip(bodies()) {
            for venue in VENUES {
                events.push(Event {
                    symbol: Symbol::parse("币安人生USDT").unwrap_or(Symbol::BTC),
                    body,
                    received: Nanos(u64::MAX - i),
                    stamp: Stamp::new(Some(1_791_091_285_156), 395),
                    parse_ns: u32::MAX,
                    venue,
                    line: 255,
                    flags: Flags::GAP.with(Flags::SNAPSHOT),
                    completeness: COMPLETENESSES[venue.index()],
                });
            }
        }
        events
    }

    #[test]
    fn every_event_survives_its_words() {
        for event in events() {
            assert_eq!(event_of(&event_words(&event)), Some(event));
        }
    }

    #[test]
    fn enums_on_disk_are_numbered_as_in_memory() {
        assert!(COMPLETENESSES.iter().enumerate().all(|(i, &c)| c as usize == i));
        assert!(SIDES.iter().enumerate().all(|(i, &s)| s as usize == i));
        assert!(TAKERS.iter().enumerate().all(|(i, &t)| t as usize == i));
        assert!(Level::ALL.iter().enumerate().all(|(i, &l)| l as usize == i));
        assert!(STATES.iter().enumerate().all(|(i, &s)| s as usize == i));
    }

    #[test]
    fn any_flipped_bit_is_refused_or_means_another_event() {
        for event in events() {
            let words = event_words(&event);
            for bit in 0..EVENT_WORDS * 64 {
                let mut flipped = words;
                flipped[bit / 64] ^= 1 << (bit % 64);
                if let Some(other) = event_of(&flipped) {
                    assert_eq!(event_words(&other), flipped, "bit {bit} was ignored");
                }
            }
        }
        let mut words = event_words(&events()[0]);
        for (word, bad) in [(0, 99), (1, 77 << 32), (1, 9 << 56), (5, 2_000)] {
            let good = std::mem::replace(&mut words[word], bad);
            assert_eq!(event_of(&words), None, "word {word} = {bad}");
            words[word] = good;
        }
    }
}
