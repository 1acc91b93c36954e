//! The report as one JSON object: the same input gives the same bytes.

use serde_json::{Map, Value, json};

use super::ablate::{Answer, Group};
use super::held::Held;
use super::moments::IDEAS;
use super::score::Hit;
use super::table::{Sum, median};
use super::{Detector, More, Played, Report};

/// The whole report, indented.
#[must_use]
pub fn write(report: &Report<'_>, more: &More) -> String {
    let mut value = value(report);
    if let Some(object) = value.as_object_mut() {
        if !more.ablations.is_empty() {
            object.insert("ablations".to_owned(), more.ablations.iter().map(group).collect());
        }
        if let Some(held) = &more.held {
            object.insert("held_out".to_owned(), held_out(held));
        }
        if let Some(calibration) = &more.calibration {
            object.insert("calibration".to_owned(), calibration.table.clone());
        }
        if let Some(invented) = &more.invented {
            object.insert("invented".to_owned(), super::invented::json(invented, report.level));
        }
    }
    format!("{value:#}")
}

fn group(group: &Group) -> Value {
    let answer = |answer: &Answer| said(counts(&answer.part, &answer.sum), &answer.says);
    json!({
        "asked": group.title,
        "whole": counts("whole", &group.whole),
        "parts": group.answers.iter().map(answer).collect::<Vec<_>>(),
    })
}

fn held_out(held: &Held) -> Value {
    let steps = held.steps.iter().map(|step| said(counts(&step.name, &step.sum), &step.says));
    let chosen = held.chosen.iter().map(|(without, times)| {
        let times =
            IDEAS.into_iter().zip(times).map(|(idea, times)| (idea.to_owned(), json!(times)));
        json!({ "without": without, "times": times.collect::<Map<_, _>>() })
    });
    let edges = held.plateaus.iter().map(|plateau| {
        json!({
            "threshold": plateau.idea,
            "more_false_alarms_below": plateau.from.map(rounded),
            "fewer_in_time_above": plateau.to.map(rounded),
        })
    });
    let missed = held.missed.iter().map(|one| {
        let reached = IDEAS.into_iter().zip(one.reached.map(|times| json!(times)));
        json!({
            "recording": one.recording, "onset_ms": one.onset, "events": one.prints.0,
            "usd": one.prints.1,
            "reached": reached.map(|(idea, times)| (idea.to_owned(), times)).collect::<Map<_, _>>(),
        })
    });
    json!({
        "missed": missed.collect::<Vec<_>>(),
        "plateaus": edges.collect::<Vec<_>>(),
        "sensitivity": steps.collect::<Vec<_>>(),
        "sums": held.sums.iter().map(|(name, sum)| counts(name, sum)).collect::<Vec<_>>(),
        "chosen": chosen.collect::<Vec<_>>(),
    })
}

fn said(mut counts: Value, says: &str) -> Value {
    if let Some(object) = counts.as_object_mut() {
        object.insert("says".to_owned(), says.into());
    }
    counts
}

fn value(report: &Report<'_>) -> Value {
    let played = report.played;
    let detectors = report.detectors();
    let sums = |played: &[Played]| -> Vec<Value> {
        detectors.iter().map(|&detector| sum(played, detector)).collect()
    };
    let recordings = played.iter().map(|one| {
        let (_, quiet, negatives) = one.heights();
        json!({
            "top_quiet": rounded(quiet),
            "top_negatives": rounded(negatives),
            "name": one.name,
            "events": one.trace.prints.len(),
            "refused": one.trace.refused,
            "sessions": one.sessions.len(),
            "quiet_hours": rounded(one.known.quiet_hours()),
            "cascades": cascades(one, &detectors),
            "detectors": sums(std::slice::from_ref(one)),
        })
    });
    let matched = report.matched().into_iter().flatten();
    json!({
        "level": report.level.name(),
        "recordings": recordings.collect::<Vec<_>>(),
        "all": sums(played),
        "at_no_more_false_alarms": matched.map(|detector| sum(played, detector)).collect::<Vec<_>>(),
    })
}

fn sum(played: &[Played], detector: Detector) -> Value {
    counts(&detector.name(), &Sum::of(played, detector))
}

fn counts(name: &str, sum: &Sum) -> Value {
    let middle = |of: fn(&Hit) -> Option<f64>| median(sum.leads(of)).map(rounded);
    json!({
        "detector": name,
        "fast": sum.fast.1,
        "fast_hit": sum.fast.0,
        "fast_in_time": sum.fast_in_time,
        "slow": sum.slow.1,
        "slow_hit": sum.slow.0,
        "slow_in_time": sum.slow_in_time,
        "median_lead_s": {
            "onset": middle(|hit| Some(hit.onset)),
            "break": middle(|hit| hit.broke),
            "peak": middle(|hit| Some(hit.peak)),
        },
        "quiet_alarms": sum.quiet,
        "quiet_alarms_per_24h": sum.per_day().map(rounded),
        "negatives": sum.negatives.1,
        "negatives_alarmed": sum.negatives.0,
        "elsewhere": sum.elsewhere,
        "alarms": sum.alarms,
        "edges": sum.edges,
    })
}

fn cascades(played: &Played, detectors: &[Detector]) -> Vec<Value> {
    let scores: Vec<_> = detectors.iter().map(|&d| (d.name(), played.score(d))).collect();
    let (heights, ..) = played.heights();
    let cascade = |(i, cascade): (usize, &super::score::Cascade)| {
        let alarms = scores.iter().map(|(name, score)| {
            let hit = score.hits.get(i).copied().flatten();
            let value = hit.map(|hit| {
                json!({
                    "at_ms": hit.at,
                    "lead_s": { "onset": hit.onset, "break": hit.broke, "peak": hit.peak },
                })
            });
            json!({ "detector": name, "alarm": value })
        });
        json!({
            "kind": cascade.label.kind,
            "start_ms": cascade.label.start,
            "onset_ms": cascade.onset,
            "break_ms": cascade.broke,
            "peak_ms": cascade.peak,
            "top_before_peak": heights.get(i).map(|&height| rounded(height)),
            "end_ms": cascade.label.end,
            "alarms": alarms.collect::<Vec<_>>(),
        })
    };
    played.known.cascades.iter().enumerate().map(cascade).collect()
}

/// To the thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
