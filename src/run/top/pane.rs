//! The five panes: a title that says the one thing that counts, what stands above the columns, and lines.

use super::draw::{Scene, Shown};
use super::frame::{Liquidation, Listed, Signal};
use super::line::{BAD, BOLD, CARE, DIM, Ink, Line, PLAIN, Paint, of_level, wrap};
use super::sight::TRAIL;
use super::view::{Pane, View};
use super::words::{
    DASH, age, bar, clock, count, curve, glyph, money, percent, price, rate, side, span, state,
    whole, won,
};
use crate::publish::page::Feed;

/// Longest bar, columns.
const BAR: usize = 60;
/// Counts that say that something was lost or thrown away, by name; and those that say how much there was.
pub const LOSSES: [&str; 5] = ["dropped", "rejected", "refused", "gaps", "page_lost"];
/// See `LOSSES`.
pub const BOOKS: [&str; 5] = ["frames", "events", "ticks", "signals", "published"];

/// What stands above the lines of a pane, and its lines.
pub fn body(pane: Pane, scene: &Scene<'_>, view: &View, width: usize) -> (Vec<Line>, Vec<Line>) {
    match pane {
        Pane::Symbols => symbols(scene, view, width),
        Pane::Feeds => feeds(scene, width),
        Pane::Tape => (Vec::new(), tape(scene, view, width)),
        Pane::Signals => (Vec::new(), signals(scene, view, width)),
        Pane::Latency => latency(scene, width),
    }
}

/// The title of a pane.
pub fn title(pane: Pane, scene: &Scene<'_>, view: &View, width: usize, shown: Shown) -> Line {
    let mut line = Line::new(width);
    let number = pane.place() + 1;
    let (name, sum) = match pane {
        Pane::Symbols => (format!("symbols by {}", view.order.name()), sum_symbols(scene)),
        Pane::Feeds => ("feeds".to_owned(), sum_feeds(scene)),
        Pane::Tape => ("liquidations".to_owned(), sum_tape(scene, view, shown.share > 0)),
        Pane::Signals => ("signals".to_owned(), sum_signals(scene, view, shown.share > 0)),
        Pane::Latency => ("latency, losses".to_owned(), sum_latency(scene)),
    };
    let ink = if pane == view.pane { Ink { inverse: true, ..BOLD } } else { BOLD };
    line.add(&format!("{number} {name}"), ink).gap(1);
    let (text, ink) = sum;
    let place = match shown.all {
        all if shown.share > 0 && all > shown.page => {
            format!(" {}-{} of {all}", shown.top + 1, shown.top + shown.page)
        }
        _ => String::new(),
    };
    let room = line.room().saturating_sub(place.len() + 1);
    line.left(&text, room, ink).add(&place, DIM);
    line
}

// ---- symbols ----

/// The columns of a symbol behind its name: title, width, and from which width of the screen on.
const COLUMNS: [(&str, usize, usize); 7] = [
    ("level", 10, 0),
    ("risk", 5, 0),
    ("vel/s", 7, 0),
    ("accel", 7, 0),
    ("jerk", 7, 68),
    ("USD/60s", 8, 0),
    ("price", 11, 76),
];

