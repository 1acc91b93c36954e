//! A log over time: when it was slow, where the percentiles of the whole only say how often.
//!
//! ```text
//! parsed_to_taken   0 s to 40 s, 78 columns of 0.5 s
//!   p50  ▂▂▂▂▃▂▂▂▂▂▂▂▂▃▂▂  1.20 us to 1.91 us
//!   max  ▁▁▂▁█▁▁▁▁▂▁▁▁▁▁▁  3.05 us to 812 us, at 12.5 s
//! ```
//!
//! Each row has a scale of its own, logarithmic from its least to its most. A column in which nothing
//! was measured is blank, and one that holds several intervals shows the worst of them.

use std::fmt::Write as _;

use super::log::{Span, Stage, Summary};

/// One interval of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it began, s; counted as the log counts.
    pub at_s: f64,
    /// Nanoseconds.
    pub p50: u64,
    /// Nanoseconds.
    pub p99: u64,
    /// Nanoseconds.
    pub max: u64,
}

type Figure = (&'static str, fn(&Point) -> u64);

const FIGURES: [Figure; 3] = [("p50", |p| p.p50), ("p99", |p| p.p99), ("max", |p| p.max)];
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Summary {
    /// Every stage over time, `width` characters wide.
    #[must_use]
    pub fn over_time(&self, width: usize) -> String {
        let intervals = self.stages.iter().map(|stage| stage.series.len()).max().unwrap_or(0);
        let columns = width.saturating_sub(38).clamp(10, 200).min(intervals.max(1));
        let points = || self.stages.iter().flat_map(|stage| &stage.series);
        let from = points().map(|p| p.at_s).fold(f64::INFINITY, f64::min);
        let to = points().map(|p| p.at_s).fold(from, f64::max);
        let mut text = String::new();
        for stage in self.stages.iter().filter(|stage| !stage.series.is_empty()) {
            let _ = writeln!(
                text,
                "{}  {:.0} s, {columns} columns of {:.1} s",
                stage.name,
                to - from,
                (to - from) / columns as f64
            );
            for figure in FIGURES {
                text.push_str(&row(stage, figure, (from, to), columns));
            }
        }
        text
    }
}

fn row(stage: &Stage, (name, of): Figure, (from, to): (f64, f64), columns: usize) -> String {
    let mut cells: Vec<Option<u64>> = vec![None; columns];
    for point in &stage.series {
        let column = column(point.at_s - from, to - from, columns);
        if let Some(cell) = cells.get_mut(column) {
            *cell = Some(cell.map_or(of(point), |worst| worst.max(of(point))));
        }
    }
    let values = || stage.series.iter().map(of);
    let (least, most) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    let bars: String =
        cells.iter().map(|cell| cell.map_or(' ', |ns| bar(ns, least, most))).collect();
    let worst = stage.series.iter().find(|point| of(point) == most).map_or(0.0, |p| p.at_s - from);
    format!("  {name}  {bars}  {} to {}, at {worst:.0} s\n", Span(least), Span(most))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a position on a picture"
)]
fn column(s: f64, of: f64, columns: usize) -> usize {
    let share = if of > 0.0 { (s / of).clamp(0.0, 1.0) } else { 0.0 };
    ((share * columns as f64) as usize).min(columns - 1)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 7"
)]
fn bar(ns: u64, least: u64, most: u64) -> char {
    let log = |ns: u64| (ns.max(1) as f64).ln();
    let share = (log(ns) - log(least)) / (log(most) - log(least)).max(f64::MIN_POSITIVE);
    BARS[((share * 8.0) as usize).min(7)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::histogram;

    #[test]
    fn a_row_shows_when_it_was_slow_and_when_nothing_was_measured() {
        let point = |at_s, ns| Point { at_s, p50: ns, p99: ns, max: 10 * ns };
        let series = [(5.0, 1_000), (10.0, 8_000), (25.0, 1_000)].map(|(at, ns)| point(at, ns));
        let stage = |name: &str, series: &[Point]| Stage {
            name: name.into(),
            histogram: histogram(),
            series: series.to_vec(),
        };
        // Another stage was there all the time.
        let busy = [5.0, 10.0, 15.0, 20.0].map(|at| point(at, 1));
        let stages = vec![stage("x", &series), stage("busy", &busy)];
        let text = Summary { stages, intervals: 7 }.over_time(80);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "x  20 s, 4 columns of 5.0 s");
        assert_eq!(rows[1], "  p50  ▁█ ▁  1.00 us to 8.00 us, at 5 s");
        assert_eq!(rows[3], "  max  ▁█ ▁  10.0 us to 80.0 us, at 5 s");
    }

    #[test]
    fn one_interval_is_one_column() {
        let series = vec![Point { at_s: 3.0, p50: 7, p99: 7, max: 7 }];
        let stage = Stage { name: "x".into(), histogram: histogram(), series };
        let text = Summary { stages: vec![stage], intervals: 1 }.over_time(80);
        assert!(text.contains("p50  ▁ "), "{text}");
    }
}
