//! What takes time from a hot thread: quotas, neighbours, the scheduler, page faults, hiccups.

use super::check::{Check, Finding, Level, Scope};
use super::host::{Cannot, Look, field};
use super::running::{self, Thread};
use crate::run::crew::Idle;
use crate::run::jitter::{Grade, Hiccups};

/// What is taken, and how much of it.
pub const CHECKS: &[Check] = &[
    Check {
        name: "cpu-quota",
        level: Level::Warn,
        scope: Scope::Own,
        why: "A spinning thread under a quota uses it up and is frozen for the rest of each period: \
              tens of milliseconds.",
        ask: quota,
    },
    Check {
        name: "steal",
        level: Level::Warn,
        scope: Scope::Own,
        why: "Time that the hypervisor gave to others, or that runnable threads waited for a core.",
        ask: steal,
    },
    Check {
        name: "involuntary-switches",
        level: Level::Warn,
        scope: Scope::Own,
        why: "Each is a moment at which the scheduler took the core from a hot thread.",
        ask: switches,
    },
    Check {
        name: "page-faults",
        level: Level::Warn,
        scope: Scope::Own,
        why: "A fault after the start costs microseconds, one that reads from disk milliseconds.",
        ask: faults,
    },
    Check {
        name: "jitter",
        level: Level::Fail,
        scope: Scope::Own,
        why: "The longest time a spinning thread does not run is the least your tail can be.",
        ask: jitter,
    },
];

/// Ticks of 10 ms stolen from a core in the second that is watched, at most; runnable time waited, ns.
const STOLEN_MAX: u64 = 1;
const WAITED_MAX_NS: u64 = 1_000_000;

/// The group of this process, or of the run, under /sys/fs/cgroup; empty for the root.
#[must_use]
pub fn own_group(look: &Look) -> String {
    let pid = look.scene.runs.first().map_or("self".to_owned(), u32::to_string);
    let text = look.text(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let group = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let safe = !group.contains("..");
    if safe { group.trim_end_matches('/').to_owned() } else { String::new() }
}

/// The group and everything above it, the root last.
fn groups(look: &Look) -> Vec<String> {
    let mut group = own_group(look);
    let mut all = Vec::new();
    while !group.is_empty() {
        all.push(group.clone());
        group.truncate(group.rfind('/').unwrap_or(0));
    }
    all.push(String::new());
    all
}

fn quota(look: &Look) -> Result<Finding, Cannot> {
    let mut limits = Vec::new();
    let mut seen = false;
    for group in groups(look) {
        let folder = format!("/sys/fs/cgroup{group}");
        if let Ok(max) = look.text(&format!("{folder}/cpu.max")) {
            seen = true;
            if !max.starts_with("max") {
                limits.push(format!("{folder}/cpu.max = {max}"));
            }
        }
        let stat = look.text(&format!("{folder}/cpu.stat")).unwrap_or_default();
        let throttled = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        if throttled.is_some_and(|n| n != "0") {
            limits.push(format!("{folder}: throttled {} times", throttled.unwrap_or_default()));
        }
    }
    let old = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us";
    if let Ok(quota) = look.number(old) {
        seen = true;
        if quota > 0 {
            limits.push(format!("{old} = {quota}"));
        }
    }
    if !seen {
        let why = "no cpu.max or cpu.cfs_quota_us (the root group has none on the host itself)";
        return Err(Cannot::Read(format!("/sys/fs/cgroup: {why}")));
    }
    let fix = vec![
        "systemctl set-property --runtime foreshock.service CPUQuota=".to_owned(),
        "# docker: start without --cpus; kubernetes: no CPU limit, or whole CPUs with the static policy"
            .to_owned(),
    ];
    Ok(Finding::of(&limits, "no quota", fix))
}

/// Ticks stolen from each core, by the lines of /proc/stat.
#[must_use]
pub fn stolen(stat: &str) -> Vec<(usize, u64)> {
    let core = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let core = words.next()?.parse().ok()?;
        Some((core, words.nth(7)?.parse().ok()?))
    };
    stat.lines().filter(|line| !line.starts_with("cpu ")).filter_map(core).collect()
}

