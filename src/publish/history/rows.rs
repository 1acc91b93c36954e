//! What becomes a row: one list of columns for each table, and their binary form.
//!
//! A list gives name and value together, so that the columns a COPY names and the values it carries
//! cannot differ. In the binary form a value is its length and its bytes: no text of a venue is ever
//! part of a statement.

use std::fmt::Write as _;

use crate::event::{Body, Event};
use crate::publish::json::{self, Figure, Sent, motion_fields, venues_of, windows};
use crate::signal::{Report, WINDOW_COUNT};
use crate::symbol::Symbol;
use crate::time::{Millis, Nanos, Now};

/// What a binary COPY begins with: signature, flags, length of the extension.
pub(super) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(super) const TAIL: &[u8] = &(-1_i16).to_be_bytes();

/// 2000-01-01, where PostgreSQL's time begins, Unix ms.
const EPOCH_MS: i64 = 946_684_800_000;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Not known: NULL.
    Missing,
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// Yes or no.
    Flag(bool),
    /// Text.
    Text(&'a str),
    /// A moment.
    Time(Millis),
}

impl From<u64> for Cell<'_> {
    fn from(value: u64) -> Self {
        // What does not fit is not known here, rather than wrong.
        i64::try_from(value).map_or(Self::Missing, Self::Int)
    }
}

impl From<u32> for Cell<'_> {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<f64> for Cell<'_> {
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Float(value) } else { Self::Missing }
    }
}

impl From<bool> for Cell<'_> {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl From<Millis> for Cell<'_> {
    fn from(value: Millis) -> Self {
        Self::Time(value)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl Cell<'_> {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Missing => out.extend((-1_i32).to_be_bytes()),
            Self::Int(value) => sized(out, &value.to_be_bytes()),
            Self::Float(value) => sized(out, &value.to_be_bytes()),
            Self::Flag(value) => sized(out, &[u8::from(value)]),
            Self::Text(text) => sized(out, text.as_bytes()),
            Self::Time(Millis(ms)) => {
                let micros = ms.saturating_sub(EPOCH_MS).saturating_mul(1_000);
                sized(out, &micros.to_be_bytes());
            }
        }
    }
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
    out.extend(bytes);
}

/// A table, in the order in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Signals,
    Liquidations,
    States,
}

/// All of them; the last gives way first.
pub(super) const TABLES: [Table; 3] = [Table::Signals, Table::Liquidations, Table::States];

impl Table {
    /// Where a report goes.
    pub(super) fn of(report: &Report) -> Self {
        if report.is_signal() { Self::Signals } else { Self::States }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Signals => "signals",
            Self::Liquidations => "liquidations",
            Self::States => "states",
        }
    }

    /// The statement that takes its rows.
    pub(super) fn copy(self) -> String {
        let mut names = Vec::new();
        let mut name = |name: &'static str, _: Cell<'_>| names.push(name);
        let (report, now) = (Report::empty(Symbol::NONE, Nanos(0)), Now::default());
        match self {
            Self::Signals => signal(&report, 0, now, "", &mut name),
            Self::Liquidations => liquidation(&nothing(), 0, 0, now, &mut name),
            Self::States => state(&report, 0, now, &mut name),
        }
        format!("COPY foreshock.{} ({}) FROM STDIN (FORMAT binary)", self.name(), names.join(", "))
    }
}

fn nothing() -> Event {
    let body = Body::Liquidation { side: None, price: None, usd: None };
    Event { body, ..Event::tick(Nanos(0)) }
}

/// Puts a report's row behind `out`; `text` is room to write in.
pub(super) fn put_report(
    report: &Report,
    run: u64,
    now: Now,
    text: &mut String,
    out: &mut Vec<u8>,
) {
    if !report.is_signal() {
        return tuple(out, |put| state(report, run, now, put));
    }
    text.clear();
    json::signal(report, &Sent { run, now }, text);
    tuple(out, |put| signal(report, run, now, text, put));
}

/// Puts a liquidation's row behind `out`; nothing for any other event.
pub(super) fn put_event(event: &Event, run: u64, ordinal: u64, now: Now, out: &mut Vec<u8>) {
    tuple(out, |put| liquidation(event, run, ordinal, now, put));
}

fn tuple(out: &mut Vec<u8>, fill: impl FnOnce(&mut dyn FnMut(&'static str, Cell<'_>))) {
    let start = out.len();
    out.extend([0; 2]);
    let mut count = 0_i16;
    fill(&mut |_, cell| {
        count += 1;
        cell.write(out);
    });
    if let Some(place) = out.get_mut(start..start + 2) {
        place.copy_from_slice(&count.to_be_bytes());
    }
}

/// Takes each column of a row in turn: its name, and what is in it.
pub type Put<'p> = &'p mut dyn FnMut(&'static str, Cell<'_>);

fn signal(report: &Report, run: u64, now: Now, text: &str, put: Put<'_>) {
    put("run", run.into());
    put("seq", report.seq.into());
    put("at", now.wall_of(report.at).into());
    put("symbol", report.symbol.as_str().into());
    put("kind", report.kind.name().into());
    verdict(report, put);
    put("episode", report.episode.into());
    put("cause", report.cause.into());
    put("json", text.into());
}

/// What signals and states have in common.
fn verdict(report: &Report, put: Put<'_>) {
    put("probability", report.probability.into());
    put("level", report.level.name().into());
    put("risk", report.risk.into());
    put("risk_level", report.risk_level.name().into());
    put("confidence", report.confidence.into());
    put("coverage", report.coverage.into());
    put("gap", report.gap.into());
}

