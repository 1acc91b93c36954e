//! The same for a pipe: a block of lines for each update, without any escape code.
//!
//! Each line begins with the word that says what it is about, so that `grep` finds its way.

use std::fmt::Write as _;
use std::time::Instant;

use super::draw::warnings;
use super::frame::{Listed, State};
use super::pane::{BOOKS, LOSSES};
use super::place::Place;
use super::sight::{Sight, Stale};
use super::view::Order;
use super::words::{
    DASH, age, bar, clean, clock, count, curve, lasted, money, pad, percent, price, rate, side,
    span, state, utc, whole, won,
};

/// Lines of each kind.
const SYMBOLS: usize = 12;
const TAPE: usize = 8;
const SIGNALS: usize = 5;
/// Longest line, characters.
const LONGEST: usize = 2_000;
/// Columns of a bar.
const BAR: usize = 24;

/// What is known, in lines, with an empty one at the end.
#[must_use]
pub fn block(sight: &Sight, place: &Place, now: Instant) -> String {
    let mut lines = vec![title(sight, place, now)];
    if let Some(Stale::Lost(..)) = sight.stale(now) {
        // What was true then is not repeated as if it still were.
        return finish(&lines);
    }
    lines.push(market(sight));
    lines.extend(warnings(sight).into_iter().map(|(word, text)| format!("warning  {word} {text}")));
    let sorted = Order::Risk.sort(sight.list().iter());
    lines.extend(sorted.into_iter().take(SYMBOLS).map(|listed| symbol(listed, sight)));
    lines.extend(feeds(sight, now));
    lines.extend(tape(sight));
    lines.extend(signals(sight));
    lines.extend(latency(sight));
    lines.push(counts(sight));
    finish(&lines)
}

/// Nothing in a line of ours ends it, or does anything to a terminal.
fn finish(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        let line: String = clean(line).chars().take(LONGEST).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push('\n');
    text
}

fn title(sight: &Sight, place: &Place, now: Instant) -> String {
    let when = sight.wall(now).map_or_else(|| DASH.to_owned(), utc);
    let Some((frame, _)) = &sight.frame else { return format!("top      {place} {when}") };
    match sight.stale(now) {
        Some(Stale::Lost(age, why)) => {
            return format!("lost     {place} for {}, trying again: {why}", lasted(age));
        }
        Some(Stale::Still(_)) | None => {}
    }
    let mut line = format!("top      {when}  {place}  foreshock {}", frame.version);
    if !frame.mark.is_empty() {
        let _ = write!(line, "  {}", frame.mark);
    }
    match sight.stale(now) {
        Some(Stale::Still(Some(age))) => {
            let _ = write!(line, "  STANDS STILL: nothing came through for {}", lasted(age));
        }
        Some(_) => line.push_str("  STANDS STILL: nothing came through yet"),
        None => line.push_str("  live"),
    }
    if let Some(health) = sight.health() {
        let word = if health.ready { "ready" } else { "NOT READY" };
        let (heard, all, fresh) = (health.heard, health.venues, health.fresh);
        let needed = health.needed;
        let _ = write!(
            line,
            "  {word}: {heard} of {all} venues heard, {needed} needed  fresh: {fresh} of {all}"
        );
    }
    line
}

fn market(sight: &Sight) -> String {
    let known = sight.state();
    let of = |value: fn(&State) -> Option<f64>| known.and_then(value);
    let word = |value: fn(&State) -> &String| known.map_or(DASH, |state| value(state).as_str());
    let longs = of(|state| state.imbalance).map(|imbalance| (1.0 + imbalance) / 2.0);
    let mut line = format!(
        "market   {} {}  risk {} {}  velocity {}/s  accel {}  jerk {}  {} USD/60 s  longs {}  BTC {}  regime {}",
        word(|state| &state.level),
        percent(of(|state| state.probability)),
        whole(of(|state| state.risk)),
        word(|state| &state.risk_level),
        rate(of(|state| state.velocity)),
        rate(of(|state| state.acceleration)),
        rate(of(|state| state.jerk)),
        money(of(|state| state.usd_60s)),
        percent(longs),
        price(of(|state| state.price)),
        word(|state| &state.regime),
    );
    if known.is_some_and(|state| state.gap) {
        line.push_str("  EVENTS ARE MISSING");
    }
    let _ = write!(line, "  {}", curve(&sight.market, BAR));
    line
}

fn symbol(listed: &Listed, sight: &Sight) -> String {
    let Listed(symbol, level, risk, velocity, usd, acceleration, jerk, paid) = listed;
    let trail = sight.trail(symbol).map_or_else(String::new, |trail| curve(trail, BAR));
    format!(
        "symbol   {} {level:<8} risk {:>3}  velocity {:>6}/s  accel {:>6}  jerk {:>6}  {:>6} USD/60 s  price {:>10}  {trail}",
        pad(symbol, 12),
        whole(*risk),
        rate(*velocity),
        rate(*acceleration),
        rate(*jerk),
        money(*usd),
        price(*paid),
    )
}

