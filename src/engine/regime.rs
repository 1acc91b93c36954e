//! The weather: how far, where to, and through how thin a book the reference price has been moving.
//!
//! Once a second each source of the reference price (a venue's trades, marks or book) is compared
//! with itself a second ago, and the mean of those log returns is the return of that second. Sources
//! are never compared with one another, since the basis between venues is larger than what a quiet
//! market moves. A second without news is 0 while any source spoke in the last ten, else missing.
//!
//! *Volatility* is the root mean square of the 1 s returns of 5 min. The *regime* follows the largest
//! of that, 3/4 of the volatility of 1 min (quick to rise) and half of that of 1 h (slow to forget);
//! it has hysteresis, and rises and falls only after a dwell. The *trend* is the sum of the returns
//! of 5 min in standard deviations of a walk of that volatility. *Liquidity* compares spread and depth
//! of each venue's book top with their own mean over about ten minutes.

use super::settings::Climate;
use crate::event::{Body, Event, VENUE_COUNT};
use crate::quote::price;
use crate::signal::{Liquidity, Regime, Trend};
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// Seconds the three volatilities look back: 1 min, 5 min, 1 h.
const SPANS: [u64; 3] = [60, 300, 3_600];
/// Position of 5 min in [`SPANS`].
const MIDDLE: usize = 1;
/// Returns kept.
const RETURNS: usize = 4_096;
/// A second of which nothing is known.
const MISSING: i32 = i32::MIN;
/// Returns are kept in billionths, at most half up or down.
const UNIT: f64 = 1e9;
const RETURN_MAX: f64 = 0.5;
/// A price that jumps by more than this share within a second is not believed...
const JUMP_MAX: f64 = 0.2;
/// ...until it was seen this often in a row.
const INSIST: u8 = 5;
/// Seconds without any source until returns are missing, not 0.
const PATIENCE: u64 = 10;
/// Trades, marks, books.
const KINDS: usize = 3;
/// Position of marks among them.
const MARK: usize = 1;
/// Share of a span that must be known.
const KNOWN: u64 = 2;
/// Seconds that a swing looks back, as a count and as bits of the newest...
const SWING_S: usize = 60;
const SWING_BITS: u64 = (1 << SWING_S) - 1;
/// ...of which so many must have been told, and one of the newest four.
const SWING_TOLD: u32 = 30;
const SWING_RECENT: u64 = 0b1111;
/// A trend begins at this many standard deviations, a strong one at twice as many.
const TREND_SD: f64 = 1.0;
/// Samples of a book's own past until it is judged, and those the mean looks back over.
const BOOK_LEAST: f64 = 60.0;
const BOOK_MOST: f64 = 600.0;

/// The reference market.
#[derive(Debug)]
pub struct Reference {
    settings: Climate,
    sources: [[Source; KINDS]; VENUE_COUNT],
    books: [Book; VENUE_COUNT],
    returns: Box<[i32]>,
    sums: [Sums; SPANS.len()],
    /// The second that is filling; 0 before the first.
    second: u64,
    /// When a source last spoke, in seconds.
    heard: u64,
    settled: bool,
    /// Last price of any source, USD.
    pub price: Option<f64>,
    /// Volatility over 5 min.
    pub volatility: Option<f64>,
    /// How far the price went in the last whole minute, either way, as a log return; `None` where
    /// nothing of it is known.
    pub moved: Option<f64>,
    /// How far apart the price was within the last minute, this second included, as a share of it,
    /// at the source where it was most; `None` unless trades or book tops tell it second by second.
    /// Marks do not: they are smoothed, and may be late.
    pub swing: Option<f64>,
    /// The regime.
    pub regime: Regime,
    /// Since when.
    pub since: Nanos,
    /// The trend.
    pub trend: Trend,
    /// The liquidity.
    pub liquidity: Liquidity,
}

