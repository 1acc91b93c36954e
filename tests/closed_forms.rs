//! Motion has closed forms: a steady, a linear and a quadratic rate must give the velocity,
//! acceleration and jerk they were made with.
//!
//! With N(t) events until t: a steady rate `r` gives v = r, a = j = 0. A rate `r + s t` gives, over
//! adjacent windows, a = s exactly. A rate `q t²` gives j = 2 q exactly. What remains is the rounding
//! of whole events (each count is off by at most one) and the oldest bucket (counted pro rata, off
//! by at most what a bucket's rate changes within it): together less than 2 events a window, so less
//! than 4 / w² in acceleration and 8 / w³ in jerk.
#![expect(clippy::cast_possible_truncation, clippy::expect_used, reason = "small known values")]

mod stream;

use foreshock::engine::{Engine, Settings};
use foreshock::event::{Event, Venue};
use foreshock::signal::Report;
use foreshock::symbol::Symbol;
use foreshock::time::Nanos;
use stream::{liquidation, ms, reports, symbol, with_ticks};

const SECONDS: f64 = 40.0;

/// Events at the times at which `count(t)` passes each whole number and a half.
fn events(count: impl Fn(f64) -> f64) -> Vec<Event> {
    let mut all = Vec::new();
    let mut next = 0.5;
    let steps = 400_000;
    for step in 0..=steps {
        let t = SECONDS * f64::from(step) / f64::from(steps);
        while count(t) >= next {
            let at = Nanos(ms(0).0 + (t * 1e9) as u64);
            all.push(liquidation(at, symbol(0), Venue::Bybit, None, 1_000.0));
            next += 1.0;
        }
    }
    all
}

/// The symbol's reports of the last five seconds.
fn settled(count: impl Fn(f64) -> f64) -> Vec<Report> {
    let until = ms((SECONDS * 1e3) as u64);
    let all = with_ticks(&events(count), until);
    let reports = reports(&mut Engine::new(&Settings::default()), &all);
    let late = until.minus(5_000_000_000);
    let settled: Vec<_> =
        reports.into_iter().filter(|r| r.symbol == symbol(0) && r.at > late).collect();
    assert!(settled.len() >= 40, "{} reports", settled.len());
    settled
}

fn assert_within(value: f64, expected: f64, error: f64, what: &str) {
    assert!((value - expected).abs() <= error, "{what}: {value}, expected {expected} ± {error}");
}

/// (name, w in s, motion)
fn scales(report: &Report) -> [(f64, foreshock::signal::Motion); 2] {
    [(2.0, report.fast), (10.0, report.slow)]
}

#[test]
fn a_steady_rate_has_velocity_and_nothing_else() {
    for rate in [5.0, 100.0, 2_000.0] {
        for report in settled(|t| rate * t) {
            for window in 1..5 {
                let w = foreshock::signal::WINDOW_MS[window] as f64 / 1e3;
                assert_within(report.velocity(window), rate, 2.0 / w, "velocity");
                let value = report.value_velocity(window);
                assert_within(value, 1_000.0 * rate, 2_000.0 / w, "value velocity");
            }
            for (w, motion) in scales(&report) {
                assert_within(motion.acceleration, 0.0, 4.0 / (w * w), "acceleration");
                assert_within(motion.jerk, 0.0, 8.0 / (w * w * w), "jerk");
                assert!(motion.acceleration_sd.abs() < 3.0);
            }
        }
    }
}

#[test]
fn a_linear_rate_has_its_slope_as_acceleration() {
    for slope in [3.0, 50.0] {
        for report in settled(|t| slope * t * t / 2.0) {
            for (w, motion) in scales(&report) {
                assert_within(motion.acceleration, slope, 4.0 / (w * w), "acceleration");
                assert_within(motion.jerk, 0.0, 8.0 / (w * w * w), "jerk");
                let value = motion.value_acceleration;
                assert_within(value, 1_000.0 * slope, 4_000.0 / (w * w), "value acceleration");
            }
        }
    }
}

#[test]
fn a_quadratic_rate_has_twice_its_factor_as_jerk() {
    for factor in [1.0, 4.0] {
        for report in settled(|t| factor * t * t * t / 3.0) {
            for (w, motion) in scales(&report) {
                assert_within(motion.jerk, 2.0 * factor, 8.0 / (w * w * w), "jerk");
                // The rate over a window is its mean, so acceleration is the slope at t - w.
                let t = report.at.since(ms(0)) as f64 / 1e9;
                let slope = 2.0 * factor * (t - w);
                assert_within(motion.acceleration, slope, 4.0 / (w * w), "acceleration");
            }
        }
    }
}

#[test]
fn a_step_is_as_significant_as_its_definition_says() {
    // Ten a second, then forty: at 2 s after the step (80 - 20) / sqrt(100) = 6 sd.
    let all = settled(|t| if t < 36.0 { 10.0 * t } else { 360.0 + 40.0 * (t - 36.0) });
    let at = ms(38_000);
    let report = all.iter().min_by_key(|r| r.at.0.abs_diff(at.0)).expect("reports");
    assert_within(report.fast.acceleration_sd, 6.0, 0.4, "significance");
    assert_eq!(report.symbol, symbol(0));
    assert_ne!(report.symbol, Symbol::MARKET);
}
