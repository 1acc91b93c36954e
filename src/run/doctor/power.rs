//! Frequency and sleep: how fast a core runs, and how long it takes to wake.

use super::check::{Check, Finding, Level, Scope};
use super::cores::hot;
use super::host::{Cannot, Look};

/// What saves power costs time.
pub const CHECKS: &[Check] = &[
    Check {
        name: "frequency",
        level: Level::Warn,
        scope: Scope::Metal,
        why: "A core that clocks down is slow for the first milliseconds of a burst: exactly when a \
              cascade begins.",
        ask: frequency,
    },
    Check {
        name: "idle-states",
        level: Level::Warn,
        scope: Scope::Metal,
        why: "A core in a deep idle state takes up to hundreds of microseconds to wake; it matters \
              when run.idle is park, and for the card's interrupts.",
        ask: idle_states,
    },
];

/// Longest time to wake from an idle state that is left enabled, us.
const WAKE_MAX_US: i64 = 2;

fn frequency(look: &Look) -> Result<Finding, Cannot> {
    let mut slow = Vec::new();
    for &cpu in &hot(look)?.0 {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq");
        let governor = look.text(&format!("{folder}/scaling_governor"))?;
        if governor != "performance" {
            slow.push(format!("core {cpu}: governor {governor}"));
        }
        let preference = look.text(&format!("{folder}/energy_performance_preference"));
        if let Some(other) = preference.ok().filter(|p| p != "performance") {
            slow.push(format!("core {cpu}: preference {other}"));
        }
    }
    if look.number("/sys/devices/system/cpu/intel_pstate/no_turbo") == Ok(1) {
        slow.push("turbo is off (steadier, and slower)".to_owned());
    }
    let every = "/sys/devices/system/cpu/cpu*/cpufreq";
    let write = |value: &str, file: &str| {
        format!("for f in {every}/{file}; do echo {value} > \"$f\" 2> /dev/null; done")
    };
    let fix = vec![
        write("performance", "scaling_governor"),
        write("performance", "energy_performance_preference"),
    ];
    Ok(Finding::of(&slow, "performance", fix))
}

fn idle_states(look: &Look) -> Result<Finding, Cannot> {
    let mut deep = Vec::new();
    let mut fix = Vec::new();
    for &cpu in &hot(look)?.0 {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle");
        let states = look.each(&format!("{folder}/state*/latency"));
        if states.is_empty() {
            return Err(Cannot::Read(format!("{folder}: no states")));
        }
        for (path, latency) in states {
            let state = path.trim_end_matches("/latency").to_owned();
            let enabled = look.number(&format!("{state}/disable")) != Ok(1);
            let latency = latency.parse().unwrap_or(i64::MAX);
            if enabled && latency > WAKE_MAX_US {
                let name = look.text(&format!("{state}/name")).unwrap_or_default();
                deep.push(format!("core {cpu}: {name} takes {latency} us to wake"));
                fix.push(format!("echo 1 > {state}/disable"));
            }
        }
    }
    Ok(Finding::of(&deep, format!("none takes more than {WAKE_MAX_US} us to wake"), fix))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, three_ways};
    use super::*;

    const CPU: &str = "/sys/devices/system/cpu/cpu";

    #[test]
    fn the_governor_of_each_hot_core_is_performance() {
        let governor = |cpu| format!("{CPU}{cpu}/cpufreq/scaling_governor");
        let (a, b) = (governor(2), governor(3));
        let fast = [(a.as_str(), "performance"), (b.as_str(), "performance")];
        three_ways(CHECKS, "frequency", &fast, &[(&a, "performance"), (&b, "powersave")]);
        let preference = format!("{CPU}2/cpufreq/energy_performance_preference");
        let row =
            Fake::new().files(&fast).file(&preference, "balance_power").check(CHECKS, "frequency");
        assert!(row.verdict == Verdict::Warn && row.found.contains("balance_power"), "{row:?}");
        let row = Fake::new().files(&[(&a, "powersave")]).virtual_machine(true);
        assert_eq!(row.file(&b, "x").check(CHECKS, "frequency").verdict, Verdict::Info);
    }

    #[test]
    fn a_deep_state_is_disabled_by_its_own_file() {
        let fake = |disable: &str| {
            let state = |cpu, n, file| format!("{CPU}{cpu}/cpuidle/state{n}/{file}");
            let fake =
                Fake::new().file(&state(2, 0, "latency"), "0").file(&state(3, 0, "latency"), "2");
            let fake = fake.file(&state(2, 3, "latency"), "133").file(&state(2, 3, "name"), "C6");
            fake.file(&state(2, 3, "disable"), disable).check(CHECKS, "idle-states")
        };
        assert_eq!(fake("1").verdict, Verdict::Pass);
        let deep = fake("0");
        assert_eq!(deep.found, "core 2: C6 takes 133 us to wake");
        assert_eq!(deep.fix, [format!("echo 1 > {CPU}2/cpuidle/state3/disable")]);
        super::super::fake::missing(CHECKS, "idle-states");
    }
}
