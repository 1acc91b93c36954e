//! A market with a story: quiet, building up, a cascade, calm again.
//!
//! Prices walk at random, all coins after one common factor. Liquidations excite one another:
//!
//! ```text
//! rate = base(act) + branching(act) / τ · heat       heat decays with τ and grows by 1 per liquidation
//! ```
//!
//! and each pushes its price the way it trades, so that a fall feeds itself. Time is told: the market
//! advances in steps of [`STEP_MS`] from its start and never looks at a clock.

use super::coins::{COINS, Listing, listings};
use super::random::Random;
use crate::event::{Side, Taker, VENUE_COUNT, Venue};
use crate::time::Millis;

/// One step of the market, ms.
pub const STEP_MS: i64 = 10;
const STEP_S: f64 = 0.01;
/// How long one liquidation excites others, s.
const TAU: f64 = 0.8;
/// No more liquidations than this, events/s.
const RATE_MAX: f64 = 150.0;
const BOOK_EVERY_MS: i64 = 100;
const CONTEXT_EVERY_MS: i64 = 1_000;

/// How long each act lasts, and when the story begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Seconds of an ordinary market.
    pub quiet_s: f64,
    /// Seconds in which liquidations become more.
    pub build_s: f64,
    /// Seconds of cascade.
    pub cascade_s: f64,
    /// Seconds of recovery.
    pub calm_s: f64,
    /// The story begins when this many lines have subscribed...
    pub lines: usize,
    /// ...or after this long, ms.
    pub patience_ms: u64,
}

impl Schedule {
    /// The demo: forty seconds.
    #[must_use]
    pub fn demo() -> Self {
        let (quiet_s, build_s, cascade_s, calm_s) = (8.0, 10.0, 12.0, 10.0);
        Self { quiet_s, build_s, cascade_s, calm_s, lines: 6, patience_ms: 10_000 }
    }

    /// The same story, told in `duration`.
    #[must_use]
    pub fn within(self, duration: std::time::Duration) -> Self {
        let Self { quiet_s, build_s, cascade_s, calm_s, .. } = self;
        let scale = duration.as_secs_f64() / (quiet_s + build_s + cascade_s + calm_s);
        let [quiet_s, build_s, cascade_s, calm_s] =
            [quiet_s, build_s, cascade_s, calm_s].map(|seconds| seconds * scale);
        Self { quiet_s, build_s, cascade_s, calm_s, ..self }
    }

    /// Where `s` seconds into the story are: the act, and how far through it, 0..1.
    fn act(&self, s: f64) -> (Act, f64) {
        let mut from = 0.0;
        for (act, length) in [
            (Act::Quiet, self.quiet_s),
            (Act::BuildUp, self.build_s),
            (Act::Cascade, self.cascade_s),
            (Act::Calm, self.calm_s),
        ] {
            if s < from + length {
                return (act, (s - from) / length);
            }
            from += length;
        }
        (Act::Over, 1.0)
    }
}

/// The acts of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Prices stand, trades go on, nobody is liquidated: the audience is still coming in.
    Waiting,
    /// An ordinary market.
    Quiet,
    /// Liquidations become more.
    BuildUp,
    /// They feed on each other.
    Cascade,
    /// They die down.
    Calm,
    /// The story is told; prices go on.
    Over,
}

/// What an act is like.
struct Mood {
    /// Liquidations per second that nothing caused.
    base: f64,
    /// Liquidations caused by each one.
    branching: f64,
    /// Standard deviation of the common factor per square root of a second.
    volatility: f64,
    /// Drift of the common factor per second.
    drift: f64,
    /// Share of liquidations that are of longs.
    longs: f64,
    /// Median value of a liquidation, USD.
    median_usd: f64,
    /// Trades per second and listing.
    trades: f64,
}

