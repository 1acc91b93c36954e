//! What the page knows: the latest of every symbol with its recent past, the tape, the signals, how
//! the feeds are, and whether the pipeline moves.
//!
//! The engine says something about a symbol when its counts change; until it does so again, what it
//! said stands, *as long as ticks come through*: they are what tells a quiet market from a stuck one.
//! So the past of a symbol is sampled twice a second from what stands, and while nothing comes through
//! it has a hole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;

use super::beat::Ear;
use super::feed::Feed;
use super::parcel::Parcel;
use crate::event::{Event, VENUE_COUNT, VENUES, Venue};
use crate::publish::redis::Status;
use crate::quote::Quote;
use crate::signal::{FAST, Kind, Report};
use crate::symbol::Symbol;
use crate::time::{Millis, NS_PER_MS, NS_PER_S, Nanos, Now};

/// Symbols with a past, at most; beyond it the one that was quiet longest makes room.
pub const ROWS: usize = 512;
/// Between two points of the past, ms.
pub const STEP_MS: u64 = 500;
/// Points kept of each symbol: ten minutes.
pub const POINTS: usize = 1_200;
/// Liquidations kept: a cascade brings dozens a second.
pub const TAPE: usize = 2_048;
/// Signals kept.
pub const SIGNALS: usize = 64;
/// A tick older than this, and the pipeline is said to stand still.
pub const STILL_NS: u64 = 2 * NS_PER_S;
/// What is told of the feeds every second is not true after this long.
const FEEDS_NS: u64 = 5 * NS_PER_S;

/// A moment of a symbol's past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Wall clock ms.
    pub at: Millis,
    /// Liquidations per second, 2 s.
    pub velocity: f32,
    /// Per second squared, 2 s.
    pub acceleration: f32,
    /// Per second cubed, 2 s.
    pub jerk: f32,
    /// 0..100.
    pub risk: f32,
    /// USD.
    pub price: Option<f64>,
}

/// What is known of one symbol.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What the engine said last.
    pub report: Option<Report>,
    /// When it said so.
    pub said: Nanos,
    /// What the market said last, and the engine with it.
    pub quote: Quote,
    /// Twice a second, oldest first.
    pub past: VecDeque<Point>,
}