fn steal(look: &Look) -> Result<Finding, Cannot> {
    let (then, now) = look.twice("/proc/stat")?;
    let before = stolen(&then);
    if before.is_empty() {
        return Err(Cannot::Read("/proc/stat: no count of stolen time".to_owned()));
    }
    let of = |core| before.iter().find(|(known, _)| *known == core).map_or(0, |(_, n)| *n);
    let mut taken: Vec<_> = stolen(&now)
        .into_iter()
        .map(|(core, ticks)| (core, ticks.saturating_sub(of(core))))
        .filter(|(_, ticks)| *ticks > STOLEN_MAX)
        .map(|(core, ticks)| format!("core {core}: {} ms of a second stolen", ticks * 10))
        .collect();
    let mut unknown = "";
    for thread in running::threads(look) {
        match grown(look, &thread.file("schedstat"), |text| nth(text, 1)) {
            Ok(waited) if waited > WAITED_MAX_NS => {
                taken.push(format!("{} waited {} us for its core", thread.name, waited / 1_000));
            }
            Ok(_) => {}
            Err(_) => unknown = "; how long threads waited is unknown (no schedstat)",
        }
    }
    let pressure = look.text("/proc/pressure/cpu").unwrap_or_default();
    let average = pressure.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg60="));
    let average = average.map_or(String::new(), |a| format!("; pressure {a} % over a minute"));
    let fix = vec![
        "# stolen: take a dedicated or metal instance; waited: keep other work off the hot cores"
            .to_owned(),
    ];
    Ok(Finding::of(&taken, format!("nothing stolen in a second{average}{unknown}"), fix))
}

/// The word of this number.
fn nth(text: &str, n: usize) -> Option<u64> {
    text.split_ascii_whitespace().nth(n)?.parse().ok()
}

/// How much a number in a watched file grew.
fn grown(look: &Look, path: &str, number: impl Fn(&str) -> Option<u64>) -> Result<u64, Cannot> {
    let (then, now) = look.twice(path)?;
    let (then, now) = (number(&then), number(&now));
    let grown = then.zip(now).map(|(then, now)| now.saturating_sub(then));
    grown.ok_or_else(|| Cannot::Read(format!("{path}: no such number in it")))
}

/// Complaints about each hot thread of the run; `of` gives one, or nothing.
fn each_thread(
    look: &Look,
    of: impl Fn(&Thread) -> Result<Option<String>, Cannot>,
) -> Result<Vec<String>, Cannot> {
    running::needed(look)?.iter().filter_map(|thread| of(thread).transpose()).collect()
}

fn switches(look: &Look) -> Result<Finding, Cannot> {
    let count = |text: &str| field(text, "nonvoluntary_ctxt_switches")?.parse().ok();
    let taken = each_thread(look, |thread| {
        let n = grown(look, &thread.file("status"), count)?;
        Ok((n > 0).then(|| format!("{}: {n} in a second", thread.name)))
    })?;
    // The kernel counts a thread that gives up its core, and could go on, as one that was made to.
    if look.scene.config.run.idle == Idle::Yield && !taken.is_empty() {
        let found =
            format!("{}; with run.idle = yield its own yields are among them", taken.join("; "));
        return Ok(Finding::told(found));
    }
    let fix =
        "# pin the thread to a core that is set aside: see pinned-cores and isolated".to_owned();
    Ok(Finding::of(&taken, "none in a second", vec![fix]))
}

fn faults(look: &Look) -> Result<Finding, Cannot> {
    let taken = each_thread(look, |thread| {
        let path = thread.file("stat");
        let minor = grown(look, &path, |text| behind_name(text, 10))?;
        let major = grown(look, &path, |text| behind_name(text, 12))?;
        let words = || format!("{}: {minor} minor, {major} major in a second", thread.name);
        Ok((minor + major > 0).then(words))
    })?;
    let fix = vec![super::memory::SWAP_OFF.to_owned(), "# and see memory-locked".to_owned()];
    Ok(Finding::of(&taken, "none in a second", fix))
}

/// A field of `/proc/PID/stat` by its number in the manual, from 1; names may hold anything.
#[must_use]
pub fn behind_name(stat: &str, field: usize) -> Option<u64> {
    nth(stat.rsplit_once(')')?.1, field.checked_sub(3)?)
}

