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
pub(super) mod tests {
    use super::super::frame::Frame;
    use super::super::link::Trouble;
    use super::super::view::Order;
    use super::super::watch::Heard;
    use super::*;

    /// A frame of a run in a cascade, with a deaf feed, a wide name and a text that bites.
    pub(crate) fn frame() -> serde_json::Value {
        let state = |risk: f64| {
            serde_json::json!({
                "velocity": 12.5, "acceleration": 4.0, "jerk": -1.25, "risk": risk, "risk_level": "HIGH",
                "level": "CRITICAL", "probability": 0.61, "price": 95_775.4, "usd_60s": 1.9e6,
                "imbalance": 0.76, "gap": false, "regime": "VOLATILE",
            })
        };
        let feed = |venue: &str, state: &str, why: &str| {
            serde_json::json!({
                "venue": venue, "route": "public", "copy": 1, "state": state, "code": 0, "why": why,
                "since_ms": 0, "last_frame_ms": 1_760_130_000_000_i64 - 400, "last_liquidation_ms": null,
                "completeness": "complete", "frames": 1234, "won": 3, "beaten": 1,
                "lead_mean_us": null, "lead_max_us": null,
            })
        };
        let listed: Vec<_> = (0..40)
            .map(|n| {
                serde_json::json!([
                    format!("COIN{n}USDT"),
                    "NONE",
                    n,
                    0.5,
                    100.0 * f64::from(n),
                    0.25,
                    0.0,
                    null
                ])
            })
            .chain([serde_json::json!([
                "币安人生USDT",
                "EXTREME",
                91.0,
                7.5,
                1.2e6,
                3.0,
                -1.0,
                0.0123
            ])])
            .collect();
        serde_json::json!({
            "run": 7, "version": "0.1.0", "mark": "DEMO", "now": 1_760_130_000_000_i64, "age": 90,
            "still": false, "symbol": "MARKET", "row": null, "market": state(61.2),
            "past": { "t": [1_760_129_999_000_i64, 1_760_130_000_000_i64], "v": [1.0, 12.5] },
            "tape": [
                { "at": 1_760_130_000_000_i64, "symbol": "BTCUSDT", "venue": "bybit", "side": "long",
                  "price": 95_775.4, "usd": 1.2e6, "flags": [] },
                { "at": 1_760_130_000_500_i64, "symbol": "E\u{1b}[2JVIL", "venue": "okx", "side": null,
                  "price": null, "usd": null, "flags": [] },
            ],
            "signals": [{ "seq": 1, "at": 1_760_130_000_000_i64, "symbol": "BTCUSDT", "kind": "CHANGE",
                "level": "CRITICAL", "probability": 0.61, "risk": 61.2,
                "why": "HIGH 61/100: velocity 12.5/s, acceleration 4.0/s² (4.2 sd) led by bybit; 1.9 M USD in 60 s" }],
            "list": listed,
            "feeds": [feed("binance", "live", ""), feed("okx", "down", "connection refused")],
            "health": { "live": true, "ready": true, "stuck": [], "venues": 2, "heard": 1, "fresh": 1,
                "needed": 1, "deaf": ["okx"] },
            "redis": null,
            "latency": [{ "stage": "receive_to_parsed", "count": 3,
                "ns": [1, 2, 15_543, 4, 5, 6, 7, 121_599, 9, 213_631, 11, 12, 16_203_775] }],
            "counts": [["dropped", 0], ["rejected", 2], ["frames", 1_275]],
        })
    }

    pub(crate) fn sight(frame: &serde_json::Value, now: Instant) -> Sight {
        let mut sight = Sight::default();
        sight.hear(Heard::Frame(Box::new(Frame::read(&frame.to_string()).unwrap()), true), now);
        sight
    }

