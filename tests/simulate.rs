//! The street speaks as the venues do.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use foreshock::event::{Body, Event, FeedState, Venue};
use foreshock::ingest::dial::{Dialer, Trust};
use foreshock::ingest::exchange::{Control, EXCHANGES, Listing, Verdict};
use foreshock::ingest::intake::Intake;
use foreshock::ingest::rest::Rest;
use foreshock::ingest::settings::Settings;
use foreshock::ingest::socket::{Setup, Socket};
use foreshock::ingest::source::{Read, Source};
use foreshock::simulate::market::{Act, Item, Market, Schedule, What};
use foreshock::simulate::street::Street;
use foreshock::simulate::voice::{Answer, Message, Voice, WATCHED, voices};
use foreshock::time::{Millis, Nanos, Now};
use serde_json::Value;

const START: i64 = 1_790_000_000_000;

/// A whole story: what happened, and what each venue said of it.
fn story(seed: u64) -> (Market, Vec<Item>, Vec<(Venue, Message)>) {
    let mut market = Market::new(seed, Schedule::demo(), Millis(START));
    let (mut voices, mut all, mut said) = (voices(), Vec::new(), Vec::new());
    market.begin();
    while market.act() != Act::Over {
        let from = all.len();
        market.step(&mut all);
        for voice in &mut voices {
            let mut out = Vec::new();
            for item in &all[from..] {
                let listing = &market.listings()[item.listing];
                if listing.venue == voice.venue() {
                    voice.tell(item, listing, &mut out);
                }
            }
            voice.flush(market.now_ms(), &mut out);
            said.extend(out.into_iter().map(|message| (voice.venue(), message)));
        }
    }
    (market, all, said)
}

fn of(said: &[(Venue, Message)], venue: Venue, topic: &str) -> Vec<Value> {
    let ours = said.iter().filter(|(v, m)| *v == venue && m.topic.starts_with(topic));
    ours.map(|(_, m)| serde_json::from_str(&m.text).expect("valid JSON")).collect()
}

fn number(value: &Value) -> f64 {
    value.as_str().expect("a string").parse().expect("a number")
}

fn forced(market: &Market, items: &[Item], venue: Venue) -> Vec<Item> {
    let is = |item: &&Item| {
        matches!(item.what, What::Liquidation { .. })
            && market.listings()[item.listing].venue == venue
    };
    items.iter().filter(is).copied().collect()
}

fn voice(venue: Venue) -> Box<dyn Voice> {
    voices().into_iter().find(|voice| voice.venue() == venue).expect("a voice")
}

#[test]
fn the_same_seed_says_the_same_and_another_does_not() {
    assert_eq!(story(1).2, story(1).2);
    assert_ne!(story(1).2, story(2).2);
}

#[test]
fn everything_said_is_json() {
    let (_, _, said) = story(3);
    assert!(said.len() > 5_000);
    for (venue, message) in said {
        let parsed: Result<Value, _> = serde_json::from_str(&message.text);
        assert!(parsed.is_ok(), "{venue:?} {}", message.text);
    }
}

#[test]
fn binance_shows_the_largest_of_each_symbol_and_second_when_it_is_over() {
    let (market, items, said) = story(4);
    let orders = of(&said, Venue::Binance, "!forceOrder@arr");
    assert!(orders.len() < forced(&market, &items, Venue::Binance).len(), "nothing was left out");
    let mut last = BTreeMap::new();
    for frame in &orders {
        let o = &frame["o"];
        let (told, at) = (frame["E"].as_i64().unwrap(), o["T"].as_i64().unwrap());
        assert!((0..=1_010).contains(&(told - at)), "{frame}");
        let symbol = o["s"].as_str().unwrap().to_owned();
        if let Some(before) = last.insert(symbol, told) {
            assert!(told - before >= 1_000, "{frame}");
        }
        let (limit, fill) = (number(&o["p"]), number(&o["ap"]));
        assert_eq!(o["S"] == "SELL", limit < fill, "{frame}");
        assert_eq!((o["X"].as_str(), o["q"].clone()), (Some("FILLED"), o["z"].clone()));
        assert_eq!(o["st"] == 2, o["s"].as_str().unwrap().ends_with("_PERP"));
    }
}

