//! The rules to beat, on the same events at the same moments as the engine.
//!
//! | rule | alarms while |
//! |---|---|
//! | (a) money | more than 1 M USD in 10 s |
//! | (b) count and money | at least 5 liquidations and more than 100 k USD in 300 s |
//! | (c) velocity and acceleration | at least 5/s over 10 s, and acceleration at 2 s above 2/s² |
//! | (d) call to call | at least 5/s over 10 s, and (v - v at the last call) / (time since) above 2/s² |
//!
//! Windows are exact. A call is an event, as in systems that compute on arrival; calls in the same
//! millisecond have no difference. Each rule is also asked with all of its thresholds times each of
//! [`SCALES`], so that it can be compared where it gives no more false alarms than another detector.

use crate::time::{NS_PER_S, Nanos};

/// Times the thresholds.
pub const SCALES: [f64; 15] =
    [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 50.0, 100.0];
/// Names of the rules, in order.
pub const RULES: [&str; 4] =
    ["(a) >1M USD/10s", "(b) >=5, >100k/300s", "(c) v>=5/s, a>2", "(d) call to call"];

/// One liquidation as the rules see it.
#[derive(Clone, Copy, Debug)]
struct Hit {
    at: Nanos,
    usd: f64,
}

/// A window that ends now: what is in it, kept by moving its beginning.
#[derive(Clone, Copy, Debug)]
struct Window {
    ns: u64,
    first: usize,
    count: f64,
    usd: f64,
}

impl Window {
    fn of(seconds: u64) -> Self {
        Self { ns: seconds * NS_PER_S, first: 0, count: 0.0, usd: 0.0 }
    }

    fn add(&mut self, usd: f64) {
        self.count += 1.0;
        self.usd += usd;
    }

    /// Lets go of what is too old; whether there was any.
    fn advance(&mut self, hits: &[Hit], now: Nanos) -> bool {
        let before = self.first;
        while let Some(hit) = hits.get(self.first).filter(|hit| now.since(hit.at) >= self.ns) {
            self.count -= 1.0;
            self.usd = if self.count > 0.0 { self.usd - hit.usd } else { 0.0 };
            self.first += 1;
        }
        self.first > before
    }
}

/// All rules at all scales.
#[derive(Clone, Debug)]
pub struct Rules {
    hits: Vec<Hit>,
    two: Window,
    four: Window,
    ten: Window,
    long: Window,
    /// Velocity over 10 s at the last call, when that was, and the difference it made.
    called: Option<(f64, Nanos)>,
    call_acceleration: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            hits: Vec::new(),
            two: Window::of(2),
            four: Window::of(4),
            ten: Window::of(10),
            long: Window::of(300),
            called: None,
            call_acceleration: 0.0,
        }
    }
}

impl Rules {
    /// Counts a liquidation.
    pub fn hit(&mut self, at: Nanos, usd: f64) {
        self.hits.push(Hit { at, usd });
        for window in [&mut self.two, &mut self.four, &mut self.ten, &mut self.long] {
            window.add(usd);
        }
        self.advance(at);
        self.call(at);
    }

    /// Moves on to the present; whether that can have changed what the rules say.
    pub fn advance(&mut self, now: Nanos) -> bool {
        let windows = [&mut self.two, &mut self.four, &mut self.ten, &mut self.long];
        windows.map(|window| window.advance(&self.hits, now)).contains(&true)
    }

    fn velocity(&self) -> f64 {
        self.ten.count / 10.0
    }

    /// (N of the last 2 s - N of the 2 s before) / (2 s)².
    fn acceleration(&self) -> f64 {
        (2.0 * self.two.count - self.four.count) / 4.0
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds between two events")]
    fn call(&mut self, at: Nanos) {
        let v = self.velocity();
        let dt = self.called.map(|(_, then)| at.since(then) as f64 / NS_PER_S as f64);
        let dv = self.called.map_or(0.0, |(before, _)| v - before);
        self.call_acceleration = dt.filter(|&dt| dt >= 1e-3).map_or(0.0, |dt| dv / dt);
        self.called = Some((v, at));
    }

    /// Whether each rule alarms now, its thresholds times `scale`.
    #[must_use]
    pub fn alarms(&self, scale: f64) -> [bool; RULES.len()] {
        let fast = self.velocity() >= 5.0 * scale;
        [
            self.ten.usd > 1e6 * scale,
            self.long.count >= 5.0 * scale && self.long.usd > 1e5 * scale,
            fast && self.acceleration() > 2.0 * scale,
            fast && self.call_acceleration > 2.0 * scale,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Nanos {
        Nanos::from_millis(1_700_000_000_000 + ms)
    }

    #[test]
    fn money_counts_for_ten_seconds() {
        let mut rules = Rules::default();
        rules.hit(at(0), 900_000.0);
        assert!(!rules.alarms(1.0)[0]);
        rules.hit(at(5_000), 200_000.0);
        assert_eq!((rules.alarms(1.0)[0], rules.alarms(1.5)[0]), (true, false));
        rules.advance(at(10_000));
        assert!(!rules.alarms(1.0)[0], "the first one has left");
    }

    #[test]
    fn five_within_five_minutes() {
        let mut rules = Rules::default();
        (0..4).for_each(|i| rules.hit(at(i * 60_000), 30_000.0));
        assert!(!rules.alarms(1.0)[1]);
        rules.hit(at(299_000), 30_000.0);
        assert!(rules.alarms(1.0)[1]);
        rules.advance(at(300_000));
        assert!(!rules.alarms(1.0)[1]);
    }

    #[test]
    fn acceleration_compares_two_seconds_with_the_two_before() {
        let mut rules = Rules::default();
        (0..60).for_each(|i| rules.hit(at(i * 200), 1.0));
        assert_eq!((rules.velocity(), rules.acceleration()), (5.0, 0.0));
        assert!(!rules.alarms(1.0)[2]);
        (0..20).for_each(|i| rules.hit(at(12_000 + i * 90), 1.0));
        assert!(rules.alarms(1.0)[2], "{}", rules.acceleration());
    }

    #[test]
    fn a_call_is_compared_with_the_call_before() {
        let mut rules = Rules::default();
        (0..60).for_each(|i| rules.hit(at(i * 10), 1.0));
        assert!((rules.call_acceleration - 10.0).abs() < 1e-9);
        assert!(rules.alarms(1.0)[3]);
        rules.hit(at(590), 1.0);
        assert!(!rules.alarms(1.0)[3], "no time has passed");
    }
}
