//! What a cascade looks like from outside, and what only looks like one.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod stream;

use foreshock::engine::{Engine, Settings};
use std::io::Read;

use foreshock::event::{Body, Completeness, Event, Price, Side, Stamp, Taker, Venue};
use foreshock::signal::{Kind, Level, Report, RiskLevel};
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_MS, Nanos};
use stream::{Rng, liquidation, ms, reports, symbol, with_ticks};

const VENUES: [Venue; 3] = [Venue::Binance, Venue::Bybit, Venue::Okx];

/// A minute of little, then a rate that doubles every 2 s for 12 s over 60 symbols, then silence.
fn ramp() -> Vec<Event> {
    let mut rng = Rng(3);
    let mut at = ms(0).0;
    let mut all = Vec::new();
    while Nanos(at) < ms(72_000) {
        let ramping = at.saturating_sub(ms(60_000).0) as f64 / 1e9;
        at += rng.wait_ns(2.0 * (ramping / 2.0).exp2());
        let venue = VENUES[rng.below(3) as usize];
        let of = symbol(rng.below(60));
        all.push(liquidation(Nanos(at), of, venue, Some(Side::Long), rng.size()));
    }
    all
}

fn market(events: &[Event], until: u64) -> Vec<Report> {
    let mut engine = Engine::new(&Settings::default());
    let all = reports(&mut engine, &with_ticks(events, ms(until)));
    assert_eq!(all.iter().filter(|r| r.is_signal()).count() as u64, engine.signals());
    all.into_iter().filter(|r| r.symbol == Symbol::MARKET).collect()
}

fn highest(reports: &[Report]) -> Level {
    reports.iter().map(|r| r.level).max().unwrap_or_default()
}

#[test]
fn a_cascade_is_seen_while_it_grows_and_let_go_afterwards() {
    let reports = market(&ramp(), 460_000);
    let alert = reports.iter().find(|r| r.level >= Level::Alert).expect("no alert");
    let after = (alert.at.0 - ms(60_000).0) / NS_PER_MS;
    println!("ALERT {after} ms into the ramp, {} events in 10 s", alert.counts[3]);
    assert!(after > 0 && after < 10_000, "{after} ms into the ramp");
    assert!(reports.iter().any(|r| r.risk_level >= RiskLevel::High));

    let last_change = reports.iter().rfind(|r| r.kind == Kind::Change).expect("changes");
    assert_eq!(last_change.level, Level::None);
    assert!(last_change.at < ms(72_000 + 75_000), "60 s after the last one it is over");
    let last = reports.last().expect("reports");
    assert_eq!((last.level, last.counts, last.usd), (Level::None, [0; 7], [0; 7]));
    // The widest window is 300 s and a bucket of 4.7 s; a slow row is looked at once a second.
    assert!(last.at < ms(72_000 + 306_000), "the last word is said once all is gone");
}

#[test]
fn signals_are_numbered_and_repeated_and_belong_to_their_episode() {
    let mut engine = Engine::new(&Settings::default());
    let all = reports(&mut engine, &with_ticks(&ramp(), ms(200_000)));
    let signals: Vec<&Report> = all.iter().filter(|r| r.is_signal()).collect();
    for (i, signal) in signals.iter().enumerate() {
        assert_eq!(signal.seq, i as u64 + 1);
    }
    for symbol in [Symbol::MARKET] {
        let own: Vec<_> = signals.iter().filter(|r| r.symbol == symbol).collect();
        assert!(own.first().is_some_and(|r| r.level > Level::None && r.episode > 0));
        assert!(own.last().is_some_and(|r| r.level == Level::None && r.episode > 0));
        for pair in own.windows(2) {
            let gap = (pair[1].at.0 - pair[0].at.0) / NS_PER_MS;
            let stands = pair[0].level > Level::None;
            assert!(!stands || gap <= 1_200, "silent for {gap} ms while it stands");
            assert!(pair[1].kind == Kind::Change || gap >= 1_000, "one per event");
            assert_eq!(stands, pair[0].episode == pair[1].episode);
        }
    }
}

/// Sixty symbols of one portfolio, liquidated in `instants` milliseconds, worth `usd` each.
fn portfolio(instants: u64, usd: f64) -> Vec<Event> {
    let at = ms(60_000);
    let mut rng = Rng(5);
    let mut all: Vec<Event> = (0..120)
        .map(|i| liquidation(ms(i * 500), symbol(rng.below(60)), Venue::Okx, None, rng.size()))
        .collect();
    all.extend((0..60).map(|i| {
        let mut event = liquidation(at, symbol(i), Venue::Binance, Some(Side::Long), usd);
        event.stamp = Stamp::new(Some(at.millis() - 50 + (i % instants) as i64), 0);
        event
    }));
    all
}