fn columns(width: usize) -> impl Iterator<Item = (usize, (&'static str, usize, usize))> {
    COLUMNS.into_iter().enumerate().filter(move |(_, (_, _, from))| width >= *from)
}

fn symbols(scene: &Scene<'_>, view: &View, width: usize) -> (Vec<Line>, Vec<Line>) {
    let mut head = Line::new(width);
    let name = name_width(width);
    head.left("symbol", name, DIM);
    for (i, (title, wide, _)) in columns(width) {
        if i == 0 {
            head.gap(1).left(title, wide, DIM)
        } else {
            head.right(title, wide, DIM)
        };
    }
    let wide = head.gap(1).room();
    head.add(if wide < 21 { "velocity" } else { "velocity, last minute" }, DIM);
    let wanted = scene.sight.list().iter().filter(|listed| view.wants(&listed.0));
    let market = scene.sight.state().map(|state| {
        let level = state.level.clone();
        Listed(
            "MARKET".to_owned(),
            level,
            state.risk,
            state.velocity,
            state.usd_60s,
            state.acceleration,
            state.jerk,
            None,
        )
    });
    let mut heads = vec![head];
    if let Some(market) = market {
        heads.push(symbol(&market, scene, width, name));
    }
    let sorted = view.order.sort(wanted);
    let lines = sorted.into_iter().map(|listed| symbol(listed, scene, width, name));
    (heads, lines.collect())
}

fn name_width(width: usize) -> usize {
    if width >= 100 { 16 } else { 12 }
}

fn symbol(listed: &Listed, scene: &Scene<'_>, width: usize, name: usize) -> Line {
    let Listed(symbol, level, risk, velocity, usd, acceleration, jerk, paid) = listed;
    let mut line = Line::new(width);
    let ink = of_level(level);
    line.left(symbol, name, if level == "NONE" { PLAIN } else { BOLD });
    for (i, (_, wide, _)) in columns(width) {
        match i {
            0 => line.gap(1).left(&format!("{} {level}", glyph(level)), wide, ink),
            1 => line.right(&whole(*risk), wide, PLAIN),
            2 => line.right(&rate(*velocity), wide, PLAIN),
            3 => line.right(&rate(*acceleration), wide, PLAIN),
            4 => line.right(&rate(*jerk), wide, PLAIN),
            5 => line.right(&money(*usd), wide, PLAIN),
            _ => line.right(&price(*paid), wide, PLAIN),
        };
    }
    let trail =
        if symbol == "MARKET" { Some(&scene.sight.market) } else { scene.sight.trail(symbol) };
    line.gap(1);
    let room = line.room().min(TRAIL);
    if let Some(trail) = trail {
        line.add(&curve(trail, room), ink);
    }
    line
}

fn sum_symbols(scene: &Scene<'_>) -> (String, Ink) {
    let list = scene.sight.list();
    let of = |level: &str| list.iter().filter(|listed| listed.1 == level).count();
    let mut text = format!("{} in all", list.len());
    let mut worst = PLAIN;
    for level in ["WATCH", "ALERT", "CRITICAL", "EXTREME"] {
        if of(level) > 0 {
            text.push_str(&format!(", {} {level}", of(level)));
            worst = of_level(level);
        }
    }
    (text, worst)
}

// ---- feeds ----

fn feeds(scene: &Scene<'_>, width: usize) -> (Vec<Line>, Vec<Line>) {
    let now = scene.sight.wall(scene.now);
    let mut head = Line::new(width);
    feed_line(
        &mut head,
        ["feed", "state", "age", "liq. age", "completeness", "won", "frames"],
        [DIM, DIM],
    );
    let lines = scene.sight.feeds().unwrap_or_default().iter().flat_map(|feed| {
        let mut line = Line::new(width);
        let name = format!("{} {}", feed.venue, feed.line());
        let heard = age(now, feed.last_frame_ms);
        let told =
            if feed.is_rare() { age(now, feed.last_liquidation_ms) } else { DASH.to_owned() };
        let complete = feed.completeness.as_deref().unwrap_or("none");
        let (frames, won) = (count(Some(feed.frames)), won(feed));
        feed_line(
            &mut line,
            [&name, &state(feed), &heard, &told, complete, &won, &frames],
            [PLAIN, feed_ink(feed)],
        );
        let mut lines = vec![line];
        if !feed.hears() && !feed.why.is_empty() {
            let mut why = Line::new(width);
            why.gap(4).left(&feed.why, width.saturating_sub(4), CARE);
            lines.push(why);
        }
        lines
    });
    (vec![head], lines.collect())
}

fn feed_line(line: &mut Line, columns: [&str; 7], [ink, special]: [Ink; 2]) {
    let [name, state, heard, told, complete, won, frames] = columns;
    let width = line.room();
    line.left(name, 19, ink).gap(1);
    line.left(state, if width >= 80 { 19 } else { 14 }, special).right(heard, 7, ink);
    if width >= 80 {
        line.right(told, 9, ink);
    }
    line.gap(1).left(complete, 12, ink).right(won, 5, ink);
    if width >= 90 {
        line.right(frames, 12, ink);
    }
}

fn feed_ink(feed: &Feed) -> Ink {
    match feed.state.as_str() {
        "live" | "quiet" => Ink { paint: Paint::Green, ..PLAIN },
        "connecting" => CARE,
        _ => BAD,
    }
}

fn sum_feeds(scene: &Scene<'_>) -> (String, Ink) {
    let Some(feeds) = scene.sight.feeds() else { return ("not known now".to_owned(), CARE) };
    let heard = feeds.iter().filter(|feed| feed.hears()).count();
    let mut text = format!("{heard} of {} heard", feeds.len());
    let deaf = feeds.iter().filter(|feed| !feed.hears());
    for feed in deaf {
        text.push_str(&format!(", {} {} {}", feed.venue, feed.line(), feed.state));
    }
    (text, if heard == feeds.len() { PLAIN } else { BAD })
}

// ---- liquidations ----

fn wanted_tape<'a>(scene: &'a Scene<'_>, view: &'a View) -> impl Iterator<Item = &'a Liquidation> {
    scene.sight.tape.iter().filter(|one| view.wants(&one.symbol))
}