fn liquidation(event: &Event, run: u64, ordinal: u64, now: Now, put: Put<'_>) {
    let Body::Liquidation { side, price, usd } = event.body else { return };
    let mut flags = String::new();
    for name in event.flags.names() {
        // Writing to a String cannot fail.
        let _ = write!(flags, "{}{name}", if flags.is_empty() { "" } else { " " });
    }
    put("at", now.wall_of(event.at()).into());
    put("run", run.into());
    put("ordinal", ordinal.into());
    put("received", now.wall_of(event.received).into());
    put("venue_time", event.stamp.venue_ms().map(Millis).into());
    put("venue", event.venue.name().into());
    put("line", u32::from(event.line).into());
    put("symbol", event.symbol.as_str().into());
    put("side", side.map(|side| side.name()).into());
    put("price", price.map(|price| price.get()).into());
    put("usd_micros", usd.map(|usd| usd.micros()).into());
    put("completeness", event.completeness.name().into());
    put("flags", flags.as_str().into());
}

const USD: [&str; WINDOW_COUNT] = [
    "usd_micros_100ms",
    "usd_micros_500ms",
    "usd_micros_2s",
    "usd_micros_10s",
    "usd_micros_30s",
    "usd_micros_60s",
    "usd_micros_300s",
];

/// Names of [`motion_fields`] on the slow scale.
const SLOW: [&str; 6] = [
    "acceleration_10s",
    "acceleration_significance_10s",
    "jerk_10s",
    "jerk_significance_10s",
    "value_acceleration_10s",
    "value_jerk_10s",
];

/// The columns of a state, or of the state that a signal tells.
pub fn state(report: &Report, run: u64, now: Now, put: Put<'_>) {
    put("at", now.wall_of(report.at).into());
    put("run", run.into());
    put("symbol", report.symbol.as_str().into());
    verdict(report, put);
    put("saturated", report.saturated.into());
    measures(report, put);
    put("evidence", report.evidence.into());
    put("significance", report.significance.into());
    put("pressure", report.pressure.into());
    put("imbalance", report.imbalance.into());
    put("breadth", report.breadth.into());
    put("dispersion", report.dispersion.into());
    put("clustering", report.clustering.into());
    put("correlation", report.correlation.into());
    put("regime", report.regime.name().into());
    put("liquidity", report.liquidity.name().into());
    put("trend", report.trend.name().into());
    put("volatility", report.volatility.into());
    put("btc_price", report.btc_price.into());
    put("price", report.price.into());
    put("oi_change", report.oi_change.into());
    put("funding", report.funding.into());
    let live: Vec<&str> = venues_of(report.live).collect();
    put("live", live.join(" ").as_str().into());
}

fn measures(report: &Report, put: Put<'_>) {
    windows(report, |name, figure| {
        if let Figure::Count(count) = figure {
            put(name, count.into());
        }
    });
    for (name, micros) in USD.into_iter().zip(report.usd) {
        put(name, micros.into());
    }
    for (name, value) in motion_fields(&report.fast) {
        put(name, value.into());
    }
    for (name, (_, value)) in SLOW.into_iter().zip(motion_fields(&report.slow)) {
        put(name, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::WINDOW_NAMES;

    const SCHEMA: &str = include_str!("schema.sql");

    /// The columns of a table as the schema has them.
    fn columns(table: Table) -> Vec<&'static str> {
        let begin = format!("CREATE TABLE foreshock.{} (\n", table.name());
        let body = SCHEMA.split_once(&begin).unwrap().1.split_once("\n);").unwrap().0;
        let names = body.lines().filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "PRIMARY").collect()
    }

    #[test]
    fn every_column_of_the_schema_is_filled_and_no_other() {
        for table in TABLES {
            let copy = table.copy();
            let mut named: Vec<_> =
                copy.split_once('(').unwrap().1.split(')').next().unwrap().split(", ").collect();
            let mut expected = columns(table);
            assert!(expected.len() > 10);
            named.sort_unstable();
            expected.sort_unstable();
            assert_eq!(named, expected, "{}", table.name());
        }
    }

    #[test]
    fn windows_and_motions_have_the_names_they_have_everywhere() {
        assert!(
            USD.iter().zip(WINDOW_NAMES).all(|(key, name)| *key == format!("usd_micros_{name}"))
        );
        let fast = motion_fields(&Report::empty(Symbol::BTC, Nanos(0)).fast);
        assert!(SLOW.iter().zip(fast).all(|(slow, (name, _))| *slow == format!("{name}_10s")));
    }

    #[test]
    fn a_row_is_a_count_and_sized_values_and_what_is_missing_is_null() {
        let mut out = Vec::new();
        put_event(&nothing(), 7, 9, Now::default(), &mut out);
        assert_eq!(out[..2], 13_i16.to_be_bytes());
        let at = [8_i32.to_be_bytes().to_vec(), (-946_684_800_000_000_i64).to_be_bytes().to_vec()];
        assert_eq!(out[2..14], at.concat());
        let nulls = out.windows(4).filter(|bytes| **bytes == (-1_i32).to_be_bytes()).count();
        assert!(nulls >= 4, "venue_time, side, price, usd_micros");
        assert_eq!(Cell::from(u64::MAX), Cell::Missing);
        assert_eq!(Cell::from(f64::NAN), Cell::Missing);
    }
}