#[test]
fn a_portfolio_liquidated_in_an_instant_is_no_cascade() {
    for instants in 1..=4 {
        for usd in [2_000.0, 200_000.0] {
            let reports = market(&portfolio(instants, usd), 120_000);
            let busiest = reports.iter().map(|r| r.counts[2]).max();
            assert!(busiest >= Some(60), "its events count: {busiest:?}");
            let highest = highest(&reports);
            assert!(highest < Level::Alert, "{highest:?}, {instants} instants of {usd}");
        }
    }
}

#[test]
fn one_large_order_is_no_cascade() {
    let event = liquidation(ms(1_000), symbol(0), Venue::Binance, Some(Side::Long), 2_520_000.0);
    let mut engine = Engine::new(&Settings::default());
    let all = reports(&mut engine, &with_ticks(&[event], ms(90_000)));
    assert!(highest(&all) < Level::Alert);
}

/// Five minutes of an ordinary market of sixty symbols on Binance, BTC and ETH among them; then
/// what happens between 300 and 308 s, each received `delay` ms after it happened.
fn story(happens: &[(u64, Symbol, f64)], received: impl Fn(u64) -> u64) -> Vec<Event> {
    let mut rng = Rng(17);
    let names: Vec<Symbol> =
        [Symbol::BTC, Symbol::ETH].into_iter().chain((0..58).map(symbol)).collect();
    let usual = (0..600).map(|i| (i * 500, names[rng.below(60) as usize], rng.size()));
    let mut all: Vec<Event> = usual
        .chain(happens.iter().copied())
        .map(|(at, of, usd)| {
            let mut event =
                liquidation(ms(received(at)), of, Venue::Binance, Some(Side::Long), usd);
            event.stamp = Stamp::new(Some(ms(at).millis()), 0);
            event
        })
        .collect();
    all.sort_by_key(|event| event.received);
    all
}

/// Eight seconds of a real cascade: 30 a second over 60 symbols.
fn cascade() -> Vec<(u64, Symbol, f64)> {
    let mut rng = Rng(23);
    let majors = [Symbol::BTC, Symbol::ETH];
    let name = |i: u64| majors.get(i as usize).copied().unwrap_or_else(|| symbol(i - 2));
    (0..240).map(|i| (300_000 + i * 33, name(rng.below(60)), 3.0 * rng.size())).collect()
}

#[test]
fn a_cascade_of_small_and_large_coins_is_seen() {
    let reports = market(&story(&cascade(), |at| at + 200), 330_000);
    let alert = reports.iter().find(|r| r.level >= Level::Alert).expect("no alert");
    assert!(alert.at < ms(302_500), "{} ms", (alert.at.0 - ms(300_000).0) / NS_PER_MS);
}

/// Five trades of BTC a second, its price going from 300 s on by `per_second` for as long as the
/// cascade lasts.
fn prices(per_second: f64) -> Vec<Event> {
    let trade = |i: u64| {
        let at = i * 200;
        let run = (at.max(300_000) - 300_000).min(8_000) as f64 / 1e3;
        let mut event = Event::tick(ms(at));
        (event.symbol, event.venue) = (Symbol::BTC, Venue::Binance);
        let price = Price::new(5e4 * (1.0 - per_second * run)).expect("a price");
        event.body = Body::Trade { taker: Taker::Sell, price, usd: None };
        event
    };
    (0..1_650).map(trade).collect()
}

#[test]
fn what_a_flat_price_does_not_bear_out_is_no_alert() {
    let alert = |prices: Vec<Event>| {
        let mut events = [story(&cascade(), |at| at + 200), prices].concat();
        events.sort_by_key(|event| event.received);
        let reports = market(&events, 330_000);
        let alert = reports.iter().find(|r| r.level >= Level::Alert).map(|r| r.at);
        (alert, highest(&reports))
    };
    assert_eq!(alert(prices(0.0)), (None, Level::Watch), "one account, sold off");
    let (blind, _) = alert(Vec::new());
    let (sighted, _) = alert(prices(1e-3));
    assert!(sighted.is_some() && sighted <= blind, "{blind:?} {sighted:?}");
    let (slow, _) = alert(prices(2e-4));
    assert!(slow > blind, "at once when the price gives way: {slow:?}");
}

