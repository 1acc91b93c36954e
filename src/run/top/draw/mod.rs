//! The screen: what is known, as lines for a terminal of some size.
//!
//! At the top the market, and what is the matter. Below, five panes under each other: the one that has
//! the keys is open, the others are open as far as there is room and else say in their title the one
//! thing that counts. What is old is weak, and the top line says how old.

use std::time::{Duration, Instant};

use super::line::{BAD, BOLD, CARE, DIM, Ink, Line, PLAIN, of_level, wrap};
use super::pane;
use super::place::Place;
use super::sight::{Sight, Stale, TRAIL};
use super::view::{Pane, View};
use super::words::{DASH, curve, glyph, lasted, money, percent, price, rate, seconds, whole};

/// Columns and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

/// Lines below which only the pane that has the keys is shown.
const LOW: usize = 12;
/// Lines that the pane with the keys has at least, where the others are to be open too.
const ROOMY: usize = 8;

/// What stands around the picture.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// What is known.
    pub sight: &'a Sight,
    /// Where it was asked.
    pub place: &'a Place,
    /// Now, or when the picture was taken.
    pub now: Instant,
    /// Why it must not be taken for what is now.
    pub stale: Option<Stale>,
    /// How long the picture has been standing still because somebody wants it to.
    pub paused: Option<Duration>,
}

/// The screen, line by line.
#[must_use]
pub fn draw(scene: &Scene<'_>, view: &mut View, size: Size) -> Vec<Line> {
    let mut lines = vec![title(scene, size.width)];
    let mut known = market(scene, size.width);
    let stuck = warnings(scene.sight);
    known.extend(shown_warnings(&stuck, size));
    let room = size.height.saturating_sub(lines.len() + known.len() + 1);
    known.extend(if view.help {
        help(size.width, room)
    } else {
        panes(scene, view, size.width, room)
    });
    // What is old must not be taken for what is.
    if scene.stale.is_some() {
        known.iter_mut().for_each(Line::fade);
    }
    lines.append(&mut known);
    lines.resize_with(size.height.saturating_sub(1), || Line::new(size.width));
    lines.push(foot(view, size.width));
    lines.truncate(size.height);
    lines
}

/// Which run it is, whether it is heard, and whether it can be relied on.
fn title(scene: &Scene<'_>, width: usize) -> Line {
    let Scene { sight, place, now, stale, paused } = scene;
    let mut line = Line::new(width);
    if let Some(paused) = paused {
        line.add(&format!("PAUSED {} ", lasted(*paused)), Ink { inverse: true, ..PLAIN });
    }
    let inverse = Ink { inverse: true, ..BAD };
    match stale {
        Some(Stale::Lost(age, why)) => {
            let text = format!("LOST {place} {} ago, trying again: {why}", lasted(*age));
            line.add(&text, inverse);
            return line;
        }
        Some(Stale::Still(age)) => {
            let age = age.map_or_else(|| "yet".to_owned(), |age| format!("for {}", lasted(age)));
            line.add(&format!("STANDS STILL: nothing came through {age}"), inverse).gap(2);
        }
        None => {
            line.add("live", Ink { bold: true, ..of_level("NONE") }).gap(2);
        }
    }
    let Some((frame, _)) = &sight.frame else { return line };
    if !frame.mark.is_empty() {
        line.add(&frame.mark, Ink { inverse: true, ..CARE }).gap(2);
    }
    if let Some(health) = sight.health() {
        let word = if health.ready { "ready" } else { "NOT READY" };
        let ink = if health.ready { PLAIN } else { BAD };
        line.add(&format!("{word} {}/{}", health.heard, health.venues), ink).gap(2);
        let ink = if health.fresh > 0 { PLAIN } else { CARE };
        line.add(&format!("fresh {}/{}", health.fresh, health.venues), ink).gap(2);
    }
    line.add(&format!("{} UTC", seconds(sight.wall(*now))), PLAIN).gap(2);
    line.add(&format!("{place}  foreshock {}", frame.version), DIM);
    line
}

