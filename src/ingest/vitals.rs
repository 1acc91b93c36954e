//! How each line is, told once a second to whoever shows it.
//!
//! The reader knows when it last heard a line; what it tells is a copy, sent without waiting. When
//! nobody takes it, it is lost, and the next one comes a second later.

use crossbeam_channel::Sender;

use super::source::FeedChange;
use super::twins::Race;
use crate::event::{FeedState, Venue};
use crate::time::{NS_PER_S, Nanos};

/// How often it is told.
const EVERY: u64 = NS_PER_S;
/// Lines that are told of at most.
const LINES: usize = 32;

/// A line, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Whose.
    pub venue: Venue,
    /// Which of the venue's lines.
    pub line: u8,
    /// The name of its route.
    pub route: &'static str,
    /// Whether liquidations come on it.
    pub rare: bool,
    /// Its state, and the HTTP status where the venue refused us.
    pub state: FeedState,
    /// HTTP status where the venue refused us, else 0.
    pub code: u16,
    /// When its state last changed.
    pub since: Nanos,
    /// When a frame last came.
    pub frame: Option<Nanos>,
    /// When a liquidation last came.
    pub liquidation: Option<Nanos>,
    /// Frames so far.
    pub frames: u64,
    /// How it does against the venue's other lines.
    pub race: Race,
}

/// Keeps the vitals of all lines.
#[derive(Debug)]
pub struct Pulse {
    tell: Sender<Vitals>,
    lines: Vec<(usize, Vitals)>,
    told: Nanos,
}

impl Pulse {
    /// Tells `tell`.
    #[must_use]
    pub fn new(tell: Sender<Vitals>) -> Self {
        Self { tell, lines: Vec::with_capacity(LINES), told: Nanos(0) }
    }

    /// Source number `source` says that its feed changed.
    pub fn change(&mut self, source: usize, change: &FeedChange, now: Nanos) {
        let FeedChange { venue, line, route, rare, state, code, .. } = *change;
        let known = self.lines.iter_mut().find(|(of, _)| *of == source);
        if let Some((_, vitals)) = known {
            if vitals.state != state {
                vitals.since = now;
            }
            (vitals.state, vitals.code) = (state, code);
        } else if self.lines.len() < LINES {
            let vitals = Vitals {
                venue,
                line,
                route,
                rare,
                state,
                code,
                since: now,
                frame: None,
                liquidation: None,
                frames: 0,
                race: Race::default(),
            };
            self.lines.push((source, vitals));
        }
    }

    /// A frame came from source number `source`.
    pub fn frame(&mut self, source: usize, liquidation: bool, now: Nanos) {
        let Some((_, vitals)) = self.lines.iter_mut().find(|(of, _)| *of == source) else { return };
        vitals.frames += 1;
        vitals.frame = Some(now);
        if liquidation {
            vitals.liquidation = Some(now);
        }
    }

    /// Tells, when it is time. `race` knows how a line of a venue does.
    pub fn turn(&mut self, now: Nanos, race: impl Fn(Venue, u8) -> Race) {
        if now.since(self.told) < EVERY {
            return;
        }
        self.told = now;
        for (_, vitals) in &mut self.lines {
            vitals.race = race(vitals.venue, vitals.line);
            let _ = self.tell.try_send(*vitals);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_of_once_a_second_with_what_it_last_did() {
        let (tell, told) = crossbeam_channel::bounded(4);
        let mut pulse = Pulse::new(tell);
        let at = |s: u64| Nanos(s * NS_PER_S);
        let change = |state| FeedChange {
            venue: Venue::Okx,
            line: 8,
            route: "public",
            rare: true,
            state,
            code: 0,
            why: String::new(),
        };
        let race = |_, line| Race { won: u64::from(line), ..Race::default() };
        pulse.frame(3, true, at(1));
        pulse.turn(at(1), race);
        assert!(told.is_empty(), "nothing is known of a line that never spoke");
        pulse.change(3, &change(FeedState::Live), at(2));
        pulse.frame(3, true, at(3));
        pulse.frame(3, false, at(4));
        pulse.change(3, &change(FeedState::Live), at(5));
        pulse.turn(at(6), race);
        pulse.turn(at(6), race);
        let vitals = told.try_recv().unwrap();
        assert!(told.is_empty());
        assert_eq!(
            (vitals.since, vitals.frame, vitals.liquidation),
            (at(2), Some(at(4)), Some(at(3)))
        );
        assert_eq!((vitals.frames, vitals.race.won), (2, 8));
    }
}
