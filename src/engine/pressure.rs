//! Trades of the reference symbols: the forced orders themselves, before they are announced.
//!
//! A venue announces a liquidation up to a second after its order has traded. The trades are there
//! at once, so a burst of them with nearly all takers on one side is seen earlier, though it need not be
//! a liquidation: it leads to WATCH and no further.
//!
//! *Trade velocity* is judged as arrivals are, against the flow's own past ([`super::past`]), at
//! 500 ms and at 2 s, each trade millisecond once, since one order that sweeps the book makes many
//! trades. *Taker imbalance* is `(buy - sell) / (buy + sell)` in USD over the same window. Pressure is
//! as strong as the weaker of the two, on the better of both windows.

use super::evidence::ascend;
use super::grid::Grid;
use super::past::Past;
use super::settings::Push;
use super::window::{Share, Sum, Window};
use crate::event::{Body, Event, Flags, Taker};
use crate::signal::FAST;
use crate::symbol::Symbol;
use crate::time::NS_PER_S;

/// Position of the 500 ms window.
const HALF: usize = 1;
/// The windows, and their lengths in seconds.
const WINDOWS: [(usize, f64); 2] = [(HALF, 0.5), (FAST, 2.0)];
/// A trade's value is cut here, micro-dollars, so that no sum overflows.
const USD_MAX: u64 = 1 << 52;

/// Trades of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flow {
    trades: u32,
    buy: u64,
    sell: u64,
}

impl Sum for Flow {
    fn add(&mut self, other: Self) {
        self.trades.add(other.trades);
        self.buy.add(other.buy);
        self.sell.add(other.sell);
    }
    fn sub(&mut self, other: Self) {
        self.trades.sub(other.trades);
        self.buy.sub(other.buy);
        self.sell.sub(other.sell);
    }
}

impl Share for Flow {
    fn share(self, part: u64) -> Self {
        Self {
            trades: self.trades.share(part),
            buy: self.buy.share(part),
            sell: self.sell.share(part),
        }
    }
}

/// The trades of the reference symbols.
#[derive(Debug)]
pub struct Pressure {
    windows: [Window<Flow, 1>; 2],
    past: Past,
    /// Symbol, venue and millisecond of the last trade.
    last: (Symbol, u8, i64),
    /// The second the first trade was seen in; 0 before.
    since: u64,
}

impl Pressure {
    /// Nothing traded.
    #[must_use]
    pub fn new() -> Self {
        Self {
            windows: [Window::new(), Window::new()],
            past: Past::new(WINDOWS.map(|(_, seconds)| seconds)),
            last: (Symbol::NONE, 0, 0),
            since: 0,
        }
    }

    /// Moves on to the present.
    pub fn advance(&mut self, grid: &Grid) {
        for (window, (scale, _)) in self.windows.iter_mut().zip(WINDOWS) {
            window.advance(grid.places[scale]);
        }
        self.past.advance(grid.second, self.since);
    }

    /// Takes a trade of a reference symbol; the present has been moved on to it.
    pub fn take(&mut self, event: &Event, grid: &Grid) {
        let Body::Trade { taker, usd, .. } = event.body else { return };
        if event.flags.has(Flags::BACKFILL.with(Flags::SNAPSHOT)) {
            return;
        }
        let at = event.at();
        if self.since == 0 {
            self.since = at.0 / NS_PER_S;
            self.past.advance(grid.second, self.since);
        }
        let ms = event.stamp.venue_ms().unwrap_or(at.millis());
        let instant = (event.symbol, event.venue as u8, ms);
        let is_new = std::mem::replace(&mut self.last, instant) != instant;
        let micros = usd.map_or(0, |usd| usd.micros().min(USD_MAX));
        let (buy, sell) = match taker {
            Taker::Buy => (micros, 0),
            Taker::Sell => (0, micros),
        };
        let places = grid.places(at);
        let flow = Flow { trades: u32::from(is_new), buy, sell };
        for (window, (scale, _)) in self.windows.iter_mut().zip(WINDOWS) {
            window.put(places[scale], flow);
        }
        if is_new {
            self.past.put(at.0 / NS_PER_S);
        }
    }

