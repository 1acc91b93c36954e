//! Parsing allocates nothing once its buffers are warm: counted per thread, per venue and kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod support {
    pub mod counting;
}

use foreshock::event::{Event, Venue};
use foreshock::ingest::exchange::{Desk, Items, Origin, Verdict, exchange};
use support::counting::allocations;

#[derive(Default)]
struct Tally {
    events: u64,
    refused: u64,
}

impl Items for Tally {
    fn event(&mut self, _: Event, _: Origin<'_>) {
        self.events += 1;
    }

    fn refuse(&mut self, _: &'static str) {
        self.refused += 1;
    }
}

/// Venue, frame, items in it. Symbols in no table, refused items and ignored frames among them.
const FRAMES: [(Venue, &str, u64); 19] = [
    (
        Venue::Binance,
        r#"{"e":"forceOrder","o":{"s":"SOLUSDT","S":"SELL","q":"12","p":"140.1","ap":"141.5","z":"12","T":1790000000003,"st":1}}"#,
        1,
    ),
    (
        Venue::Binance,
        r#"{"stream":"!forceOrder@arr","data":{"e":"forceOrder","o":{"s":"NEVERLISTED1000USDT","S":"BUY","q":"1e3","p":"1e-7","ap":"","z":"","T":1790000000003}}}"#,
        1,
    ),
    (
        Venue::Binance,
        r#"{"e":"aggTrade","s":"BTCUSDT","p":"60000.10","q":"0.020","T":1790000000003,"m":true}"#,
        1,
    ),
    (
        Venue::Binance,
        r#"{"e":"bookTicker","s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4","T":1790000000003}"#,
        1,
    ),
    (
        Venue::Binance,
        r#"[{"e":"markPriceUpdate","s":"币安人生USDT","p":"1","i":"2","r":"0.1","E":1790000000000,"T":1790006400000}]"#,
        2,
    ),
    (Venue::Binance, r#"{"e":"forceOrder","o":{"s":"ETHBTC"}}"#, 1),
    (Venue::Binance, r#"{"e":"kline","k":{"a":[1,2,[3,{"b":"\u5e01"}]]}}"#, 0),
    (
        Venue::Bybit,
        r#"{"topic":"allLiquidation.SOLUSDT","data":[{"T":1790000000156,"s":"SOLUSDT","S":"Buy","v":"20.9","p":"140.65"},{"T":1,"s":"X","S":"Buy","v":"","p":""}]}"#,
        2,
    ),
    (
        Venue::Bybit,
        r#"{"topic":"publicTrade.NEWUSDT","data":[{"T":1790000000550,"s":"NEWUSDT","S":"Sell","v":"0.001","p":"6"}]}"#,
        1,
    ),
    (
        Venue::Bybit,
        r#"{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","markPrice":"1","fundingRate":"0.1","openInterest":"5","bid1Price":"1","bid1Size":"3","ask1Price":"2","ask1Size":"1"},"ts":1790000000551}"#,
        4,
    ),
    (
        Venue::Bybit,
        r#"{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","bid1Price":"1.5","ask1Price":"2"},"ts":1790000000551}"#,
        1,
    ),
    (Venue::Bybit, r#"{"success":true,"ret_msg":"pong","op":"ping"}"#, 0),
    (
        Venue::Okx,
        r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkPx":"60000","posSide":"short","side":"buy","sz":"21.7","ts":"1790000000955"}],"instId":"BTC-USDT-SWAP"},{"details":[{"bkPx":"6","posSide":"net","side":"buy","sz":"2","ts":"1790000000955"}],"instId":"UNKNOWN-USDT-SWAP"}]}"#,
        2,
    ),
    (
        Venue::Okx,
        r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"asks":[["60000.2","15","0","1"]],"bids":[["60000.1","38","0","6"]],"ts":"1790000000955"}]}"#,
        1,
    ),
    (Venue::Okx, "pong", 0),
    (
        Venue::Hyperliquid,
        r#"{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"60000.0","sz":"0.1","time":1790000000010,"tid":1016897150094344},{"coin":"@1","side":"B","px":"1","sz":"1","time":1}]}"#,
        2,
    ),
    (
        Venue::Hyperliquid,
        r#"{"channel":"bbo","data":{"coin":"BTC","time":1790000000009,"bbo":[null,{"px":"60001.0","sz":"4","n":1}]}}"#,
        1,
    ),
    (
        Venue::Hyperliquid,
        r#"{"channel":"userFills","data":{"user":"0xab","fills":[{"coin":"xyz:NEW","px":"1","sz":"2","side":"A","time":1790000000096,"dir":"Open Short","liquidation":{"liquidatedUser":"0xcd"}}]}}"#,
        1,
    ),
    (Venue::Hyperliquid, "{\"channel\":", 0),
];

#[test]
fn a_frame_costs_no_allocation_once_the_buffers_are_warm() {
    for (venue, frame, items) in FRAMES {
        let exchange = exchange(venue).expect("a venue that is spoken");
        let (mut desk, mut tally) = (Desk::new(exchange), Tally::default());
        let large = format!("{}{}", " ".repeat(50_000), frame);
        for warm_up in [frame, large.as_str()] {
            exchange.parse(warm_up.as_bytes(), &mut desk, &mut tally);
        }
        assert_eq!(tally.events + tally.refused, 2 * items, "{frame}");
        let spent = allocations(|| {
            for _ in 0..100 {
                exchange.parse(frame.as_bytes(), &mut desk, &mut tally);
                exchange.parse(large.as_bytes(), &mut desk, &mut tally);
            }
        });
        assert_eq!(spent, 0, "{frame}");
        assert_eq!(tally.events + tally.refused, 202 * items, "{frame}");
    }
}

#[test]
fn even_the_first_frame_of_ordinary_size_costs_none() {
    let exchange = exchange(Venue::Binance).expect("Binance is spoken");
    let (mut desk, mut tally) = (Desk::new(exchange), Tally::default());
    let row = r#"{"e":"markPriceUpdate","E":1790000000000,"s":"BTCUSDT","p":"60000.5","i":"60001","r":"0.0001","T":1790006400000}"#;
    let rows = vec![row; 400].join(",");
    let frame = format!("[{rows}]");
    let mut verdict = None;
    let spent = allocations(|| {
        verdict = Some(exchange.parse(frame.as_bytes(), &mut desk, &mut tally));
    });
    assert_eq!((spent, verdict, tally.events), (0, Some(Verdict::Decoded), 800));
}
