//! What goes out: how much, how fast, how sure, and why.
//!
//! A [`Report`] is the engine's whole knowledge of one symbol (or of the market) at one moment. It
//! is sent as *state* (conflated: a later one replaces an earlier one) and as *signal* (never
//! conflated: numbered, every one counts). Both sides of the door need only this file to agree.

use crate::event::{COMPLETENESSES, Completeness, VENUE_COUNT, Venue};
use crate::symbol::{SYMBOL_BYTES, Symbol};
use crate::time::Nanos;

/// Names of the windows, as they appear in keys.
pub const WINDOW_NAMES: [&str; 7] = ["100ms", "500ms", "2s", "10s", "30s", "60s", "300s"];
/// Lengths of the windows in milliseconds.
pub const WINDOW_MS: [u64; 7] = [100, 500, 2_000, 10_000, 30_000, 60_000, 300_000];
/// Number of windows.
pub const WINDOW_COUNT: usize = WINDOW_MS.len();

/// Position of the headline scale (2 s) in [`WINDOW_MS`].
pub const FAST: usize = 2;
/// Position of the confirming scale (10 s) in [`WINDOW_MS`].
pub const SLOW: usize = 3;

/// Names of the risk factors, in the order of [`Report::factors`].
pub const FACTOR_NAMES: [&str; 6] =
    ["velocity", "acceleration", "jerk", "volume", "correlation", "clustering"];
/// Number of risk factors.
pub const FACTOR_COUNT: usize = FACTOR_NAMES.len();

/// Names of the components of the probability, in the order of [`Report::components`].
pub const COMPONENT_NAMES: [&str; 6] =
    ["velocity", "acceleration", "volume", "oi_change", "funding", "volatility"];
/// Number of components.
pub const COMPONENT_COUNT: usize = COMPONENT_NAMES.len();

/// Declares an enum of words with their names, in rising order, numbered from 0.
macro_rules! words_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { #[default] $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them, in rising order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word users see.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl Words for $name {
            fn put(&self, to: &mut Cursor<'_>) {
                to.put(*self as u64);
            }

            fn get(from: &mut Cursor<'_>) -> Option<Self> {
                Self::ALL.get(usize::try_from(from.get()?).ok()?).copied()
            }
        }
    };
}

words_enum! {
    /// How bad the risk score is.
    RiskLevel {
        /// Below 20.
        None = "NONE",
        /// 20 and above.
        Low = "LOW",
        /// 40 and above.
        Medium = "MEDIUM",
        /// 55 and above.
        High = "HIGH",
        /// 80 and above.
        Critical = "CRITICAL",
    }
}

words_enum! {
    /// How likely a cascade is, as published.
    Level {
        /// Below 0.3.
        None = "NONE",
        /// 0.3 and above.
        Watch = "WATCH",
        /// 0.5 and above.
        Alert = "ALERT",
        /// 0.7 and above.
        Critical = "CRITICAL",
        /// 0.9 and above.
        Extreme = "EXTREME",
    }
}

words_enum! {
    /// How far the reference price has been moving, against itself.
    Regime {
        /// Hardly at all.
        Dormant = "DORMANT",
        /// Little.
        Low = "LOW",
        /// As usual; also while too little is known.
        Normal = "NORMAL",
        /// More than usual.
        Elevated = "ELEVATED",
        /// Much.
        High = "HIGH",
        /// As in a crash.
        Extreme = "EXTREME",
    }
}

words_enum! {
    /// How much rests at the top of the reference book, against its own recent past.
    Liquidity {
        /// More than usual.
        Deep = "DEEP",
        /// As usual; also while too little is known.
        Normal = "NORMAL",
        /// Less than usual.
        Shallow = "SHALLOW",
        /// Hardly any.
        Illiquid = "ILLIQUID",
    }
}

words_enum! {
    /// Where the reference price is going.
    Trend {
        /// Falling fast.
        StrongDown = "STRONG_DOWN",
        /// Falling.
        Down = "DOWN",
        /// Neither; also while too little is known.
        Flat = "FLAT",
        /// Rising.
        Up = "UP",
        /// Rising fast.
        StrongUp = "STRONG_UP",
    }
}

words_enum! {
    /// What a report is.
    Kind {
        /// The present state of a row; a later one replaces it.
        State = "state",
        /// A numbered signal: the level changed.
        Change = "change",
        /// A numbered signal: the level still stands.
        Heartbeat = "heartbeat",
    }
}