fn biggest(scene: &Scene<'_>) -> f64 {
    scene.sight.tape.iter().filter_map(|one| one.usd).fold(10_000.0, f64::max)
}

fn tape(scene: &Scene<'_>, view: &View, width: usize) -> Vec<Line> {
    let (name, most) = (name_width(width), biggest(scene));
    let line = |one: &Liquidation| {
        let mut line = Line::new(width);
        let ink = side_ink(one);
        line.left(&clock(one.at), 12, DIM).gap(1).left(&one.symbol, name, PLAIN).gap(1);
        line.left(side(one), 7, ink).right(&money(one.usd), 7, BOLD).gap(1);
        line.left(&one.venue, 11, PLAIN);
        if width >= 76 {
            line.right(&price(one.price), 12, PLAIN);
        }
        let room = line.gap(1).room().min(BAR);
        line.add(&bar(one.usd, most, room), ink);
        line
    };
    wanted_tape(scene, view).map(line).collect()
}

fn side_ink(one: &Liquidation) -> Ink {
    match one.side.as_deref() {
        Some("long") => Ink { paint: Paint::Red, ..PLAIN },
        Some("short") => Ink { paint: Paint::Green, ..PLAIN },
        _ => PLAIN,
    }
}

fn sum_tape(scene: &Scene<'_>, view: &View, open: bool) -> (String, Ink) {
    if open {
        return (format!("USD; bars by area, full is {}", money(Some(biggest(scene)))), DIM);
    }
    let text = wanted_tape(scene, view).next().map(|one| {
        let (time, usd) = (clock(one.at), money(one.usd));
        format!("{time} {} {} {usd} {}", one.symbol, side(one), one.venue)
    });
    (text.unwrap_or_else(|| "none yet".to_owned()), PLAIN)
}

// ---- signals ----

fn wanted_signals<'a>(scene: &'a Scene<'_>, view: &'a View) -> impl Iterator<Item = &'a Signal> {
    scene.sight.signals.iter().filter(|one| view.wants(&one.symbol))
}

fn signals(scene: &Scene<'_>, view: &View, width: usize) -> Vec<Line> {
    wanted_signals(scene, view).flat_map(|one| signal(one, width)).collect()
}

