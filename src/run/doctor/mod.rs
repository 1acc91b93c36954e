//! `foreshock doctor`: what stands between this machine and the latency it could have.
//!
//! ```text
//! host (files below a root) ─▶ look ─▶ check ─▶ finding ─▶ judge (by machine) ─▶ row ─▶ print
//! ```
//!
//! Nothing is changed, ever: [`print::script`] prints commands for others to run. What cannot be read is
//! said to be unread, never passed. A check is one row in the table of its file and one function; a file
//! is one row in [`GROUPS`].

pub mod check;
pub mod clocks;
pub mod cores;
pub mod cpus;
pub mod host;
pub mod irqs;
pub mod limits;
pub mod load;
pub mod machine;
pub mod memory;
pub mod network;
pub mod power;
pub mod print;
pub mod redis;
pub mod running;
pub mod venues;

use std::path::Path;
use std::thread;
use std::time::Duration;

use self::check::{Check, Row, judge};
use self::cpus::Cpus;
use self::host::{Host, field};
use self::machine::Machine;
use self::print::{Paper, Report, Summary};
use super::Failure;
use super::clock::Clock;
use super::format::Format;
use super::jitter::{Hiccups, measure};
use super::pipeline;
use super::status::runs;
use crate::config::Config;

/// Every check, by group, in the order in which they are worth mending.
pub const GROUPS: [(&str, &[Check]); 11] = [
    ("machine", machine::CHECKS),
    ("clocks", clocks::CHECKS),
    ("cores", cores::CHECKS),
    ("load", load::CHECKS),
    ("interrupts", irqs::CHECKS),
    ("power", power::CHECKS),
    ("memory", memory::CHECKS),
    ("network", network::CHECKS),
    ("venues", venues::CHECKS),
    ("redis", redis::CHECKS),
    ("rights and chores", limits::CHECKS),
];

/// How long counters are watched.
const WATCHED: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Ask the venues over the network.
    pub venues: bool,
    /// Print the commands that mend it, instead of the findings.
    pub script: bool,
    /// How findings are printed.
    pub format: Format,
    /// Where the machine's files are; `/` but for tests.
    pub root: &'a Path,
}

/// All that checks look at.
#[derive(Debug)]
pub struct Scene {
    /// The machine's files.
    pub host: Host,
    /// What is configured.
    pub config: Config,
    /// What kind of machine it is.
    pub machine: Machine,
    /// The cores of the hot threads.
    pub cpus: Cpus,
    /// Whether they are proposed, since none is configured.
    pub proposed: bool,
    /// Processes of runs that are alive.
    pub runs: Vec<u32>,
    /// What was taken from the cores while counters were watched; or why that was not measured.
    pub hiccups: Result<Vec<Hiccups>, String>,
    /// What the venues showed, where they were asked.
    pub venues: Option<Result<venues::Shown, String>>,
}

/// Makes every check and prints what was found.
///
/// # Errors
/// Code 4 when a check fails, 1 when standard output cannot be written.
pub fn doctor(config: &Config, options: Options<'_>) -> Result<(), Failure> {
    let report = report(&Scene::set(config, options));
    // A script is for people as well: it only says less.
    let format = if options.script { Format::Table } else { options.format };
    format.print(&report, |report, out| match options.script {
        true => print::script(report, out),
        false => print::table(report, Paper::of_stdout(), out),
    })?;
    if report.summary.fail > 0 { Err(Failure::unfit()) } else { Ok(()) }
}

/// Makes every check.
fn report(scene: &Scene) -> Report {
    let all = GROUPS.iter().flat_map(|(group, checks)| checks.iter().map(move |c| (*group, c)));
    let checks: Vec<Row> = all.map(|(group, check)| judge(group, check, scene)).collect();
    Report {
        machine: scene.machine.clone(),
        caveats: scene.machine.caveats(),
        hot_cores: scene.cpus.to_string(),
        hot_cores_proposed: scene.proposed,
        runs: scene.runs.clone(),
        summary: Summary::of(&checks),
        first: print::first(&checks),
        checks,
    }
}

impl Scene {
    fn set(config: &Config, options: Options<'_>) -> Self {
        let mut host = Host::at(options.root);
        let seen = runs(&config.run.status(), Clock::start().run());
        let runs: Vec<u32> =
            seen.iter().filter(|run| run.fresh).map(|run| run.status.pid).collect();
        let (cpus, proposed) = hot(config, &host);
        host.watch(&watched(&runs));
        let hiccups = watch(&host, &cpus, !runs.is_empty());
        let venues = options.venues.then(|| venues::Shown::ask(config));
        let (config, machine) = (config.clone(), Machine::of(&host));
        Self { host, config, machine, cpus, proposed, runs, hiccups, venues }
    }
}

/// The cores that are configured, else those that would be proposed.
fn hot(config: &Config, host: &Host) -> (Cpus, bool) {
    let seats = pipeline::seats(pipeline::layout(&config.run).0, &config.run);
    let pinned: Cpus = seats.iter().filter_map(|seat| seat.core).collect();
    if !pinned.is_empty() {
        return (pinned, false);
    }
    let online = Cpus::list(&host.text("/sys/devices/system/cpu/online").unwrap_or_default());
    (cores::propose(&online, seats.len()), true)
}

/// The cores that this process may use.
#[must_use]
pub fn allowed_here() -> Cpus {
    let status = Host::at("/".as_ref()).text("/proc/self/status").unwrap_or_default();
    field(&status, "Cpus_allowed_list").map(Cpus::list).unwrap_or_default()
}

/// Files whose counters are read twice.
fn watched(runs: &[u32]) -> Vec<String> {
    let mut files: Vec<String> =
        ["/proc/interrupts", "/proc/stat", "/proc/net/softnet_stat"].map(str::to_owned).to_vec();
    for pid in runs {
        files.extend(
            ["stat", "status", "schedstat"].map(|name| format!("/proc/{pid}/task/*/{name}")),
        );
    }
    files
}

/// Lets a second pass: spinning on the hot cores, so that ticks and hiccups show; but not where a run
/// is at work.
fn watch(host: &Host, cpus: &Cpus, busy: bool) -> Result<Vec<Hiccups>, String> {
    if !host.is_here() {
        return Err("not measured: this is not the machine itself".to_owned());
    }
    if busy || cpus.is_empty() {
        thread::sleep(WATCHED);
        return Err("not measured: a run is at work, or there is no core beside the first; \
                    `foreshock jitter --cpus LIST` measures the cores you name"
            .to_owned());
    }
    let cores: Vec<usize> = cpus.0.iter().copied().collect();
    measure(&cores, WATCHED, false)
}

#[cfg(test)]
mod fake;

#[cfg(test)]
mod tests {
    use super::check::Verdict;
    use super::fake::Fake;
    use super::*;

    #[test]
    fn names_are_told_apart_and_every_check_says_why() {
        let all: Vec<&Check> = GROUPS.iter().flat_map(|(_, checks)| checks.iter()).collect();
        let mut names: Vec<_> = all.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|check| check.why.len() > 20 && check.why.ends_with('.')));
    }

    #[test]
    fn on_a_machine_that_shows_nothing_nothing_passes_but_what_needs_no_file() {
        let report = report(&Fake::new().scene());
        let passed: Vec<_> = report
            .checks
            .iter()
            .filter(|row| row.verdict == Verdict::Pass)
            .map(|row| row.name)
            .collect();
        assert_eq!(passed, ["socket-options"]);
        assert_eq!(report.summary.fail, 0, "{report:?}");
    }
}
