//! Seeded events for tests of the engine.
#![allow(dead_code, reason = "each test file uses its own part")]

use foreshock::engine::{Engine, Outbox};
use foreshock::event::{Body, Completeness, Event, Flags, Side, Stamp, Usd, Venue};
use foreshock::signal::Report;
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_MS, Nanos};

/// Where test time begins.
pub const START_MS: u64 = 1_700_000_000_000;

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// In (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Exponential waiting time at `rate` a second, ns.
    pub fn wait_ns(&mut self, rate: f64) -> u64 {
        (-self.unit().ln() / rate * 1e9) as u64
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A liquidation's value: log-normal, median 2,000 USD, a few percent above 20,000.
    pub fn size(&mut self) -> f64 {
        2_000.0 * (1.3 * self.normal()).exp()
    }
}

pub fn symbol(i: u64) -> Symbol {
    Symbol::of_base(&format!("S{i}")).expect("a symbol")
}

pub fn liquidation(at: Nanos, symbol: Symbol, venue: Venue, side: Option<Side>, usd: f64) -> Event {
    let mut event = Event::tick(at);
    event.body = Body::Liquidation { side, price: None, usd: Usd::new(usd) };
    event.symbol = symbol;
    event.venue = venue;
    event.stamp = Stamp::new(Some(at.millis()), 0);
    event.completeness = Completeness::Complete;
    event.flags = Flags::default();
    event
}

pub fn ms(ms: u64) -> Nanos {
    Nanos((START_MS + ms) * NS_PER_MS)
}

/// Adds ticks every 100 ms to events that are in order.
pub fn with_ticks(events: &[Event], until: Nanos) -> Vec<Event> {
    let mut all = Vec::new();
    let mut tick = ms(0);
    let mut rest = events.iter().peekable();
    while tick <= until {
        while let Some(event) = rest.next_if(|event| event.received <= tick) {
            all.push(*event);
        }
        all.push(Event::tick(tick));
        tick = tick.plus(100 * NS_PER_MS);
    }
    all
}

/// All reports of all events.
pub fn reports(engine: &mut Engine, events: &[Event]) -> Vec<Report> {
    let mut out = Outbox::new();
    let mut all = Vec::new();
    for event in events {
        out.clear();
        engine.take(event, &mut out);
        all.extend_from_slice(out.reports());
    }
    all
}
