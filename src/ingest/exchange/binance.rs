//! Binance USD-M, and the COIN-M contracts that its all-market stream carries.
//!
//! * Two routes: market data on `/market`, the book's top on `/public`. A stream on the wrong route
//!   is acknowledged and stays silent.
//! * `forceOrder` shows at most one order per symbol and second, the largest, pushed when the second
//!   ends. `S` is the side of the forced order: `SELL` closes a long. `ap` is the average fill; `p`
//!   is the order's limit, up to a tenth away, and stands in only where nothing else is told.
//! * USD-M counts in coins, COIN-M in contracts of 100 USD (BTC) or 10 USD: told apart by `st` and by
//!   the symbol, never by the host.
//! * Messages come bare or wrapped (`{"stream":..,"data":..}`), one or an array of them.

use super::json::{Json, fields, number, text};
use super::page::{Level, Page, Time};
use super::{
    Control, Desk, Exchange, Heartbeat, Items, Listing, Route, Verdict, Wanted, listing, names,
    of_no_interest,
};
use crate::event::{Completeness, Side, Taker, Venue};
use crate::ingest::instrument::{Contract, Instrument, Instruments, Terms, USD_QUOTES, strip_usd};

/// Binance.
pub struct Binance;

const MARKET: Route =
    Route { name: "market", url: "wss://fstream.binance.com/market/ws", liquidations: true };
const PUBLIC: Route =
    Route { name: "public", url: "wss://fstream.binance.com/public/ws", liquidations: false };
static ROUTES: [Route; 2] = [MARKET, PUBLIC];

static LISTINGS: [Listing; 2] = [
    Listing { url: "https://fapi.binance.com/fapi/v1/exchangeInfo", body: None },
    Listing { url: "https://dapi.binance.com/dapi/v1/exchangeInfo", body: None },
];

/// Streams on one connection.
const STREAMS_MAX: usize = 1024;
/// Streams in one request: few requests, since ten messages a second is the limit.
const STREAMS_PER_FRAME: usize = 200;

/// Coins of the main contracts: USD-M perpetuals in USDT.
const LINEAR: [&str; 40] = [
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
    "TON",
    "1000PEPE",
    "1000SHIB",
    "1000BONK",
    "1000FLOKI",
    "1INCH",
];
/// Coins of the main COIN-M perpetuals.
const INVERSE: [&str; 10] =
    ["BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC", "LINK", "DOT"];

/// Events of no interest, by the name in `e`.
const UNNEEDED: [&str; 19] = [
    "trade",
    "kline",
    "continuous_kline",
    "indexPrice_kline",
    "markPrice_kline",
    "depthUpdate",
    "24hrTicker",
    "24hrMiniTicker",
    "contractInfo",
    "compositeIndex",
    "assetIndexUpdate",
    "indexPriceUpdate",
    "tradingSession",
    "tradingSessionUpdate",
    "rpiDepthUpdate",
    "ACCOUNT_UPDATE",
    "ORDER_TRADE_UPDATE",
    "TRADE_LITE",
    "listenKeyExpired",
];

impl Exchange for Binance {
    fn venue(&self) -> Venue {
        Venue::Binance
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn subscriptions(&self, route: &Route, known: &Instruments, wanted: &Wanted) -> Vec<String> {
        let symbols = names(known, wanted, |instrument| rank(&instrument.name));
        let symbols = symbols.iter().map(|name| name.to_lowercase());
        let mut streams: Vec<String> = if route.name == PUBLIC.name {
            symbols.map(|symbol| format!("{symbol}@bookTicker")).collect()
        } else {
            let each = |s: String| [format!("{s}@aggTrade"), format!("{s}@markPrice@1s")];
            std::iter::once("!forceOrder@arr".to_owned()).chain(symbols.flat_map(each)).collect()
        };
        streams.truncate(STREAMS_MAX);
        let frame = |(id, params)| {
            serde_json::json!({"method": "SUBSCRIBE", "params": params, "id": id}).to_string()
        };
        (1..).zip(streams.chunks(STREAMS_PER_FRAME)).map(frame).collect()
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat { every_ms: 30_000, text: None }
    }

    fn completeness(&self) -> Completeness {
        Completeness::Sampled
    }

    fn canary(&self, route: &Route) -> &'static str {
        if route.name == PUBLIC.name { "btcusdt@bookTicker" } else { "btcusdt@aggTrade" }
    }