/// Motion of the liquidation count on one scale: finite differences of three adjacent windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Motion {
    /// Events per second squared.
    pub acceleration: f64,
    /// Events per second cubed.
    pub jerk: f64,
    /// Acceleration in standard deviations under a steady rate.
    pub acceleration_sd: f64,
    /// Jerk in standard deviations under a steady rate.
    pub jerk_sd: f64,
    /// USD per second squared.
    pub value_acceleration: f64,
    /// USD per second cubed.
    pub value_jerk: f64,
}

/// All that is known now about one symbol or the market.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// The symbol, or [`Symbol::MARKET`].
    pub symbol: Symbol,
    /// State, change or heartbeat.
    pub kind: Kind,
    /// Number of the signal within the run, from 1; 0 for a state.
    pub seq: u64,
    /// Number of the episode (a run of signals from NONE back to NONE) this belongs to, from 1.
    pub episode: u64,
    /// Ordinal, among all events the engine took, of the one that tipped it.
    pub cause: u64,
    /// The moment reported, on the steady clock.
    pub at: Nanos,
    /// When the event that tipped it was received.
    pub received: Nanos,
    /// When the engine took that event (the time its turn was told). Differs between runs.
    pub taken: Nanos,

    /// Liquidations per window.
    pub counts: [u32; WINDOW_COUNT],
    /// Their value per window, micro-dollars.
    pub usd: [u64; WINDOW_COUNT],
    /// Motion on the headline scale, 2 s.
    pub fast: Motion,
    /// Motion on the confirming scale, 10 s.
    pub slow: Motion,
    /// (long - short) / (long + short) by value over 60 s; `None` while there is nothing.
    pub imbalance: Option<f64>,
    /// Symbols with at least one liquidation in 2 s (1 or 0 for a single symbol).
    pub breadth: u32,
    /// Distinct venue milliseconds among the events of 2 s.
    pub dispersion: u32,
    /// Branching ratio of 1 s counts over 300 s; `None` while there is too little.
    pub clustering: Option<f64>,
    /// Mean correlation over pairs of live venues; `None` when there is no pair.
    pub correlation: Option<f64>,

    /// Score 0..100 of each factor in the order of [`FACTOR_NAMES`]; `None` where input is missing.
    pub factors: [Option<f64>; FACTOR_COUNT],
    /// Weighted risk, 0..100.
    pub risk: f64,
    /// Its level.
    pub risk_level: RiskLevel,
    /// 0..1: from event count, agreement of the factors, and coverage.
    pub confidence: f64,
    /// Component scores 0..1 in the order of [`COMPONENT_NAMES`]; `None` where input is missing.
    pub components: [Option<f64>; COMPONENT_COUNT],
    /// Strength of the evidence, 0..1, before it is calibrated.
    pub evidence: f64,
    /// Standard deviations of the arrivals of 2 s above the row's own past; `None` without one.
    pub significance: Option<f64>,
    /// Pressure of trades on the market, 0..1; `None` where no trades are known.
    pub pressure: Option<f64>,
    /// Probability that a cascade is under way or begins within a minute, 0..1; its error is in
    /// [`crate::engine::calibration`].
    pub probability: f64,
    /// Its level.
    pub level: Level,

    /// Volatility regime of the reference price.
    pub regime: Regime,
    /// Liquidity of the reference book.
    pub liquidity: Liquidity,
    /// Trend of the reference price.
    pub trend: Trend,
    /// When the regime began.
    pub regime_since: Nanos,
    /// Realised volatility over 5 min: root mean square of 1 s log returns.
    pub volatility: Option<f64>,
    /// Multiplier the regime puts on the rungs of velocity.
    pub velocity_scale: f64,
    /// Multiplier the regime puts on the rungs of volume.
    pub volume_scale: f64,
    /// The reference price, USD.
    pub btc_price: Option<f64>,
    /// Last known price of this symbol, USD.
    pub price: Option<f64>,
    /// Relative change of open interest over 5 min.
    pub oi_change: Option<f64>,
    /// Latest funding rate, mean over venues.
    pub funding: Option<f64>,

    /// Liquidations of 10 s by venue.
    pub by_venue: [u32; VENUE_COUNT],
    /// Venues that can be heard now: a set of [`Venue::bit`].
    pub live: u8,
    /// Venues that were ever expected: a set of [`Venue::bit`].
    pub expected: u8,
    /// How much of the truth each venue's liquidations show.
    pub shown: Shown,
    /// Whether events are known to be missing in the last 300 s.
    pub gap: bool,
    /// Whether sampled sources are at the limit of what they show: counts are far below the truth.
    pub saturated: bool,
    /// Share of weighted inputs that were there, 0..1.
    pub coverage: f64,
}

