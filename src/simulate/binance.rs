//! Binance's voice: two routes, one liquidation per symbol and second, wrong route: silence.
//!
//! ```text
//! {"e":"forceOrder","E":1790000001010,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.5",
//!  "p":"95900.0","ap":"96388.4","X":"FILLED","l":"0.5","z":"0.5","T":1790000000010,"ps":"BTCUSDT","st":1}}
//! ```
//!
//! Of the liquidations of a symbol within a second only the largest is told, when the second is over.
//! A stream that belongs to the other route is acknowledged and then never sends anything.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::coins::{Listing, Unit};
use super::market::{Item, What};
use super::voice::{Answer, Message, Voice};
use crate::event::{Side, Taker, Venue};

/// Length of the window of which only the largest liquidation is told, ms.
const WINDOW_MS: i64 = 1_000;
/// The limit price of a forced order lies this far beyond its fills.
const LIMIT_BEYOND: f64 = 0.005;

/// See the module.
#[derive(Debug, Default)]
pub struct Binance {
    held: BTreeMap<String, Held>,
}

/// The largest liquidation of the window so far.
#[derive(Debug)]
struct Held {
    from_ms: i64,
    usd: f64,
    topic: String,
    order: String,
}

impl Voice for Binance {
    fn venue(&self) -> Venue {
        Venue::Binance
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("market", "/market/stream"), ("public", "/public/stream")]
    }

    fn tell(&mut self, item: &Item, listing: &Listing, out: &mut Vec<Message>) {
        match item.what {
            What::Liquidation { side, price, size } => self.hold(item, listing, side, price, size),
            What::Trade { taker, price, size } => {
                out.push(trade(item, listing, taker, price, size))
            }
            What::Book { bid, ask } => out.push(book(item, listing, bid, ask)),
            What::Context { mark, index, funding, .. } => {
                out.push(context(item, listing, mark, index, funding));
            }
        }
    }

    fn flush(&mut self, now_ms: i64, out: &mut Vec<Message>) {
        self.held.retain(|_, held| {
            let over = now_ms >= held.from_ms + WINDOW_MS;
            if over {
                let text = format!(r#"{{"e":"forceOrder","E":{now_ms},"o":{{{}}}}}"#, held.order);
                for topic in ["!forceOrder@arr", held.topic.as_str()] {
                    let (topic, text) = (topic.to_owned(), text.clone());
                    out.push(Message { route: "market", topic, text, liquidations: 1 });
                }
            }
            !over
        });
    }

    fn answer(&self, _: &[Listing], route: &str, frame: &str) -> Vec<Answer> {
        let Ok(request) = serde_json::from_str::<Value>(frame) else {
            return vec![Answer::Say(
                r#"{"error":{"code":3,"msg":"Invalid JSON: expected value"}}"#.to_owned(),
            )];
        };
        let id = request.get("id").cloned().unwrap_or(Value::Null);
        let streams = request.get("params").and_then(Value::as_array).cloned().unwrap_or_default();
        let here = streams.iter().filter_map(Value::as_str).filter(|s| route_of(s) == route);
        let mut answers = vec![Answer::Say(json!({"result": null, "id": id}).to_string())];
        match request.get("method").and_then(Value::as_str) {
            Some("SUBSCRIBE") => answers.extend(here.map(|s| Answer::Join(plain(s)))),
            Some("UNSUBSCRIBE") => answers.extend(here.map(|s| Answer::Leave(plain(s)))),
            _ => {
                let error = json!({"error": {"code": 2, "msg": "Invalid request"}, "id": id});
                return vec![Answer::Say(error.to_string())];
            }
        }
        answers
    }

    fn rest(&self, listings: &[Listing], path: &str, _: &str) -> Option<String> {
        let inverse = match path {
            "/fapi/v1/exchangeInfo" => false,
            "/dapi/v1/exchangeInfo" => true,
            _ => return None,
        };
        let ours = listings.iter().filter(|l| l.venue == Venue::Binance);
        let rows = ours.filter(|l| matches!(l.unit, Unit::Usd(_)) == inverse).map(instrument);
        let rows: Vec<String> = rows.collect();
        Some(format!(
            r#"{{"timezone":"UTC","serverTime":1790000000000,"rateLimits":[],"exchangeFilters":[],"symbols":[{}]}}"#,
            rows.join(",")
        ))
    }

    fn dress(&self, message: &Message, path: &str) -> String {
        if path.contains("/stream") {
            return format!(r#"{{"stream":"{}","data":{}}}"#, message.topic, message.text);
        }
        message.text.clone()
    }
}

/// The route on which a stream sends.
fn route_of(stream: &str) -> &'static str {
    let public = ["@bookTicker", "@depth", "@rpiDepth", "@trade", "!bookTicker"];
    if public.iter().any(|kind| stream.contains(kind)) { "public" } else { "market" }
}

/// `btcusdt@markPrice@1s` and `btcusdt@markPrice` are one stream here.
fn plain(stream: &str) -> String {
    stream.trim_end_matches("@1s").trim_end_matches("@100ms").to_owned()
}

