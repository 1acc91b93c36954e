//! Numbers and words as people read them in a terminal. What is not known is [`DASH`].

use std::collections::VecDeque;
use std::time::Duration;

use unicode_width::UnicodeWidthChar as _;

use super::frame::Liquidation;
use crate::publish::page::Feed;
pub use crate::run::backtest::table::{clock, utc};

/// What is not known.
pub const DASH: &str = "-";
/// Steps of a small curve, from nothing to most.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Eighths of a bar.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A character that moves nothing on a terminal but the place of the next one.
///
/// Control characters (the only ones that can begin an escape code) and those that turn text around
/// become `�`.
#[must_use]
pub fn harmless(c: char) -> char {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { '\u{fffd}' } else { c }
}

/// A text of which no character does anything.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// Columns that a character takes.
#[must_use]
pub fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Columns that a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(|c| columns(harmless(c))).sum()
}

/// A text in a column of its own, from the left.
#[must_use]
pub fn pad(text: &str, column: usize) -> String {
    format!("{text}{}", " ".repeat(column.saturating_sub(width(text))))
}

fn fixed(value: Option<f64>, digits: usize) -> String {
    let Some(value) = value else { return DASH.to_owned() };
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let is_negative = value < 0.0 && text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    format!("{}{}{rest}", if is_negative { "-" } else { "" }, grouped(whole))
}

/// `1,234,567`.
fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A velocity, acceleration or jerk.
#[must_use]
pub fn rate(value: Option<f64>) -> String {
    fixed(value, usize::from(value.is_none_or(|value| value.abs() < 99.95)))
}

/// Without a fraction.
#[must_use]
pub fn whole(value: Option<f64>) -> String {
    fixed(value, 0)
}

/// Of 1.
#[must_use]
pub fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| DASH.to_owned(), |value| format!("{} %", whole(Some(value * 100.0))))
}

/// To five digits, and to the cent where there are fewer before the point.
#[must_use]
pub fn price(value: Option<f64>) -> String {
    let digits = match value.map(f64::abs) {
        Some(size) if size >= 1e4 => 1,
        Some(size) if size >= 1e2 => 2,
        Some(size) if size >= 1e1 => 3,
        Some(size) if size >= 1.0 => 4,
        Some(size) if size >= 1e-2 => 6,
        Some(size) if size >= 1e-4 => 8,
        _ => 9,
    };
    fixed(value, digits)
}

/// `1.9M`.
#[must_use]
pub fn money(value: Option<f64>) -> String {
    let Some(usd) = value else { return DASH.to_owned() };
    for (unit, size) in [("B", 1e9), ("M", 1e6), ("k", 1e3)] {
        if usd >= size * 0.9995 {
            let digits = usize::from(usd / size < 99.95);
            return format!("{}{unit}", fixed(Some(usd / size), digits));
        }
    }
    whole(value)
}

/// A count.
#[must_use]
pub fn count(n: Option<u64>) -> String {
    n.map_or_else(|| DASH.to_owned(), |n| grouped(&n.to_string()))
}

/// A short time, ns.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn span(ns: Option<u64>) -> String {
    let Some(ns) = ns else { return DASH.to_owned() };
    for (unit, size) in [("s", 1e9), ("ms", 1e6), ("µs", 1e3)] {
        let value = ns as f64 / size;
        if value >= 0.9995 {
            let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
            return format!("{} {unit}", fixed(Some(value), digits));
        }
    }
    format!("{ns} ns")
}

/// How long something has lasted.
#[must_use]
pub fn lasted(time: Duration) -> String {
    match (time.as_millis(), time.as_secs()) {
        (ms, _) if ms < 9_950 => format!("{:.1} s", time.as_secs_f64()),
        (_, s) if s < 120 => format!("{s} s"),
        (_, s) if s < 7_200 => format!("{} min", s / 60),
        (_, s) if s < 172_800 => format!("{} h", s / 3_600),
        (_, s) => format!("{} d", s / 86_400),
    }
}

/// How long ago something was, both wall clock ms there.
#[must_use]
pub fn age(now: Option<i64>, then: Option<i64>) -> String {
    let passed = now.zip(then).map(|(now, then)| now.saturating_sub(then).max(0));
    let passed = passed.and_then(|ms| u64::try_from(ms).ok());
    passed.map_or_else(|| DASH.to_owned(), |ms| lasted(Duration::from_millis(ms)))
}

/// Time of day, UTC, to the second.
#[must_use]
pub fn seconds(ms: Option<i64>) -> String {
    ms.map_or_else(|| DASH.to_owned(), |ms| clock(ms).chars().take(8).collect())
}

/// What shows a level beside its word.
#[must_use]
pub fn glyph(level: &str) -> &'static str {
    match level {
        "WATCH" => "◔",
        "ALERT" => "◑",
        "CRITICAL" => "◕",
        "EXTREME" => "●",
        _ => "○",
    }
}

/// How a feed is, in a word or two, and whether anything can be heard on it.
#[must_use]
pub fn state(feed: &Feed) -> String {
    let mark = match feed.state.as_str() {
        "live" | "quiet" => "●",
        "connecting" => "◌",
        _ => "✕",
    };
    let code = if feed.code == 0 { String::new() } else { format!(" {}", feed.code) };
    let deaf = if feed.hears() || !feed.is_rare() { "" } else { ", deaf" };
    format!("{mark} {}{code}{deaf}", feed.state)
}

