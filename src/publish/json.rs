//! Signals, states and events as JSON.
//!
//! Field order is fixed, numbers have their shortest form that reads back exactly, and what is
//! missing is `null`. A signal has two forms: [`signal`] says everything, [`reproducible`] leaves out
//! what differs between two runs over the same input (run, ages), so that the bytes of a replay can
//! be hashed and compared.
//!
//! Text goes straight into a `String` that the caller reuses; nothing is allocated once it has grown.

use std::fmt::{self, Write as _};

use super::explain::{Sentence, action};
use crate::event::{Body, Event, VENUES};
use crate::signal::{COMPONENT_NAMES, FACTOR_NAMES, Motion, Report, WINDOW_COUNT};
use crate::time::Now;

/// Position of 60 s among the windows.
const MINUTE: usize = 5;

/// Under which run and when a signal was handed to the sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Start of the run, wall clock ms.
    pub run: u64,
    /// The publisher's turn that handed it over.
    pub now: Now,
}

/// Writes JSON. A comma goes before everything that does not follow an opening bracket.
#[derive(Debug)]
pub struct Json<'a> {
    out: &'a mut String,
}

impl<'a> Json<'a> {
    /// An object at the end of `out`, filled by `fill`.
    pub fn object(out: &'a mut String, fill: impl FnOnce(&mut Self)) {
        out.push('{');
        let mut json = Self { out };
        fill(&mut json);
        json.out.push('}');
    }

    /// A member.
    pub fn put(&mut self, key: &str, value: impl Value) {
        self.key(key);
        value.write(self.out);
    }

    /// A member that is an object.
    pub fn nest(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.out.push('{');
        fill(self);
        self.out.push('}');
    }

    /// A member that is an array.
    pub fn list<V: Value>(&mut self, key: &str, values: impl Iterator<Item = V>) {
        self.key(key);
        self.out.push('[');
        for value in values {
            self.comma();
            value.write(self.out);
        }
        self.out.push(']');
    }

    fn key(&mut self, key: &str) {
        self.comma();
        key.write(self.out);
        self.out.push(':');
    }

    fn comma(&mut self) {
        if !self.out.ends_with(['{', '[']) {
            self.out.push(',');
        }
    }
}

/// What can stand for a value.
pub trait Value {
    /// Appends it.
    fn write(&self, out: &mut String);
}

impl Value for f64 {
    fn write(&self, out: &mut String) {
        if self.is_finite() {
            plain(out, format_args!("{self}"));
        } else {
            out.push_str("null");
        }
    }
}

impl Value for u64 {
    fn write(&self, out: &mut String) {
        plain(out, format_args!("{self}"));
    }
}

impl Value for i64 {
    fn write(&self, out: &mut String) {
        plain(out, format_args!("{self}"));
    }
}

impl Value for u32 {
    fn write(&self, out: &mut String) {
        u64::from(*self).write(out);
    }
}

impl Value for bool {
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl Value for &str {
    fn write(&self, out: &mut String) {
        text(out, format_args!("{self}"));
    }
}

impl Value for fmt::Arguments<'_> {
    fn write(&self, out: &mut String) {
        text(out, *self);
    }
}

impl<T: Value> Value for Option<T> {
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }
}

fn plain(out: &mut String, args: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(args);
}

fn text(out: &mut String, args: fmt::Arguments<'_>) {
    out.push('"');
    let _ = Escaped(out).write_fmt(args);
    out.push('"');
}

/// Escapes what JSON forbids inside a string, and everything else that is a control character.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                c if c.is_control() => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// The whole signal, on one line without its end.
pub fn signal(report: &Report, sent: &Sent, out: &mut String) {
    let timestamp = sent.now.wall_of(report.at).0;
    Json::object(out, |json| body(json, report, timestamp, Some(sent)));
}

/// The part of a signal that depends on the input alone.
pub fn reproducible(report: &Report, out: &mut String) {
    Json::object(out, |json| body(json, report, report.at.millis(), None));
}

