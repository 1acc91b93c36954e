//! Events as CSV: liquidations, and recorded trades.
//!
//! ```text
//! ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd     side: the position liquidated
//! ts_ms,event_ms,symbol,price,qty,taker_side
//! ```
//! Empty fields are missing values. An event is received at `recv_ms`, else at `ts_ms`. No field
//! holds a comma or a quote, so none is unescaped; a row with another number of fields is refused.

use std::fmt::Display;

use super::{Entry, Lines, Recording, read_line};
use crate::event::{Body, Completeness, Event, Positive, Price, Side, Stamp, Taker, Usd, Venue};
use crate::ingest::exchange::exchange;
use crate::ingest::instrument::Instrument;
use crate::symbol::Symbol;
use crate::time::Nanos;

const LIQUIDATIONS: &str = "ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd";
const TRADES: &str = "ts_ms,event_ms,symbol,price,qty,taker_side";

/// A file of events.
pub struct CsvFile {
    name: String,
    input: Lines,
    line: Vec<u8>,
    number: u64,
    parse: fn(&str) -> Result<Event, &'static str>,
}

impl CsvFile {
    /// Reads the header from `input`; `name` is for error lines.
    ///
    /// # Errors
    /// When the header is none of those above.
    pub fn new(name: impl Display, mut input: Lines) -> Result<Self, String> {
        let name = name.to_string();
        let mut line = Vec::new();
        read_line(&mut input, &mut line).map_err(|e| format!("{name}: {e}"))?;
        let parse = match std::str::from_utf8(&line) {
            Ok(LIQUIDATIONS) => liquidation,
            Ok(TRADES) => trade,
            _ => {
                return Err(format!(
                    "{name}: unknown columns: expected `{LIQUIDATIONS}` or `{TRADES}`"
                ));
            }
        };
        Ok(Self { name, input, line, number: 1, parse })
    }
}

impl Recording for CsvFile {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        self.number += 1;
        let more = read_line(&mut self.input, &mut self.line);
        if !more.map_err(|e| format!("{}, line {}: {e}", self.name, self.number))? {
            return Ok(None);
        }
        let row = std::str::from_utf8(&self.line).map_err(|_| "utf8");
        Ok(Some(row.and_then(self.parse).map_or_else(Entry::Refused, Entry::Event)))
    }
}

fn liquidation(row: &str) -> Result<Event, &'static str> {
    let [ts, recv, venue, name, side, price, qty, usd] = fields(row)?;
    let venue = Venue::named(venue).unwrap_or(Venue::Other);
    let market = market(venue, name)?;
    let price = number(price, "price")?;
    let qty = number(qty, "quantity")?;
    let worth = price.zip(qty).map(|(price, qty)| price.get() * qty.get());
    let usd = number(usd, "notional")?.map(Positive::get).or(worth);
    let side = match side {
        "long" => Some(Side::Long),
        "short" => Some(Side::Short),
        "" => None,
        _ => return Err("side"),
    };
    let body = Body::Liquidation {
        side,
        price: price.and_then(|price| Price::new(price.get() / market.multiplier)),
        usd: usd.and_then(Usd::new),
    };
    let ts = millis(ts)?;
    let received = if recv.is_empty() { ts } else { millis(recv)? };
    Ok(event(venue, market.symbol, body, ts, received))
}

fn trade(row: &str) -> Result<Event, &'static str> {
    let [ts, received, name, price, qty, taker] = fields(row)?;
    let market = market(Venue::Binance, name)?;
    let price = number(price, "price")?.ok_or("price")?;
    let qty = number(qty, "quantity")?.ok_or("quantity")?;
    let body = Body::Trade {
        taker: match taker {
            "buy" => Taker::Buy,
            "sell" => Taker::Sell,
            _ => return Err("side"),
        },
        price: Price::new(price.get() / market.multiplier).ok_or("price")?,
        usd: Usd::new(price.get() * qty.get()),
    };
    let ts = millis(ts)?;
    let received = if received.is_empty() { ts } else { millis(received)? };
    Ok(event(Venue::Binance, market.symbol, body, ts, received))
}