fn jitter(look: &Look) -> Result<Finding, Cannot> {
    look.note("spinning on the monotonic clock");
    let cores = look.scene.hiccups.as_ref().map_err(|why| Cannot::Apply(why.clone()))?;
    let unpinned: Vec<&str> = cores.iter().filter_map(|core| core.trouble.as_deref()).collect();
    let Some(worst) = cores.iter().map(Hiccups::grade).max() else {
        return Err(Cannot::Apply("there is no core to measure".to_owned()));
    };
    if let [first, ..] = unpinned.as_slice() {
        return Err(Cannot::Read((*first).to_owned()));
    }
    let each: Vec<_> = cores.iter().map(Hiccups::words).collect();
    let found = each.join("; ");
    if worst <= Grade::B {
        return Ok(Finding::good(found));
    }
    let fix =
        ["foreshock jitter --duration 30s # then mend isolated, tickless, interrupts, idle-states"
            .to_owned()];
    let level = if worst == Grade::D && !look.scene.machine.is_virtual() {
        Level::Fail
    } else {
        Level::Warn
    };
    Ok(Finding::short(found, fix).at(level))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, missing};
    use super::*;

    #[test]
    fn a_quota_anywhere_above_is_found() {
        let own = ("/proc/self/cgroup", "0::/a/b");
        let path = |group: &str| format!("/sys/fs/cgroup/{group}/cpu.max");
        let fake = |a, b| {
            let fake = Fake::new().files(&[own]).file(&path("a"), a).file(&path("a/b"), b);
            fake.check(CHECKS, "cpu-quota")
        };
        assert_eq!(fake("max 100000", "max 100000").verdict, Verdict::Pass);
        let limited = fake("150000 100000", "max 100000");
        assert!(
            limited.verdict == Verdict::Warn && limited.found.contains("150000"),
            "{limited:?}"
        );
        let old = Fake::new().file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000");
        assert_eq!(old.check(CHECKS, "cpu-quota").verdict, Verdict::Warn);
        let stat = Fake::new()
            .file("/sys/fs/cgroup/cpu.max", "max 1")
            .file("/sys/fs/cgroup/cpu.stat", "nr_throttled 3");
        assert!(stat.check(CHECKS, "cpu-quota").found.contains("throttled 3 times"));
        missing(CHECKS, "cpu-quota");
    }

    #[test]
    fn stolen_time_is_counted_over_a_second() {
        let stat = |n: u64| format!("cpu 1 1 1 1 1 1 1 {n} 0\ncpu0 1 1 1 1 1 1 1 {n} 0\nintr 4\n");
        assert_eq!(stolen(&stat(5)), [(0, 5)]);
        let after = |n| {
            let fake = Fake::new().before("/proc/stat", &stat(5)).file("/proc/stat", &stat(n));
            fake.check(CHECKS, "steal")
        };
        assert_eq!(after(6).verdict, Verdict::Pass);
        assert_eq!(after(12).found, "core 0: 70 ms of a second stolen");
        missing(CHECKS, "steal");
        let old = Fake::new().before("/proc/stat", "cpu0 1 1").file("/proc/stat", "cpu0 1 1");
        assert_eq!(old.check(CHECKS, "steal").verdict, Verdict::Unread);
    }

    fn thread(before: &str, now: &str, file: &str) -> Fake {
        let path = format!("/proc/7/task/8/{file}");
        let fake = Fake::new().run(7).file("/proc/7/task/8/comm", "engine");
        fake.before(&path, before).file(&path, now)
    }

    #[test]
    fn switches_and_faults_of_a_run_are_counted_and_without_one_it_is_said() {
        let key = "nonvoluntary_ctxt_switches:\t";
        let switched = |n, idle| {
            let fake = thread(&format!("{key}5"), &format!("{key}{n}"), "status");
            fake.set(|config| config.run.idle = idle).check(CHECKS, "involuntary-switches")
        };
        assert_eq!(switched(5, Idle::Yield).verdict, Verdict::Pass);
        let taken = switched(9, Idle::Spin);
        assert_eq!((taken.verdict, taken.found.as_str()), (Verdict::Warn, "engine: 4 in a second"));
        assert_eq!(switched(9, Idle::Yield).verdict, Verdict::Info, "it yields by itself");
        let stat = |minor, major| format!("8 (a ) b) R 1 1 1 1 1 1 {minor} 0 {major} 0 1 1");
        let faulted = |minor, major| {
            thread(&stat(3, 1), &stat(minor, major), "stat").check(CHECKS, "page-faults")
        };
        assert_eq!(faulted(3, 1).verdict, Verdict::Pass);
        assert_eq!(faulted(5, 2).found, "engine: 2 minor, 1 major in a second");
        for name in ["involuntary-switches", "page-faults"] {
            let without = Fake::new().check(CHECKS, name);
            assert!(without.verdict == Verdict::Skip && without.found.contains("foreshock run"));
            let unseen =
                Fake::new().run(7).file("/proc/7/task/8/comm", "engine").check(CHECKS, name);
            assert_eq!(unseen.verdict, Verdict::Unread);
        }
    }

    #[test]
    fn the_grade_of_the_worst_core_decides() {
        let verdict = |max_ns: &[u64], is_virtual| {
            let mut scene = Fake::new().virtual_machine(is_virtual).scene();
            scene.hiccups = Ok(max_ns.iter().map(|ns| Hiccups::of(2, &[*ns])).collect());
            super::super::check::judge("g", &CHECKS[4], &scene).verdict
        };
        assert_eq!(verdict(&[9_000, 49_000], false), Verdict::Pass);
        assert_eq!(verdict(&[9_000, 51_000], false), Verdict::Warn);
        assert_eq!(verdict(&[2_000_000], false), Verdict::Fail);
        assert_eq!(verdict(&[2_000_000], true), Verdict::Warn, "it is the hypervisor's doing");
        assert_eq!(Fake::new().check(CHECKS, "jitter").verdict, Verdict::Skip);
    }
}
