//! OKX v5: swaps.
//!
//! * `liquidation-orders` is asked for by instrument type only and sends every swap; how much of the
//!   truth it shows is not documented, so it counts as lossy. `side` is the side of the forced order,
//!   `posSide` the position; in one-way mode (`net`) the order's side tells. `bkPx` is the bankruptcy
//!   price.
//! * Sizes are contracts: so many coins (`ctVal` x `ctMult`) on linear swaps, 100 or 10 USD on inverse
//!   ones. A linear swap that no table holds has no value: it is counted and flagged, never guessed.
//! * The heartbeat and its answer are bare text.

use super::json::{Json, fields, number, text};
use super::page::{Level, Page, Time};
use super::{
    Control, Desk, Exchange, Heartbeat, Items, Listing, Route, Verdict, Wanted, listing, names,
    of_no_interest,
};
use crate::event::{Completeness, Side, Taker, Venue};
use crate::ingest::instrument::{Contract, Instrument, Instruments, Terms, USD_QUOTES};

/// OKX.
pub struct Okx;

const PUBLIC: Route =
    Route { name: "public", url: "wss://ws.okx.com:8443/ws/v5/public", liquidations: true };
static ROUTES: [Route; 1] = [PUBLIC];

static LISTINGS: [Listing; 1] =
    [Listing { url: "https://www.okx.com/api/v5/public/instruments?instType=SWAP", body: None }];

/// Subscriptions in one request: far below its 64 KB.
const ARGS_PER_FRAME: usize = 200;
/// Channels of context per symbol.
const CONTEXT: [&str; 5] = ["trades", "bbo-tbt", "mark-price", "funding-rate", "open-interest"];

/// Coins in one contract of the main swaps against USDT.
const LINEAR: [(&str, f64); 8] = [
    ("BTC", 0.01),
    ("ETH", 0.1),
    ("SOL", 1.0),
    ("XRP", 100.0),
    ("DOGE", 1000.0),
    ("ADA", 100.0),
    ("LTC", 1.0),
    ("SHIB", 1e6),
];
/// Coins of the main swaps against USD.
const INVERSE: [&str; 7] = ["BTC", "ETH", "LTC", "DOGE", "SOL", "ADA", "XRP"];

/// Channels of no interest.
const UNNEEDED: [&str; 22] = [
    "tickers",
    "books",
    "books5",
    "books-l2-tbt",
    "books50-l2-tbt",
    "index-tickers",
    "price-limit",
    "status",
    "instruments",
    "estimated-price",
    "opt-summary",
    "trades-all",
    "option-trades",
    "adl-warning",
    "economic-calendar",
    "call-auction-details",
    "account",
    "positions",
    "balance_and_position",
    "orders",
    "liquidation-warning",
    "fills",
];

impl Exchange for Okx {
    fn venue(&self) -> Venue {
        Venue::Okx
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn subscriptions(&self, _: &Route, known: &Instruments, wanted: &Wanted) -> Vec<String> {
        let liquidations = serde_json::json!({"channel": "liquidation-orders", "instType": "SWAP"});
        let symbols = names(known, wanted, |instrument| rank(&instrument.name));
        let context = symbols.iter().flat_map(|name| {
            CONTEXT.map(|channel| serde_json::json!({"channel": channel, "instId": name}))
        });
        let args: Vec<_> = std::iter::once(liquidations).chain(context).collect();
        let frame = |(id, args): (u64, &[serde_json::Value])| {
            let request =
                serde_json::json!({"id": id.to_string(), "op": "subscribe", "args": args});
            request.to_string()
        };
        (1..).zip(args.chunks(ARGS_PER_FRAME)).map(frame).collect()
    }

    /// One for each channel of the frame.
    fn answers(&self, frame: &str) -> u32 {
        u32::try_from(frame.matches("\"channel\"").count()).unwrap_or(u32::MAX)
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat { every_ms: 20_000, text: Some("ping") }
    }

    fn completeness(&self) -> Completeness {
        Completeness::Lossy
    }

    fn canary(&self, _: &Route) -> &'static str {
        "bbo-tbt BTC-USDT-SWAP"
    }

