//! The third fact about a feed: does it say what the others say?
//!
//! A feed can be connected, subscribed and chatty, and still not carry liquidations any more. That
//! shows only in comparison, and only when there is something to say:
//!
//! ```text
//! a venue cascades  when its last 15 s hold at least 20 liquidations and 4 x its usual number
//! a venue is mute   when it said none for 15 s while two others cascade, and it should have:
//!                   its usual share of what they say is 5 or more (60 in all while that is unknown)
//! ```
//!
//! The usual number is an average that forgets over half an hour. A quiet market has no cascade, so
//! nothing is ever doubted in it. Venues whose feed shows only watched addresses are left out.

use crate::event::{VENUE_COUNT, VENUES, Venue};
use crate::time::{NS_PER_S, Nanos};

const WINDOW: usize = 15;
const CASCADE_LEAST: u32 = 20;
const CASCADE_TIMES: f64 = 4.0;
const OTHERS_LEAST: usize = 2;
const EXPECTED_LEAST: f64 = 5.0;
const EXPECTED_BLIND: u32 = 60;
/// Seconds in which the usual number is forgotten, and after which it is worth something.
const FORGET_S: f64 = 1_800.0;
const KNOWN_S: u64 = 600;

/// Liquidations of every venue, second by second.
#[derive(Clone, Debug, Default)]
pub struct Content {
    seconds: [[u32; WINDOW]; VENUE_COUNT],
    /// Usual liquidations per second.
    usual: [f64; VENUE_COUNT],
    /// Seconds looked at, and the present one.
    age: u64,
    second: u64,
}

impl Content {
    /// Liquidations came, as news.
    pub fn heard(&mut self, venue: Venue, n: u32) {
        let at = usize::try_from(self.second).unwrap_or(0) % WINDOW;
        if let Some(count) = self.seconds[venue.index()].get_mut(at) {
            *count = count.saturating_add(n);
        }
    }

    /// Time passes. Once a second says which of the venues that can be heard (a set of bits) are mute.
    pub fn turn(&mut self, now: Nanos, listening: impl FnOnce() -> u8) -> Option<u8> {
        let second = now.0 / NS_PER_S;
        if second <= self.second {
            return None;
        }
        let mute = self.mute(listening());
        // After a pause of ours the window is empty, and nothing is doubted.
        for step in (self.second + 1..=second).take(WINDOW) {
            self.advance(usize::try_from(step).unwrap_or(0) % WINDOW);
        }
        self.second = second;
        Some(mute)
    }

    fn advance(&mut self, next: usize) {
        self.age += 1;
        let now = (next + WINDOW - 1) % WINDOW;
        for (seconds, usual) in self.seconds.iter_mut().zip(&mut self.usual) {
            let n = seconds.get(now).copied().unwrap_or(0);
            *usual += (f64::from(n) - *usual) / FORGET_S;
            if let Some(count) = seconds.get_mut(next) {
                *count = 0;
            }
        }
    }

    fn sum(&self, venue: Venue) -> u32 {
        self.seconds[venue.index()].iter().sum()
    }

    fn usual(&self, venue: Venue) -> f64 {
        self.usual[venue.index()]
    }

    fn cascades(&self, venue: Venue) -> bool {
        let sum = self.sum(venue);
        sum >= CASCADE_LEAST && f64::from(sum) >= CASCADE_TIMES * WINDOW as f64 * self.usual(venue)
    }

    fn mute(&self, listening: u8) -> u8 {
        let here = |venue: &Venue| listening & venue.bit() != 0;
        let loud = || VENUES.into_iter().filter(|venue| self.cascades(*venue));
        if loud().count() < OTHERS_LEAST {
            return 0;
        }
        let said: u32 = loud().map(|venue| self.sum(venue)).sum();
        let usual: f64 = loud().map(|venue| self.usual(venue)).sum();
        let due = |venue: Venue| match self.age >= KNOWN_S {
            true => self.usual(venue) * f64::from(said) >= EXPECTED_LEAST * usual,
            false => said >= EXPECTED_BLIND,
        };
        let mute = VENUES.into_iter().filter(here).filter(|v| self.sum(*v) == 0 && due(*v));
        mute.fold(0, |set, venue| set | venue.bit())
    }

    /// Who cascades, in words: `bybit 40, okx 25 liquidations in 15 s`.
    #[must_use]
    pub fn words(&self) -> String {
        let loud = VENUES.into_iter().filter(|venue| self.cascades(*venue));
        let parts: Vec<_> = loud.map(|v| format!("{} {}", v.name(), self.sum(v))).collect();
        format!("silent in a cascade: {} liquidations in {WINDOW} s", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u8 = Venue::Binance.bit() | Venue::Bybit.bit() | Venue::Okx.bit();

    /// Plays `seconds` of so many liquidations per second; gives the seconds at which any was mute.
    fn play(
        content: &mut Content,
        from: u64,
        seconds: u64,
        rate: impl Fn(u64, Venue) -> u32,
    ) -> Vec<(u64, u8)> {
        let mut flagged = Vec::new();
        for s in from..from + seconds {
            if let Some(mute) = content.turn(Nanos(s * NS_PER_S), || ALL).filter(|mute| *mute != 0)
            {
                flagged.push((s, mute));
            }
            for venue in [Venue::Binance, Venue::Bybit, Venue::Okx] {
                content.heard(venue, rate(s, venue));
            }
        }
        flagged
    }

    /// A cheap, fixed noise: a liquidation with probability `per_mille`.
    fn noise(s: u64, venue: Venue, per_mille: u64) -> u32 {
        let x = (s * 7 + venue.index() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        u32::from(x % 1_000 < per_mille)
    }

    #[test]
    fn f5_a_venue_that_is_silent_while_two_cascade_is_mute_within_30_s() {
        for warm_s in [1, 7_200] {
            let mut content = Content::default();
            assert_eq!(play(&mut content, 10, warm_s, |s, v| noise(s, v, 100)), []);
            let began = 10 + warm_s;
            let mute = play(&mut content, began, 60, |_, v| if v == Venue::Okx { 0 } else { 4 });
            let (first, who) = mute.first().copied().unwrap();
            assert!(first - began <= 30 && who == Venue::Okx.bit(), "{mute:?}");
            assert!(content.words().contains("binance 60, bybit 60"), "{}", content.words());
        }
    }

    #[test]
    fn f5_nothing_is_mute_in_24_quiet_hours() {
        let mut content = Content::default();
        let quiet = |s, v: Venue| noise(s, v, [150, 80, 30][v.index()]);
        assert_eq!(play(&mut content, 10, 86_400, quiet), []);
    }

    #[test]
    fn a_venue_that_seldom_speaks_or_a_cascade_of_one_raises_no_doubt() {
        let mut content = Content::default();
        let thin = |s: u64, v: Venue| if v == Venue::Okx { 0 } else { noise(s, v, 300) };
        play(&mut content, 10, 7_200, thin);
        let both = play(&mut content, 7_210, 60, |_, v| if v == Venue::Okx { 0 } else { 6 });
        assert_eq!(both, [], "it never said anything");
        let mut content = Content::default();
        play(&mut content, 10, 7_200, |s, v| noise(s, v, 100));
        let one = play(&mut content, 7_210, 60, |_, v| if v == Venue::Bybit { 9 } else { 0 });
        assert_eq!(one, []);
    }
}
