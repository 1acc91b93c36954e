//! What is known of the run that is looked at: what it told last, its recent past, and since when it
//! says nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::frame::{Frame, Health, Liquidation, Listed, Signal, Slow, State};
use super::watch::Heard;
use crate::publish::page::Feed;

/// Liquidations and signals kept.
const TAPE: usize = 512;
const SIGNALS: usize = 64;
/// Velocities kept of each symbol, one a second.
pub const TRAIL: usize = 60;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// What was told last, and when it came.
    pub frame: Option<(Frame, Instant)>,
    /// The last of what is told once a second.
    pub slow: Option<Slow>,
    /// Liquidations, newest first.
    pub tape: VecDeque<Liquidation>,
    /// Signals, newest first.
    pub signals: VecDeque<Signal>,
    /// Velocity of the whole market, one a second, newest last.
    pub market: Trail,
    /// Velocity of the symbols.
    trails: BTreeMap<String, Trail>,
    /// Since when nothing is heard, and why.
    pub lost: Option<(Instant, String)>,
}

/// A velocity each second, newest last; `None` where it was not told.
pub type Trail = VecDeque<Option<f64>>;

impl Sight {
    /// Takes what was heard.
    pub fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Frame(frame, first) => self.take(*frame, first, now),
            Heard::Lost(trouble) => {
                // Since it was last heard, not since that was noticed.
                let since = self.frame.as_ref().map_or(now, |(_, at)| *at);
                let since = self.lost.as_ref().map_or(since, |(since, _)| *since);
                self.lost = Some((since, trouble.to_string()));
            }
        }
    }

    fn take(&mut self, mut frame: Frame, first: bool, now: Instant) {
        self.lost = None;
        if self.frame.as_ref().is_some_and(|(before, _)| before.run != frame.run) {
            *self = Self::default();
        }
        if first {
            // It tells everything again that it still knows.
            self.tape.clear();
            self.signals.clear();
            self.market = seconds(&frame.past.t, &frame.past.v);
        }
        for one in frame.tape.drain(..) {
            keep(&mut self.tape, one, TAPE);
        }
        for one in frame.signals.drain(..) {
            keep(&mut self.signals, one, SIGNALS);
        }
        if let Some(slow) = frame.slow.take() {
            self.follow(&frame, &slow, first);
            self.slow = Some(slow);
        }
        self.frame = Some((frame, now));
    }

    /// A second has passed: where every symbol is now.
    fn follow(&mut self, frame: &Frame, slow: &Slow, first: bool) {
        let known = |velocity: Option<f64>| velocity.filter(|_| !frame.still);
        if !first {
            append(&mut self.market, known(frame.market.as_ref().and_then(|m| m.velocity)));
        }
        let mut before = std::mem::take(&mut self.trails);
        for Listed(symbol, _, _, velocity, ..) in &slow.list {
            let mut trail = before.remove(symbol).unwrap_or_default();
            append(&mut trail, known(*velocity));
            self.trails.insert(symbol.clone(), trail);
        }
    }

    /// The velocities of a symbol.
    #[must_use]
    pub fn trail(&self, symbol: &str) -> Option<&Trail> {
        self.trails.get(symbol)
    }

    /// The whole market, where something was said of it.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.frame.as_ref().and_then(|(frame, _)| frame.market.as_ref())
    }

    /// Symbols; `None` before anything was said.
    #[must_use]
    pub fn list(&self) -> &[Listed] {
        self.slow.as_ref().map_or(&[], |slow| slow.list.as_slice())
    }

    /// Feeds; `None` when it is not known how they are.
    #[must_use]
    pub fn feeds(&self) -> Option<&[Feed]> {
        self.slow.as_ref().and_then(|slow| slow.feeds.as_deref())
    }

    /// Whether it can be relied on.
    #[must_use]
    pub fn health(&self) -> Option<&Health> {
        self.slow.as_ref().map(|slow| &slow.health)
    }

    /// What was counted under a name.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        let slow = self.slow.as_ref()?;
        slow.counts.iter().find(|(known, _)| known == name).map(|(_, n)| *n)
    }

    /// How old what is shown is: it was not told again since.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.frame.as_ref().map(|(_, at)| now.saturating_duration_since(*at))
    }

    /// The time there, wall clock ms, as far as we can tell.
    #[must_use]
    pub fn wall(&self, now: Instant) -> Option<i64> {
        let (frame, _) = self.frame.as_ref()?;
        let passed = i64::try_from(self.age(now)?.as_millis()).unwrap_or(i64::MAX);
        Some(frame.now.saturating_add(passed))
    }

    /// Why what is shown must not be taken for what is now: in words, and for how long.
    #[must_use]
    pub fn stale(&self, now: Instant) -> Option<Stale> {
        if let Some((since, why)) = &self.lost {
            return Some(Stale::Lost(now.saturating_duration_since(*since), why.clone()));
        }
        let (frame, at) = self.frame.as_ref()?;
        let passed = now.saturating_duration_since(*at);
        if frame.still {
            return Some(Stale::Still(frame.age.map(|ms| Duration::from_millis(ms) + passed)));
        }
        None
    }
}