impl Reference {
    /// Nothing known.
    #[must_use]
    pub fn new(settings: &Climate) -> Self {
        Self {
            settings: *settings,
            sources: Default::default(),
            books: Default::default(),
            returns: std::iter::repeat_n(MISSING, RETURNS).collect(),
            sums: Default::default(),
            second: 0,
            heard: 0,
            settled: false,
            price: None,
            volatility: None,
            moved: None,
            swing: None,
            regime: Regime::Normal,
            since: Nanos(0),
            trend: Trend::Flat,
            liquidity: Liquidity::Normal,
        }
    }

    /// Takes other scales, which count at once, and other bounds, which count from the next second on.
    pub fn tune(&mut self, settings: &Climate) {
        self.settings = *settings;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.returns.fill(MISSING);
        self.sources = Default::default();
        self.books = Default::default();
        self.sums = Default::default();
        (self.second, self.heard, self.settled) = (0, 0, false);
        (self.price, self.volatility, self.moved, self.swing) = (None, None, None, None);
        (self.regime, self.since) = (Regime::Normal, Nanos(0));
        (self.trend, self.liquidity) = (Trend::Flat, Liquidity::Normal);
    }

    /// Times the rungs of velocity, and of volume.
    #[must_use]
    pub fn scales(&self) -> (f64, f64) {
        let regime = self.regime as usize;
        (self.settings.velocity_scales[regime], self.settings.volume_scales[regime])
    }

    /// Takes an event of the reference market, if it tells a price.
    pub fn take(&mut self, event: &Event) {
        let Some(price) = price(&event.body) else { return };
        let kind = match event.body {
            Body::Trade { .. } => 0,
            Body::Mark { .. } => MARK,
            _ => 2,
        };
        let venue = event.venue.index();
        let source = &mut self.sources[venue][kind];
        if source.put(price) {
            if kind != MARK {
                let seen = source.swing.read();
                self.swing = most(self.swing, seen);
            }
            self.price = Some(price);
            self.heard = self.second;
        }
        if let Body::Book { depth_usd, bid, ask } = event.body {
            self.books[venue].put(ask.get() - bid.get(), depth_usd.map(|usd| f64::from(usd.get())));
        }
    }

    /// Moves on to the present, closing the seconds in between.
    pub fn advance(&mut self, now: Nanos) {
        let second = now.0 / NS_PER_S;
        if second <= self.second {
            return;
        }
        if self.second == 0 || second - self.second > RETURNS as u64 {
            self.clear();
            (self.second, self.since) = (second, now);
            return;
        }
        while self.second < second {
            self.close();
            self.second += 1;
        }
        self.judge(now);
    }

    /// Ends the second that is filling.
    fn close(&mut self) {
        let value = self.close_sources();
        for (sums, span) in self.sums.iter_mut().zip(SPANS) {
            let leaving = self.second.checked_sub(span).map(|second| self.returns[at(second)]);
            sums.pass(value, leaving.unwrap_or(MISSING));
        }
        self.returns[at(self.second)] = value;
        self.books.iter_mut().for_each(Book::close);
    }

    #[expect(clippy::cast_possible_truncation, reason = "clamped to half a billion")]
    fn close_sources(&mut self) -> i32 {
        let moves = self.sources.iter_mut().flatten().filter_map(Source::close);
        let (sum, n) = moves.fold((0.0, 0.0), |(sum, n), one| (sum + one, n + 1.0));
        let quick = self.sources.iter().flat_map(|[trades, _, books]| [trades, books]);
        self.swing = quick.map(|source| source.swing.read()).fold(None, most);
        if n > 0.0 {
            ((sum / n).clamp(-RETURN_MAX, RETURN_MAX) * UNIT).round() as i32
        } else if self.price.is_some() && self.second - self.heard < PATIENCE {
            0
        } else {
            MISSING
        }
    }

