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
use std::hash::{BuildHasherDefault, Hasher};

use crate::event::{Price, Quantity, Usd};
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

impl Instrument {
    /// The instrument of that name on those terms; `None` while its contract's size is unknown.
    #[must_use]
    pub fn new(name: &str, terms: Terms) -> Option<Self> {
        let Terms { symbol, contract, multiplier } = terms;
        Some(Self { name: name.to_owned(), symbol, contract: contract?, multiplier })
    }

    /// Its terms.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let &Self { symbol, contract, multiplier, .. } = self;
        Terms { symbol, contract: Some(contract), multiplier }
    }
}

/// What an instrument's numbers mean, without its name: all that parsing needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The market.
    pub symbol: Symbol,
    /// What one unit of quantity is; `None` when unknown.
    pub contract: Option<Contract>,
    /// Base coins in one coin of the venue's symbol.
    pub multiplier: f64,
}

impl Terms {
    /// Terms of a contract whose symbol names `coin`, with its multiplier if it has one (`BTC`,
    /// `1000PEPE`, `kPEPE`).
    ///
    /// # Errors
    /// `symbol` when the name holds what no symbol may hold.
    pub fn of_coin(coin: &str, contract: Option<Contract>) -> Result<Self, &'static str> {
        let (base, multiplier) = split_multiplier(coin);
        Ok(Self { symbol: market(base)?, contract, multiplier })
    }

    /// USD per base coin.
    #[must_use]
    pub fn price(&self, venue: Price) -> Option<Price> {
        Price::new(venue.get() / self.multiplier)
    }

    /// Base coins in `amount` at a venue price.
    #[must_use]
    pub fn base(&self, amount: Quantity, venue: Price) -> Option<Quantity> {
        let coins = match self.contract? {
            Contract::Coins(size) => amount.get() * size,
            Contract::Usd(size) => amount.get() * size / venue.get(),
        };
        Quantity::new(coins * self.multiplier)
    }

    /// USD in `amount` at a venue price.
    #[must_use]
    pub fn usd(&self, amount: Quantity, venue: Price) -> Option<Usd> {
        Usd::new(match self.contract? {
            Contract::Coins(size) => amount.get() * size * venue.get(),
            Contract::Usd(size) => amount.get() * size,
        })
    }
}

/// Quotes that are worth a dollar, longest first so that `BTCFDUSD` is not the coin `BTCFD`.
pub const USD_QUOTES: [&str; 5] = ["FDUSD", "USDT", "USDC", "BUSD", "USD"];

/// The part of a name before a quote that is worth a dollar.
#[must_use]
pub fn strip_usd(pair: &str) -> Option<&str> {
    USD_QUOTES.iter().find_map(|quote| pair.strip_suffix(quote)).filter(|base| !base.is_empty())
}

/// Powers of ten that venues write before a coin.
const MULTIPLIERS: [(&str, f64); 4] =
    [("1000000", 1e6), ("100000", 1e5), ("10000", 1e4), ("1000", 1e3)];

/// Separates a multiplier from the coin it multiplies: `1000PEPE`, `SHIB1000`, `kPEPE`,
/// `1MBABYDOGE`. What merely looks like one is a coin of its own: `1INCH`, `0G`, `2Z`, `4`.
#[must_use]
pub fn split_multiplier(coin: &str) -> (&str, f64) {
    let named = |rest: &str| rest.chars().next().is_some_and(char::is_alphabetic);
    if coin == "1MBABYDOGE" {
        return ("BABYDOGE", 1e6);
    }
    if let Some(rest) = coin.strip_prefix('k')
        && rest.len() >= 3
        && rest.bytes().all(|b| b.is_ascii_uppercase())
    {
        return (rest, 1e3);
    }
    for (digits, factor) in MULTIPLIERS {
        if let Some(rest) = coin.strip_prefix(digits).filter(|rest| named(rest)) {
            return (rest, factor);
        }
    }
    match coin.strip_suffix("1000") {
        Some(rest) if rest.len() >= 3 && rest.bytes().all(|b| b.is_ascii_uppercase()) => {
            (rest, 1e3)
        }
        _ => (coin, 1.0),
    }
}

