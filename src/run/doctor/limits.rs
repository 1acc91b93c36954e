//! What the kernel lets the process do, and what its own chores cost.

use super::check::{Check, Finding, Level, Scope};
use super::cores::hot;
use super::cpus::Cpus;
use super::host::{Cannot, Look};
use super::load::behind_name;
use super::machine::capable;
use super::running;
use crate::run::crew::Idle;

/// Rights, limits, chores.
pub const CHECKS: &[Check] = &[
    Check {
        name: "realtime",
        level: Level::Warn,
        scope: Scope::Own,
        why: "A realtime thread that spins is stopped by the kernel for 50 ms of every second unless \
              throttling is off, and then starves its core unless that is set aside.",
        ask: realtime,
    },
    Check {
        name: "housekeeping",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "Lockup detectors, the statistics of memory and kernel work queues visit every core, \
              hot ones as well.",
        ask: housekeeping,
    },
    Check {
        name: "limits",
        level: Level::Warn,
        scope: Scope::Own,
        why: "Without file descriptors no feed can reconnect; a core pattern with a pipe runs a \
              program while the process dies.",
        ask: limits,
    },
    Check {
        name: "profiling",
        level: Level::Info,
        scope: Scope::Kernel,
        why: "`perf` shows where time goes only where the kernel lets it.",
        ask: profiling,
    },
];

/// Bits of capabilities.
const SYS_NICE: u32 = 23;
const PERFMON: u32 = 38;
/// SCHED_FIFO and SCHED_RR.
const REALTIME: [u64; 2] = [1, 2];
/// File descriptors that are enough.
const FILES_LEAST: u64 = 1_024;
const STAT_INTERVAL_LEAST: i64 = 10;

/// The soft limit in a file of limits.
#[must_use]
pub fn soft(limits: &str, name: &str) -> Option<String> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next().map(str::to_owned)
}

fn realtime(look: &Look) -> Result<Finding, Cannot> {
    let throttle = look.number("/proc/sys/kernel/sched_rt_runtime_us")?;
    let status = look.text("/proc/self/status")?;
    let allowed =
        soft(&look.text("/proc/self/limits")?, "Max realtime priority").unwrap_or_default();
    let nice = capable(&status, SYS_NICE).unwrap_or(false);
    let mut spinning = Vec::new();
    for thread in running::threads(look) {
        let stat = look.text(&thread.file("stat"))?;
        if behind_name(&stat, 41).is_some_and(|policy| REALTIME.contains(&policy)) {
            spinning.push(thread.name);
        }
    }
    let known = format!(
        "rt_runtime {throttle} us, priority limit {allowed}, CAP_SYS_NICE {}",
        if nice { "yes" } else { "no" }
    );
    if spinning.is_empty() {
        return Ok(Finding::good(format!("no hot thread is realtime ({known})")));
    }
    let names = spinning.join(", ");
    if look.scene.config.run.idle == Idle::Park {
        return Ok(Finding::good(format!("{names}: realtime, and sleeps when idle ({known})")));
    }
    let isolated = Cpus::list(&look.text("/sys/devices/system/cpu/isolated")?);
    if throttle == -1 && hot(look)?.without(&isolated).is_empty() {
        return Ok(Finding::good(format!(
            "{names}: realtime on cores that are set aside ({known})"
        )));
    }
    let fix =
        ["sysctl -w kernel.sched_rt_runtime_us=-1 # only with the cores set aside: see isolated"
            .to_owned()];
    Ok(Finding::short(format!("{names}: realtime and spinning ({known})"), fix))
}

fn housekeeping(look: &Look) -> Result<Finding, Cannot> {
    let mut chores = Vec::new();
    let mut fix = Vec::new();
    for name in ["watchdog", "nmi_watchdog", "timer_migration"] {
        let on = look.number(&format!("/proc/sys/kernel/{name}"));
        // Only the first is in every kernel.
        let on = if name == "watchdog" { on? } else { on.unwrap_or(0) };
        if on != 0 {
            chores.push(format!("{name} is on"));
            fix.push(format!("sysctl -w kernel.{name}=0"));
        }
    }
    let interval = look.number("/proc/sys/vm/stat_interval")?;
    if interval < STAT_INTERVAL_LEAST {
        chores.push(format!("memory statistics every {interval} s"));
        fix.push(format!("sysctl -w vm.stat_interval={STAT_INTERVAL_LEAST}"));
    }
    let path = "/sys/devices/virtual/workqueue/cpumask";
    let queues = Cpus::mask(&look.text(path)?);
    let hot = hot(look).unwrap_or_default();
    let (shared, others) = (queues.also_in(&hot), queues.without(&hot));
    if !shared.is_empty() && !others.is_empty() {
        chores.push(format!("work queues run on {shared}"));
        fix.push(format!("echo {} > {path}", others.to_mask()));
    }
    Ok(Finding::of(&chores, "the kernel's chores keep away", fix))
}

