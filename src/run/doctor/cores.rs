//! Cores: whether each hot thread has one, and has it to itself.

use super::check::{Check, Finding, Level, Scope};
use super::cpus::Cpus;
use super::host::{Cannot, Look, field};
use crate::config::Layout;
use crate::run::pipeline::{self, Seat};

/// Which cores, and who else may run on them.
pub const CHECKS: &[Check] = &[
    Check {
        name: "pinned-cores",
        level: Level::Fail,
        scope: Scope::Own,
        why: "A thread that moves finds cold caches; two spinning threads on one core wait \
              milliseconds for each other.",
        ask: pinned,
    },
    Check {
        name: "isolated",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "The scheduler puts other work on a core that is not set aside, and takes it from the \
              hot thread.",
        ask: isolated,
    },
    Check {
        name: "tickless",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "Each timer tick interrupts the hot thread for microseconds, up to 1,000 times a second.",
        ask: tickless,
    },
    Check {
        name: "rcu-callbacks",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "The kernel's deferred frees run on the core that caused them unless they are moved away.",
        ask: rcu,
    },
    Check {
        name: "smt-sibling",
        level: Level::Warn,
        scope: Scope::Metal,
        why: "Two threads of one physical core share its caches and execution units.",
        ask: sibling,
    },
    Check {
        name: "numa",
        level: Level::Warn,
        scope: Scope::Metal,
        why: "A core on another node than the network card fetches every packet over the link \
              between the nodes.",
        ask: numa,
    },
];

/// Ticks a second that a core without the timer may still have.
const TICKS_MAX: u64 = 10;

/// Cores for the hot threads where none are configured: the last ones, never the first, which the
/// kernel itself likes best.
#[must_use]
pub fn propose(online: &Cpus, threads: usize) -> Cpus {
    online.0.iter().skip(1).rev().take(threads).copied().collect()
}

/// The seats of the configured layout.
#[must_use]
pub fn seats(look: &Look) -> (Layout, Vec<Seat>) {
    let run = &look.scene.config.run;
    let layout = pipeline::layout(run).0;
    (layout, pipeline::seats(layout, run))
}

/// The cores that are judged: those that are configured, else those that would be proposed.
///
/// # Errors
/// When there is only one core, and nothing to set aside.
pub fn hot(look: &Look) -> Result<Cpus, Cannot> {
    let cpus = &look.scene.cpus;
    if cpus.is_empty() {
        return Err(Cannot::Apply("there is no core to set aside beside the first".to_owned()));
    }
    Ok(cpus.clone())
}

/// What to add to the kernel's command line, as commands for the distributions that have grubby.
#[must_use]
pub fn boot(arguments: &str) -> Vec<String> {
    vec![
        format!("grubby --update-kernel=ALL --args=\"{arguments}\""),
        "# without grubby: add it to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub"
            .to_owned(),
        "# takes effect after: reboot".to_owned(),
    ]
}

/// The value of an argument on the kernel's command line.
fn argument(look: &Look, name: &str) -> Result<Option<String>, Cannot> {
    let line = look.text("/proc/cmdline")?;
    let value = |word: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    Ok(line.split_ascii_whitespace().find_map(value))
}

/// A list of CPUs in a file; an empty or missing file names none.
fn listed(look: &Look, path: &str) -> Cpus {
    Cpus::list(&look.text(path).unwrap_or_default())
}