    fn judge(&mut self, now: Nanos) {
        let [minute, middle, hour] =
            [0, 1, 2].map(|i| self.sums[i].volatility(SPANS[i].min(SPANS[MIDDLE])));
        self.volatility = middle;
        self.moved = self.sums[0].walked().map(f64::abs);
        let measure = middle
            .map(|middle| middle.max(0.75 * minute.unwrap_or(0.0)).max(0.5 * hour.unwrap_or(0.0)));
        self.settle(measure, now);
        self.trend = middle.map_or(Trend::Flat, |rms| self.sums[MIDDLE].trend(rms));
        self.liquidity = liquidity(&self.books);
    }

    fn settle(&mut self, measure: Option<f64>, now: Nanos) {
        let next = match measure {
            None => Regime::Normal,
            Some(measure) if !self.settled => reached(measure, &self.settings.bounds),
            Some(measure) => self.moved(measure, now),
        };
        self.settled = measure.is_some();
        if next != self.regime {
            (self.regime, self.since) = (next, now);
        }
    }

    /// The regime `measure` leads to, after hysteresis and dwell.
    fn moved(&self, measure: f64, now: Nanos) -> Regime {
        let lasted = now.since(self.since);
        let up = reached(measure, &self.settings.bounds);
        let down =
            reached(measure, &self.settings.bounds.map(|b| b * (1.0 - self.settings.margin)));
        if up > self.regime && lasted >= self.settings.rise_ms * NS_PER_MS {
            up
        } else if down < self.regime && lasted >= self.settings.fall_ms * NS_PER_MS {
            down
        } else {
            self.regime
        }
    }
}

fn reached(measure: f64, bounds: &[f64; 5]) -> Regime {
    let above = bounds.iter().filter(|&&bound| measure >= bound).count();
    Regime::ALL.get(above).copied().unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "below the number of returns")]
fn at(second: u64) -> usize {
    (second % RETURNS as u64) as usize
}

/// One source of the reference price.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    /// At the end of the last second it spoke in.
    then: Option<f64>,
    /// In this second.
    now: Option<f64>,
    doubted: u8,
    swing: Swing,
}

impl Source {
    /// Takes a price; `false` when it is not believed.
    fn put(&mut self, price: f64) -> bool {
        let known = self.now.or(self.then);
        if known.is_some_and(|known| (price / known - 1.0).abs() > JUMP_MAX) {
            self.doubted += 1;
            if self.doubted < INSIST {
                return false;
            }
            self.then = None;
        }
        self.doubted = 0;
        self.now = Some(price);
        self.swing.put(self.then.map_or(0.0, |then| price / then - 1.0));
        true
    }

    /// The log return of the second that ends, if it spoke in it and before.
    fn close(&mut self) -> Option<f64> {
        let moved = self.moved();
        self.swing.close(moved.unwrap_or(0.0));
        moved
    }

    fn moved(&mut self) -> Option<f64> {
        let now = self.now.take()?;
        let then = self.then.replace(now)?;
        Some((now / then).ln())
    }
}

