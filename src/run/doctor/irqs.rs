//! Interrupts and what the kernel does right after them.

use super::check::{Check, Finding, Level, Scope};
use super::cores::hot;
use super::cpus::Cpus;
use super::host::{Cannot, Look};

/// Who interrupts the hot cores.
pub const CHECKS: &[Check] = &[
    Check {
        name: "interrupts",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "A device that interrupts a hot core takes microseconds from its thread each time; only \
              the card's queue that brings the venue's packets may.",
        ask: interrupts,
    },
    Check {
        name: "softirqs",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "Packets dropped or put off between the card and the socket are late or lost.",
        ask: softirqs,
    },
];

/// Interrupts of one kind between cores that a hot core may still have in a second: rescheduling,
/// function calls, TLB shootdowns.
const CROSS_MAX: u64 = 10;

/// The counters of /proc/interrupts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    cpus: Vec<usize>,
    rows: Vec<(String, Vec<u64>, String)>,
}

impl Counts {
    /// How often an interrupt came to a core.
    #[must_use]
    pub fn of(&self, name: &str, cpu: usize) -> Option<u64> {
        let column = self.cpus.iter().position(|known| *known == cpu)?;
        let (_, counts, _) = self.rows.iter().find(|(known, ..)| known == name)?;
        counts.get(column).copied()
    }
}

/// Reads /proc/interrupts.
#[must_use]
pub fn counts(text: &str) -> Counts {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default().split_ascii_whitespace();
    let cpus: Vec<usize> = head.filter_map(|word| word.strip_prefix("CPU")?.parse().ok()).collect();
    let row = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let numbers = words.iter().take(cpus.len()).map_while(|word| word.parse().ok()).collect();
        let what = words.get(cpus.len()..).unwrap_or_default().join(" ");
        Some((name.trim().to_owned(), numbers, what))
    };
    let rows = lines.filter_map(row).collect();
    Counts { cpus, rows }
}

fn interrupts(look: &Look) -> Result<Finding, Cannot> {
    let hot = hot(look)?;
    let (then, now) = look.twice("/proc/interrupts")?;
    let (before, after) = (counts(&then), counts(&now));
    if hot.0.iter().any(|cpu| !after.cpus.contains(cpu)) {
        return Err(Cannot::Read(format!("/proc/interrupts: no columns of cores {hot}")));
    }
    let ours = look.each("/sys/class/net/*/device/msi_irqs/*");
    let ours: Vec<&str> = ours.iter().filter_map(|(path, _)| path.rsplit('/').next()).collect();
    let mut wrong = Vec::new();
    let mut fix = Vec::new();
    let effective = look.each("/proc/irq/*/effective_affinity_list");
    let number = |path: &str| path.split('/').nth(3).unwrap_or_default().to_owned();
    for (name, _, what) in &after.rows {
        for &cpu in &hot.0 {
            let came = after.of(name, cpu).zip(before.of(name, cpu));
            let came = came.map_or(0, |(after, before)| after.saturating_sub(before));
            let device = name.parse::<u32>().is_ok();
            let most = if device { 0 } else { CROSS_MAX };
            // The timer has a check of its own.
            let known = matches!(name.as_str(), "LOC" | "ERR" | "MIS");
            if came > most && !known && !(device && ours.contains(&name.as_str())) {
                wrong.push(format!("core {cpu}: {came} a second of {name} ({what})"));
            }
        }
    }
    for (path, list) in &effective {
        let irq = number(path);
        let here = Cpus::list(list).also_in(&hot);
        let known = after.rows.iter().any(|(name, ..)| *name == irq);
        if !here.is_empty() && known && !ours.contains(&irq.as_str()) {
            wrong.push(format!("interrupt {irq} may come to {here}"));
        }
    }
    if !wrong.is_empty() {
        fix = away(look, &hot);
    }
    Ok(Finding::of(&shortened(wrong), format!("none on {hot} in a second"), fix))
}

/// Commands that move interrupts to the other cores.
fn away(look: &Look, hot: &Cpus) -> Vec<String> {
    let online = Cpus::list(&look.text("/sys/devices/system/cpu/online").unwrap_or_default());
    let others = online.without(hot);
    if others.is_empty() {
        return vec!["# every core is hot: leave one for the kernel".to_owned()];
    }
    let smp = "/proc/irq/*/smp_affinity_list";
    vec![
        "systemctl stop irqbalance # or set IRQBALANCE_BANNED_CPULIST to the hot cores".to_owned(),
        format!("for f in {smp}; do echo {others} > \"$f\" 2> /dev/null; done"),
        format!("echo {} > /proc/irq/default_smp_affinity", others.to_mask()),
    ]
}