fn pinned(look: &Look) -> Result<Finding, Cannot> {
    let online = Cpus::list(&look.text("/sys/devices/system/cpu/online")?);
    let (layout, seats) = seats(look);
    let allowed = allowed(look)?;
    let mut wrong = Vec::new();
    for seat in &seats {
        let Some(core) = seat.core else { continue };
        if !online.0.contains(&core) {
            wrong.push(format!("{} = {core}: no such core (online: {online})", seat.key));
        } else if !allowed.0.contains(&core) {
            wrong.push(format!("{} = {core}: the cpuset allows {allowed} only", seat.key));
        }
        if seats.iter().filter(|other| other.core == Some(core)).count() > 1 {
            wrong.push(format!("{} shares core {core}", seat.key));
        }
    }
    wrong.extend(strays(look, &seats)?);
    let free = seats.iter().filter(|seat| seat.core.is_none()).count();
    let usable = online.also_in(&allowed);
    let fix = pins(look, &usable);
    let mut loose = unused(look, layout);
    let layout = format!("layout {layout:?}").to_lowercase();
    if !wrong.is_empty() {
        return Ok(Finding::short(wrong.join("; "), fix));
    }
    if seats.len() - free < propose(&usable, seats.len()).0.len() {
        loose.push(format!("{free} of {} hot threads have no core of their own", seats.len()));
    }
    if !loose.is_empty() {
        let found = format!("{layout}: {}", loose.join("; "));
        return Ok(Finding::short(found, fix).at(Level::Warn));
    }
    let place = |seat: &Seat| match seat.core {
        Some(core) => format!("{} on {core}", seat.thread),
        None => format!("{} where there is room (too few cores)", seat.thread),
    };
    let places: Vec<_> = seats.iter().map(place).collect();
    Ok(Finding::good(format!("{layout}: {}", places.join(", "))))
}

/// Cores that are configured for threads the layout does not have.
fn unused(look: &Look, layout: Layout) -> Vec<String> {
    let run = &look.scene.config.run;
    let used = pipeline::seats(layout, run);
    let all = pipeline::seats(Layout::Dedicated, run);
    let left = all.iter().filter(|seat| !used.iter().any(|other| other.key == seat.key));
    let name = |seat: &Seat| {
        Some(format!("{} = {} is not used by layout {layout:?}", seat.key, seat.core?))
    };
    left.filter_map(name).collect()
}

/// Threads of a run that may run elsewhere than configured.
fn strays(look: &Look, seats: &[Seat]) -> Result<Vec<String>, Cannot> {
    let mut strays = Vec::new();
    for thread in super::running::threads(look) {
        let seat = seats.iter().find(|seat| seat.thread == thread.name);
        let Some(core) = seat.and_then(|seat| seat.core) else { continue };
        let status = look.text(&thread.file("status"))?;
        let may = field(&status, "Cpus_allowed_list").map(Cpus::list).unwrap_or_default();
        if may != Cpus::from_iter([core]) {
            strays.push(format!(
                "{} of run {} may run on {may}, not {core}",
                thread.name, thread.pid
            ));
        }
    }
    Ok(strays)
}

/// Where the process may ask to run. A core set aside by `isolcpus` is in the cpuset, not in the mask
/// that a process starts with.
fn allowed(look: &Look) -> Result<Cpus, Cannot> {
    let group = super::load::own_group(look);
    for path in [
        format!("/sys/fs/cgroup{group}/cpuset.cpus.effective"),
        "/sys/fs/cgroup/cpuset.cpus.effective".to_owned(),
        "/sys/fs/cgroup/cpuset/cpuset.effective_cpus".to_owned(),
    ] {
        if let Ok(text) = look.text(&path)
            && !text.is_empty()
        {
            return Ok(Cpus::list(&text));
        }
    }
    let status = look.text("/proc/self/status")?;
    let list = field(&status, "Cpus_allowed_list");
    let list =
        list.ok_or_else(|| Cannot::Read("/proc/self/status: no Cpus_allowed_list".to_owned()))?;
    Ok(Cpus::list(list))
}

/// Settings that give each thread a core of `cores`. The layout is named as well: cores that are set
/// aside no longer count where it is chosen.
fn pins(look: &Look, cores: &Cpus) -> Vec<String> {
    let run = &look.scene.config.run;
    let layout = run.layout.unwrap_or_else(|| pipeline::for_cores(cores.0.len()));
    let seats = pipeline::seats(layout, run);
    let places = propose(cores, seats.len());
    if places.is_empty() {
        return vec!["# one core: nothing can be set aside; take a machine with more".to_owned()];
    }
    let variable = |key: &str| format!("FORESHOCK_{}", key.to_uppercase().replace('.', "__"));
    let pins = seats.iter().zip(places.0.iter());
    let mut fix = vec![
        "# in the environment that starts `foreshock run`, or in its file".to_owned(),
        format!("export FORESHOCK_RUN__LAYOUT={}", format!("{layout:?}").to_lowercase()),
    ];
    fix.extend(pins.map(|(seat, core)| format!("export {}={core}", variable(seat.key))));
    fix
}

