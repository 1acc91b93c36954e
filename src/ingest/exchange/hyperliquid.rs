//! Hyperliquid perpetuals.
//!
//! * There is no public feed of liquidations. They show in the fills of addresses that are watched, in
//!   those of the venue's liquidator vaults, and in the files of a node ([`super::fills`]).
//! * Deleveraging, netting, settlement and dust look like fills and are neither trades nor
//!   liquidations.
//! * Recent trades and fills are sent again on subscribing; a snapshot of fills is flagged.
//! * A coin that is not in `meta`, verbatim, closes the connection without a word.
//! * `@142` and `PURR/USDC` are spot; `dex:COIN` are perpetuals of other builders, markets of their
//!   own. Sizes are coins.

use super::fills::{self, VAULTS};
use super::json::{Json, fields, number, text};
use super::page::{Level, Page, Time};
use super::{
    Control, Desk, Exchange, Heartbeat, Items, Listing, Route, Verdict, Wanted, listing, names,
    of_no_interest,
};
use crate::event::{Completeness, Flags, Venue};
use crate::ingest::instrument::{Contract, Instrument, Instruments, Terms, market};
use crate::ingest::settings::ADDRESSES_MAX;

/// Hyperliquid.
pub struct Hyperliquid;

const WS: Route = Route { name: "ws", url: "wss://api.hyperliquid.xyz/ws", liquidations: false };
/// Fills come on a connection of their own: the snapshot of a busy address is a megabyte, and one bad
/// address must not take the trades down.
const FILLS: Route =
    Route { name: "fills", url: "wss://api.hyperliquid.xyz/ws", liquidations: true };
static ROUTES: [Route; 2] = [WS, FILLS];

static LISTINGS: [Listing; 1] =
    [Listing { url: "https://api.hyperliquid.xyz/info", body: Some(r#"{"type":"meta"}"#) }];

/// Subscriptions of one address.
const SUBSCRIPTIONS_MAX: usize = 1000;
/// Channels of context per coin.
const CONTEXT: [&str; 3] = ["trades", "bbo", "activeAssetCtx"];

/// The main coins, as `meta` writes them.
const COINS: [&str; 34] = [
    "BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "ADA", "LINK", "AVAX", "LTC", "SUI", "TRX", "DOT",
    "BCH", "NEAR", "APT", "ARB", "OP", "FIL", "ATOM", "UNI", "AAVE", "ETC", "INJ", "TIA", "SEI",
    "WLD", "ENA", "HYPE", "WIF", "ORDI", "kPEPE", "kSHIB", "kBONK",
];

/// Channels of no interest. `allMids` has no bid, ask or mark and comes every five seconds.
const UNNEEDED: [&str; 24] = [
    "allMids",
    "l2Book",
    "candle",
    "notification",
    "orderUpdates",
    "userFundings",
    "userNonFundingLedgerUpdates",
    "userTwapSliceFills",
    "userTwapHistory",
    "userHistoricalOrders",
    "activeAssetData",
    "activeSpotAssetCtx",
    "allDexsAssetCtxs",
    "allDexsClearinghouseState",
    "fastAssetCtxs",
    "assetCtxs",
    "spotAssetCtxs",
    "spotState",
    "clearinghouseState",
    "openOrders",
    "twapStates",
    "webData2",
    "webData3",
    "post",
];

impl Exchange for Hyperliquid {
    fn venue(&self) -> Venue {
        Venue::Hyperliquid
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn subscriptions(&self, route: &Route, known: &Instruments, wanted: &Wanted) -> Vec<String> {
        let frame = |subscription: serde_json::Value| {
            serde_json::json!({"method": "subscribe", "subscription": subscription}).to_string()
        };
        let coins = names(known, wanted, |_| Some(0));
        let users = wanted.users().into_iter().take(ADDRESSES_MAX);
        let fills = users.map(|user| serde_json::json!({"type": "userFills", "user": user}));
        let context = coins.iter().flat_map(|coin| {
            CONTEXT.map(|channel| serde_json::json!({"type": channel, "coin": coin}))
        });
        if route.name == WS.name {
            return context.take(SUBSCRIPTIONS_MAX).map(frame).collect();
        }
        let canary = coins.first().map(|coin| serde_json::json!({"type": "bbo", "coin": coin}));
        let canary = canary.filter(|_| !wanted.users().is_empty());
        canary.into_iter().chain(fills).map(frame).collect()
    }

    fn fragile(&self) -> bool {
        true
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat { every_ms: 30_000, text: Some(r#"{"method":"ping"}"#) }
    }

    fn completeness(&self) -> Completeness {
        Completeness::Watched
    }

    fn canary(&self, _: &Route) -> &'static str {
        "bbo BTC"
    }

    fn sampling(&self, route: &Route) -> &'static str {
        if route.name == WS.name {
            return "a trade of a liquidator vault is a suspected one: told, and not counted";
        }
        "fills of 10 addresses at most: those configured, then the liquidator vaults (backstop only)"
    }

    fn limits(&self) -> &'static str {
        "10 connections, 30 new a minute, 1000 subscriptions, 2000 messages a minute"
    }

    fn vaults(&self) -> &'static [&'static str] {
        &VAULTS
    }

    fn listings(&self) -> &'static [Listing] {
        &LISTINGS
    }

    fn listed(&self, body: &[u8]) -> Result<Vec<Instrument>, String> {
        listing(body, |json| json.get("universe"), listed)
    }

    fn built_in(&self) -> Vec<Instrument> {
        COINS.iter().filter_map(|coin| self.implied(coin)).collect()
    }

    fn implied(&self, symbol: &str) -> Option<Instrument> {
        Instrument::new(symbol, implied(symbol).ok()?)
    }

    fn parse(&self, frame: &[u8], desk: &mut Desk, out: &mut dyn Items) -> Verdict {
        let Desk { instruments, scratch, vaults, .. } = desk;
        let mut page = Page { venue: Venue::Hyperliquid, known: instruments, implied, out };
        let read = scratch.read(frame, |json| message(json, vaults, &mut page));
        read.unwrap_or_else(Verdict::Rejected)
    }
}

fn implied(coin: &str) -> Result<Terms, &'static str> {
    let contract = Some(Contract::Coins(1.0));
    match coin {
        spot if spot.starts_with('@') || spot.contains('/') => Err("spot"),
        built if built.contains(':') => {
            Ok(Terms { symbol: market(built)?, contract, multiplier: 1.0 })
        }
        coin => Terms::of_coin(coin, contract),
    }
}

