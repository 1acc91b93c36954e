//! The regime's multipliers scale the rungs; what surrounds liquidations and is missing is said.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod stream;

use foreshock::engine::{Engine, Settings};
use foreshock::event::{Body, Event, Positive, Price, Taker, Venue};
use foreshock::signal::{Regime, Report};
use foreshock::symbol::Symbol;
use stream::{Rng, liquidation, ms, reports, symbol, with_ticks};

/// Seven minutes of liquidations, one each 400 ms, and of a price that steps by `step` each second.
fn last(step: f64, more: impl Fn(u64) -> Vec<Body>) -> Report {
    let mut rng = Rng(3);
    let mut events: Vec<Event> = (0..1_050)
        .map(|i| liquidation(ms(i * 400), symbol(rng.below(9)), Venue::Okx, None, 200.0))
        .collect();
    for second in 0..420 {
        let price = Price::new(5e4 * if second % 2 == 0 { 1.0 } else { 1.0 + step });
        let price = price.expect("a price");
        let bodies = [vec![Body::Trade { taker: Taker::Buy, price, usd: None }], more(second)];
        for body in bodies.concat() {
            let mut event = Event::tick(ms(second * 1_000));
            (event.symbol, event.venue, event.body) = (Symbol::BTC, Venue::Binance, body);
            events.push(event);
        }
    }
    events.sort_by_key(|event| event.received);
    let mut engine = Engine::new(&Settings::default());
    let all = reports(&mut engine, &with_ticks(&events, ms(420_000)));
    *all.iter().rfind(|report| report.symbol == Symbol::MARKET).expect("reports")
}

#[test]
fn the_regime_scales_the_rungs_of_velocity_and_volume() {
    let settings = Settings::default().regime;
    let normal = last(7e-5, |_| vec![]);
    assert_eq!((normal.regime, normal.velocity_scale), (Regime::Normal, 1.0));
    for (step, regime) in [(1e-6, Regime::Dormant), (1e-3, Regime::Extreme)] {
        let report = last(step, |_| vec![]);
        let i = regime as usize;
        assert_eq!(report.regime, regime);
        assert_eq!(report.velocity_scale, settings.velocity_scales[i]);
        assert_eq!(report.volume_scale, settings.volume_scales[i]);
        // Below the first rung scores are proportional, so that what scales them can be divided out.
        for (factor, scale) in [(0, report.velocity_scale), (3, report.volume_scale)] {
            let (ours, theirs) = (report.factors[factor], normal.factors[factor]);
            let (ours, theirs) = (ours.expect("scored"), theirs.expect("scored"));
            assert!(theirs > 0.0 && ours < 25.0);
            assert!((ours * scale - theirs).abs() < 1e-9, "{factor}: {ours} x {scale}, {theirs}");
        }
    }
}

#[test]
fn what_is_missing_lowers_coverage_and_what_is_there_raises_it() {
    let without = last(7e-5, |_| vec![]);
    assert_eq!((without.oi_change, without.funding), (None, None));
    let rate = |_| vec![Body::Funding { rate: 1e-3, next_ms: 0 }];
    let funding = last(7e-5, rate);
    let both = last(7e-5, |second| {
        let base = Positive::new(1e5 - 10.0 * second as f64);
        [rate(second), vec![Body::OpenInterest { base, usd: None }]].concat()
    });
    assert_eq!(funding.funding, Some(1e-3));
    assert!(both.oi_change.is_some_and(|change| change < 0.0));
    assert!(without.coverage < funding.coverage && funding.coverage < both.coverage);
    assert!(without.components[3].is_none() && both.components[3].is_some());
}
