//! What comes in: one normalised event, one cache line, `Copy`.
//!
//! Every venue's message becomes one of these at parse, once, and nothing behind this door knows a
//! venue's format. Money is integer micro-dollars, so that sums are exact in any order. A missing
//! value is `None`; a non-finite or non-positive price or amount cannot be built.

use std::num::{NonZeroU32, NonZeroU64};

use crate::signal::Level;
use crate::symbol::Symbol;
use crate::time::{NS_PER_MS, Nanos};

/// Where an event comes from. Adding a venue is one row here and one file in `ingest/exchange`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Venue {
    /// Binance USD-M (and the COIN-M contracts its all-market stream carries).
    Binance,
    /// Bybit v5, linear and inverse.
    Bybit,
    /// OKX v5 swaps.
    Okx,
    /// Hyperliquid perpetuals.
    Hyperliquid,
    /// A venue known only from recorded data.
    Other,
}

/// Every venue, in the order of the enum.
pub const VENUES: [Venue; 5] =
    [Venue::Binance, Venue::Bybit, Venue::Okx, Venue::Hyperliquid, Venue::Other];

/// Number of venues; per-venue arrays have this length.
pub const VENUE_COUNT: usize = VENUES.len();

impl Venue {
    /// The venue's name as users write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Bybit => "bybit",
            Self::Okx => "okx",
            Self::Hyperliquid => "hyperliquid",
            Self::Other => "other",
        }
    }

    /// The venue of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        VENUES.into_iter().find(|venue| venue.name() == name)
    }

    /// Position in [`VENUES`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// This venue's bit in a coverage mask.
    #[must_use]
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which position was liquidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Side {
    /// A long: its forced order sells.
    Long,
    /// A short: its forced order buys.
    Short,
}

impl Side {
    /// `long` or `short`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Short => "short",
        }
    }
}

/// Which side took liquidity in a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Taker {
    /// The taker bought.
    Buy,
    /// The taker sold.
    Sell,
}

/// How much of the truth a source shows. It travels with every event and every signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Completeness {
    /// Every event.
    Complete,
    /// At most one event per symbol per second: counts are lower bounds.
    Sampled,
    /// Some events are missing by an unknown rule.
    Lossy,
    /// Only events of addresses that are watched.
    Watched,
    /// Not known.
    Unknown,
}

/// Every completeness, in the order of the enum.
pub const COMPLETENESSES: [Completeness; 5] = [
    Completeness::Complete,
    Completeness::Sampled,
    Completeness::Lossy,
    Completeness::Watched,
    Completeness::Unknown,
];

impl Completeness {
    /// The word users see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Sampled => "sampled",
            Self::Lossy => "lossy",
            Self::Watched => "watched",
            Self::Unknown => "unknown",
        }
    }
}

/// State of a feed in the words users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FeedState {
    /// Resolving, connecting, upgrading or subscribing.
    Connecting,
    /// Data flows.
    Live,
    /// The canary flows, no liquidations.
    Quiet,
    /// Connected, but the canary is missing.
    Suspect,
    /// Nothing arrives.
    Stale,
    /// Not connected.
    Down,
    /// The venue refuses us (an HTTP status).
    Blocked,
}

impl FeedState {
    /// The word users see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Quiet => "quiet",
            Self::Suspect => "suspect",
            Self::Stale => "stale",
            Self::Down => "down",
            Self::Blocked => "blocked",
        }
    }

    /// Whether the venue can be heard in this state.
    #[must_use]
    pub const fn hears(self) -> bool {
        matches!(self, Self::Live | Self::Quiet)
    }
}

/// A number that is finite and above zero, always; `Option` of it is no larger.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Positive(NonZeroU64);

/// USD per unit of the base asset.
pub type Price = Positive;
/// Units of the base asset.
pub type Quantity = Positive;

impl Positive {
    /// `None` unless finite and above zero.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        let usable = value.is_finite() && value > 0.0;
        usable.then(|| NonZeroU64::new(value.to_bits())).flatten().map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from_bits(self.0.get())
    }
}

impl std::fmt::Debug for Positive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// An amount of money in micro-dollars, above zero. Sums of these are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Usd(NonZeroU64);

/// Micro-dollars in a dollar.
pub const MICROS_PER_USD: f64 = 1e6;
/// Largest single amount accepted, in USD: 100 billion. Above it a message is wrong, not large.
pub const USD_MAX: f64 = 1e11;

impl Usd {
    /// Rounds to the micro-dollar. `None` unless finite, at least half a micro-dollar and at most
    /// [`USD_MAX`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
    pub fn new(usd: f64) -> Option<Self> {
        if !(usd > 0.0 && usd <= USD_MAX) {
            return None;
        }
        NonZeroU64::new((usd * MICROS_PER_USD).round() as u64).map(Self)
    }

