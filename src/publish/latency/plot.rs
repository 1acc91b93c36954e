//! Percentile curves, for the terminal and as SVG.
//!
//! The axis of percentiles is logarithmic in nines (0, 90, 99, 99.9 ... are equally far apart), so
//! that the tail, which is what hurts, has as much room as the body; the axis of time is logarithmic.

use std::fmt::Write as _;

use super::log::{Span, Stage, Summary};

/// Nines shown at least.
const NINES_MIN: f64 = 3.0;
/// Nines shown at most.
const NINES_MAX: f64 = 7.0;
/// Points of one curve.
const POINTS: u32 = 240;

/// The part of the plane that is shown.
struct Frame {
    nines: f64,
    low: f64,
    high: f64,
}

impl Frame {
    /// As many nines as the largest stage can tell apart, and whole decades of time.
    fn around(stages: &[Stage]) -> Option<Self> {
        let filled = || stages.iter().map(|s| &s.histogram).filter(|h| !h.is_empty());
        let count = filled().map(|h| h.len()).max()?;
        let low = filled().map(|h| h.min().max(1)).min()?;
        let high = filled().map(|h| h.max()).max()?;
        Some(Self {
            nines: real(count).log10().clamp(NINES_MIN, NINES_MAX),
            low: real(low).log10().floor(),
            high: (real(high.max(1)).log10() + 1e-9).ceil().max(real(low).log10().floor() + 1.0),
        })
    }

    /// Points of a curve, each 0..1 in both directions, from the left.
    fn curve(&self, stage: &Stage) -> Vec<(f64, f64)> {
        let resolved = real(stage.histogram.len()).log10().min(self.nines);
        let point = |i| {
            let nines = resolved * f64::from(i) / f64::from(POINTS);
            let quantile = 1.0 - 10_f64.powf(-nines);
            let value = stage.histogram.value_at_quantile(quantile);
            (nines / self.nines, self.height(value))
        };
        (0..=POINTS).map(point).collect()
    }