#[rustfmt::skip]
fn mood(act: Act, through: f64) -> Mood {
    let between = |a: f64, b: f64| a + (b - a) * through;
    match act {
        Act::Waiting => Mood { base: 0.0, branching: 0.0, volatility: 0.0, drift: 0.0,
            longs: 0.5, median_usd: 2e3, trades: 2.0 },
        Act::Over => Mood { base: 0.0, branching: 0.0, volatility: 4e-5, drift: 0.0,
            longs: 0.5, median_usd: 2e3, trades: 2.0 },
        Act::Quiet => Mood { base: 0.5, branching: 0.2, volatility: 4e-5, drift: 0.0,
            longs: 0.5, median_usd: 2e3, trades: 2.0 },
        Act::BuildUp => Mood { base: between(1.0, 4.0), branching: between(0.3, 0.7),
            volatility: between(6e-5, 2e-4), drift: between(-1e-4, -6e-4),
            longs: between(0.6, 0.85), median_usd: between(2e3, 6e3), trades: between(3.0, 12.0) },
        Act::Cascade => Mood { base: 8.0, branching: 0.85, volatility: 6e-4, drift: -1.5e-3,
            longs: 0.93, median_usd: 1.2e4, trades: 30.0 },
        Act::Calm => Mood { base: between(3.0, 0.4), branching: between(0.4, 0.2),
            volatility: between(3e-4, 8e-5), drift: between(1.2e-3, 1e-4),
            longs: between(0.7, 0.5), median_usd: between(6e3, 2e3), trades: between(12.0, 3.0) },
    }
}

/// Something that truly happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    /// Position in [`Market::listings`].
    pub listing: usize,
    /// When, wall clock ms.
    pub at_ms: i64,
    /// A number of its own, growing.
    pub id: u64,
    /// What.
    pub what: What,
}

/// Kinds of items. Prices are USD per coin, sizes in the venue's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// A position was closed by force; the trade it caused follows as an item of its own.
    Liquidation {
        /// The position's side.
        side: Side,
        /// Average fill.
        price: f64,
        /// Units.
        size: f64,
    },
    /// A trade.
    Trade {
        /// Who took.
        taker: Taker,
        /// Price.
        price: f64,
        /// Units.
        size: f64,
    },
    /// The book's top.
    Book {
        /// Best bid and its units.
        bid: (f64, f64),
        /// Best ask and its units.
        ask: (f64, f64),
    },
    /// Mark and index price, funding rate, open interest in units.
    Context {
        /// Mark price.
        mark: f64,
        /// Index price.
        index: f64,
        /// Fraction per interval.
        funding: f64,
        /// Open interest, units.
        open: f64,
    },
}

/// The market.
#[derive(Debug)]
pub struct Market {
    schedule: Schedule,
    random: Random,
    listings: Vec<Listing>,
    prices: Vec<f64>,
    heat: f64,
    now_ms: i64,
    /// From where the phases of books and contexts count.
    origin_ms: i64,
    began_ms: Option<i64>,
    seed: u64,
    next_id: u64,
}

/// Liquidations by venue, relative.
const SHARES: [(Venue, f64); 4] =
    [(Venue::Binance, 0.36), (Venue::Bybit, 0.34), (Venue::Okx, 0.2), (Venue::Hyperliquid, 0.1)];
const _: () = assert!(SHARES.len() < VENUE_COUNT);

impl Market {
    /// A market that waits; [`Self::begin`] starts its story.
    #[must_use]
    pub fn new(seed: u64, schedule: Schedule, start: Millis) -> Self {
        Self {
            schedule,
            random: Random::new(seed),
            listings: listings(),
            prices: COINS.iter().map(|coin| coin.price).collect(),
            heat: 0.0,
            now_ms: start.0,
            origin_ms: start.0,
            seed,
            began_ms: None,
            next_id: 1,
        }
    }

    /// What is traded, and where.
    #[must_use]
    pub fn listings(&self) -> &[Listing] {
        &self.listings
    }

    /// The market's time, wall clock ms.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The story begins now, if it has not. How long the market waited makes no difference to it.
    pub fn begin(&mut self) {
        if self.began_ms.is_none() {
            self.began_ms = Some(self.now_ms);
            self.origin_ms = self.now_ms;
            self.random = Random::new(self.seed);
        }
    }

