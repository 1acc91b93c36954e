//! Two logs side by side: what became slower, by stage and percentile.
//!
//! Ratios say something only where both were made on one machine that did the same beside it.

use super::log::{Span, Stage, Summary, columns};

impl Summary {
    /// This log as the second of two: a row per stage and percentile, with how it changed.
    #[must_use]
    pub fn against(&self, before: &Self) -> String {
        let mut rows =
            vec![["stage", "percentile", "before", "now", "change", "count"].map(String::from)];
        for stage in &self.stages {
            match before.stages.iter().find(|other| other.name == stage.name) {
                Some(other) => rows.extend(changes(stage, other)),
                None => rows.push(only(stage, "only now")),
            }
        }
        for other in &before.stages {
            if !self.stages.iter().any(|stage| stage.name == other.name) {
                rows.push(only(other, "only before"));
            }
        }
        columns(&rows)
    }
}

fn only(stage: &Stage, when: &str) -> [String; 6] {
    let none = || "-".to_owned();
    [stage.name.clone(), none(), none(), none(), when.to_owned(), stage.histogram.len().to_string()]
}

fn changes(now: &Stage, before: &Stage) -> Vec<[String; 6]> {
    let counts = format!("{} {}", before.histogram.len(), now.histogram.len());
    let figures = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];
    let row = |(name, percentile): (&str, f64)| {
        let [was, is] = [before, now].map(|stage| stage.histogram.value_at_percentile(percentile));
        let stage = if name == "p50" { now.name.clone() } else { String::new() };
        let counts = if name == "p50" { counts.clone() } else { String::new() };
        [
            stage,
            name.to_owned(),
            Span(was).to_string(),
            Span(is).to_string(),
            change(was, is),
            counts,
        ]
    };
    figures.into_iter().map(row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn change(was: u64, is: u64) -> String {
    match was {
        0 => "-".to_owned(),
        was => format!("{:+.1} %", (is as f64 / was as f64 - 1.0) * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::histogram;

    fn summary(stages: &[(&str, u64)]) -> Summary {
        let stage = |&(name, ns): &(&str, u64)| {
            let mut histogram = histogram();
            histogram.record_n(ns, 10).unwrap();
            Stage { name: name.into(), histogram, series: Vec::new() }
        };
        Summary { stages: stages.iter().map(stage).collect(), intervals: 1 }
    }

    #[test]
    fn each_stage_is_compared_with_its_own_past() {
        let now = summary(&[("a", 1_500), ("new", 7)]);
        let table = now.against(&summary(&[("old", 9), ("a", 1_000)]));
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
        let has = |words: &[&str]| {
            rows.iter().any(|row| {
                let row: Vec<&str> = row.iter().copied().filter(|cell| !cell.is_empty()).collect();
                row == words
            })
        };
        assert!(has(&["a", "p50", "1.00 us", "1.50 us", "+50.0 %", "10 10"]), "{table}");
        assert!(has(&["max", "1.00 us", "1.50 us", "+50.0 %"]), "{table}");
        assert!(has(&["new", "-", "-", "-", "only now", "10"]), "{table}");
        assert!(has(&["old", "-", "-", "-", "only before", "10"]), "{table}");
    }
}
