//! All that is kept of one symbol, or of the market: windows, rhythm, quotes, and what was said.
//!
//! An *arrival* is an event with a venue millisecond of its own. Many events of one venue in one
//! millisecond are one portfolio liquidated, or one order sweeping many accounts: one thing that
//! happened. Counts are of events; whatever is judged statistically is judged by arrivals, which a
//! steady rate makes independent. Arrivals of 2 s are the dispersion. An arrival counts when its
//! first event does; telling a millisecond from those before takes the last 128 of the row.

use super::grid::{Grid, Places};
use super::kinematics::Lags;
use super::minute::Minute;
use super::past::Past;
use super::quotes::Quotes;
use super::seconds::{Seconds, Watch};
use super::settings::Shown;
use super::signal::Standing;
use super::window::{Share, Sum, Window};
use crate::event::{Completeness, Event, Side, Usd};
use crate::signal::{FAST, Level, SLOW, WINDOW_COUNT, WINDOW_MS};
use crate::time::{NS_PER_S, Nanos};

/// Position of the 60 s window.
pub const MINUTE: usize = 5;
/// Position of the 300 s window, which holds all that the others hold.
pub const WIDEST: usize = 6;
/// Venue milliseconds remembered.
const INSTANTS: usize = 128;
/// No instant: its venue does not exist.
const NEVER: u32 = u32::MAX;
/// A row of the table takes no more memory than this, everything included.
const ROW_BYTES: usize = 17 * 1024;

const _: () = assert!(size_of::<Row>() <= ROW_BYTES);

/// What one bucket counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Events.
    pub events: u32,
    /// Events with a venue millisecond of their own.
    pub arrivals: u32,
    /// Their value, micro-dollars.
    pub usd: u64,
}

/// Value by side, micro-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sides {
    long: u64,
    short: u64,
}

impl Sum for Load {
    #[inline]
    fn add(&mut self, other: Self) {
        self.events.add(other.events);
        self.arrivals.add(other.arrivals);
        self.usd.add(other.usd);
    }
    #[inline]
    fn sub(&mut self, other: Self) {
        self.events.sub(other.events);
        self.arrivals.sub(other.arrivals);
        self.usd.sub(other.usd);
    }
}

impl Share for Load {
    #[inline]
    fn share(self, part: u64) -> Self {
        Self {
            events: self.events.share(part),
            arrivals: self.arrivals.share(part),
            usd: self.usd.share(part),
        }
    }
}

/// A [`Load`] as it lies in a bucket: both counts in one word, so that they are added at once. A
/// window never holds 2^32 of either, so neither runs into the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Packed {
    /// Events, and arrivals above them.
    counts: u64,
    usd: u64,
}

impl Packed {
    #[inline]
    fn one(is_arrival: bool, usd: u64) -> Self {
        Self { counts: 1 | u64::from(is_arrival) << 32, usd }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the word")]
    fn load(self) -> Load {
        Load { events: self.counts as u32, arrivals: self.arrivals(), usd: self.usd }
    }

    #[inline]
    fn arrivals(self) -> u32 {
        (self.counts >> 32) as u32
    }
}

impl Sum for Packed {
    #[inline]
    fn add(&mut self, other: Self) {
        self.counts.add(other.counts);
        self.usd.add(other.usd);
    }
    #[inline]
    fn sub(&mut self, other: Self) {
        self.counts.sub(other.counts);
        self.usd.sub(other.usd);
    }
}

impl Sum for Sides {
    fn add(&mut self, other: Self) {
        self.long.add(other.long);
        self.short.add(other.short);
    }
    fn sub(&mut self, other: Self) {
        self.long.sub(other.long);
        self.short.sub(other.short);
    }
}

impl Share for Sides {
    fn share(self, part: u64) -> Self {
        Self { long: self.long.share(part), short: self.short.share(part) }
    }
}

/// Everything the windows of a row say at one moment, in whole numbers: the whole buckets, and of
/// the oldest the share that is still inside, rounded. All that is reported and scored follows from
/// these.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Each window now.
    pub now: [Load; WINDOW_COUNT],
    /// The 2 s window of lag 0, 1 and 2.
    pub fast: Lags<Load>,
    /// The 10 s window of lag 0, 1 and 2.
    pub slow: Lags<Load>,
}

impl Reading {
    /// Whether nothing is left to decay.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// The same, read as it is asked for: what every event is judged by is a small part of it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    row: &'a Row,
    grid: &'a Grid,
}

