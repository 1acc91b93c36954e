//! The report as text: every cascade, every recording, everything together, and the rules at no more
//! false alarms.

use std::fmt::Write as _;

use super::ablate::Group;
use super::held::Held;
use super::moments::{IDEAS, Times};
use super::score::{Hit, Score};
use super::{Detector, More, Played, Report};

/// Rows of cells, as wide as they need to be; the first column to the left, the others to the right.
#[derive(Default)]
struct Grid(Vec<Vec<String>>);

impl Grid {
    fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    fn write(&self, to: &mut String) {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(i));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.0 {
            let mut line = String::new();
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match i {
                    0 => write!(line, "{cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            to.push_str(line.trim_end());
            to.push('\n');
        }
    }
}

/// The whole report.
#[must_use]
pub fn write(report: &Report<'_>, more: &More) -> String {
    let mut text = String::new();
    if !report.played.is_empty() {
        played(&mut text, report);
    }
    more.ablations.iter().for_each(|group| ablation(&mut text, group));
    if let Some(held) = &more.held {
        held_out(&mut text, held);
    }
    text.push_str(more.calibration.as_ref().map_or("", |calibration| &calibration.text));
    if let Some(invented) = &more.invented {
        text.push_str(&super::invented::text(invented, report.level));
    }
    text
}

/// What was played.
fn played(text: &mut String, report: &Report<'_>) {
    let _ = writeln!(text, "alarm: {} and above", report.level.name());
    cascades(text, report);
    for played in report.played {
        recording(text, report, played);
    }
    let hours: f64 = report.played.iter().map(|played| played.known.quiet_hours()).sum();
    let _ = writeln!(text, "\nall {} recordings, {hours:.1} h quiet", report.played.len());
    let mut grid = head();
    for detector in report.detectors() {
        counts(&mut grid, &detector.name(), report.played, detector);
    }
    grid.write(text);
    matched(text, report);
}

fn ablation(text: &mut String, group: &Group) {
    let _ = writeln!(text, "\n{}", group.title);
    let mut grid = head();
    row(&mut grid, "whole", &group.whole);
    group.answers.iter().for_each(|answer| row(&mut grid, &answer.part, &answer.sum));
    grid.write(text);
    for answer in &group.answers {
        let _ = writeln!(text, "  {}: {}", answer.part, answer.says);
    }
}

fn held_out(text: &mut String, held: &Held) {
    let _ = writeln!(text, "\neach threshold changed alone");
    let mut grid = head();
    held.steps.iter().for_each(|step| row(&mut grid, &step.name, &step.sum));
    grid.write(text);
    for step in &held.steps {
        let _ = writeln!(text, "  {}: {}", step.name, step.says);
    }
    let _ = writeln!(text, "\nhow far each threshold can go alone, times what ships");
    let mut grid = Grid::default();
    grid.row(["threshold", "more false alarms below", "fewer in time above"]);
    let edge = |times: Option<f64>| times.map_or("-".to_owned(), |times| format!("x{times:.2}"));
    for plateau in &held.plateaus {
        grid.row([plateau.idea.to_owned(), edge(plateau.from), edge(plateau.to)]);
    }
    grid.write(text);
    missed(text, held);
    let _ = writeln!(text, "\nthresholds chosen without what they are judged on");
    let mut grid = head();
    held.sums.iter().for_each(|(name, sum)| row(&mut grid, name, sum));
    grid.write(text);
    for (without, times) in &held.chosen {
        let _ = writeln!(text, "  without {without}: {}", chosen(times));
    }
}

fn missed(text: &mut String, held: &Held) {
    let title =
        "missed cascades at the moment nearest to an alarm: what was reached, times what is asked";
    let _ = writeln!(text, "\n{title}");
    let mut grid = Grid::default();
    let fixed = ["recording", "onset UTC", "events", "USD"];
    grid.row(fixed.into_iter().chain(IDEAS));
    for one in &held.missed {
        let (events, usd) = one.prints;
        let fixed =
            [one.recording.clone(), utc(one.onset), events.to_string(), format!("{usd:.0}")];
        let reached = one
            .reached
            .map(|times| if times.is_finite() { format!("{times:.2}") } else { "-".to_owned() });
        grid.row(fixed.into_iter().chain(reached));
    }
    grid.write(text);
}

fn chosen(times: &Times) -> String {
    let each = IDEAS.into_iter().zip(times).filter(|(_, times)| **times != 1.0);
    let each: Vec<String> = each.map(|(idea, times)| format!("{idea} x{times}")).collect();
    if each.is_empty() { "as it ships".to_owned() } else { each.join(", ") }
}

fn cascades(text: &mut String, report: &Report<'_>) {
    if report.played.iter().all(|played| played.known.cascades.is_empty()) {
        return;
    }
    let _ = writeln!(
        text,
        "\ncascades: seconds by which {} leads, + is earlier; top is the highest\n\
         probability of MARKET before the peak; then the lead to the peak of the engine's other \
         detector, of its risk and of the rules",
        report.own().name()
    );
    let mut grid = Grid::default();
    let rules = ["risk", "(a)", "(b)", "(c)", "(d)"];
    let fixed = [
        "recording",
        "kind",
        "onset UTC",
        "peak",
        "alarm",
        "onset",
        "break",
        "peak",
        "top",
        "other",
    ];
    grid.row(fixed.into_iter().chain(rules));
    for played in report.played {
        let scores: Vec<Score> = report.detectors().into_iter().map(|d| played.score(d)).collect();
        let own = played.score(report.own());
        let (heights, ..) = played.heights();
        for (i, cascade) in played.known.cascades.iter().enumerate() {
            let hit = own.hits.get(i).copied().flatten();
            let other = scores.iter().map(|score| score.hits.get(i).copied().flatten());
            let fixed = [
                played.name.clone(),
                cascade.label.kind.clone(),
                utc(cascade.onset),
                clock(cascade.peak),
                hit.map_or("-".to_owned(), |hit| clock(hit.at)),
                lead(hit.map(|hit| hit.onset)),
                lead(hit.and_then(|hit| hit.broke)),
                lead(hit.map(|hit| hit.peak)),
                heights.get(i).map_or("-".to_owned(), |height| format!("{height:.2}")),
            ];
            // Of the engine's two detectors, the one that is not the report's own.
            let skip = usize::from(report.rows == super::Rows::Any);
            let other: Vec<_> = other.map(|hit| lead(hit.map(|hit| hit.peak))).collect();
            let beside =
                other.iter().enumerate().filter(|(j, _)| *j != skip).map(|(_, l)| l.clone());
            grid.row(fixed.into_iter().chain(beside));
        }
    }
    grid.write(text);
}

fn recording(text: &mut String, report: &Report<'_>, played: &Played) {
    let known = &played.known;
    let (_, quiet, negatives) = played.heights();
    let _ = writeln!(
        text,
        "\n{}: {} events ({} rows refused), {} sessions, {:.1} h quiet (top {quiet:.2}), \
         {} hard negatives (top {negatives:.2})",
        played.name,
        played.trace.prints.len(),
        played.trace.refused,
        played.sessions.len(),
        known.quiet_hours(),
        known.negatives.len()
    );
    let mut grid = head();
    for detector in report.detectors() {
        counts(&mut grid, &detector.name(), std::slice::from_ref(played), detector);
    }
    grid.write(text);
}

fn matched(text: &mut String, report: &Report<'_>) {
    let own = report.own();
    let _ = writeln!(
        text,
        "\neach rule with its thresholds times the least factor that gives no more false alarms \
         (quiet and hard negatives: {}) than {}",
        report.false_alarms(own),
        own.name()
    );
    let mut grid = head();
    counts(&mut grid, &own.name(), report.played, own);
    for (detector, rule) in report.matched().into_iter().zip(super::RULES) {
        match detector {
            Some(detector) => counts(&mut grid, &detector.name(), report.played, detector),
            None => grid.row([rule, "always more"]),
        }
    }
    grid.write(text);
}

fn head() -> Grid {
    let mut grid = Grid::default();
    grid.row([
        "detector",
        "fast hit",
        "in time",
        "slow hit",
        "in time",
        "to onset",
        "to break",
        "to peak",
        "quiet",
        "/24 h",
        "negatives",
        "elsewhere",
        "alarms",
        "edges",
    ]);
    grid
}

/// One detector over some recordings.
fn counts(grid: &mut Grid, name: &str, played: &[Played], detector: Detector) {
    row(grid, name, &Sum::of(played, detector));
}

fn row(grid: &mut Grid, name: &str, sum: &Sum) {
    let of = |(hit, n): (usize, usize)| if n == 0 { "-".to_owned() } else { format!("{hit}/{n}") };
    grid.row([
        name.to_owned(),
        of(sum.fast),
        of((sum.fast_in_time, sum.fast.1)),
        of(sum.slow),
        of((sum.slow_in_time, sum.slow.1)),
        lead(median(sum.leads(|hit| Some(hit.onset)))),
        lead(median(sum.leads(|hit| hit.broke))),
        lead(median(sum.leads(|hit| Some(hit.peak)))),
        sum.quiet.to_string(),
        sum.per_day().map_or("-".to_owned(), |n| format!("{n:.2}")),
        of(sum.negatives),
        sum.elsewhere.to_string(),
        sum.alarms.to_string(),
        sum.edges.to_string(),
    ]);
}

/// What one detector did over some recordings.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Fast cascades hit, of how many.
    pub fast: (usize, usize),
    /// Of those, before the peak.
    pub fast_in_time: usize,
    /// Slow cascades hit, of how many.
    pub slow: (usize, usize),
    /// Of those, before the peak.
    pub slow_in_time: usize,
    /// The hits.
    pub hits: Vec<Hit>,
    /// Alarms in quiet time.
    pub quiet: usize,
    /// Hours of quiet.
    pub quiet_hours: f64,
    /// Hard negatives alarmed, of how many.
    pub negatives: (usize, usize),
    /// Alarms elsewhere.
    pub elsewhere: usize,
    /// All alarms.
    pub alarms: usize,
    /// All rising edges.
    pub edges: u64,
}

