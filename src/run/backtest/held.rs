//! How much the thresholds were made for the recordings they are judged by.
//!
//! *Sensitivity*: each threshold times a half, 0.7, 1.4, 2, everything else as it is. *Held out*: the
//! thresholds are chosen anew, by a rule and not by eye, on all recordings but one, and judged on that
//! one, in turn; and on all cascades but one. *Plateau*: how far each threshold alone can go down until
//! there is one more false alarm, and up until one hit fewer is in time. *Missed*: what a cascade that
//! raised no alarm lacked, at the moment that came nearest to one.
//!
//! ```text
//! grid    every combination of 0.5, 0.7, 1, 1.4, 2 times the thresholds of GRID
//! rule    fewest false alarms (hard negatives and quiet time); of those most in time; most hits;
//!         fewest alarms elsewhere; of what is left the one nearest to its middle (mean of logarithms)
//! ```
//! The grid is centred on what ships, so what is held out is the choice within a factor of four, not
//! the invention of the conditions.

use super::Played;
use super::ablate::{difference, times};
use super::moments::{AS_IT_IS, IDEAS, Moment, Times, alarms};
use super::score::Score;
use super::table::Sum;

/// What thresholds are multiplied by.
const FACTORS: [f64; 5] = [0.5, 0.7, 1.0, 1.4, 2.0];
/// Steps in which the edges of a plateau are looked for, and how many.
const EDGE: f64 = 1.05;
const EDGE_STEPS: i32 = 28;
/// Ideas whose thresholds are chosen: significance, dispersion, breadth, money, seconds, minute.
const GRID: usize = 6;

/// One threshold changed.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its idea, and what it was multiplied by.
    pub name: String,
    /// How the engine does then.
    pub sum: Sum,
    /// What changes, in words.
    pub says: String,
}

/// How far one threshold can go alone, as a multiple of what ships; `None` where nothing stops it
/// within a factor of four.
#[derive(Clone, Debug)]
pub struct Plateau {
    /// Its idea.
    pub idea: &'static str,
    /// Below this there are more false alarms.
    pub from: Option<f64>,
    /// Above this fewer cascades are alarmed in time, or at all.
    pub to: Option<f64>,
}

/// A cascade that raised no alarm.
#[derive(Clone, Debug)]
pub struct Missed {
    /// Its recording.
    pub recording: String,
    /// Its onset, ms.
    pub onset: i64,
    /// Liquidations of its label, and what they were worth, USD.
    pub prints: (usize, f64),
    /// What was reached of each of [`IDEAS`], times what an alarm asks for.
    pub reached: Times,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Held {
    /// Each threshold changed alone.
    pub steps: Vec<Step>,
    /// How far each threshold can go.
    pub plateaus: Vec<Plateau>,
    /// Cascades that raised no alarm.
    pub missed: Vec<Missed>,
    /// As it ships; each recording judged by thresholds chosen on the others; and each cascade.
    pub sums: Vec<(String, Sum)>,
    /// What was chosen without each recording that has a cascade.
    pub chosen: Vec<(String, Times)>,
}

/// Changes, and holds out.
#[must_use]
pub fn hold_out(played: &[Played], hold: i64) -> Held {
    let judge = Judge::new(played, hold);
    let whole = judge.scores(&AS_IT_IS);
    let mut steps = Vec::new();
    for (i, idea) in IDEAS.iter().enumerate() {
        for factor in FACTORS.into_iter().filter(|&factor| factor != 1.0) {
            let scores = judge.scores(&times(i, factor));
            steps.push(Step {
                name: format!("{idea} x{factor}"),
                sum: Sum::scored(played.iter().zip(&scores)),
                says: difference(played, &whole, &scores),
            });
        }
    }
    let missed = missed(played, &whole);
    let all = judge.grid();
    let (by_recording, chosen) = judge.by_recording(&all);
    let sums = [
        ("as it ships", whole),
        ("each recording by the others", by_recording),
        ("each cascade by the others", judge.by_cascade(&all)),
    ];
    let sums =
        sums.map(|(name, scores)| (name.to_owned(), Sum::scored(played.iter().zip(&scores))));
    let plateaus = (0..IDEAS.len()).map(|idea| judge.plateau(idea)).collect();
    Held { steps, plateaus, missed, sums: sums.into(), chosen }
}

fn missed(played: &[Played], scores: &[Score]) -> Vec<Missed> {
    let mut all = Vec::new();
    for (one, score) in played.iter().zip(scores) {
        let cascades = one.known.cascades.iter().zip(&score.hits);
        for (cascade, _) in cascades.filter(|(_, hit)| hit.is_none()) {
            let is_within = |at: i64| cascade.label.start <= at && at <= cascade.label.end;
            let inside = one.trace.moments.iter().filter(|moment| is_within(moment.at));
            let nearest = inside.max_by(|a, b| a.nearness().total_cmp(&b.nearness()));
            let prints = one.trace.prints.iter().filter(|print| is_within(print.at));
            all.push(Missed {
                recording: one.name.clone(),
                onset: cascade.onset,
                prints: (prints.clone().count(), prints.map(|print| print.usd).sum()),
                reached: nearest.map_or([0.0; IDEAS.len()], |moment| moment.reached),
            });
        }
    }
    all
}

/// One choice of thresholds, and how it does on each recording.
struct Choice {
    times: Times,
    scores: Vec<Score>,
}

/// What a rule looks at; the lowest is best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    wrong: usize,
    late: std::cmp::Reverse<usize>,
    missed: std::cmp::Reverse<usize>,
    elsewhere: usize,
}