    /// From micro-dollars; `None` for 0.
    #[must_use]
    pub fn from_micros(micros: u64) -> Option<Self> {
        NonZeroU64::new(micros).map(Self)
    }

    /// Micro-dollars.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0.get()
    }

    /// Dollars.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most 1e17, for display and scores")]
    pub fn dollars(self) -> f64 {
        self.0.get() as f64 / MICROS_PER_USD
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// Time passed; nothing else.
    Tick,
    /// A stretch of data ends here and another begins: forget everything.
    Reset,
    /// An earlier run is gone on with: numbers continue after these, and what follows with
    /// [`Flags::RELIVED`] is lived again in silence.
    Resume {
        /// Number of the last signal.
        seq: u64,
        /// Number of the last episode.
        episode: u64,
    },
    /// What an earlier run last said of the symbol.
    Stood {
        /// The level.
        level: Level,
        /// Number of the episode, 0 outside of one.
        episode: u64,
    },
    /// From here on the engine judges by other settings.
    Tuned {
        /// Which: they are counted within a run.
        number: u64,
    },
    /// A position was closed by force.
    Liquidation {
        /// The position's side, where the source says it.
        side: Option<Side>,
        /// Average fill where the venue gives it, else its bankruptcy price.
        price: Option<Price>,
        /// Its value; `None` when the contract's size is unknown.
        usd: Option<Usd>,
    },
    /// A fill of an address that is watched.
    Fill {
        /// The side the address took.
        taker: Taker,
        /// Fill price.
        price: Price,
        /// Its value.
        usd: Usd,
    },
    /// A trade.
    Trade {
        /// The side that took liquidity.
        taker: Taker,
        /// Trade price.
        price: Price,
        /// Its value; `None` when the contract's size is unknown.
        usd: Option<Usd>,
    },
    /// The best bid and ask.
    Book {
        /// Value resting at the best bid and ask together, whole USD (at least 1); `None` when the
        /// sizes or their unit are unknown.
        depth_usd: Option<NonZeroU32>,
        /// Best bid.
        bid: Price,
        /// Best ask.
        ask: Price,
    },
    /// The venue's mark price, and its index or oracle price where given.
    Mark {
        /// Mark price.
        price: Price,
        /// Index or oracle price.
        index: Option<Price>,
    },
    /// The funding rate.
    Funding {
        /// Fraction of the position per funding interval; finite, may be negative.
        rate: f64,
        /// When it is next paid, wall clock ms; 0 when not said.
        next_ms: i64,
    },
    /// Open interest.
    OpenInterest {
        /// In units of the base asset; `None` when only USD is known.
        base: Option<Quantity>,
        /// In USD; `None` when only base units are known.
        usd: Option<Usd>,
    },
    /// A feed changed its state.
    Feed {
        /// The new state.
        state: FeedState,
        /// HTTP status where the state is `Blocked`, else 0.
        code: u16,
    },
}

/// What is special about an event. A set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    /// Older than the age gate when received: kept in the journal, out of the rates.
    pub const BACKFILL: Self = Self(1);
    /// Inferred, not announced by the venue.
    pub const SUSPECTED: Self = Self(1 << 1);
    /// Events before this one are known to be missing.
    pub const GAP: Self = Self(1 << 2);
    /// The instrument is not in the table: counted, its value unknown.
    pub const UNKNOWN_INSTRUMENT: Self = Self(1 << 3);
    /// The price is far off the market: kept out of sums of money.
    pub const OUTLIER: Self = Self(1 << 4);
    /// The venue's time stamp is missing or impossible.
    pub const BAD_TIME: Self = Self(1 << 5);
    /// Part of a snapshot sent on subscribing, not news.
    pub const SNAPSHOT: Self = Self(1 << 6);
    /// Happened in an earlier run: moves the windows, and nothing is said of it.
    pub const RELIVED: Self = Self(1 << 7);

    /// Bits with their names, for output.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::BACKFILL, "backfill"),
        (Self::SUSPECTED, "suspected"),
        (Self::GAP, "gap"),
        (Self::UNKNOWN_INSTRUMENT, "unknown_instrument"),
        (Self::OUTLIER, "outlier"),
        (Self::BAD_TIME, "bad_time"),
        (Self::SNAPSHOT, "snapshot"),
        (Self::RELIVED, "relived"),
    ];

    /// This set and the bits of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any bit of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Names of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, name)| name)
    }
}

