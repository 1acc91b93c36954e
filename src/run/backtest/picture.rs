//! One cascade as a picture: price, velocity, acceleration, jerk, risk and probability, and the
//! alarms of every detector, above one axis of time (UTC). Readable on light and on dark ground.

use std::fmt::Write as _;

use super::play::{Sample, Trace};
use super::prices::{Series, Span};
use super::score::Cascade;
use super::table::{clock, utc};
use super::{Detector, Report};
use crate::engine::settings::Levels;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 880.0;
const TOP: f64 = 104.0;
const PANEL: f64 = 112.0;
const GAP: f64 = 26.0;
/// Height of one detector's row in the lowest panel.
const ROW: f64 = 17.0;
/// Columns that a curve is made of: the lowest and the highest of each are drawn.
const COLUMNS: usize = 395;
/// A liquidation this far from all candles is not at a market price.
const BAND: f64 = 0.03;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Name of the recording.
    pub name: &'a str,
    /// The cascade.
    pub cascade: &'a Cascade,
    /// What was noted, samples around the cascade among it.
    pub trace: &'a Trace,
    /// Candles of the reference symbol.
    pub series: Option<&'a Series>,
    /// Where the levels begin.
    pub levels: &'a Levels,
    /// Whose alarms.
    pub report: &'a Report<'a>,
}

/// The time that a picture of a cascade shows.
#[must_use]
pub fn span(cascade: &Cascade) -> Span {
    let moments = [Some(cascade.onset), Some(cascade.peak), Some(cascade.label.end), cascade.broke];
    let first =
        cascade.onset.min(cascade.peak).min(cascade.label.start.max(cascade.onset - 60_000));
    let last = moments.into_iter().flatten().max().unwrap_or(cascade.onset);
    let pad = ((last - first) / 5).clamp(15_000, 600_000);
    (first - pad, last + pad)
}

/// One number of a sample.
type Of = fn(&Sample) -> f64;

/// Places on the picture.
struct Frame {
    span: Span,
}

impl Frame {
    fn x(&self, at: i64) -> f64 {
        let (from, until) = self.span;
        LEFT + (RIGHT - LEFT) * share(at - from, until - from).clamp(0.0, 1.0)
    }

    fn holds(&self, at: i64) -> bool {
        (self.span.0..=self.span.1).contains(&at)
    }

