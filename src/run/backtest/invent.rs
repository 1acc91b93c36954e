//! Markets that never were: cascades and what only looks like one, of drawn physics, as a test that
//! nothing was fitted to.
//!
//! A [`Plot`] is what truly happens; everything about it is drawn from the seed: how many coins there
//! are, the usual flow and its sizes, which venues show it and how (all of it in batches, some of it,
//! at most one per coin and second), whether trades of BTC tell the price, and how far, how fast and
//! how steeply it moves. Ten minutes of an ordinary market come first.
//!
//! | plot | what happens | alarm |
//! |---|---|---|
//! | cascade | the price runs 1 to 6 % in 10 to 120 s, liquidations grow with it from the usual flow to 10 to 200 a second (at most 3 a coin) | before the peak |
//! | portfolio | one account with 5 to 200 coins, BTC and ETH among them, is sold at a flat price, at once or over up to 20 s | none |
//! | order | one position of 0.5 to 20 M USD, whole or in up to 60 pieces within 5 s | none |
//! | late batch | a venue holds everything back for 3 to 60 s | none |
//! | backlog | a venue is away for 1 to 10 min and comes back with all it missed | none |
//! | small coins | a burst over small coins while BTC and ETH are quiet | none |
//! | steady | nothing but a flow of 0.01 to 100 a second | none |
//!
//! [`super::invented`] plays them.

use crate::event::{Body, Completeness, Event, Price, Side, Stamp, Taker, Usd, Venue};
use crate::simulate::random::Random;
use crate::symbol::Symbol;
use crate::time::Nanos;

/// When a story is told, ms since 1970.
const START_MS: i64 = 1_700_000_000_000;
/// When it begins to differ from an ordinary market, ms after that.
pub const BEGINS_MS: i64 = 600_000;
/// What follows it, ms.
const AFTER_MS: i64 = 60_000;
/// Most liquidations a second of one coin.
const PER_COIN: f64 = 3.0;
/// Share of the flow that BTC and ETH have each.
const MAJOR: f64 = 0.08;
/// Share that a lossy venue shows.
const LOSSY: f64 = 0.7;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// The market falls or rises, and liquidations with it.
    Cascade,
    /// One account of many coins is sold at a flat price.
    Portfolio,
    /// One position is, whole or in pieces.
    Order,
    /// A venue holds everything back for a while.
    LateBatch,
    /// A venue was away and comes back with what it missed.
    Backlog,
    /// Small coins burst.
    SmallCoins,
    /// Nothing but the usual flow.
    Steady,
}

/// Every plot and its name.
pub const PLOTS: [(Plot, &str); 7] = [
    (Plot::Cascade, "cascade"),
    (Plot::Portfolio, "portfolio"),
    (Plot::Order, "order"),
    (Plot::LateBatch, "late batch"),
    (Plot::Backlog, "backlog"),
    (Plot::SmallCoins, "small coins"),
    (Plot::Steady, "steady"),
];

/// A market as the engine is shown it.
#[derive(Clone, Debug)]
pub struct Story {
    /// In the order in which they are received.
    pub events: Vec<Event>,
    /// When its liquidations are most, for a cascade; ms since 1970.
    pub peak: Option<i64>,
    /// When it begins, ms since 1970.
    pub begins: i64,
    /// When it is over.
    pub ends: i64,
    /// Whether trades tell the price.
    pub has_price: bool,
}

/// A forced order: ms after the start, coin, USD.
type Order = (i64, usize, f64);

/// What a venue shows, and how.
#[derive(Clone, Copy, Debug)]
struct Show {
    venue: Venue,
    completeness: Completeness,
    /// Everything is told at multiples of this, ms...
    batch: i64,
    /// ...and arrives up to this much later.
    jitter: f64,
}

const SHOWS: [Show; 4] = [
    Show {
        venue: Venue::Binance,
        completeness: Completeness::Sampled,
        batch: 1_000,
        jitter: 200.0,
    },
    Show { venue: Venue::Bybit, completeness: Completeness::Complete, batch: 500, jitter: 100.0 },
    Show { venue: Venue::Okx, completeness: Completeness::Lossy, batch: 1, jitter: 400.0 },
    Show { venue: Venue::Other, completeness: Completeness::Complete, batch: 1, jitter: 300.0 },
];

