//! Frames as the venues send them, written by us, and somewhere for their events to go.

use foreshock::event::{Event, Venue};
use foreshock::ingest::exchange::{Items, Origin};

/// One frame per venue and kind: name, venue, frame, events in it.
pub const FRAMES: [(&str, Venue, &str, usize); 12] = [
    ("binance/forceOrder", Venue::Binance, FORCE_ORDER, 1),
    (
        "binance/aggTrade",
        Venue::Binance,
        r#"{"e":"aggTrade","E":1790000000010,"a":3057600382,"s":"BTCUSDT","p":"60000.10","q":"0.020","nq":"0.020","f":7111099183,"l":7111099183,"T":1790000000003,"m":true,"st":1}"#,
        1,
    ),
    (
        "binance/bookTicker",
        Venue::Binance,
        r#"{"e":"bookTicker","u":1553205153844,"s":"BTCUSDT","b":"60000.10","B":"1.520","a":"60000.20","A":"0.514","T":1790000000003,"E":1790000000005}"#,
        1,
    ),
    (
        "bybit/allLiquidation",
        Venue::Bybit,
        r#"{"topic":"allLiquidation.SOLUSDT","type":"snapshot","ts":1790000000551,"data":[{"T":1790000000156,"s":"SOLUSDT","S":"Buy","v":"20.9","p":"140.65"}]}"#,
        1,
    ),
    (
        "bybit/publicTrade",
        Venue::Bybit,
        r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1790000000551,"data":[{"T":1790000000550,"s":"BTCUSDT","S":"Sell","v":"0.001","p":"60000.20","L":"MinusTick","i":"35319862-77a2-5ebe-851b-3836573c4fe9","BT":false,"RPI":false,"seq":598180439295}]}"#,
        1,
    ),
    (
        "bybit/tickers",
        Venue::Bybit,
        r#"{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","markPrice":"60000.10","indexPrice":"60001.94","bid1Price":"60000.00","bid1Size":"3.549","ask1Price":"60000.50","ask1Size":"7.817"},"cs":20856433603,"ts":1790000000551}"#,
        2,
    ),
    (
        "okx/liquidation-orders",
        Venue::Okx,
        r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"60000.4","ccy":"","posSide":"short","side":"buy","sz":"213.7","ts":"1790000000955"}],"instFamily":"BTC-USDT","instId":"BTC-USDT-SWAP","instType":"SWAP","uly":"BTC-USDT"}]}"#,
        1,
    ),
    (
        "okx/trades",
        Venue::Okx,
        r#"{"arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"data":[{"instId":"BTC-USDT-SWAP","tradeId":"314161276","px":"60000.1","sz":"3.7","side":"buy","ts":"1790000000955","count":"1","seqId":77}]}"#,
        1,
    ),
    (
        "okx/bbo-tbt",
        Venue::Okx,
        r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"asks":[["60000.2","15","0","1"]],"bids":[["60000.1","38","0","6"]],"ts":"1790000000955","seqId":5}]}"#,
        1,
    ),
    (
        "hyperliquid/trades",
        Venue::Hyperliquid,
        r#"{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"60000.0","sz":"0.13722","time":1790000000010,"hash":"0x292f4dcc51901beb2aa904426dff020202cf00b1ec933abdccf7f91f1093f5d5","tid":1016897150094344,"users":["0x07fd7e702ba749ffa49c3a6c17fcd9e6c7b7082a","0x4a8a68b2ec7c67cbb79060d98157b68c47eba0e6"]}]}"#,
        1,
    ),
    (
        "hyperliquid/bbo",
        Venue::Hyperliquid,
        r#"{"channel":"bbo","data":{"coin":"BTC","time":1790000000009,"bbo":[{"px":"60000.0","sz":"9.48256","n":43},{"px":"60001.0","sz":"4.09277","n":1}]}}"#,
        1,
    ),
    (
        "hyperliquid/activeAssetCtx",
        Venue::Hyperliquid,
        r#"{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"funding":"0.0000125","openInterest":"25259.34","prevDayPx":"61000.0","dayNtlVlm":"965843000.7286","premium":"0.0003761389","oraclePx":"60001.0","markPx":"60000.0","midPx":"60000.5","impactPxs":["59999.0","60001.0"],"dayBaseVlm":"7543.61"}}}"#,
        3,
    ),
];

pub const FORCE_ORDER: &str = r#"{"e":"forceOrder","E":1790000001007,"o":{"s":"SOLUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"2049.1","p":"140.1150","ap":"141.2187","X":"FILLED","l":"245.9","z":"2049.1","T":1790000000003,"ps":"SOLUSDT","st":1}}"#;

/// Keeps the last event and counts.
#[derive(Default)]
pub struct Last {
    pub event: Option<Event>,
    pub events: usize,
}

impl Items for Last {
    fn event(&mut self, event: Event, _: Origin<'_>) {
        self.event = Some(event);
        self.events += 1;
    }

    fn refuse(&mut self, reason: &'static str) {
        panic!("refused: {reason}");
    }
}