/// The venue's own time of an event, and how far before its frame's last event it happened.
/// Packed into eight bytes: 48 bits of milliseconds, 16 bits of distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Stamp(u64);

/// An event is moved back inside its frame by at most this, ms.
pub const SPACING_MAX_MS: u16 = 1_000;
const VENUE_MS_MAX: i64 = (1 << 48) - 1;

impl Stamp {
    /// `venue_ms` out of 1..2^48 counts as missing.
    #[must_use]
    pub fn new(venue_ms: Option<i64>, back_ms: u16) -> Self {
        let ms = venue_ms.filter(|ms| (1..=VENUE_MS_MAX).contains(ms)).unwrap_or(0);
        Self(u64::try_from(ms).unwrap_or(0) << 16 | u64::from(back_ms.min(SPACING_MAX_MS)))
    }

    /// The venue's time, wall clock ms.
    #[must_use]
    pub fn venue_ms(self) -> Option<i64> {
        i64::try_from(self.0 >> 16).ok().filter(|&ms| ms > 0)
    }

    /// How long before the last event of its frame this one happened, by the venue's clock, ms.
    #[must_use]
    pub fn back_ms(self) -> u16 {
        u16::try_from(self.0 & 0xffff).unwrap_or(0)
    }

    /// The eight bytes, for records on disk.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// From a record on disk; the distance is clamped to its limit.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let stamp = Self(bits);
        Self::new(stamp.venue_ms(), stamp.back_ms())
    }
}

/// One normalised event.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(64))]
pub struct Event {
    /// Canonical symbol; [`Symbol::NONE`] where none is concerned.
    pub symbol: Symbol,
    /// What happened.
    pub body: Body,
    /// When its frame was received.
    pub received: Nanos,
    /// The venue's time.
    pub stamp: Stamp,
    /// Nanoseconds from received to parsed, saturating.
    pub parse_ns: u32,
    /// Who says so.
    pub venue: Venue,
    /// Which of the venue's lines (connections) carried it.
    pub line: u8,
    /// What is special about it.
    pub flags: Flags,
    /// How much of the truth its source shows.
    pub completeness: Completeness,
}

const _: () = assert!(size_of::<Body>() == 24);
const _: () = assert!(size_of::<Event>() == 64 && align_of::<Event>() == 64);

impl Event {
    /// A tick: nothing but the time.
    #[must_use]
    pub fn tick(at: Nanos) -> Self {
        Self::bare(Body::Tick, at)
    }

    /// The end of a stretch of data.
    #[must_use]
    pub fn reset(at: Nanos) -> Self {
        Self::bare(Body::Reset, at)
    }

    /// The beginning of a run that goes on after signal `seq` and episode `episode`.
    #[must_use]
    pub fn resume(seq: u64, episode: u64, at: Nanos) -> Self {
        Self::bare(Body::Resume { seq, episode }, at)
    }

    /// Settings `number` are in force from here on.
    #[must_use]
    pub fn tuned(number: u64, at: Nanos) -> Self {
        Self::bare(Body::Tuned { number }, at)
    }

    fn bare(body: Body, received: Nanos) -> Self {
        Self {
            symbol: Symbol::NONE,
            body,
            received,
            stamp: Stamp::default(),
            parse_ns: 0,
            venue: Venue::Other,
            line: 0,
            flags: Flags::default(),
            completeness: Completeness::Unknown,
        }
    }

    /// When the event counts: its receive time, moved back inside its frame by the venue's own
    /// spacing, so that a batch of half a second is not one spike.
    #[must_use]
    pub fn at(&self) -> Nanos {
        self.received.minus(u64::from(self.stamp.back_ms()) * NS_PER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_price_or_an_amount_cannot_be_built() {
        for bad in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Price::new(bad).is_none() && Usd::new(bad).is_none(), "{bad}");
        }
        assert!(Usd::new(1e-7).is_none() && Usd::new(1e300).is_none());
        assert_eq!(Usd::new(50.9245).map(Usd::micros), Some(50_924_500));
    }

    #[test]
    fn a_stamp_keeps_time_and_distance_and_refuses_nonsense() {
        let stamp = Stamp::new(Some(1_791_091_285_156), 395);
        assert_eq!((stamp.venue_ms(), stamp.back_ms()), (Some(1_791_091_285_156), 395));
        assert_eq!(Stamp::from_bits(stamp.to_bits()), stamp);
        for bad in [0, -5, i64::MIN, i64::MAX] {
            assert_eq!(Stamp::new(Some(bad), 9_999).venue_ms(), None);
        }
        assert_eq!(Stamp::new(None, 9_999).back_ms(), SPACING_MAX_MS);
    }
}