/// A market in the making.
struct Market {
    random: Random,
    coins: Vec<Symbol>,
    /// Usual liquidations a second, and the median and spread of their size.
    rate: f64,
    median: f64,
    spread: f64,
    shows: Vec<Show>,
    orders: Vec<Order>,
    /// How far the price goes, as a logarithm, in how many ms, how steeply.
    run: (f64, i64, f64),
    /// Standard deviation of a return of 1 s.
    noise: f64,
    ends: i64,
    /// Which venue holds back what happens until when, ms.
    held: Option<(usize, i64)>,
}

/// The story of this plot and seed.
#[must_use]
pub fn tell(plot: Plot, seed: u64) -> Story {
    let mut market = Market::new(plot, seed);
    let has_price = market.random.chance(0.7);
    match plot {
        Plot::Cascade => market.cascade(),
        Plot::Portfolio => market.portfolio(),
        Plot::Order => market.order(),
        Plot::LateBatch => market.hold_back(3.0, 60.0),
        Plot::Backlog => market.hold_back(60.0, 600.0),
        Plot::SmallCoins => market.small_coins(),
        Plot::Steady => market.ends = 3 * BEGINS_MS,
    }
    market.usual();
    let peak = (plot == Plot::Cascade).then(|| START_MS + BEGINS_MS + market.run.1);
    let mut events = market.shown();
    if has_price {
        events.extend(market.trades());
    }
    events.sort_by_key(|event| event.received);
    let (begins, ends) = (START_MS + BEGINS_MS, START_MS + market.ends);
    Story { events, peak, begins, ends, has_price }
}

impl Market {
    fn new(plot: Plot, seed: u64) -> Self {
        let mut random = Random::new(seed ^ (plot as u64) << 48);
        let all = whole(between(&mut random, 5.0, 400.0));
        let small = (2..all).filter_map(|i| Symbol::of_base(&format!("S{i}")));
        let coins = [Symbol::BTC, Symbol::ETH].into_iter().chain(small).collect();
        let rate = match plot {
            Plot::Steady => between(&mut random, 0.01, 100.0),
            Plot::LateBatch | Plot::Backlog => between(&mut random, 0.5, 40.0),
            _ => between(&mut random, 0.02, 3.0),
        };
        let most = 1 + whole(3.0 * random.unit());
        let first = whole(4.0 * random.unit());
        Self {
            coins,
            rate,
            median: between(&mut random, 500.0, 5_000.0),
            spread: 0.8 + 0.8 * random.unit(),
            shows: (0..most)
                .filter_map(|i| SHOWS.get((first + i) % SHOWS.len()).copied())
                .collect(),
            orders: Vec::new(),
            run: (0.0, 1, 1.0),
            noise: between(&mut random, 1e-5, 8e-5),
            ends: BEGINS_MS,
            held: None,
            random,
        }
    }

    /// A coin, BTC and ETH more often than others.
    fn coin(&mut self) -> usize {
        let at = self.random.unit();
        if at < MAJOR {
            0
        } else if at < 2.0 * MAJOR {
            1
        } else {
            self.small()
        }
    }

    fn small(&mut self) -> usize {
        2 + whole(self.random.unit() * count(self.coins.len() - 2))
    }

    fn size(&mut self, times: f64) -> f64 {
        times * self.median * (self.spread * self.random.normal()).exp()
    }

    /// The flow that is always there.
    fn usual(&mut self) {
        let mut at = 0.0;
        let end = ms(self.ends + AFTER_MS);
        loop {
            at += wait(&mut self.random, self.rate);
            if at >= end {
                return;
            }
            let order = (milli(at), self.coin(), self.size(1.0));
            self.orders.push(order);
        }
    }

    /// Orders at a rate that `of` says of the seconds since the beginning; `most` is its maximum.
    fn flow(&mut self, seconds: f64, most: f64, times: f64, of: impl Fn(f64) -> f64, small: bool) {
        let mut at = 0.0;
        loop {
            at += wait(&mut self.random, most);
            if at >= seconds {
                return;
            }
            if self.random.chance(of(at) / most) {
                let coin = if small { self.small() } else { self.coin() };
                let order = (BEGINS_MS + milli(at), coin, self.size(times));
                self.orders.push(order);
            }
        }
    }

