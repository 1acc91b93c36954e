//! Bybit v5: linear and inverse derivatives.
//!
//! * `allLiquidation.{symbol}` shows every liquidation, in batches of half a second, one topic per
//!   symbol. `S` is the side of the *position*: `Buy` is a long. `p` is its bankruptcy price.
//! * The old `liquidation.{symbol}` (one order per symbol and second, position side as well) is read
//!   where recorded data holds it.
//! * Linear counts in coins, inverse in USD.
//! * `tickers` send a snapshot and then only the keys that change; one event per fact that is there.

use super::json::{Json, Scratch, fields, number, text};
use super::page::{Page, Time};
use super::tops::Tops;
use super::{
    Control, Desk, Exchange, Heartbeat, Items, Listing, Route, Verdict, Wanted, listing, names,
    of_no_interest,
};
use crate::event::{Completeness, Side, Taker, Venue};
use crate::ingest::instrument::{Contract, Instrument, Instruments, Terms, USD_QUOTES};

/// Bybit.
pub struct Bybit;

const LINEAR: Route =
    Route { name: "linear", url: "wss://stream.bybit.com/v5/public/linear", liquidations: true };
const INVERSE: Route =
    Route { name: "inverse", url: "wss://stream.bybit.com/v5/public/inverse", liquidations: true };
static ROUTES: [Route; 2] = [LINEAR, INVERSE];

static LISTINGS: [Listing; 2] = [
    Listing {
        url: "https://api.bybit.com/v5/market/instruments-info?category=linear&limit=1000",
        body: None,
    },
    Listing {
        url: "https://api.bybit.com/v5/market/instruments-info?category=inverse&limit=1000",
        body: None,
    },
];

/// Longest cursor of a page.
const CURSOR_MAX: usize = 512;
/// Characters in the topics of one connection, with their quotes and commas.
const TOPIC_CHARS_MAX: usize = 21_000;
/// Topics in one request.
const TOPICS_PER_FRAME: usize = 200;

/// Coins of the main linear perpetuals.
const LINEAR_COINS: [&str; 38] = [
    "BTC",
    "ETH",
    "SOL",
    "XRP",
    "DOGE",
    "BNB",
    "ADA",
    "LINK",
    "AVAX",
    "LTC",
    "SUI",
    "TRX",
    "DOT",
    "BCH",
    "NEAR",
    "APT",
    "ARB",
    "OP",
    "FIL",
    "ATOM",
    "UNI",
    "AAVE",
    "ETC",
    "INJ",
    "TIA",
    "SEI",
    "WLD",
    "ENA",
    "HYPE",
    "WIF",
    "ORDI",
    "XLM",
    "HBAR",
    "ICP",
    "1000PEPE",
    "SHIB1000",
    "1000BONK",
    "1000FLOKI",
];
/// Coins of the main inverse perpetuals.
const INVERSE_COINS: [&str; 9] = ["BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC", "EOS", "MANA"];

/// Topics of no interest, up to their first dot.
const UNNEEDED: [&str; 20] = [
    "orderbook",
    "orderBookL2_25",
    "orderBook_200",
    "kline",
    "klineV2",
    "candle",
    "instrument_info",
    "trade",
    "depth",
    "bookticker",
    "insurance",
    "adlAlert",
    "adl",
    "priceLimit",
    "lt",
    "kline_lt",
    "tickers_lt",
    "greeks",
    "order",
    "execution",
];

