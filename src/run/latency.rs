//! `foreshock latency`: the percentiles of a `.hlog` file, as a table, a plot and an SVG; over time, and
//! against another.

use std::fs;
use std::path::Path;

use super::Failure;
use crate::publish::latency::{Summary, summarise};

/// Size of the plot in the terminal, characters.
const WIDTH: usize = 78;
const HEIGHT: usize = 18;

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
) -> Result<(), Failure> {
    let summary = read(file)?;
    match before {
        Some(before) => println!("{}", summary.against(&read(before)?)),
        None if series => println!("{}\n{}", summary.table(), summary.over_time(WIDTH)),
        None => println!("{}\n{}", summary.table(), summary.plot(WIDTH, HEIGHT)),
    }
    let Some(path) = svg else { return Ok(()) };
    let written = fs::write(path, summary.svg());
    written.map_err(|e| Failure::running(format!("{}: {e}", path.display())))
}