    fn cascade(&mut self) {
        let length = between(&mut self.random, 10.0, 120.0);
        let steep = 1.0 + 3.0 * self.random.unit();
        let most = between(&mut self.random, 10.0, 200.0).min(PER_COIN * count(self.coins.len()));
        let far = between(&mut self.random, 0.01, 0.06);
        let side = if self.random.chance(0.5) { 1.0 } else { -1.0 };
        let times = 1.0 + 3.0 * self.random.unit();
        let rate = |s: f64| {
            let share = s / length;
            most * if share < 1.0 {
                (steep * (share - 1.0)).exp()
            } else {
                (3.0 - 3.0 * share).exp()
            }
        };
        self.flow(2.0 * length, most, times, rate, false);
        self.run = (side * far, milli(length), steep);
        self.ends = BEGINS_MS + 2 * milli(length);
    }

    fn portfolio(&mut self) {
        let most = count(self.coins.len()).min(200.0);
        let held = whole(between(&mut self.random, 5.0, most.max(6.0))).min(self.coins.len());
        let each = between(&mut self.random, 1e3, 2e5);
        let over = if self.random.chance(0.5) { 4.0 } else { between(&mut self.random, 1e3, 2e4) };
        for coin in 0..held {
            let at = BEGINS_MS + whole_ms(over * self.random.unit());
            let usd = each * (0.7 * self.random.normal()).exp();
            self.orders.push((at, coin, usd));
        }
        self.ends = BEGINS_MS + whole_ms(over);
    }

    fn order(&mut self) {
        let usd = between(&mut self.random, 5e5, 2e7);
        let pieces = if self.random.chance(0.5) { 1 } else { 2 + whole(59.0 * self.random.unit()) };
        let coin = self.coin();
        let over = between(&mut self.random, 1.0, 5e3);
        for _ in 0..pieces {
            let at = BEGINS_MS + whole_ms(over * self.random.unit());
            self.orders.push((at, coin, usd / count(pieces)));
        }
        self.ends = BEGINS_MS + whole_ms(over);
    }

    fn small_coins(&mut self) {
        let most = between(&mut self.random, 5.0, 60.0).min(PER_COIN * count(self.coins.len()));
        let length = between(&mut self.random, 3.0, 20.0);
        self.flow(length, most, 1.0, |_| most, true);
        self.ends = BEGINS_MS + milli(length);
    }

    fn hold_back(&mut self, from: f64, to: f64) {
        let until = BEGINS_MS + milli(between(&mut self.random, from, to));
        let venue = whole(self.random.unit() * count(self.shows.len()));
        self.held = Some((venue, until));
        self.ends = until;
    }

    /// What the venues show of the orders, and when.
    fn shown(&mut self) -> Vec<Event> {
        self.orders.sort_by_key(|order| order.0);
        let side = if self.run.0 > 0.0 { Side::Short } else { Side::Long };
        let mut last = vec![(-1, 0); self.coins.len()];
        let mut events: Vec<Event> = Vec::new();
        for (at, coin, usd) in std::mem::take(&mut self.orders) {
            let i = whole(self.random.unit() * count(self.shows.len()));
            let (Some(&show), Some(&symbol)) = (self.shows.get(i), self.coins.get(coin)) else {
                continue;
            };
            let is_told = show.completeness != Completeness::Lossy || self.random.chance(LOSSY);
            let mut event = Event::tick(Nanos::from_millis(START_MS + self.received(at, i, show)));
            (event.symbol, event.venue, event.completeness) =
                (symbol, show.venue, show.completeness);
            event.stamp = Stamp::new(Some(START_MS + at), 0);
            event.body = Body::Liquidation { side: Some(side), price: None, usd: Usd::new(usd) };
            let is_sampled = show.completeness == Completeness::Sampled;
            let kept = last.get_mut(coin).filter(|_| is_sampled);
            let before = kept.map(|kept| std::mem::replace(kept, (at / 1_000, events.len())));
            let place = before.filter(|before| before.0 == at / 1_000).map(|before| before.1);
            // The last one of a second takes the place of the one before.
            if let Some(slot) = place.and_then(|place| events.get_mut(place)) {
                *slot = event;
                last[coin] = (at / 1_000, place.unwrap_or_default());
            } else if is_told {
                events.push(event);
            }
        }
        events
    }