impl Exchange for Bybit {
    fn venue(&self) -> Venue {
        Venue::Bybit
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    /// Trades and tickers of the symbols that are wanted, then the liquidations of every instrument
    /// of the route, as many as the limit allows.
    fn subscriptions(&self, route: &Route, known: &Instruments, wanted: &Wanted) -> Vec<String> {
        let inverse = route.name == INVERSE.name;
        let here = |i: &Instrument| matches!(i.contract, Contract::Usd(_)) == inverse;
        let reference = names(known, wanted, |i| rank(&i.name).filter(|_| here(i)));
        let all = known.sorted().into_iter().filter(|i| here(i)).map(|i| i.name.as_str());
        let liquidated = reference.iter().copied().chain(all.filter(|n| !reference.contains(n)));
        let context = reference
            .iter()
            .flat_map(|name| [format!("publicTrade.{name}"), format!("tickers.{name}")]);
        let mut chars = 0;
        let topics: Vec<String> = context
            .chain(liquidated.map(|name| format!("allLiquidation.{name}")))
            .take_while(|topic| {
                chars += topic.chars().count() + 3;
                chars <= TOPIC_CHARS_MAX
            })
            .collect();
        let frame = |(id, topics): (u64, &[String])| {
            let request = serde_json::json!({
                "req_id": id.to_string(), "op": "subscribe", "args": topics
            });
            request.to_string()
        };
        (1..).zip(topics.chunks(TOPICS_PER_FRAME)).map(frame).collect()
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat { every_ms: 20_000, text: Some(r#"{"op":"ping"}"#) }
    }

    fn completeness(&self) -> Completeness {
        Completeness::Complete
    }

    fn canary(&self, route: &Route) -> &'static str {
        if route.name == INVERSE.name { "tickers.BTCUSD" } else { "tickers.BTCUSDT" }
    }

    fn sampling(&self, _: &Route) -> &'static str {
        "every one, gathered for half a second; the price is the bankruptcy price"
    }

    fn limits(&self) -> &'static str {
        "500 connections in 5 minutes, 21000 characters of topics on a connection"
    }

    fn listings(&self) -> &'static [Listing] {
        &LISTINGS
    }

    fn listed(&self, body: &[u8]) -> Result<Vec<Instrument>, String> {
        listing(body, |json| json.get("result")?.get("list"), listed)
    }

    fn next_page(&self, body: &[u8]) -> Result<Option<String>, String> {
        let cursor = |json: Json<'_>| {
            let cursor = text(json.get("result")?.get("nextPageCursor"))?;
            (!cursor.is_empty()).then(|| cursor.to_owned())
        };
        let cursor = Scratch::for_listing().read(body, cursor);
        let Some(cursor) = cursor.map_err(|reason| format!("not JSON: {reason}"))? else {
            return Ok(None);
        };
        // It is written as it must stand in a URL; anything else would ask for something else.
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"%-_.~".contains(&b);
        match cursor.len() <= CURSOR_MAX && cursor.bytes().all(fits) {
            true => Ok(Some(format!("&cursor={cursor}"))),
            false => Err("the next page's cursor makes no sense".to_owned()),
        }
    }

    fn built_in(&self) -> Vec<Instrument> {
        let linear = LINEAR_COINS.iter().map(|coin| format!("{coin}USDT"));
        let inverse = INVERSE_COINS.iter().map(|coin| format!("{coin}USD"));
        linear.chain(inverse).filter_map(|name| self.implied(&name)).collect()
    }

    fn implied(&self, symbol: &str) -> Option<Instrument> {
        Instrument::new(symbol, implied(symbol).ok()?)
    }

    fn parse(&self, frame: &[u8], desk: &mut Desk, out: &mut dyn Items) -> Verdict {
        let Desk { instruments, scratch, tops, .. } = desk;
        let mut page = Page { venue: Venue::Bybit, known: instruments, implied, out };
        scratch.read(frame, |json| message(json, &mut page, tops)).unwrap_or_else(Verdict::Rejected)
    }
}

/// Perpetuals: `BTCUSDT` and `BTCUSD` before `BTCPERP`, which is in USDC.
fn rank(name: &str) -> Option<u8> {
    match name {
        dated if dated.contains('-') => None,
        first if first.ends_with("USDT") || first.ends_with("USD") => Some(0),
        usdc if usdc.ends_with("PERP") => Some(1),
        _ => None,
    }
}

/// Linear: `BTCUSDT`, `BTCUSDT-26DEC25`, and in USDC `BTCPERP`, `BTC-26DEC25`. Inverse: `BTCUSD`,
/// `BTCUSDZ25`. Four parts and more are options.
fn implied(name: &str) -> Result<Terms, &'static str> {
    let mut parts = name.split('-');
    let (pair, date, more) = (parts.next().unwrap_or(name), parts.next(), parts.next());
    if more.is_some() {
        return Err("option");
    }
    let linear = ["USDT", "USDC", "PERP"].iter().find_map(|end| pair.strip_suffix(end));
    if let Some(coin) = linear.filter(|coin| !coin.is_empty()) {
        return Terms::of_coin(coin, Some(Contract::Coins(1.0)));
    }
    match (without_month(pair).strip_suffix("USD"), date) {
        (Some(coin), None) => Terms::of_coin(coin, Some(Contract::Usd(1.0))),
        (None, Some(_)) => Terms::of_coin(pair, Some(Contract::Coins(1.0))),
        _ => Err("quote"),
    }
}

