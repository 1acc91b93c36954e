//! `foreshock latency`: the percentiles of a `.hlog` file, as a table, a plot and an SVG.

use std::fs;
use std::path::Path;

use super::Failure;
use crate::publish::latency::summarise;

/// Size of the plot in the terminal, characters.
const WIDTH: usize = 78;
const HEIGHT: usize = 18;

/// Shows `file`, and draws it into `svg`.
///
/// # Errors
/// When the log cannot be read or the picture not written.
pub fn latency(file: &Path, svg: Option<&Path>) -> Result<(), Failure> {
    let summary = summarise(file).map_err(Failure::running)?;
    if summary.stages.is_empty() {
        let file = file.display();
        return Err(Failure::running(format!("{file}: holds no interval; is it a .hlog file?")));
    }
    println!("{}\n{}", summary.table(), summary.plot(WIDTH, HEIGHT));
    let Some(path) = svg else { return Ok(()) };
    let written = fs::write(path, summary.svg());
    written.map_err(|e| Failure::running(format!("{}: {e}", path.display())))
}
