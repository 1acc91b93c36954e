//! Memory: what makes a page that was there not be there.

use super::check::{Check, Finding, Level, Scope};
use super::host::{Cannot, Look, chosen, field};

/// What moves, merges or takes pages away.
pub const CHECKS: &[Check] = &[
    Check {
        name: "memory-locked",
        level: Level::Warn,
        scope: Scope::Own,
        why: "A page that was taken away is fetched again in the middle of a turn.",
        ask: locked,
    },
    Check {
        name: "swap",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "A page read back from swap takes milliseconds.",
        ask: swap,
    },
    Check {
        name: "page-daemons",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "Huge-page compaction, page merging and NUMA balancing stop a thread to move its pages.",
        ask: daemons,
    },
    Check {
        name: "huge-pages",
        level: Level::Info,
        scope: Scope::Kernel,
        why: "With huge pages the rings and windows need fewer entries of the TLB; foreshock does \
              not ask for any.",
        ask: huge,
    },
];

/// Takes swap away.
pub const SWAP_OFF: &str = "swapoff -a # memory must have room for what is in it";

/// Bytes that may be locked, by /proc/self/limits; `None` without limit.
fn lockable(limits: &str) -> Result<Option<u64>, Cannot> {
    match super::limits::soft(limits, "Max locked memory").as_deref() {
        Some("unlimited") => Ok(None),
        Some(text) if text.parse::<u64>().is_ok() => Ok(text.parse().ok()),
        _ => Err(Cannot::Read("/proc/self/limits: no Max locked memory".to_owned())),
    }
}

fn locked(look: &Look) -> Result<Finding, Cannot> {
    let swaps = look.text("/proc/swaps")?;
    let limit = lockable(&look.text("/proc/self/limits")?)?;
    let limit = limit.map_or("no limit".to_owned(), |bytes| format!("limit {} KiB", bytes >> 10));
    let pid = look.scene.runs.first();
    let status = pid.map(|pid| look.text(&format!("/proc/{pid}/status"))).transpose()?;
    let amount = status.as_deref().and_then(|status| field(status, "VmLck")).unwrap_or("0 kB");
    if amount != "0 kB" {
        return Ok(Finding::good(format!("{amount} locked ({limit})")));
    }
    let swapless = swaps.lines().count() <= 1;
    if swapless {
        let found =
            "foreshock does not lock its pages; without swap only those of files can be taken away";
        return Ok(Finding::told(format!("{found} ({limit})")));
    }
    let found = format!("not locked, and there is swap ({limit})");
    Ok(Finding::short(found, [SWAP_OFF.to_owned()]))
}

fn swap(look: &Look) -> Result<Finding, Cannot> {
    let swaps = look.text("/proc/swaps")?;
    let swappiness = look.number("/proc/sys/vm/swappiness")?;
    let used: u64 = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok())
        .sum();
    let areas = swaps.lines().count().saturating_sub(1);
    let mut own = String::new();
    for pid in &look.scene.runs {
        let status = look.text(&format!("/proc/{pid}/status"))?;
        let swapped = field(&status, "VmSwap").filter(|amount| *amount != "0 kB");
        own.extend(swapped.map(|amount| format!("; run {pid} has {amount} of it")));
    }
    let found = format!("{areas} areas, {used} KiB used, swappiness {swappiness}{own}");
    if areas == 0 {
        return Ok(Finding::good("there is none"));
    }
    if used == 0 && swappiness <= 1 && own.is_empty() {
        return Ok(Finding::good(found));
    }
    Ok(Finding::short(found, [SWAP_OFF.to_owned(), "sysctl -w vm.swappiness=0".to_owned()]))
}

fn daemons(look: &Look) -> Result<Finding, Cannot> {
    let thp = "/sys/kernel/mm/transparent_hugepage";
    let mut on = Vec::new();
    let mut fix = Vec::new();
    let mut complain = |what: String, command: &str| {
        on.push(what);
        fix.push(command.to_owned());
    };
    let enabled = look.text(&format!("{thp}/enabled"))?;
    if chosen(&enabled) == "always" {
        complain(
            "huge pages are made everywhere (always)".to_owned(),
            &format!("echo madvise > {thp}/enabled"),
        );
    }
    let defrag = look.text(&format!("{thp}/defrag"))?;
    if chosen(&defrag) == "always" {
        complain(
            "an allocation may wait for compaction (defrag always)".to_owned(),
            &format!("echo madvise > {thp}/defrag"),
        );
    }
    // Not built into every kernel: what is not there does not run.
    let ksm = "/sys/kernel/mm/ksm/run";
    if look.number(ksm).is_ok_and(|run| run == 1) {
        complain("pages are merged (ksm)".to_owned(), &format!("echo 0 > {ksm}"));
    }
    let balancing = "/proc/sys/kernel/numa_balancing";
    if look.number(balancing).is_ok_and(|on| on != 0) {
        complain(
            "pages are moved between nodes (numa_balancing)".to_owned(),
            "sysctl -w kernel.numa_balancing=0",
        );
    }
    Ok(Finding::of(
        &on,
        format!("huge pages: {}, defrag: {}", chosen(&enabled), chosen(&defrag)),
        fix,
    ))
}