fn isolated(look: &Look) -> Result<Finding, Cannot> {
    let hot = hot(look)?;
    let mut isolated = Cpus::list(&look.text("/sys/devices/system/cpu/isolated")?);
    for (path, text) in look.each("/sys/fs/cgroup/*/cpuset.cpus.partition") {
        if text == "isolated" {
            isolated.0.extend(listed(look, &path.replace(".partition", "")).0);
        }
    }
    let open = hot.without(&isolated);
    if open.is_empty() {
        return Ok(Finding::good(format!("set aside: {isolated}")));
    }
    let fix = boot(&format!("isolcpus=managed_irq,domain,{hot}"));
    Ok(Finding::short(format!("not set aside: {open} (set aside: {isolated})"), fix))
}

fn tickless(look: &Look) -> Result<Finding, Cannot> {
    let hot = hot(look)?;
    let (then, now) = look.twice("/proc/interrupts")?;
    let full = listed(look, "/sys/devices/system/cpu/nohz_full");
    let (before, after) = (super::irqs::counts(&then), super::irqs::counts(&now));
    let mut noisy = Vec::new();
    for &cpu in &hot.0 {
        let ticks = after.of("LOC", cpu).zip(before.of("LOC", cpu));
        let missing = || Cannot::Read(format!("/proc/interrupts: no LOC count of core {cpu}"));
        let (now, then) = ticks.ok_or_else(missing)?;
        let n = now.saturating_sub(then);
        if n >= TICKS_MAX {
            noisy.push(format!("core {cpu}: {n} ticks in a second"));
        }
    }
    let found =
        format!("{}; nohz_full: {full}", noisy.join(", ")).trim_start_matches("; ").to_owned();
    if noisy.is_empty() && hot.without(&full).is_empty() {
        return Ok(Finding::good(found));
    }
    Ok(Finding::short(found, boot(&format!("nohz_full={hot}"))))
}

fn rcu(look: &Look) -> Result<Finding, Cannot> {
    let hot = hot(look)?;
    let value = argument(look, "rcu_nocbs")?;
    let moved = match value.as_deref() {
        Some("all") => hot.clone(),
        Some(list) => Cpus::list(list),
        // nohz_full moves them as well.
        None => argument(look, "nohz_full")?.map(|list| Cpus::list(&list)).unwrap_or_default(),
    };
    let left = hot.without(&moved);
    if left.is_empty() {
        return Ok(Finding::good(format!("moved away from {moved}")));
    }
    let found = format!("run on hot cores {left} (moved away from: {moved})");
    Ok(Finding::short(found, boot(&format!("rcu_nocbs={hot}"))))
}

fn sibling(look: &Look) -> Result<Finding, Cannot> {
    let hot = hot(look)?;
    let mut shared = Vec::new();
    let mut off = Vec::new();
    for &cpu in &hot.0 {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        let all = Cpus::list(&look.text(&format!("{folder}/thread_siblings_list"))?);
        let others = all.without(&Cpus::from_iter([cpu]));
        if !others.is_empty() {
            shared.push(format!("core {cpu} shares its metal with {others}"));
            off.extend(
                others
                    .without(&hot)
                    .0
                    .iter()
                    .map(|other| format!("echo 0 > /sys/devices/system/cpu/cpu{other}/online")),
            );
        }
    }
    if off.is_empty() {
        off.push(
            "# the hot threads are siblings of each other: pin them to cores of their own"
                .to_owned(),
        );
    }
    Ok(Finding::of(&shared, "no hot core has a sibling", off))
}

