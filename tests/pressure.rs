//! Trades show forced orders before their venue announces them; they lead to WATCH and no further.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod stream;

use foreshock::engine::{Engine, Settings};
use foreshock::event::{Body, Event, Price, Side, Stamp, Taker, Usd, Venue};
use foreshock::signal::{Level, Report};
use foreshock::symbol::Symbol;
use stream::{Rng, liquidation, ms, reports, symbol, with_ticks};

/// When the cascade begins, and how much later its liquidations are announced, ms.
const BEGINS: u64 = 120_000;
const LATE: u64 = 1_000;

fn trade(at: u64, of: Symbol, taker: Taker, usd: f64) -> Event {
    let mut event = Event::tick(ms(at + 20));
    event.symbol = of;
    event.venue = Venue::Binance;
    event.stamp = Stamp::new(Some(ms(at).millis()), 0);
    // From the beginning of the cascade on it falls by a thousandth a second.
    let run = at.saturating_sub(BEGINS).min(8_000) as f64 / 1e6;
    let price = Price::new(50_000.0 * (1.0 - run)).expect("a price");
    event.body = Body::Trade { taker, price, usd: Usd::new(usd) };
    event
}

/// Six trades a second of both majors on either side, and as many forced ones as there are orders.
fn trades(orders: &[(u64, Symbol)]) -> Vec<Event> {
    let mut rng = Rng(5);
    let mut all = Vec::new();
    let mut at = 0.0;
    while at < 140_000.0 {
        at += rng.wait_ns(6.0) as f64 / 1e6;
        let of = [Symbol::BTC, Symbol::ETH][rng.below(2) as usize];
        let taker = if rng.below(2) == 0 { Taker::Buy } else { Taker::Sell };
        all.push(trade(at as u64, of, taker, rng.size()));
    }
    let majors = orders.iter().filter(|(_, of)| *of == Symbol::BTC || *of == Symbol::ETH);
    for &(at, of) in majors {
        (0..8).for_each(|i| all.push(trade(at + 7 * i, of, Taker::Sell, 5_000.0)));
    }
    all
}

/// Forced orders: a few in quiet times, then thirty a second for eight seconds.
fn orders() -> Vec<(u64, Symbol)> {
    let mut rng = Rng(7);
    let majors = [Symbol::BTC, Symbol::ETH];
    let mut name = || match rng.below(20) {
        i @ 0..=1 => majors[i as usize],
        i => symbol(i * 3 + rng.below(3)),
    };
    let quiet = (0..120).map(|i| i * 1_000 + 137);
    quiet.chain((0..240).map(|i| BEGINS + i * 33)).map(|at| (at, name())).collect()
}

fn market(mut events: Vec<Event>) -> Vec<Report> {
    events.sort_by_key(|event| event.received);
    let mut engine = Engine::new(&Settings::default());
    let all = reports(&mut engine, &with_ticks(&events, ms(150_000)));
    all.into_iter().filter(|report| report.symbol == Symbol::MARKET).collect()
}

/// When a level was first reached, ms after the first forced order of the cascade.
fn reached(reports: &[Report], level: Level) -> Option<i64> {
    let first = reports.iter().find(|report| report.level >= level)?;
    Some(first.at.millis() - ms(BEGINS).millis())
}

#[test]
fn trades_are_a_watch_before_the_first_liquidation_is_announced() {
    let orders = orders();
    let announced: Vec<Event> = orders
        .iter()
        .map(|&(at, of)| {
            let mut event =
                liquidation(ms(at + LATE), of, Venue::Binance, Some(Side::Long), 20_000.0);
            event.stamp = Stamp::new(Some(ms(at).millis()), 0);
            event
        })
        .collect();
    let without = market(announced.clone());
    let with = market([announced, trades(&orders)].concat());
    let [early, late] = [&with, &without].map(|r| reached(r, Level::Watch).expect("no watch"));
    let alerts = [&with, &without].map(|r| reached(r, Level::Alert).expect("no alert"));
    println!("WATCH {early} ms with trades, {late} ms without; ALERT {alerts:?} ms");
    assert!((0..1_000).contains(&early), "before the announcement: {early} ms");
    assert!(late > 1_000 && alerts[0] <= alerts[1]);
}

#[test]
fn trades_alone_are_never_an_alert() {
    let reports = market(trades(&orders()));
    let highest = reports.iter().map(|report| report.level).max();
    assert_eq!(highest, Some(Level::Watch));
    assert!(reports.iter().all(|report| report.counts == [0; 7]));
    assert!(reports.iter().any(|report| report.pressure >= Some(0.5)), "however strong");
}

#[test]
fn ordinary_trades_say_nothing() {
    let reports = market(trades(&[]));
    assert!(reports.iter().all(|report| report.level == Level::None));
}