fn huge(look: &Look) -> Result<Finding, Cannot> {
    let text = look.text("/proc/meminfo")?;
    let of = |key| field(&text, key).unwrap_or("unknown");
    let found = format!(
        "{} of {} free, {}",
        of("HugePages_Free"),
        of("HugePages_Total"),
        of("Hugepagesize")
    );
    Ok(Finding::told(found))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, missing, three_ways};
    use super::*;

    const NONE: &str = "Filename Type Size Used Priority\n";
    const ONE: &str = "Filename Type Size Used Priority\n/dev/sda2 partition 100 50 -2\n";
    const LIMITS: (&str, &str) = (
        "/proc/self/limits",
        "Limit   Soft   Hard   Units\nMax locked memory         8388608              8388608              bytes\n",
    );

    #[test]
    fn locked_pages_are_those_of_the_run() {
        let fake = |swaps, lock: &str| {
            let status = format!("VmLck:\t{lock}\nVmSwap:\t0 kB\n");
            let fake = Fake::new().files(&[LIMITS, ("/proc/swaps", swaps)]).run(7);
            fake.file("/proc/7/status", &status).check(CHECKS, "memory-locked")
        };
        assert_eq!(fake(ONE, "9000 kB").verdict, Verdict::Pass);
        let open = fake(ONE, "0 kB");
        assert!(open.verdict == Verdict::Warn && open.found.contains("8192 KiB"), "{open:?}");
        assert_eq!(fake(NONE, "0 kB").verdict, Verdict::Info);
        missing(CHECKS, "memory-locked");
    }

    #[test]
    fn swap_that_is_not_there_is_best() {
        let files =
            |swaps, swappiness| [("/proc/swaps", swaps), ("/proc/sys/vm/swappiness", swappiness)];
        three_ways(CHECKS, "swap", &files(NONE, "60"), &files(ONE, "1"));
        let unused = ONE.replace(" 50 ", " 0 ");
        three_ways(CHECKS, "swap", &files(&unused, "0"), &files(&unused, "60"));
        let own =
            Fake::new().files(&files(&unused, "0")).run(7).file("/proc/7/status", "VmSwap:\t12 kB");
        assert!(own.check(CHECKS, "swap").found.contains("run 7 has 12 kB"));
    }

    #[test]
    fn what_moves_pages_is_switched_off_one_by_one() {
        let thp = |enabled, defrag| {
            [
                ("/sys/kernel/mm/transparent_hugepage/enabled", enabled),
                ("/sys/kernel/mm/transparent_hugepage/defrag", defrag),
            ]
        };
        let calm = thp("always [madvise] never", "always defer [madvise] never");
        three_ways(CHECKS, "page-daemons", &calm, &thp("[always] madvise never", "[never]"));
        three_ways(CHECKS, "page-daemons", &calm, &thp("[never]", "[always] never"));
        for (path, command) in [
            ("/sys/kernel/mm/ksm/run", "echo 0 > /sys/kernel/mm/ksm/run"),
            ("/proc/sys/kernel/numa_balancing", "sysctl -w kernel.numa_balancing=0"),
        ] {
            let row = Fake::new().files(&calm).file(path, "1").check(CHECKS, "page-daemons");
            assert_eq!(row.fix, [command]);
        }
    }

    #[test]
    fn huge_pages_are_told() {
        let text =
            "HugePages_Total:       4\nHugePages_Free:       3\nHugepagesize:       2048 kB\n";
        let row = Fake::new().file("/proc/meminfo", text).check(CHECKS, "huge-pages");
        assert_eq!((row.verdict, row.found.as_str()), (Verdict::Info, "3 of 4 free, 2048 kB"));
        missing(CHECKS, "huge-pages");
    }
}
