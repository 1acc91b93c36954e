//! Every recorded message of the venues we speak, against what its source says it means.
//!
//! The recordings lie beside the project and are no part of it; without them these tests say so and
//! pass.
#![expect(clippy::unwrap_used, reason = "a recording that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use foreshock::event::{Body, Event, Side, Taker, Usd, Venue};
use foreshock::ingest::exchange::{Desk, Exchange, Items, Origin, Verdict, exchange};
use serde_json::Value;

/// One recorded message.
struct Message {
    file: String,
    raw: String,
    expect: Vec<Value>,
    recorded: bool,
}

fn corpus() -> Option<Vec<Message>> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus"));
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: no recordings at {}", folder.display());
        return None;
    };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut messages = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "jsonl")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for line in fs::read_to_string(file).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let Some(raw) = line.get("raw").and_then(Value::as_str) else { continue };
            let expect = match line.get("expect") {
                Some(Value::Array(all)) => all.clone(),
                Some(one) if one.is_object() => vec![one.clone()],
                _ => Vec::new(),
            };
            let recorded = line["kind"].as_str().is_some_and(|kind| kind != "docs");
            messages.push(Message { file: name.clone(), raw: raw.to_owned(), expect, recorded });
        }
    }
    Some(messages)
}

fn spoken(file: &str) -> Option<&'static dyn Exchange> {
    let name = file.strip_prefix("docs.").unwrap_or(file);
    let venue = match name {
        binance if binance.starts_with("binance") => Venue::Binance,
        bybit if bybit.starts_with("bybit") => Venue::Bybit,
        okx if okx.starts_with("okx") => Venue::Okx,
        hyperliquid if hyperliquid.starts_with("hyperliquid") => Venue::Hyperliquid,
        _ => return None,
    };
    exchange(venue)
}

/// What came of one message.
#[derive(Default)]
struct Seen {
    events: Vec<(Event, String, Option<f64>)>,
    refused: Vec<&'static str>,
}

impl Items for Seen {
    fn event(&mut self, event: Event, origin: Origin<'_>) {
        self.events.push((event, origin.symbol.to_owned(), origin.quantity));
    }

    fn refuse(&mut self, reason: &'static str) {
        self.refused.push(reason);
    }
}

fn parse(exchange: &dyn Exchange, raw: &str) -> (Verdict, Seen) {
    let mut seen = Seen::default();
    let verdict = exchange.parse(raw.as_bytes(), &mut Desk::new(exchange), &mut seen);
    (verdict, seen)
}

#[test]
fn every_message_is_decoded_ignored_by_name_or_rejected_with_a_reason() {
    let Some(messages) = corpus() else { return };
    let mut table: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let mut read = 0;
    for Message { file, raw, recorded, .. } in &messages {
        let Some(exchange) = spoken(file) else { continue };
        let (verdict, seen) = parse(exchange, raw);
        let row = table.entry(file).or_default();
        let word = match verdict {
            Verdict::Decoded => "decoded".to_owned(),
            Verdict::Ignored(name) => format!("ignored {name}"),
            Verdict::Rejected(reason) => format!("rejected {reason}"),
            Verdict::Control(control) => control.name().to_owned(),
        };
        *row.entry(word).or_default() += 1;
        *row.entry("events".to_owned()).or_default() += seen.events.len();
        for reason in &seen.refused {
            *row.entry(format!("refused {reason}")).or_default() += 1;
        }
        let live =
            ["binance-usdm.", "binance-coinm.", "bybit.", "bybit-inverse.", "okx.", "hyperliquid."];
        let other = ["rest-", "client-sent", "-item", ".depth", "okx.swap-", "okx.spot-"];
        let ours = live.iter().any(|name| file.starts_with(name))
            && !other.iter().any(|name| file.contains(name));
        if ours && *recorded {
            assert!(!matches!(verdict, Verdict::Rejected(_)), "{file}: {verdict:?}\n{raw}");
        }
        read += 1;
    }
    for (file, row) in &table {
        let words: Vec<String> = row.iter().map(|(word, n)| format!("{word} {n}")).collect();
        println!("{file:50} {}", words.join(", "));
    }
    assert!(read > 400, "{read} messages");
}

