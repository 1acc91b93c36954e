//! The market price of one symbol, out of what venues say; a mistake is not believed.

use crate::event::Body;
use crate::time::{NS_PER_S, Nanos};

/// Of two prices of which one is this many times the other, one is a mistake...
const OFF: f64 = 4.0;
/// ...the new one, until it was told this often in a row.
const INSIST: u8 = 5;
/// A price older than this is held against nothing.
const RECENT_NS: u64 = 60 * NS_PER_S;

/// The last price that was believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quote {
    /// Last trade, mark or middle of the book, USD.
    pub price: Option<f64>,
    /// When it was told.
    told: Nanos,
    /// How often in a row a price was told that is far off.
    doubted: u8,
}

impl Quote {
    /// Takes a price that was told at `at`.
    pub fn tell(&mut self, price: f64, at: Nanos) {
        if self.is_off(price, at) && self.doubted + 1 < INSIST {
            self.doubted += 1;
            return;
        }
        (self.price, self.told, self.doubted) = (Some(price), at, 0);
    }

    /// The price, unless nobody has told it for a minute.
    #[must_use]
    pub fn recent(&self, now: Nanos) -> Option<f64> {
        self.price.filter(|_| now.since(self.told) <= RECENT_NS)
    }

    /// Whether a price is so far from what was told within the last minute that it is a mistake.
    #[must_use]
    pub fn is_off(&self, price: f64, at: Nanos) -> bool {
        self.recent(at).is_some_and(|known| !(1.0 / OFF..=OFF).contains(&(price / known)))
    }
}

/// The market price a message tells. A liquidation's own price is none.
#[must_use]
pub fn price(body: &Body) -> Option<f64> {
    match *body {
        Body::Trade { price, .. } | Body::Mark { price, .. } => Some(price.get()),
        Body::Book { bid, ask, .. } if bid.get() <= ask.get() => {
            Some(bid.get() + (ask.get() - bid.get()) / 2.0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Price;

    #[test]
    fn a_price_that_nobody_tells_any_more_is_not_known() {
        let mut quote = Quote::default();
        quote.tell(5.0, Nanos(7));
        assert_eq!(quote.recent(Nanos(7 + RECENT_NS)), Some(5.0));
        assert_eq!(quote.recent(Nanos(8 + RECENT_NS)), None);
    }

    #[test]
    fn a_crossed_book_has_no_middle() {
        let price = |value| Price::new(value).unwrap();
        let book = |bid, ask| Body::Book { depth_usd: None, bid: price(bid), ask: price(ask) };
        assert_eq!(super::price(&book(99.0, 101.0)), Some(100.0));
        assert_eq!(super::price(&book(101.0, 99.0)), None);
    }
}