/// How much of the truth about liquidations each venue shows, as its latest one that counted said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown([Option<Completeness>; VENUE_COUNT]);

impl Shown {
    /// A liquidation of `venue` came from a source of this completeness.
    pub fn note(&mut self, venue: Venue, completeness: Completeness) {
        self.0[venue.index()] = Some(completeness);
    }

    /// Of one venue; `None` before its first liquidation.
    #[must_use]
    pub fn of(self, venue: Venue) -> Option<Completeness> {
        self.0[venue.index()]
    }
}

impl Report {
    /// A state about which nothing is known.
    #[must_use]
    pub fn empty(symbol: Symbol, at: Nanos) -> Self {
        Self {
            symbol,
            kind: Kind::State,
            seq: 0,
            episode: 0,
            cause: 0,
            at,
            received: at,
            taken: at,
            counts: [0; WINDOW_COUNT],
            usd: [0; WINDOW_COUNT],
            fast: Motion::default(),
            slow: Motion::default(),
            imbalance: None,
            breadth: 0,
            dispersion: 0,
            clustering: None,
            correlation: None,
            factors: [None; FACTOR_COUNT],
            risk: 0.0,
            risk_level: RiskLevel::None,
            confidence: 0.0,
            components: [None; COMPONENT_COUNT],
            evidence: 0.0,
            significance: None,
            pressure: None,
            probability: 0.0,
            level: Level::None,
            regime: Regime::Normal,
            liquidity: Liquidity::Normal,
            trend: Trend::Flat,
            regime_since: at,
            volatility: None,
            velocity_scale: 1.0,
            volume_scale: 1.0,
            btc_price: None,
            price: None,
            oi_change: None,
            funding: None,
            by_venue: [0; VENUE_COUNT],
            live: 0,
            expected: 0,
            shown: Shown::default(),
            gap: false,
            saturated: false,
            coverage: 0.0,
        }
    }

    /// Whether this is a signal (numbered, never conflated) rather than a state.
    #[must_use]
    pub fn is_signal(&self) -> bool {
        self.kind != Kind::State
    }

    /// Events per second in window `i`.
    #[must_use]
    pub fn velocity(&self, i: usize) -> f64 {
        f64::from(self.counts[i]) * 1e3 / WINDOW_MS[i] as f64
    }

    /// USD per second in window `i`.
    #[must_use]
    pub fn value_velocity(&self, i: usize) -> f64 {
        self.usd[i] as f64 / 1e6 * 1e3 / WINDOW_MS[i] as f64
    }

    /// The venue with most liquidations in 10 s; the first of the table on a tie.
    #[must_use]
    pub fn leading(&self) -> Option<Venue> {
        let most = self.by_venue.iter().copied().max().filter(|&n| n > 0)?;
        let i = self.by_venue.iter().position(|&n| n == most)?;
        crate::event::VENUES.get(i).copied()
    }
}

/// Words a value writes and reads back: the one binary form, on the ring and in the journal.
pub trait Words: Sized {
    /// Writes the value.
    fn put(&self, to: &mut Cursor<'_>);
    /// Reads it back; `None` when the words are not a value of this type.
    fn get(from: &mut Cursor<'_>) -> Option<Self>;
}

/// A place in a row of words.
#[derive(Debug)]
pub struct Cursor<'a> {
    words: &'a mut [u64],
    next: usize,
}

impl<'a> Cursor<'a> {
    /// At the first of `words`.
    pub fn new(words: &'a mut [u64]) -> Self {
        Self { words, next: 0 }
    }

    /// Words passed so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.next
    }

    fn put(&mut self, word: u64) {
        if let Some(slot) = self.words.get_mut(self.next) {
            *slot = word;
        }
        self.next += 1;
    }

    fn get(&mut self) -> Option<u64> {
        let word = self.words.get(self.next).copied();
        self.next += 1;
        word
    }
}

/// The bit pattern of "missing": a NaN that arithmetic never makes.
const MISSING: u64 = 0x7ff8_dead_dead_dead;

impl Words for u64 {
    fn put(&self, to: &mut Cursor<'_>) {
        to.put(*self);
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        from.get()
    }
}

impl Words for u32 {
    fn put(&self, to: &mut Cursor<'_>) {
        to.put(u64::from(*self));
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        Self::try_from(from.get()?).ok()
    }
}

impl Words for u8 {
    fn put(&self, to: &mut Cursor<'_>) {
        to.put(u64::from(*self));
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        Self::try_from(from.get()?).ok()
    }
}