#[test]
fn every_other_venue_is_survived_too() {
    let Some(messages) = corpus() else { return };
    for venue in [Venue::Binance, Venue::Bybit, Venue::Okx, Venue::Hyperliquid] {
        let exchange = exchange(venue).unwrap();
        let (mut desk, mut seen) = (Desk::new(exchange), Seen::default());
        for Message { raw, .. } in &messages {
            exchange.parse(raw.as_bytes(), &mut desk, &mut seen);
        }
        assert!(!seen.events.is_empty(), "{}", venue.name());
    }
}

/// How an expectation names things, over all sources.
struct Expected<'a>(&'a Value);

impl Expected<'_> {
    fn number(&self, keys: &[&str]) -> Option<f64> {
        keys.iter().find_map(|key| self.0.get(*key)?.as_f64())
    }

    fn text(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.0.get(*key)?.as_str())
    }

    /// Milliseconds; text times are compared by their milliseconds of the day.
    fn millis(&self) -> Option<i64> {
        ["ts", "timestamp"].iter().find_map(|key| self.0.get(*key)?.as_i64())
    }
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-9 * expected.abs().max(1e-9)
}

/// Where the source of an expectation says another thing than the venue's documentation, by file and
/// a part of the message. The documentation holds.
const KNOWN_DISAGREEMENTS: [(&str, &str, &str); 1] = [(
    "docs.hyperliquid.userFills.jsonl",
    "\"liquidatedUser\":\"0x000000000000000000000000000000000000000b\"",
    "made by hand: the other party buys, so a long was liquidated, not a short",
)];

#[test]
fn liquidations_mean_what_their_sources_say() {
    let Some(messages) = corpus() else { return };
    let (mut sides, mut prices, mut amounts, mut times) = (0, 0, 0, 0);
    for Message { file, raw, expect, .. } in &messages {
        let Some(exchange) = spoken(file) else { continue };
        let name = file.strip_prefix("docs.").unwrap_or(file);
        let liquidating =
            ["forceOrder", "iquidation", "userFills"].iter().any(|n| name.contains(n));
        if !liquidating || name.contains("rest-") || expect.is_empty() {
            continue;
        }
        if KNOWN_DISAGREEMENTS.iter().any(|(f, part, _)| f == file && raw.contains(part)) {
            continue;
        }
        let (verdict, seen) = parse(exchange, raw);
        assert_eq!(verdict, Verdict::Decoded, "{file}\n{raw}");
        assert_eq!(seen.refused, Vec::<&str>::new(), "{file}\n{raw}");
        assert_eq!(seen.events.len(), expect.len(), "{file}\n{raw}");
        for ((event, symbol, quantity), expect) in seen.events.iter().zip(expect) {
            let told = Expected(expect);
            let Body::Liquidation { side, price, usd } = event.body else {
                panic!("{file}: {event:?}\n{raw}");
            };
            let order = told.text(&["side"]).map(|s| if s == "sell" { "long" } else { "short" });
            if let Some(liquidated) = told.text(&["liquidated"]).or(order) {
                assert_eq!(side.map(Side::name), Some(liquidated), "{file}\n{raw}");
                sides += 1;
            }
            let tardis = told.text(&["type"]).is_some();
            let limit =
                told.text(&["price_field"]) == Some("p") || (tardis && raw.contains("\"ap\""));
            if let (Some(expected), false) = (told.number(&["price"]), limit) {
                assert!(close(price.unwrap().get(), expected), "{file}: {price:?}\n{raw}");
                prices += 1;
            }
            if let Some(expected) = told.number(&["qty_base", "qty"]) {
                assert!(
                    quantity.is_some_and(|q| close(q, expected)),
                    "{file}: {quantity:?}\n{raw}"
                );
                amounts += 1;
            }
            if let Some(expected) = told.number(&["notional"]) {
                assert!(close(usd.unwrap().dollars(), expected), "{file}: {usd:?}\n{raw}");
            }
            if let Some(expected) = told.millis() {
                assert_eq!(event.stamp.venue_ms(), Some(expected), "{file}\n{raw}");
                times += 1;
            }
            if let (Some(expected), false) = (told.text(&["symbol"]), tardis) {
                assert_eq!(symbol, expected, "{file}");
            }
        }
    }
    println!("sides {sides}, prices {prices}, amounts {amounts}, times {times}");
    assert!(sides > 20 && prices > 10 && amounts > 8 && times > 10);
}

