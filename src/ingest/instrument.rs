//! What a venue's symbol means: which market, and how much one unit of quantity is worth.
//!
//! Venues count in three ways: base coins (Binance USD-M, Bybit linear, Hyperliquid), contracts of a
//! fixed number of base coins (OKX linear), or contracts of a fixed number of USD (inverse). With a
//! multiplier in the symbol (`1000PEPEUSDT`) one venue coin is that many base coins.
//!
//! ```text
//! linear:   base = quantity x size x multiplier      usd = quantity x size x venue price
//! inverse:  usd  = quantity x size                   base = usd / price
//! price per base coin = venue price / multiplier
//! ```

use std::collections::HashMap;

use crate::symbol::Symbol;

/// What one unit of a venue's quantity is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contract {
    /// So many of the coins the venue's symbol names.
    Coins(f64),
    /// So many USD.
    Usd(f64),
}

/// One instrument of one venue.
#[derive(Clone, Debug, PartialEq)]
pub struct Instrument {
    /// The venue's own symbol, as it writes it.
    pub name: String,
    /// The market it belongs to.
    pub symbol: Symbol,
    /// What one unit of quantity is.
    pub contract: Contract,
    /// Base coins in one coin of the venue's symbol.
    pub multiplier: f64,
}

/// The instruments of one venue, by the venue's own symbol.
#[derive(Clone, Debug, Default)]
pub struct Instruments {
    by_name: HashMap<String, Instrument>,
}

impl Instruments {
    /// Adds instruments; a later one replaces an earlier one of the same name.
    pub fn extend(&mut self, instruments: impl IntoIterator<Item = Instrument>) {
        for instrument in instruments {
            self.by_name.insert(instrument.name.clone(), instrument);
        }
    }

    /// The instrument of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Instrument> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Instrument> {
        let mut all: Vec<_> = self.by_name.values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
