//! From a venue's fields to events: the one place where prices, amounts and times are judged.
//!
//! A venue's file says which field means what; everything that could make a number wrong happens
//! here, once: the contract's size, the multiplier, the order of magnitude, the time's unit. An item
//! either becomes an event or is refused by name.

use std::num::NonZeroU32;

use super::json::{Json, number};
use super::{Items, Origin};
use crate::event::{
    Body, Completeness, Event, Flags, Price, Quantity, Side, Stamp, Taker, Usd, Venue,
};
use crate::ingest::instrument::{Contract, Instruments, NAME_MAX, Terms};
use crate::symbol::Symbol;
use crate::time::Nanos;

/// Prices outside this range are mistakes: USD per coin of the venue's symbol.
const PRICES: std::ops::RangeInclusive<f64> = 1e-15..=1e9;
/// A rate of more than the whole position per interval is a mistake.
const RATE_MAX: f64 = 1.0;
/// Milliseconds of the years 2009 to 2100: seconds, microseconds and nanoseconds all fall outside.
const MILLIS: std::ops::Range<i64> = 1_230_768_000_000..4_102_444_800_000;

/// One frame being read: whose it is, what its symbols mean, where its items go.
pub struct Page<'a> {
    /// Whose frame.
    pub venue: Venue,
    /// The venue's instruments.
    pub known: &'a Instruments,
    /// What a symbol that is in no table must mean.
    pub implied: fn(&str) -> Result<Terms, &'static str>,
    /// Where items go.
    pub out: &'a mut dyn Items,
}

impl Page<'_> {
    /// One item of the frame, about the instrument `name`. Refuses names that are no market of ours.
    pub fn item<'p>(&'p mut self, name: Option<Json<'p>>, time: Time<'_>) -> Option<Item<'p>> {
        match self.terms(name) {
            Ok((name, terms)) => Some(Item::new(self, name, terms, time)),
            Err(reason) => {
                self.out.refuse(reason);
                None
            }
        }
    }

    fn terms<'n>(&self, name: Option<Json<'n>>) -> Result<(&'n str, Terms), &'static str> {
        let name = name.and_then(Json::text).filter(|n| n.len() <= NAME_MAX).ok_or("symbol")?;
        let terms = match self.known.get(name) {
            Some(instrument) => instrument.terms(),
            None => (self.implied)(name)?,
        };
        Ok((name, terms))
    }

    /// An item about no instrument that could be named.
    pub fn nameless(&mut self, time: Time<'_>) -> Item<'_> {
        let terms = Terms { symbol: Symbol::OTHER, contract: None, multiplier: 1.0 };
        Item::new(self, "", terms, time)
    }

    /// Refuses an item.
    pub fn refuse(&mut self, reason: &'static str) {
        self.out.refuse(reason);
    }
}

/// Where an item's venue time stands.
#[derive(Clone, Copy)]
pub enum Time<'t> {
    /// In this field: missing or impossible is worth a flag.
    In(Option<Json<'t>>),
    /// The channel carries none.
    Never,
}

impl Time<'_> {
    fn read(self) -> (Stamp, Flags) {
        match self {
            Self::Never => (Stamp::default(), Flags::default()),
            Self::In(field) => match field.and_then(millis) {
                Some(ms) => (Stamp::new(Some(ms), 0), Flags::default()),
                None => (Stamp::default(), Flags::BAD_TIME),
            },
        }
    }
}

fn millis(field: Json<'_>) -> Option<i64> {
    field.integer().filter(|ms| MILLIS.contains(ms))
}

/// One item: what all its events share.
pub struct Item<'p> {
    name: &'p str,
    /// What its numbers mean; a venue may know better from the message itself.
    pub terms: Terms,
    venue: Venue,
    stamp: Stamp,
    flags: Flags,
    id: Option<u64>,
    out: &'p mut dyn Items,
}

/// A price with an amount, normalised.
struct Deal {
    price: Price,
    quantity: Option<Quantity>,
    usd: Option<Usd>,
}

