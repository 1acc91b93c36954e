//! Exact sliding windows, kept up: a deque of events and a running sum for each age.
//!
//! An event enters every sum when it comes, and leaves the sum of an age when it is that old. The ages
//! are the ends of foreshock's seven windows, and of lag 1 and 2 of 2 s and 10 s, which acceleration and
//! jerk are made of. Its answer is that of `benches/rescan`, which walks the deque for each event.

use std::collections::VecDeque;

use foreshock::engine::kinematics::Lags;
use foreshock::signal::WINDOW_MS;

use crate::usual::rescan::Answer;

/// Ages, ms, ascending.
const AGES: [u64; 10] = [100, 500, 2_000, 4_000, 6_000, 10_000, 20_000, 30_000, 60_000, 300_000];

/// The events younger than an age.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    /// Number of the oldest of them, from the first event ever.
    from: u64,
    count: u32,
    usd: u64,
}

/// The events of a row.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    events: VecDeque<(u64, u64)>,
    /// Events that have left the deque.
    gone: u64,
    tails: [Tail; AGES.len()],
}

impl Windows {
    /// An event of so many micro-dollars at `at`, ns.
    pub fn put(&mut self, at: u64, usd: u64) {
        self.events.push_back((at, usd));
        for tail in &mut self.tails {
            tail.count += 1;
            tail.usd += usd;
        }
    }

    /// What the row is judged by at `now`, ns.
    pub fn answer(&mut self, now: u64) -> Answer {
        for (tail, age) in self.tails.iter_mut().zip(AGES) {
            let place = |from: u64| usize::try_from(from - self.gone).unwrap_or(usize::MAX);
            while let Some(&(at, usd)) = self.events.get(place(tail.from)) {
                if now - at < age * 1_000_000 {
                    break;
                }
                tail.from += 1;
                tail.count -= 1;
                tail.usd -= usd;
            }
        }
        while self.gone < self.tails[AGES.len() - 1].from {
            self.events.pop_front();
            self.gone += 1;
        }
        self.sums()
    }

    fn sums(&self) -> Answer {
        let tail = |ms| {
            let place = AGES.iter().position(|age| *age == ms).unwrap_or(0);
            self.tails[place]
        };
        let between = |younger, older| {
            let (younger, older): (Tail, Tail) = (tail(younger), tail(older));
            (older.count - younger.count, older.usd - younger.usd)
        };
        let lags = |w| {
            let now: Tail = tail(w);
            let [(c1, u1), (c2, u2)] = [between(w, 2 * w), between(2 * w, 3 * w)];
            ([now.count, c1, c2] as Lags<u32>, [now.usd, u1, u2] as Lags<u64>)
        };
        Answer {
            counts: WINDOW_MS.map(|ms| tail(ms).count),
            usd: WINDOW_MS.map(|ms| tail(ms).usd),
            fast: lags(2_000),
            slow: lags(10_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usual::rescan::{DEQUE, Deques};
    use foreshock::time::Nanos;

    #[test]
    fn what_is_kept_up_is_what_a_walk_finds() {
        let (mut kept, mut walked) = (Windows::default(), Deques::new(1));
        let mut now = 1_790_000_000_000_000_000;
        for i in 0..DEQUE as u64 {
            now += 1_000_000 * (1 + i * i % 397);
            kept.put(now, 1_000 + i);
            walked.remember(0, Nanos(now), 1_000 + i);
            assert_eq!(
                format!("{:?}", kept.answer(now)),
                format!("{:?}", walked.walk(0, Nanos(now)))
            );
        }
        assert!(kept.gone > 100, "the oldest were forgotten");
    }
}