    fn sampling(&self, _: &Route) -> &'static str {
        "some are left out by a rule that is not documented; REST shows more"
    }

    fn limits(&self) -> &'static str {
        "3 connections a second, 480 subscriptions an hour, silent for 30 s is closed"
    }

    fn listings(&self) -> &'static [Listing] {
        &LISTINGS
    }

    fn listed(&self, body: &[u8]) -> Result<Vec<Instrument>, String> {
        listing(body, |json| json.get("data"), listed)
    }

    fn built_in(&self) -> Vec<Instrument> {
        let linear = LINEAR.iter().filter_map(|(coin, size)| {
            let terms = Terms::of_coin(coin, Some(Contract::Coins(*size))).ok()?;
            Instrument::new(&format!("{coin}-USDT-SWAP"), terms)
        });
        let inverse = INVERSE.iter().filter_map(|coin| self.implied(&format!("{coin}-USD-SWAP")));
        linear.chain(inverse).collect()
    }

    fn implied(&self, symbol: &str) -> Option<Instrument> {
        Instrument::new(symbol, implied(symbol).ok()?)
    }

    fn parse(&self, frame: &[u8], desk: &mut Desk, out: &mut dyn Items) -> Verdict {
        if frame == b"pong" {
            return Verdict::Control(Control::Pong);
        }
        let Desk { instruments, scratch, .. } = desk;
        let mut page = Page { venue: Venue::Okx, known: instruments, implied, out };
        scratch.read(frame, |json| message(json, &mut page)).unwrap_or_else(Verdict::Rejected)
    }
}

/// Swaps: against USDT, then USDC, then inverse.
fn rank(name: &str) -> Option<u8> {
    ["-USDT-SWAP", "-USDC-SWAP", "-USD-SWAP"]
        .iter()
        .zip(0..)
        .find_map(|(end, rank)| name.ends_with(end).then_some(rank))
}

/// `BTC-USD-SWAP` and `BTC-USD-251226` are 100 USD, other coins 10 USD. A linear contract
/// (`BTC-USDT-SWAP`, `BTC-USD_UM-SWAP`) can be of any size.
fn implied(name: &str) -> Result<Terms, &'static str> {
    let mut parts = name.split('-');
    let (coin, quote) = (parts.next().unwrap_or(name), parts.next().ok_or("symbol")?);
    let (kind, more) = (parts.next(), parts.next());
    let contract = match quote {
        _ if more.is_some() => return Err("option"),
        _ if kind.is_none() => return Err("spot"),
        "USD" => Some(Contract::Usd(if coin == "BTC" { 100.0 } else { 10.0 })),
        linear if USD_QUOTES.contains(&linear) || linear.starts_with("USD_") => None,
        _ => return Err("quote"),
    };
    Terms::of_coin(coin, contract)
}

/// A row of `instruments`. Placeholders have no contract value, or no name of three parts.
fn listed(row: Json<'_>) -> Option<Instrument> {
    fields!(row => name = "instId", value = "ctVal", factor = "ctMult", unit = "ctValCcy",
        kind = "ctType");
    let positive = |field: Option<Json<'_>>| field?.number().filter(|number| *number > 0.0);
    let name = name?.text()?;
    let size = positive(value)? * positive(factor)?;
    let mut terms = implied(name).ok()?;
    terms.contract = match (kind?.text()?, unit?.text()?) {
        ("linear", coin) if name.split('-').next() == Some(coin) => Some(Contract::Coins(size)),
        ("inverse", "USD") => Some(Contract::Usd(size)),
        _ => None,
    };
    Instrument::new(name, terms)
}

fn message(json: Json<'_>, page: &mut Page<'_>) -> Verdict {
    fields!(json => arg = "arg", data = "data", event = "event");
    if let Some(event) = event {
        return answer(event, json);
    }
    let Some(channel) = arg.and_then(|arg| arg.get("channel")).and_then(Json::text) else {
        return Verdict::Rejected("schema");
    };
    let each: fn(Json<'_>, Json<'_>, &mut Page<'_>) = match channel {
        "liquidation-orders" => liquidations,
        "trades" => trade,
        "bbo-tbt" => book,
        "mark-price" => mark,
        "funding-rate" => funding,
        "open-interest" => open_interest,
        candle if candle.starts_with("candle") => return Verdict::Ignored("candle"),
        candle if candle.contains("-candle") => return Verdict::Ignored("candle"),
        name => return of_no_interest(name, &UNNEEDED),
    };
    match (arg, data.and_then(Json::rows)) {
        (Some(arg), Some(rows)) => rows.for_each(|row| each(row, arg, page)),
        _ => return Verdict::Rejected("schema"),
    }
    Verdict::Decoded
}