impl Sum {
    /// Over `played`.
    #[must_use]
    pub fn of(played: &[Played], detector: Detector) -> Self {
        let mut sum = Self::default();
        played.iter().for_each(|one| sum.add(one, &one.score(detector)));
        sum
    }

    /// Of recordings with a score each.
    #[must_use]
    pub fn scored<'a>(all: impl IntoIterator<Item = (&'a Played, &'a Score)>) -> Self {
        let mut sum = Self::default();
        all.into_iter().for_each(|(one, score)| sum.add(one, score));
        sum
    }

    fn add(&mut self, played: &Played, score: &Score) {
        for (cascade, hit) in played.known.cascades.iter().zip(&score.hits) {
            let in_time = usize::from(hit.is_some_and(|hit| hit.peak > 0.0));
            let (hits, n, early) = match cascade.label.kind.as_str() {
                "slow" => (&mut self.slow.0, &mut self.slow.1, &mut self.slow_in_time),
                _ => (&mut self.fast.0, &mut self.fast.1, &mut self.fast_in_time),
            };
            *hits += usize::from(hit.is_some());
            *n += 1;
            *early += in_time;
            self.hits.extend(hit);
        }
        self.quiet += score.quiet;
        self.quiet_hours += played.known.quiet_hours();
        self.negatives.0 += score.negatives;
        self.negatives.1 += played.known.negatives.len();
        self.elsewhere += score.elsewhere;
        self.alarms += score.alarms;
        self.edges += score.edges;
    }

    /// Leads of all hits.
    pub fn leads(&self, of: impl Fn(&Hit) -> Option<f64>) -> Vec<f64> {
        self.hits.iter().filter_map(of).collect()
    }

    /// Alarms per 24 h of quiet.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of alarms")]
    pub fn per_day(&self) -> Option<f64> {
        (self.quiet_hours > 0.0).then(|| self.quiet as f64 * 24.0 / self.quiet_hours)
    }
}

