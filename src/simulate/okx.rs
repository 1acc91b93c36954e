//! OKX's voice: contracts, `details` before the instrument, a bare `pong`.
//!
//! ```text
//! {"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0",
//!  "bkPx":"96388.4","ccy":"","posSide":"long","side":"sell","sz":"12","ts":"1790000000010"}],
//!  "instFamily":"BTC-USDT","instId":"BTC-USDT-SWAP","instType":"SWAP","uly":"BTC-USDT"}]}
//! ```

use std::collections::BTreeMap;

use serde_json::Value;

use super::binance::next_funding;
use super::coins::{Listing, Unit};
use super::market::{Item, What};
use super::voice::{Answer, Message, Voice};
use crate::event::{Side, Taker, Venue};

/// Liquidations are gathered for this long, so that frames hold several instruments.
const BATCH_MS: i64 = 100;
const CHANNELS: [&str; 5] = ["trades", "bbo-tbt", "mark-price", "funding-rate", "open-interest"];
const LIQUIDATIONS: &str = "liquidation-orders:SWAP";
/// The identifier this server gives every connection.
const CONNECTION: &str = "5eed0001";

/// See the module.
#[derive(Debug, Default)]
pub struct Okx {
    /// Orders waiting, by instrument.
    batch: BTreeMap<String, Vec<String>>,
    flushed_ms: i64,
}