/// How often a feed was first, where it raced.
#[must_use]
pub fn won(feed: &Feed) -> String {
    let raced = feed.won.zip(feed.beaten).filter(|(won, beaten)| won.saturating_add(*beaten) > 0);
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    percent(raced.map(|(won, beaten)| won as f64 / (won as f64 + beaten as f64)))
}

/// Whose position it was.
#[must_use]
pub fn side(one: &Liquidation) -> &'static str {
    match one.side.as_deref() {
        Some("long") => "▼ long",
        Some("short") => "▲ short",
        _ => DASH,
    }
}

/// A small curve of so many columns, newest right, from 0 to the most (1 at least); a hole is a `·`, and
/// before anything was told it is empty.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=7")]
pub fn curve(values: &VecDeque<Option<f64>>, columns: usize) -> String {
    let shown = values.iter().rev().take(columns);
    let most = shown.clone().flatten().fold(1.0_f64, |most, value| most.max(*value));
    let step = |value: &Option<f64>| match value {
        None => '·',
        Some(value) => {
            let step = (value.clamp(0.0, most) / most * 7.0).ceil() as usize;
            STEPS.get(step).copied().unwrap_or('█')
        }
    };
    let blank = columns - shown.len();
    std::iter::repeat_n(' ', blank).chain(shown.rev().map(step)).collect()
}

/// A bar whose *area* is to scale: `most` fills the columns, a quarter of it half of them.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "some columns"
)]
pub fn bar(value: Option<f64>, most: f64, columns: usize) -> String {
    let Some(value) = value.filter(|value| *value > 0.0 && most > 0.0) else {
        return String::new();
    };
    let eighths = ((value / most).min(1.0).sqrt() * columns as f64 * 8.0).round() as usize;
    let eighths = eighths.max(1);
    "█".repeat(eighths / 8) + EIGHTHS.get(eighths % 8).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash_and_never_a_zero() {
        assert!(
            [rate(None), whole(None), percent(None), price(None), money(None)]
                .iter()
                .all(|text| text == DASH)
        );
        assert!(
            [count(None), span(None), age(None, Some(1)), age(Some(1), None), seconds(None)]
                .iter()
                .all(|text| text == DASH)
        );
        assert_eq!([rate(Some(0.0)), money(Some(0.0)), count(Some(0))], ["0.0", "0", "0"]);
        assert_eq!(bar(None, 1.0, 8), "");
    }

    #[test]
    fn numbers_are_short_and_round_into_the_next_unit() {
        assert_eq!(
            [rate(Some(-0.04)), rate(Some(-2.25)), rate(Some(1234.5))],
            ["0.0", "-2.2", "1,234"]
        );
        assert_eq!(price(Some(95_775.4)), "95,775.4");
        assert_eq!([price(Some(3_161.1)), price(Some(0.000_012_34))], ["3,161.10", "0.000012340"]);
        let texts = [999.0, 999_499.0, 999_600.0, 12_345_678.0, 2.5e9].map(|usd| money(Some(usd)));
        assert_eq!(texts, ["999", "999k", "1.0M", "12.3M", "2.5B"]);
        let texts =
            [7, 1_000, 15_543, 999_960, 998_244_351, 3_000_000_000].map(|ns| span(Some(ns)));
        assert_eq!(texts, ["7 ns", "1.00 µs", "15.5 µs", "1.00 ms", "998 ms", "3.00 s"]);
        let texts = [40, 9_960, 119_000, 120_000, 7_200_000, 200_000_000]
            .map(|ms| lasted(Duration::from_millis(ms)));
        assert_eq!(texts, ["0.0 s", "9 s", "119 s", "2 min", "2 h", "2 d"]);
    }

    #[test]
    fn nothing_that_is_shown_can_begin_an_escape_code_or_turn_text_around() {
        let nasty = "a\x1b[31m\u{9b}2J\u{7f}\r\n\t\u{202e}b\u{2066}\u{61c}\0币";
        let shown = clean(nasty);
        assert!(
            !shown.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)),
            "{shown:?}"
        );
        assert!(shown.starts_with("a\u{fffd}[31m") && shown.ends_with('币'), "{shown:?}");
        assert_eq!((width("币安"), width("e\u{301}"), width("\x1b")), (4, 1, 1));
    }

    #[test]
    fn a_curve_has_holes_and_a_bar_is_to_scale() {
        let values = VecDeque::from([Some(0.0), None, Some(4.0), Some(8.0), Some(0.1)]);
        assert_eq!(curve(&values, 8), "   ▁·▅█▂");
        assert_eq!(curve(&values, 2), "█▂");
        // A rate below one a second is no peak.
        assert_eq!(curve(&VecDeque::from([Some(0.5)]), 2), " ▅");
        assert_eq!(
            [bar(Some(4.0), 4.0, 8), bar(Some(1.0), 4.0, 8), bar(Some(1e-9), 4.0, 8)],
            ["████████", "████", "▏"]
        );
        assert_eq!(bar(Some(1e300), 4.0, 3), "███");
    }
}