fn body(json: &mut Json<'_>, report: &Report, timestamp: i64, sent: Option<&Sent>) {
    json.put("symbol", report.symbol.as_str());
    json.put("timestamp", timestamp);
    json.put("kind", report.kind.name());
    json.put("signal", report.level.name());
    json.put("signal_level", report.level as u64);
    json.put("probability", report.probability);
    json.put("risk", report.risk);
    json.put("risk_level", report.risk_level.name());
    json.put("confidence", report.confidence);
    json.put("action", action(report.risk_level));
    json.nest("scores", |json| scores(json, report));
    json.nest("metrics", |json| metrics(json, report));
    json.nest("context", |json| context(json, report));
    json.put("explanation", format_args!("{}", Sentence(report)));
    json.nest("meta", |json| meta(json, report, sent));
}

fn scores(json: &mut Json<'_>, report: &Report) {
    for (name, score) in FACTOR_NAMES.into_iter().zip(report.factors) {
        json.put(name, score);
    }
    json.nest("components", |json| {
        for (name, score) in COMPONENT_NAMES.into_iter().zip(report.components) {
            json.put(name, score);
        }
    });
}

fn metrics(json: &mut Json<'_>, report: &Report) {
    windows(report, |key, value| json.put(key, value));
    motion(json, "", &report.fast);
    motion(json, "_10s", &report.slow);
    json.put("total_value_usd", total_value_usd(report));
    json.put("volume_60s_usd", usd(report.usd[MINUTE]));
    json.put("significance", report.significance);
    json.put("evidence", report.evidence);
    json.put("pressure", report.pressure);
    json.put("imbalance", report.imbalance);
    json.put("breadth", report.breadth);
    json.put("dispersion", report.dispersion);
    json.put("clustering", report.clustering);
    json.put("oi_change", report.oi_change);
    json.put("funding", report.funding);
    json.put("volatility", report.volatility);
    json.put("price", report.price);
}

fn motion(json: &mut Json<'_>, scale: &str, motion: &Motion) {
    for (name, value) in motion_fields(motion) {
        json.key_of(name, scale);
        value.write(json.out);
    }
}

impl Json<'_> {
    /// A key made of two parts, neither of which needs escaping.
    fn key_of(&mut self, name: &str, suffix: &str) {
        self.comma();
        plain(self.out, format_args!("\"{name}{suffix}\":"));
    }
}

/// The six numbers of a motion, with the names they have everywhere.
#[must_use]
pub fn motion_fields(motion: &Motion) -> [(&'static str, f64); 6] {
    [
        ("acceleration", motion.acceleration),
        ("acceleration_significance", motion.acceleration_sd),
        ("jerk", motion.jerk),
        ("jerk_significance", motion.jerk_sd),
        ("value_acceleration", motion.value_acceleration),
        ("value_jerk", motion.value_jerk),
    ]
}

/// A number of a window: a count, or a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Events.
    Count(u32),
    /// Per second.
    Rate(f64),
}

impl Value for Figure {
    fn write(&self, out: &mut String) {
        match self {
            Self::Count(n) => n.write(out),
            Self::Rate(rate) => rate.write(out),
        }
    }
}

const COUNT_KEYS: [&str; WINDOW_COUNT] = [
    "event_count_100ms",
    "event_count_500ms",
    "event_count_2s",
    "event_count_10s",
    "event_count_30s",
    "event_count_60s",
    "event_count_300s",
];
const VELOCITY_KEYS: [&str; WINDOW_COUNT] = [
    "velocity_100ms",
    "velocity_500ms",
    "velocity_2s",
    "velocity_10s",
    "velocity_30s",
    "velocity_60s",
    "velocity_300s",
];
const VALUE_VELOCITY_KEYS: [&str; WINDOW_COUNT] = [
    "value_velocity_100ms",
    "value_velocity_500ms",
    "value_velocity_2s",
    "value_velocity_10s",
    "value_velocity_30s",
    "value_velocity_60s",
    "value_velocity_300s",
];