impl View<'_> {
    /// One window now.
    #[inline]
    #[must_use]
    pub fn now(self, window: usize) -> Load {
        self.part(window, Packed::load)
    }

    /// The arrivals of one window now.
    #[inline]
    #[must_use]
    pub fn arrivals(self, window: usize) -> u32 {
        self.part(window, Packed::arrivals)
    }

    /// The arrivals of the 2 s window of lag 0, 1 and 2.
    #[inline]
    #[must_use]
    pub fn fast(self) -> Lags<u32> {
        self.row.fast.read_part(self.grid.rest[FAST], Packed::arrivals)
    }

    #[inline]
    fn part<P: Share>(self, window: usize, part: impl Fn(Packed) -> P) -> P {
        let (row, rest) = (self.row, self.grid.rest[window]);
        if window < FAST {
            row.short[window].read_part(rest, part)[0]
        } else if window > SLOW {
            row.long[window - SLOW - 1].read_part(rest, part)[0]
        } else if window == FAST {
            row.fast.read_part(rest, part)[0]
        } else {
            row.slow.read_part(rest, part)[0]
        }
    }
}

/// A liquidation, as far as a row is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// When it counts.
    pub at: Nanos,
    /// The same, in buckets.
    pub places: Places,
    /// Its value; `None` when not known or not to be believed.
    pub usd: Option<Usd>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    short: [Window<Packed, 1>; FAST],
    fast: Window<Packed, 3>,
    slow: Window<Packed, 3>,
    long: [Window<Packed, 1>; WINDOW_COUNT - SLOW - 1],
    sides: Window<Sides, 1>,
    instants: [u32; INSTANTS],
    /// Counts per second.
    pub seconds: Seconds,
    /// Arrivals of the last five minutes.
    pub past: Past,
    /// Seconds and money of the last minute.
    pub minute: Minute,
    /// Price, open interest and funding.
    pub quotes: Quotes,
    /// The signal's level, and since when.
    pub standing: Standing,
    /// The bucket of 2 s in which the symbol was last seen; 0 for never.
    pub seen: u64,
    /// How much of the truth its sources show: a running mean of their shares.
    pub shown: f64,
    /// What was last said of it.
    pub said: Reading,
    /// When that was.
    pub said_at: Nanos,
    /// Whether it waits in the queue of rows to look at.
    pub queued: bool,
    /// When it is to be looked at again.
    pub due: Nanos,
    /// When it was last looked at.
    pub looked: Nanos,
}