/// Why what is shown is old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Nothing is heard of the run.
    Lost(Duration, String),
    /// The run says that nothing comes through it.
    Still(Option<Duration>),
}

fn keep<T>(list: &mut VecDeque<T>, one: T, most: usize) {
    list.push_front(one);
    list.truncate(most);
}

fn append(trail: &mut Trail, velocity: Option<f64>) {
    trail.push_back(velocity);
    while trail.len() > TRAIL {
        trail.pop_front();
    }
}

/// The last of each second; a second without one is a hole.
fn seconds(at: &[i64], values: &[Option<f64>]) -> Trail {
    let mut trail = Trail::new();
    let Some(last) = at.last().map(|ms| ms.div_euclid(1_000)) else { return trail };
    for back in (0..TRAIL).rev() {
        let second = i64::try_from(back).ok().and_then(|back| last.checked_sub(back));
        let mut within = at.iter().zip(values).rev();
        let found = within.find(|(ms, _)| Some(ms.div_euclid(1_000)) == second);
        if found.is_some() || !trail.is_empty() {
            trail.push_back(found.and_then(|(_, value)| *value));
        }
    }
    trail
}

#[cfg(test)]
mod tests {
    use super::super::draw::tests::{frame, sight};
    use super::super::link::Trouble;
    use super::*;

    fn hear(sight: &mut Sight, frame: &serde_json::Value, first: bool, at: Instant) {
        let frame = Frame::read(&frame.to_string()).unwrap();
        sight.hear(Heard::Frame(Box::new(frame), first), at);
    }

    #[test]
    fn what_is_told_again_is_not_kept_twice() {
        let now = Instant::now();
        let mut sight = sight(&frame(), now);
        assert_eq!((sight.tape.len(), sight.signals.len()), (2, 1));
        assert_eq!(sight.tape.front().unwrap().venue, "okx", "the newest first");
        hear(&mut sight, &frame(), true, now);
        assert_eq!((sight.tape.len(), sight.signals.len()), (2, 1));
        hear(&mut sight, &frame(), false, now);
        assert_eq!((sight.tape.len(), sight.signals.len()), (4, 2));
        for _ in 0..600 {
            hear(&mut sight, &frame(), false, now);
        }
        assert_eq!(
            (sight.tape.len(), sight.signals.len(), sight.market.len()),
            (TAPE, SIGNALS, TRAIL)
        );
    }

    #[test]
    fn another_run_begins_from_nothing() {
        let now = Instant::now();
        let mut sight = sight(&frame(), now);
        let mut other = frame();
        other["run"] = 8.into();
        other["tape"] = serde_json::json!([]);
        other.as_object_mut().unwrap().remove("health");
        hear(&mut sight, &other, true, now);
        assert!(
            sight.tape.is_empty() && sight.slow.is_none() && sight.trail("COIN1USDT").is_none()
        );
    }

    #[test]
    fn a_second_in_which_nothing_was_told_is_a_hole() {
        let at = [10_000, 10_500, 13_000];
        let values = [Some(1.0), Some(2.0), Some(3.0)];
        assert_eq!(seconds(&at, &values), [Some(2.0), None, None, Some(3.0)]);
        assert!(seconds(&[], &[]).is_empty());
        assert_eq!(seconds(&[i64::MIN, i64::MAX], &[Some(1.0), Some(2.0)]).len(), 1);
        let now = Instant::now();
        let mut still = frame();
        still["still"] = true.into();
        let sight = sight(&still, now);
        assert_eq!(sight.trail("COIN1USDT").unwrap(), &[None]);
    }

    #[test]
    fn it_is_lost_since_it_was_last_heard() {
        let now = Instant::now();
        let after = |s| now + Duration::from_secs(s);
        let mut sight = sight(&frame(), now);
        assert_eq!(sight.stale(after(2)), None);
        sight.hear(Heard::Lost(Trouble::Silent), after(3));
        sight.hear(Heard::Lost(Trouble::Nobody("nobody".to_owned())), after(5));
        let stale = Stale::Lost(Duration::from_secs(9), "nobody".to_owned());
        assert_eq!(sight.stale(after(9)), Some(stale));
        hear(&mut sight, &frame(), true, after(10));
        assert_eq!(sight.stale(after(10)), None);
    }
}