/// A row of `meta`; a delisted coin must not be subscribed to.
fn listed(row: Json<'_>) -> Option<Instrument> {
    fields!(row => name = "name", delisted = "isDelisted");
    if delisted.and_then(Json::flag) == Some(true) {
        return None;
    }
    let name = name?.text()?;
    Instrument::new(name, implied(name).ok()?)
}

fn message(json: Json<'_>, vaults: &[String], page: &mut Page<'_>) -> Verdict {
    fields!(json => channel = "channel", data = "data", block = "events");
    let Some(channel) = text(channel) else {
        return of_node(json, block, vaults, page);
    };
    match (channel, data) {
        ("pong", _) => Verdict::Control(Control::Pong),
        ("subscriptionResponse", _) => Verdict::Control(Control::Ack),
        ("error", Some(said)) => Verdict::Control(complaint(said)),
        ("trades", Some(data)) => each(data.rows(), |row| fills::trade(row, vaults, page)),
        ("bbo", Some(data)) => each(one(data), |data| book(data, page)),
        ("activeAssetCtx", Some(data)) => each(one(data), |data| context(data, page)),
        ("userFills", Some(data)) => user_fills(data, vaults, page),
        ("user" | "userEvents", Some(data)) => user_event(data, vaults, page),
        ("error" | "trades" | "bbo" | "activeAssetCtx" | "userFills" | "user", None) => {
            Verdict::Rejected("schema")
        }
        (name, _) => of_no_interest(name, &UNNEEDED),
    }
}

