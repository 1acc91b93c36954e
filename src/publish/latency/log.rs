//! Reads an interval log back: every interval of a stage added up.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogHistogram, IntervalLogIterator, LogEntry,
};

use super::series::Point;
use super::{ARRIVED, STAGES};
use crate::tap::histogram;

/// Largest log that is read.
const LOG_MAX: u64 = 1 << 30;
/// Most stages in one log.
const STAGES_MAX: usize = 64;
/// Percentiles that are reported.
pub const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// One stage over the whole log.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name; control characters of a foreign log are replaced.
    pub name: String,
    /// Nanoseconds.
    pub histogram: Histogram<u64>,
    /// Its intervals, in the order of the log.
    pub series: Vec<Point>,
}

/// A whole log.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// In the order of travel, then in order of appearance.
    pub stages: Vec<Stage>,
    /// Intervals read.
    pub intervals: u64,
}

/// Reads a log.
///
/// # Errors
/// Says what cannot be read, and in which interval.
pub fn summarise(path: &Path) -> Result<Summary, String> {
    let name = path.display();
    let file = File::open(path).map_err(|e| format!("{name}: {e}"))?;
    let mut bytes = Vec::new();
    file.take(LOG_MAX).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    let bytes = without_titles(&bytes);
    let mut summary = Summary::default();
    let mut deserializer = Deserializer::new();
    for entry in IntervalLogIterator::new(&bytes) {
        let number = summary.intervals + 1;
        let entry = entry.map_err(|_| match number {
            1 => format!("{name}: not an interval log (.hlog)"),
            n => format!("{name}: not an interval log (.hlog) any more after {} intervals", n - 1),
        })?;
        if let LogEntry::Interval(interval) = entry {
            let add = summary.add(&interval, &mut deserializer);
            add.map_err(|e| format!("{name}: interval {number}: {e}"))?;
        }
    }
    summary.stages.sort_by_key(|stage| {
        let known = STAGES.iter().position(|name| *name == stage.name);
        let place = known.or((stage.name == ARRIVED).then_some(0)).unwrap_or(STAGES.len());
        (place, stage.name == ARRIVED)
    });
    Ok(summary)
}

/// The row of column titles that Java's tools write is not part of the format.
fn without_titles(bytes: &[u8]) -> Vec<u8> {
    let rows = bytes.split_inclusive(|&b| b == b'\n');
    rows.filter(|row| !row.starts_with(b"\"StartTimestamp\"")).flatten().copied().collect()
}

impl Summary {
    fn add(
        &mut self,
        interval: &IntervalLogHistogram<'_>,
        deserializer: &mut Deserializer,
    ) -> Result<(), String> {
        let bytes = STANDARD.decode(interval.encoded_histogram()).map_err(|e| e.to_string())?;
        let part: Histogram<u64> =
            deserializer.deserialize(&mut bytes.as_slice()).map_err(|e| e.to_string())?;
        let tag = interval.tag().map_or("all", |tag| tag.as_str());
        let stage = self.stage(tag).ok_or("too many stages")?;
        stage.histogram.add(&part).map_err(|e| e.to_string())?;
        stage.series.push(Point {
            at_s: interval.start_timestamp().as_secs_f64(),
            p50: part.value_at_percentile(50.0),
            p99: part.value_at_percentile(99.0),
            max: part.max(),
        });
        self.intervals += 1;
        Ok(())
    }

    fn stage(&mut self, tag: &str) -> Option<&mut Stage> {
        let name: String = tag.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if !self.stages.iter().any(|stage| stage.name == name) {
            if self.stages.len() >= STAGES_MAX {
                return None;
            }
            let mut histogram = histogram();
            histogram.auto(true);
            let series = Vec::new();
            self.stages.push(Stage { name: name.clone(), histogram, series });
        }
        self.stages.iter_mut().find(|stage| stage.name == name)
    }

    /// One row per stage: count, percentiles, maximum.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows =
            vec![["stage", "count", "p50", "p90", "p99", "p99.9", "max"].map(String::from)];
        rows.extend(self.stages.iter().map(Stage::row));
        columns(&rows)
    }
}

/// Rows of cells as lines: the first column to the left, the others to the right.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            match i {
                0 => text.push_str(&format!("{cell:<width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push('\n');
    }
    text
}

impl Stage {
    fn row(&self) -> [String; 7] {
        let h = &self.histogram;
        let [p50, p90, p99, p999] = PERCENTILES.map(|p| Span(h.value_at_percentile(p)).to_string());
        [self.name.clone(), h.len().to_string(), p50, p90, p99, p999, Span(h.max()).to_string()]
    }
}

/// A duration with three digits: `1.23 us`.
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            ns @ 0..1_000 => return write!(f, "{ns} ns"),
            ns @ 1_000..999_500 => (ns as f64 / 1e3, "us"),
            ns @ 999_500..999_500_000 => (ns as f64 / 1e6, "ms"),
            ns => (ns as f64 / 1e9, "s"),
        };
        let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
        write!(f, "{value:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_with_three_digits() {
        let texts =
            [0, 999, 1_234, 12_345, 123_456, 999_600, 1_500_000_000].map(|ns| Span(ns).to_string());
        assert_eq!(texts, ["0 ns", "999 ns", "1.23 us", "12.3 us", "123 us", "1.00 ms", "1.50 s"]);
    }

    #[test]
    fn what_is_no_log_is_refused_with_its_place() {
        let path = std::env::temp_dir().join(format!("fsk-bad-{}.hlog", std::process::id()));
        for text in ["Tag=a,0.1,1.0,2.0,!!!!\n", "Tag=a,0.1,1.0,2.0,AAAA\n", "hello\n"] {
            std::fs::write(&path, text).unwrap();
            let error = summarise(&path).unwrap_err();
            assert!(error.contains("interval"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
