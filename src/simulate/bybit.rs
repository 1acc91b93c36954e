//! Bybit's voice: every liquidation, in batches of half a second, and the *position's* side.
//!
//! ```text
//! {"topic":"allLiquidation.BTCUSDT","type":"snapshot","ts":1790000000500,
//!  "data":[{"T":1790000000120,"s":"BTCUSDT","S":"Buy","v":"0.5","p":"96388.4"}]}
//! ```

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::binance::next_funding;
use super::coins::{Listing, Unit};
use super::market::{Item, What};
use super::voice::{Answer, Message, Voice};
use crate::event::{Side, Taker, Venue};

const BATCH_MS: i64 = 500;
const KINDS: [&str; 4] = ["allLiquidation", "publicTrade", "orderbook.1", "tickers"];
/// The identifier this server gives every connection.
const CONNECTION: &str = "5eed0000-0000-4000-8000-000000000001";

/// See the module.
#[derive(Debug, Default)]
pub struct Bybit {
    /// Rows waiting, by route and symbol.
    batches: BTreeMap<(&'static str, String), Vec<String>>,
    flushed_ms: i64,
    /// The last ticker of each symbol: what a new subscriber gets first.
    tickers: BTreeMap<String, String>,
}

impl Voice for Bybit {
    fn venue(&self) -> Venue {
        Venue::Bybit
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("linear", "/v5/public/linear"), ("inverse", "/v5/public/inverse")]
    }

    fn tell(&mut self, item: &Item, listing: &Listing, out: &mut Vec<Message>) {
        match item.what {
            What::Liquidation { side, price, size } => {
                let row = row(item, listing, side, price, size);
                let key = (listing.route, listing.name.clone());
                self.batches.entry(key).or_default().push(row);
            }
            What::Trade { taker, price, size } => {
                out.push(trade(item, listing, taker, price, size))
            }
            What::Book { bid, ask } => out.push(book(item, listing, bid, ask)),
            What::Context { mark, index, funding, open } => {
                let data = ticker(item, listing, [mark, index, funding, open]);
                let message = |kind| format_ticker(listing, kind, item.at_ms, &data);
                self.tickers.insert(listing.name.clone(), message("snapshot"));
                out.push(says(listing, "tickers", message("delta"), 0));
            }
        }
    }

    fn flush(&mut self, now_ms: i64, out: &mut Vec<Message>) {
        if now_ms < self.flushed_ms + BATCH_MS {
            return;
        }
        self.flushed_ms = now_ms;
        for ((route, name), rows) in std::mem::take(&mut self.batches) {
            let topic = format!("allLiquidation.{name}");
            let text = format!(
                r#"{{"topic":"{topic}","type":"snapshot","ts":{now_ms},"data":[{}]}}"#,
                rows.join(",")
            );
            let liquidations = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            out.push(Message { route, topic, text, liquidations });
        }
    }