    fn sampling(&self, route: &Route) -> &'static str {
        if route.name == PUBLIC.name {
            "the top of the book only"
        } else {
            "at most one per symbol and second, the largest, told when the second ends"
        }
    }

    fn limits(&self) -> &'static str {
        "10 messages a second, 1024 streams on a connection, 24 hours"
    }

    fn listings(&self) -> &'static [Listing] {
        &LISTINGS
    }

    fn listed(&self, body: &[u8]) -> Result<Vec<Instrument>, String> {
        listing(body, |json| json.get("symbols"), listed)
    }

    fn built_in(&self) -> Vec<Instrument> {
        let linear = LINEAR.iter().map(|coin| format!("{coin}USDT"));
        let inverse = INVERSE.iter().map(|coin| format!("{coin}USD_PERP"));
        linear.chain(inverse).filter_map(|name| self.implied(&name)).collect()
    }

    fn implied(&self, symbol: &str) -> Option<Instrument> {
        Instrument::new(symbol, implied(symbol).ok()?)
    }

    fn parse(&self, frame: &[u8], desk: &mut Desk, out: &mut dyn Items) -> Verdict {
        let Desk { instruments, scratch, .. } = desk;
        let mut page = Page { venue: Venue::Binance, known: instruments, implied, out };
        scratch.read(frame, |json| message(json, &mut page)).unwrap_or_else(Verdict::Rejected)
    }
}

/// Linear perpetuals, USDT before other dollars.
fn rank(name: &str) -> Option<u8> {
    match name {
        dated if dated.contains('_') => None,
        usdt if usdt.ends_with("USDT") => Some(0),
        usdc if usdc.ends_with("USDC") => Some(1),
        _ => Some(2),
    }
}

/// `BTCUSDT`, `BTCUSDT_250926` are coins; `BTCUSD_PERP`, `BNBUSD_250926` are contracts of USD, where
/// the pair ends in `USD` and the coin may end in `B`.
fn implied(name: &str) -> Result<Terms, &'static str> {
    let (pair, suffix) = name.split_once('_').unwrap_or((name, ""));
    match pair.strip_suffix("USD") {
        Some(coin) if !suffix.is_empty() => Terms::of_coin(coin, Some(coin_margined(coin))),
        _ => Terms::of_coin(strip_usd(pair).ok_or("quote")?, Some(Contract::Coins(1.0))),
    }
}

fn coin_margined(coin: &str) -> Contract {
    Contract::Usd(if coin == "BTC" { 100.0 } else { 10.0 })
}

/// A row of `exchangeInfo`: COIN-M rows carry their `contractSize` in USD.
fn listed(row: Json<'_>) -> Option<Instrument> {
    fields!(row => name = "symbol", base = "baseAsset", quote = "quoteAsset", size = "contractSize");
    let (name, base) = (name?.text()?, base?.text()?);
    USD_QUOTES.contains(&text(quote)?).then_some(())?;
    let contract = match size {
        Some(size) => Contract::Usd(size.number().filter(|usd| *usd > 0.0)?),
        None => Contract::Coins(1.0),
    };
    Instrument::new(name, Terms::of_coin(base, Some(contract)).ok()?)
}

/// A frame: an event, a wrapped one, an array of them, or an answer to a request.
fn message(json: Json<'_>, page: &mut Page<'_>) -> Verdict {
    if json.is_array() {
        return events(json, page);
    }
    if let Some(event) = json.get("e") {
        return dispatch(event, json, page);
    }
    match json.get("data") {
        Some(data) if data.is_array() => events(data, page),
        Some(data) => match data.get("e") {
            Some(event) => dispatch(event, data, page),
            None => Verdict::Rejected("schema"),
        },
        None => answer(json),
    }
}

/// Each of an array; the frame counts as decoded if one of them was.
fn events(array: Json<'_>, page: &mut Page<'_>) -> Verdict {
    let mut verdict = None;
    for json in array.elements() {
        let one = match json.get("e") {
            Some(event) => dispatch(event, json, page),
            None => Verdict::Rejected("schema"),
        };
        match (verdict, one) {
            (Some(Verdict::Decoded), Verdict::Rejected(reason)) => page.refuse(reason),
            (Some(Verdict::Rejected(reason)), Verdict::Decoded) => {
                page.refuse(reason);
                verdict = Some(one);
            }
            (Some(Verdict::Decoded), _) => {}
            _ => verdict = Some(one),
        }
    }
    verdict.unwrap_or(Verdict::Decoded)
}

