//! What a row shows of a cascade: conditions that must hold together, and how strongly they do.
//!
//! Size alone is no alarm, nor is breadth, nor is surprise: each has an innocent cause. What is not
//! innocent is all of them at once, so evidence is as strong as its weakest condition. Each condition
//! climbs four rungs, one for each level; 0.3, 0.5, 0.7 and 0.9 lie on them and lines between.
//!
//! | evidence | of | conditions |
//! |---|---|---|
//! | wide | the market | significance at 2 s, dispersion, breadth, money without its largest second |
//! | lasting | the market, by BTC and ETH; each symbol by itself | weight of a minute ([`super::minute`]) |
//! | sustained | a symbol | significance at 10 s, seconds of 10 with a liquidation, money |
//! | sudden | every row | significance at 2 s, dispersion; leads to WATCH at most |
//!
//! What each keeps out: significance a steady flow, and one more burst like those before; dispersion a
//! portfolio liquidated in an instant; breadth one account; money dust; the minute one large order.
//! How wide is wide depends on how many symbols there are; a market of one is a symbol. A move of the market reaches its majors:
//! without liquidations of BTC and ETH in 3 s, twice the breadth and dispersion are asked for, and a
//! minute that both could share is one both must have part in. Where the reference price is known and
//! has just moved, less convinces; where it is known to be flat, nothing does: who is
//! liquidated without a move of the market is one account, not the market. A price that is not known
//! is held against nobody.
//!
//! The regime scales the rungs of the risk factors and not these: evidence is judged against the row's
//! own past, and where the price begins to move is no place to ask for more (on the recorded trades of
//! January 2025 it cost 1.9 s, and kept no false alarm out).

use super::settings::Proof;

/// A price that moved this far within a minute bears liquidations out: as much as it moves...
const MOVED: [f64; 2] = [0.0015, 0.004];
/// ...significance is asked for less, by this share at most, and dispersion where that was seen second by
/// second.
const EASE: f64 = 0.35;

/// Most that evidence without size says: WATCH, not ALERT.
pub const HINT: f64 = 0.45;
/// However few symbols there are, breadth is asked for as if there were this share of
/// [`Proof::universe`]: two symbols for an ALERT.
const LEAST_ROOM: f64 = 0.1;
/// Where the rungs lie.
const STEPS: [f64; 4] = [0.3, 0.5, 0.7, 0.9];

/// What is observed of a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    /// How far the reference price went in a minute; `None` where it is not known.
    pub moved: Option<f64>,
    /// How far apart it was within a minute, this second included; `None` where it is not known.
    pub swing: Option<f64>,
    /// Significance of the arrivals of 2 s; `None` without a past.
    pub sudden: Option<f64>,
    /// The same of 10 s.
    pub sustained: Option<f64>,
    /// Distinct venue milliseconds in 2 s.
    pub dispersion: f64,
    /// Symbols in 2 s.
    pub breadth: f64,
    /// Symbols there are.
    pub universe: f64,
    /// Whether the majors were liquidated in 3 s.
    pub majors: bool,
    /// USD of about 2 s, and of 10 s, without the largest second.
    pub money: (f64, f64),
    /// Seconds of 10 with a liquidation.
    pub seconds: f64,
    /// Weight of the minute; `None` where it does not stand out.
    pub weight: Option<f64>,
}

/// One condition: what it asks about, the value on its rungs, and how far up that is, 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// Its name.
    pub name: &'static str,
    /// What was observed, after whatever stretches the rungs.
    pub value: f64,
    /// Where that stands.
    pub score: f64,
}

#[inline]
fn condition(name: &'static str, value: f64, rungs: &[f64; 4]) -> Condition {
    Condition { name, value, score: ascend(value, rungs) }
}

