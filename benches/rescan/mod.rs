//! What sliding windows cost without any: a deque of the last 3,000 events of each row, walked anew
//! for every event.
//!
//! One walk answers everything a row is asked: 7 windows in count and in USD, and lag 1 and 2 of 2 s
//! and 10 s for acceleration and jerk. One walk is less than such programs do, which filter the
//! deque once for each window. Distinct venue milliseconds, clustering and correlation are left out
//! here, to the advantage of this side.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::collections::VecDeque;

use foreshock::engine::factor::climb;
use foreshock::engine::kinematics::{Lags, motion};
use foreshock::engine::settings::Settings;
use foreshock::signal::{FAST, Motion, SLOW, WINDOW_COUNT, WINDOW_MS};
use foreshock::time::{NS_PER_MS, Nanos};

/// Events a row remembers.
pub const DEQUE: usize = 3_000;

/// What a walk finds.
#[derive(Debug, Default)]
pub struct Answer {
    pub counts: [u32; WINDOW_COUNT],
    pub usd: [u64; WINDOW_COUNT],
    pub fast: (Lags<u32>, Lags<u64>),
    pub slow: (Lags<u32>, Lags<u64>),
}

/// The last events of some rows.
pub struct Deques(Vec<VecDeque<(u64, u64)>>);

impl Deques {
    pub fn new(rows: usize) -> Self {
        Self(vec![VecDeque::with_capacity(DEQUE + 1); rows])
    }

    pub fn remember(&mut self, row: usize, at: Nanos, usd: u64) {
        let deque = &mut self.0[row];
        deque.push_back((at.0, usd));
        if deque.len() > DEQUE {
            deque.pop_front();
        }
    }

    pub fn walk(&self, row: usize, now: Nanos) -> Answer {
        let mut answer = Answer::default();
        for &(at, usd) in &self.0[row] {
            let age = now.0 - at;
            for (w, ms) in WINDOW_MS.iter().enumerate() {
                if age < ms * NS_PER_MS {
                    answer.counts[w] += 1;
                    answer.usd[w] += usd;
                }
            }
            lag(&mut answer.fast, age, usd, WINDOW_MS[FAST] * NS_PER_MS);
            lag(&mut answer.slow, age, usd, WINDOW_MS[SLOW] * NS_PER_MS);
        }
        (answer.fast.0[0], answer.fast.1[0]) = (answer.counts[FAST], answer.usd[FAST]);
        (answer.slow.0[0], answer.slow.1[0]) = (answer.counts[SLOW], answer.usd[SLOW]);
        answer
    }
}

fn lag((counts, sums): &mut (Lags<u32>, Lags<u64>), age: u64, usd: u64, window: u64) {
    for lag in [1, 2] {
        if age >= window * lag as u64 && age < window * (lag as u64 + 1) {
            counts[lag] += 1;
            sums[lag] += usd;
        }
    }
}

impl Answer {
    /// Acceleration and jerk on both scales.
    pub fn motions(&self) -> [Motion; 2] {
        [(self.fast, FAST), (self.slow, SLOW)]
            .map(|((counts, usd), w)| motion(counts, usd, WINDOW_MS[w] as f64 / 1e3))
    }

    /// The risk factors that follow from counts and money.
    pub fn scores(&self, settings: &Settings) -> [f64; 4] {
        let [fast, _] = self.motions();
        let per_second = |w: usize| f64::from(self.counts[w]) * 1e3 / WINDOW_MS[w] as f64;
        let velocity = 0.4 * per_second(1) + 0.4 * per_second(SLOW) + 0.2 * per_second(5);
        let telling = |value, sd: f64| if sd >= settings.significance { value } else { 0.0 };
        let risk = &settings.risk;
        [
            climb(velocity, &risk.velocity.rungs),
            climb(telling(fast.acceleration, fast.acceleration_sd), &risk.acceleration.rungs),
            climb(telling(fast.jerk, fast.jerk_sd), &risk.jerk.rungs),
            climb(self.usd[5] as f64 / 1e6, &risk.volume.rungs),
        ]
    }
}
