//! What is traded on the street: some forty coins, under the names and in the units of each venue.

use crate::event::Venue;

/// A coin.
#[derive(Clone, Copy, Debug)]
pub struct Coin {
    /// Its base asset.
    pub base: &'static str,
    /// Price when the story begins, USD.
    pub price: f64,
    /// How often it is liquidated, relative to the others.
    pub weight: f64,
    /// Coins in one unit of a venue that trades it in thousands.
    pub thousands: bool,
}

const fn coin(base: &'static str, price: f64, weight: f64) -> Coin {
    Coin { base, price, weight, thousands: false }
}

const fn thousands(base: &'static str, price: f64) -> Coin {
    Coin { base, price, weight: 1.0, thousands: true }
}

/// All coins; the first [`REFERENCES`] have trades, books and contexts.
pub static COINS: [Coin; 40] = [
    coin("BTC", 96_400.0, 9.0),
    coin("ETH", 3_180.0, 7.0),
    coin("SOL", 142.0, 4.0),
    coin("XRP", 2.24, 3.0),
    coin("DOGE", 0.164, 2.0),
    coin("ADA", 0.512, 1.0),
    coin("LTC", 91.3, 1.0),
    coin("LINK", 14.2, 1.0),
    coin("AVAX", 15.6, 1.0),
    coin("DOT", 2.71, 1.0),
    coin("BCH", 489.0, 1.0),
    coin("UNI", 7.05, 1.0),
    coin("NEAR", 2.31, 1.0),
    coin("APT", 2.92, 1.0),
    coin("ARB", 0.231, 1.0),
    coin("OP", 0.402, 1.0),
    coin("SUI", 1.66, 1.0),
    coin("SEI", 0.152, 1.0),
    coin("TIA", 0.731, 1.0),
    coin("INJ", 5.84, 1.0),
    coin("FIL", 1.91, 1.0),
    coin("ATOM", 2.66, 1.0),
    coin("ETC", 14.4, 1.0),
    coin("AAVE", 176.0, 1.0),
    coin("CRV", 0.441, 1.0),
    coin("LDO", 0.742, 1.0),
    coin("RUNE", 0.652, 1.0),
    coin("WLD", 0.661, 1.0),
    coin("ORDI", 4.31, 1.0),
    coin("JUP", 0.252, 1.0),
    coin("ENA", 0.283, 1.0),
    coin("ONDO", 0.521, 1.0),
    coin("HYPE", 38.7, 2.0),
    coin("TAO", 301.0, 1.0),
    coin("ZEC", 512.0, 2.0),
    coin("TRX", 0.288, 1.0),
    coin("BNB", 912.0, 2.0),
    thousands("PEPE", 0.000_004_81),
    thousands("BONK", 0.000_010_3),
    thousands("SHIB", 0.000_008_74),
];

/// Coins that have trades, book tops and contexts.
pub const REFERENCES: usize = 4;

/// What one unit of a venue's quantity is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// So many coins.
    Coins(f64),
    /// So many USD.
    Usd(f64),
}

/// A coin as one venue lists it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The venue.
    pub venue: Venue,
    /// The route its market data is on.
    pub route: &'static str,
    /// The venue's own symbol.
    pub name: String,
    /// Position in [`COINS`].
    pub coin: usize,
    /// What one unit of quantity is.
    pub unit: Unit,
    /// Coins in the unit that the venue's price is for.
    pub multiplier: f64,
    /// Decimals of a price.
    pub price_decimals: usize,
    /// Decimals of a quantity.
    pub size_decimals: usize,
}

impl Listing {
    /// The coin.
    #[must_use]
    pub fn base(&self) -> &'static str {
        COINS.get(self.coin).map_or("", |coin| coin.base)
    }

    /// Whether trades, books and contexts are told.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.coin < REFERENCES
    }

    /// Units worth about `usd` when one coin costs `price`: rounded as the venue does, at least one step.
    #[must_use]
    pub fn units(&self, usd: f64, price: f64) -> f64 {
        let units = match self.unit {
            Unit::Coins(coins) => usd / (price * coins),
            Unit::Usd(size) => usd / size,
        };
        let step = power(self.size_decimals);
        (units * step).round().max(1.0) / step
    }

    /// What `units` are worth when one coin costs `price`, USD.
    #[must_use]
    pub fn usd(&self, units: f64, price: f64) -> f64 {
        match self.unit {
            Unit::Coins(coins) => units * coins * price,
            Unit::Usd(size) => units * size,
        }
    }

    /// The venue's price of a coin that costs `price`, as it writes it.
    #[must_use]
    pub fn price(&self, price: f64) -> String {
        format!("{:.*}", self.price_decimals, price * self.multiplier)
    }

    /// The smallest step of a price, per coin.
    #[must_use]
    pub fn tick(&self) -> f64 {
        1.0 / power(self.price_decimals) / self.multiplier
    }

    /// A quantity as the venue writes it.
    #[must_use]
    pub fn size(&self, units: f64) -> String {
        format!("{units:.*}", self.size_decimals)
    }
}