/// What wide evidence of the market rests on.
#[inline]
#[must_use]
pub fn wide(signs: &Signs, proof: &Proof) -> [Condition; 4] {
    let alone = if signs.majors { 1.0 } else { 2.0 };
    let room = (signs.universe / proof.universe).clamp(LEAST_ROOM, 1.0);
    let breadth = signs.breadth.min(signs.universe) / (alone * room);
    let dispersion = signs.dispersion / (alone * left(signs.swing.unwrap_or(0.0)));
    [
        condition("significance_2s", surprise(signs.sudden, signs), &proof.significance),
        condition("dispersion_2s", dispersion, &proof.dispersion),
        condition("breadth_2s", breadth, &proof.breadth),
        condition("money_2s", signs.money.0, &proof.money),
    ]
}

/// What sustained evidence of a symbol rests on, whose sources show the share `shown` of the truth.
#[inline]
#[must_use]
pub fn sustained(signs: &Signs, proof: &Proof, shown: f64) -> [Condition; 3] {
    let money = signs.money.1 / shown;
    [
        condition("significance_10s", surprise(signs.sustained, signs), &proof.significance),
        condition("seconds_of_10", signs.seconds, &proof.seconds),
        condition("money_10s", money, &proof.sustained_money),
    ]
}

/// What lasting evidence rests on: the minute, where it stands out.
#[inline]
#[must_use]
pub fn lasting(signs: &Signs, proof: &Proof) -> Option<Condition> {
    signs.weight.map(|weight| condition("minute", weight, &proof.minute))
}

/// What all evidence of the market rests on where its price is known: that it is not flat.
#[must_use]
pub fn price(signs: &Signs, proof: &Proof) -> Option<Condition> {
    let score = |swing| if swing < proof.flat { HINT } else { 1.0 };
    signs.swing.map(|swing| Condition { name: "price", value: swing, score: score(swing) })
}

/// How strong the evidence of the market is, 0..1.
#[inline]
#[must_use]
pub fn of_market(signs: &Signs, proof: &Proof) -> f64 {
    if signs.universe <= 1.0 {
        return of_symbol(signs, proof, 1.0);
    }
    let liquidations = weakest(&wide(signs, proof)).max(besides(signs, proof));
    liquidations.min(price(signs, proof).map_or(1.0, |price| price.score))
}

/// How strong the evidence of one symbol is, 0..1.
#[inline]
#[must_use]
pub fn of_symbol(signs: &Signs, proof: &Proof, shown: f64) -> f64 {
    weakest(&sustained(signs, proof, shown)).max(besides(signs, proof))
}

#[inline]
fn besides(signs: &Signs, proof: &Proof) -> f64 {
    lasting(signs, proof).map_or(0.0, |minute| minute.score).max(hint(signs, proof).score)
}

/// Significance, more where the price has moved.
#[inline]
fn surprise(significance: Option<f64>, signs: &Signs) -> f64 {
    significance.unwrap_or(0.0) / ease(signs.moved, signs.swing)
}

/// The share of the significance that is asked for where the price has moved and swung this far.
#[inline]
#[must_use]
pub fn ease(moved: Option<f64>, swing: Option<f64>) -> f64 {
    left(moved.unwrap_or(0.0).max(swing.unwrap_or(0.0)))
}

/// The share of what is asked for that is left where the price went this far.
#[inline]
fn left(moved: f64) -> f64 {
    let [from, to] = MOVED;
    1.0 - EASE * ((moved - from) / (to - from)).clamp(0.0, 1.0)
}

/// What a hint rests on: significance, of a dispersed burst.
#[inline]
#[must_use]
pub fn hint(signs: &Signs, proof: &Proof) -> Condition {
    let dispersed = signs.dispersion >= f64::from(proof.hint_dispersion);
    let surprise = if dispersed { surprise(signs.sudden, signs) } else { 0.0 };
    let condition = condition("hint", surprise, &proof.significance);
    Condition { score: condition.score.min(HINT), ..condition }
}

#[inline]
fn weakest(conditions: &[Condition]) -> f64 {
    conditions.iter().map(|condition| condition.score).fold(1.0, f64::min)
}