type Outcome = Result<(), &'static str>;

impl<'p> Item<'p> {
    fn new(page: &'p mut Page<'_>, name: &'p str, terms: Terms, time: Time<'_>) -> Self {
        let (stamp, flags) = time.read();
        Self { name, terms, venue: page.venue, stamp, flags, id: None, out: &mut *page.out }
    }

    /// The venue's own number of it: what has the same one happened once.
    pub fn numbered(&mut self, id: Option<Json<'_>>) {
        self.id = id.and_then(Json::identity);
    }

    /// Marks all further events of this item.
    pub fn flag(&mut self, flags: Flags) {
        self.flags = self.flags.with(flags);
    }

    /// Refuses the item.
    pub fn refuse(&mut self, reason: &'static str) {
        self.out.refuse(reason);
    }

    /// A liquidation.
    pub fn liquidation(
        &mut self,
        seen: Completeness,
        side: Option<Side>,
        price: Option<f64>,
        amount: Option<f64>,
    ) {
        let deal = self.deal(price, amount).map(|deal| {
            let Deal { price, quantity, usd } = deal;
            self.post(seen, Body::Liquidation { side, price: Some(price), usd }, quantity);
        });
        self.settle(deal);
    }

    /// A liquidation of which only the value is told.
    pub fn liquidation_worth(&mut self, seen: Completeness, usd: Option<f64>) {
        match usd.and_then(|usd| Usd::new(usd.abs())) {
            None => self.refuse("value"),
            usd => self.post(seen, Body::Liquidation { side: None, price: None, usd }, None),
        }
    }

    /// A trade.
    pub fn trade(&mut self, taker: Option<Taker>, price: Option<f64>, amount: Option<f64>) {
        let deal = taker.ok_or("side").and_then(|taker| {
            let Deal { price, quantity, usd } = self.deal(price, amount)?;
            self.post(Completeness::Complete, Body::Trade { taker, price, usd }, quantity);
            Ok(())
        });
        self.settle(deal);
    }

    /// A fill of an address that is watched.
    pub fn fill(&mut self, taker: Option<Taker>, price: Option<f64>, amount: Option<f64>) {
        let deal = taker.ok_or("side").and_then(|taker| {
            let Deal { price, quantity, usd } = self.deal(price, amount)?;
            let usd = usd.ok_or("instrument")?;
            self.post(Completeness::Watched, Body::Fill { taker, price, usd }, quantity);
            Ok(())
        });
        self.settle(deal);
    }

    /// The best bid and ask, each a price with the amount resting there.
    pub fn book(&mut self, bid: Level, ask: Level) {
        let book = if bid.price.get() < ask.price.get() { Ok(()) } else { Err("crossed") }
            .and_then(|()| {
                let depth_usd =
                    self.depth(bid).zip(self.depth(ask)).and_then(|(b, a)| whole(b + a));
                let bid = self.terms.price(bid.price).ok_or("price")?;
                let ask = self.terms.price(ask.price).ok_or("price")?;
                self.post(Completeness::Complete, Body::Book { depth_usd, bid, ask }, None);
                Ok(())
            });
        self.settle(book);
    }

    fn depth(&self, level: Level) -> Option<f64> {
        self.terms.usd(level.amount?, level.price).map(Usd::dollars)
    }

    /// The mark price, and the index or oracle price where the venue gives it.
    pub fn mark(&mut self, mark: Option<f64>, index: Option<f64>) {
        let price = price_in(mark).and_then(|mark| self.terms.price(mark).ok_or("price"));
        let index = price_in(index).ok().and_then(|index| self.terms.price(index));
        let posted =
            price.map(|price| self.post(Completeness::Complete, Body::Mark { price, index }, None));
        self.settle(posted);
    }