/// Every listing of every venue, in a fixed order.
#[must_use]
pub fn listings() -> Vec<Listing> {
    COINS.iter().enumerate().flat_map(|(i, coin)| of_coin(i, coin)).collect()
}

fn of_coin(at: usize, coin: &Coin) -> Vec<Listing> {
    let base = coin.base;
    let (many, kilo) = if coin.thousands { (1000.0, "1000") } else { (1.0, "") };
    let small = if coin.thousands { "k" } else { "" };
    let coins = |venue, route, name: String| {
        let price = coin.price * many;
        listing(venue, route, name, at, Unit::Coins(many), many, price, price)
    };
    let contract = contract_coins(coin.price);
    let mut all = vec![
        coins(Venue::Binance, "market", format!("{kilo}{base}USDT")),
        coins(Venue::Bybit, "linear", format!("{kilo}{base}USDT")),
        listing(
            Venue::Okx,
            "public",
            format!("{base}-USDT-SWAP"),
            at,
            Unit::Coins(contract),
            1.0,
            coin.price,
            coin.price * contract,
        ),
        coins(Venue::Hyperliquid, "ws", format!("{small}{base}")),
    ];
    if at < 2 {
        let usd = if at == 0 { 100.0 } else { 10.0 };
        let inverse = |venue, route, name, size| {
            listing(venue, route, name, at, Unit::Usd(size), 1.0, coin.price, size)
        };
        all.push(inverse(Venue::Binance, "market", format!("{base}USD_PERP"), usd));
        all.push(inverse(Venue::Bybit, "inverse", format!("{base}USD"), 1.0));
        all.push(inverse(Venue::Okx, "public", format!("{base}-USD-SWAP"), usd));
    }
    all
}

#[expect(clippy::too_many_arguments, reason = "one row of a table")]
fn listing(
    venue: Venue,
    route: &'static str,
    name: String,
    coin: usize,
    unit: Unit,
    multiplier: f64,
    price: f64,
    worth: f64,
) -> Listing {
    // Five significant digits of price; quantities in steps of at most ten dollars.
    let price_decimals = decimals(4.0 - price.log10().floor());
    let size_decimals = match unit {
        Unit::Coins(_) => decimals((worth / 10.0).log10().ceil()),
        Unit::Usd(_) => 0,
    };
    let price_decimals = price_decimals.max(1);
    Listing { venue, route, name, coin, unit, multiplier, price_decimals, size_decimals }
}

/// Coins in an OKX contract: the power of ten that is worth 10 to 1,000 USD.
fn contract_coins(price: f64) -> f64 {
    10_f64.powf(2.0 - price.log10().floor()).min(10_000_000.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn decimals(wanted: f64) -> usize {
    wanted.clamp(0.0, 9.0) as usize
}

fn power(decimals: usize) -> f64 {
    10_f64.powi(i32::try_from(decimals).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(venue: Venue, name: &str) -> Listing {
        listings().into_iter().find(|l| l.venue == venue && l.name == name).expect(name)
    }

    #[test]
    fn each_venue_has_its_own_names_and_units() {
        assert_eq!(find(Venue::Okx, "BTC-USDT-SWAP").unit, Unit::Coins(0.01));
        assert_eq!(find(Venue::Hyperliquid, "kPEPE").multiplier, 1000.0);
        assert_eq!(find(Venue::Binance, "BTCUSD_PERP").unit, Unit::Usd(100.0));
        let pepe = find(Venue::Bybit, "1000PEPEUSDT");
        assert_eq!(pepe.price(0.000_004_81), "0.0048100");
        let units = pepe.units(5_000.0, 0.000_004_81);
        assert!((pepe.usd(units, 0.000_004_81) - 5_000.0).abs() < 10.0);
    }

    #[test]
    fn no_liquidation_rounds_to_nothing() {
        for listing in listings() {
            let price = COINS[listing.coin].price;
            let units = listing.units(1.0, price);
            assert!(listing.size(units).parse::<f64>().unwrap() > 0.0, "{listing:?}");
            assert!(listing.price(price).parse::<f64>().unwrap() > 0.0, "{listing:?}");
        }
    }
}
