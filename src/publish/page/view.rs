//! The picture as JSON: a frame for a browser, several times a second, and the whole for `/status`.
//!
//! A browser is told what it has not seen yet: points of the past, liquidations and signals are
//! numbered, so one that is slow gets more at once and nothing twice. What is not known is `null`.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::feed::Feed;
use super::health::Health;
use super::picture::{Picture, Point, ROWS, Row};
use crate::event::{Body, Event};
use crate::ledger::{Counts, Ledger};
use crate::publish::explain::Sentence;
use crate::publish::latency::{Digest, Digested};
use crate::signal::{FAST, Motion, Report, WINDOW_COUNT};
use crate::symbol::Symbol;
use crate::time::{Millis, NS_PER_MS, Nanos, Now};

/// Symbols in the list, most in danger first, where no other number is asked for.
const LISTED: usize = 60;
/// Position of 60 s among the windows.
const MINUTE: usize = WINDOW_COUNT - 2;
/// Percentiles of a latency curve.
pub const PERCENTILES: [f64; 13] =
    [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0];

/// Which run it is.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Its number: when it was started, wall clock ms.
    pub run: i64,
    /// The program's version.
    pub version: &'static str,
    /// Stands at the top, so that nobody takes a story for the market.
    pub mark: String,
}

/// What one browser looks at and has seen.
#[derive(Clone, Copy, Debug)]
pub struct Eye {
    /// The symbol it looks at.
    pub symbol: Symbol,
    /// Symbols it wants in the list.
    listed: usize,
    /// The last point of its past.
    point: Option<Millis>,
    tape: u64,
    signals: u64,
}

impl Eye {
    /// One that has seen nothing.
    pub fn on(symbol: Symbol) -> Self {
        Self { symbol, listed: LISTED, point: None, tape: 0, signals: 0 }
    }

    /// One that wants so many symbols in the list, where that is said.
    pub fn listing(self, symbols: Option<usize>) -> Self {
        Self { listed: symbols.map_or(self.listed, |n| n.min(ROWS)), ..self }
    }
}

/// One frame.
#[derive(Serialize)]
struct Frame<'a> {
    #[serde(flatten)]
    run: &'a Run,
    now: i64,
    /// Age of the last tick that came through, ms.
    age: Option<u64>,
    still: bool,
    symbol: &'a str,
    row: Option<State>,
    market: Option<State>,
    past: Past,
    tape: Vec<Liquidation<'a>>,
    signals: Vec<Signal<'a>>,
    #[serde(flatten)]
    slow: Option<Slow<'a>>,
}

/// What need not be told in each frame.
#[derive(Serialize)]
struct Slow<'a> {
    list: Vec<Listed<'a>>,
    feeds: Option<&'a [Feed]>,
    health: Answers,
    /// What is the matter with Redis.
    redis: Option<String>,
    latency: Vec<Curve>,
    counts: Vec<(&'static str, u64)>,
}

/// A symbol as it is.
#[derive(Serialize)]
struct State {
    said: i64,
    velocity: f64,
    acceleration: f64,
    acceleration_sd: f64,
    jerk: f64,
    jerk_sd: f64,
    risk: f64,
    risk_level: &'static str,
    level: &'static str,
    probability: f64,
    confidence: f64,
    price: Option<f64>,
    count_60s: u32,
    usd_60s: f64,
    imbalance: Option<f64>,
    coverage: f64,
    gap: bool,
    regime: &'static str,
}

/// The past in columns.
#[derive(Default, Serialize)]
struct Past {
    t: Vec<i64>,
    v: Vec<f32>,
    a: Vec<f32>,
    j: Vec<f32>,
    r: Vec<f32>,
    p: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Liquidation<'a> {
    at: i64,
    symbol: &'a str,
    venue: &'static str,
    side: Option<&'static str>,
    price: Option<f64>,
    usd: Option<f64>,
    flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct Signal<'a> {
    seq: u64,
    at: i64,
    symbol: &'a str,
    kind: &'static str,
    level: &'static str,
    probability: f64,
    risk: f64,
    why: String,
}

/// Symbol, level, risk, velocity, USD in 60 s, acceleration, jerk, price.
#[derive(Serialize)]
struct Listed<'a>(&'a str, &'static str, f64, f64, f64, f64, f64, Option<f64>);