impl Row {
    /// A row of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self {
            short: std::array::from_fn(|_| Window::new()),
            fast: Window::new(),
            slow: Window::new(),
            long: std::array::from_fn(|_| Window::new()),
            sides: Window::new(),
            instants: [NEVER; INSTANTS],
            seconds: Seconds::new(),
            past: Past::new([FAST, SLOW].map(|window| WINDOW_MS[window] as f64 / 1e3)),
            minute: Minute::new(),
            quotes: Quotes::default(),
            standing: Standing::default(),
            seen: 0,
            shown: 1.0,
            said: Reading::default(),
            said_at: Nanos(0),
            queued: false,
            due: Nanos(0),
            looked: Nanos(0),
        }
    }

    /// Moves on to the present.
    pub fn advance(&mut self, grid: &Grid, watch: Watch<'_>) {
        if grid.places[0] > self.short[0].head() {
            self.advance_windows(grid);
        }
        if self.seconds.advance(grid.second, watch) {
            self.past.advance(grid.second, watch.since);
            self.minute.advance(grid.second, watch.since);
            self.quotes.refresh(grid.now);
        }
    }

    /// Buckets nest: a window whose head stays where it is leaves all wider ones where they are.
    fn advance_windows(&mut self, grid: &Grid) {
        // Asks for the first line of every window at once, so that a cold row waits for memory once
        // and not window by window.
        std::hint::black_box(self.occupied());
        let [first, second] = &mut self.short;
        let [half_minute, minute, widest] = &mut self.long;
        let places = &grid.places;
        let _ = first.advance(places[0])
            && second.advance(places[1])
            && self.fast.advance(places[FAST])
            && self.slow.advance(places[SLOW])
            && half_minute.advance(places[SLOW + 1])
            && minute.advance(places[MINUTE])
            && self.sides.advance(places[MINUTE])
            && widest.advance(places[WIDEST]);
    }

    fn occupied(&self) -> u64 {
        let short = self.short.iter().fold(0, |all, window| all | window.occupied());
        let long = self.long.iter().fold(short, |all, window| all | window.occupied());
        long | self.fast.occupied() | self.slow.occupied() | self.sides.occupied()
    }

    /// Counts a liquidation; the row has been moved on to the present. `false` when it is older
    /// than the widest window, and counts nowhere.
    pub fn put(&mut self, event: &Event, hit: &Hit) -> bool {
        let usd = hit.usd.map_or(0, Usd::micros);
        let load = Packed::one(self.is_arrival(event, hit.at), usd);
        if !self.long[WIDEST - SLOW - 1].put(hit.places[WIDEST], load) {
            return false;
        }
        for (window, place) in self.short.iter_mut().zip(hit.places) {
            window.put(place, load);
        }
        self.fast.put(hit.places[FAST], load);
        self.slow.put(hit.places[SLOW], load);
        self.long[0].put(hit.places[SLOW + 1], load);
        self.long[1].put(hit.places[MINUTE], load);
        self.put_side(event, hit, usd);
        let second = hit.at.0 / NS_PER_S;
        self.seconds.put(second, event.venue);
        if load.arrivals() > 0 {
            self.past.put(second);
        }
        self.minute.put(second, usd);
        true
    }

    fn put_side(&mut self, event: &Event, hit: &Hit, usd: u64) {
        let crate::event::Body::Liquidation { side: Some(side), .. } = event.body else { return };
        // A product, since which of the two it is cannot be foretold.
        let of = |which| usd * u64::from(side == which);
        let sides = Sides { long: of(Side::Long), short: of(Side::Short) };
        if usd > 0 {
            self.sides.put(hit.places[MINUTE], sides);
        }
    }

    /// Whether the event's venue millisecond is new to the row. Without a venue time, the
    /// millisecond in which it counts.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "low bits wanted")]
    fn is_arrival(&mut self, event: &Event, at: Nanos) -> bool {
        const TIME_BITS: u32 = 29;
        let ms = event.stamp.venue_ms().unwrap_or_else(|| at.millis()) as u32;
        let venue = event.venue as u32;
        let instant = venue << TIME_BITS | ms & ((1 << TIME_BITS) - 1);
        // Venues are spread, so that the same millisecond of two does not meet in one place.
        let place = ms.wrapping_add(venue * 29) as usize % INSTANTS;
        std::mem::replace(&mut self.instants[place], instant) != instant
    }

    /// Keeps the running mean of how much the sources show.
    pub fn weigh(&mut self, completeness: Completeness, shown: &Shown) {
        let share = match completeness {
            Completeness::Sampled => shown.sampled,
            Completeness::Lossy => shown.lossy,
            Completeness::Complete | Completeness::Watched | Completeness::Unknown => 1.0,
        };
        self.shown += (share - self.shown) / 16.0;
    }

    /// What the windows say, each for itself.
    #[inline]
    #[must_use]
    pub fn view<'a>(&'a self, grid: &'a Grid) -> View<'a> {
        View { row: self, grid }
    }

    /// What the windows say, all of them.
    #[must_use]
    pub fn read(&self, grid: &Grid) -> Reading {
        let view = self.view(grid);
        Reading {
            now: std::array::from_fn(|window| view.now(window)),
            fast: self.fast.read_part(grid.rest[FAST], Packed::load),
            slow: self.slow.read_part(grid.rest[SLOW], Packed::load),
        }
    }

    /// Whether nothing is left to decay or to say.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let widest = &self.long[WIDEST - SLOW - 1];
        widest.is_empty() && self.said.is_zero() && self.standing.level == Level::None
    }

    /// Whether only the windows of 30 s and more still hold something, and no level stands.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.slow.is_empty() && self.standing.level == Level::None
    }

    /// Value in the widest window, micro-dollars: no other sum of the row is larger.
    #[must_use]
    pub fn usd(&self) -> u64 {
        self.long[WIDEST - SLOW - 1].sum().usd
    }

    /// (long - short) / (long + short) by value over 60 s.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for a ratio")]
    pub fn imbalance(&self, grid: &Grid) -> Option<f64> {
        let [Sides { long, short }] = self.sides.read(grid.rest[MINUTE]);
        let (long, short) = (long as f64, short as f64);
        (long + short > 0.0).then(|| (long - short) / (long + short))
    }
}

impl Default for Row {
    fn default() -> Self {
        Self::new()
    }
}
