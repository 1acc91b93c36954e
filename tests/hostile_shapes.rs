//! Shapes that broke other clients, by their numbers in the catalogue of hostile input (part 1), and
//! frames mutated at random: nothing panics, nothing that is no number comes out, nothing is lost.
#![expect(clippy::unwrap_used, reason = "every venue of a case is spoken")]

use std::cell::RefCell;

use foreshock::event::{Body, Event, Side, Usd, Venue};
use foreshock::ingest::decode::decode;
use foreshock::ingest::exchange::{Control, Desk, EXCHANGES, Items, Origin, Verdict, exchange};
use proptest::prelude::*;

/// What came of a frame, in words.
#[derive(Default)]
struct Words(Vec<String>);

impl Items for Words {
    fn event(&mut self, event: Event, origin: Origin<'_>) {
        let time = event.stamp.venue_ms().map_or("-".to_owned(), |ms| ms.to_string());
        let number = |n: Option<f64>| n.map_or("-".to_owned(), |n| n.to_string());
        let what = match event.body {
            Body::Liquidation { side, price, usd } => format!(
                "{} {} x {} = {}",
                side.map_or("-", Side::name),
                number(price.map(|p| p.get())),
                number(origin.quantity),
                number(usd.map(Usd::dollars)),
            ),
            Body::Trade { price, usd, .. } => {
                format!("trade {} = {}", price.get(), number(usd.map(Usd::dollars)))
            }
            Body::Book { bid, ask, .. } => format!("book {} {}", bid.get(), ask.get()),
            Body::Mark { price, .. } => format!("mark {}", price.get()),
            Body::Funding { rate, .. } => format!("funding {rate}"),
            Body::OpenInterest { .. } => "open interest".to_owned(),
            Body::Fill { .. } => "fill".to_owned(),
            other => format!("{other:?}"),
        };
        self.0.push(format!("{} {what} @{time}", event.symbol));
    }

    fn refuse(&mut self, reason: &'static str) {
        self.0.push(format!("refused {reason}"));
    }
}

use Venue::{Binance, Bybit, Hyperliquid, Okx};
use Verdict::{Decoded, Ignored, Rejected};

/// Number in the catalogue, venue, frame, verdict, items one per line.
type Case = (&'static str, Venue, &'static [u8], Verdict, &'static str);

fn check(cases: &[Case]) {
    for (number, venue, frame, verdict, items) in cases {
        let exchange = exchange(*venue).unwrap();
        let mut words = Words::default();
        let got = exchange.parse(frame, &mut Desk::new(exchange), &mut words);
        let expected: Vec<&str> = items.lines().map(str::trim).collect();
        let shown = String::from_utf8_lossy(frame);
        assert_eq!(
            (got, &words.0[..]),
            (*verdict, &expected.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]),
            "{number}: {shown}"
        );
    }
}

const PONG: Verdict = Verdict::Control(Control::Pong);