impl Words for bool {
    fn put(&self, to: &mut Cursor<'_>) {
        to.put(u64::from(*self));
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        match from.get()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// A byte for each venue: 0, or the completeness plus one.
impl Words for Shown {
    fn put(&self, to: &mut Cursor<'_>) {
        let byte = |venue: Option<Completeness>| venue.map_or(0, |shown| shown as u64 + 1);
        to.put(self.0.iter().rev().fold(0, |word, venue| word << 8 | byte(*venue)));
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        let bytes = from.get()?.to_le_bytes();
        let mut shown = Self::default();
        for (place, byte) in shown.0.iter_mut().zip(bytes) {
            if let Some(nth) = byte.checked_sub(1) {
                *place = Some(*COMPLETENESSES.get(usize::from(nth))?);
            }
        }
        bytes.iter().skip(VENUE_COUNT).all(|byte| *byte == 0).then_some(shown)
    }
}

impl Words for f64 {
    fn put(&self, to: &mut Cursor<'_>) {
        to.put(self.to_bits());
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        Some(Self::from_bits(from.get()?)).filter(|value| value.is_finite())
    }
}

impl Words for Option<f64> {
    fn put(&self, to: &mut Cursor<'_>) {
        to.put(self.map_or(MISSING, f64::to_bits));
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        match from.get()? {
            MISSING => Some(None),
            bits => Some(f64::from_bits(bits)).filter(|value| value.is_finite()).map(Some),
        }
    }
}

impl Words for Nanos {
    fn put(&self, to: &mut Cursor<'_>) {
        to.put(self.0);
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Words for Symbol {
    fn put(&self, to: &mut Cursor<'_>) {
        for half in self.to_bytes().as_chunks::<8>().0 {
            to.put(u64::from_le_bytes(*half));
        }
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        let mut bytes = [0; SYMBOL_BYTES];
        for half in bytes.as_chunks_mut::<8>().0 {
            *half = from.get()?.to_le_bytes();
        }
        Self::from_bytes(bytes)
    }
}

impl<T: Words + Copy + Default, const N: usize> Words for [T; N] {
    fn put(&self, to: &mut Cursor<'_>) {
        for value in self {
            value.put(to);
        }
    }
    fn get(from: &mut Cursor<'_>) -> Option<Self> {
        let mut values = [T::default(); N];
        for value in &mut values {
            *value = T::get(from)?;
        }
        Some(values)
    }
}

/// Writes and reads a struct field by field, in the order given.
macro_rules! words_struct {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl Words for $name {
            fn put(&self, to: &mut Cursor<'_>) {
                $(self.$field.put(to);)+
            }
            fn get(from: &mut Cursor<'_>) -> Option<Self> {
                Some(Self { $($field: Words::get(from)?,)+ })
            }
        }
    };
}

words_struct!(Motion {
    acceleration,
    jerk,
    acceleration_sd,
    jerk_sd,
    value_acceleration,
    value_jerk,
});

words_struct!(Report {
    symbol,
    kind,
    seq,
    episode,
    cause,
    at,
    received,
    taken,
    counts,
    usd,
    fast,
    slow,
    imbalance,
    breadth,
    dispersion,
    clustering,
    correlation,
    factors,
    risk,
    risk_level,
    confidence,
    components,
    evidence,
    significance,
    pressure,
    probability,
    level,
    regime,
    liquidity,
    trend,
    regime_since,
    volatility,
    velocity_scale,
    volume_scale,
    btc_price,
    price,
    oi_change,
    funding,
    by_venue,
    live,
    expected,
    shown,
    gap,
    saturated,
    coverage,
});

/// Words in one report.
pub const REPORT_WORDS: usize = 82;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_words_bit_for_bit() {
        let mut report = Report::empty(Symbol::BTC, Nanos(7));
        report.counts = [1, 2, 3, 4, 5, 6, 7];
        report.usd[6] = u64::MAX;
        report.factors[4] = Some(25.0);
        report.level = Level::Extreme;
        report.gap = true;
        report.shown.note(Venue::Binance, Completeness::Sampled);
        report.shown.note(Venue::Other, Completeness::Unknown);
        let mut words = [0; REPORT_WORDS];
        let mut cursor = Cursor::new(&mut words);
        report.put(&mut cursor);
        assert_eq!(cursor.position(), REPORT_WORDS);
        assert_eq!(Report::get(&mut Cursor::new(&mut words)), Some(report));
    }

    #[test]
    fn damaged_words_are_no_report() {
        let mut words = [u64::MAX; REPORT_WORDS];
        assert_eq!(Report::get(&mut Cursor::new(&mut words)), None);
        assert_eq!(Report::get(&mut Cursor::new(&mut [])), None);
    }
}