/// Gives `event_count_*`, `velocity_*` and `value_velocity_*` of every window, in that order.
pub fn windows(report: &Report, mut put: impl FnMut(&'static str, Figure)) {
    for (key, count) in COUNT_KEYS.into_iter().zip(report.counts) {
        put(key, Figure::Count(count));
    }
    for (i, key) in VELOCITY_KEYS.into_iter().enumerate() {
        put(key, Figure::Rate(report.velocity(i)));
    }
    for (i, key) in VALUE_VELOCITY_KEYS.into_iter().enumerate() {
        put(key, Figure::Rate(report.value_velocity(i)));
    }
}

/// Value of the liquidations in the longest window, 300 s.
#[must_use]
pub fn total_value_usd(report: &Report) -> f64 {
    report.usd.last().copied().map_or(0.0, usd)
}

#[expect(clippy::cast_precision_loss, reason = "above 9 billion USD the last micro-dollars go")]
fn usd(micros: u64) -> f64 {
    micros as f64 / crate::event::MICROS_PER_USD
}

fn context(json: &mut Json<'_>, report: &Report) {
    json.put("volatility_regime", report.regime.name());
    json.put("liquidity", report.liquidity.name());
    json.put("trend", report.trend.name());
    json.put("btc_price", report.btc_price);
    json.put("vol_risk_multiplier", report.velocity_scale);
    json.put("volume_multiplier", report.volume_scale);
    json.put("leading_exchange", report.leading().map(|venue| venue.name()));
    json.put("exchange_correlation", report.correlation);
    json.nest("by_exchange", |json| {
        for (venue, n) in VENUES.into_iter().zip(report.by_venue) {
            json.put(venue.name(), n);
        }
    });
}

fn meta(json: &mut Json<'_>, report: &Report, sent: Option<&Sent>) {
    json.put("seq", report.seq);
    json.put("episode", report.episode);
    json.put("cause", report.cause);
    json.put("coverage", report.coverage);
    json.list("live", venues_of(report.live));
    json.list("expected", venues_of(report.expected));
    json.nest("completeness", |json| {
        for venue in VENUES {
            if let Some(shown) = report.shown.of(venue) {
                json.put(venue.name(), shown.name());
            }
        }
    });
    json.put("gap", report.gap);
    json.put("saturated", report.saturated);
    let Some(sent) = sent else { return };
    let published = sent.now.mono;
    json.put("run", sent.run);
    json.nest("age_us", |json| {
        json.put("received_to_taken", micros(report.taken.since(report.received)));
        json.put("taken_to_published", micros(published.since(report.taken)));
    });
    json.put("processing_time_ms", micros(published.since(report.received)) / 1e3);
}

/// Names of the venues in a set of their bits.
pub fn venues_of(bits: u8) -> impl Iterator<Item = &'static str> {
    VENUES.into_iter().filter(move |venue| bits & venue.bit() != 0).map(|venue| venue.name())
}