fn most(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// How far apart one source's price was within a minute.
#[derive(Clone, Copy, Debug)]
struct Swing {
    /// Returns of the last whole seconds, the newest at `next - 1`.
    returns: [f64; SWING_S],
    next: usize,
    /// Highest and lowest of that minute, seen from its end.
    whole: (f64, f64),
    /// The same of the second that is filling.
    filling: (f64, f64),
    /// Seconds that were told, as bits; the lowest is the one that is filling.
    told: u64,
}

impl Default for Swing {
    fn default() -> Self {
        Self { returns: [0.0; SWING_S], next: 0, whole: (0.0, 0.0), filling: (0.0, 0.0), told: 0 }
    }
}

impl Swing {
    /// A price that is this much above the end of the last second.
    fn put(&mut self, above: f64) {
        self.filling = (self.filling.0.max(above), self.filling.1.min(above));
        self.told |= 1;
    }

    /// Ends a second with this return.
    fn close(&mut self, value: f64) {
        if self.told == 0 {
            return;
        }
        if let Some(slot) = self.returns.get_mut(self.next) {
            *slot = value;
        }
        self.next = (self.next + 1) % SWING_S;
        (self.whole, self.filling) = ((0.0, 0.0), (0.0, 0.0));
        let mut above = 0.0;
        let (newer, older) = self.returns.split_at(self.next);
        for value in newer.iter().rev().chain(older.iter().rev()) {
            above -= value;
            self.whole = (self.whole.0.max(above), self.whole.1.min(above));
        }
        self.told <<= 1;
    }

    fn read(&self) -> Option<f64> {
        let (high, low) = (self.whole.0.max(self.filling.0), self.whole.1.min(self.filling.1));
        let is_known =
            (self.told & SWING_BITS).count_ones() >= SWING_TOLD && self.told & SWING_RECENT != 0;
        is_known.then_some(high - low)
    }
}

/// Running sums of the returns of one span, in integers.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    known: u64,
    sum: i64,
    squares: i128,
}

impl Sums {
    fn pass(&mut self, entering: i32, leaving: i32) {
        if entering != MISSING {
            self.known += 1;
            self.sum += i64::from(entering);
            self.squares += i128::from(entering) * i128::from(entering);
        }
        if leaving != MISSING {
            self.known -= 1;
            self.sum -= i64::from(leaving);
            self.squares -= i128::from(leaving) * i128::from(leaving);
        }
    }

    /// Root mean square, once enough of `span` seconds is known.
    #[expect(clippy::cast_precision_loss, reason = "for a root")]
    fn volatility(&self, span: u64) -> Option<f64> {
        (self.known * KNOWN >= span)
            .then(|| (self.squares as f64 / self.known as f64).sqrt() / UNIT)
    }

    /// The sum of the returns, if any is known.
    #[expect(clippy::cast_precision_loss, reason = "for comparison")]
    fn walked(&self) -> Option<f64> {
        (self.known > 0).then(|| self.sum as f64 / UNIT)
    }

    #[expect(clippy::cast_precision_loss, reason = "for a ratio")]
    fn trend(&self, rms: f64) -> Trend {
        let spread = rms * (self.known as f64).sqrt();
        let walked = self.walked().unwrap_or(0.0);
        let sd = if spread > 0.0 { walked / spread } else { 0.0 };
        match sd {
            sd if sd >= 2.0 * TREND_SD => Trend::StrongUp,
            sd if sd >= TREND_SD => Trend::Up,
            sd if sd <= -2.0 * TREND_SD => Trend::StrongDown,
            sd if sd <= -TREND_SD => Trend::Down,
            _ => Trend::Flat,
        }
    }
}

/// Spread and depth of one venue's book top, and their mean.
#[derive(Clone, Copy, Debug, Default)]
struct Book {
    /// The last one of this second.
    now: Option<(f64, f64)>,
    samples: f64,
    spread: f64,
    depth: f64,
    /// Spread and depth against their mean, at the end of the last second with news.
    against: Option<(f64, f64)>,
}

impl Book {
    fn put(&mut self, spread: f64, depth: Option<f64>) {
        if let Some(depth) = depth.filter(|_| spread > 0.0) {
            self.now = Some((spread, depth));
        }
    }

    fn close(&mut self) {
        let Some((spread, depth)) = self.now.take() else { return };
        self.against =
            (self.samples >= BOOK_LEAST).then(|| (spread / self.spread, depth / self.depth));
        self.samples = (self.samples + 1.0).min(BOOK_MOST);
        self.spread += (spread - self.spread) / self.samples;
        self.depth += (depth - self.depth) / self.samples;
    }
}

