//! What each idea adds: the same recordings without it.
//!
//! An alarm rests on conditions, risk on scores, so each is asked about where it counts:
//!
//! | table | a row is |
//! |---|---|
//! | the alarm without an idea | its condition asks nothing, or its way to an alarm is closed; prices, multipliers and hold are played without |
//! | risk of HIGH without a factor | the factor has no weight, its fellows share it |
//! | a factor that may alarm as well | from its lowest rung that gives no more false alarms than the alarm has |
//! | a factor that is asked for as well | no alarm where it stands below its first rung |
//!
//! The last two ask what a factor that is not a condition would add if it were one. Conditions and
//! factors are judged by the [`moments`](super::moments) that were kept; only what changes the
//! moments themselves is played again.

use super::alarm::Alarms;
use super::moments::{AS_IT_IS, IDEAS, Moment, Times, alarms};
use super::score::{Hit, Score};
use super::table::Sum;
use super::{Input, Played, Report, Wish};
use crate::engine::Settings;
use crate::engine::factor::weighted;
use crate::signal::{FACTOR_COUNT, FACTOR_NAMES};

/// Scores at the rungs of a factor.
const RUNGS: [f64; 4] = [25.0, 50.0, 75.0, 100.0];

/// Questions of one kind, and the detector they are about.
#[derive(Clone, Debug)]
pub struct Group {
    /// What is asked.
    pub title: String,
    /// The detector as it is.
    pub whole: Sum,
    /// Without each idea, or with it.
    pub answers: Vec<Answer>,
}

/// The detector changed in one idea.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The idea.
    pub part: String,
    /// How it did over all recordings.
    pub sum: Sum,
    /// What the change does, in words.
    pub says: String,
}

/// A way to have no condition, or none of two ways to an alarm.
const WITHOUT: [(&str, &[(usize, f64)]); 8] = [
    ("significance", &[(0, 0.0)]),
    ("dispersion", &[(1, 0.0)]),
    ("breadth", &[(2, 0.0)]),
    ("money", &[(3, 0.0)]),
    ("seconds", &[(4, 0.0)]),
    ("a flat price", &[(6, 0.0)]),
    ("the minute", &[(5, f64::INFINITY)]),
    ("2 s and 10 s", &[(0, f64::INFINITY)]),
];

/// Asks everything.
///
/// # Errors
/// When prices cannot be read again.
pub(super) fn all(
    input: &Input,
    settings: &Settings,
    report: &Report<'_>,
) -> Result<Vec<Group>, String> {
    let hold = hold(settings);
    let kept = Detector { played: report.played, hold };
    let mut groups = vec![kept.conditions()];
    if let Some(first) = groups.first_mut() {
        first.answers.extend(played_without(input, settings, report)?);
    }
    groups.push(kept.factors(settings));
    groups.push(kept.joined());
    groups.push(kept.asked());
    Ok(groups)
}

/// How long an alarm stands after it last held, ms.
pub fn hold(settings: &Settings) -> i64 {
    i64::try_from(settings.levels.hold_ms).unwrap_or(i64::MAX)
}

/// The alarms of kept moments.
struct Detector<'a> {
    played: &'a [Played],
    hold: i64,
}

impl Detector<'_> {
    fn scores(&self, is_on: impl Fn(&Moment) -> bool) -> Vec<Score> {
        let alarms = |one: &Played| -> Alarms { alarms(&one.trace.moments, self.hold, &is_on) };
        self.played.iter().map(|one| one.known.score(&alarms(one))).collect()
    }

    fn sum(&self, scores: &[Score]) -> Sum {
        Sum::scored(self.played.iter().zip(scores))
    }

    fn group(
        &self,
        title: &str,
        whole: &[Score],
        parts: impl IntoIterator<Item = (String, Vec<Score>)>,
    ) -> Group {
        let answer = |(part, scores): (String, Vec<Score>)| Answer {
            says: difference(self.played, whole, &scores),
            sum: self.sum(&scores),
            part,
        };
        let answers = parts.into_iter().map(answer).collect();
        Group { title: title.to_owned(), whole: self.sum(whole), answers }
    }

    fn conditions(&self) -> Group {
        let whole = self.scores(|moment| moment.is_alarm(&AS_IT_IS));
        let parts = WITHOUT.map(|(part, changes)| {
            let mut times: Times = AS_IT_IS;
            changes.iter().for_each(|&(i, value)| times[i] = value);
            (part.to_owned(), self.scores(|moment| moment.is_alarm(&times)))
        });
        self.group("the alarm without each idea", &whole, parts)
    }

    fn factors(&self, settings: &Settings) -> Group {
        let weights = settings.risk.factors().map(|factor| factor.weight);
        let [.., high, _] = settings.risk.levels;
        let scores = |weights: [f64; FACTOR_COUNT]| {
            self.scores(|one| one.is_hinted && weighted(&one.factors, &weights).0 >= high)
        };
        let parts = FACTOR_NAMES.into_iter().enumerate().map(|(i, name)| {
            let mut without = weights;
            without[i] = 0.0;
            (name.to_owned(), scores(without))
        });
        self.group("risk of HIGH without each factor", &scores(weights), parts)
    }

    fn joined(&self) -> Group {
        let whole = self.scores(|moment| moment.is_alarm(&AS_IT_IS));
        let most = false_alarms(&whole);
        let parts = FACTOR_NAMES.into_iter().enumerate().map(|(i, name)| {
            let from = |rung: f64| {
                let stands = move |one: &Moment| one.factors[i].is_some_and(|score| score >= rung);
                self.scores(|moment| moment.is_alarm(&AS_IT_IS) || stands(moment))
            };
            let mut each = RUNGS.into_iter().map(|rung| (rung, from(rung)));
            match each.find(|(_, scores)| false_alarms(scores) <= most) {
                Some((rung, scores)) => (format!("{name} from {rung}"), scores),
                None => (format!("{name}: always more false alarms"), whole.clone()),
            }
        });
        let parts: Vec<_> = parts.collect();
        self.group("the alarm, and each factor from the rung that adds no false one", &whole, parts)
    }

    fn asked(&self) -> Group {
        let whole = self.scores(|moment| moment.is_alarm(&AS_IT_IS));
        let parts = FACTOR_NAMES.into_iter().enumerate().map(|(i, name)| {
            let stands = move |one: &Moment| one.factors[i].is_some_and(|score| score >= RUNGS[0]);
            (name.to_owned(), self.scores(|one| one.is_alarm(&AS_IT_IS) && stands(one)))
        });
        let parts: Vec<_> = parts.collect();
        self.group("the alarm, only where each factor is on its first rung as well", &whole, parts)
    }
}