    /// When what happened at `at` is received, ms after the start.
    fn received(&mut self, at: i64, i: usize, show: Show) -> i64 {
        let told = (at / show.batch + 1) * show.batch;
        let usual = told + 20 + whole_ms(show.jitter * self.random.unit());
        match self.held {
            Some((venue, until)) if venue == i && (BEGINS_MS..until).contains(&at) => {
                until + whole_ms(500.0 * self.random.unit()).max(usual - until)
            }
            _ => usual,
        }
    }

    /// Trades of BTC at its price, six a second, those of the run mostly on its side.
    fn trades(&mut self) -> Vec<Event> {
        let (far, length, steep) = self.run;
        let mut events = Vec::new();
        let (mut at, mut walk, mut then) = (0.0, 0.0, 0.0);
        while at < ms(self.ends + AFTER_MS) {
            at += wait(&mut self.random, 6.0);
            walk += self.noise * (at - then).sqrt() * self.random.normal();
            then = at;
            let share = ((at - ms(BEGINS_MS)) / ms(length)).clamp(0.0, 1.0);
            let run = far * ((steep * share).exp() - 1.0) / (steep.exp() - 1.0);
            let Some(price) = Price::new(5e4 * (walk + run).exp()) else { continue };
            let with = if (0.01..1.0).contains(&share) && far != 0.0 { 0.8 } else { 0.5 };
            let buys = self.random.chance(with) == (far >= 0.0);
            let taker = if buys { Taker::Buy } else { Taker::Sell };
            let usd = Usd::new(5e3 * self.random.normal().exp());
            let mut event = Event::tick(Nanos::from_millis(START_MS + milli(at) + 20));
            (event.symbol, event.venue) = (Symbol::BTC, Venue::Binance);
            event.stamp = Stamp::new(Some(START_MS + milli(at)), 0);
            event.body = Body::Trade { taker, price, usd };
            events.push(event);
        }
        events
    }
}

/// Between `from` and `to`, each doubling as likely as any other.
fn between(random: &mut Random, from: f64, to: f64) -> f64 {
    from * (to / from).powf(random.unit())
}

/// Seconds until the next of `rate` a second.
fn wait(random: &mut Random, rate: f64) -> f64 {
    -(1.0 - random.unit()).ln() / rate
}

fn milli(seconds: f64) -> i64 {
    whole_ms(seconds * 1e3)
}

#[expect(clippy::cast_possible_truncation, reason = "an hour at most")]
fn whole_ms(ms: f64) -> i64 {
    ms as i64
}

#[expect(clippy::cast_precision_loss, reason = "an hour at most")]
fn ms(ms: i64) -> f64 {
    ms as f64 / 1e3
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hundreds")]
fn whole(value: f64) -> usize {
    value as usize
}

#[expect(clippy::cast_precision_loss, reason = "hundreds")]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn liquidations(story: &Story) -> impl Iterator<Item = &Event> + Clone {
        story.events.iter().filter(|event| matches!(event.body, Body::Liquidation { .. }))
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        for (plot, name) in PLOTS {
            let told = |seed| format!("{:?}", tell(plot, seed).events);
            assert_eq!(told(3), told(3), "{name}");
            assert_ne!(told(3), told(4), "{name}");
        }
    }

    #[test]
    fn a_sampled_venue_shows_a_coin_once_a_second_and_nothing_is_received_before_it_happened() {
        for seed in 0..10 {
            let story = tell(Plot::Cascade, seed);
            let mut seen = std::collections::BTreeSet::new();
            for event in liquidations(&story) {
                let at = event.stamp.venue_ms().unwrap();
                assert!(event.received.millis() > at);
                let sampled = event.completeness == Completeness::Sampled;
                assert!(!sampled || seen.insert((event.symbol, at / 1_000)), "twice in a second");
            }
        }
    }

    #[test]
    fn a_venue_that_holds_back_is_silent_and_then_tells_all() {
        let told = |seed| {
            let story = tell(Plot::Backlog, seed);
            let late = liquidations(&story)
                .filter(|event| event.received.millis() - event.stamp.venue_ms().unwrap() > 5_000);
            (late.clone().count(), late.map(|event| event.received.millis()).min(), story.ends)
        };
        let (late, first, ends) = told(1);
        assert!(late > 10 && first >= Some(ends), "{late}");
    }
}