/// `BTCUSDZ25` without `Z25`: the letter of a month and a year.
fn without_month(pair: &str) -> &str {
    let Some((rest, code)) = pair.len().checked_sub(3).and_then(|at| pair.split_at_checked(at))
    else {
        return pair;
    };
    match code.as_bytes() {
        [month, tens, ones]
            if b"FGHJKMNQUVXZ".contains(month)
                && tens.is_ascii_digit()
                && ones.is_ascii_digit() =>
        {
            rest
        }
        _ => pair,
    }
}

/// A row of `instruments-info`. The symbol tells market and multiplier, the row the kind of contract;
/// rows without one are spot or options.
fn listed(row: Json<'_>) -> Option<Instrument> {
    fields!(row => name = "symbol", kind = "contractType", quote = "quoteCoin");
    USD_QUOTES.contains(&quote?.text()?).then_some(())?;
    let mut terms = implied(name?.text()?).ok()?;
    terms.contract = match kind?.text()? {
        "LinearPerpetual" | "LinearFutures" => Some(Contract::Coins(1.0)),
        "InversePerpetual" | "InverseFutures" => Some(Contract::Usd(1.0)),
        _ => None,
    };
    Instrument::new(name?.text()?, terms)
}

fn message(json: Json<'_>, page: &mut Page<'_>, tops: &mut Tops) -> Verdict {
    let Some(topic) = json.get("topic") else {
        return answer(json);
    };
    let Some(topic) = topic.text() else {
        return Verdict::Rejected("schema");
    };
    let each: fn(Json<'_>, &mut Page<'_>) = match topic.split('.').next().unwrap_or(topic) {
        "allLiquidation" => liquidation,
        "liquidation" => old_liquidation,
        "publicTrade" => trade,
        "tickers" => return tickers(json, page, tops),
        name => return of_no_interest(name, &UNNEEDED),
    };
    let Some(rows) = json.get("data").and_then(Json::rows) else {
        return Verdict::Rejected("schema");
    };
    rows.for_each(|row| each(row, page));
    Verdict::Decoded
}