fn topic(listing: &Listing, kind: &str) -> String {
    format!("{}@{kind}", listing.name.to_lowercase())
}

impl Binance {
    fn hold(&mut self, item: &Item, listing: &Listing, side: Side, price: f64, size: f64) {
        let usd = listing.usd(size, price);
        let held = self.held.entry(listing.name.clone()).or_insert_with(|| Held {
            from_ms: item.at_ms,
            usd: 0.0,
            topic: topic(listing, "forceOrder"),
            order: String::new(),
        });
        if usd > held.usd {
            held.usd = usd;
            held.order = order(item, listing, side, price, size);
        }
    }
}

fn order(item: &Item, listing: &Listing, side: Side, price: f64, size: f64) -> String {
    let (word, limit) = match side {
        Side::Long => ("SELL", price * (1.0 - LIMIT_BEYOND)),
        Side::Short => ("BUY", price * (1.0 + LIMIT_BEYOND)),
    };
    let (name, q) = (&listing.name, listing.size(size));
    let (p, ap) = (listing.price(limit), listing.price(price));
    let (pair, st) = match listing.unit {
        Unit::Coins(_) => (name.as_str(), 1),
        Unit::Usd(_) => (name.trim_end_matches("_PERP"), 2),
    };
    format!(
        r#""s":"{name}","S":"{word}","o":"LIMIT","f":"IOC","q":"{q}","p":"{p}","ap":"{ap}","X":"FILLED","l":"{q}","z":"{q}","T":{},"ps":"{pair}","st":{st}"#,
        item.at_ms
    )
}

fn trade(item: &Item, listing: &Listing, taker: Taker, price: f64, size: f64) -> Message {
    let (p, q, at, id) = (listing.price(price), listing.size(size), item.at_ms, item.id);
    let text = format!(
        r#"{{"e":"aggTrade","E":{},"a":{id},"s":"{}","p":"{p}","q":"{q}","nq":"{q}","f":{id},"l":{id},"T":{at},"m":{},"st":1}}"#,
        at + 3,
        listing.name,
        taker == Taker::Sell
    );
    Message { route: "market", topic: topic(listing, "aggTrade"), text, liquidations: 0 }
}

fn book(item: &Item, listing: &Listing, bid: (f64, f64), ask: (f64, f64)) -> Message {
    let text = format!(
        r#"{{"e":"bookTicker","u":{},"s":"{name}","ps":"{name}","b":"{}","B":"{}","a":"{}","A":"{}","T":{at},"E":{at},"st":1}}"#,
        item.id,
        listing.price(bid.0),
        listing.size(bid.1),
        listing.price(ask.0),
        listing.size(ask.1),
        name = listing.name,
        at = item.at_ms
    );
    Message { route: "public", topic: topic(listing, "bookTicker"), text, liquidations: 0 }
}

fn context(item: &Item, listing: &Listing, mark: f64, index: f64, funding: f64) -> Message {
    let (p, i) = (listing.price(mark), listing.price(index));
    let text = format!(
        r#"{{"e":"markPriceUpdate","E":{},"s":"{}","p":"{p}","ap":"{p}","P":"{i}","i":"{i}","r":"{funding:.8}","T":{},"st":1}}"#,
        item.at_ms,
        listing.name,
        next_funding(item.at_ms)
    );
    Message { route: "market", topic: topic(listing, "markPrice"), text, liquidations: 0 }
}

/// Funding is paid every eight hours.
pub(super) fn next_funding(at_ms: i64) -> i64 {
    const EIGHT_HOURS: i64 = 8 * 3_600_000;
    (at_ms / EIGHT_HOURS + 1) * EIGHT_HOURS
}

fn instrument(listing: &Listing) -> String {
    let name = &listing.name;
    let tick = format!("{:.*}", listing.price_decimals, 0.1_f64.powi(decimals(listing)));
    match listing.unit {
        Unit::Usd(size) => format!(
            r#"{{"symbol":"{name}","pair":"{}","contractType":"PERPETUAL","contractStatus":"TRADING","contractSize":{size},"marginAsset":"{base}","baseAsset":"{base}","quoteAsset":"USD","filters":[{{"filterType":"PRICE_FILTER","tickSize":"{tick}"}}]}}"#,
            name.trim_end_matches("_PERP"),
            base = listing.base(),
        ),
        Unit::Coins(_) => format!(
            r#"{{"symbol":"{name}","pair":"{name}","contractType":"PERPETUAL","deliveryDate":4133404800000,"onboardDate":1569398400000,"status":"TRADING","baseAsset":"{}","quoteAsset":"USDT","marginAsset":"USDT","pricePrecision":{},"quantityPrecision":{},"filters":[{{"filterType":"PRICE_FILTER","tickSize":"{tick}"}}]}}"#,
            name.trim_end_matches("USDT"),
            listing.price_decimals,
            listing.size_decimals,
        ),
    }
}

fn decimals(listing: &Listing) -> i32 {
    i32::try_from(listing.price_decimals).unwrap_or(0)
}