    /// Whether trades were seen in the last seconds, so that it may change.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.windows[1].is_empty()
    }

    /// How strong the pressure is, 0..1; `None` while there is no flow to judge.
    #[must_use]
    pub fn read(&self, grid: &Grid, push: &Push) -> Option<f64> {
        if self.since == 0 {
            return None;
        }
        let mut strongest = None;
        for (i, (window, (scale, _))) in self.windows.iter().zip(WINDOWS).enumerate() {
            let [flow] = window.read(grid.rest[scale]);
            let sudden = self.past.significance(i, flow.trades)?;
            let speed = ascend(sudden, &push.significance);
            let one_sided = ascend(imbalance(flow).abs(), &push.imbalance);
            strongest = Some(speed.min(one_sided).max(strongest.unwrap_or(0.0)));
        }
        strongest
    }
}

impl Default for Pressure {
    fn default() -> Self {
        Self::new()
    }
}

/// (buy - sell) / (buy + sell); 0 where nothing traded.
#[expect(clippy::cast_precision_loss, reason = "for a ratio")]
fn imbalance(flow: Flow) -> f64 {
    let (buy, sell) = (flow.buy as f64, flow.sell as f64);
    if buy + sell > 0.0 { (buy - sell) / (buy + sell) } else { 0.0 }
}

#[cfg(test)]
#[expect(clippy::type_complexity, clippy::cast_possible_truncation, reason = "small known values")]
mod tests {
    use super::*;
    use crate::event::{Price, Stamp, Usd, Venue};
    use crate::time::Nanos;

    const START_MS: u64 = 1_700_000_000_000;

    /// The strongest pressure of the last second of trades every `step_ms` for `seconds`.
    fn pressed(flow: &[(u64, u64, fn(u64) -> Taker)]) -> Option<f64> {
        let mut pressure = Pressure::new();
        let mut ms = START_MS;
        let mut last = None;
        for &(seconds, step_ms, taker) in flow {
            let end = ms + seconds * 1_000;
            last = None;
            while ms < end {
                let mut event = Event::tick(Nanos(ms * 1_000_000));
                event.symbol = Symbol::BTC;
                event.venue = Venue::Binance;
                event.stamp = Stamp::new(i64::try_from(ms).ok(), 0);
                event.body = Body::Trade {
                    taker: taker(ms / step_ms),
                    price: Price::new(1e5).unwrap(),
                    usd: Usd::new(1_000.0),
                };
                let grid = Grid::at(event.received);
                pressure.advance(&grid);
                pressure.take(&event, &grid);
                let read = pressure.read(&grid, &Push::default());
                last = last.max(read.map(|p| (p * 1e9) as u64));
                ms += step_ms;
            }
        }
        last.map(|p| p as f64 / 1e9)
    }

    fn mixed(i: u64) -> Taker {
        if i.is_multiple_of(2) { Taker::Buy } else { Taker::Sell }
    }

    fn selling(_: u64) -> Taker {
        Taker::Sell
    }

    #[test]
    fn a_burst_of_sellers_is_pressure() {
        assert!(pressed(&[(60, 200, mixed), (2, 10, selling)]) > Some(0.5));
    }

    #[test]
    fn a_burst_of_both_sides_or_a_steady_seller_is_none() {
        assert!(pressed(&[(60, 200, mixed), (2, 10, mixed)]) < Some(0.3));
        assert!(pressed(&[(60, 200, selling)]) < Some(0.3));
        assert!(pressed(&[(60, 10, selling)]) < Some(0.3));
    }

    #[test]
    fn without_trades_pressure_is_not_known() {
        assert_eq!(Pressure::new().read(&Grid::at(Nanos(9)), &Push::default()), None);
        assert_eq!(pressed(&[(3, 10, selling)]), None, "nor without a past");
    }
}