#[test]
fn d12_a_backlog_is_no_burst() {
    // A busy market, 20 a second; for ten seconds nothing is received, then all of it at once.
    let mut rng = Rng(29);
    let busy: Vec<_> = (0..6_200_u64)
        .map(|i| {
            let of = [Symbol::BTC, Symbol::ETH, symbol(rng.below(58))][(i % 3) as usize];
            (i * 50, of, rng.size())
        })
        .collect();
    let paused = |at: u64| if at < 300_000 { at + 200 } else { 310_000 + (at - 300_000) / 100 };
    let reports = market(&story(&busy, paused), 330_000);
    let after = reports.iter().find(|r| r.at > ms(310_200)).expect("reports");
    assert!(after.counts[3] >= 150, "they count where they happened: {:?}", after.counts);
    assert!(highest(&reports) < Level::Alert, "{:?}", highest(&reports));
    // The guard of the guard: had they happened when they were received, it would be one.
    let mut believed = story(&busy, paused);
    for event in &mut believed {
        event.stamp = Stamp::new(Some(event.received.millis() - 200), 0);
    }
    assert!(highest(&market(&believed, 330_000)) >= Level::Alert);
}

#[test]
fn one_account_sold_in_pieces_is_no_cascade() {
    for of in [Symbol::ETH, symbol(3)] {
        let pieces: Vec<_> = (0..45).map(|i| (300_000 + i * 40, of, 5_000.0)).collect();
        let events = story(&pieces, |at| at + 200);
        let mut engine = Engine::new(&Settings::default());
        let all = reports(&mut engine, &with_ticks(&events, ms(330_000)));
        assert!(highest(&all) < Level::Alert);
    }
}

#[test]
fn small_coins_alone_are_no_cascade_of_the_market() {
    let small: Vec<_> = cascade()
        .into_iter()
        .filter(|(at, of, _)| *of != Symbol::BTC && *of != Symbol::ETH && (at / 33) % 2 == 0)
        .collect();
    let mut events = story(&small, |at| at + 200);
    let is_major = |event: &Event| event.symbol == Symbol::BTC || event.symbol == Symbol::ETH;
    let with_incidents = highest(&market(&events, 330_000));
    events.retain(|event| event.received < ms(285_000) || !is_major(event));
    let highest = highest(&market(&events, 330_000));
    assert!(highest < Level::Alert && highest <= with_incidents, "{highest:?}");
}

#[test]
fn a_venue_that_is_dead_or_sampled_never_lowers_an_alarm() {
    use foreshock::event::{Body, FeedState};
    let alone = story(&cascade(), |at| at + 200);
    let when = |events: &[Event]| {
        let reports = market(events, 330_000);
        let alert = reports.iter().find(|r| r.level >= Level::Alert).expect("no alert").at;
        (alert, highest(&reports))
    };
    let mut dead = Event::tick(ms(0));
    (dead.venue, dead.body) = (Venue::Okx, Body::Feed { state: FeedState::Down, code: 0 });
    let with_dead: Vec<Event> = std::iter::once(dead).chain(alone.iter().copied()).collect();
    assert_eq!(when(&with_dead), when(&alone));

    let mut both = alone.clone();
    both.extend(alone.iter().filter(|event| (event.received.0 / NS_PER_MS).is_multiple_of(4)).map(
        |event| {
            // What another venue shows of the same market.
            let mut other = *event;
            other.received = event.received.plus(137 * NS_PER_MS);
            other.stamp = Stamp::new(Some(other.received.millis() - 200), 0);
            (other.venue, other.completeness) = (Venue::Okx, Completeness::Sampled);
            other
        },
    ));
    both.sort_by_key(|event| event.received);
    let (alert, level) = when(&both);
    // The other venue adds to the usual as well, and its word comes later.
    assert!(alert <= when(&alone).0.plus(100 * NS_PER_MS) && level >= when(&alone).1);
}

/// Whether the last report about BTC is marked as saturated, after 20 s of one event every `every_ms`.
fn is_saturated(seen: Completeness, every_ms: u64) -> bool {
    let events: Vec<Event> = (0..20_000 / every_ms)
        .map(|i| {
            let side = Some(Side::Long);
            let event = liquidation(ms(i * every_ms), Symbol::BTC, Venue::Binance, side, 5_000.0);
            Event { completeness: seen, ..event }
        })
        .collect();
    let mut engine = Engine::new(&Settings::default());
    let all = reports(&mut engine, &with_ticks(&events, ms(20_000)));
    all.iter().rfind(|report| report.symbol == Symbol::BTC).expect("reports").saturated
}

#[test]
fn a_sampled_source_that_shows_all_it_can_is_marked() {
    assert!(
        is_saturated(Completeness::Sampled, 1_000),
        "at its limit: how many there were is unknown"
    );
    assert!(!is_saturated(Completeness::Sampled, 5_000), "well below it");
    assert!(!is_saturated(Completeness::Complete, 1_000), "who shows all has no limit");
}