    fn height(&self, ns: u64) -> f64 {
        ((real(ns.max(1)).log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn decades(&self) -> impl Iterator<Item = u64> {
        let low = whole(self.low);
        (low..=whole(self.high)).map(|power| 10_u64.saturating_pow(power))
    }

    fn percentiles(&self) -> impl Iterator<Item = (f64, String)> {
        let nines = self.nines;
        (0..=whole(nines)).map(move |n| (f64::from(n) / nines, percentile(n)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a position on a picture")]
fn real(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 19")]
fn whole(x: f64) -> u32 {
    x.clamp(0.0, 19.0) as u32
}

/// `99.9 %` for three nines.
fn percentile(nines: u32) -> String {
    match nines {
        0 => "0 %".into(),
        1 => "90 %".into(),
        2 => "99 %".into(),
        n => format!("99.{} %", "9".repeat(n.saturating_sub(2) as usize)),
    }
}

impl Summary {
    /// Curves in characters, `width` by `height`, with a legend.
    #[must_use]
    pub fn plot(&self, width: usize, height: usize) -> String {
        let (width, height) = (width.clamp(20, 400), height.clamp(5, 100));
        let Some(frame) = Frame::around(&self.stages) else {
            return "nothing was measured\n".into();
        };
        let mut cells = vec![vec![' '; width]; height];
        for (stage, mark) in self.stages.iter().zip(MARKS.iter().cycle()) {
            if stage.histogram.is_empty() {
                continue;
            }
            for (x, y) in frame.curve(stage) {
                let (column, row) = (cell(x, width), cell(1.0 - y, height));
                if let Some(place) = cells.get_mut(row).and_then(|row| row.get_mut(column)) {
                    *place = *mark;
                }
            }
        }
        let mut text = rows(&cells, &frame);
        axis(&mut text, width, &frame);
        for (stage, mark) in self.stages.iter().zip(MARKS.iter().cycle()) {
            let _ = writeln!(text, "{:10}{mark} {}", "", stage.name);
        }
        text
    }

    /// Curves as an SVG picture that is readable on light and on dark ground.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = String::from(HEAD);
        if let Some(frame) = Frame::around(&self.stages) {
            grid(&mut svg, &frame);
            for (i, stage) in self.stages.iter().enumerate() {
                curve(&mut svg, &frame, stage, i);
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

const MARKS: [char; 8] = ['o', 'x', '+', '*', '#', '@', '%', '='];

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=size")]
fn cell(share: f64, size: usize) -> usize {
    let last = size.saturating_sub(1);
    ((share.clamp(0.0, 1.0) * real(last as u64)).round() as usize).min(last)
}

fn rows(cells: &[Vec<char>], frame: &Frame) -> String {
    let mut text = String::new();
    for (i, row) in cells.iter().enumerate() {
        let label = frame.decades().find(|&ns| cell(1.0 - frame.height(ns), cells.len()) == i);
        let label = label.map(|ns| Span(ns).to_string()).unwrap_or_default();
        let row: String = row.iter().collect();
        let _ = writeln!(text, "{label:>8} |{}", row.trim_end());
    }
    text
}

fn axis(text: &mut String, width: usize, frame: &Frame) {
    let _ = writeln!(text, "{:8} +{}", "", "-".repeat(width));
    let mut labels = String::new();
    for (x, label) in frame.percentiles() {
        let column = cell(x, width);
        let fits = column + label.len() <= width + 8 && labels.chars().count() <= column;
        if fits {
            labels = format!("{labels:<column$}{label} ");
        }
    }
    let _ = writeln!(text, "{:10}{}", "", labels.trim_end());
}

const HEAD: &str = "\
<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 480\" role=\"img\" \
aria-label=\"Latency by percentile\" font-family=\"system-ui, sans-serif\" font-size=\"13\">
<style>
svg { --ink: #1f2328; --grid: #d1d9e0; --ground: #ffffff;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df;
  --c4: #cf222e; --c5: #0a7d91; --c6: #9a6700; --c7: #bf3989 }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --grid: #3d444d; --ground: #0d1117;
    --c0: #4493f8; --c1: #f0883e; --c2: #3fb950; --c3: #ab7df8;
    --c4: #ff7b72; --c5: #39c5cf; --c6: #d29922; --c7: #f778ba }
}
text { fill: var(--ink) } .grid { stroke: var(--grid) } .ground { fill: var(--ground) }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
</style>
<rect class=\"ground\" width=\"960\" height=\"480\"/>
<text x=\"350\" y=\"468\" text-anchor=\"middle\">percentile</text>
<text x=\"18\" y=\"220\" text-anchor=\"middle\" transform=\"rotate(-90 18 220)\">latency</text>
";

const LEFT: f64 = 90.0;
const TOP: f64 = 24.0;
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 396.0;

fn grid(svg: &mut String, frame: &Frame) {
    for ns in frame.decades() {
        let y = TOP + HEIGHT * (1.0 - frame.height(ns));
        let right = LEFT + WIDTH;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            Span(ns)
        );
    }
    for (share, label) in frame.percentiles() {
        let (x, bottom) = (LEFT + WIDTH * share, TOP + HEIGHT);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 20.0
        );
    }
}

fn curve(svg: &mut String, frame: &Frame, stage: &Stage, i: usize) {
    if stage.histogram.is_empty() {
        return;
    }
    let colour = format!("var(--c{})", i % 8);
    let dash = ["none", "6 3", "2 3"][i / 8 % 3];
    let _ = write!(svg, "<polyline stroke=\"{colour}\" stroke-dasharray=\"{dash}\" points=\"");
    for (x, y) in frame.curve(stage) {
        let _ = write!(svg, "{:.1},{:.1} ", LEFT + WIDTH * x, TOP + HEIGHT * (1.0 - y));
    }
    let y = TOP + 16.0 + 22.0 * f64::from(u32::try_from(i).unwrap_or(0));
    let p99 = Span(stage.histogram.value_at_percentile(99.0));
    let _ = writeln!(
        svg,
        "\"/>\n<line x1=\"648\" y1=\"{0}\" x2=\"668\" y2=\"{0}\" stroke=\"{colour}\" \
         stroke-dasharray=\"{dash}\" stroke-width=\"2\"/>\
         <text x=\"674\" y=\"{1}\">{2} (p99 {p99})</text>",
        y,
        y + 4.0,
        escaped(&stage.name)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::histogram;

    fn summary() -> Summary {
        let mut fast = histogram();
        (1..=100_000).for_each(|i| fast.record(1_000 + i).unwrap());
        let mut slow = histogram();
        slow.record_n(2_000_000, 10).unwrap();
        let stage =
            |name: &str, histogram| Stage { name: name.into(), histogram, series: Vec::new() };
        Summary { stages: vec![stage("fast", fast), stage("<slow>", slow)], intervals: 2 }
    }

    #[test]
    fn the_table_lists_every_stage() {
        let table = summary().table();
        assert_eq!(table.lines().count(), 3);
        let expected = "fast    100000  51.0 us  91.0 us   100 us   101 us   101 us";
        assert_eq!(table.lines().nth(1), Some(expected), "\n{table}");
    }

    #[test]
    fn a_curve_ends_where_its_count_ends() {
        let summary = summary();
        let frame = Frame::around(&summary.stages).unwrap();
        let last = |i: usize| frame.curve(&summary.stages[i]).last().copied().unwrap();
        assert!((last(0).0 - 1.0).abs() < 1e-9 && (last(1).0 - 0.2).abs() < 1e-9);
        let heights: Vec<_> = frame.curve(&summary.stages[0]).iter().map(|p| p.1).collect();
        assert!(heights.is_sorted(), "percentiles only rise");
    }

    #[test]
    fn pictures_show_every_stage_and_no_foreign_markup() {
        let summary = summary();
        let plot = summary.plot(60, 12);
        assert!(plot.contains("o fast") && plot.contains("x <slow>") && plot.contains("99.9 %"));
        assert!(plot.lines().all(|line| line.chars().count() <= 80), "{plot}");
        let svg = summary.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("&lt;slow&gt;") && !svg.contains("<slow>"));
        assert!(Summary::default().plot(60, 12).contains("nothing"));
    }
}