/// One instrument with its orders; the orders come before the instrument's name.
fn liquidations(row: Json<'_>, _: Json<'_>, page: &mut Page<'_>) {
    fields!(row => name = "instId", details = "details");
    match details.and_then(Json::rows) {
        Some(orders) => orders.for_each(|order| liquidation(order, name, page)),
        None => page.refuse("schema"),
    }
}

fn liquidation(order: Json<'_>, name: Option<Json<'_>>, page: &mut Page<'_>) {
    fields!(order => position = "posSide", side = "side", price = "bkPx", size = "sz", time = "ts");
    let Some(mut item) = page.item(name, Time::In(time)) else {
        return;
    };
    let side = match (text(position), text(side)) {
        (Some("long"), _) => Side::Long,
        (Some("short"), _) => Side::Short,
        (Some("net" | "") | None, Some("sell")) => Side::Long,
        (Some("net" | "") | None, Some("buy")) => Side::Short,
        _ => return item.refuse("side"),
    };
    item.liquidation(Completeness::Lossy, Some(side), number(price), number(size));
}

fn trade(row: Json<'_>, arg: Json<'_>, page: &mut Page<'_>) {
    fields!(row => name = "instId", price = "px", size = "sz", side = "side", time = "ts",
        id = "tradeId");
    let Some(mut item) = page.item(name.or_else(|| arg.get("instId")), Time::In(time)) else {
        return;
    };
    item.numbered(id);
    let taker = match text(side) {
        Some("buy") => Some(Taker::Buy),
        Some("sell") => Some(Taker::Sell),
        _ => None,
    };
    item.trade(taker, number(price), number(size));
}

/// The name is in `arg` only.
fn book(row: Json<'_>, arg: Json<'_>, page: &mut Page<'_>) {
    fields!(row => name = "instId", bids = "bids", asks = "asks", time = "ts");
    let Some(mut item) = page.item(name.or_else(|| arg.get("instId")), Time::In(time)) else {
        return;
    };
    match (level(bids), level(asks)) {
        (Ok(bid), Ok(ask)) => item.book(bid, ask),
        (Err(reason), _) | (_, Err(reason)) => item.refuse(reason),
    }
}