    /// The present act.
    #[must_use]
    pub fn act(&self) -> Act {
        self.scene().0
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a story")]
    fn scene(&self) -> (Act, f64) {
        let into = |began: i64| self.schedule.act((self.now_ms - began) as f64 / 1000.0);
        self.began_ms.map_or((Act::Waiting, 0.0), into)
    }

    /// Advances by one step; what happened is appended in order of time.
    pub fn step(&mut self, items: &mut Vec<Item>) {
        let (act, through) = self.scene();
        let mood = mood(act, through);
        self.walk(&mood);
        self.references(&mood, items);
        self.heat *= (-STEP_S / TAU).exp();
        let rate = (mood.base + mood.branching / TAU * self.heat).min(RATE_MAX);
        for _ in 0..self.random.poisson(rate * STEP_S) {
            self.liquidate(&mood, items);
        }
        self.now_ms += STEP_MS;
    }

    fn walk(&mut self, mood: &Mood) {
        let noise = mood.volatility * STEP_S.sqrt();
        let common = mood.drift * STEP_S + noise * self.random.normal();
        for price in &mut self.prices {
            *price *= (common + 0.6 * noise * self.random.normal()).exp();
        }
    }

    /// Trades, books and contexts of the reference coins.
    fn references(&mut self, mood: &Mood, items: &mut Vec<Item>) {
        for at in 0..self.listings.len() {
            if !self.listings.get(at).is_some_and(Listing::is_reference) {
                continue;
            }
            // Each listing has its own phase, so that venues do not speak in one voice.
            let phase = self.now_ms - self.origin_ms + 10 * i64::try_from(at).unwrap_or(0);
            for _ in 0..self.random.poisson(mood.trades * STEP_S) {
                self.trade(mood, at, items);
            }
            if phase % BOOK_EVERY_MS == 0 {
                self.book(mood, at, items);
            }
            if phase % CONTEXT_EVERY_MS == 0 {
                self.context(mood, at, items);
            }
        }
    }

    fn trade(&mut self, mood: &Mood, at: usize, items: &mut Vec<Item>) {
        let selling = 0.5 + (mood.longs - 0.5) * 0.5;
        let taker = if self.random.chance(selling) { Taker::Sell } else { Taker::Buy };
        let usd = 1_500.0 * (1.2 * self.random.normal()).exp();
        let price = self.price(at);
        let size = self.listings.get(at).map_or(0.0, |listing| listing.units(usd, price));
        self.tell(at, What::Trade { taker, price, size }, items);
    }

    fn book(&mut self, mood: &Mood, at: usize, items: &mut Vec<Item>) {
        let price = self.price(at);
        // Makers step back when it gets wild: a wider spread, a thinner book.
        let wild = (mood.volatility / 4e-5).max(1.0);
        let half = price * 5e-6 * wild.sqrt();
        let depth = 400_000.0 / wild * (0.4 * self.random.normal()).exp();
        let Some(listing) = self.listings.get(at) else { return };
        // Rounded to the venue's ticks, bid and ask must still stand apart.
        let half = half.max(0.75 * listing.tick());
        let (bid, ask) = (price - half, price + half);
        let lean = self.random.unit();
        let bid = (bid, listing.units(depth * lean, bid));
        let ask = (ask, listing.units(depth * (1.0 - lean), ask));
        self.tell(at, What::Book { bid, ask }, items);
    }

    fn context(&mut self, mood: &Mood, at: usize, items: &mut Vec<Item>) {
        let index = self.price(at);
        let mark = index * (1.0 + 2e-5 * self.random.normal());
        let open_usd = 2e9 * (1.0 + mood.drift * 20.0);
        let open = self.listings.get(at).map_or(0.0, |listing| listing.units(open_usd, index));
        let funding = 1e-4 + mood.drift * 0.1;
        self.tell(at, What::Context { mark, index, funding, open }, items);
    }

    fn liquidate(&mut self, mood: &Mood, items: &mut Vec<Item>) {
        let venue = self.random.pick(SHARES.iter().map(|(_, share)| *share));
        let Some((venue, _)) = SHARES.get(venue) else { return };
        let weight = |listing: &Listing| {
            let here = listing.venue == *venue;
            if here { COINS.get(listing.coin).map_or(0.0, |coin| coin.weight) } else { 0.0 }
        };
        let at = self.random.pick(self.listings.iter().map(weight));
        let long = self.random.chance(mood.longs);
        let (side, way, taker) =
            if long { (Side::Long, -1.0, Taker::Sell) } else { (Side::Short, 1.0, Taker::Buy) };
        let Some(listing) = self.listings.get(at) else { return };
        let weight = COINS.get(listing.coin).map_or(1.0, |coin| coin.weight);
        let usd = mood.median_usd * weight.sqrt() * (1.1 * self.random.normal()).exp();
        let price = self.price(at) * (1.0 + way * 3e-4 * self.random.unit());
        let size = listing.units(usd, price);
        self.push(at, way * 2e-5, way * usd / 4e8);
        self.heat += 1.0;
        self.tell(at, What::Liquidation { side, price, size }, items);
        self.tell(at, What::Trade { taker, price, size }, items);
    }

    /// A forced order moves its own coin, and all of them a little.
    fn push(&mut self, at: usize, own: f64, common: f64) {
        let coin = self.listings.get(at).map_or(0, |listing| listing.coin);
        for (i, price) in self.prices.iter_mut().enumerate() {
            *price *= (common + if i == coin { own } else { 0.0 }).exp();
        }
    }

    fn price(&self, at: usize) -> f64 {
        let coin = self.listings.get(at).map_or(0, |listing| listing.coin);
        self.prices.get(coin).copied().unwrap_or(1.0)
    }

    fn tell(&mut self, listing: usize, what: What, items: &mut Vec<Item>) {
        items.push(Item { listing, at_ms: self.now_ms, id: self.next_id, what });
        self.next_id += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Liquidations per act, and BTC's last price.
    fn story(seed: u64) -> (Vec<Item>, [usize; 6], f64) {
        let mut market = Market::new(seed, Schedule::demo(), Millis(1_790_000_000_000));
        let (mut all, mut counts) = (Vec::new(), [0; 6]);
        market.begin();
        while market.act() != Act::Over {
            let (act, from) = (market.act(), all.len());
            market.step(&mut all);
            let forced = |item: &&Item| matches!(item.what, What::Liquidation { .. });
            counts[act as usize] += all[from..].iter().filter(forced).count();
        }
        (all, counts, market.prices[0])
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        assert_eq!(story(5).0, story(5).0);
        assert_ne!(story(5).0, story(6).0);
    }

    #[test]
    fn every_seed_has_a_cascade_and_only_one() {
        for seed in 0..20 {
            let (_, [_, quiet, build, cascade, calm, _], btc) = story(seed);
            assert!(quiet < 30, "{quiet}");
            assert!(build > quiet && cascade > 3 * build, "{build} {cascade}");
            assert!(cascade > 150 && calm < cascade / 3, "{cascade} {calm}");
            assert!(btc < 0.99 * COINS[0].price && btc > 0.8 * COINS[0].price, "{btc}");
        }
    }

    #[test]
    fn how_long_the_street_waited_makes_no_difference() {
        let told = |waited: i64| {
            let mut market = Market::new(9, Schedule::demo(), Millis(1_790_000_000_003));
            let mut items = Vec::new();
            (0..waited).for_each(|_| market.step(&mut items));
            items.clear();
            market.begin();
            (0..1_500).for_each(|_| market.step(&mut items));
            let from = 1_790_000_000_003 + waited * STEP_MS;
            items
                .iter()
                .map(|item| (item.listing, item.at_ms - from, item.what))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(0), told(777));
    }

    #[test]
    fn nobody_is_liquidated_while_the_street_waits() {
        let mut market = Market::new(1, Schedule::demo(), Millis(0));
        let mut items = Vec::new();
        (0..500).for_each(|_| market.step(&mut items));
        assert!(items.iter().all(|item| !matches!(item.what, What::Liquidation { .. })));
        assert!(items.iter().any(|item| matches!(item.what, What::Context { .. })));
    }
}