    fn answer(&self, listings: &[Listing], route: &str, frame: &str) -> Vec<Answer> {
        let request: Value = serde_json::from_str(frame).unwrap_or(Value::Null);
        let id = request.get("req_id").and_then(Value::as_str).unwrap_or("").to_owned();
        let says = |op: &str, success: bool, words: &str| {
            Answer::Say(format!(
                r#"{{"success":{success},"ret_msg":{},"conn_id":"{CONNECTION}","req_id":{},"op":"{op}"}}"#,
                json!(words),
                json!(id)
            ))
        };
        let op = request.get("op").and_then(Value::as_str).unwrap_or("");
        let topics: Vec<&str> = request
            .get("args")
            .and_then(Value::as_array)
            .map(|args| args.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        match op {
            "ping" => vec![says("ping", true, "pong")],
            "subscribe" => {
                if let Some(bad) = topics.iter().find(|topic| !exists(listings, route, topic)) {
                    let words = format!("error:handler not found,topic:{bad}");
                    return vec![says("subscribe", false, &words)];
                }
                let mut answers = vec![says("subscribe", true, "")];
                for topic in topics {
                    answers.push(Answer::Join(topic.to_owned()));
                    let first = topic.strip_prefix("tickers.").and_then(|n| self.tickers.get(n));
                    answers.extend(first.map(|text| Answer::Say(text.clone())));
                }
                answers
            }
            "unsubscribe" => {
                let left = topics.into_iter().map(|topic| Answer::Leave(topic.to_owned()));
                left.chain([says("unsubscribe", true, "")]).collect()
            }
            _ => vec![says(op, false, "unknown op")],
        }
    }

    fn rest(&self, listings: &[Listing], path: &str, _: &str) -> Option<String> {
        let query = path.strip_prefix("/v5/market/instruments-info?")?;
        let category = query.split('&').find_map(|pair| pair.strip_prefix("category="))?;
        let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor=first%3D"));
        let from: usize = cursor.and_then(|first| first.parse().ok()).unwrap_or(0);
        let ours = listings.iter().filter(|l| l.venue == Venue::Bybit && l.route == category);
        let rows: Vec<String> = ours.map(instrument).skip(from).collect();
        let next = from + PAGE;
        let next = if rows.len() > PAGE { format!("first%3D{next}") } else { String::new() };
        let rows = rows.get(..PAGE).unwrap_or(&rows);
        Some(format!(
            r#"{{"retCode":0,"retMsg":"OK","result":{{"category":"{category}","list":[{}],"nextPageCursor":"{next}"}},"retExtInfo":{{}},"time":1790000000000}}"#,
            rows.join(",")
        ))
    }
}

/// Instruments on one page.
const PAGE: usize = 4;

fn exists(listings: &[Listing], route: &str, topic: &str) -> bool {
    let Some((kind, name)) = topic.rsplit_once('.') else { return false };
    let listed = |l: &Listing| l.venue == Venue::Bybit && l.route == route && l.name == name;
    KINDS.contains(&kind) && listings.iter().any(listed)
}

fn says(listing: &Listing, kind: &str, text: String, liquidations: u32) -> Message {
    Message { route: listing.route, topic: format!("{kind}.{}", listing.name), text, liquidations }
}

fn row(item: &Item, listing: &Listing, side: Side, price: f64, size: f64) -> String {
    let word = if side == Side::Long { "Buy" } else { "Sell" };
    format!(
        r#"{{"T":{},"s":"{}","S":"{word}","v":"{}","p":"{}"}}"#,
        item.at_ms,
        listing.name,
        listing.size(size),
        listing.price(price)
    )
}

fn trade(item: &Item, listing: &Listing, taker: Taker, price: f64, size: f64) -> Message {
    let word = if taker == Taker::Buy { "Buy" } else { "Sell" };
    let text = format!(
        r#"{{"topic":"publicTrade.{name}","type":"snapshot","ts":{},"data":[{{"T":{at},"s":"{name}","S":"{word}","v":"{}","p":"{}","L":"ZeroMinusTick","i":"5eed0000-0000-5000-8000-{id:012x}","BT":false,"RPI":false,"seq":{id}}}]}}"#,
        item.at_ms + 2,
        listing.size(size),
        listing.price(price),
        name = listing.name,
        at = item.at_ms,
        id = item.id
    );
    says(listing, "publicTrade", text, 0)
}

fn book(item: &Item, listing: &Listing, bid: (f64, f64), ask: (f64, f64)) -> Message {
    let text = format!(
        r#"{{"topic":"orderbook.1.{name}","type":"snapshot","ts":{at},"data":{{"s":"{name}","b":[["{}","{}"]],"a":[["{}","{}"]],"u":{id},"seq":{id}}},"cts":{at}}}"#,
        listing.price(bid.0),
        listing.size(bid.1),
        listing.price(ask.0),
        listing.size(ask.1),
        name = listing.name,
        at = item.at_ms,
        id = item.id
    );
    says(listing, "orderbook.1", text, 0)
}

fn ticker(item: &Item, listing: &Listing, [mark, index, funding, open]: [f64; 4]) -> String {
    format!(
        r#"{{"symbol":"{}","lastPrice":"{last}","markPrice":"{}","indexPrice":"{last}","openInterest":"{}","openInterestValue":"{:.2}","nextFundingTime":"{}","fundingRate":"{funding:.8}"}}"#,
        listing.name,
        listing.price(mark),
        listing.size(open),
        listing.usd(open, mark),
        next_funding(item.at_ms),
        last = listing.price(index),
    )
}

fn format_ticker(listing: &Listing, kind: &str, at_ms: i64, data: &str) -> String {
    let name = &listing.name;
    format!(r#"{{"topic":"tickers.{name}","type":"{kind}","data":{data},"cs":1,"ts":{at_ms}}}"#)
}

fn instrument(listing: &Listing) -> String {
    let (contract, quote, settle) = match listing.unit {
        Unit::Coins(_) => ("LinearPerpetual", "USDT", "USDT"),
        Unit::Usd(_) => ("InversePerpetual", "USD", listing.base()),
    };
    let base = listing.name.trim_end_matches("USDT").trim_end_matches("USD");
    format!(
        r#"{{"symbol":"{}","contractType":"{contract}","status":"Trading","baseCoin":"{base}","quoteCoin":"{quote}","settleCoin":"{settle}","launchTime":"1584230400000","deliveryTime":"0","priceScale":"{}","lotSizeFilter":{{"qtyStep":"1"}},"fundingInterval":480}}"#,
        listing.name, listing.price_decimals
    )
}