/// The whole market in two lines.
fn market(scene: &Scene<'_>, width: usize) -> Vec<Line> {
    let state = scene.sight.state();
    let of = |value: fn(&super::frame::State) -> Option<f64>| state.and_then(value);
    let level = state.map_or(DASH, |state| state.level.as_str());
    let mut verdict = Line::new(width);
    if let Some(old) = &scene.stale {
        verdict.add(&format!("{}: ", was(old, scene)), PLAIN);
    }
    let ink = Ink { bold: true, ..of_level(level) };
    verdict
        .add(&format!("{} {level} {}", glyph(level), percent(of(|s| s.probability))), ink)
        .gap(2);
    let word =
        state.map_or_else(String::new, |state| format!(" {}", state.risk_level.to_lowercase()));
    verdict.add(&format!("risk {}{word}", whole(of(|s| s.risk))), PLAIN).gap(2);
    verdict.add(&format!("{} USD/60 s", money(of(|s| s.usd_60s))), PLAIN).gap(2);
    let longs = of(|s| s.imbalance).map(|imbalance| (1.0 + imbalance) / 2.0);
    verdict.add(&format!("longs {}", percent(longs)), PLAIN).gap(2);
    verdict.add(&state.map_or_else(|| DASH.to_owned(), |s| s.regime.to_lowercase()), PLAIN).gap(2);
    if state.is_some_and(|state| state.gap) {
        verdict.add("EVENTS ARE MISSING", BAD);
    }
    let mut motion = Line::new(width);
    motion.add(&format!("velocity {}/s", rate(of(|s| s.velocity))), BOLD).gap(2);
    motion.add(&format!("accel {}", rate(of(|s| s.acceleration))), PLAIN).gap(2);
    motion.add(&format!("jerk {}", rate(of(|s| s.jerk))), PLAIN).gap(2);
    motion.add(&format!("BTC {}", price(of(|s| s.price))), PLAIN).gap(2);
    let room = motion.room().min(TRAIL);
    motion.add(&curve(&scene.sight.market, room), ink);
    vec![verdict, motion]
}

/// How old what follows is, in words.
fn was(stale: &Stale, scene: &Scene<'_>) -> String {
    let age = match stale {
        Stale::Lost(age, _) => Some(*age),
        Stale::Still(age) => *age,
    };
    let before = || "of unknown age".to_owned();
    // While the picture is held, its own age is the one that counts.
    age.max(scene.paused).map_or_else(before, |age| format!("{} old", lasted(age)))
}

/// What is the matter: a word and a sentence each.
#[must_use]
pub fn warnings(sight: &Sight) -> Vec<(&'static str, String)> {
    let Some(slow) = &sight.slow else { return Vec::new() };
    let mut all: Vec<_> = slow.health.stuck.iter().map(|text| ("stuck", text.clone())).collect();
    if slow.feeds.is_none() {
        all.push(("feeds", "nobody has said for 5 s how they are".to_owned()));
    }
    if let Some(redis) = &slow.redis {
        let what = if redis.is_empty() { "does not answer" } else { redis };
        all.push(("redis", format!("{what}; signals wait")));
    }
    for venue in slow.health.deaf.iter().filter(|_| slow.feeds.is_some()) {
        let feeds = slow.feeds.iter().flatten();
        let own = feeds.filter(|feed| feed.venue == *venue && feed.is_rare());
        let why = own.map(|feed| match feed.why.as_str() {
            "" => format!("{} {}", feed.line(), feed.state),
            why => format!("{} {} ({why})", feed.line(), feed.state),
        });
        let why: Vec<_> = why.collect();
        all.push(("deaf", format!("{venue}: not heard, counts are too low. {}", why.join("; "))));
    }
    all
}