/// The position's side, unlike on most venues.
fn position(side: Option<Json<'_>>) -> Result<Side, &'static str> {
    match text(side) {
        Some("Buy") => Ok(Side::Long),
        Some("Sell") => Ok(Side::Short),
        _ => Err("side"),
    }
}

fn liquidation(row: Json<'_>, page: &mut Page<'_>) {
    fields!(row => time = "T", symbol = "s", side = "S", size = "v", price = "p");
    let Some(mut item) = page.item(symbol, Time::In(time)) else {
        return;
    };
    match position(side) {
        Ok(side) => {
            item.liquidation(Completeness::Complete, Some(side), number(price), number(size))
        }
        Err(reason) => item.refuse(reason),
    }
}

fn old_liquidation(row: Json<'_>, page: &mut Page<'_>) {
    fields!(row => time = "updatedTime", older_time = "time", symbol = "symbol", side = "side",
        size = "size", older_size = "qty", price = "price");
    let Some(mut item) = page.item(symbol, Time::In(time.or(older_time))) else {
        return;
    };
    let (price, size) = (number(price), number(size.or(older_size)));
    match position(side) {
        Ok(side) => item.liquidation(Completeness::Sampled, Some(side), price, size),
        Err(reason) => item.refuse(reason),
    }
}

fn trade(row: Json<'_>, page: &mut Page<'_>) {
    fields!(row => time = "T", symbol = "s", side = "S", size = "v", price = "p",
        id = "i");
    let Some(mut item) = page.item(symbol, Time::In(time)) else {
        return;
    };
    item.numbered(id);
    let taker = match text(side) {
        Some("Buy") => Some(Taker::Buy),
        Some("Sell") => Some(Taker::Sell),
        _ => None,
    };
    item.trade(taker, number(price), number(size));
}

fn tickers(json: Json<'_>, page: &mut Page<'_>, tops: &mut Tops) -> Verdict {
    fields!(json => kind = "type", data = "data", time = "ts");
    let Some(data) = data.filter(|data| data.is_object()) else {
        return Verdict::Rejected("schema");
    };
    fields!(data => symbol = "symbol", mark = "markPrice", index = "indexPrice",
        rate = "fundingRate", next = "nextFundingTime", interest = "openInterest",
        value = "openInterestValue", bid = "bid1Price", bid_size = "bid1Size", ask = "ask1Price",
        ask_size = "ask1Size");
    let Some(mut item) = page.item(symbol, Time::In(time)) else {
        return Verdict::Decoded;
    };
    if mark.is_some() {
        item.mark(number(mark), number(index));
    }
    item.funding(rate, next);
    if interest.is_some() {
        let (interest, value) = (number(interest), number(value));
        match item.terms.contract {
            Some(Contract::Usd(_)) => item.open_interest(interest, value, None),
            _ => item.open_interest(interest, None, value),
        }
    }
    let top = [bid, bid_size, ask, ask_size];
    if top.iter().any(Option::is_some) {
        let snapshot = text(kind) == Some("snapshot");
        let change = top.map(|field| field.map(Json::number));
        match (text(symbol), top.into_iter().flatten().any(is_no_number)) {
            (_, true) => item.refuse("price"),
            (Some(name), false) => {
                if let Some((bid, ask)) = tops.change(name, snapshot, change) {
                    item.book(bid, ask);
                }
            }
            (None, false) => {}
        }
    }
    Verdict::Decoded
}

fn is_no_number(field: Json<'_>) -> bool {
    field.number().is_none() && !field.is_blank()
}

/// What has no topic answers a request of ours: `op` is `ping` even in the answer.
fn answer(json: Json<'_>) -> Verdict {
    fields!(json => success = "success", op = "op", said = "ret_msg", kind = "type", data = "data");
    let is = |field: Option<Json<'_>>, word: &str| text(field) == Some(word);
    if is(said, "pong") || is(op, "pong") {
        return Verdict::Control(Control::Pong);
    }
    let failed = data.and_then(|data| data.get("failTopics"));
    let some_failed = failed.is_some_and(|topics| topics.elements().next().is_some());
    match success.and_then(Json::flag) {
        Some(true) if !some_failed => Verdict::Control(Control::Ack),
        Some(_) => Verdict::Control(Control::Refused),
        None if is(kind, "COMMAND_RESP") => Verdict::Control(Control::Notice),
        None => Verdict::Rejected("schema"),
    }
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
                r#"{"topic":"allLiquidation.SOLUSDT","type":"snapshot","ts":1790000000551,"data":[{"T":1790000000156,"s":"SOLUSDT","S":"Buy","v":"20","p":"140.5"},{"T":1790000000156,"s":"SOLUSDT","S":"Buy","v":"20","p":"140.5"}]}"#,
                Verdict::Decoded,
                "liquidation SOLUSDT SOLUSDT long 140.5 20 2810 @1790000000156 complete
                 liquidation SOLUSDT SOLUSDT long 140.5 20 2810 @1790000000156 complete",
            ),
            (
                r#"{"data":[{"p":"60000","v":"300","S":"Sell","s":"BTCUSD","T":"1790000000156"}],"ts":1,"topic":"allLiquidation.BTCUSD"}"#,
                Verdict::Decoded,
                "liquidation BTCUSDT BTCUSD short 60000 0.005 300 @1790000000156 complete",
            ),
            (
                r#"{"topic":"allLiquidation.SHIB1000USDT","data":{"T":1790000000156,"s":"SHIB1000USDT","S":"Sell","v":"1000","p":"0.01"}}"#,
                Verdict::Decoded,
                "liquidation SHIBUSDT SHIB1000USDT short 0.00001 1000000 10 @1790000000156 complete",
            ),
            (
                r#"{"topic":"liquidation.BTCUSDT","type":"snapshot","ts":1700000000953,"data":{"updatedTime":1700000000953,"symbol":"BTCUSDT","side":"Sell","size":"0.003","price":"43000"}}"#,
                Verdict::Decoded,
                "liquidation BTCUSDT BTCUSDT short 43000 0.003 129 @1700000000953 sampled",
            ),
            (
                r#"{"topic":"liquidation.ETHUSD","data":[{"symbol":"ETHUSD","side":"Buy","price":"3000","qty":"600","time":1630000000954}]}"#,
                Verdict::Decoded,
                "liquidation ETHUSDT ETHUSD long 3000 0.2 600 @1630000000954 sampled",
            ),
            (
                r#"{"topic":"allLiquidation.SOLUSDT","data":[{"p":"","v":null,"S":null,"T":"x"},{"T":1,"s":"SOLUSDT","S":"sell","v":"1","p":"1"},{"T":1,"s":"SOLUSDT","S":"Sell","v":"-1","p":"1"},{"T":1,"s":"SOLUSDT","S":"Sell","v":"1","p":"NaN"}]}"#,
                Verdict::Decoded,
                "refused symbol
                 refused side
                 refused quantity
                 refused price",
            ),
            (
                r#"{"topic":"publicTrade.BTCUSDT","ts":1790000000551,"type":"snapshot","data":[{"i":"x","T":1790000000550,"p":"60000","v":"0.5","S":"Sell","s":"BTCUSDT","BT":false}]}"#,
                Verdict::Decoded,
                "trade BTCUSDT BTCUSDT sell 60000 0.5 30000 @1790000000550 complete",
            ),
            (
                r#"{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","markPrice":"60000","indexPrice":"60010","openInterest":"50000","openInterestValue":"3000000000","nextFundingTime":"1790006400000","fundingRate":"-0.0001","bid1Price":"59999","bid1Size":"1","ask1Price":"60000","ask1Size":"2"},"cs":1,"ts":1790000000577}"#,
                Verdict::Decoded,
                "mark BTCUSDT BTCUSDT 60000 index 60010 @1790000000577 complete
                 funding BTCUSDT BTCUSDT -0.0001 next 1790006400000 @1790000000577 complete
                 open_interest BTCUSDT BTCUSDT 50000 3000000000 @1790000000577 complete
                 book BTCUSDT BTCUSDT 59999 60000 depth 179999 @1790000000577 complete",
            ),
            (
                r#"{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","bid1Price":"59998","bid1Size":"3"},"cs":2,"ts":1790000000677}"#,
                Verdict::Decoded,
                "book BTCUSDT BTCUSDT 59998 60000 depth 299994 @1790000000677 complete",
            ),
            (
                r#"{"topic":"tickers.BTCUSD","type":"delta","data":{"symbol":"BTCUSD","openInterest":"600000","openInterestValue":"10.5","ask1Price":"60000"},"ts":1790000000777}"#,
                Verdict::Decoded,
                "open_interest BTCUSDT BTCUSD 10.5 600000 @1790000000777 complete",
            ),
            (
                r#"{"topic":"tickers.BTCUSDU23","type":"snapshot","data":{"symbol":"BTCUSDU23","nextFundingTime":"","fundingRate":""},"ts":1690000000099}"#,
                Verdict::Decoded,
                "",
            ),
            (
                r#"{"success":true,"ret_msg":"","conn_id":"c","req_id":"1","op":"subscribe"}"#,
                Verdict::Control(Control::Ack),
                "",
            ),
            (
                r#"{"success":false,"ret_msg":"args size \u003e10","conn_id":"c","op":"subscribe"}"#,
                Verdict::Control(Control::Refused),
                "",
            ),
            (
                r#"{"success":true,"conn_id":"c","data":{"failTopics":["x"],"successTopics":[]},"type":"COMMAND_RESP"}"#,
                Verdict::Control(Control::Refused),
                "",
            ),
            (
                r#"{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}"#,
                Verdict::Control(Control::Pong),
                "",
            ),
            (r#"{"args":["1790000000846"],"op":"pong"}"#, Verdict::Control(Control::Pong), ""),
            (r#"{"topic":"kline.1.BTCUSDT","data":[]}"#, Verdict::Ignored("kline"), ""),
            (r#"{"topic":"publicTrade.BTCUSDT","data":7}"#, Verdict::Rejected("schema"), ""),
            (r#"{"topic":"novelty.BTCUSDT","data":[]}"#, Verdict::Rejected("channel"), ""),
            ("[]", Verdict::Rejected("schema"), ""),
        ];
        check(&Bybit, samples);
    }

    #[test]
    fn symbols_of_every_kind_mean_what_the_documentation_says() {
        let name = |symbol| told(&Bybit, symbol);
        assert_eq!(name("BTCPERP"), "BTCUSDT Coins(1.0) 1");
        assert_eq!(name("PERPUSDT"), "PERPUSDT Coins(1.0) 1");
        assert_eq!(name("BTC-17NOV23"), "BTCUSDT Coins(1.0) 1");
        assert_eq!(name("BTCUSDT-26DEC25"), "BTCUSDT Coins(1.0) 1");
        assert_eq!(name("BTCUSDZ25"), "BTCUSDT Usd(1.0) 1");
        assert_eq!(name("10000LADYSUSDT"), "LADYSUSDT Coins(1.0) 10000");
        for unknown in ["BTC-29SEP23-80000-C", "ETHBTC", "BTCEUR", "USDT", "币", ""] {
            assert_eq!(name(unknown), "unknown", "{unknown}");
        }
    }

    #[test]
    fn listings_give_contracts_and_leave_out_options_and_spot() {
        let body = br#"{"retCode":0,"result":{"list":[
            {"symbol":"BTCUSDT","contractType":"LinearPerpetual","quoteCoin":"USDT"},
            {"symbol":"BTCUSD","contractType":"InversePerpetual","quoteCoin":"USD"},
            {"symbol":"ETHBTC","contractType":"LinearPerpetual","quoteCoin":"BTC"},
            {"symbol":"ETHUSDT","quoteCoin":"USDT"},
            {"symbol":"BTC-29SEP23-80000-C","optionsType":"Call","quoteCoin":"USD"}]}}"#;
        assert_eq!(listed_names(&Bybit.listed(body).unwrap()), "BTCUSDT BTCUSD");
        assert!(Bybit.listed(br#"{"retCode":10001,"result":{}}"#).is_err());
    }

    #[test]
    fn a_cursor_leads_to_the_next_page_and_nowhere_else() {
        let page = |cursor: &str| format!(r#"{{"result":{{"nextPageCursor":"{cursor}"}}}}"#);
        let next = |cursor: &str| Bybit.next_page(page(cursor).as_bytes());
        assert_eq!(
            next("first%3DA%26last%3DB"),
            Ok(Some("&cursor=first%3DA%26last%3DB".to_owned()))
        );
        assert_eq!(next(""), Ok(None));
        assert_eq!(Bybit.next_page(b"{}"), Ok(None));
        for bad in ["a&category=spot", "a b", "a#", &"a".repeat(CURSOR_MAX + 1)] {
            assert!(next(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn topics_stay_within_the_limits_and_on_their_route() {
        let mut known = Instruments::default();
        known.extend(Bybit.built_in());
        let many = (0..1500).filter_map(|n| Bybit.implied(&format!("COIN{n:04}USDT")));
        known.extend(many);
        let eth = Symbol::of_base("ETH").unwrap();
        let wanted = Wanted { reference: vec![eth], ..Wanted::default() };
        let linear = Bybit.subscriptions(&LINEAR, &known, &wanted);
        assert!(linear.first().unwrap().contains(
            r#"["publicTrade.BTCUSDT","tickers.BTCUSDT","publicTrade.ETHUSDT","tickers.ETHUSDT","allLiquidation.BTCUSDT","allLiquidation.ETHUSDT","#
        ));
        let args = |frame: &String| frame.split_once('[').unwrap().1.len();
        assert!(linear.iter().map(args).sum::<usize>() <= TOPIC_CHARS_MAX + 200);
        assert!(linear.iter().all(|frame| frame.matches("\",\"").count() <= TOPICS_PER_FRAME + 2));
        let inverse = Bybit.subscriptions(&INVERSE, &known, &wanted).concat();
        assert!(inverse.contains("\"allLiquidation.XRPUSD\"") && !inverse.contains("USDT"));
    }
}