fn dispatch(event: Json<'_>, json: Json<'_>, page: &mut Page<'_>) -> Verdict {
    match event.text() {
        Some("forceOrder") => match json.get("o") {
            Some(order) if order.is_object() => force_order(order, page),
            _ => return Verdict::Rejected("schema"),
        },
        Some("aggTrade") => agg_trade(json, page),
        Some("bookTicker") => book_ticker(json, page),
        Some("markPriceUpdate") => mark_price(json, page),
        Some("serverShutdown") => return Verdict::Control(Control::Closing),
        Some(name) => return of_no_interest(name, &UNNEEDED),
        None => return Verdict::Rejected("schema"),
    }
    Verdict::Decoded
}

fn force_order(order: Json<'_>, page: &mut Page<'_>) {
    fields!(order => symbol = "s", side = "S", limit = "p", average = "ap", quantity = "q",
        filled = "z", time = "T", family = "st");
    let Some(mut item) = page.item(symbol, Time::In(time)) else {
        return;
    };
    let side = match text(side) {
        Some("SELL") => Side::Long,
        Some("BUY") => Side::Short,
        _ => return item.refuse("side"),
    };
    item.terms.contract = of_family(item.terms.contract, family);
    let amount = number(stated(filled).or(quantity));
    if amount == Some(0.0) {
        return item.refuse("unfilled");
    }
    let average = average.filter(|field| !field.is_blank()).map(Json::number);
    let price = match average {
        None | Some(Some(0.0)) => number(limit),
        Some(average) => average,
    };
    item.liquidation(Completeness::Sampled, Some(side), price, amount);
}