impl Voice for Okx {
    fn venue(&self) -> Venue {
        Venue::Okx
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("public", "/ws/v5/public")]
    }

    fn tell(&mut self, item: &Item, listing: &Listing, out: &mut Vec<Message>) {
        match item.what {
            What::Liquidation { side, price, size } => {
                let order = order(item, listing, side, price, size);
                self.batch.entry(listing.name.clone()).or_default().push(order);
            }
            What::Trade { taker, price, size } => {
                let side = if taker == Taker::Buy { "buy" } else { "sell" };
                let (px, sz) = (listing.price(price), listing.size(size));
                let row = format!(
                    r#""tradeId":"{id}","px":"{px}","sz":"{sz}","side":"{side}","ts":"{}","count":"1","seqId":{id}"#,
                    item.at_ms,
                    id = item.id
                );
                out.push(says(listing, "trades", &row));
            }
            What::Book { bid, ask } => out.push(book(item, listing, bid, ask)),
            What::Context { mark, funding, open, .. } => {
                out.extend(context(item, listing, mark, funding, open));
            }
        }
    }

    fn flush(&mut self, now_ms: i64, out: &mut Vec<Message>) {
        if now_ms < self.flushed_ms + BATCH_MS || self.batch.is_empty() {
            return;
        }
        self.flushed_ms = now_ms;
        let batch = std::mem::take(&mut self.batch);
        let liquidations = u32::try_from(batch.values().map(Vec::len).sum::<usize>()).unwrap_or(0);
        let rows: Vec<String> =
            batch.iter().map(|(name, orders)| instrument_row(name, orders)).collect();
        let text = format!(
            r#"{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":[{}]}}"#,
            rows.join(",")
        );
        out.push(Message { route: "public", topic: LIQUIDATIONS.to_owned(), text, liquidations });
    }

    fn answer(&self, listings: &[Listing], _: &str, frame: &str) -> Vec<Answer> {
        if frame == "ping" {
            return vec![Answer::Say("pong".to_owned())];
        }
        let request: Value = serde_json::from_str(frame).unwrap_or(Value::Null);
        let op = request.get("op").and_then(Value::as_str).unwrap_or("");
        let args = request.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
        if !matches!(op, "subscribe" | "unsubscribe") || args.is_empty() {
            return vec![error("Invalid request", "60012")];
        }
        args.iter().flat_map(|arg| subscribed(listings, op, arg)).collect()
    }

    fn rest(&self, listings: &[Listing], path: &str, _: &str) -> Option<String> {
        let query = path.strip_prefix("/api/v5/public/instruments?")?;
        let swaps = query.split('&').any(|pair| pair == "instType=SWAP");
        let ours = listings.iter().filter(|l| l.venue == Venue::Okx && swaps);
        let rows: Vec<String> = ours.map(instrument).collect();
        Some(format!(r#"{{"code":"0","data":[{}],"msg":""}}"#, rows.join(",")))
    }
}

fn error(words: &str, code: &str) -> Answer {
    Answer::Say(format!(
        r#"{{"event":"error","msg":"{words}","code":"{code}","connId":"{CONNECTION}"}}"#
    ))
}

fn subscribed(listings: &[Listing], op: &str, arg: &Value) -> Vec<Answer> {
    let field = |name| arg.get(name).and_then(Value::as_str).unwrap_or("");
    let (channel, inst) = (field("channel"), field("instId"));
    let listed = listings.iter().any(|l| l.venue == Venue::Okx && l.name == inst);
    let topic = match channel {
        "liquidation-orders" if field("instType") == "SWAP" => LIQUIDATIONS.to_owned(),
        _ if CHANNELS.contains(&channel) && listed => format!("{channel}:{inst}"),
        _ => {
            let bad = format!(
                "Wrong URL or channel:{channel},instId:{inst} doesn't exist. Please use the correct URL, channel and parameters referring to API document."
            );
            return vec![error(&bad.replace('"', "'"), "60018")];
        }
    };
    let said = format!(r#"{{"event":"{op}","arg":{arg},"connId":"{CONNECTION}"}}"#);
    let joined = if op == "subscribe" { Answer::Join(topic) } else { Answer::Leave(topic) };
    vec![Answer::Say(said), joined]
}

fn says(listing: &Listing, channel: &str, row: &str) -> Message {
    let name = &listing.name;
    let text = format!(
        r#"{{"arg":{{"channel":"{channel}","instId":"{name}"}},"data":[{{"instId":"{name}",{row}}}]}}"#
    );
    Message { route: "public", topic: format!("{channel}:{name}"), text, liquidations: 0 }
}

fn order(item: &Item, listing: &Listing, side: Side, price: f64, size: f64) -> String {
    let (position, word) = if side == Side::Long { ("long", "sell") } else { ("short", "buy") };
    format!(
        r#"{{"bkLoss":"0","bkPx":"{}","ccy":"","posSide":"{position}","side":"{word}","sz":"{}","ts":"{}"}}"#,
        listing.price(price),
        listing.size(size),
        item.at_ms
    )
}

fn instrument_row(name: &str, orders: &[String]) -> String {
    let family = name.trim_end_matches("-SWAP");
    format!(
        r#"{{"details":[{}],"instFamily":"{family}","instId":"{name}","instType":"SWAP","uly":"{family}"}}"#,
        orders.join(",")
    )
}

fn book(item: &Item, listing: &Listing, bid: (f64, f64), ask: (f64, f64)) -> Message {
    let name = &listing.name;
    let text = format!(
        r#"{{"arg":{{"channel":"bbo-tbt","instId":"{name}"}},"data":[{{"asks":[["{}","{}","0","3"]],"bids":[["{}","{}","0","4"]],"ts":"{}","seqId":{}}}]}}"#,
        listing.price(ask.0),
        listing.size(ask.1),
        listing.price(bid.0),
        listing.size(bid.1),
        item.at_ms,
        item.id
    );
    Message { route: "public", topic: format!("bbo-tbt:{name}"), text, liquidations: 0 }
}

fn context(item: &Item, listing: &Listing, mark: f64, funding: f64, open: f64) -> [Message; 3] {
    let at = item.at_ms;
    let px = listing.price(mark);
    let coins = listing.usd(open, mark) / mark;
    let next = next_funding(at);
    [
        says(listing, "mark-price", &format!(r#""instType":"SWAP","markPx":"{px}","ts":"{at}""#)),
        says(
            listing,
            "funding-rate",
            &format!(
                r#""instType":"SWAP","fundingRate":"{funding:.10}","fundingTime":"{next}","nextFundingRate":"","nextFundingTime":"{}","ts":"{at}""#,
                next_funding(next)
            ),
        ),
        says(
            listing,
            "open-interest",
            &format!(
                r#""instType":"SWAP","oi":"{}","oiCcy":"{coins:.4}","oiUsd":"{:.2}","ts":"{at}""#,
                listing.size(open),
                coins * mark
            ),
        ),
    ]
}

fn instrument(listing: &Listing) -> String {
    let family = listing.name.trim_end_matches("-SWAP");
    let (kind, value, unit, settle) = match listing.unit {
        Unit::Coins(coins) => ("linear", coins, listing.base(), "USDT"),
        Unit::Usd(usd) => ("inverse", usd, "USD", listing.base()),
    };
    format!(
        r#"{{"alias":"","baseCcy":"","category":"1","ctMult":"1","ctType":"{kind}","ctVal":"{value}","ctValCcy":"{unit}","expTime":"","instFamily":"{family}","instId":"{}","instType":"SWAP","lotSz":"1","minSz":"1","quoteCcy":"","settleCcy":"{settle}","state":"live","tickSz":"0.1","uly":"{family}"}}"#,
        listing.name
    )
}