/// The mean over the venues' books of how they stand against themselves.
fn liquidity(books: &[Book; VENUE_COUNT]) -> Liquidity {
    let (mut spread, mut depth, mut n) = (0.0, 0.0, 0.0);
    for (wide, deep) in books.iter().filter_map(|book| book.against) {
        (spread, depth, n) = (spread + wide, depth + deep, n + 1.0);
    }
    match (spread / n, depth / n) {
        _ if n == 0.0 => Liquidity::Normal,
        (spread, depth) if spread >= 5.0 || depth <= 0.2 => Liquidity::Illiquid,
        (spread, depth) if spread >= 2.0 || depth <= 0.5 => Liquidity::Shallow,
        (spread, depth) if spread <= 1.2 && depth >= 1.5 => Liquidity::Deep,
        _ => Liquidity::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Price, Taker, Venue};
    use crate::symbol::Symbol;
    use std::num::NonZeroU32;

    const START_S: u64 = 1_700_000_000;

    fn event(second: u64, venue: Venue, body: Body) -> Event {
        let mut event = Event::tick(Nanos((START_S + second) * NS_PER_S));
        (event.symbol, event.venue, event.body) = (Symbol::BTC, venue, body);
        event
    }

    fn trade(reference: &mut Reference, second: u64, venue: Venue, price: f64) {
        let price = Price::new(price).unwrap();
        let event = event(second, venue, Body::Trade { taker: Taker::Buy, price, usd: None });
        reference.advance(event.received);
        reference.take(&event);
    }

    /// A price that steps up and down by `step` each second.
    fn shaken(reference: &mut Reference, from: u64, seconds: u64, step: f64) {
        for second in from..from + seconds {
            let price = 1e5 * if second % 2 == 0 { 1.0 } else { 1.0 + step };
            trade(reference, second, Venue::Binance, price);
        }
    }

    #[test]
    fn volatility_is_the_root_mean_square_of_returns() {
        let mut reference = Reference::new(&Climate::default());
        shaken(&mut reference, 0, 149, 1e-4);
        assert_eq!(reference.volatility, None, "half of five minutes must be known");
        shaken(&mut reference, 149, 200, 1e-4);
        let volatility = reference.volatility.unwrap();
        assert!((volatility - 1e-4).abs() < 1e-8, "{volatility}");
        assert_eq!(reference.regime, Regime::Normal);
    }

    #[test]
    fn the_basis_between_venues_is_no_volatility() {
        let mut reference = Reference::new(&Climate::default());
        for second in 0..400 {
            let (venue, price) =
                if second % 2 == 0 { (Venue::Binance, 100_000.0) } else { (Venue::Okx, 100_100.0) };
            trade(&mut reference, second, venue, price);
        }
        assert_eq!(reference.volatility, Some(0.0));
        assert_eq!(reference.regime, Regime::Dormant);
    }

    #[test]
    fn the_regime_rises_after_a_dwell_and_falls_after_a_longer_one() {
        let mut reference = Reference::new(&Climate::default());
        shaken(&mut reference, 0, 400, 1e-4);
        assert_eq!(reference.scales(), (1.0, 1.0));
        shaken(&mut reference, 400, 60, 1.5e-3);
        assert_eq!(reference.regime, Regime::Extreme);
        assert_eq!(reference.scales(), (2.5, 2.0));
        let since = reference.since;
        shaken(&mut reference, 460, 100, 1e-4);
        assert_eq!((reference.regime, reference.since), (Regime::Extreme, since), "5 min remember");
        shaken(&mut reference, 560, 600, 1e-4);
        assert!(reference.regime < Regime::Extreme);
    }

    #[test]
    fn a_swing_is_what_lies_between_the_prices_of_a_minute_this_second_included() {
        let mut reference = Reference::new(&Climate::default());
        shaken(&mut reference, 0, 29, 1e-4);
        assert_eq!(reference.swing, None, "half a minute must be known");
        shaken(&mut reference, 29, 201, 1e-4);
        let near = |swing: Option<f64>, expected: f64| {
            assert!((swing.unwrap() - expected).abs() < 1e-6, "{swing:?} {expected}");
        };
        near(reference.swing, 1e-4);
        trade(&mut reference, 230, Venue::Binance, 1e5 * (1.0 - 9e-4));
        near(reference.swing, 1e-3);
        shaken(&mut reference, 231, 62, 1e-4);
        near(reference.swing, 1e-4);
    }

    #[test]
    fn a_frozen_venue_does_not_make_a_moving_price_flat_and_marks_say_nothing() {
        let mut reference = Reference::new(&Climate::default());
        for second in 0..100 {
            trade(&mut reference, second, Venue::Okx, 1e5);
        }
        assert_eq!(reference.swing, Some(0.0));
        for second in 100..200 {
            trade(&mut reference, second, Venue::Okx, 1e5);
            #[expect(clippy::cast_precision_loss, reason = "seconds")]
            let price = 1e5 * (1.0 - 1e-5 * (second - 100) as f64);
            trade(&mut reference, second, Venue::Binance, price);
        }
        assert!(reference.swing > Some(5.8e-4), "{:?}", reference.swing);
        reference.advance(Nanos((START_S + 210) * NS_PER_S));
        assert_eq!(reference.swing, None, "nothing was heard of late");

        let mut marks = Reference::new(&Climate::default());
        for second in 0..100 {
            let price = Price::new(1e5).unwrap();
            let event = event(second, Venue::Okx, Body::Mark { price, index: None });
            marks.advance(event.received);
            marks.take(&event);
        }
        assert_eq!((marks.moved, marks.swing), (Some(0.0), None));
    }

    #[test]
    fn a_foreign_price_is_not_believed_at_once() {
        let mut reference = Reference::new(&Climate::default());
        shaken(&mut reference, 0, 400, 1e-4);
        trade(&mut reference, 400, Venue::Binance, 10.0);
        assert!(reference.price.is_some_and(|price| price > 99_000.0));
        (0..5).for_each(|_| trade(&mut reference, 400, Venue::Binance, 10.0));
        assert_eq!(reference.price, Some(10.0));
        trade(&mut reference, 401, Venue::Binance, 10.0);
        assert!(reference.volatility.is_some_and(|v| v < 2e-4), "no return across the doubt");
    }

    #[test]
    fn a_silent_reference_is_unknown_not_calm() {
        let mut reference = Reference::new(&Climate::default());
        shaken(&mut reference, 0, 400, 1e-3);
        assert_ne!(reference.regime, Regime::Normal);
        reference.advance(Nanos((START_S + 700) * NS_PER_S));
        assert_eq!((reference.volatility, reference.regime), (None, Regime::Normal));
    }

    #[test]
    fn a_price_that_walks_one_way_has_a_trend() {
        let mut reference = Reference::new(&Climate::default());
        for second in 0..400 {
            trade(&mut reference, second, Venue::Okx, 1e5 * (1.0 - 1e-5 * second as f64));
        }
        assert_eq!(reference.trend, Trend::StrongDown);
    }

    #[test]
    fn a_book_is_judged_against_its_own_past() {
        let mut reference = Reference::new(&Climate::default());
        let price = |value| Price::new(value).unwrap();
        let mut book = |second, depth| {
            let depth_usd = NonZeroU32::new(depth);
            let body = Body::Book { depth_usd, bid: price(99_999.9), ask: price(100_000.0) };
            let event = event(second, Venue::Bybit, body);
            reference.advance(event.received);
            reference.take(&event);
            reference.liquidity
        };
        (0..100).for_each(|second| assert_eq!(book(second, 1_000_000), Liquidity::Normal));
        book(100, 400_000);
        assert_eq!(book(101, 100_000), Liquidity::Shallow);
        assert_eq!(book(102, 2_000_000), Liquidity::Illiquid);
        assert_eq!(book(103, 1_000_000), Liquidity::Deep);
    }
}