/// Where a value stands on its rungs, 0..1.
#[inline]
#[must_use]
pub fn ascend(value: f64, rungs: &[f64; 4]) -> f64 {
    // Counted, not searched: which rung comes next cannot be foretold.
    let passed = rungs.iter().filter(|&&rung| value >= rung).count();
    let [first, second, third, last] = *rungs;
    if passed == rungs.len() {
        let [.., reached] = STEPS;
        return (reached + (1.0 - reached) * ((value - last) / (last - third))).min(1.0);
    }
    let (below, rung) = ([0.0, first, second, third][passed], rungs[passed]);
    let (reached, step) = ([0.0, STEPS[0], STEPS[1], STEPS[2]][passed], STEPS[passed]);
    reached + (step - reached) * ((value - below) / (rung - below)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything a squeeze shows half a second after it began.
    fn squeeze() -> Signs {
        Signs {
            moved: None,
            swing: None,
            sudden: Some(8.0),
            sustained: Some(6.0),
            dispersion: 33.0,
            breadth: 44.0,
            universe: 70.0,
            majors: true,
            money: (37_000.0, 37_000.0),
            seconds: 1.0,
            weight: None,
        }
    }

    #[test]
    fn evidence_is_as_strong_as_its_weakest_condition() {
        let proof = Proof::default();
        let of = |change: &dyn Fn(&mut Signs)| {
            let mut signs = squeeze();
            change(&mut signs);
            of_market(&signs, &proof)
        };
        assert!(of(&|_| {}) >= 0.5);
        assert!(of(&|s| s.sudden = Some(2.0)) < 0.3, "as so often before");
        let once_more = |moved| of(&move |s| (s.sudden, s.moved) = (Some(5.0), Some(moved)));
        assert!(once_more(0.0) < 0.5 && once_more(0.004) >= 0.5, "the price bears it out");
        let fewer = |swing| of(&move |s| (s.dispersion, s.swing) = (20.0, Some(swing)));
        assert!(fewer(0.001) < 0.5 && fewer(0.004) >= 0.5, "and bears out fewer");
        let swung = |swing| of(&move |s| s.swing = Some(swing));
        assert!(swung(0.0) == HINT && swung(7e-4) == HINT, "the price is flat");
        assert!(swung(8e-4) == of(&|_| {}) && of(&|s| s.swing = None) == of(&|_| {}));
        assert!(of(&|s| s.sudden = None) < 0.3, "who has just begun to listen knows nothing");
        assert!(of(&|s| s.dispersion = 4.0) < 0.3, "a portfolio in an instant");
        assert!(of(&|s| s.breadth = 2.0) < 0.5, "one account");
        assert!(of(&|s| s.money.0 = 3_000.0) < 0.5, "dust");
        assert!(of(&|s| s.majors = false) < 0.5, "small coins alone");
    }

    #[test]
    fn a_hint_is_a_watch_at_most() {
        let signs = Signs { sudden: Some(90.0), dispersion: 200.0, ..Signs::default() };
        let proof = Proof::default();
        let both = [of_market(&signs, &proof), of_symbol(&signs, &proof, 1.0)];
        assert_eq!(both, [HINT, HINT]);
    }

    #[test]
    fn rungs_are_the_levels() {
        let rungs = [1.0, 2.0, 4.0, 8.0];
        let at = [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 8.0, 10.0, 99.0];
        let expected = [0.0, 0.0, 0.15, 0.3, 0.5, 0.6, 0.7, 0.9, 0.95, 1.0];
        for (value, expected) in at.into_iter().zip(expected) {
            assert!((ascend(value, &rungs) - expected).abs() < 1e-12, "{value}");
        }
    }

    #[test]
    fn a_source_that_shows_half_needs_half_the_money() {
        let proof = Proof::default();
        let signs = Signs {
            sustained: Some(7.0),
            seconds: 8.0,
            money: (0.0, 6e4),
            universe: 9.0,
            ..Signs::default()
        };
        assert!(of_symbol(&signs, &proof, 1.0) < 0.5 && of_symbol(&signs, &proof, 0.5) >= 0.5);
    }
}