impl Worth {
    fn add(&mut self, score: &Score, skip: Option<usize>) {
        self.wrong += score.quiet + score.negatives;
        self.elsewhere += score.elsewhere;
        let kept = score.hits.iter().enumerate().filter(|(i, _)| Some(*i) != skip);
        for hit in kept.filter_map(|(_, hit)| hit.as_ref()) {
            self.late.0 += usize::from(hit.peak > 0.0);
            self.missed.0 += 1;
        }
    }
}

struct Judge<'a> {
    played: &'a [Played],
    /// Moments that are an alarm under the loosest thresholds.
    moments: Vec<Vec<Moment>>,
    hold: i64,
}

impl<'a> Judge<'a> {
    fn new(played: &'a [Played], hold: i64) -> Self {
        let loosest = [FACTORS[0]; IDEAS.len()];
        let kept = |one: &Played| {
            one.trace.moments.iter().filter(|moment| moment.is_alarm(&loosest)).copied().collect()
        };
        Self { played, moments: played.iter().map(kept).collect(), hold }
    }

    fn scores_of(played: &[Played], times: &Times, hold: i64) -> Vec<Score> {
        let of = |one: &Played| {
            one.known.score(&alarms(&one.trace.moments, hold, |moment| moment.is_alarm(times)))
        };
        played.iter().map(of).collect()
    }

    fn scores(&self, times: &Times) -> Vec<Score> {
        let score = |(one, moments): (&Played, &Vec<Moment>)| {
            one.known.score(&alarms(moments, self.hold, |moment| moment.is_alarm(times)))
        };
        self.played.iter().zip(&self.moments).map(score).collect()
    }

    fn plateau(&self, idea: usize) -> Plateau {
        let all = |times: f64| {
            let scores =
                Judge::scores_of(self.played, &super::ablate::times(idea, times), self.hold);
            scores.iter().fold(Worth::default(), |mut worth, score| {
                worth.add(score, None);
                worth
            })
        };
        let ships = all(1.0);
        let steps = || (1..=EDGE_STEPS).map(|step| EDGE.powi(step));
        let more = |times: &f64| all(1.0 / times).wrong > ships.wrong;
        let fewer = |times: &f64| {
            let worth = all(*times);
            (worth.late, worth.missed) > (ships.late, ships.missed)
        };
        Plateau {
            idea: IDEAS.get(idea).copied().unwrap_or_default(),
            from: steps().find(more).map(|times| EDGE / times),
            to: steps().find(fewer).map(|times| times / EDGE),
        }
    }

    fn grid(&self) -> Vec<Choice> {
        let all = FACTORS.len().pow(u32::try_from(GRID).unwrap_or_default());
        let choice = |mut n: usize| {
            let mut times = AS_IT_IS;
            for slot in times.iter_mut().take(GRID) {
                *slot = FACTORS[n % FACTORS.len()];
                n /= FACTORS.len();
            }
            Choice { times, scores: self.scores(&times) }
        };
        (0..all).map(choice).collect()
    }