/// Health as programs read it.
#[derive(Serialize)]
struct Answers {
    live: bool,
    ready: bool,
    stuck: Vec<String>,
    venues: usize,
    heard: usize,
    fresh: usize,
    needed: usize,
    deaf: Vec<&'static str>,
}

/// Percentiles of one stage, lately; ns.
#[derive(Serialize)]
struct Curve {
    stage: &'static str,
    count: u64,
    ns: Vec<u64>,
}

/// The frame for `eye`, which has seen it then. `slow` asks for what need not be told each time.
pub fn frame(
    picture: &Picture,
    run: &Run,
    digest: Option<&Digest>,
    eye: &mut Eye,
    slow: bool,
    now: Now,
) -> String {
    let row = picture.rows.get(&eye.symbol);
    let seen = *eye;
    eye.point = row.and_then(|row| row.past.back()).map_or(eye.point, |point| Some(point.at));
    (eye.tape, eye.signals) = (picture.tape.total, picture.signals.total);
    let frame = Frame {
        run,
        now: now.wall.0,
        age: picture.tick_age(now.mono).map(|ns| ns / NS_PER_MS),
        still: picture.stands_still(now.mono),
        symbol: eye.symbol.as_str(),
        row: row.and_then(|row| as_it_is(row, now)),
        market: picture.rows.get(&Symbol::MARKET).and_then(|row| as_it_is(row, now)),
        past: row.map_or_else(Past::default, |row| past(row, seen.point)),
        tape: picture.tape.after(seen.tape).map(liquidation).collect(),
        signals: picture.signals.after(seen.signals).map(signal).collect(),
        slow: slow.then(|| slow_part(picture, digest, eye.listed, now)),
    };
    serde_json::to_string(&frame).unwrap_or_default()
}

fn slow_part<'a>(
    picture: &'a Picture,
    digest: Option<&Digest>,
    listed: usize,
    now: Now,
) -> Slow<'a> {
    let lately = |stage: &Digested| curve(stage.name, &stage.lately());
    Slow {
        list: list(picture, listed, now.mono),
        feeds: picture.feeds(now.mono),
        health: answers(picture, now),
        redis: picture.redis().filter(|(up, _)| !up).map(|(_, words)| words),
        latency: digest.map_or_else(Vec::new, |d| d.show(|all| all.iter().map(lately).collect())),
        counts: counts(picture).iter().filter(|c| c.1.is_empty()).map(|c| (c.0, c.2)).collect(),
    }
}

