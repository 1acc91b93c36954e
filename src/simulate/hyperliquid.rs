//! Hyperliquid's voice: no feed of liquidations; the fills of a watched address tell of its own.
//!
//! ```text
//! {"channel":"userFills","data":{"user":"0x..","fills":[{"coin":"BTC","px":"96388.0","sz":"0.5",
//!  "side":"A","time":1790000000010,"dir":"Close Long",..,"liquidation":{"liquidatedUser":"0x..",
//!  "markPx":"96390.0","method":"market"},"feeToken":"USDC"}]}}
//! ```
//!
//! An unknown coin ends the connection without a word. Recent trades are repeated on subscribing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::coins::Listing;
use super::market::{Item, What};
use super::voice::{Answer, Message, Voice, WATCHED};
use crate::event::{Side, Taker, Venue};

/// Somebody on the other side of every trade.
const STRANGER: &str = "0x00000000000000000000000000000000deadbeef";
/// Somebody who trades of their own will.
const SOMEBODY: &str = "0x00000000000000000000000000000000cafebabe";
/// Trades repeated to a new subscriber.
const RECENT: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Hyperliquid {
    recent: BTreeMap<String, Vec<String>>,
    /// The trade that the last liquidation caused: it is the watched address's.
    forced: u64,
}

impl Voice for Hyperliquid {
    fn venue(&self) -> Venue {
        Venue::Hyperliquid
    }