#[test]
fn frames_that_are_not_the_json_one_expects() {
    check(&[
        ("7 bare text pong", Okx, b"pong", PONG, ""),
        ("7 pong that says ping", Bybit, br#"{"success":true,"ret_msg":"pong","op":"ping"}"#, PONG, ""),
        ("7 pong with arguments", Bybit, br#"{"args":["1672916271846"],"op":"pong"}"#, PONG, ""),
        ("8 pong without data", Hyperliquid, br#"{"channel":"pong"}"#, PONG, ""),
        ("8 an error that quotes unbalanced JSON", Hyperliquid, br#"{"channel":"error","data":"Error parsing JSON: {\"a\":[{\"b\":\"}"}"#, Verdict::Control(Control::Refused), ""),
        ("9 gzip", Binance, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", Rejected("utf8"), ""),
        ("9 deflated data in base64", Hyperliquid, br#"{"channel":"fastAssetCtxs","data":"q1ZyCnFW"}"#, Ignored("fastAssetCtxs"), ""),
        ("10 escaped text in an answer", Bybit, br#"{"success":false,"ret_msg":"args size \u003e10","op":"subscribe"}"#, Verdict::Control(Control::Refused), ""),
        ("10 an escaped symbol", Binance, br#"{"e":"aggTrade","s":"\u5e01\u5b89USDT","p":"2","q":"3","T":1790000000003,"m":true}"#, Decoded, "\u{5e01}\u{5b89}USDT trade 2 = 6 @1790000000003"),
        ("11 blanks everywhere", Okx, b" { \"arg\" : {\n\t\"channel\" : \"mark-price\" } , \"data\" : [ { \"instId\" : \"BTC-USDT-SWAP\" , \"markPx\" : \"7\" , \"ts\" : \"1790000000003\" } ] } \r\n", Decoded, "BTCUSDT mark 7 @1790000000003"),
        ("12 wrapped", Binance, br#"{"stream":"x","data":{"e":"aggTrade","s":"BTCUSDT","p":"2","q":"3","T":1790000000003,"m":true}}"#, Decoded, "BTCUSDT trade 2 = 6 @1790000000003"),
        ("12 a wrapped array", Binance, br#"{"stream":"x","data":[{"e":"markPriceUpdate","s":"BTCUSDT","p":"2","E":1790000000003}]}"#, Decoded, "BTCUSDT mark 2 @1790000000003"),
        ("12 an array of orders", Binance, br#"[{"e":"forceOrder","o":{"s":"BTCUSDT","S":"BUY","ap":"2","z":"3","T":1790000000003}},{"e":"aggTrade","s":"BTCUSDT"}]"#, Decoded, "BTCUSDT short 2 x 3 = 6 @1790000000003\nrefused side"),
        ("13 the kind comes last", Binance, br#"{"o":{"T":1790000000003,"z":"3","ap":"2","S":"BUY","s":"BTCUSDT"},"e":"forceOrder"}"#, Decoded, "BTCUSDT short 2 x 3 = 6 @1790000000003"),
        ("13 data before topic", Bybit, br#"{"data":[{"p":"2","v":"3","S":"Buy","s":"BTCUSDT","T":1790000000003}],"topic":"allLiquidation.BTCUSDT"}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("14 keys that differ in case", Binance, br#"{"e":"bookTicker","E":9,"U":1,"u":2,"s":"BTCUSDT","B":"100","b":"5","A":"200","a":"6","T":1790000000003,"t":7}"#, Decoded, "BTCUSDT book 5 6 @1790000000003"),
        ("14 the same key at two levels", Binance, br#"{"e":"forceOrder","s":"WRONGUSDT","T":5,"o":{"o":"LIMIT","s":"BTCUSDT","S":"SELL","ps":"BTCUSDT","ap":"2","z":"3","T":1790000000003}}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("14 T is the next funding here", Binance, br#"{"e":"markPriceUpdate","s":"BTCUSDT","p":"2","ap":"9","r":"0.01","E":1790000000003,"T":1790006400000}"#, Decoded, "BTCUSDT mark 2 @1790000000003\nBTCUSDT funding 0.01 @1790000000003"),
        ("15 a key twice: the first counts", Okx, br#"{"arg":{"channel":"mark-price"},"data":[{"instId":"BTC-USDT-SWAP","markPx":"7","markPx":"8","ts":"1790000000003"}]}"#, Decoded, "BTCUSDT mark 7 @1790000000003"),
        ("15 a trailing comma", Bybit, br#"{"topic":"tickers.X",}"#, Rejected("json"), ""),
        ("15 smart quotes", Bybit, "{\u{201c}topic\u{201d}:1}".as_bytes(), Rejected("json"), ""),
        ("16 nothing", Binance, b"", Rejected("empty"), ""),
        ("16 blanks", Binance, b"   ", Rejected("json"), ""),
        ("16 an empty object", Bybit, b"{}", Rejected("schema"), ""),
        ("16 an empty array", Okx, b"[]", Rejected("schema"), ""),
        ("16 a bare number", Hyperliquid, b"42", Rejected("schema"), ""),
        ("16 cut short", Binance, br#"{"e":"forceOrder","o":{"s":"BTCU"#, Rejected("json"), ""),
        ("D8 trailing bytes", Binance, b"{}x", Rejected("json"), ""),
        ("D8 a NUL", Binance, b"{}\0", Rejected("json"), ""),
    ]);
}

#[test]
fn d8_frames_that_are_too_large_or_too_deep_are_refused_before_they_cost() {
    for exchange in EXCHANGES {
        let mut desk = Desk::new(exchange);
        let mut parse = |frame: &[u8]| exchange.parse(frame, &mut desk, &mut Words::default());
        assert_eq!(parse(&vec![b'['; (1 << 20) + 1]), Rejected("too_large"));
        assert_eq!(parse(&vec![b'['; 1 << 20]), Rejected("too_deep"));
        let nested = [b"{\"a\":".repeat(31), b"1".to_vec(), b"}".repeat(31)].concat();
        assert_eq!(parse(&nested), Rejected("schema"));
        let long_key = format!("{{\"{}\":1}}", "k".repeat(1 << 19));
        assert_eq!(parse(long_key.as_bytes()), Rejected("schema"));
    }
}

#[test]
fn batches_of_any_size_and_form() {
    check(&[
        ("17 none", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[]}"#, Decoded, ""),
        ("17 several instruments, several orders", Okx, br#"{"arg":{"channel":"liquidation-orders"},"data":[{"details":[{"bkPx":"2","posSide":"long","side":"sell","sz":"100","ts":"1790000000003"},{"bkPx":"2","posSide":"long","side":"sell","sz":"100","ts":"1790000000004"}],"instId":"BTC-USDT-SWAP"},{"details":[],"instId":"ETH-USDT-SWAP"},{"details":[{"bkPx":"3","posSide":"short","side":"buy","sz":"10","ts":"1790000000003"}],"instId":"ETH-USDT-SWAP"}]}"#, Decoded, "BTCUSDT long 2 x 1 = 2 @1790000000003\nBTCUSDT long 2 x 1 = 2 @1790000000004\nETHUSDT short 3 x 1 = 3 @1790000000003"),
        ("18 an object for an array", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":{"p":"2","v":"3","S":"Buy","s":"BTCUSDT","T":1790000000003}}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("18 an array for an object", Bybit, br#"{"topic":"liquidation.BTCUSDT","data":[{"price":"2","size":"3","side":"Buy","symbol":"BTCUSDT","updatedTime":1790000000003}]}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("18 neither", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":"x"}"#, Rejected("schema"), ""),
        ("19 two equal elements are two events", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":"2","v":"3","S":"Buy","s":"BTCUSDT","T":1790000000003},{"p":"2","v":"3","S":"Buy","s":"BTCUSDT","T":1790000000003}]}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003\nBTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("20 a row with only an id", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"orderID":"x"}]}"#, Decoded, "refused symbol"),
        ("21 holes and rows that are no objects", Hyperliquid, br#"{"channel":"trades","data":[null,[],7,"x",{"coin":"BTC","side":"B","px":"2","sz":"3","time":1790000000003}]}"#, Decoded, "refused symbol\nrefused symbol\nrefused symbol\nrefused symbol\nBTCUSDT trade 2 = 6 @1790000000003"),
        ("21 a level of odd length", Okx, br#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"bids":[["5"]],"asks":[["6","1","0","2","9"]],"ts":"1790000000003"}]}"#, Decoded, "BTCUSDT book 5 6 @1790000000003"),
        ("22 a snapshot flag of the wrong type", Hyperliquid, br#"{"channel":"userFills","data":{"isSnapshot":"yes","user":"0xa","fills":[{"coin":"BTC","side":"B","px":"2","sz":"3","time":1790000000003}]}}"#, Decoded, "BTCUSDT fill @1790000000003"),
    ]);
}

#[test]
fn d4_numbers_as_text_as_numbers_and_as_nonsense() {
    check(&[
        ("23 numbers where text is usual", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":2.5,"v":4,"S":"Buy","s":"BTCUSDT","T":"1790000000003"}]}"#, Decoded, "BTCUSDT long 2.5 x 4 = 10 @1790000000003"),
        ("24 exponents", Binance, br#"[{"e":"aggTrade","s":"BTCUSDT","p":"5.0E-5","q":1e6,"T":1790000000003,"m":true},{"e":"aggTrade","s":"BTCUSDT","p":1E-7,"q":"2e+7","T":1790000000003,"m":true}]"#, Decoded, "BTCUSDT trade 0.00005 = 50 @1790000000003\nBTCUSDT trade 0.0000001 = 2 @1790000000003"),
        ("25 blanks and nulls", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":"","v":null,"S":null,"T":"x"},{"p":"","v":null,"S":"Buy","s":"BTCUSDT","T":"x"},{"p":"-","v":"1","S":"Buy","s":"BTCUSDT"}]}"#, Decoded, "refused symbol\nrefused price\nrefused price"),
        ("25 null prices beside good ones", Hyperliquid, br#"{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"markPx":"2","oraclePx":null,"midPx":null,"impactPxs":null,"funding":"0.1","openInterest":null}}}"#, Decoded, "BTCUSDT mark 2 @-\nBTCUSDT funding 0.1 @-\nrefused open_interest"),
        ("26 long fractions", Bybit, br#"{"topic":"publicTrade.BTCUSDT","data":[{"p":"143.330431857868123456","v":"0.000000000000000001","S":"Buy","s":"BTCUSDT","T":1790000000003},{"p":"0.0711500","v":"0.001","S":"Buy","s":"BTCUSDT","T":1790000000003}]}"#, Decoded, "refused value\nBTCUSDT trade 0.07115 = 0.000071 @1790000000003"),
        ("26 large contracts", Okx, br#"{"arg":{"channel":"trades"},"data":[{"instId":"SHIB-USDT-SWAP","px":"0.00002","sz":"20000","side":"buy","ts":"1790000000003"}]}"#, Decoded, "SHIBUSDT trade 0.00002 = 400000 @1790000000003"),
        ("27 ids beyond 2^53", Hyperliquid, br#"{"channel":"trades","data":[{"tid":18446744073709551615,"coin":"BTC","side":"B","px":"2","sz":"3","time":1790000000003}]}"#, Decoded, "BTCUSDT trade 2 = 6 @1790000000003"),
        ("28 negative and zero", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":"2","v":"-3","S":"Buy","s":"BTCUSDT"},{"p":"2","v":"0","S":"Buy","s":"BTCUSDT"},{"p":"0","v":"1","S":"Buy","s":"BTCUSDT"},{"p":"-2","v":"1","S":"Buy","s":"BTCUSDT"}]}"#, Decoded, "refused quantity\nrefused quantity\nrefused price\nrefused price"),
        ("28 no average, or no fill", Binance, br#"[{"e":"forceOrder","o":{"s":"BTCUSDT","S":"BUY","p":"2","q":"3","ap":"0","z":"3","T":1790000000003}},{"e":"forceOrder","o":{"s":"BTCUSDT","S":"BUY","p":"2","q":"3","ap":"0","z":"0"}},{"e":"forceOrder","o":{"s":"BTCUSDT","S":"BUY","p":"0","q":"3","ap":"0","z":"3"}},{"e":"forceOrder","o":{"s":"BTCUSDT","S":"BUY","p":"2","q":"3","ap":"x","z":"3"}}]"#, Decoded, "BTCUSDT short 2 x 3 = 6 @1790000000003\nrefused unfilled\nrefused price\nrefused price"),
        ("28 the last fill above the filled", Binance, br#"{"e":"forceOrder","o":{"s":"BTCUSDT","S":"BUY","p":"2","q":"3","ap":"2","l":"5","z":"3","T":1790000000003}}"#, Decoded, "BTCUSDT short 2 x 3 = 6 @1790000000003"),
        ("D4 no numbers", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":"NaN","v":"1","S":"Buy","s":"BTCUSDT"},{"p":"1","v":"Infinity","S":"Buy","s":"BTCUSDT"},{"p":"1e400","v":"1","S":"Buy","s":"BTCUSDT"},{"p":"-0","v":"1","S":"Buy","s":"BTCUSDT"},{"p":"0x10","v":"1","S":"Buy","s":"BTCUSDT"},{"p":"+1","v":"1","S":"Buy","s":"BTCUSDT"},{"p":true,"v":"1","S":"Buy","s":"BTCUSDT"},{"p":["1"],"v":"1","S":"Buy","s":"BTCUSDT"}]}"#, Decoded, "refused price\nrefused quantity\nrefused price\nrefused price\nrefused price\nrefused price\nrefused price\nrefused price"),
        ("D4 absurd sizes", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":"1e300","v":"1","S":"Buy","s":"BTCUSDT"},{"p":"1","v":"1e300","S":"Buy","s":"BTCUSDT"},{"p":"1","v":"1111111111111111111111111111111111111111","S":"Buy","s":"BTCUSDT"},{"p":"60000","v":"99999999","S":"Buy","s":"BTCUSDT"}]}"#, Decoded, "refused price\nrefused value\nrefused value\nrefused value"),
        ("D4 a JSON number that overflows", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":1e400}]}"#, Rejected("json"), ""),
    ]);
}

#[test]
fn d3_a_time_that_is_not_in_milliseconds_is_no_time() {
    let frame = |time: &str| {
        format!(
            r#"{{"topic":"allLiquidation.BTCUSDT","data":[{{"p":"2","v":"3","S":"Buy","s":"BTCUSDT","T":{time}}}]}}"#
        )
    };
    let exchange = exchange(Bybit).unwrap();
    for (time, expected) in [
        ("1790000000003", "1790000000003"),
        ("\"1790000000003\"", "1790000000003"),
        ("1790000000", "-"),
        ("1790000000003000", "-"),
        ("1790000000003000000", "-"),
        ("0", "-"),
        ("-1790000000003", "-"),
        ("1790000000003.5", "-"),
        ("\"99999999999999999999999\"", "-"),
        ("\"2026-11-20T10:00:00Z\"", "-"),
        ("null", "-"),
    ] {
        let mut words = Words::default();
        let verdict = exchange.parse(frame(time).as_bytes(), &mut Desk::new(exchange), &mut words);
        assert_eq!(verdict, Decoded, "29 {time}");
        assert_eq!(words.0, [format!("BTCUSDT long 2 x 3 = 6 @{expected}")], "29 {time}");
    }
}

#[test]
fn d6_symbols_of_every_kind() {
    let trade = |venue: Venue, name: &str, price: &str, amount: &str| {
        let name = name.replace('"', "\\\"").replace('\n', "\\n");
        let frame = match venue {
            Binance => format!(
                r#"{{"e":"aggTrade","s":"{name}","p":"{price}","q":"{amount}","T":1790000000003,"m":true}}"#
            ),
            Bybit => format!(
                r#"{{"topic":"publicTrade.x","data":[{{"s":"{name}","p":"{price}","v":"{amount}","S":"Buy","T":1790000000003}}]}}"#
            ),
            Okx => format!(
                r#"{{"arg":{{"channel":"trades"}},"data":[{{"instId":"{name}","px":"{price}","sz":"{amount}","side":"buy","ts":"1790000000003"}}]}}"#
            ),
            _ => format!(
                r#"{{"channel":"trades","data":[{{"coin":"{name}","px":"{price}","sz":"{amount}","side":"B","time":1790000000003}}]}}"#
            ),
        };
        let exchange = exchange(venue).unwrap();
        let mut words = Words::default();
        let verdict = exchange.parse(frame.as_bytes(), &mut Desk::new(exchange), &mut words);
        assert_eq!(verdict, Decoded, "{frame}");
        words.0.join("; ").replace(" @1790000000003", "")
    };
    let long = "A".repeat(20) + "USDT";
    let endless = "A".repeat(10_000);
    for (number, venue, name, expected) in [
        ("30", Binance, "币安人生USDT", "币安人生USDT trade 0.01 = 10"),
        ("30", Bybit, "牛来USDT", "牛来USDT trade 0.01 = 10"),
        ("31", Binance, "1000PEPEUSDT", "PEPEUSDT trade 0.00001 = 10"),
        ("31", Binance, "1000000MOGUSDT", "MOGUSDT trade 0.00000001 = 10"),
        ("31", Binance, "1MBABYDOGEUSDT", "BABYDOGEUSDT trade 0.00000001 = 10"),
        ("31", Bybit, "SHIB1000USDT", "SHIBUSDT trade 0.00001 = 10"),
        ("31", Hyperliquid, "kPEPE", "PEPEUSDT trade 0.00001 = 10"),
        ("31", Binance, "1INCHUSDT", "1INCHUSDT trade 0.01 = 10"),
        ("31", Binance, "0GUSDT", "0GUSDT trade 0.01 = 10"),
        ("31", Binance, "4USDT", "4USDT trade 0.01 = 10"),
        ("31", Bybit, "2ZUSDT", "2ZUSDT trade 0.01 = 10"),
        ("32", Binance, "BTCUSD_PERP", "BTCUSDT trade 0.01 = 100000"),
        ("32", Binance, "ETHUSD_200925", "ETHUSDT trade 0.01 = 10000"),
        ("32", Binance, "BTCUSDT_250926", "BTCUSDT trade 0.01 = 10"),
        ("32", Okx, "BTC-USDT-SWAP", "BTCUSDT trade 0.01 = 0.1"),
        ("32", Okx, "BTC-USDT-220325", "BTCUSDT trade 0.01 = -"),
        ("32", Bybit, "BTCPERP", "BTCUSDT trade 0.01 = 10"),
        ("32", Bybit, "BTC-17NOV23", "BTCUSDT trade 0.01 = 10"),
        ("32", Bybit, "BTCUSD", "BTCUSDT trade 0.01 = 1000"),
        ("32", Hyperliquid, "@142", "refused spot"),
        ("32", Hyperliquid, "PURR/USDC", "refused spot"),
        ("32", Hyperliquid, "xyz:CRWV", "XYZ:CRWVUSDT trade 0.01 = 10"),
        ("33", Okx, "LISTING-1", "refused spot"),
        ("33", Okx, "NEW-USDT-SWAP", "NEWUSDT trade 0.01 = -"),
        ("33", Binance, "ETHBTC", "refused quote"),
        ("33", Binance, "USDT", "refused quote"),
        ("33", Binance, "", "refused quote"),
        ("33", Binance, long.as_str(), "OTHER trade 0.01 = 10"),
        ("33", Hyperliquid, endless.as_str(), "refused symbol"),
        ("S1", Hyperliquid, "<img src=x>", "refused symbol"),
        ("S1", Hyperliquid, "A\nB", "refused symbol"),
        ("S1", Hyperliquid, "A\"B", "refused symbol"),
    ] {
        assert_eq!(trade(venue, name, "0.01", "1000"), expected, "{number} {name}");
    }
}

#[test]
fn words_and_keys_that_nobody_has_seen_before() {
    check(&[
        ("34 an unknown direction", Hyperliquid, br#"{"channel":"userFills","data":{"user":"0xa","fills":[{"dir":"Something New","coin":"BTC","side":"B","px":"2","sz":"3","time":1790000000003}]}}"#, Decoded, "BTCUSDT fill @1790000000003"),
        ("34 new keys", Binance, br#"{"e":"aggTrade","s":"BTCUSDT","p":"2","q":"3","nq":"1","st":1,"new":{"deep":[1]},"T":1790000000003,"m":true}"#, Decoded, "BTCUSDT trade 2 = 6 @1790000000003"),
        ("34 an unknown side", Okx, br#"{"arg":{"channel":"liquidation-orders"},"data":[{"instId":"BTC-USDT-SWAP","details":[{"bkPx":"2","posSide":"both","side":"sell","sz":"1"}]}]}"#, Decoded, "refused side"),
        ("34 an unknown event", Binance, br#"{"e":"brandNew"}"#, Rejected("channel"), ""),
        ("34 an unknown channel", Hyperliquid, br#"{"channel":"brandNew","data":{}}"#, Rejected("channel"), ""),
    ]);
}

#[test]
fn semantics_that_look_right_and_are_wrong() {
    check(&[
        ("35 an order that sells closes a long", Binance, br#"{"e":"forceOrder","o":{"s":"BTCUSDT","S":"SELL","ap":"2","z":"3","T":1790000000003}}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("35 the position's side", Bybit, br#"{"topic":"allLiquidation.BTCUSDT","data":[{"p":"2","v":"3","S":"Sell","s":"BTCUSDT","T":1790000000003}]}"#, Decoded, "BTCUSDT short 2 x 3 = 6 @1790000000003"),
        ("35 one-way mode", Okx, br#"{"arg":{"channel":"liquidation-orders"},"data":[{"instId":"ETH-USDT-SWAP","details":[{"bkPx":"2","posSide":"net","side":"sell","sz":"10","ts":"1790000000003"}]}]}"#, Decoded, "ETHUSDT long 2 x 1 = 2 @1790000000003"),
        ("36 the average, not the limit", Binance, br#"{"e":"forceOrder","o":{"s":"BTCUSDT","S":"SELL","p":"1.8","ap":"2","q":"5","z":"3","T":1790000000003}}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("37 contracts are not coins", Okx, br#"{"arg":{"channel":"liquidation-orders"},"data":[{"instId":"DOGE-USDT-SWAP","details":[{"bkPx":"2","posSide":"long","side":"sell","sz":"3","ts":"1790000000003"}]},{"instId":"BTC-USD-SWAP","details":[{"bkPx":"50000","posSide":"long","side":"sell","sz":"5","ts":"1790000000003"}]}]}"#, Decoded, "DOGEUSDT long 2 x 3000 = 6000 @1790000000003\nBTCUSDT long 50000 x 0.01 = 500 @1790000000003"),
        ("37 contracts on the stream of coins", Binance, br#"{"e":"forceOrder","o":{"s":"BTCUSD_PERP","S":"SELL","ap":"50000","z":"5","T":1790000000003,"st":2}}"#, Decoded, "BTCUSDT long 50000 x 0.01 = 500 @1790000000003"),
        ("37 a contradiction has no value", Binance, br#"{"e":"forceOrder","o":{"s":"BTCUSD_PERP","S":"SELL","ap":"50000","z":"5","T":1790000000003,"st":1}}"#, Decoded, "BTCUSDT long 50000 x - = - @1790000000003"),
        ("39 somebody else's liquidation", Hyperliquid, br#"{"channel":"userFills","data":{"user":"0xa","fills":[{"coin":"BTC","side":"B","px":"2","sz":"3","time":1790000000003,"dir":"Open Long","liquidation":{"liquidatedUser":"0xb","method":"market"}}]}}"#, Decoded, "BTCUSDT long 2 x 3 = 6 @1790000000003"),
        ("39 deleveraging, netting, settlement, dust", Hyperliquid, br#"{"channel":"userFills","data":{"user":"0xa","fills":[{"coin":"BTC","side":"B","px":"2","sz":"3","dir":"Auto-Deleveraging","liquidation":{"liquidatedUser":"0xa"}},{"coin":"BTC","side":"B","px":"2","sz":"3","dir":"Net Child Vaults"},{"coin":"BTC","side":"B","px":"2","sz":"3","dir":"Settlement"},{"coin":"BTC","side":"B","px":"2","sz":"3","dir":"Spot Dust Conversion"}]}}"#, Decoded, "refused no_trade\nrefused no_trade\nrefused no_trade\nrefused no_trade"),
        ("40 crossed, touching, one-sided", Binance, br#"[{"e":"bookTicker","s":"BTCUSDT","b":"6","B":"1","a":"5","A":"1","T":1790000000003},{"e":"bookTicker","s":"BTCUSDT","b":"6","B":"1","a":"6","A":"1","T":1790000000003},{"e":"bookTicker","s":"BTCUSDT","b":"","B":"","a":"6","A":"1","T":1790000000003}]"#, Decoded, "refused crossed\nrefused crossed\nrefused one_sided"),
        ("40 negative funding", Okx, br#"{"arg":{"channel":"funding-rate"},"data":[{"instId":"BTC-USDT-SWAP","fundingRate":"-0.015","ts":"1790000000003"},{"instId":"BTC-USDT-SWAP","fundingRate":"15","ts":"1790000000003"}]}"#, Decoded, "BTCUSDT funding -0.015 @1790000000003\nrefused rate"),
    ]);
}

/// Good frames to start from.
const SEEDS: [(Venue, &str); 14] = [
    (
        Binance,
        r#"{"stream":"!forceOrder@arr","data":{"e":"forceOrder","E":1790000001007,"o":{"s":"SOLUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"12","p":"140.10","ap":"141.50","X":"FILLED","l":"4","z":"12","T":1790000000003,"ps":"SOLUSDT","st":1}}}"#,
    ),
    (
        Binance,
        r#"{"e":"aggTrade","E":1790000000010,"a":3057600382,"s":"BTCUSD_PERP","p":"60000.10","q":"2","T":1790000000003,"m":true,"st":2}"#,
    ),
    (
        Binance,
        r#"{"e":"bookTicker","u":7,"s":"BTCUSDT","b":"60000","B":"1.5","a":"60000.1","A":"0.5","T":1790000000003}"#,
    ),
    (
        Binance,
        r#"[{"e":"markPriceUpdate","E":1790000000000,"s":"1000PEPEUSDT","p":"0.01","i":"0.02","r":"-0.00006","T":1790006400000}]"#,
    ),
    (
        Bybit,
        r#"{"topic":"allLiquidation.BTCUSD","type":"snapshot","ts":1790000000551,"data":[{"T":1790000000156,"s":"BTCUSD","S":"Buy","v":"20","p":"60000.5"}]}"#,
    ),
    (
        Bybit,
        r#"{"topic":"liquidation.BTCUSDT","data":{"updatedTime":1700000000953,"symbol":"BTCUSDT","side":"Sell","size":"0.003","price":"43000"}}"#,
    ),
    (
        Bybit,
        r#"{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","markPrice":"60000","indexPrice":"60010","openInterest":"50000","openInterestValue":"3000000000","nextFundingTime":"1790006400000","fundingRate":"-0.0001","bid1Price":"59999","bid1Size":"1","ask1Price":"60000","ask1Size":"2"},"ts":1790000000577}"#,
    ),
    (
        Okx,
        r#"{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"60000","ccy":"","posSide":"net","side":"buy","sz":"8.5","ts":"1790000000955"}],"instId":"BTC-USDT-SWAP"}]}"#,
    ),
    (
        Okx,
        r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USD-SWAP"},"data":[{"asks":[["60001","100","0","1"]],"bids":[["60000","200","0","6"]],"ts":"1790000000078"}]}"#,
    ),
    (
        Okx,
        r#"{"arg":{"channel":"open-interest"},"data":[{"instId":"BTC-USDT-SWAP","oi":"2500000","oiCcy":"25000","oiUsd":"1500000000","ts":"1790000000756"}]}"#,
    ),
    (
        Hyperliquid,
        r#"{"channel":"trades","data":[{"coin":"kPEPE","side":"A","px":"0.01","sz":"500","time":1790000000010,"tid":1016897150094344}]}"#,
    ),
    (
        Hyperliquid,
        r#"{"channel":"bbo","data":{"coin":"BTC","time":1790000000009,"bbo":[{"px":"60000.0","sz":"1","n":43},{"px":"60001.0","sz":"2","n":1}]}}"#,
    ),
    (
        Hyperliquid,
        r#"{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"funding":"0.0000125","openInterest":"25000","oraclePx":"60010","markPx":"60000"}}}"#,
    ),
    (
        Hyperliquid,
        r#"{"channel":"userFills","data":{"isSnapshot":true,"user":"0xAB","fills":[{"coin":"ETH","px":"2000","sz":"1","side":"A","time":1790000000096,"dir":"Close Long","liquidation":{"liquidatedUser":"0xab","markPx":"2001","method":"market"}}]}}"#,
    ),
];

/// What values are replaced with.
const NONSENSE: [&str; 24] = [
    "null",
    "true",
    "0",
    "-1",
    "1e-400",
    "1e300",
    "9e99",
    "1e22",
    "18446744073709551615",
    "\"\"",
    "\"NaN\"",
    "\"-inf\"",
    "\"1e308\"",
    "\"0.000000000000000000000001\"",
    "\"1e-300\"",
    "[]",
    "{}",
    "[[]]",
    "\"SELL\"",
    "\"BTCUSDT\"",
    "\"BTC-USDT-SWAP\"",
    "\"ABCDEFGHIJKLMNOPQRSTUVWXYZ\"",
    "\"\\u0000\"",
    "1790000000",
];

#[derive(Clone, Debug)]
enum Mutation {
    /// Replaces the n-th value after a colon.
    Value(usize, usize),
    /// Overwrites a byte.
    Byte(usize, u8),
    /// Cuts the frame.
    Cut(usize),
    /// Writes a stretch twice.
    Twice(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        6 => (0..64_usize, 0..NONSENSE.len()).prop_map(|(at, with)| Mutation::Value(at, with)),
        2 => (0..600_usize, any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        1 => (0..600_usize).prop_map(Mutation::Cut),
        1 => (0..600_usize, 0..100_usize).prop_map(|(at, len)| Mutation::Twice(at, len)),
    ]
}

fn mutate(frame: &mut Vec<u8>, mutation: &Mutation) {
    match *mutation {
        Mutation::Value(at, with) => {
            let colons: Vec<_> = (0..frame.len()).filter(|&i| frame[i] == b':').collect();
            let Some(&start) = colons.get(at % colons.len().max(1)) else { return };
            let rest = &frame[start + 1..];
            let end = rest.iter().position(|b| b",}]".contains(b)).unwrap_or(rest.len());
            frame.splice(start + 1..start + 1 + end, NONSENSE[with].bytes());
        }
        Mutation::Byte(at, byte) if !frame.is_empty() => {
            let at = at % frame.len();
            frame[at] = byte;
        }
        Mutation::Byte(..) => {}
        Mutation::Cut(at) => frame.truncate(at),
        Mutation::Twice(at, len) => {
            let end = (at + len).min(frame.len());
            if let Some(part) = frame.get(at..end).map(<[u8]>::to_vec) {
                frame.splice(end..end, part);
            }
        }
    }
}

/// Asserts on every event that nothing but usable numbers passed.
#[derive(Default)]
struct Sound {
    items: usize,
}

impl Items for Sound {
    fn event(&mut self, event: Event, origin: Origin<'_>) {
        self.items += 1;
        let sound = |n: f64| n.is_finite() && n > 0.0;
        assert!(origin.quantity.is_none_or(sound), "{event:?}");
        assert!(!event.symbol.as_str().is_empty(), "{event:?}");
        match event.body {
            Body::Liquidation { price, usd, .. } => {
                assert!(price.is_none_or(|p| sound(p.get())), "{event:?}");
                assert!(usd.is_none_or(|u| sound(u.dollars()) && u.dollars() <= 1e11), "{event:?}");
            }
            Body::Funding { rate, next_ms } => {
                assert!(rate.abs() <= 1.0 && next_ms >= 0, "{event:?}");
            }
            Body::Book { bid, ask, .. } => assert!(bid.get() < ask.get(), "{event:?}"),
            _ => {}
        }
    }

    fn refuse(&mut self, reason: &'static str) {
        self.items += 1;
        assert!(!reason.is_empty());
    }
}

thread_local! {
    static DESKS: RefCell<Vec<Desk>> = RefCell::new(EXCHANGES.iter().map(|e| Desk::new(*e)).collect());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_frames_neither_panic_nor_let_nonsense_through(
        seed in 0..SEEDS.len(),
        mutations in prop::collection::vec(mutation(), 0..6),
    ) {
        let (venue, frame) = SEEDS[seed];
        let mut frame = frame.as_bytes().to_vec();
        for mutation in &mutations {
            mutate(&mut frame, mutation);
        }
        DESKS.with_borrow_mut(|desks| {
            for (exchange, desk) in EXCHANGES.iter().zip(desks) {
                let mut sound = Sound::default();
                let verdict = exchange.parse(&frame, desk, &mut sound);
                let understood = verdict == Decoded;
                assert!(understood || sound.items == 0, "items of a frame that is {verdict:?}");
                if mutations.is_empty() && exchange.venue() == venue {
                    assert!(understood && sound.items > 0);
                }
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_lines_at_all_are_conserved(input in prop::collection::vec(any::<u8>(), 0..4_000)) {
        for exchange in EXCHANGES {
            let counts = decode(exchange, &input[..], &mut Vec::new(), &mut Vec::new()).unwrap();
            prop_assert!(counts.close());
        }
    }
}