/// What changes the moments themselves.
fn played_without(
    input: &Input,
    settings: &Settings,
    report: &Report<'_>,
) -> Result<Vec<Answer>, String> {
    let own = report.own();
    let whole: Vec<Score> = report.played.iter().map(|one| one.score(own)).collect();
    let change = |change: fn(&mut Settings)| {
        let mut settings = *settings;
        change(&mut settings);
        settings
    };
    let parts = [
        ("prices", *settings, true),
        ("regime multipliers", change(flat_regime), false),
        ("completeness", change(full_sources), false),
        ("the hold of a level", change(|all| all.levels.hold_ms = 1), false),
    ];
    let mut answers = Vec::new();
    for (part, settings, is_blind) in parts {
        let played = input.play(&settings, &Wish { is_blind, ..Wish::default() })?;
        let scores: Vec<Score> = played.iter().map(|one| one.score(own)).collect();
        answers.push(Answer {
            part: part.to_owned(),
            says: difference(report.played, &whole, &scores),
            sum: Sum::scored(report.played.iter().zip(&scores)),
        });
    }
    Ok(answers)
}

fn flat_regime(settings: &mut Settings) {
    (settings.regime.velocity_scales, settings.regime.volume_scales) = ([1.0; 6], [1.0; 6]);
}

fn full_sources(settings: &mut Settings) {
    (settings.completeness.sampled, settings.completeness.lossy) = (1.0, 1.0);
}

/// In quiet time and on hard negatives.
pub fn false_alarms(scores: &[Score]) -> usize {
    scores.iter().map(|score| score.quiet + score.negatives).sum()
}

/// How `other` differs from `whole`, in words; by recording where anything does.
pub fn difference(played: &[Played], whole: &[Score], other: &[Score]) -> String {
    let mut words = Vec::new();
    for ((one, whole), other) in played.iter().zip(whole).zip(other) {
        let found = changes(one, whole, other);
        if !found.is_empty() {
            words.push(format!("{}: {}", one.name, found.join(", ")));
        }
    }
    if words.is_empty() { "no hit, lead or alarm changes".to_owned() } else { words.join("; ") }
}

fn changes(played: &Played, whole: &Score, other: &Score) -> Vec<String> {
    let in_time = |score: &Score| score.hits.iter().flatten().filter(|hit| hit.peak > 0.0).count();
    let hits = |score: &Score| score.hits.iter().flatten().count();
    let counts = [
        ("hits", hits(whole), hits(other)),
        ("in time", in_time(whole), in_time(other)),
        ("quiet alarms", whole.quiet, other.quiet),
        ("hard negatives alarmed", whole.negatives, other.negatives),
        ("alarms elsewhere", whole.elsewhere, other.elsewhere),
    ];
    let differs = counts.into_iter().filter(|(_, before, after)| before != after);
    let mut words: Vec<String> =
        differs.map(|(what, before, after)| format!("{what} {before} to {after}")).collect();
    let both = whole.hits.iter().zip(&other.hits);
    for (i, (before, after)) in both.enumerate() {
        let (Some(Hit { at: before, .. }), Some(Hit { at: after, .. })) = (before, after) else {
            continue;
        };
        if before != after {
            let seconds = super::score::seconds(before - after);
            let kind = played.known.cascades.get(i).map_or("", |one| one.label.kind.as_str());
            words.push(format!("{kind} {} {seconds:+.1} s", i + 1));
        }
    }
    words
}

/// Times one idea, by its position.
#[must_use]
pub fn times(idea: usize, value: f64) -> Times {
    let mut times = AS_IT_IS;
    times[idea.min(IDEAS.len() - 1)] = value;
    times
}