#[test]
fn trades_mean_what_their_sources_say() {
    let Some(messages) = corpus() else { return };
    let mut checked = 0;
    for Message { file, raw, expect, .. } in &messages {
        let Some(exchange) = spoken(file) else { continue };
        let trades = ["aggTrade", "publicTrade", ".trades."].iter().any(|name| file.contains(name));
        if !trades || file.contains("spot") || file.contains("v3") || expect.is_empty() {
            continue;
        }
        let (_, seen) = parse(exchange, raw);
        if ["spot", "option", "quote"].iter().any(|reason| seen.refused.contains(reason)) {
            continue;
        }
        assert_eq!(seen.events.len(), expect.len(), "{file}\n{raw}");
        for ((event, _, quantity), expect) in seen.events.iter().zip(expect) {
            let told = Expected(expect);
            let Body::Trade { taker, price, usd } = event.body else {
                panic!("{file}: {event:?}\n{raw}");
            };
            let side = if taker == Taker::Buy { "buy" } else { "sell" };
            assert_eq!(told.text(&["side"]), Some(side), "{file}\n{raw}");
            if let Some(expected) = told.number(&["price"]) {
                assert!(close(price.get(), expected), "{file}\n{raw}");
            }
            if let (Some(expected), Some(got)) = (told.number(&["quantity_base"]), *quantity) {
                assert!(close(got, expected), "{file}: {got} for {expected}\n{raw}");
                checked += 1;
            }
            if let (Some(expected), Some(got)) = (told.number(&["quantity_quote"]), usd) {
                assert!((got.dollars() - expected).abs() < 1e-5, "{file}: {got:?}\n{raw}");
                checked += 1;
            }
            if usd.map(Usd::dollars).is_none() {
                assert!(file.starts_with("okx"), "{file}: no value\n{raw}");
            }
        }
    }
    println!("amounts checked: {checked}");
    assert!(checked > 5);
}

/// Marks, rates and books of the sources that state them.
#[test]
fn context_means_what_its_sources_say() {
    let Some(messages) = corpus() else { return };
    let mut checked = 0;
    for Message { file, raw, expect, .. } in &messages {
        let Some(exchange) = spoken(file) else { continue };
        let context =
            ["markPrice", "bookTicker", "tickers.", ".bbo", "activeAssetCtx", "funding-rate"];
        if !context.iter().any(|name| file.contains(name)) || file.contains("spot") {
            continue;
        }
        let (_, seen) = parse(exchange, raw);
        for (expect, (event, ..)) in
            expect.iter().flat_map(|e| seen.events.iter().map(move |s| (e, s)))
        {
            let told = Expected(expect);
            let (keys, got): (&[&str], f64) = match event.body {
                Body::Mark { price, .. } => (&["mark", "markPrice"], price.get()),
                Body::Funding { rate, .. } => (&["rate", "fundingRate"], rate),
                Body::Book { bid, .. } => (&["bid", "bidPrice"], bid.get()),
                Body::OpenInterest { base: Some(base), .. } => (&["open_interest"], base.get()),
                _ => continue,
            };
            if let Some(expected) = told.number(keys) {
                assert!(close(got, expected), "{file}: {got} for {expected}\n{raw}");
                checked += 1;
            }
        }
    }
    println!("facts checked: {checked}");
    assert!(checked > 10);
}

#[test]
fn listings_are_read() {
    let Some(messages) = corpus() else { return };
    let mut listed = BTreeMap::new();
    let rest = ["rest-exchangeInfo", "rest-instruments", "rest-meta"];
    for Message { file, raw, .. } in
        messages.iter().filter(|m| rest.iter().any(|n| m.file.contains(n)))
    {
        let Some(exchange) = spoken(file) else { continue };
        let instruments = exchange.listed(raw.as_bytes()).unwrap_or_else(|e| panic!("{file}: {e}"));
        *listed.entry(file.as_str()).or_insert(0) += instruments.len();
    }
    println!("{listed:?}");
    assert_eq!(listed.get("binance-usdm.rest-exchangeInfo.jsonl"), Some(&10));
    assert_eq!(listed.get("binance-coinm.rest-exchangeInfo.jsonl"), Some(&10));
    assert_eq!(listed.get("bybit.rest-instruments_info.jsonl"), Some(&2));
    assert_eq!(listed.get("okx.rest-instruments.jsonl"), Some(&15));
    assert_eq!(listed.get("hyperliquid.rest-meta.jsonl"), Some(&5));
}