    fn routes(&self) -> &'static [(&'static str, &'static str)] {
        &[("ws", "/ws"), ("fills", "/ws")]
    }

    fn tell(&mut self, item: &Item, listing: &Listing, out: &mut Vec<Message>) {
        let coin = &listing.name;
        match item.what {
            What::Liquidation { side, price, size } => {
                self.forced = item.id + 1;
                out.push(fill(item, listing, side, price, size));
            }
            What::Trade { taker, price, size } => {
                let who = if item.id == self.forced { WATCHED } else { SOMEBODY };
                let row = trade(item, listing, taker, price, size, who);
                let text = format!(r#"{{"channel":"trades","data":[{row}]}}"#);
                out.push(says(format!("trades:{coin}"), text, 0));
                let recent = self.recent.entry(coin.clone()).or_default();
                recent.push(row);
                let old = recent.len().saturating_sub(RECENT);
                recent.drain(..old);
            }
            What::Book { bid, ask } => {
                let side = |(price, size): (f64, f64)| {
                    let (px, sz) = (listing.price(price), listing.size(size));
                    format!(r#"{{"px":"{px}","sz":"{sz}","n":3}}"#)
                };
                let text = format!(
                    r#"{{"channel":"bbo","data":{{"coin":"{coin}","time":{},"bbo":[{},{}]}}}}"#,
                    item.at_ms,
                    side(bid),
                    side(ask)
                );
                out.push(says(format!("bbo:{coin}"), text, 0));
            }
            What::Context { mark, index, funding, open } => {
                let text = context(listing, [mark, index, funding, open]);
                out.push(says(format!("activeAssetCtx:{coin}"), text, 0));
            }
        }
    }

    fn flush(&mut self, _: i64, _: &mut Vec<Message>) {}

    fn answer(&self, listings: &[Listing], _: &str, frame: &str) -> Vec<Answer> {
        let request: Value = serde_json::from_str(frame).unwrap_or(Value::Null);
        let method = request.get("method").and_then(Value::as_str).unwrap_or("");
        let Some(wanted) = request.get("subscription").filter(|_| method != "ping") else {
            let pong = method == "ping";
            return vec![if pong { Answer::Say(PONG.to_owned()) } else { misunderstood(frame) }];
        };
        let field = |name| wanted.get(name).and_then(Value::as_str).unwrap_or("");
        let (kind, coin, user) = (field("type"), field("coin"), field("user"));
        let listed = listings.iter().any(|l| l.venue == Venue::Hyperliquid && l.name == coin);
        let topic = match kind {
            "trades" | "bbo" | "activeAssetCtx" if listed => format!("{kind}:{coin}"),
            "trades" | "bbo" | "activeAssetCtx" => return vec![Answer::HangUp],
            "userFills" if user.len() == 42 => format!("userFills:{}", user.to_lowercase()),
            _ => return vec![misunderstood(frame)],
        };
        let said = format!(
            r#"{{"channel":"subscriptionResponse","data":{{"method":"{method}","subscription":{wanted}}}}}"#
        );
        match method {
            "subscribe" => {
                let mut answers = vec![Answer::Say(said), Answer::Join(topic)];
                answers.extend(self.greeting(kind, coin, user).map(Answer::Say));
                answers
            }
            "unsubscribe" => vec![Answer::Say(said), Answer::Leave(topic)],
            _ => vec![misunderstood(frame)],
        }
    }

    fn rest(&self, listings: &[Listing], path: &str, body: &str) -> Option<String> {
        let request: Value = serde_json::from_str(body).ok()?;
        if path != "/info" || request.get("type").and_then(Value::as_str) != Some("meta") {
            return None;
        }
        let ours = listings.iter().filter(|l| l.venue == Venue::Hyperliquid);
        let row = |l: &Listing| {
            let (digits, name) = (l.size_decimals, &l.name);
            format!(
                r#"{{"szDecimals":{digits},"name":"{name}","maxLeverage":20,"marginTableId":20}}"#
            )
        };
        let rows: Vec<String> = ours.map(row).collect();
        Some(format!(
            r#"{{"universe":[{}],"marginTables":[],"collateralToken":0}}"#,
            rows.join(",")
        ))
    }
}

const PONG: &str = r#"{"channel":"pong"}"#;

fn misunderstood(frame: &str) -> Answer {
    let words = format!("Error parsing JSON into valid websocket request: {frame}");
    Answer::Say(format!(r#"{{"channel":"error","data":{}}}"#, Value::String(words)))
}

impl Hyperliquid {
    /// What a new subscriber gets first.
    fn greeting(&self, kind: &str, coin: &str, user: &str) -> Option<String> {
        match kind {
            "trades" => {
                let rows = self.recent.get(coin)?.join(",");
                Some(format!(r#"{{"channel":"trades","data":[{rows}]}}"#))
            }
            "userFills" => Some(format!(
                r#"{{"channel":"userFills","data":{{"isSnapshot":true,"user":"{user}","fills":[]}}}}"#
            )),
            _ => None,
        }
    }
}

fn says(topic: String, text: String, liquidations: u32) -> Message {
    Message { route: "ws", topic, text, liquidations }
}

fn trade(item: &Item, listing: &Listing, taker: Taker, price: f64, size: f64, who: &str) -> String {
    let (side, buyer, seller) = match taker {
        Taker::Buy => ("B", who, STRANGER),
        Taker::Sell => ("A", STRANGER, who),
    };
    format!(
        r#"{{"coin":"{}","side":"{side}","px":"{}","sz":"{}","time":{},"hash":"0x{id:064x}","tid":{id},"users":["{buyer}","{seller}"]}}"#,
        listing.name,
        listing.price(price),
        listing.size(size),
        item.at_ms,
        id = item.id
    )
}

fn fill(item: &Item, listing: &Listing, side: Side, price: f64, size: f64) -> Message {
    let (word, dir, sign) = match side {
        Side::Long => ("A", "Close Long", ""),
        Side::Short => ("B", "Close Short", "-"),
    };
    let (px, sz) = (listing.price(price), listing.size(size));
    let text = format!(
        r#"{{"channel":"userFills","data":{{"user":"{WATCHED}","fills":[{{"coin":"{}","px":"{px}","sz":"{sz}","side":"{word}","time":{},"startPosition":"{sign}{sz}","dir":"{dir}","closedPnl":"-1.0","hash":"0x{id:064x}","oid":{id},"crossed":true,"fee":"0.1","tid":{},"liquidation":{{"liquidatedUser":"{WATCHED}","markPx":"{px}","method":"market"}},"feeToken":"USDC","twapId":null}}]}}}}"#,
        listing.name,
        item.at_ms,
        item.id + 1,
        id = item.id,
    );
    says(format!("userFills:{WATCHED}"), text, 1)
}

fn context(listing: &Listing, [mark, index, funding, open]: [f64; 4]) -> String {
    let (mark, oracle) = (listing.price(mark), listing.price(index));
    format!(
        r#"{{"channel":"activeAssetCtx","data":{{"coin":"{}","ctx":{{"funding":"{:.10}","openInterest":"{}","prevDayPx":"{oracle}","dayNtlVlm":"1000000000.0","premium":"0.0","oraclePx":"{oracle}","markPx":"{mark}","midPx":"{oracle}","impactPxs":["{oracle}","{oracle}"],"dayBaseVlm":"10000.0"}}}}}}"#,
        listing.name,
        funding / 8.0,
        listing.size(open),
    )
}