/// An object, as the only row.
fn one(data: Json<'_>) -> Option<impl Iterator<Item = Json<'_>>> {
    data.is_object().then(|| std::iter::once(data))
}

fn each<'t>(rows: Option<impl Iterator<Item = Json<'t>>>, read: impl FnMut(Json<'t>)) -> Verdict {
    match rows {
        Some(rows) => rows.for_each(read),
        None => return Verdict::Rejected("schema"),
    }
    Verdict::Decoded
}

/// Being told twice what we know harms nothing; anything else was refused.
fn complaint(said: Json<'_>) -> Control {
    let known = said.text().is_some_and(|said| said.starts_with("Already"));
    if known { Control::Notice } else { Control::Refused }
}

/// Bid and ask, in this order; `null` where nobody bids or asks.
fn book(data: Json<'_>, page: &mut Page<'_>) {
    fields!(data => coin = "coin", time = "time", bbo = "bbo");
    let Some(mut item) = page.item(coin, Time::In(time)) else {
        return;
    };
    let Some(mut sides) = bbo.filter(|bbo| bbo.is_array()).map(Json::elements) else {
        return item.refuse("schema");
    };
    match (level(sides.next()), level(sides.next())) {
        (Ok(bid), Ok(ask)) => item.book(bid, ask),
        (Err(reason), _) | (_, Err(reason)) => item.refuse(reason),
    }
}

fn level(side: Option<Json<'_>>) -> Result<Level, &'static str> {
    let side = side.filter(|side| side.is_object()).ok_or("one_sided")?;
    fields!(side => price = "px", size = "sz");
    Level::read(price, size)
}

/// Mark and oracle price, the hourly funding rate and open interest; this channel has no time.
fn context(data: Json<'_>, page: &mut Page<'_>) {
    fields!(data => coin = "coin", ctx = "ctx");
    let Some(mut item) = page.item(coin, Time::Never) else {
        return;
    };
    let Some(ctx) = ctx.filter(|ctx| ctx.is_object()) else {
        return item.refuse("schema");
    };
    fields!(ctx => mark = "markPx", oracle = "oraclePx", rate = "funding", interest = "openInterest");
    item.mark(number(mark), number(oracle));
    item.funding(rate, None);
    item.open_interest(number(interest), None, None);
}

/// A line of a node's files: all fills of a block, or one with its user.
fn of_node(
    line: Json<'_>,
    block: Option<Json<'_>>,
    vaults: &[String],
    page: &mut Page<'_>,
) -> Verdict {
    match block {
        Some(pairs) if pairs.is_array() => {
            pairs.elements().for_each(|pair| fills::of_node(pair, vaults, page));
        }
        None if line.elements().next().is_some_and(|user| user.text().is_some()) => {
            fills::of_node(line, vaults, page);
        }
        _ => return Verdict::Rejected("schema"),
    }
    Verdict::Decoded
}

fn user_fills(data: Json<'_>, vaults: &[String], page: &mut Page<'_>) -> Verdict {
    fields!(data => user = "user", fills = "fills", snapshot = "isSnapshot");
    let snapshot = snapshot.and_then(Json::flag) == Some(true);
    let flags = if snapshot { Flags::SNAPSHOT } else { Flags::default() };
    let user = text(user);
    each(fills.and_then(Json::rows), |row| fills::watched(row, user, flags, vaults, page))
}

/// Fills again, or a liquidation of which only the value is told, or what is of no interest.
fn user_event(data: Json<'_>, vaults: &[String], page: &mut Page<'_>) -> Verdict {
    fields!(data => fills = "fills", liquidation = "liquidation");
    if let Some(fills) = fills {
        let flags = Flags::default();
        return each(fills.rows(), |row| fills::watched(row, None, flags, vaults, page));
    }
    let Some(liquidation) = liquidation else {
        return if data.is_object() {
            Verdict::Ignored("user")
        } else {
            Verdict::Rejected("schema")
        };
    };
    let value = number(liquidation.get("liquidated_ntl_pos"));
    page.nameless(Time::Never).liquidation_worth(Completeness::Watched, value);
    Verdict::Decoded
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
                r#"{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"60000.0","sz":"0.5","time":1790000000010,"hash":"0x0","tid":1016897150094344,"users":["0x1","0x2"]},{"coin":"kPEPE","side":"B","px":"0.01","sz":"100","time":1790000000010,"tid":18446744073709551615},{"coin":"@142","side":"B","px":"1","sz":"1","time":1790000000010}]}"#,
                Verdict::Decoded,
                "trade BTCUSDT BTC sell 60000 0.5 30000 @1790000000010 complete
                 trade PEPEUSDT kPEPE buy 0.00001 100000 1 @1790000000010 complete
                 refused spot",
            ),
            (
                r#"{"channel":"bbo","data":{"coin":"BTC","time":1790000000009,"bbo":[{"px":"60000.0","sz":"1","n":43},{"px":"60001.0","sz":"2","n":1}]}}"#,
                Verdict::Decoded,
                "book BTCUSDT BTC 60000 60001 depth 180002 @1790000000009 complete",
            ),
            (
                r#"{"channel":"bbo","data":{"coin":"BTC","time":1790000000009,"bbo":[null,{"px":"60001.0","sz":"2","n":1}]}}"#,
                Verdict::Decoded,
                "refused one_sided",
            ),
            (
                r#"{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"funding":"0.0000125","openInterest":"25000","oraclePx":"60010","markPx":"60000","midPx":null,"impactPxs":null}}}"#,
                Verdict::Decoded,
                "mark BTCUSDT BTC 60000 index 60010 @- complete
                 funding BTCUSDT BTC 0.0000125 next 0 @- complete
                 open_interest BTCUSDT BTC 25000 - @- complete",
            ),
            (
                r#"{"channel":"userFills","data":{"isSnapshot":true,"user":"0xAB","fills":[{"coin":"ETH","px":"2000","sz":"1","side":"A","time":1790000000096,"dir":"Close Long","liquidation":{"liquidatedUser":"0xab","markPx":"2001","method":"market"}},{"coin":"ETH","px":"2000","sz":"1","side":"B","time":1790000000097,"dir":"Open Long"}]}}"#,
                Verdict::Decoded,
                "liquidation ETHUSDT ETH long 2000 1 2000 @1790000000096 watched snapshot
                 fill ETHUSDT ETH buy 2000 1 2000 @1790000000097 watched snapshot",
            ),
            (
                r#"{"channel":"userFills","data":{"user":"0xab","fills":[{"liquidation":{"liquidatedUser":"0xcd","markPx":"100","method":"market"},"coin":"xyz:CRWV","px":"100","sz":"2","side":"A","time":1790000000096,"dir":"Open Short"},{"coin":"BTC","px":"60000","sz":"0.1","side":"B","time":1790000000096,"dir":"Open Long","liquidation":{"liquidatedUser":"0xcd","markPx":"1","method":"backstop"}}]}}"#,
                Verdict::Decoded,
                "liquidation XYZ:CRWVUSDT xyz:CRWV short 100 2 200 @1790000000096 watched
                 liquidation BTCUSDT BTC long 60000 0.1 6000 @1790000000096 watched",
            ),
            (
                r#"{"channel":"userFills","data":{"user":"0xab","fills":[{"coin":"AVAX","px":"22","sz":"28","side":"B","time":1790000000096,"dir":"Auto-Deleveraging","liquidation":{"liquidatedUser":"0xcd","markPx":"22","method":"backstop"}},{"coin":"BTC","px":"1","sz":"1","side":"A","time":1790000000096,"dir":"Net Child Vaults"}]}}"#,
                Verdict::Decoded,
                "refused no_trade
                 refused no_trade",
            ),
            (
                r#"{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"60000","sz":"0.5","time":1790000000010,"tid":1,"users":["0x2E3D94F0562703b25c83308a05046ddaf9a8dd14","0xab"]},{"coin":"BTC","side":"A","px":"60000","sz":"0.5","time":1790000000010,"tid":2,"users":["0x2e3d94f0562703b25c83308a05046ddaf9a8dd14","0xb0a55f13d22f66e6d495ac98113841b2326e9540"]}]}"#,
                Verdict::Decoded,
                "trade BTCUSDT BTC sell 60000 0.5 30000 @1790000000010 complete
                 liquidation BTCUSDT BTC - 60000 0.5 30000 @1790000000010 unknown suspected
                 trade BTCUSDT BTC sell 60000 0.5 30000 @1790000000010 complete",
            ),
            (
                r#"{"channel":"userFills","data":{"user":"0x2e3d94f0562703b25c83308a05046ddaf9a8dd14","fills":[{"coin":"BTC","px":"60000","sz":"0.5","side":"B","time":1790000000010,"dir":"Open Long","tid":1,"liquidation":{"liquidatedUser":"0xab","markPx":"1","method":"backstop"}},{"coin":"BTC","px":"60000","sz":"0.5","side":"A","time":1790000000010,"dir":"Close Long","tid":3},{"coin":"BTC","px":"60000","sz":"0.5","side":"A","time":1790000000010,"dir":"Close Long","tid":4,"liquidation":{"liquidatedUser":"0x2e3d94f0562703b25c83308a05046ddaf9a8dd14","markPx":"1","method":"backstop"}}]}}"#,
                Verdict::Decoded,
                "liquidation BTCUSDT BTC long 60000 0.5 30000 @1790000000010 watched
                 fill BTCUSDT BTC sell 60000 0.5 30000 @1790000000010 watched
                 refused deleveraging",
            ),
            (
                r#"{"channel":"user","data":{"fills":[{"coin":"ETH","px":"2000","sz":"1","side":"A","time":1790000000096,"dir":"Liquidated Isolated Long","liquidation":{"liquidatedUser":"0xcd","markPx":"1","method":"backstop"}},{"coin":"ETH","px":"2000","sz":"1","side":"A","time":1790000000096,"dir":"Close Long","liquidation":{"liquidatedUser":"0xcd","markPx":"1","method":"market"}}]}}"#,
                Verdict::Decoded,
                "liquidation ETHUSDT ETH long 2000 1 2000 @1790000000096 watched
                 liquidation ETHUSDT ETH - 2000 1 2000 @1790000000096 watched",
            ),
            (
                r#"{"channel":"user","data":{"liquidation":{"lid":42,"liquidator":"0xa","liquidated_user":"0xb","liquidated_ntl_pos":"1234.5","liquidated_account_value":"-1.25"}}}"#,
                Verdict::Decoded,
                "liquidation OTHER - - - - 1234.5 @- watched unknown_instrument",
            ),
            (
                r#"{"channel":"user","data":{"funding":{"coin":"BTC"}}}"#,
                Verdict::Ignored("user"),
                "",
            ),
            (r#"{"channel":"pong"}"#, Verdict::Control(Control::Pong), ""),
            (
                r#"{"channel":"subscriptionResponse","data":{"method":"subscribe"}}"#,
                Verdict::Control(Control::Ack),
                "",
            ),
            (
                r#"{"channel":"error","data":"Error parsing JSON into valid websocket request: {\"a\":{"}"#,
                Verdict::Control(Control::Refused),
                "",
            ),
            (
                r#"{"channel":"error","data":"Already subscribed: x"}"#,
                Verdict::Control(Control::Notice),
                "",
            ),
            (r#"{"channel":"candle","data":{}}"#, Verdict::Ignored("candle"), ""),
            (r#"{"channel":"trades"}"#, Verdict::Rejected("schema"), ""),
            (r#"{"channel":"novelty","data":{}}"#, Verdict::Rejected("channel"), ""),
        ];
        check(&Hyperliquid, samples);
    }

    #[test]
    fn a_node_tells_every_trade_and_every_liquidation_once() {
        let samples: &[Sample] = &[
            (
                r#"{"block_time":"2026-09-21T14:13:20.010","block_number":7,"events":[["0xab",{"coin":"ETH","px":"2000","sz":"1","side":"A","time":1790000000010,"dir":"Close Long","crossed":true,"tid":5,"liquidation":{"liquidatedUser":"0xab","markPx":"1","method":"market"}}],["0xcd",{"coin":"ETH","px":"2000","sz":"1","side":"B","time":1790000000010,"dir":"Open Long","crossed":false,"tid":5,"liquidation":{"liquidatedUser":"0xab","markPx":"1","method":"market"}}],["0xef",{"coin":"BTC","px":"60000","sz":"0.5","side":"B","time":1790000000010,"dir":"Open Long","crossed":true,"tid":6}],["0xcd",{"coin":"BTC","px":"60000","sz":"0.5","side":"A","time":1790000000010,"dir":"Open Short","crossed":false,"tid":6}]]}"#,
                Verdict::Decoded,
                "trade ETHUSDT ETH sell 2000 1 2000 @1790000000010 complete
                 liquidation ETHUSDT ETH long 2000 1 2000 @1790000000010 complete
                 refused other_side
                 trade BTCUSDT BTC buy 60000 0.5 30000 @1790000000010 complete
                 refused other_side",
            ),
            (
                r#"["0xab",{"coin":"ETH","px":"2000","sz":"1","side":"B","time":1790000000010,"dir":"Liquidated Isolated Short","crossed":true,"tid":5,"liquidation":{"liquidatedUser":"0xab","markPx":"1","method":"backstop"}}]"#,
                Verdict::Decoded,
                "liquidation ETHUSDT ETH short 2000 1 2000 @1790000000010 complete",
            ),
            (
                r#"{"block_number":8,"events":[["0xe9",{"coin":"AVAX","px":"22","sz":"28","side":"B","time":1790000000010,"dir":"Auto-Deleveraging","crossed":true,"tid":7,"liquidation":{"liquidatedUser":"0x2e3d94f0562703b25c83308a05046ddaf9a8dd14","markPx":"22","method":"backstop"}}],["0x2e3d94f0562703b25c83308a05046ddaf9a8dd14",{"coin":"AVAX","px":"22","sz":"28","side":"A","time":1790000000010,"dir":"Liquidated Cross Long","crossed":false,"tid":7,"liquidation":{"liquidatedUser":"0x2e3d94f0562703b25c83308a05046ddaf9a8dd14","markPx":"22","method":"backstop"}}],7,["0xab"]]}"#,
                Verdict::Decoded,
                "refused no_trade
                 refused deleveraging
                 refused schema
                 refused schema",
            ),
            (r#"{"block_number":9,"events":[]}"#, Verdict::Decoded, ""),
            (r#"{"block_number":9,"events":7}"#, Verdict::Rejected("schema"), ""),
            (r"[7]", Verdict::Rejected("schema"), ""),
        ];
        check(&Hyperliquid, samples);
    }

    #[test]
    fn spot_is_no_market_and_builders_coins_are_their_own() {
        let name = |symbol| told(&Hyperliquid, symbol);
        assert_eq!(name("kPEPE"), "PEPEUSDT Coins(1.0) 1000");
        assert_eq!(name("xyz:CRWV"), "XYZ:CRWVUSDT Coins(1.0) 1");
        for unknown in ["@142", "PURR/USDC", ""] {
            assert_eq!(name(unknown), "unknown", "{unknown}");
        }
    }

    #[test]
    fn listings_leave_out_what_must_not_be_subscribed_to() {
        let body =
            br#"{"universe":[{"name":"BTC","szDecimals":5},{"name":"MATIC","isDelisted":true},
            {"name":"kPEPE"},{"szDecimals":1}],"collateralToken":0}"#;
        assert_eq!(listed_names(&Hyperliquid.listed(body).unwrap()), "BTC kPEPE");
    }

    #[test]
    fn each_subscription_is_a_message_with_a_coin_that_is_listed() {
        let mut known = Instruments::default();
        known.extend(Hyperliquid.built_in());
        let wanted = Wanted {
            reference: vec![Symbol::of_base("PEPE").unwrap(), Symbol::of_base("NONE").unwrap()],
            addresses: (0..8).map(|n| format!("0x{n}")).collect(),
            vaults: ["0xA", "0x7", "0xa", "0xb", "0xc"].map(str::to_owned).to_vec(),
        };
        let fills = Hyperliquid.subscriptions(&FILLS, &known, &wanted);
        assert_eq!(fills.len(), 1 + ADDRESSES_MAX);
        assert!(fills.first().is_some_and(|frame| frame.contains(r#""coin":"BTC","type":"bbo""#)));
        assert!(fills.get(9).is_some_and(|frame| frame.contains("0xA")), "vaults come last");
        assert!(fills.get(10).is_some_and(|frame| frame.contains("0xb")), "none twice");
        let nobody = Wanted { reference: wanted.reference.clone(), ..Wanted::default() };
        assert_eq!(Hyperliquid.subscriptions(&FILLS, &known, &nobody), [""; 0]);
        let frames = Hyperliquid.subscriptions(&WS, &known, &wanted);
        assert_eq!(frames.len(), 2 * CONTEXT.len());
        assert_eq!(
            frames.last().map(String::as_str),
            Some(
                r#"{"method":"subscribe","subscription":{"coin":"kPEPE","type":"activeAssetCtx"}}"#
            )
        );
    }
}