    /// Round moments, four to eight of them.
    fn ticks(&self) -> Vec<i64> {
        const SECONDS: [i64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800];
        let length = self.span.1 - self.span.0;
        let mut steps = SECONDS.into_iter().map(|seconds| seconds * 1_000);
        let step = steps.find(|step| length / step <= 8).unwrap_or(3_600_000);
        let first = self.span.0.div_euclid(step) + 1;
        (first..).map(|i| i * step).take_while(|&at| at <= self.span.1).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a position on a picture")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "one of a few panels or rows")]
fn top(panel: usize) -> f64 {
    TOP + panel as f64 * (PANEL + GAP)
}

/// The picture as SVG.
#[must_use]
pub fn svg(scene: &Scene<'_>) -> String {
    let frame = Frame { span: span(scene.cascade) };
    let detectors = scene.report.detectors();
    let alarms_top = top(5);
    #[expect(clippy::cast_precision_loss, reason = "a few detectors")]
    let bottom = alarms_top + detectors.len() as f64 * ROW;
    let height = bottom + 48.0;
    let mut svg = String::new();
    head(&mut svg, scene, height);
    grid(&mut svg, &frame, bottom);
    shade(&mut svg, &frame, scene, bottom);
    moments(&mut svg, &frame, scene, bottom);
    price(&mut svg, &frame, scene);
    let curves: [(&str, &str, Of); 3] = [
        ("velocity 10 s", "1/s", |sample| sample.velocity),
        ("acceleration 2 s", "1/s²", |sample| sample.acceleration),
        ("jerk 2 s", "1/s³", |sample| sample.jerk),
    ];
    for (i, (name, unit, of)) in curves.into_iter().enumerate() {
        motion(&mut svg, &frame, scene, i + 1, (name, unit), of);
    }
    risk(&mut svg, &frame, scene);
    alarms(&mut svg, &frame, scene, &detectors, alarms_top);
    svg.push_str("</svg>\n");
    svg
}

fn head(svg: &mut String, scene: &Scene<'_>, height: f64) {
    let title = format!(
        "{} cascade of {} UTC, {}",
        scene.cascade.label.kind,
        utc(scene.cascade.onset),
        scene.name
    );
    let title = escaped(&title);
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n{STYLE}\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{title}</text>"
    );
}

const STYLE: &str = "\
<style>
svg { --ink: #1f2328; --soft: #59636e; --grid: #d8dee4; --ground: #ffffff; --c0: #0969da;
  --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; --c4: #cf222e; --shade: #ffebe9 }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --soft: #9198a1; --grid: #30363d; --ground: #0d1117; --c0: #4493f8;
    --c1: #f0883e; --c2: #3fb950; --c3: #ab7df8; --c4: #ff7b72; --shade: #35171b }
}
text { fill: var(--ink); stroke: var(--ground); stroke-width: 3; paint-order: stroke }
.soft { fill: var(--soft) } .grid { stroke: var(--grid) }
.ground { fill: var(--ground) } .shade { fill: var(--shade) }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round }
</style>
";

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line {class} x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, attributes: &str, words: &str) {
    let words = escaped(words);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{words}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn grid(svg: &mut String, frame: &Frame, bottom: f64) {
    for at in frame.ticks() {
        let x = frame.x(at);
        line(svg, "class=\"grid\"", (x, TOP), (x, bottom));
        let clock = clock(at);
        let words = clock.get(..8).unwrap_or_default();
        text(svg, x, bottom + 18.0, "text-anchor=\"middle\"", words);
    }
    text(svg, f64::midpoint(LEFT, RIGHT), bottom + 38.0, "text-anchor=\"middle\"", "time, UTC");
}

/// Where the alarm stood, behind everything.
fn shade(svg: &mut String, frame: &Frame, scene: &Scene<'_>, bottom: f64) {
    for (from, to) in stood(frame, scene.report.own(), scene.trace) {
        let (y, height, width) = (TOP, bottom - TOP, (to - from).max(1.0));
        let _ = writeln!(
            svg,
            "<rect class=\"shade\" opacity=\"0.7\" x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" \
             height=\"{height}\"/>"
        );
    }
}

fn stood(frame: &Frame, detector: Detector, trace: &Trace) -> Vec<(f64, f64)> {
    let all = detector.alarms(trace).map(super::Alarms::all).unwrap_or_default();
    let seen = all.iter().filter(|a| a.fell >= frame.span.0 && a.rose <= frame.span.1);
    seen.map(|alarm| (frame.x(alarm.rose), frame.x(alarm.fell))).collect()
}

/// A panel's ground: its name, and values at which a line is drawn.
fn panel(svg: &mut String, i: usize, name: &str, scale: &Scale, values: &[f64]) {
    let y = top(i);
    text(svg, LEFT, y - 5.0, "class=\"soft\"", name);
    for &value in values {
        let y = scale.y(value);
        line(svg, "class=\"grid\"", (LEFT, y), (RIGHT, y));
        text(svg, LEFT - 8.0, y + 4.0, "text-anchor=\"end\"", &number(value));
    }
}

/// Values on the height of a panel.
struct Scale {
    top: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(panel: usize, low: f64, high: f64) -> Self {
        Self { top: top(panel), low, high: if high > low { high } else { low + 1.0 } }
    }

    fn y(&self, value: f64) -> f64 {
        let up = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.top + PANEL * (1.0 - up)
    }
}

/// With as many digits as a label needs.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => {
            let whole = format!("{value:.0}");
            let split = whole.len().saturating_sub(3);
            format!("{} {}", whole.get(..split).unwrap_or(""), whole.get(split..).unwrap_or(""))
        }
        size if size >= 10.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The round number at or above, with one digit: 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    steps.into_iter().find(|&step| step >= value * 0.999_999).unwrap_or(10.0 * power)
}