/// Everything, for a program that asks once.
pub fn status(picture: &Picture, run: &Run, digest: Option<&Digest>, now: Now) -> String {
    #[derive(Serialize)]
    struct Status<'a> {
        #[serde(flatten)]
        run: &'a Run,
        now: i64,
        tick_age_ms: Option<u64>,
        health: Answers,
        market: Option<State>,
        symbols: Vec<(&'a str, Option<State>)>,
        feeds: Option<&'a [Feed]>,
        signals_by_level: [u64; 5],
        unheard_s: Vec<(&'static str, f64)>,
        latency: Vec<Curve>,
        counts: Vec<(String, u64)>,
        laws: Vec<(String, bool)>,
    }
    let total = |stage: &Digested| curve(stage.name, &stage.total);
    let symbols = picture.rows.iter().map(|(symbol, row)| (symbol.as_str(), as_it_is(row, now)));
    let mut ledger = Ledger::default();
    ledger.add_counts(|to| sum(picture, to));
    let status = Status {
        run,
        now: now.wall.0,
        tick_age_ms: picture.tick_age(now.mono).map(|ns| ns / NS_PER_MS),
        health: answers(picture, now),
        market: picture.rows.get(&Symbol::MARKET).and_then(|row| as_it_is(row, now)),
        symbols: symbols.filter(|(_, row)| row.is_some()).collect(),
        feeds: picture.feeds(now.mono),
        signals_by_level: picture.by_level,
        unheard_s: picture.unheard().collect(),
        latency: digest.map_or_else(Vec::new, |d| d.show(|all| all.iter().map(total).collect())),
        counts: ledger.iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        laws: ledger.laws().map(|law| (law.text, law.holds)).collect(),
    };
    serde_json::to_string_pretty(&status).unwrap_or_default()
}

fn sum(picture: &Picture, to: &mut Counts) {
    for (name, label, n) in picture.ears.iter().flat_map(|ear| ear.last.counts.iter()) {
        to.add_under(name, label, n);
    }
}

/// What all threads counted.
pub fn counts(picture: &Picture) -> Counts {
    let mut counts = Counts::default();
    sum(picture, &mut counts);
    counts
}

fn as_it_is(row: &Row, now: Now) -> Option<State> {
    let report = row.report.as_ref()?;
    Some(State {
        said: now.wall_of(row.said).0,
        velocity: report.velocity(FAST),
        acceleration: report.fast.acceleration,
        acceleration_sd: report.fast.acceleration_sd,
        jerk: report.fast.jerk,
        jerk_sd: report.fast.jerk_sd,
        risk: report.risk,
        risk_level: report.risk_level.name(),
        level: report.level.name(),
        probability: report.probability,
        confidence: report.confidence,
        price: row.quote.recent(now.mono),
        count_60s: report.counts[MINUTE],
        usd_60s: report.value_velocity(MINUTE) * 60.0,
        imbalance: report.imbalance,
        coverage: report.coverage,
        gap: report.gap,
        regime: report.regime.name(),
    })
}

fn past(row: &Row, seen: Option<Millis>) -> Past {
    let mut past = Past::default();
    for point in row.past.iter().filter(|point| seen.is_none_or(|seen| point.at > seen)) {
        let Point { at, velocity, acceleration, jerk, risk, price } = *point;
        past.t.push(at.0);
        past.v.push(velocity);
        past.a.push(acceleration);
        past.j.push(jerk);
        past.r.push(risk);
        past.p.push(price);
    }
    past
}

fn liquidation((at, event): &(Millis, Event)) -> Liquidation<'_> {
    let (side, price, usd) = match event.body {
        Body::Liquidation { side, price, usd } => (side, price, usd),
        _ => (None, None, None),
    };
    Liquidation {
        at: at.0,
        symbol: event.symbol.as_str(),
        venue: event.venue.name(),
        side: side.map(|side| side.name()),
        price: price.map(|price| price.get()),
        usd: usd.map(|usd| usd.dollars()),
        flags: event.flags.names().collect(),
    }
}

fn signal((at, report): &(Millis, Report)) -> Signal<'_> {
    Signal {
        seq: report.seq,
        at: at.0,
        symbol: report.symbol.as_str(),
        kind: report.kind.name(),
        level: report.level.name(),
        probability: report.probability,
        risk: report.risk,
        why: Sentence(report).to_string(),
    }
}

/// So many symbols by level, risk and money; those about which nothing was said are left out.
fn list(picture: &Picture, most: usize, now: Nanos) -> Vec<Listed<'_>> {
    let told =
        picture.rows.iter().filter_map(|(symbol, row)| Some((symbol, row, row.report.as_ref()?)));
    let mut all: Vec<_> = told.filter(|(symbol, ..)| **symbol != Symbol::MARKET).collect();
    all.sort_by(|(.., a), (.., b)| {
        let key = |report: &Report| (report.level, report.risk, report.usd[MINUTE]);
        key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let shown = all.into_iter().take(most).map(|(symbol, row, report)| {
        let (level, usd) = (report.level.name(), report.value_velocity(MINUTE) * 60.0);
        let Motion { acceleration, jerk, .. } = report.fast;
        let (velocity, price) = (report.velocity(FAST), row.quote.recent(now));
        Listed(symbol.as_str(), level, report.risk, velocity, usd, acceleration, jerk, price)
    });
    shown.collect()
}

fn answers(picture: &Picture, now: Now) -> Answers {
    let health = Health::of(picture, now);
    let [venues, heard, fresh] = health.venues;
    let deaf = picture.venues(now.mono).filter(|(_, heard)| !heard).map(|(venue, _)| venue.name());
    Answers {
        live: health.is_live(),
        ready: health.is_ready(),
        venues,
        heard,
        fresh,
        needed: health.needed,
        deaf: deaf.collect(),
        stuck: health.stuck,
    }
}

fn curve(stage: &'static str, histogram: &Histogram<u64>) -> Curve {
    let ns = PERCENTILES.into_iter().map(|p| histogram.value_at_percentile(p));
    Curve { stage, count: histogram.len(), ns: ns.collect() }
}