fn numa(look: &Look) -> Result<Finding, Cannot> {
    let hot = hot(look)?;
    let nodes = look.each("/sys/devices/system/node/node*/cpulist");
    let name = super::network::card(look)?;
    if nodes.is_empty() {
        return Err(Cannot::Read("/sys/devices/system/node: no nodes".to_owned()));
    }
    let of_card = look.number(&format!("/sys/class/net/{name}/device/numa_node"));
    let node = match of_card {
        _ if nodes.len() == 1 => return Ok(Finding::good("one node")),
        Ok(node @ 0..) => node,
        Ok(_) => return Ok(Finding::told(format!("{name} does not say which node it is on"))),
        Err(e) => return Err(e),
    };
    let near = nodes.iter().find(|(path, _)| path.contains(&format!("/node{node}/")));
    let near = near.map(|(_, list)| Cpus::list(list)).unwrap_or_default();
    let far = hot.without(&near);
    if far.is_empty() {
        return Ok(Finding::good(format!("hot cores {hot} are on node {node}, as {name} is")));
    }
    let fix = pins(look, &near);
    Ok(Finding::short(format!("{far} are far from {name}, which is on node {node} ({near})"), fix))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, missing, three_ways};
    use super::*;

    const ROUTE: (&str, &str) =
        ("/proc/net/route", "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\n");

    fn with_cores(cores: [Option<usize>; 2]) -> Fake {
        Fake::new()
            .file("/sys/devices/system/cpu/online", "0-3")
            .file("/proc/self/status", "Cpus_allowed_list:\t0-3\n")
            .set(|config| {
                config.run.layout = Some(Layout::Shared);
                [config.run.reader_core, config.run.publish_core] = cores;
            })
    }

    fn pinned_to(fake: Fake) -> (Verdict, String) {
        let row = fake.check(CHECKS, "pinned-cores");
        (row.verdict, row.found)
    }

    #[test]
    fn each_hot_thread_has_an_allowed_core_of_its_own() {
        let (verdict, found) = pinned_to(with_cores([Some(2), Some(3)]));
        assert_eq!(
            (verdict, found.as_str()),
            (Verdict::Pass, "layout shared: reader+engine on 2, publish on 3")
        );
        assert_eq!(pinned_to(with_cores([Some(2), None])).0, Verdict::Warn);
        let (verdict, found) = pinned_to(with_cores([Some(2), Some(9)]));
        assert!(verdict == Verdict::Fail && found.contains("no such core"), "{found}");
        let (verdict, found) = pinned_to(with_cores([Some(2), Some(2)]));
        assert!(verdict == Verdict::Fail && found.contains("shares core 2"), "{found}");
        let set =
            with_cores([Some(2), Some(3)]).file("/sys/fs/cgroup/cpuset.cpus.effective", "0-2");
        assert!(pinned_to(set).1.contains("the cpuset allows 0-2 only"));
        missing(CHECKS, "pinned-cores");
    }

    #[test]
    fn a_core_for_a_thread_that_is_not_there_is_named() {
        let fake = with_cores([Some(2), Some(3)]).set(|config| config.run.engine_core = Some(1));
        let (verdict, found) = pinned_to(fake);
        assert_eq!(verdict, Verdict::Warn);
        assert!(found.contains("run.engine_core = 1 is not used by layout Shared"), "{found}");
    }

    #[test]
    fn where_cores_are_too_few_the_last_thread_goes_where_there_is_room() {
        let two = |core| with_cores([core, None]).file("/sys/devices/system/cpu/online", "0-1");
        let (verdict, found) = pinned_to(two(Some(1)));
        assert!(
            verdict == Verdict::Pass && found.contains("publish where there is room"),
            "{found}"
        );
        assert_eq!(pinned_to(two(None)).0, Verdict::Warn);
    }

    #[test]
    fn a_thread_that_strays_from_its_core_is_found_in_the_run() {
        let run = |list: &str| {
            let status = format!("Cpus_allowed_list:\t{list}\n");
            let fake = with_cores([Some(2), Some(3)]).run(77);
            fake.file("/proc/77/task/78/comm", "reader+engine")
                .file("/proc/77/task/78/status", &status)
        };
        assert_eq!(pinned_to(run("2")).0, Verdict::Pass);
        let (verdict, found) = pinned_to(run("0-3"));
        assert!(verdict == Verdict::Fail && found.contains("of run 77 may run on 0-3"), "{found}");
    }

    #[test]
    fn the_proposal_leaves_the_first_core_alone() {
        for (online, threads, cores) in
            [("0-3", 3, "1-3"), ("0-7", 3, "5-7"), ("0-1", 2, "1"), ("0", 1, "none")]
        {
            assert_eq!(propose(&Cpus::list(online), threads).to_string(), cores);
        }
        let fix = with_cores([None, None]).check(CHECKS, "pinned-cores").fix;
        let lines = ["LAYOUT=shared", "READER_CORE=2", "PUBLISH_CORE=3"];
        assert_eq!(fix[1..], lines.map(|line| format!("export FORESHOCK_RUN__{line}")));
    }

    #[test]
    fn cores_are_set_aside_by_the_kernel_or_by_a_partition() {
        let isolated = "/sys/devices/system/cpu/isolated";
        three_ways(CHECKS, "isolated", &[(isolated, "2-3")], &[(isolated, "")]);
        let part = "/sys/fs/cgroup/hot/cpuset.cpus";
        let fake = Fake::new().file(isolated, "2").file(part, "3");
        let fake = fake.file(&format!("{part}.partition"), "isolated");
        assert_eq!(fake.check(CHECKS, "isolated").verdict, Verdict::Pass);
    }

    #[test]
    fn ticks_are_counted_over_a_second() {
        let table = |n: u32| {
            format!("      CPU0 CPU1 CPU2 CPU3\nLOC: 900 900 {n} 5 Local timer interrupts\n")
        };
        let fake = |n, full: &str| {
            let fake = Fake::new().before("/proc/interrupts", &table(100));
            let fake = fake.file("/proc/interrupts", &table(n));
            fake.file("/sys/devices/system/cpu/nohz_full", full).check(CHECKS, "tickless")
        };
        assert_eq!(fake(101, "2-3").verdict, Verdict::Pass);
        let noisy = fake(350, "2-3");
        assert!(
            noisy.verdict == Verdict::Warn && noisy.found.contains("core 2: 250 ticks"),
            "{noisy:?}"
        );
        assert_eq!(fake(101, "").verdict, Verdict::Warn, "idle cores do not tick either");
        let other = Fake::new().before("/proc/interrupts", "CPU0").file("/proc/interrupts", "CPU0");
        assert_eq!(other.check(CHECKS, "tickless").verdict, Verdict::Unread, "no such row");
        missing(CHECKS, "tickless");
    }

    #[test]
    fn callbacks_are_moved_by_either_argument() {
        let line = |text| [("/proc/cmdline", text)];
        three_ways(CHECKS, "rcu-callbacks", &line("quiet rcu_nocbs=2-3"), &line("rcu_nocbs=2"));
        three_ways(CHECKS, "rcu-callbacks", &line("rcu_nocbs=all"), &line("quiet"));
        three_ways(CHECKS, "rcu-callbacks", &line("nohz_full=1-3"), &line("xrcu_nocbs=2-3"));
    }

    #[test]
    fn a_sibling_is_switched_off_and_a_far_core_moved() {
        let folder = "/sys/devices/system/cpu/cpu";
        let pair = |sibling| {
            let path = |cpu| format!("{folder}{cpu}/topology/thread_siblings_list");
            Fake::new().file(&path(2), sibling).file(&path(3), "3").check(CHECKS, "smt-sibling")
        };
        assert_eq!(pair("2").verdict, Verdict::Pass);
        assert_eq!(pair("2,6").fix, ["echo 0 > /sys/devices/system/cpu/cpu6/online"]);
        missing(CHECKS, "smt-sibling");
        let node = |n| {
            let list = |n| format!("/sys/devices/system/node/node{n}/cpulist");
            let fake = Fake::new().files(&[ROUTE]).file(&list(0), "0-1").file(&list(1), "2-3");
            fake.file("/sys/class/net/eth0/device/numa_node", n).check(CHECKS, "numa")
        };
        assert_eq!(node("1").verdict, Verdict::Pass);
        assert_eq!(node("0").verdict, Verdict::Warn);
        assert_eq!(node("-1").verdict, Verdict::Info);
        missing(CHECKS, "numa");
    }
}