/// A field that is not left blank.
fn stated(field: Option<Json<'_>>) -> Option<Json<'_>> {
    field.filter(|field| !field.is_blank())
}

/// `st` says 1 for USD-M and 2 for COIN-M. Where it contradicts what the symbol means, the size of
/// the contract is unknown.
fn of_family(contract: Option<Contract>, family: Option<Json<'_>>) -> Option<Contract> {
    match (family.and_then(Json::integer), contract) {
        (Some(1), Some(Contract::Usd(_))) | (Some(2), Some(Contract::Coins(_))) => None,
        _ => contract,
    }
}

fn agg_trade(json: Json<'_>, page: &mut Page<'_>) {
    fields!(json => symbol = "s", price = "p", quantity = "q", time = "T", maker = "m",
        id = "a", family = "st");
    let Some(mut item) = page.item(symbol, Time::In(time)) else {
        return;
    };
    item.numbered(id);
    item.terms.contract = of_family(item.terms.contract, family);
    let buyer_is_maker = maker.and_then(Json::flag);
    let taker = buyer_is_maker.map(|maker| if maker { Taker::Sell } else { Taker::Buy });
    item.trade(taker, number(price), number(quantity));
}

fn book_ticker(json: Json<'_>, page: &mut Page<'_>) {
    fields!(json => symbol = "s", bid = "b", bid_size = "B", ask = "a", ask_size = "A", time = "T",
        pushed = "E", family = "st");
    let Some(mut item) = page.item(symbol, Time::In(time.or(pushed))) else {
        return;
    };
    item.terms.contract = of_family(item.terms.contract, family);
    match (Level::read(bid, bid_size), Level::read(ask, ask_size)) {
        (Ok(bid), Ok(ask)) => item.book(bid, ask),
        (Err(reason), _) | (_, Err(reason)) => item.refuse(reason),
    }
}

/// Here `T` is when funding is next paid; dated contracts have a blank rate or none.
fn mark_price(json: Json<'_>, page: &mut Page<'_>) {
    fields!(json => symbol = "s", mark = "p", index = "i", rate = "r", next = "T", time = "E",
        family = "st");
    let Some(mut item) = page.item(symbol, Time::In(time)) else {
        return;
    };
    item.terms.contract = of_family(item.terms.contract, family);
    item.mark(number(mark), number(index));
    item.funding(rate, next);
}

/// What is no event answers a request of ours.
fn answer(json: Json<'_>) -> Verdict {
    fields!(json => result = "result", error = "error", code = "code");
    match (error.or(code), result) {
        (Some(_), _) => Verdict::Control(Control::Refused),
        (None, Some(_)) => Verdict::Control(Control::Ack),
        (None, None) => Verdict::Rejected("schema"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::exchange::tests::{Sample, check, listed_names, told};

    #[test]
    fn frames_mean_what_the_venue_says() {
        let samples: &[Sample] = &[
            (
                r#"{"e":"forceOrder","E":1790000001007,"o":{"s":"SOLUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"12","p":"140.10","ap":"141.50","X":"FILLED","l":"4","z":"12","T":1790000000003,"ps":"SOLUSDT","st":1}}"#,
                Verdict::Decoded,
                "liquidation SOLUSDT SOLUSDT long 141.5 12 1698 @1790000000003 sampled",
            ),
            (
                r#"{"stream":"!forceOrder@arr","data":{"o":{"T":1790000000003,"z":"50","S":"BUY","ap":"0.0125","p":"0.0130","q":"50","s":"1000PEPEUSDT"},"E":1790000001007,"e":"forceOrder"}}"#,
                Verdict::Decoded,
                "liquidation PEPEUSDT 1000PEPEUSDT short 0.0000125 50000 0.625 @1790000000003 sampled",
            ),
            (
                r#"[{"e":"forceOrder","o":{"s":"BTCUSD_PERP","S":"SELL","q":"3","p":"59000","ap":"60000","z":"3","T":1790000000003,"st":2}},{"e":"forceOrder","o":{"s":"BNBUSD_261225","S":"BUY","q":"5","p":"510","ap":"500","z":"5","T":1790000000004}}]"#,
                Verdict::Decoded,
                "liquidation BTCUSDT BTCUSD_PERP long 60000 0.005 300 @1790000000003 sampled
                 liquidation BNBUSDT BNBUSD_261225 short 500 0.1 50 @1790000000004 sampled",
            ),
            (
                r#"{"e":"forceOrder","o":{"s":"XRPUSDT","S":"BUY","q":"100","p":"0.5","ap":"0","z":"","T":1790000000}}"#,
                Verdict::Decoded,
                "liquidation XRPUSDT XRPUSDT short 0.5 100 50 @- sampled bad_time",
            ),
            (
                r#"{"e":"forceOrder","o":{"s":"XRPUSDT","S":"BUY","q":"100","p":"0.5","ap":"0","z":"0","X":"NEW","T":1790000000003}}"#,
                Verdict::Decoded,
                "refused unfilled",
            ),
            (
                r#"{"e":"forceOrder","o":{"s":"BTCUSDT","S":"BUY","q":"3","ap":"60000","z":"3","T":1790000000003,"st":2}}"#,
                Verdict::Decoded,
                "liquidation BTCUSDT BTCUSDT short 60000 - - @1790000000003 sampled unknown_instrument",
            ),
            (
                r#"{"e":"forceOrder","o":{"s":"ETHBTC","S":"BUY","q":"3","ap":"0.05","z":"3","T":1790000000003}}"#,
                Verdict::Decoded,
                "refused quote",
            ),
            (
                r#"{"e":"aggTrade","E":1790000000010,"a":9007199254740993,"s":"BTCUSDT","p":"60000.10","q":"0.020","nq":"0.010","f":1,"l":2,"T":1790000000003,"m":true,"st":1}"#,
                Verdict::Decoded,
                "trade BTCUSDT BTCUSDT sell 60000.1 0.02 1200.002 @1790000000003 complete",
            ),
            (
                r#"{"e":"bookTicker","u":7,"s":"BTCUSDT","b":"60000","B":"1.5","a":"60000.1","A":"0.5","T":1790000000003,"E":1790000000005}"#,
                Verdict::Decoded,
                "book BTCUSDT BTCUSDT 60000 60000.1 depth 120000 @1790000000003 complete",
            ),
            (
                r#"{"e":"bookTicker","u":7,"s":"BTCUSDT","b":"60000.1","B":"1","a":"60000.1","A":"1","T":1790000000003}"#,
                Verdict::Decoded,
                "refused crossed",
            ),
            (
                r#"[{"e":"markPriceUpdate","E":1790000000000,"s":"BTCUSDT","p":"60000.5","ap":"1","P":"2","i":"60001","r":"-0.00006042","T":1790006400000},{"e":"markPriceUpdate","E":1790000000000,"s":"BTCUSD_261225","p":"61000","i":"60001","r":"","T":0}]"#,
                Verdict::Decoded,
                "mark BTCUSDT BTCUSDT 60000.5 index 60001 @1790000000000 complete
                 funding BTCUSDT BTCUSDT -0.00006042 next 1790006400000 @1790000000000 complete
                 mark BTCUSDT BTCUSD_261225 61000 index 60001 @1790000000000 complete",
            ),
            (r#"{"result":null,"id":1}"#, Verdict::Control(Control::Ack), ""),
            (r#"{"id":1,"error":{"code":2,"msg":"x"}}"#, Verdict::Control(Control::Refused), ""),
            (r#"{"e":"serverShutdown","E":1}"#, Verdict::Control(Control::Closing), ""),
            (r#"{"stream":"x@kline_1m","data":{"e":"kline"}}"#, Verdict::Ignored("kline"), ""),
            (r#"{"e":"somethingNew"}"#, Verdict::Rejected("channel"), ""),
            (r#"{"e":"forceOrder","E":1}"#, Verdict::Rejected("schema"), ""),
            ("{}", Verdict::Rejected("schema"), ""),
            ("[]", Verdict::Decoded, ""),
        ];
        check(&Binance, samples);
    }

    #[test]
    fn the_coin_of_a_coin_margined_contract_may_end_in_b() {
        let name = |symbol| told(&Binance, symbol);
        assert_eq!(name("BNBUSD_PERP"), "BNBUSDT Usd(10.0) 1");
        assert_eq!(name("BTCUSD_251226"), "BTCUSDT Usd(100.0) 1");
        assert_eq!(name("BTCUSDT_251226"), "BTCUSDT Coins(1.0) 1");
        assert_eq!(name("BTCBUSD"), "BTCUSDT Coins(1.0) 1");
        assert_eq!(name("1000000MOGUSDT"), "MOGUSDT Coins(1.0) 1000000");
        assert_eq!(name("币安人生USDT"), "币安人生USDT Coins(1.0) 1");
        assert_eq!(name("ETHBTC"), "unknown");
    }

    #[test]
    fn listings_give_sizes_and_leave_out_other_quotes() {
        let body = br#"{"symbols":[
            {"symbol":"BTCUSDT","baseAsset":"BTC","quoteAsset":"USDT","contractType":"PERPETUAL"},
            {"symbol":"ETHBTC","baseAsset":"ETH","quoteAsset":"BTC"},
            {"symbol":"ETHUSD_PERP","baseAsset":"ETH","quoteAsset":"USD","contractSize":10},
            {"symbol":"BNBUSD_PERP","baseAsset":"BNB","quoteAsset":"USD","contractSize":10},
            {"symbol":"XUSD_PERP","baseAsset":"X","quoteAsset":"USD","contractSize":""},
            {"symbol":"1000SHIBUSDT","baseAsset":"1000SHIB","quoteAsset":"USDT"},{}]}"#;
        let listed = Binance.listed(body).unwrap();
        assert_eq!(listed_names(&listed), "BTCUSDT ETHUSD_PERP BNBUSD_PERP 1000SHIBUSDT");
        assert_eq!(listed.get(1).map(|i| i.contract), Some(Contract::Usd(10.0)));
        assert!(Binance.listed(b"{}").is_err() && Binance.listed(b"<html>").is_err());
    }

    #[test]
    fn streams_are_lower_case_and_go_where_they_belong() {
        let mut known = Instruments::default();
        known.extend(Binance.built_in());
        let wanted = Wanted {
            reference: vec![crate::symbol::Symbol::of_base("PEPE").unwrap()],
            ..Wanted::default()
        };
        assert_eq!(
            Binance.subscriptions(&MARKET, &known, &wanted),
            [
                r#"{"id":1,"method":"SUBSCRIBE","params":["!forceOrder@arr","btcusdt@aggTrade","btcusdt@markPrice@1s","1000pepeusdt@aggTrade","1000pepeusdt@markPrice@1s"]}"#
            ]
        );
        assert_eq!(
            Binance.subscriptions(&PUBLIC, &known, &wanted),
            [
                r#"{"id":1,"method":"SUBSCRIBE","params":["btcusdt@bookTicker","1000pepeusdt@bookTicker"]}"#
            ]
        );
    }
}