    fn by_recording(&self, all: &[Choice]) -> (Vec<Score>, Vec<(String, Times)>) {
        let (mut scores, mut chosen) = (Vec::new(), Vec::new());
        for (left_out, one) in self.played.iter().enumerate() {
            let best = choose(all, |choice| {
                let mut worth = Worth::default();
                let rest = choice.scores.iter().enumerate().filter(|(i, _)| *i != left_out);
                rest.for_each(|(_, score)| worth.add(score, None));
                worth
            });
            let Some(best) = best else { continue };
            scores.extend(best.scores.get(left_out).cloned());
            if !one.known.cascades.is_empty() {
                chosen.push((one.name.clone(), best.times));
            }
        }
        (scores, chosen)
    }

    /// Of each cascade, the hit of what was chosen on the others; false alarms as they ship.
    fn by_cascade(&self, all: &[Choice]) -> Vec<Score> {
        let mut scores = self.scores(&AS_IT_IS);
        for (i, score) in scores.iter_mut().enumerate() {
            for (j, hit) in score.hits.iter_mut().enumerate() {
                let best = choose(all, |choice| {
                    let mut worth = Worth::default();
                    for (k, score) in choice.scores.iter().enumerate() {
                        worth.add(score, (k == i).then_some(j));
                    }
                    worth
                });
                *hit = best.and_then(|best| best.scores.get(i)?.hits.get(j).copied().flatten());
            }
        }
        scores
    }
}

/// The best choice by the rule.
fn choose(all: &[Choice], worth: impl Fn(&Choice) -> Worth) -> Option<&Choice> {
    let worths: Vec<Worth> = all.iter().map(worth).collect();
    let best = *worths.iter().min()?;
    let equals = || all.iter().zip(&worths).filter(|(_, worth)| **worth == best);
    let middle = middle(equals().map(|(choice, _)| &choice.times));
    let distance = |choice: &Choice| -> f64 {
        choice.times.iter().zip(middle).map(|(times, middle)| (times.ln() - middle).powi(2)).sum()
    };
    equals().map(|(choice, _)| choice).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn middle<'a>(all: impl Iterator<Item = &'a Times>) -> Times {
    let (mut sum, mut n) = ([0.0; IDEAS.len()], 0usize);
    for times in all {
        sum.iter_mut().zip(times).for_each(|(sum, times)| *sum += times.ln());
        n += 1;
    }
    sum.map(|sum| sum / n.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::backtest::score::Hit;

    fn choice(first: f64, wrong: usize, peak: Option<f64>) -> Choice {
        let mut times = AS_IT_IS;
        times[0] = first;
        let hit = peak.map(|peak| Hit { at: 0, onset: 0.0, broke: None, peak });
        Choice { times, scores: vec![Score { hits: vec![hit], quiet: wrong, ..Score::default() }] }
    }

    fn chosen(all: &[Choice]) -> Option<f64> {
        let worth = |choice: &Choice| {
            let mut worth = Worth::default();
            worth.add(&choice.scores[0], None);
            worth
        };
        choose(all, worth).map(|choice| choice.times[0])
    }

    #[test]
    fn false_alarms_count_before_hits_and_hits_in_time_before_late_ones() {
        let all =
            [choice(0.5, 1, Some(9.0)), choice(1.0, 0, Some(-1.0)), choice(2.0, 0, Some(1.0))];
        assert_eq!(chosen(&all), Some(2.0));
        assert_eq!(chosen(&all[..2]), Some(1.0));
        assert_eq!(chosen(&all[..1]), Some(0.5));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn of_equals_the_middle_is_chosen() {
        let all =
            [0.5, 0.7, 1.0, 1.4, 2.0].map(|first| choice(first, usize::from(first > 1.5), None));
        assert_eq!(chosen(&all), Some(0.7), "the middle of 0.5 to 1.4 is 0.84");
    }

    #[test]
    fn what_is_left_out_does_not_count() {
        let mut worth = Worth::default();
        worth.add(&choice(1.0, 0, Some(1.0)).scores[0], Some(0));
        assert_eq!(worth, Worth::default());
    }
}