fn limits(look: &Look) -> Result<Finding, Cannot> {
    let pid = look.scene.runs.first().map_or("self".to_owned(), u32::to_string);
    let files = soft(&look.text(&format!("/proc/{pid}/limits"))?, "Max open files");
    let files = files.ok_or_else(|| Cannot::Read("limits: no Max open files".to_owned()))?;
    let pattern = look.text("/proc/sys/kernel/core_pattern")?;
    let mut wrong = Vec::new();
    let mut fix = Vec::new();
    if files.parse::<u64>().is_ok_and(|n| n < FILES_LEAST) {
        wrong.push(format!("{files} open files at most"));
        fix.push("ulimit -n 65536 # or LimitNOFILE=65536 in the unit".to_owned());
    }
    if pattern.starts_with('|') {
        wrong.push("cores are piped to a program".to_owned());
        fix.push("sysctl -w kernel.core_pattern=core.%e.%p".to_owned());
    }
    Ok(Finding::of(&wrong, format!("{files} open files, core pattern {pattern}"), fix))
}

fn profiling(look: &Look) -> Result<Finding, Cannot> {
    let paranoid = look.number("/proc/sys/kernel/perf_event_paranoid")?;
    let hidden = look.number("/proc/sys/kernel/kptr_restrict")?;
    let status = look.text("/proc/self/status")?;
    let perfmon = capable(&status, PERFMON).unwrap_or(false);
    let may = perfmon || paranoid <= 1;
    let found = format!(
        "perf_event_paranoid {paranoid}, kptr_restrict {hidden}, CAP_PERFMON {}: {}",
        if perfmon { "yes" } else { "no" },
        if may { "perf may look into the kernel" } else { "perf sees this user's code only" }
    );
    Ok(Finding::told(found))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, missing, three_ways};
    use super::*;

    const LIMITS: &str = "Limit Soft Hard\nMax open files            20000   20000   files\nMax realtime priority     0   0\n";

    fn running(policy: u32, throttle: &str, isolated: &str) -> Fake {
        let zeros = "0 ".repeat(37);
        let stat = format!("8 (engine) R {zeros}{policy} 0 0");
        Fake::new().run(7).files(&[
            ("/proc/sys/kernel/sched_rt_runtime_us", throttle),
            ("/proc/self/status", "CapEff:\t0000000000800000\n"),
            ("/proc/self/limits", LIMITS),
            ("/proc/7/task/8/comm", "engine"),
            ("/proc/7/task/8/stat", &stat),
            ("/sys/devices/system/cpu/isolated", isolated),
        ])
    }

    #[test]
    fn a_realtime_thread_that_spins_needs_a_core_of_its_own_and_no_throttle() {
        let verdict = |policy, throttle, isolated| {
            running(policy, throttle, isolated).check(CHECKS, "realtime").verdict
        };
        assert_eq!(verdict(0, "950000", ""), Verdict::Pass);
        assert_eq!(verdict(1, "950000", "2-3"), Verdict::Warn);
        assert_eq!(verdict(1, "-1", "2"), Verdict::Warn);
        assert_eq!(verdict(1, "-1", "2-3"), Verdict::Pass);
        let parked = running(1, "950000", "").set(|config| config.run.idle = Idle::Park);
        assert_eq!(parked.check(CHECKS, "realtime").verdict, Verdict::Pass);
        missing(CHECKS, "realtime");
    }

    #[test]
    fn chores_are_switched_off_or_moved() {
        let files = |watchdog, interval, mask| {
            [
                ("/proc/sys/kernel/watchdog", watchdog),
                ("/proc/sys/vm/stat_interval", interval),
                ("/sys/devices/virtual/workqueue/cpumask", mask),
            ]
        };
        three_ways(CHECKS, "housekeeping", &files("0", "10", "3"), &files("1", "10", "3"));
        three_ways(CHECKS, "housekeeping", &files("0", "120", "3"), &files("0", "1", "3"));
        let queues = Fake::new().files(&files("0", "10", "f")).check(CHECKS, "housekeeping");
        assert_eq!(queues.fix, ["echo 00000003 > /sys/devices/virtual/workqueue/cpumask"]);
    }

    #[test]
    fn limits_that_are_too_low_are_named() {
        let files = |limits, pattern| {
            [("/proc/self/limits", limits), ("/proc/sys/kernel/core_pattern", pattern)]
        };
        let low = LIMITS.replace("20000", "256");
        three_ways(CHECKS, "limits", &files(LIMITS, "core"), &files(&low, "core"));
        three_ways(CHECKS, "limits", &files(LIMITS, "core"), &files(LIMITS, "|/usr/share/apport"));
    }

    #[test]
    fn what_perf_may_is_told() {
        let files = |paranoid| {
            let fake = Fake::new().file("/proc/sys/kernel/perf_event_paranoid", paranoid);
            let fake = fake.file("/proc/sys/kernel/kptr_restrict", "1");
            fake.file("/proc/self/status", "CapEff:\t0").check(CHECKS, "profiling")
        };
        assert!(files("2").found.contains("this user's code only"));
        assert!(
            files("-1").found.contains("into the kernel") && files("1").verdict == Verdict::Info
        );
        missing(CHECKS, "profiling");
    }
}
