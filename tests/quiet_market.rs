//! A market where nothing changes raises no alarm: constant Poisson flows, whatever their rate, are
//! at HIGH risk or at ALERT less than one in a thousand of the time; and what is not constant is seen.
//!
//! Judged at each tick, so that it is time that is counted, by the last state of each row.
//! `FORESHOCK_FULL=1 cargo test --release --test quiet_market` runs ten times as long.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod stream;

use std::collections::BTreeMap;

use foreshock::engine::{Engine, Outbox, Settings};
use foreshock::event::{Body, Event, Side, Venue};
use foreshock::signal::{Level, RiskLevel};
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_MS, Nanos};
use stream::{Rng, liquidation, ms, symbol, with_ticks};

struct Flow {
    seed: u64,
    rate: f64,
    symbols: u64,
    venues: &'static [Venue],
}

impl Flow {
    fn events(&self, seconds: u64) -> Vec<Event> {
        let mut rng = Rng(self.seed);
        let mut at = ms(0).0;
        let mut all = Vec::new();
        loop {
            at += rng.wait_ns(self.rate);
            if Nanos(at) > ms(seconds * 1_000) {
                return all;
            }
            let side = if rng.below(2) == 0 { Side::Long } else { Side::Short };
            let venue = self.venues[rng.below(self.venues.len() as u64) as usize];
            let symbol = symbol(rng.below(self.symbols));
            all.push(liquidation(Nanos(at), symbol, venue, Some(side), rng.size()));
        }
    }
}

/// Shares of ticks, over all rows that were ever reported, at HIGH risk and at ALERT and above; and
/// of the market alone.
struct Shares {
    high: f64,
    alert: f64,
    market_high: f64,
    market_alert: f64,
}

fn shares(flow: &Flow, seconds: u64) -> Shares {
    let mut engine = Engine::new(&Settings { max_symbols: 256, ..Settings::default() });
    let mut out = Outbox::new();
    let mut last = BTreeMap::new();
    let (mut high, mut alert, mut market_high, mut market_alert) = (0, 0, 0, 0);
    let (mut all, mut ticks) = (0, 0);
    for event in with_ticks(&flow.events(seconds), ms(seconds * 1_000)) {
        out.clear();
        engine.take(&event, &mut out);
        for report in out.reports() {
            last.insert(report.symbol, (report.risk_level, report.level));
        }
        if matches!(event.body, Body::Tick) {
            ticks += 1;
            all += last.len();
            high += last.values().filter(|(risk, _)| *risk >= RiskLevel::High).count();
            alert += last.values().filter(|(_, level)| *level >= Level::Alert).count();
            let (risk, level) = last.get(&Symbol::MARKET).copied().unwrap_or_default();
            market_high += usize::from(risk >= RiskLevel::High);
            market_alert += usize::from(level >= Level::Alert);
        }
    }
    assert!(ticks as u64 >= (seconds - 1) * 10 && all > 0);
    Shares {
        high: high as f64 / all as f64,
        alert: alert as f64 / all as f64,
        market_high: market_high as f64 / ticks as f64,
        market_alert: market_alert as f64 / ticks as f64,
    }
}

const ALL: &[Venue] = &[Venue::Binance, Venue::Bybit, Venue::Okx];

fn stays_quiet(symbols: u64, venues: &'static [Venue]) {
    let times = if std::env::var_os("FORESHOCK_FULL").is_some() { 10 } else { 1 };
    for (i, rate) in [0.01, 0.1, 1.0, 5.0, 20.0, 50.0, 100.0].into_iter().enumerate() {
        let flow = Flow { seed: 40 + i as u64, rate, symbols, venues };
        let seconds = times * if rate > 10.0 { 600 } else { 2_400 };
        let shares = shares(&flow, seconds);
        let Shares { high, alert, market_high, market_alert } = shares;
        println!(
            "{rate}/s over {symbols} symbols, {} venues: HIGH {high:.5} ALERT {alert:.5}, market \
             HIGH {market_high:.5} ALERT {market_alert:.5}",
            venues.len(),
        );
        for (what, share) in
            [("HIGH", high), ("ALERT", alert), ("HIGH", market_high), ("ALERT", market_alert)]
        {
            assert!(share < 0.001, "{rate}/s, seed {}: {what} {share:.5} of the time", flow.seed);
        }
    }
}

#[test]
fn a_steady_flow_of_one_symbol_on_one_venue() {
    stays_quiet(1, &ALL[..1]);
}

#[test]
fn a_steady_flow_of_one_symbol_on_three_venues() {
    stays_quiet(1, ALL);
}

#[test]
fn a_steady_flow_over_fifty_symbols() {
    stays_quiet(50, ALL);
}

/// A guard for the guard: the same flow is not quiet once its rate multiplies.
#[test]
fn a_flow_that_multiplies_is_not_quiet() {
    let mut events = Flow { seed: 9, rate: 5.0, symbols: 50, venues: ALL }.events(120);
    let burst = Flow { seed: 10, rate: 200.0, symbols: 50, venues: ALL }.events(10);
    let shift = 120_000 * NS_PER_MS;
    events.extend(burst.into_iter().map(|mut event| {
        event.received = event.received.plus(shift);
        event.stamp = foreshock::event::Stamp::new(Some(event.received.millis()), 0);
        event
    }));
    let all = with_ticks(&events, ms(130_000));
    let reports = stream::reports(&mut Engine::new(&Settings::default()), &all);
    let market = reports.iter().filter(|r| r.symbol == Symbol::MARKET);
    assert!(market.clone().any(|r| r.risk_level >= RiskLevel::High));
    assert!(market.clone().any(|r| r.level >= Level::Alert));
}

/// A flow of `before` a second for two minutes, then of ten times as many.
fn step(before: f64, symbols: u64, seed: u64) -> Vec<Event> {
    let mut events = Flow { seed, rate: before, symbols, venues: ALL }.events(120);
    let after = Flow { seed: seed + 1_000, rate: before * 10.0, symbols, venues: ALL }.events(5);
    events.extend(after.into_iter().map(|mut event| {
        event.received = event.received.plus(120_000 * NS_PER_MS);
        event.stamp = foreshock::event::Stamp::new(Some(event.received.millis()), 0);
        event
    }));
    events
}

#[test]
fn a_rate_that_steps_tenfold_is_seen_within_two_seconds() {
    for (rate, symbols) in [(5.0, 1), (5.0, 50), (10.0, 50)] {
        for seed in 0..10 {
            let all = with_ticks(&step(rate, symbols, seed), ms(125_000));
            let reports = stream::reports(&mut Engine::new(&Settings::default()), &all);
            let mut market = reports.iter().filter(|r| r.symbol == Symbol::MARKET);
            let first = market.find(|r| r.level >= Level::Watch).expect("never seen");
            let after = (first.at.0 as i64 - ms(120_000).0 as i64) / NS_PER_MS as i64;
            assert!((0..=2_000).contains(&after), "{rate}/s, seed {seed}: {after} ms");
        }
    }
}