/// Longest name of a venue that is looked at, bytes.
pub const NAME_MAX: usize = 48;

/// The market of a base coin; [`Symbol::OTHER`] when its name is too long for a symbol.
///
/// # Errors
/// `symbol` when the name is empty, absurdly long or holds what no symbol may hold.
pub fn market(base: &str) -> Result<Symbol, &'static str> {
    if let Some(symbol) = Symbol::of_base(base) {
        return Ok(symbol);
    }
    let allowed = |c: char| Symbol::of_base(c.encode_utf8(&mut [0; 4])).is_some();
    let only_long = !base.is_empty() && base.len() <= NAME_MAX && base.chars().all(allowed);
    if only_long { Ok(Symbol::OTHER) } else { Err("symbol") }
}

/// The instruments of one venue, by the venue's own symbol.
#[derive(Clone, Debug, Default)]
pub struct Instruments {
    by_name: HashMap<String, Instrument, BuildHasherDefault<NameHasher>>,
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

/// A hash for short names of trusted origin (only listings fill the table; a feed only asks): one
/// multiplication per eight bytes.
#[derive(Clone, Copy, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiplier_is_split_off_and_a_name_that_looks_like_one_is_not() {
        for (coin, base, multiplier) in [
            ("1000PEPE", "PEPE", 1e3),
            ("1000000MOG", "MOG", 1e6),
            ("10000LADYS", "LADYS", 1e4),
            ("SHIB1000", "SHIB", 1e3),
            ("kPEPE", "PEPE", 1e3),
            ("1MBABYDOGE", "BABYDOGE", 1e6),
            ("1000牛来", "牛来", 1e3),
            ("1INCH", "1INCH", 1.0),
            ("0G", "0G", 1.0),
            ("4", "4", 1.0),
            ("2Z", "2Z", 1.0),
            ("1000", "1000", 1.0),
            ("KAVA", "KAVA", 1.0),
            ("币安人生", "币安人生", 1.0),
        ] {
            assert_eq!(split_multiplier(coin), (base, multiplier), "{coin}");
        }
    }

    #[test]
    fn every_dollar_is_the_same_quote() {
        for pair in ["BTCUSDT", "BTCUSDC", "BTCUSD", "BTCBUSD", "BTCFDUSD"] {
            assert_eq!(strip_usd(pair), Some("BTC"), "{pair}");
        }
        for pair in ["ETHBTC", "USDT", "", "BTCEUR"] {
            assert_eq!(strip_usd(pair), None, "{pair}");
        }
    }

    #[test]
    fn linear_and_inverse_amounts_agree_on_what_they_are_worth() {
        let amount = |n: f64| Quantity::new(n).unwrap();
        let price = |n: f64| Price::new(n).unwrap();
        let pepe = Terms::of_coin("1000PEPE", Some(Contract::Coins(1.0))).unwrap();
        assert_eq!(pepe.symbol.as_str(), "PEPEUSDT");
        assert_eq!(pepe.usd(amount(2000.0), price(0.01)).map(Usd::micros), Some(20_000_000));
        assert_eq!(pepe.base(amount(2000.0), price(0.01)), Quantity::new(2e6));
        assert_eq!(pepe.price(price(0.01)), Price::new(0.00001));
        let inverse = Terms::of_coin("BTC", Some(Contract::Usd(100.0))).unwrap();
        assert_eq!(inverse.usd(amount(3.0), price(60_000.0)).map(Usd::micros), Some(300_000_000));
        assert_eq!(inverse.base(amount(3.0), price(60_000.0)), Quantity::new(0.005));
        let unknown = Terms::of_coin("BTC", None).unwrap();
        assert_eq!(unknown.usd(amount(3.0), price(60_000.0)), None);
    }

    #[test]
    fn long_names_are_other_and_evil_names_are_refused() {
        assert_eq!(market("ABCDEFGHIJKLMN"), Ok(Symbol::OTHER));
        let endless = "A".repeat(500);
        for evil in ["", "A B", "A\nB", "<img>", endless.as_str()] {
            assert_eq!(market(evil), Err("symbol"), "{evil}");
        }
    }
}