/// Candles as bands, liquidations of the reference symbol as dots.
fn price(svg: &mut String, frame: &Frame, scene: &Scene<'_>) {
    let bars = scene
        .series
        .map_or(&[][..], |series| series.within((frame.span.0 - series.length, frame.span.1)));
    let low = bars.iter().map(|bar| bar.low).fold(f64::INFINITY, f64::min);
    let high = bars.iter().map(|bar| bar.high).fold(0.0, f64::max);
    let sane =
        |price: f64| bars.is_empty() || price > low * (1.0 - BAND) && price < high * (1.0 + BAND);
    let prints = scene.trace.prints.iter().filter(|print| frame.holds(print.at));
    let dots: Vec<(i64, f64)> = prints
        .filter_map(|print| Some((print.at, print.price.filter(|&price| sane(price))?)))
        .collect();
    let low = dots.iter().map(|dot| dot.1).fold(low, f64::min);
    let high = dots.iter().map(|dot| dot.1).fold(high, f64::max);
    if low > high {
        return text(svg, LEFT, top(0) - 5.0, "class=\"soft\"", "no price of BTC");
    }
    let room = (high - low).max(high * 1e-5) * 0.06;
    let scale = Scale::of(0, low - room, high + room);
    panel(svg, 0, "BTC, USD: candles, and its liquidations as dots", &scale, &[low, high]);
    let length = scene.series.map_or(0, |series| series.length);
    for bar in bars {
        let (from, to) = (frame.x(bar.at), frame.x(bar.at + length));
        let (y, height) = (scale.y(bar.high), scale.y(bar.low) - scale.y(bar.high));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"var(--c0)\" \
             opacity=\"0.18\"/>",
            (to - from).max(1.0),
            height.max(1.0)
        );
        let ends = ((from, scale.y(bar.open)), (to, scale.y(bar.close)));
        line(svg, "stroke=\"var(--c0)\" stroke-width=\"1.4\"", ends.0, ends.1);
    }
    for (at, price) in dots {
        let (x, y) = (frame.x(at), scale.y(price));
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"var(--c1)\"/>");
    }
}

fn motion(
    svg: &mut String,
    frame: &Frame,
    scene: &Scene<'_>,
    i: usize,
    (name, unit): (&str, &str),
    of: Of,
) {
    let values = scene.trace.samples.iter().filter(|sample| frame.holds(sample.at)).map(of);
    let (low, high) =
        values.fold((0.0, 0.0), |(low, high), v| (f64::min(low, v), f64::max(high, v)));
    let high = round_up(high);
    let low = if low < 0.0 { -round_up(-low) } else { 0.0 };
    let scale = Scale::of(i, low, high);
    let values = if low < 0.0 { vec![low, 0.0, high] } else { vec![0.0, high / 2.0, high] };
    panel(svg, i, &format!("{name}, {unit}"), &scale, &values);
    curve(svg, frame, scene, &scale, ["var(--c0)", "var(--c2)", "var(--c3)"][(i - 1) % 3], of);
}

fn risk(svg: &mut String, frame: &Frame, scene: &Scene<'_>) {
    let scale = Scale::of(4, 0.0, 100.0);
    panel(svg, 4, "", &scale, &[0.0, 50.0, 100.0]);
    let y = top(4) - 5.0;
    text(svg, LEFT, y, "style=\"fill: var(--c1)\"", "risk, 0..100");
    text(svg, LEFT + 90.0, y, "style=\"fill: var(--c4)\"", "probability, %");
    let names = super::play::LEVELS.map(crate::signal::Level::name);
    for (bound, name) in scene.levels.bounds().into_iter().zip(names) {
        let y = scale.y(bound * 100.0);
        let class = "stroke=\"var(--soft)\" stroke-dasharray=\"3 4\"";
        line(svg, class, (LEFT, y), (RIGHT, y));
        text(svg, RIGHT + 6.0, y + 4.0, "class=\"soft\"", name);
    }
    curve(svg, frame, scene, &scale, "var(--c1)", |sample| sample.risk);
    curve(svg, frame, scene, &scale, "var(--c4)", |sample| sample.probability * 100.0);
}