/// As many as there is room for, and how many more there are.
fn shown_warnings(all: &[(&'static str, String)], size: Size) -> Vec<Line> {
    let most = if size.height < 20 { 1 } else { 3 };
    let shown = all.iter().take(most).enumerate().map(|(i, (word, text))| {
        let mut line = Line::new(size.width);
        line.add(&format!("! {word} "), BAD);
        if i + 1 == most && all.len() > most {
            line.add(&format!("(and {} more) ", all.len() - most), BAD);
        }
        let room = line.room();
        line.left(text, room, CARE);
        line
    });
    shown.collect()
}

/// The panes in so many lines.
fn panes(scene: &Scene<'_>, view: &mut View, width: usize, room: usize) -> Vec<Line> {
    let all = if room < LOW - 4 { vec![view.pane] } else { Pane::ALL.to_vec() };
    let drawn: Vec<_> = all.iter().map(|pane| pane::body(*pane, scene, view, width)).collect();
    let wants: Vec<_> = drawn.iter().map(|(head, body)| head.len() + body.len()).collect();
    let focus = all.iter().position(|pane| *pane == view.pane).unwrap_or(0);
    let shares = shares(&wants, focus, room.saturating_sub(all.len()));
    let mut lines = Vec::new();
    for ((pane, (head, body)), share) in all.into_iter().zip(drawn).zip(shares) {
        let page = share.saturating_sub(head.len());
        let top = view.top(pane, body.len(), page);
        if pane == view.pane {
            view.page = page;
        }
        let bar =
            pane::title(pane, scene, view, width, Shown { share, top, page, all: body.len() });
        lines.push(bar);
        lines.extend(head.into_iter().take(share));
        let body: Vec<_> = body.into_iter().skip(top).take(page).collect();
        let blank = page.saturating_sub(body.len());
        lines.extend(body);
        lines.extend((0..blank).map(|_| Line::new(width)));
    }
    lines
}

/// How much of a pane is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Lines below the title.
    pub share: usize,
    /// Lines scrolled away.
    pub top: usize,
    /// Lines of the body.
    pub page: usize,
    /// Lines that the body has.
    pub all: usize,
}

/// How many lines each pane gets below its title: the one with the keys what it wants, but not more than
/// half where there is room for others; each of these a few, in their order; then these what they want,
/// and what is left goes to the first.
fn shares(wants: &[usize], focus: usize, room: usize) -> Vec<usize> {
    let mut shares = vec![0; wants.len()];
    let wanted = wants.get(focus).copied().unwrap_or(0);
    let own = if room < 2 * ROOMY { room } else { wanted.min(room / 2).max(ROOMY) };
    let mut left = room - own;
    for most in [ROOMY, usize::MAX] {
        for (i, (share, want)) in shares.iter_mut().zip(wants).enumerate() {
            let more = (*want).min(most).saturating_sub(*share).min(left);
            // One or two lines say no more than the title does.
            if i != focus && (*share > 0 || more >= 3.min(*want)) {
                *share += more;
                left -= more;
            }
        }
    }
    if let Some(share) = shares.get_mut(focus) {
        *share = own + left;
    }
    shares
}

fn foot(view: &View, width: usize) -> Line {
    let mut line = Line::new(width);
    if view.typing {
        line.add(&format!("symbol: {}", view.filter), BOLD).add("█", PLAIN);
        line.gap(2).add("Enter keeps it, Esc shows all", DIM);
        return line;
    }
    if !view.filter.is_empty() {
        line.add(&format!("only {} ", view.filter), Ink { inverse: true, ..PLAIN }).gap(1);
    }
    let keys = [
        ("q", "quit"),
        ("1-5", "pane"),
        ("j/k", "scroll"),
        ("s", view.order.name()),
        ("/", "filter"),
        ("p", "pause"),
        ("?", "help"),
    ];
    for (key, what) in keys {
        line.add(key, BOLD).add(&format!(" {what}  "), DIM);
    }
    line
}

const HELP: [(&str, &str); 10] = [
    ("q Esc Ctrl-C", "quit"),
    ("1-5 Tab Shift-Tab", "the pane that is open: symbols, feeds, tape, signals, latency"),
    ("j k arrows PgUp PgDn g G", "scroll it"),
    ("s", "sort symbols by risk, velocity, USD in 60 s"),
    ("/", "only symbols, liquidations and signals with these letters in the name; Esc for all"),
    ("p Space", "hold the picture still; what happens meanwhile is shown afterwards"),
    ("Ctrl-L Ctrl-Z", "draw anew; leave for the shell (fg comes back)"),
    ("○ ◔ ◑ ◕ ●", "level NONE, WATCH, ALERT, CRITICAL, EXTREME"),
    ("- ·", "not known; a second in which nothing was told"),
    ("units", "velocity per s, accel per s², jerk per s³ (2 s); USD in 60 s; USD per coin"),
];

fn help(width: usize, room: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (keys, what) in HELP {
        for (i, part) in wrap(what, width.saturating_sub(26)).iter().enumerate() {
            let mut line = Line::new(width);
            line.left(if i == 0 { keys } else { "" }, 25, BOLD).gap(1).add(part, PLAIN);
            lines.push(line);
        }
    }
    lines.truncate(room);
    lines
}

#[cfg(test)]
pub(super) mod tests;
