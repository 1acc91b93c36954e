//! Made-up events for the benches.
#![allow(dead_code, reason = "each bench uses its own part")]

use foreshock::event::{Body, Event, Price, Side, Stamp, Taker, Usd, VENUES};
use foreshock::symbol::Symbol;
use foreshock::time::Nanos;

pub const SYMBOLS: usize = 100;
pub const START: u64 = 1_700_000_000_000_000_000;

/// Liquidations, or trades, at a steady rate over [`SYMBOLS`] symbols and four venues.
pub struct Stream {
    pub symbols: Vec<Symbol>,
    pub step_ns: u64,
    pub next: u64,
}

impl Stream {
    pub fn new(per_second: u64) -> Self {
        let symbols = (0..SYMBOLS).filter_map(|i| Symbol::of_base(&format!("S{i}"))).collect();
        Self { symbols, step_ns: 1_000_000_000 / per_second, next: 0 }
    }

    pub fn liquidation(&mut self) -> Event {
        let i = self.next;
        self.next += 1;
        // Hops through symbols and venues without a pattern the engine could profit from.
        let hop = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let mut event = Event::tick(Nanos(START + i * self.step_ns));
        event.symbol = self.symbols[hop as usize % SYMBOLS];
        event.venue = VENUES[(hop >> 8) as usize % 4];
        event.stamp = Stamp::new(Some(event.received.millis()), (hop >> 10) as u16 % 300);
        let side = if hop & 1 == 0 { Side::Long } else { Side::Short };
        event.body = Body::Liquidation {
            side: Some(side),
            price: None,
            usd: Usd::from_micros(1_000_000_000 + hop % 1_000_000),
        };
        event
    }

    pub fn trade(&mut self) -> Event {
        let mut event = self.liquidation();
        let price = Price::new(100.0 + (self.next % 7) as f64 / 1e3).expect("a price");
        event.body = Body::Trade { taker: Taker::Buy, price, usd: None };
        event
    }
}