#[test]
fn bybit_tells_every_liquidation_by_the_side_of_the_position() {
    let (market, items, said) = story(5);
    let mut truth: Vec<(i64, String, String)> = forced(&market, &items, Venue::Bybit)
        .iter()
        .map(|item| {
            let What::Liquidation { side, .. } = item.what else { unreachable!() };
            let word = if side.name() == "long" { "Buy" } else { "Sell" };
            (item.at_ms, market.listings()[item.listing].name.clone(), word.to_owned())
        })
        .collect();
    let mut told = Vec::new();
    for frame in of(&said, Venue::Bybit, "allLiquidation.") {
        for row in frame["data"].as_array().unwrap() {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            assert!(frame["ts"].as_i64() >= row["T"].as_i64());
            assert_eq!(frame["topic"], format!("allLiquidation.{}", text("s")));
            told.push((row["T"].as_i64().unwrap(), text("s"), text("S")));
        }
    }
    let last = truth.last().unwrap().0;
    // The story may end before the last half second is told.
    truth.retain(|row| row.0 < last - 600);
    told.retain(|row| row.0 < last - 600);
    truth.sort();
    told.sort();
    assert_eq!(truth, told);
}

#[test]
fn okx_puts_details_first_and_counts_contracts() {
    let (market, items, said) = story(6);
    let frames = of(&said, Venue::Okx, "liquidation-orders");
    let raw = said.iter().find(|(_, m)| m.topic.starts_with("liquidation-orders")).unwrap();
    assert!(raw.1.text.contains(r#""data":[{"details":[{"bkLoss""#), "{}", raw.1.text);
    let mut rows = 0;
    for frame in &frames {
        for instrument in frame["data"].as_array().unwrap() {
            assert!(instrument["instId"].as_str().unwrap().ends_with("-SWAP"));
            for order in instrument["details"].as_array().unwrap() {
                assert_eq!(order["posSide"] == "long", order["side"] == "sell");
                assert!(order["ts"].is_string() && number(&order["sz"]) > 0.0);
                rows += 1;
            }
        }
    }
    let truth = forced(&market, &items, Venue::Okx).len();
    assert!(rows + 5 >= truth && rows <= truth, "{rows} of {truth}");
}

#[test]
fn hyperliquid_tells_only_the_fills_of_the_address_that_is_watched() {
    let (market, items, said) = story(7);
    let fills = of(&said, Venue::Hyperliquid, "userFills:");
    assert_eq!(fills.len(), forced(&market, &items, Venue::Hyperliquid).len());
    for frame in &fills {
        assert_eq!(frame["data"]["user"], WATCHED);
        let fill = &frame["data"]["fills"][0];
        assert_eq!(fill["liquidation"]["liquidatedUser"], WATCHED);
        assert_eq!(fill["side"] == "A", fill["dir"] == "Close Long");
    }
    let trades = of(&said, Venue::Hyperliquid, "trades:");
    let theirs = |frame: &&Value| frame.to_string().contains(WATCHED);
    assert_eq!(trades.iter().filter(theirs).count(), fills.len());
}

#[test]
fn a_stream_on_the_wrong_route_is_acknowledged_and_joins_nothing() {
    let binance = voice(Venue::Binance);
    let ask = r#"{"method":"SUBSCRIBE","params":["!forceOrder@arr","btcusdt@bookTicker"],"id":7}"#;
    let acked = |answers: &[Answer]| matches!(&answers[0], Answer::Say(text) if text.contains("null") && text.contains('7'));
    let market = binance.answer(&[], "market", ask);
    assert!(acked(&market));
    assert_eq!(market[1..], [Answer::Join("!forceOrder@arr".to_owned())]);
    let public = binance.answer(&[], "public", ask);
    assert!(acked(&public));
    assert_eq!(public[1..], [Answer::Join("btcusdt@bookTicker".to_owned())]);
}

#[test]
fn each_venue_answers_its_own_heartbeat() {
    for (venue, ping, pong) in [
        (Venue::Okx, "ping", "pong"),
        (Venue::Hyperliquid, r#"{"method":"ping"}"#, r#"{"channel":"pong"}"#),
    ] {
        assert_eq!(voice(venue).answer(&[], "", ping), [Answer::Say(pong.to_owned())]);
    }
    let answers = voice(Venue::Bybit).answer(&[], "linear", r#"{"req_id":"1","op":"ping"}"#);
    assert!(matches!(&answers[0], Answer::Say(t) if t.contains(r#""ret_msg":"pong""#)));
}

#[test]
fn what_does_not_exist_is_refused_in_the_venue_s_words() {
    let market = Market::new(1, Schedule::demo(), Millis(START));
    let ask = |venue, frame| voice(venue).answer(market.listings(), "linear", frame);
    let bybit = ask(Venue::Bybit, r#"{"op":"subscribe","args":["liquidation.BTCUSDT"]}"#);
    assert!(matches!(&bybit[..], [Answer::Say(t)] if t.contains("handler not found")));
    let okx = ask(
        Venue::Okx,
        r#"{"op":"subscribe","args":[{"channel":"liquidation-orders","instId":"BTC-USDT-SWAP"}]}"#,
    );
    assert!(matches!(&okx[..], [Answer::Say(t)] if t.contains("60018")));
    let hl = r#"{"method":"subscribe","subscription":{"type":"trades","coin":"btc"}}"#;
    assert_eq!(ask(Venue::Hyperliquid, hl), [Answer::HangUp]);
}

#[test]
fn instruments_are_listed_in_each_venue_s_format() {
    let market = Market::new(1, Schedule::demo(), Millis(START));
    let list = |venue, path: &str, body: &str| -> Value {
        let text = voice(venue).rest(market.listings(), path, body).expect("an answer");
        serde_json::from_str(&text).expect("valid JSON")
    };
    let usdm = list(Venue::Binance, "/fapi/v1/exchangeInfo", "");
    assert_eq!(usdm["symbols"].as_array().map(Vec::len), Some(40));
    let coinm = list(Venue::Binance, "/dapi/v1/exchangeInfo", "");
    assert_eq!(coinm["symbols"][0]["contractSize"], 100);
    let bybit = list(Venue::Bybit, "/v5/market/instruments-info?category=inverse&limit=1000", "");
    assert_eq!(bybit["result"]["list"][0]["symbol"], "BTCUSD");
    let okx = list(Venue::Okx, "/api/v5/public/instruments?instType=SWAP", "");
    assert_eq!(okx["data"][0]["ctVal"], "0.01");
    let hl = list(Venue::Hyperliquid, "/info", r#"{"type":"meta"}"#);
    assert_eq!(hl["universe"][0]["name"], "BTC");
}

#[test]
fn a_port_in_use_is_said_so() {
    let street = Street::start(1, Schedule::demo(), 0).expect("a street");
    let error = Street::start(1, Schedule::demo(), street.port()).expect_err("two on one port");
    assert!(error.contains("in use") && error.contains(&street.port().to_string()), "{error}");
    street.join();
}

/// A story of three seconds.
fn short() -> Schedule {
    let (quiet_s, build_s, cascade_s, calm_s) = (0.2, 0.4, 2.0, 0.2);
    Schedule { quiet_s, build_s, cascade_s, calm_s, lines: 6, patience_ms: 8_000 }
}

/// Every line of every venue, as the program itself would open them on this street, and what parses.
fn lines(street: &Street) -> (Vec<Socket>, Intake) {
    let mut settings = Settings::default();
    for (venue, route, url) in street.urls() {
        let own = settings.venues.entry(venue.name().to_owned()).or_default();
        own.urls.insert(route.to_owned(), url);
        own.addresses = vec![WATCHED.to_owned()];
    }
    settings.check().unwrap();
    let pem = Some(street.ca_pem().as_bytes());
    let (rest, dialer) = (Rest::new(pem).unwrap(), Dialer::start(6, &Trust::new(pem).unwrap()));
    let (mut sockets, mut intake) = (Vec::new(), Intake::new(10_000));
    for exchange in EXCHANGES {
        let venue = exchange.venue();
        let (known, complaints) = rest.instruments(exchange, Some(&street.rest(venue)));
        assert_eq!(complaints, [] as [String; 0]);
        for line in Setup::of(exchange, &settings, &known).unwrap() {
            sockets.push(Socket::new(line, dialer.as_ref().unwrap().clone()).unwrap());
        }
        intake.desk(venue).unwrap().instruments = known;
    }
    (sockets, intake)
}

#[test]
fn the_exchanges_understand_every_message_of_the_street() {
    let street = Street::start(11, short(), 0).unwrap();
    let (mut sockets, mut intake) = lines(&street);
    assert_eq!(sockets.len(), 7);
    let (mut heard, mut over, began) = (BTreeMap::new(), None, Instant::now());
    // Binance tells of the last second when the story is over.
    while over.is_none_or(|at: Instant| at.elapsed() < Duration::from_millis(1_500)) {
        assert!(began.elapsed() < Duration::from_secs(60), "the story does not end");
        if street.act() == Act::Over {
            over.get_or_insert(Instant::now());
        }
        let mono = Nanos(u64::try_from(began.elapsed().as_nanos()).unwrap());
        let now = Now { mono, wall: wall() };
        let mut idle = true;
        for socket in &mut sockets {
            let read = socket.read(now, 64, &mut |frame| {
                let (verdict, events) = intake.frame(&frame);
                let bad = matches!(verdict, Verdict::Rejected(_))
                    || verdict == Verdict::Control(Control::Refused);
                assert!(!bad, "{verdict:?} {}", String::from_utf8_lossy(frame.bytes));
                let forced = |e: &&Event| matches!(e.body, Body::Liquidation { usd: Some(_), .. });
                *heard.entry(frame.venue).or_insert(0) += events.iter().filter(forced).count();
                verdict.into()
            });
            idle &= read == Read::Idle;
        }
        if idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    for socket in &mut sockets {
        let states: Vec<_> = std::iter::from_fn(|| socket.feed()).map(|c| c.state).collect();
        assert_eq!(states, [FeedState::Connecting, FeedState::Live], "{}", socket.name());
    }
    for venue in [Venue::Binance, Venue::Bybit, Venue::Okx, Venue::Hyperliquid] {
        let (sent, counts) = (street.sent(venue), intake.counts(venue));
        assert!(sent.happened > 0 && sent.liquidations <= sent.happened, "{venue:?} {sent:?}");
        assert_eq!(heard[&venue] as u64, sent.liquidations, "{venue:?} {counts:?}");
        assert_eq!((counts.refused.total(), counts.flagged.get("backfill")), (0, 0), "{counts:?}");
    }
    street.join();
}

fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Millis(i64::try_from(since.as_millis()).unwrap())
}

#[test]
fn instruments_come_over_https() {
    let street = Street::start(12, short(), 0).expect("a street");
    let rest = Rest::new(Some(street.ca_pem().as_bytes())).unwrap();
    let ask = |venue, url, body| rest.fetch(&Listing { url, body }, Some(&street.rest(venue)));
    let okx = ask(Venue::Okx, "https://www.okx.com/api/v5/public/instruments?instType=SWAP", None);
    assert!(String::from_utf8(okx.unwrap()).unwrap().contains("BTC-USDT-SWAP"));
    let meta = Some(r#"{"type":"meta"}"#);
    let hl = ask(Venue::Hyperliquid, "https://api.hyperliquid.xyz/info", meta).unwrap();
    assert!(String::from_utf8(hl).unwrap().contains("kPEPE"));
    let none = ask(Venue::Okx, "https://www.okx.com/api/v5/nothing", None).unwrap_err();
    assert!(none.contains("http 404"), "{none}");
}