fn feeds(sight: &Sight, now: Instant) -> Vec<String> {
    let wall = sight.wall(now);
    let Some(feeds) = sight.feeds() else { return vec!["feed     not known now".to_owned()] };
    let line = |feed: &crate::publish::page::Feed| {
        let name = format!("{} {}", feed.venue, feed.line());
        let complete = feed.completeness.as_deref().unwrap_or("none");
        let mut line = format!(
            "feed     {name:<20} {:<16} age {:<7} liquidations {complete:<9} age {:<7} won {:<5} frames {}",
            state(feed),
            age(wall, feed.last_frame_ms),
            age(wall, feed.last_liquidation_ms),
            won(feed),
            count(Some(feed.frames)),
        );
        if !feed.hears() && !feed.why.is_empty() {
            let _ = write!(line, "  {}", feed.why);
        }
        line
    };
    feeds.iter().map(line).collect()
}

fn tape(sight: &Sight) -> Vec<String> {
    let latest = sight.tape.iter().take(TAPE);
    let most = latest.clone().filter_map(|one| one.usd).fold(10_000.0, f64::max);
    let line = |one: &super::frame::Liquidation| {
        format!(
            "liq      {} {} {:<7} {:>6} USD at {:>10} {:<11} {}",
            clock(one.at),
            pad(&one.symbol, 12),
            side(one),
            money(one.usd),
            price(one.price),
            one.venue,
            bar(one.usd, most, BAR)
        )
    };
    latest.map(line).collect()
}

fn signals(sight: &Sight) -> Vec<String> {
    let line = |one: &super::frame::Signal| {
        let (level, sure) = (&one.level, percent(one.probability));
        format!("signal   {} {level} {sure} {}  {}", clock(one.at), one.symbol, one.why)
    };
    sight.signals.iter().take(SIGNALS).map(line).collect()
}

fn latency(sight: &Sight) -> Vec<String> {
    let curves = sight.slow.iter().flat_map(|slow| &slow.latency);
    let line = |curve: &super::frame::Curve| {
        let at = |percentile| span(curve.at(percentile));
        let [half, most, all] = [at(50.0), at(99.0), at(100.0)];
        format!(
            "latency  {:<20} p50 {half:<8} p99 {most:<8} max {all:<8} count {}",
            curve.stage,
            count(Some(curve.count))
        )
    };
    curves.map(line).collect()
}

fn counts(sight: &Sight) -> String {
    let mut line = "counts  ".to_owned();
    for name in LOSSES.into_iter().chain(BOOKS) {
        let _ = write!(line, " {name} {}", count(sight.count(name)));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::draw::tests::{frame, sight};
    use super::super::link::Trouble;
    use super::super::watch::Heard;
    use super::*;

    fn text(sight: &Sight, now: Instant) -> String {
        block(sight, &Place::parse("127.0.0.1:9310").unwrap(), now)
    }

    #[test]
    fn each_line_says_what_it_is_about() {
        let now = Instant::now();
        let text = text(&sight(&frame(), now), now);
        for start in [
            "top      10-10 21:00:00.000  127.0.0.1:9310  foreshock 0.1.0  DEMO  live  ready: 1 of 2 venues heard, 1 needed  fresh: 1 of 2\n",
            "market   CRITICAL 61 %  risk 61 HIGH  velocity 12.5/s  accel 4.0  jerk -1.2  1.9M USD/60 s  longs 88 %  BTC 95,775.4",
            "warning  deaf okx: not heard",
            "symbol   币安人生USDT",
            "feed     okx public           ✕ down, deaf     age 0.4 s",
            "liq      21:00:00.500 E\u{fffd}[2JVIL     -            - USD at          - okx\n",
            "signal   21:00:00.000 CRITICAL 61 % BTCUSDT  HIGH 61/100",
            "latency  receive_to_parsed    p50 15.5 µs  p99 122 µs   max 16.2 ms  count 3",
            "counts   dropped 0 rejected 2 refused -",
        ] {
            assert!(
                text.contains(&format!("\n{start}")) || text.starts_with(start),
                "{start}:\n{text}"
            );
        }
        assert!(text.ends_with("\n\n") && !text.contains('\u{1b}'));
    }

    #[test]
    fn what_was_true_then_is_not_repeated() {
        let now = Instant::now();
        let mut lost = sight(&frame(), now);
        lost.hear(Heard::Lost(Trouble::Nobody("a\nb\u{1b}c".to_owned())), now);
        let text = text(&lost, now + Duration::from_secs(20));
        assert_eq!(text, "lost     127.0.0.1:9310 for 20 s, trying again: a\u{fffd}b\u{fffd}c\n\n");
    }

    #[test]
    fn a_run_that_stands_still_says_so() {
        let now = Instant::now();
        let mut still = frame();
        still["still"] = true.into();
        assert!(
            text(&sight(&still, now), now).contains("STANDS STILL: nothing came through for 0.1 s")
        );
    }
}