/// The first of a side's levels: price, size, and two numbers of no interest.
fn level(side: Option<Json<'_>>) -> Result<Level, &'static str> {
    let first = side.and_then(|side| side.elements().next());
    let mut level = first.ok_or("one_sided")?.elements();
    let (price, size) = (level.next(), level.next());
    Level::read(price, size)
}

fn mark(row: Json<'_>, arg: Json<'_>, page: &mut Page<'_>) {
    fields!(row => name = "instId", price = "markPx", time = "ts");
    if let Some(mut item) = page.item(name.or_else(|| arg.get("instId")), Time::In(time)) {
        item.mark(number(price), None);
    }
}

/// `fundingTime` is when this rate is paid; `nextFundingTime` is the one after.
fn funding(row: Json<'_>, arg: Json<'_>, page: &mut Page<'_>) {
    fields!(row => name = "instId", rate = "fundingRate", next = "fundingTime", time = "ts");
    if let Some(mut item) = page.item(name.or_else(|| arg.get("instId")), Time::In(time)) {
        item.funding(rate, next);
    }
}

fn open_interest(row: Json<'_>, arg: Json<'_>, page: &mut Page<'_>) {
    fields!(row => name = "instId", contracts = "oi", coins = "oiCcy", usd = "oiUsd", time = "ts");
    if let Some(mut item) = page.item(name.or_else(|| arg.get("instId")), Time::In(time)) {
        item.open_interest(number(contracts), number(coins), number(usd));
    }
}

/// The notice that the connection will close soon, for a service upgrade.
const CLOSING: &str = "64008";

fn answer(event: Json<'_>, json: Json<'_>) -> Verdict {
    let code = json.get("code").and_then(Json::text);
    Verdict::Control(match event.text() {
        Some("subscribe" | "unsubscribe" | "login") => Control::Ack,
        Some("error") => Control::Refused,
        Some("notice") if code == Some(CLOSING) => Control::Closing,
        Some("notice" | "channel-conn-count" | "channel-conn-count-error") => Control::Notice,
        _ => return Verdict::Rejected("schema"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::exchange::tests::{Sample, check, listed_names, told};
    use crate::symbol::Symbol;

    #[test]
    fn frames_mean_what_the_venue_says() {
        let samples: &[Sample] = &[
            (
                r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"60000","ccy":"","posSide":"short","side":"buy","sz":"8.5","ts":"1790000000955"},{"bkLoss":"0","bkPx":"61000","ccy":"","posSide":"net","side":"sell","sz":"1","ts":"1790000000955","time":1790000000955}],"instFamily":"BTC-USDT","instId":"BTC-USDT-SWAP","instType":"SWAP","uly":"BTC-USDT"},{"instId":"ETH-USD-SWAP","details":[{"bkPx":"2000","posSide":"long","side":"sell","sz":"20","ts":"1790000000956"}]}]}"#,
                Verdict::Decoded,
                "liquidation BTCUSDT BTC-USDT-SWAP short 60000 0.085 5100 @1790000000955 lossy
                 liquidation BTCUSDT BTC-USDT-SWAP long 61000 0.01 610 @1790000000955 lossy
                 liquidation ETHUSDT ETH-USD-SWAP long 2000 0.1 200 @1790000000956 lossy",
            ),
            (
                r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkPx":"0.4","posSide":"short","side":"buy","sz":"2137","ts":"1790000000955"}],"instId":"NEWCOIN-USDT-SWAP"},{"details":[{"bkPx":"0.4","side":"up","sz":"1","ts":"1790000000955"}],"instId":"NEWCOIN-USDT-SWAP"},{"instId":"X-USDT-SWAP"}]}"#,
                Verdict::Decoded,
                "liquidation NEWCOINUSDT NEWCOIN-USDT-SWAP short 0.4 - - @1790000000955 lossy unknown_instrument
                 refused side
                 refused schema",
            ),
            (
                r#"{"arg":{"channel":"trades","instId":"SHIB-USDT-SWAP"},"data":[{"instId":"SHIB-USDT-SWAP","tradeId":"314161276","px":"0.00001","sz":"2","side":"sell","ts":"1790000000593","count":"1","seqId":1}]}"#,
                Verdict::Decoded,
                "trade SHIBUSDT SHIB-USDT-SWAP sell 0.00001 2000000 20 @1790000000593 complete",
            ),
            (
                r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","px":"60000","sz":"0.1","side":"buy","ts":"1790000000593"}]}"#,
                Verdict::Decoded,
                "refused spot",
            ),
            (
                r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"asks":[["60001","100","0","1"]],"bids":[["60000","200","0","6"]],"ts":"1790000000078"},{"asks":[],"bids":[["60000","200","0","6"]],"ts":"1790000000079"}]}"#,
                Verdict::Decoded,
                "book BTCUSDT BTC-USDT-SWAP 60000 60001 depth 180001 @1790000000078 complete
                 refused one_sided",
            ),
            (
                r#"{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","instType":"SWAP","markPx":"60000.5","ts":"1790000000676"}]}"#,
                Verdict::Decoded,
                "mark BTCUSDT BTC-USDT-SWAP 60000.5 index - @1790000000676 complete",
            ),
            (
                r#"{"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"fundingRate":"0.0001","fundingTime":"1790006400000","instId":"BTC-USDT-SWAP","nextFundingRate":"","nextFundingTime":"1790035200000","ts":"1790000000438"}]}"#,
                Verdict::Decoded,
                "funding BTCUSDT BTC-USDT-SWAP 0.0001 next 1790006400000 @1790000000438 complete",
            ),
            (
                r#"{"arg":{"channel":"open-interest","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","oi":"2500000","oiCcy":"25000","oiUsd":"1500000000","ts":"1790000000756"}]}"#,
                Verdict::Decoded,
                "open_interest BTCUSDT BTC-USDT-SWAP 25000 1500000000 @1790000000756 complete",
            ),
            ("pong", Verdict::Control(Control::Pong), ""),
            (r#"{"event":"subscribe","arg":{"channel":"trades","instId":"X"},"connId":"a"}"#, Verdict::Control(Control::Ack), ""),
            (r#"{"event":"error","msg":"Wrong URL or channel","code":"60018","connId":"a"}"#, Verdict::Control(Control::Refused), ""),
            (r#"{"event":"notice","code":"64008","msg":"The connection will soon be closed"}"#, Verdict::Control(Control::Closing), ""),
            (r#"{"event":"channel-conn-count","channel":"account","connCount":"1"}"#, Verdict::Control(Control::Notice), ""),
            (r#"{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[]}"#, Verdict::Ignored("candle"), ""),
            (r#"{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":[]}"#, Verdict::Ignored("books5"), ""),
            (r#"{"arg":{"channel":"liquidation-orders"},"data":[]}"#, Verdict::Decoded, ""),
            (r#"{"arg":{"channel":"trades"}}"#, Verdict::Rejected("schema"), ""),
            (r#"{"arg":{"channel":"novelty"},"data":[]}"#, Verdict::Rejected("channel"), ""),
            ("ping", Verdict::Rejected("json"), ""),
        ];
        check(&Okx, samples);
    }

    #[test]
    fn only_inverse_contracts_have_a_size_that_needs_no_table() {
        let name = |symbol| told(&Okx, symbol);
        assert_eq!(name("BTC-USD-SWAP"), "BTCUSDT Usd(100.0) 1");
        assert_eq!(name("FIL-USD-220325"), "FILUSDT Usd(10.0) 1");
        for unknown in [
            "BTC-USDT-SWAP",
            "BTC-USD_UM_XPERP-310404",
            "BTC-USDT",
            "BTC-USD-251226-60000-C",
            "ETH-BTC-SWAP",
            "BTC",
            "",
        ] {
            assert_eq!(name(unknown), "unknown", "{unknown}");
        }
    }

    #[test]
    fn listings_give_sizes_and_leave_out_placeholders() {
        let body = br#"{"code":"0","data":[
            {"instId":"BTC-USDT-SWAP","ctVal":"0.01","ctMult":"1","ctValCcy":"BTC","ctType":"linear"},
            {"instId":"ETH-USD-SWAP","ctVal":"10","ctMult":"1","ctValCcy":"USD","ctType":"inverse"},
            {"instId":"PEPE-USDT-SWAP","ctVal":"10000000","ctMult":"1","ctValCcy":"PEPE","ctType":"linear"},
            {"instId":"LISTING-USDT-SWAP","ctVal":"","ctMult":"","ctValCcy":"","ctType":"linear"},
            {"instId":"ODD-USDT-SWAP","ctVal":"1","ctMult":"1","ctValCcy":"USDT","ctType":"linear"},
            {"instId":"LISTING-7","ctVal":"1","ctMult":"1","ctValCcy":"LISTING","ctType":"linear"}]}"#;
        let listed = Okx.listed(body).unwrap();
        assert_eq!(listed_names(&listed), "BTC-USDT-SWAP ETH-USD-SWAP PEPE-USDT-SWAP");
        assert_eq!(listed.get(2).map(|i| i.contract), Some(Contract::Coins(1e7)));
    }

    #[test]
    fn liquidations_are_asked_for_by_type_and_context_by_name() {
        let mut known = Instruments::default();
        known.extend(Okx.built_in());
        let wanted = Wanted {
            reference: vec![Symbol::BTC, Symbol::of_base("NONE").unwrap()],
            ..Wanted::default()
        };
        let frames = Okx.subscriptions(&PUBLIC, &known, &wanted);
        assert_eq!(frames.len(), 1);
        let frame = frames.concat();
        assert!(frame.contains(r#"{"channel":"liquidation-orders","instType":"SWAP"}"#), "{frame}");
        assert!(frame.contains(r#"{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"}"#), "{frame}");
        assert_eq!(frame.matches("instId").count(), CONTEXT.len(), "{frame}");
    }
}