    /// The funding rate. A blank rate is none: dated contracts have no funding.
    pub fn funding(&mut self, rate: Option<Json<'_>>, next: Option<Json<'_>>) {
        let Some(rate) = rate.filter(|rate| !rate.is_blank()) else {
            return;
        };
        match rate.number().filter(|rate| rate.abs() <= RATE_MAX) {
            None => self.refuse("rate"),
            Some(rate) => {
                let next_ms = next.and_then(millis).unwrap_or(0);
                self.post(Completeness::Complete, Body::Funding { rate, next_ms }, None);
            }
        }
    }

    /// Open interest as given: in units of quantity, in venue coins, in USD, whichever there are.
    pub fn open_interest(&mut self, amount: Option<f64>, coins: Option<f64>, usd: Option<f64>) {
        let positive = |number: Option<f64>| number.and_then(Quantity::new);
        let (linear, dollars) = match (self.terms.contract, positive(amount)) {
            (Some(Contract::Coins(size)), Some(units)) => (Some(units.get() * size), None),
            (Some(Contract::Usd(size)), Some(units)) => (None, Usd::new(units.get() * size)),
            _ => (None, None),
        };
        let coins = positive(coins).map(Quantity::get).or(linear);
        let base = coins.and_then(|coins| Quantity::new(coins * self.terms.multiplier));
        let usd = dollars.or_else(|| positive(usd).and_then(|usd| Usd::new(usd.get())));
        if base.is_none() && usd.is_none() {
            self.refuse("open_interest");
        } else {
            self.post(Completeness::Complete, Body::OpenInterest { base, usd }, base);
        }
    }

    fn deal(&self, price: Option<f64>, amount: Option<f64>) -> Result<Deal, &'static str> {
        let venue = price_in(price)?;
        let amount = amount.and_then(Quantity::new).ok_or("quantity")?;
        let price = self.terms.price(venue).ok_or("price")?;
        let (quantity, usd) = (self.terms.base(amount, venue), self.terms.usd(amount, venue));
        let valued = self.terms.contract.is_none() || (quantity.is_some() && usd.is_some());
        if valued { Ok(Deal { price, quantity, usd }) } else { Err("value") }
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Err(reason) = outcome {
            self.out.refuse(reason);
        }
    }

    fn post(&mut self, completeness: Completeness, body: Body, quantity: Option<Quantity>) {
        let unknown = self.terms.contract.is_none();
        let flags = if unknown { Flags::UNKNOWN_INSTRUMENT } else { Flags::default() };
        let event = Event {
            symbol: self.terms.symbol,
            body,
            received: Nanos::default(),
            stamp: self.stamp,
            parse_ns: 0,
            venue: self.venue,
            line: 0,
            flags: self.flags.with(flags),
            completeness,
        };
        let quantity = quantity.map(Quantity::get);
        self.out.event(event, Origin { symbol: self.name, quantity, id: self.id });
    }
}

/// One side of a book: a venue price, and how much rests there where it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    price: Price,
    amount: Option<Quantity>,
}

impl Level {
    /// From two fields.
    ///
    /// # Errors
    /// `one_sided` when there is no such level, `price` when its price is none.
    pub fn read(price: Option<Json<'_>>, amount: Option<Json<'_>>) -> Result<Self, &'static str> {
        let price = price.filter(|price| !price.is_blank()).ok_or("one_sided")?;
        Self::of(price.number(), number(amount)).ok_or("price")
    }

    /// From two numbers; `None` when the price is none.
    pub fn of(price: Option<f64>, amount: Option<f64>) -> Option<Self> {
        Some(Self { price: price.and_then(usable)?, amount: amount.and_then(Quantity::new) })
    }
}

fn price_in(price: Option<f64>) -> Result<Price, &'static str> {
    price.and_then(usable).ok_or("price")
}

fn usable(price: f64) -> Option<Price> {
    Price::new(price).filter(|_| PRICES.contains(&price))
}

/// Whole dollars, at least 1, at most what fits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range")]
fn whole(usd: f64) -> Option<NonZeroU32> {
    NonZeroU32::new(usd.clamp(1.0, f64::from(u32::MAX)).round() as u32)
}