/// A long list of complaints by its first.
fn shortened(mut all: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 5;
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}

fn softirqs(look: &Look) -> Result<Finding, Cannot> {
    look.text("/proc/softirqs")?;
    let (then, now) = look.twice("/proc/net/softnet_stat")?;
    let counted = squeezes(&then).zip(squeezes(&now));
    let unknown = || Cannot::Read("/proc/net/softnet_stat: its columns are not known".to_owned());
    let (before, after) = counted.ok_or_else(unknown)?;
    let grown = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
    let found = format!(
        "{} packets dropped and {} times cut short since boot; {} and {} in the last second",
        after[0], after[1], grown[0], grown[1]
    );
    if after[0] == 0 && grown[1] == 0 {
        return Ok(Finding::good(found));
    }
    let fix = [
        "sysctl -w net.core.netdev_max_backlog=16384".to_owned(),
        "sysctl -w net.core.netdev_budget=600 net.core.netdev_budget_usecs=8000".to_owned(),
    ];
    Ok(Finding::short(found, fix))
}

/// Sums of the second and third column: dropped, time squeezed.
fn squeezes(text: &str) -> Option<[u64; 2]> {
    let column = |n| {
        let cell = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(n)?, 16).ok();
        text.lines().map(cell).sum::<Option<u64>>()
    };
    if text.is_empty() { None } else { Some([column(1)?, column(2)?]) }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, missing};
    use super::*;

    fn table(device: u32, tlb: u32) -> String {
        format!(
            "           CPU0  CPU1  CPU2  CPU3\n  24:  5 0 {device} 0  IO-APIC  nvme0q1\n\
             LOC: 1 1 1 1 Local timer interrupts\nTLB: 0 0 0 {tlb} TLB shootdowns\nERR: 0\n"
        )
    }

    fn after(now: &str) -> Fake {
        let fake = Fake::new().before("/proc/interrupts", &table(7, 100));
        fake.file("/proc/interrupts", now).file("/sys/devices/system/cpu/online", "0-3")
    }

    #[test]
    fn a_device_or_another_core_that_interrupts_is_named() {
        assert_eq!(after(&table(7, 100)).check(CHECKS, "interrupts").verdict, Verdict::Pass);
        let device = after(&table(9, 100)).check(CHECKS, "interrupts");
        assert!(device.found.contains("core 2: 2 a second of 24 (IO-APIC nvme0q1)"), "{device:?}");
        assert!(device.fix.iter().any(|line| line.contains("echo 0-1 >")), "{device:?}");
        assert_eq!(device.fix.last().unwrap(), "echo 00000003 > /proc/irq/default_smp_affinity");
        let cross = after(&table(7, 300)).check(CHECKS, "interrupts");
        assert!(cross.found.contains("core 3: 200 a second of TLB"), "{cross:?}");
        missing(CHECKS, "interrupts");
        assert_eq!(after("CPU0 CPU1\n").check(CHECKS, "interrupts").verdict, Verdict::Unread);
    }

    #[test]
    fn where_an_interrupt_may_come_counts_and_the_cards_own_do_not() {
        let routed = after(&table(7, 100)).file("/proc/irq/24/effective_affinity_list", "2");
        let routed = routed.check(CHECKS, "interrupts");
        assert!(routed.found.contains("interrupt 24 may come to 2"), "{routed:?}");
        let card = after(&table(90, 100)).file("/proc/irq/24/effective_affinity_list", "2");
        let card = card.file("/sys/class/net/eth0/device/msi_irqs/24", "msix");
        assert_eq!(card.check(CHECKS, "interrupts").verdict, Verdict::Pass);
    }

    #[test]
    fn packets_dropped_or_put_off_are_counted() {
        let stat = |dropped, squeezed| format!("0001 {dropped:08x} {squeezed:08x} 0\n0002 0 0 0\n");
        let fake = |then: String, now: String| {
            let fake = Fake::new().before("/proc/net/softnet_stat", &then);
            let fake = fake.file("/proc/net/softnet_stat", &now).file("/proc/softirqs", "");
            fake.check(CHECKS, "softirqs").verdict
        };
        assert_eq!(fake(stat(0, 9), stat(0, 9)), Verdict::Pass);
        assert_eq!(fake(stat(0, 9), stat(0, 30)), Verdict::Warn);
        assert_eq!(fake(stat(2, 0), stat(2, 0)), Verdict::Warn);
        assert_eq!(fake("0".to_owned(), String::new()), Verdict::Unread);
        missing(CHECKS, "softirqs");
    }
}