#[expect(clippy::cast_precision_loss, reason = "an age in ns fits 53 bits for 100 days")]
fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// A liquidation as the tape shows it; `false` (and nothing written) for any other event.
pub fn liquidation(event: &Event, now: Now, out: &mut String) -> bool {
    let Body::Liquidation { side, price, usd } = event.body else { return false };
    Json::object(out, |json| {
        json.put("symbol", event.symbol.as_str());
        json.put("exchange", event.venue.name());
        json.put("liquidated", side.map(|side| side.name()));
        json.put("price", price.map(|price| price.get()));
        json.put("value_usd", usd.map(|usd| usd.dollars()));
        json.put("timestamp", now.wall_of(event.at()).0);
        json.put("exchange_timestamp", event.stamp.venue_ms());
        json.put("completeness", event.completeness.name());
        json.list("flags", event.flags.names());
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::explain::tests::sample;
    use crate::signal::{Report, WINDOW_NAMES};
    use crate::symbol::Symbol;
    use crate::time::{Millis, Nanos};

    fn parse(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn sent(report: &Report) -> Sent {
        let mono = report.taken.plus(12_500);
        Sent { run: 1_760_000_000_000, now: Now { mono, wall: Millis(1_760_130_000_001) } }
    }

    #[test]
    fn a_signal_says_what_the_contract_names() {
        let mut report = sample(1);
        report.shown.note(VENUES[1], crate::event::Completeness::Complete);
        let mut text = String::new();
        signal(&report, &sent(&report), &mut text);
        let json = parse(&text);
        assert_eq!(json["symbol"], "BTCUSDT");
        assert_eq!((&json["signal"], &json["signal_level"]), (&"ALERT".into(), &2.into()));
        assert_eq!(json["scores"]["jerk"], serde_json::Value::Null);
        assert_eq!(json["metrics"]["event_count_2s"], 14);
        assert_eq!(json["metrics"]["velocity_2s"], 7.0);
        assert_eq!(json["metrics"]["value_velocity_100ms"], 500.0);
        assert_eq!(json["metrics"]["total_value_usd"], 2_500_000.0);
        assert_eq!(json["context"]["leading_exchange"], "bybit");
        assert_eq!(json["meta"]["run"], 1_760_000_000_000_u64);
        assert_eq!(json["meta"]["age_us"]["received_to_taken"], 100.0);
        assert_eq!(json["meta"]["age_us"]["taken_to_published"], 12.5);
        assert_eq!(json["meta"]["processing_time_ms"], 0.1125);
        assert_eq!(json["meta"]["live"], serde_json::json!(["binance", "bybit", "okx"]));
        assert_eq!(json["meta"]["completeness"], serde_json::json!({"bybit": "complete"}));
        assert!(json["explanation"].as_str().unwrap().starts_with("HIGH 61/100"));
    }

    #[test]
    fn the_reproducible_form_does_not_know_when_it_ran() {
        let report = sample(3);
        let other = Report { taken: Nanos(report.taken.0 + 77), ..report };
        let (mut a, mut b) = (String::new(), String::new());
        reproducible(&report, &mut a);
        reproducible(&other, &mut b);
        assert_eq!(a, b);
        assert!(!a.contains("age_us") && !a.contains("\"run\"") && !a.contains("processing"));
        assert_eq!(parse(&a)["timestamp"], report.at.millis());
        reproducible(&Report { probability: 0.640_000_000_000_000_1, ..report }, &mut b);
        assert_ne!(a, b[a.len()..], "one bit of the input changes the bytes");
    }

    #[test]
    fn numbers_read_back_exactly_and_nonsense_is_null() {
        for number in [0.1 + 0.2, 1e-9, 123_456_789.123_456_78, -0.0, 5e-324, 1e300] {
            let mut text = String::new();
            number.write(&mut text);
            assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
            assert!(parse(&text).is_number(), "{text}");
        }
        let mut text = String::new();
        f64::NAN.write(&mut text);
        assert_eq!(text, "null");
    }

    #[test]
    fn text_cannot_leave_its_quotes() {
        let mut text = String::new();
        Json::object(&mut text, |json| json.put("x", "a\"b\\c\r\n\u{1b}[31m\u{9b}"));
        assert_eq!(text, r#"{"x":"a\"b\\c\u000d\u000a\u001b[31m\u009b"}"#);
    }

    #[test]
    fn an_empty_report_is_still_valid() {
        let mut text = String::new();
        reproducible(&Report::empty(Symbol::MARKET, Nanos(0)), &mut text);
        let json = parse(&text);
        assert!(json["context"]["leading_exchange"].is_null());
        assert_eq!(json["meta"]["live"], serde_json::json!([]));
    }

    #[test]
    fn windows_have_the_names_of_the_windows() {
        let keys = [COUNT_KEYS, VELOCITY_KEYS, VALUE_VELOCITY_KEYS];
        for (keys, prefix) in keys.iter().zip(["event_count_", "velocity_", "value_velocity_"]) {
            for (key, name) in keys.iter().zip(WINDOW_NAMES) {
                assert_eq!(*key, format!("{prefix}{name}"));
            }
        }
    }
}