#[test]
fn a_reset_ends_what_stands_and_forgets_the_rest() {
    let mut engine = Engine::new(&Settings::default());
    let before = reports(&mut engine, &with_ticks(&ramp(), ms(72_000)));
    let standing = before.iter().rfind(|r| r.symbol == Symbol::MARKET).expect("reports").level;
    assert!(standing >= Level::Watch);
    // The next stretch may be an older recording.
    let after = reports(&mut engine, &[Event::reset(ms(0)), Event::tick(ms(100))]);
    let market = after.iter().find(|r| r.symbol == Symbol::MARKET).expect("the end is said");
    assert_eq!((market.kind, market.level, market.counts), (Kind::Change, Level::None, [0; 7]));
    let quiet = reports(&mut engine, &with_ticks(&[], ms(5_000)));
    assert!(quiet.is_empty());
    let again = reports(&mut engine, &with_ticks(&ramp(), ms(72_000)));
    let first = again.iter().find(|r| r.is_signal()).expect("signals");
    let last = before.iter().rfind(|r| r.is_signal()).expect("signals");
    assert!(first.seq > last.seq && first.episode > last.episode && first.cause > last.cause);
    let levels = |reports: &[Report]| -> Vec<(u64, Level)> {
        let changes = reports.iter().filter(|r| r.kind == Kind::Change);
        changes.map(|r| (r.at.0 - ms(0).0, r.level)).collect()
    };
    assert_eq!(levels(&again), levels(&before), "the same stretch gives the same signals");
}

/// A recorded session, if the recordings are there.
fn recorded(name: &str) -> Option<Vec<Event>> {
    let path = format!("{}/../shared/datasets/{name}/events.csv.gz", env!("CARGO_MANIFEST_DIR"));
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("skipped: no {path}");
        return None;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("readable");
    let mut events: Vec<Event> = text.lines().skip(1).filter_map(recorded_event).collect();
    events.sort_by_key(|event| event.received);
    Some(events)
}

fn recorded_event(line: &str) -> Option<Event> {
    let fields: Vec<&str> = line.split(',').collect();
    let at = fields.first()?.parse().ok()?;
    let side = if *fields.get(4)? == "long" { Side::Long } else { Side::Short };
    let usd = fields.get(7)?.parse().ok()?;
    let symbol = Symbol::parse(fields.get(3)?)?;
    let mut event = liquidation(Nanos::from_millis(at), symbol, Venue::Binance, Some(side), usd);
    event.completeness = Completeness::Sampled;
    Some(event)
}

/// Moments and levels of the market's changes, in ms since the epoch.
fn changes(events: &[Event]) -> Vec<(i64, Level)> {
    let mut engine = Engine::new(&Settings::default());
    let mut all = Vec::new();
    let mut tick = events.first().expect("events").received;
    for event in events {
        // Sessions are minutes to days apart: what lies between is none of the data.
        if event.received.since(tick) > 1_800_000 * NS_PER_MS {
            tick = event.received;
            all.push(Event::reset(tick));
        }
        while tick < event.received {
            all.push(Event::tick(tick));
            tick = tick.plus(100 * NS_PER_MS);
        }
        all.push(*event);
    }
    let reports = reports(&mut engine, &all);
    let market = reports.iter().filter(|r| r.symbol == Symbol::MARKET && r.kind == Kind::Change);
    market.map(|r| (r.at.millis(), r.level)).collect()
}

#[test]
fn a_recorded_short_squeeze_is_seen_in_its_first_seconds() {
    let Some(events) = recorded("binance_allsym_2025-10-22_24") else { return };
    // 2025-10-24 12:30:05.141, the first liquidation of the squeeze.
    let first = 1_761_309_005_141;
    let changes = changes(&events);
    for (at, level) in &changes {
        println!("{:+} ms {}", at - first, level.name());
    }
    let alert = changes.iter().find(|(_, level)| *level >= Level::Alert).expect("no alert");
    assert!((0..500).contains(&(alert.0 - first)), "ALERT {} ms after", alert.0 - first);
}

#[test]
fn a_recorded_burst_at_a_flat_price_and_a_quiet_weekend_raise_no_alert() {
    for name in ["binance_allsym_2025-07-18", "binance_allsym_2024-08-17_18"] {
        let Some(events) = recorded(name) else { return };
        let changes = changes(&events);
        assert!(changes.iter().all(|(_, level)| *level < Level::Alert), "{name}: {changes:?}");
    }
}