fn fields<const N: usize>(row: &str) -> Result<[&str; N], &'static str> {
    let mut fields = [""; N];
    let mut parts = row.split(',');
    for field in &mut fields {
        *field = parts.next().ok_or("columns")?;
    }
    if parts.next().is_some() { Err("columns") } else { Ok(fields) }
}

fn number(text: &str, reason: &'static str) -> Result<Option<Positive>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().ok().and_then(Positive::new).map(Some).ok_or(reason)
}

fn millis(text: &str) -> Result<i64, &'static str> {
    text.parse().ok().filter(|ms| (1..1 << 43).contains(ms)).ok_or("time")
}

/// The market of a symbol: by the venue's own rule where there is one, else its base asset.
fn market(venue: Venue, name: &str) -> Result<Instrument, &'static str> {
    if let Some(known) = exchange(venue).and_then(|exchange| exchange.implied(name)) {
        return Ok(known);
    }
    let base = ["USDT", "USDC", "BUSD", "USD"]
        .iter()
        .find_map(|quote| name.strip_suffix(quote))
        .filter(|base| !base.is_empty())
        .unwrap_or(name);
    Ok(Instrument {
        name: name.to_owned(),
        symbol: Symbol::of_base(base).ok_or("symbol")?,
        contract: crate::ingest::instrument::Contract::Coins(1.0),
        multiplier: 1.0,
    })
}

fn event(venue: Venue, symbol: Symbol, body: Body, ts: i64, received: i64) -> Event {
    Event {
        symbol,
        body,
        stamp: Stamp::new(Some(ts), 0),
        venue,
        completeness: exchange(venue).map_or(Completeness::Unknown, |e| e.completeness()),
        ..Event::tick(Nanos::from_millis(received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_a_liquidation() {
        let event =
            liquidation("1733330785584,,binance,BTCUSDT,long,94809.6,0.013,1232.52").unwrap();
        assert_eq!((event.symbol, event.venue), (Symbol::BTC, Venue::Binance));
        assert_eq!(event.received.millis(), 1_733_330_785_584);
        let body = Body::Liquidation {
            side: Some(Side::Long),
            price: Price::new(94_809.6),
            usd: Usd::new(1_232.52),
        };
        assert_eq!(event.body, body);
    }

    #[test]
    fn missing_fields_stay_missing() {
        let event =
            liquidation("1672979106536,1672979106540,binance,SANDUSDT,,,,45795.43").unwrap();
        let body = Body::Liquidation { side: None, price: None, usd: Usd::new(45_795.43) };
        assert_eq!((event.body, event.received.millis()), (body, 1_672_979_106_540));
    }

    #[test]
    fn a_bad_row_is_refused_by_reason() {
        for (row, reason) in [
            ("1,2,3", "columns"),
            ("x,,binance,BTCUSDT,long,1,1,1", "time"),
            ("9,,binance,BTCUSDT,both,1,1,1", "side"),
            ("9,,binance,BTCUSDT,long,NaN,1,1", "price"),
            ("9,,binance,BTCUSDT,long,1,inf,1", "quantity"),
            ("9,,binance,BTCUSDT,long,1,1,-1", "notional"),
            ("9,,other,B TC,long,1,1,1", "symbol"),
        ] {
            assert_eq!(liquidation(row), Err(reason), "{row}");
        }
    }

    #[test]
    fn a_trade_keeps_its_taker() {
        let event = trade("1737897219873,1737897220002,BTCUSDT,104943.5,0.15,buy").unwrap();
        assert!(matches!(event.body, Body::Trade { taker: Taker::Buy, .. }));
        assert_eq!(event.received.millis(), 1_737_897_220_002);
    }
}