fn signal(one: &Signal, width: usize) -> Vec<Line> {
    let mut line = Line::new(width);
    line.left(&clock(one.at), 12, DIM).gap(1);
    line.left(&told(one), 15, of_level(&one.level)).gap(1).add(&one.symbol, BOLD).gap(1);
    let mut lines = vec![line];
    // Beside it where that is all, else below.
    let beside = lines.first().map_or(0, Line::room);
    if super::words::width(&one.why) <= beside {
        lines.iter_mut().for_each(|line| {
            line.add(&one.why, PLAIN);
        });
        return lines;
    }
    lines.extend(wrap(&one.why, width.saturating_sub(4)).iter().map(|part| {
        let mut line = Line::new(width);
        line.gap(4).add(part, PLAIN);
        line
    }));
    lines
}

fn told(one: &Signal) -> String {
    format!("{} {} {}", glyph(&one.level), one.level, percent(one.probability))
}

fn sum_signals(scene: &Scene<'_>, view: &View, open: bool) -> (String, Ink) {
    match wanted_signals(scene, view).next() {
        None => ("none yet".to_owned(), PLAIN),
        Some(_) if open => (String::new(), PLAIN),
        Some(one) => {
            let text = format!("{} {} {}: {}", clock(one.at), told(one), one.symbol, one.why);
            (text, of_level(&one.level))
        }
    }
}

// ---- latency and losses ----

fn latency(scene: &Scene<'_>, width: usize) -> (Vec<Line>, Vec<Line>) {
    let mut head = Line::new(width);
    curve_line(&mut head, ["stage, lately", "p50", "p99", "p99.9", "max", "count"], DIM);
    let curves = scene.sight.slow.iter().flat_map(|slow| &slow.latency);
    let mut lines: Vec<_> = curves
        .map(|curve| {
            let mut line = Line::new(width);
            let at = |percentile| span(curve.at(percentile));
            let name = curve.stage.replace('_', " ");
            curve_line(
                &mut line,
                [&name, &at(50.0), &at(99.0), &at(99.9), &at(100.0), &count(Some(curve.count))],
                PLAIN,
            );
            line
        })
        .collect();
    for names in [LOSSES, BOOKS] {
        let mut line = Line::new(width);
        for name in names {
            line.add(&name.replace('_', " "), DIM).gap(1);
            line.add(&count(scene.sight.count(name)), loss_ink(scene, name)).gap(2);
        }
        lines.push(line);
    }
    (vec![head], lines)
}

fn curve_line(line: &mut Line, columns: [&str; 6], ink: Ink) {
    let [name, half, most, nearly, all, count] = columns;
    line.left(name, 20, ink);
    for text in [half, most, nearly, all, count] {
        line.right(text, 10, ink);
    }
}

fn loss_ink(scene: &Scene<'_>, name: &str) -> Ink {
    let lost = LOSSES.contains(&name) && scene.sight.count(name).is_some_and(|n| n > 0);
    if lost { BAD } else { PLAIN }
}

fn sum_latency(scene: &Scene<'_>) -> (String, Ink) {
    let counted = |name: &str| format!("{name} {}", count(scene.sight.count(name)));
    let slow = scene.sight.slow.iter().flat_map(|slow| &slow.latency);
    let worst = slow
        .filter(|curve| curve.stage != "venue_to_receive")
        .filter_map(|curve| Some((curve.at(99.0)?, curve)));
    let worst = worst.max_by_key(|(ns, _)| *ns);
    let own = worst.map_or_else(String::new, |(ns, curve)| {
        format!(", slowest p99 {} ({})", span(Some(ns)), curve.stage.replace('_', " "))
    });
    let is_lossy = ["dropped", "rejected"].iter().any(|name| scene.sight.count(name) > Some(0));
    (
        format!("{}, {}{own}", counted("dropped"), counted("rejected")),
        if is_lossy { BAD } else { PLAIN },
    )
}
