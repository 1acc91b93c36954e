//! `foreshock latency`: the percentiles of a `.hlog` file, as a table, a plot and an SVG; over time, and
//! against another.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::Failure;
use super::format::Format;
use crate::publish::latency::{PERCENTILES, Summary, summarise};

/// Size of the plot in the terminal, characters.
const WIDTH: usize = 78;
const HEIGHT: usize = 18;

/// What is told of a log, for programs.
#[derive(Serialize)]
struct Document {
    stages: Vec<Stage>,
    /// The log compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Vec<Stage>>,
}

/// A stage; all but the count in nanoseconds.
#[derive(Serialize)]
struct Stage {
    name: String,
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<Point>,
}

/// An interval of a stage, from `at_s` on.
#[derive(Serialize)]
struct Point {
    at_s: f64,
    p50: u64,
    p99: u64,
    max: u64,
}

/// The stages of a log; over time where `series` is wanted.
fn stages(summary: &Summary, series: bool) -> Vec<Stage> {
    let points = |stage: &crate::publish::latency::Stage| {
        let points = stage.series.iter().filter(|_| series);
        points.map(|p| Point { at_s: p.at_s, p50: p.p50, p99: p.p99, max: p.max }).collect()
    };
    let of = |stage: &crate::publish::latency::Stage| {
        let h = &stage.histogram;
        let [p50, p90, p99, p99_9] = PERCENTILES.map(|p| h.value_at_percentile(p));
        let (name, count, max) = (stage.name.clone(), h.len(), h.max());
        Stage { name, count, p50, p90, p99, p99_9, max, series: points(stage) }
    };
    summary.stages.iter().map(of).collect()
}

fn read(file: &Path) -> Result<Summary, Failure> {
    let summary = summarise(file).map_err(Failure::running)?;
    if summary.stages.is_empty() {
        let file = file.display();
        return Err(Failure::running(format!("{file}: holds no interval; is it a .hlog file?")));
    }
    Ok(summary)
}

/// Shows `file`: against `before` where that is given, over time where `series` is wanted, else its
/// percentiles. Draws them into `svg` as well.
///
/// # Errors
/// When a log cannot be read or the picture not written.
pub fn latency(
    file: &Path,
    before: Option<&Path>,
    series: bool,
    svg: Option<&Path>,
    format: Format,
) -> Result<(), Failure> {
    let summary = read(file)?;
    let before = before.map(read).transpose()?;
    let against = before.as_ref().map(|before| stages(before, false));
    let document = Document { stages: stages(&summary, series), against };
    format.print(&document, |_, out| match &before {
        Some(before) => writeln!(out, "{}", summary.against(before)),
        None if series => writeln!(out, "{}\n{}", summary.table(), summary.over_time(WIDTH)),
        None => writeln!(out, "{}\n{}", summary.table(), summary.plot(WIDTH, HEIGHT)),
    })?;
    let Some(path) = svg else { return Ok(()) };
    let written = fs::write(path, summary.svg());
    written.map_err(|e| Failure::running(format!("{}: {e}", path.display())))
}