    fn drawn(
        sight: &Sight,
        view: &mut View,
        now: Instant,
        width: usize,
        height: usize,
    ) -> Vec<Line> {
        let place = Place::parse("127.0.0.1:9310").unwrap();
        let scene = Scene { sight, place: &place, now, stale: sight.stale(now), paused: None };
        draw(&scene, view, Size { width, height })
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| line.text() + "\n").collect()
    }

    #[test]
    fn everything_that_counts_is_on_a_small_screen() {
        let now = Instant::now();
        let screen = text(&drawn(&sight(&frame(), now), &mut View::default(), now, 80, 24));
        for words in [
            "live  DEMO  ready 1/2  fresh 1/2  21:00:00 UTC",
            "◕ CRITICAL 61 %  risk 61 high  1.9M USD/60 s  longs 88 %  volatile",
            "velocity 12.5/s  accel 4.0  jerk -1.2  BTC 95,775.4",
            "! deaf okx: not heard",
            "币安人生USDT ● EXTREME",
            "2 feeds 1 of 2 heard, okx public down",
            "4 signals 21:00:00.000 ◕ CRITICAL 61 % BTCUSDT: HIGH 61/100",
            "dropped 0, rejected 2, slowest p99 122 µs",
            "q quit",
        ] {
            assert!(screen.contains(words), "{words}:\n{screen}");
        }
    }

    #[test]
    fn every_size_is_filled_and_never_exceeded() {
        let now = Instant::now();
        let sight = sight(&frame(), now);
        for pane in Pane::ALL {
            for (width, height) in
                [(80, 24), (60, 15), (120, 40), (1, 1), (20, 3), (7, 200), (400, 9), (0, 0)]
            {
                for help in [false, true] {
                    let mut view = View { pane, help, ..View::default() };
                    let lines = drawn(&sight, &mut view, now, width, height);
                    assert_eq!(lines.len(), height, "{pane:?} {width}x{height}");
                    let wide =
                        lines.iter().find(|line| super::super::words::width(&line.text()) > width);
                    assert_eq!(wide, None, "{pane:?} {width}x{height}");
                }
            }
        }
    }

    #[test]
    fn the_pane_with_the_keys_is_open_and_scrolls_to_its_end() {
        let now = Instant::now();
        let sight = sight(&frame(), now);
        let mut view = View { order: Order::Money, ..View::default() };
        for _ in 0..99 {
            view.obey(super::super::keys::Key::Down);
            drawn(&sight, &mut view, now, 80, 24);
        }
        let screen = text(&drawn(&sight, &mut view, now, 80, 24));
        assert!(screen.contains("COIN0USDT") && !screen.contains("COIN39USDT"), "{screen}");
        assert!(screen.contains(" of 41") && screen.contains("MARKET"), "{screen}");
        let mut view = View { pane: Pane::Feeds, ..View::default() };
        let screen = text(&drawn(&sight, &mut view, now, 80, 24));
        assert!(
            screen.contains("✕ down, deaf") && screen.contains("    connection refused"),
            "{screen}"
        );
        assert!(screen.contains("75 %") && screen.contains("0.4 s"), "{screen}");
    }

    #[test]
    fn a_foreign_text_stays_a_text() {
        let now = Instant::now();
        let mut view = View { pane: Pane::Tape, ..View::default() };
        let screen = text(&drawn(&sight(&frame(), now), &mut view, now, 80, 24));
        assert!(screen.contains("E\u{fffd}[2JVIL") && !screen.contains('\u{1b}'), "{screen}");
        // What was not told of it is not made up.
        let line = screen.lines().find(|line| line.contains("VIL")).unwrap();
        assert_eq!(line.matches(" -").count(), 3, "{line}");
    }

    #[test]
    fn before_anything_was_said_there_are_dashes() {
        let now = Instant::now();
        let mut empty = frame();
        for key in ["market", "feeds"] {
            empty[key] = serde_json::Value::Null;
        }
        for key in ["list", "tape", "signals", "latency", "counts"] {
            empty[key] = serde_json::json!([]);
        }
        let screen = text(&drawn(&sight(&empty, now), &mut View::default(), now, 80, 24));
        assert!(screen.contains("○ - -  risk -  - USD/60 s  longs -  -"), "{screen}");
        assert!(screen.contains("velocity -/s  accel -  jerk -  BTC -"), "{screen}");
        assert!(screen.contains("2 feeds not known now"), "{screen}");
        assert!(screen.contains("dropped -, rejected -"), "{screen}");
    }

    #[test]
    fn what_is_old_is_weak_and_says_how_old_it_is() {
        let now = Instant::now();
        let mut lost = sight(&frame(), now);
        lost.hear(Heard::Lost(Trouble::Silent), now + Duration::from_secs(3));
        let later = now + Duration::from_secs(12);
        let lines = drawn(&lost, &mut View::default(), later, 80, 24);
        let screen = text(&lines);
        assert!(screen.starts_with("LOST 127.0.0.1:9310 12 s ago, trying again: "), "{screen}");
        assert!(screen.contains("\n12 s old: ◕ CRITICAL"), "{screen}");
        let body = lines.iter().skip(1).take(22).flat_map(|line| line.words());
        assert!(body.clone().count() > 20 && body.clone().all(|(_, ink)| ink.dim), "{lines:?}");
        // It is heard again.
        let back = Frame::read(&frame().to_string()).unwrap();
        lost.hear(Heard::Frame(Box::new(back), true), later);
        assert!(text(&drawn(&lost, &mut View::default(), later, 80, 24)).starts_with("live "));
    }

    #[test]
    fn a_run_that_stands_still_is_not_taken_for_a_quiet_market() {
        let now = Instant::now();
        let mut still = frame();
        still["still"] = true.into();
        still["age"] = 42_000.into();
        let screen = text(&drawn(&sight(&still, now), &mut View::default(), now, 80, 24));
        assert!(screen.starts_with("STANDS STILL: nothing came through for 42 s"), "{screen}");
        assert!(screen.contains("42 s old: "), "{screen}");
        assert!(!screen.starts_with("live"));
    }

    #[test]
    fn room_goes_to_the_pane_with_the_keys_first() {
        assert_eq!(shares(&[42, 9, 6], 0, 12), [12, 0, 0]);
        assert_eq!(shares(&[42, 9, 20], 0, 31), [15, 8, 8]);
        assert_eq!(shares(&[42, 9, 20], 1, 31), [14, 9, 8]);
        assert_eq!(shares(&[42, 9, 20], 0, 18), [10, 8, 0]);
        assert_eq!(shares(&[2, 2, 2], 2, 40), [2, 2, 36]);
        assert_eq!(shares(&[1], 0, 0), [0]);
    }
}