impl Row {
    fn sample(&mut self, now: Now) {
        let Some(report) = &self.report else { return };
        if self.past.len() == POINTS {
            self.past.pop_front();
        }
        self.past.push_back(Point {
            at: now.wall,
            velocity: short(report.velocity(FAST)),
            acceleration: short(report.fast.acceleration),
            jerk: short(report.fast.jerk),
            risk: short(report.risk),
            price: self.quote.recent(now.mono),
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "to the microsecond for centuries")]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[expect(clippy::cast_possible_truncation, reason = "drawn, not reckoned with")]
fn short(value: f64) -> f32 {
    value as f32
}

/// The newest of something, numbered from 1 without a hole.
#[derive(Clone, Debug)]
pub struct Newest<T> {
    items: VecDeque<T>,
    room: usize,
    /// How many there ever were.
    pub total: u64,
}

impl<T> Newest<T> {
    fn new(room: usize) -> Self {
        Self { items: VecDeque::with_capacity(room), room, total: 0 }
    }

    fn push(&mut self, item: T) {
        if self.items.len() == self.room {
            self.items.pop_front();
        }
        self.items.push_back(item);
        self.total += 1;
    }

    /// Those after number `seen`, oldest first, as far as they are still there.
    pub fn after(&self, seen: u64) -> impl Iterator<Item = &T> + '_ {
        let new = usize::try_from(self.total.saturating_sub(seen)).unwrap_or(usize::MAX);
        self.items.iter().skip(self.items.len().saturating_sub(new))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Picture {
    /// When the page was opened, on the steady clock.
    pub begun: Nanos,
    /// Symbols, in order of name.
    pub rows: BTreeMap<Symbol, Row>,
    /// Liquidations with the wall clock at which they were received.
    pub tape: Newest<(Millis, Event)>,
    /// Changes of level with the wall clock at which they were made.
    pub signals: Newest<(Millis, Report)>,
    /// Signals so far, by level.
    pub by_level: [u64; 5],
    /// How long each venue was not heard, ns.
    pub silent_ns: [u64; VENUE_COUNT],
    /// The last tick that came all the way.
    pub tick: Option<Nanos>,
    /// Signals and liquidations that found no room on their way here.
    pub lost: u64,
    redis: Option<Arc<Status>>,
    feeds: Option<(Nanos, Vec<Feed>)>,
    news: Option<Receiver<Vec<Feed>>>,
    /// The threads of the pipeline.
    pub ears: Vec<Ear>,
    sampled: Nanos,
    looked: Nanos,
}

impl Picture {
    /// An empty one that hears `ears`, is told of feeds over `news`, and looks at `redis`.
    pub fn new(
        begun: Nanos,
        ears: Vec<Ear>,
        news: Option<Receiver<Vec<Feed>>>,
        redis: Option<Arc<Status>>,
    ) -> Self {
        Self {
            begun,
            rows: BTreeMap::new(),
            tape: Newest::new(TAPE),
            signals: Newest::new(SIGNALS),
            by_level: [0; 5],
            silent_ns: [0; VENUE_COUNT],
            tick: None,
            lost: 0,
            redis,
            feeds: None,
            news,
            ears,
            sampled: begun,
            looked: begun,
        }
    }

    /// Takes what the sink handed over.
    pub fn take(&mut self, parcel: &Parcel) {
        let now = parcel.now;
        self.tick = parcel.tick.or(self.tick);
        self.lost += parcel.lost;
        for new in &parcel.rows {
            let row = self.row(new.symbol);
            if let Some(report) = new.report {
                let market = report.symbol == Symbol::MARKET;
                if let Some(price) = if market { report.btc_price } else { report.price } {
                    row.quote.tell(price, report.at);
                }
                (row.report, row.said) = (Some(report), now.mono);
            }
            if let Some((price, at)) = new.price {
                row.quote.tell(price, at);
            }
        }
        self.follow_reference();
        for report in &parcel.signals {
            if let Some(n) = self.by_level.get_mut(report.level as usize) {
                *n += 1;
            }
            // Heartbeats say again what was said; they would only push the changes out.
            if report.kind == Kind::Change {
                self.signals.push((now.wall_of(report.at), *report));
            }
        }
        for event in &parcel.tape {
            self.tape.push((now.wall_of(event.received), *event));
        }
    }

    /// The market has the price of its reference.
    fn follow_reference(&mut self) {
        let reference = self.rows.get(&Symbol::BTC).map(|row| row.quote);
        if let (Some(quote), Some(market)) = (reference, self.rows.get_mut(&Symbol::MARKET)) {
            market.quote = quote;
        }
    }

    fn row(&mut self, symbol: Symbol) -> &mut Row {
        if !self.rows.contains_key(&symbol) && self.rows.len() >= ROWS {
            let spoken = self.rows.iter().filter(|(symbol, _)| **symbol != Symbol::MARKET);
            let quiet = spoken.min_by_key(|(_, row)| row.said).map(|(symbol, _)| *symbol);
            quiet.and_then(|symbol| self.rows.remove(&symbol));
        }
        self.rows.entry(symbol).or_default()
    }

    /// Hears the threads and the feeds, and lets time pass.
    pub fn turn(&mut self, now: Now) {
        self.ears.iter_mut().for_each(Ear::listen);
        while let Some(feeds) = self.news.as_ref().and_then(|news| news.try_recv().ok()) {
            self.feeds = Some((now.mono, feeds));
        }
        self.note_silence(now.mono);
        if now.mono.since(self.sampled) >= STEP_MS * NS_PER_MS {
            self.sampled = Nanos(now.mono.0 / (STEP_MS * NS_PER_MS) * STEP_MS * NS_PER_MS);
            if !self.stands_still(now.mono) {
                self.rows.values_mut().for_each(|row| row.sample(now));
            }
        }
    }

    fn note_silence(&mut self, now: Nanos) {
        let passed = now.since(std::mem::replace(&mut self.looked, now));
        let silent: Vec<Venue> =
            self.venues(now).filter(|(_, heard)| !heard).map(|(v, _)| v).collect();
        for venue in silent {
            self.silent_ns[venue.index()] += passed;
        }
    }

    /// How long each venue that was to be heard was not, s.
    pub fn unheard(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        let known = self.venues(self.looked);
        known.map(|(venue, _)| (venue.name(), seconds(self.silent_ns[venue.index()])))
    }

    /// Whether Redis takes what it is given, and what is the matter if not; `None` where there is no
    /// Redis, or it was not tried yet.
    pub fn redis(&self) -> Option<(bool, String)> {
        let status = self.redis.as_ref().filter(|s| s.attempts.load(Ordering::Relaxed) > 0)?;
        Some((status.up.load(Ordering::Relaxed), status.words()))
    }

    /// How old the last tick is, ns; `None` before the first.
    pub fn tick_age(&self, now: Nanos) -> Option<u64> {
        self.tick.map(|tick| now.since(tick))
    }

    /// Whether nothing comes through the pipeline.
    pub fn stands_still(&self, now: Nanos) -> bool {
        self.tick_age(now).is_none_or(|age| age > STILL_NS)
    }

    /// How the feeds are; `None` when that is not known now.
    pub fn feeds(&self, now: Nanos) -> Option<&[Feed]> {
        let known = self.feeds.as_ref().filter(|(told, _)| now.since(*told) <= FEEDS_NS);
        known.map(|(_, feeds)| feeds.as_slice())
    }

    /// The venues whose liquidations were to be heard, and whether they are. None is heard when it is
    /// not known.
    pub fn venues(&self, now: Nanos) -> impl Iterator<Item = (Venue, bool)> + '_ {
        let is_known = self.feeds(now).is_some();
        let rare = move |venue: Venue| {
            let feeds = self.feeds.as_ref().map_or(&[][..], |(_, feeds)| feeds.as_slice());
            feeds.iter().filter(move |feed| feed.is_rare() && feed.venue == venue.name())
        };
        VENUES
            .into_iter()
            .filter(move |venue| rare(*venue).next().is_some())
            .map(move |venue| (venue, is_known && rare(venue).any(Feed::hears)))
    }
}