/// The lowest and the highest value of each column; a value holds until the next.
fn curve(svg: &mut String, frame: &Frame, scene: &Scene<'_>, scale: &Scale, colour: &str, of: Of) {
    let (from, until) = frame.span;
    let column = |i: usize| from + (until - from) * i64::try_from(i).unwrap_or(0) / COLUMNS as i64;
    let samples = &scene.trace.samples;
    let mut next = samples.partition_point(|sample| sample.at < from);
    let mut value = 0.0;
    let _ = write!(svg, "<polyline stroke=\"{colour}\" points=\"");
    for i in 0..COLUMNS {
        let (mut low, mut high) = (value, value);
        while let Some(sample) = samples.get(next).filter(|sample| sample.at < column(i + 1)) {
            value = of(sample);
            (low, high) = (f64::min(low, value), f64::max(high, value));
            next += 1;
        }
        let x = frame.x(column(i));
        for y in [low, high, value] {
            let _ = write!(svg, "{x:.1},{:.1} ", scale.y(y));
        }
    }
    svg.push_str("\"/>\n");
}

/// A row per detector, a bar per alarm.
fn alarms(svg: &mut String, frame: &Frame, scene: &Scene<'_>, detectors: &[Detector], y: f64) {
    let name = format!("alarms ({} and above)", scene.report.level.name());
    text(svg, LEFT, y - 5.0, "class=\"soft\"", &name);
    let mut y = y;
    for &detector in detectors {
        let colour = if detector == scene.report.own() { "var(--c4)" } else { "var(--soft)" };
        text(svg, RIGHT + 6.0, y + 11.0, "font-size=\"10\"", &detector.name());
        line(svg, "class=\"grid\"", (LEFT, y + ROW / 2.0), (RIGHT, y + ROW / 2.0));
        for (from, to) in stood(frame, detector, scene.trace) {
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" \
                 fill=\"{colour}\"/>",
                y + 3.0,
                (to - from).max(3.0),
                ROW - 6.0
            );
        }
        y += ROW;
    }
}

/// Onset, break, peak and alarm, through all panels; each name in the first line where it has room.
fn moments(svg: &mut String, frame: &Frame, scene: &Scene<'_>, bottom: f64) {
    let own = scene.report.own();
    let hit = own.alarms(scene.trace).and_then(|alarms| scene.cascade.hit(alarms));
    let all = [
        ("onset", Some(scene.cascade.onset), "var(--soft)"),
        ("break", scene.cascade.broke, "var(--c0)"),
        ("peak", Some(scene.cascade.peak), "var(--ink)"),
        (scene.report.level.name(), hit.map(|hit| hit.at), "var(--c4)"),
    ];
    let mut named: Vec<_> =
        all.into_iter().filter_map(|(name, at, colour)| Some((at?, name, colour))).collect();
    named.retain(|(at, ..)| frame.holds(*at));
    named.sort_by_key(|(at, ..)| *at);
    let mut ends = [f64::NEG_INFINITY; NAME_LINES.len()];
    let mut names = String::new();
    for (at, name, colour) in named {
        let x = frame.x(at);
        let free = ends.iter().position(|&end| end < x).unwrap_or_default();
        ends[free] = x + NAME_WIDTH;
        let y = NAME_LINES[free];
        let class = format!("stroke=\"{colour}\" stroke-width=\"1.2\" stroke-dasharray=\"6 3\"");
        line(svg, &class, (x, y + 3.0), (x, bottom));
        let attributes = format!("style=\"fill: {colour}\" font-size=\"11\"");
        text(&mut names, x + 3.0, y, &attributes, &format!("{name} {}", clock(at)));
    }
    // No line through a name.
    svg.push_str(&names);
}

/// Lines above the panels for the names of moments, and the room that one takes.
const NAME_LINES: [f64; 4] = [40.0, 52.0, 64.0, 76.0];
const NAME_WIDTH: f64 = 130.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!([0.0, 0.7, 1.0, 3.0, 51.0].map(round_up), [1.0, 1.0, 1.0, 5.0, 100.0]);
        assert_eq!(
            [0.0, 0.25, 2.5, 50.0, 112_086.4].map(number),
            ["0", "0.25", "2.5", "50", "112 086"]
        );
    }

    #[test]
    fn time_has_four_to_eight_round_ticks() {
        for (length, step) in [(50_000, 10_000), (140_000, 30_000), (5_400_000, 900_000)] {
            let ticks = Frame { span: (1_000_003, 1_000_003 + length) }.ticks();
            assert!((4..=8).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks.iter().all(|at| at % step == 0), "{length}: {ticks:?}");
        }
    }

    #[test]
    fn nothing_foreign_becomes_markup() {
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