/// The middle one; the lower of the two middle ones.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

fn lead(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{seconds:+.1}"))
}

/// `10-24 12:30:05.141`.
#[must_use]
pub fn utc(ms: i64) -> String {
    let (month, day) = month_and_day(ms.div_euclid(86_400_000));
    format!("{month:02}-{day:02} {}", clock(ms))
}

/// `12:30:05.141`.
#[must_use]
pub fn clock(ms: i64) -> String {
    let of_day = ms.rem_euclid(86_400_000);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
    format!("{hour:02}:{minute:02}:{second:02}.{milli:03}")
}

/// Of days since 1970, by the calendar's cycle of 400 years that begins in March.
fn month_and_day(days: i64) -> (i64, i64) {
    let in_era = (days + 719_468).rem_euclid(146_097);
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    (if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_utc() {
        assert_eq!(utc(1_761_309_005_141), "10-24 12:30:05.141");
        assert_eq!(utc(1_709_164_800_000), "02-29 00:00:00.000");
        assert_eq!(utc(0), "01-01 00:00:00.000");
    }

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.0));
    }

    #[test]
    fn columns_line_up() {
        let mut grid = Grid::default();
        grid.row(["a", "b"]);
        grid.row(["long", "1234"]);
        let mut text = String::new();
        grid.write(&mut text);
        assert_eq!(text, "a        b\nlong  1234\n");
    }
}
