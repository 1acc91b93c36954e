//! Clocks: how dear it is to ask the time, and how right the answer is.

use super::check::{Check, Finding, Level, Scope};
use super::host::{Cannot, Look};

/// The clock that is read once a turn, and the one the venues' times are compared with.
pub const CHECKS: &[Check] = &[
    Check {
        name: "clocksource",
        level: Level::Fail,
        scope: Scope::Kernel,
        why: "The clock is read at every turn: tsc takes some 20 ns, hpet or xen a system call of a \
              microsecond.",
        ask: clocksource,
    },
    Check {
        name: "clock-sync",
        level: Level::Fail,
        scope: Scope::Kernel,
        why: "A venue's delay is its time against ours: a wall clock that is off makes the age of \
              every event wrong.",
        ask: synced,
    },
];

/// How wrong the wall clock may be, s.
const ERROR_MAX_S: f64 = 0.001;

fn clocksource(look: &Look) -> Result<Finding, Cannot> {
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let current = look.text(&format!("{folder}/current_clocksource"))?;
    let available = look.text(&format!("{folder}/available_clocksource")).unwrap_or_default();
    let cpuinfo = look.text("/proc/cpuinfo").unwrap_or_default();
    // Arm has one counter, which does not stop.
    let steady = current == "arch_sys_counter"
        || ["constant_tsc", "nonstop_tsc"].iter().all(|flag| cpuinfo.contains(flag));
    let offered = available.split_ascii_whitespace().any(|name| name == "tsc");
    let found = format!("{current} (offered: {available}{})", if steady { "; steady" } else { "" });
    match current.as_str() {
        "tsc" | "arch_sys_counter" if steady => Ok(Finding::good(found)),
        "tsc" => {
            let fix =
                "# the processor does not promise a steady tsc: take another machine".to_owned();
            Ok(Finding::short(format!("{found}: not said to be constant and nonstop"), [fix])
                .at(Level::Warn))
        }
        _ if offered => {
            Ok(Finding::short(found, [format!("echo tsc > {folder}/current_clocksource")]))
        }
        // A hypervisor that offers no tsc leaves nothing to choose; kvm-clock does without a call.
        "kvm-clock" | "hyperv_clocksource_tsc_page" if look.scene.machine.is_virtual() => {
            let fix = "# the hypervisor offers no tsc: take an instance type that does".to_owned();
            Ok(Finding::short(found, [fix]).at(Level::Warn))
        }
        // The kernel had a reason not to offer it: forcing it could make time itself wrong.
        _ => {
            let fix = "dmesg | grep -i -e tsc -e clocksource # says why tsc is not offered; take \
                       another machine rather than force it";
            Ok(Finding::short(found, [fix.to_owned()]))
        }
    }
}

fn synced(look: &Look) -> Result<Finding, Cannot> {
    let clocks = look.each("/sys/class/ptp/ptp*/clock_name");
    let names: Vec<&str> = clocks.iter().map(|(_, name)| name.as_str()).collect();
    let hardware = match names.as_slice() {
        [] => "no hardware clock".to_owned(),
        names => format!("hardware clocks: {}", names.join(", ")),
    };
    let fix = || steer(&clocks);
    // Without its daemon chronyc says so, in words that are no answer.
    let told = look.answer(&["chronyc", "-c", "tracking"]).ok();
    if let Some((error_s, synced)) = told.as_deref().and_then(tracking) {
        let found = format!("chrony: within {:.0} us; {hardware}", error_s * 1e6);
        if synced && error_s < ERROR_MAX_S {
            return Ok(Finding::good(found));
        }
        let found = if synced { found } else { format!("chrony is not synchronised; {hardware}") };
        return Ok(Finding::short(found, fix()));
    }
    let path = "/run/systemd/timesync/synchronized";
    if let Ok(text) = look.answer(&["timedatectl", "show"]) {
        let yes = text.lines().any(|line| line == "NTPSynchronized=yes");
        let found = format!(
            "systemd: {}; {hardware}",
            if yes { "synchronised, its error unknown" } else { "not synchronised" }
        );
        // A millisecond is more than timesyncd promises.
        let level = if yes { Level::Warn } else { Level::Fail };
        return Ok(Finding::short(found, fix()).at(level));
    }
    if look.text(path).is_err() {
        return Err(Cannot::Read(format!(
            "neither chronyc nor timedatectl answers, and no {path}"
        )));
    }
    let found = format!("systemd-timesyncd has synchronised, its error unknown; {hardware}");
    Ok(Finding::short(found, fix()).at(Level::Warn))
}

/// Commands that have chrony follow a clock of the hypervisor's, else the cloud's own server.
fn steer(clocks: &[(String, String)]) -> Vec<String> {
    let shared = clocks.iter().find(|(_, name)| name.contains("ena") || name.contains("KVM"));
    let device = shared.and_then(|(path, _)| path.split('/').nth(4));
    let source = device
        .map_or("server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4".to_owned(), |device| {
            format!("refclock PHC /dev/{device} poll 0 delay 0.000010 prefer")
        });
    vec![
        format!("echo '{source}' >> /etc/chrony.conf # debian: /etc/chrony/chrony.conf"),
        "systemctl enable --now chronyd && chronyc makestep".to_owned(),
    ]
}

/// The most the clock can be off, s, and whether it is steered, by `chronyc -c tracking`: columns 4
/// (offset), 10 (root delay), 11 (root dispersion), 13 (leap status), from 0.
fn tracking(text: &str) -> Option<(f64, bool)> {
    let cells: Vec<&str> = text.trim().split(',').collect();
    let number = |i: usize| cells.get(i)?.parse::<f64>().ok().filter(|n| n.is_finite());
    let error = number(4)?.abs() + number(10)?.abs() / 2.0 + number(11)?.abs();
    Some((error, *cells.get(13)? != "Not synchronised"))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, missing};
    use super::*;

    fn source(current: &str, available: &str, flags: &str) -> Fake {
        let folder = "/sys/devices/system/clocksource/clocksource0";
        Fake::new()
            .file(&format!("{folder}/current_clocksource"), current)
            .file(&format!("{folder}/available_clocksource"), available)
            .file("/proc/cpuinfo", flags)
    }

    #[test]
    fn only_a_steady_tsc_passes_and_what_can_be_changed_is() {
        let steady = "flags: constant_tsc nonstop_tsc";
        let verdict = |fake: Fake| fake.check(CHECKS, "clocksource").verdict;
        assert_eq!(verdict(source("tsc", "tsc hpet", steady)), Verdict::Pass);
        assert_eq!(verdict(source("arch_sys_counter", "", "")), Verdict::Pass);
        assert_eq!(verdict(source("tsc", "tsc", "flags: tsc")), Verdict::Warn);
        assert_eq!(verdict(source("hpet", "hpet", steady)), Verdict::Fail);
        assert_eq!(verdict(source("kvm-clock", "kvm-clock", steady)), Verdict::Fail);
        let forced = source("kvm-clock", "kvm-clock", steady).virtual_machine(true);
        assert_eq!(verdict(forced), Verdict::Warn, "there is nothing else to choose");
        let choice = source("kvm-clock", "tsc kvm-clock", steady).virtual_machine(true);
        let row = choice.check(CHECKS, "clocksource");
        assert_eq!(row.verdict, Verdict::Fail);
        assert!(row.fix[0].starts_with("echo tsc > /sys"), "{row:?}");
        missing(CHECKS, "clocksource");
    }

    const TRACKING: &str = "A9FEA97B,169.254.169.123,4,1700000000.0,-0.000004,0.000001,0.000012,1.2,0.001,0.02,0.00018,0.00011,16.2,Normal";

    #[test]
    fn the_error_of_the_wall_clock_is_offset_delay_and_dispersion() {
        let (error, synced) = tracking(TRACKING).unwrap();
        assert!(synced && (error - 0.000_204).abs() < 1e-9, "{error}");
        assert_eq!(tracking("nonsense"), None);
        let chrony = |text: &str| {
            Fake::new().file("/commands/chronyc -c tracking", text).check(CHECKS, "clock-sync")
        };
        assert_eq!(chrony(TRACKING).verdict, Verdict::Pass);
        assert_eq!(chrony(&TRACKING.replace("0.00018", "0.018")).verdict, Verdict::Fail);
        assert_eq!(chrony(&TRACKING.replace("Normal", "Not synchronised")).verdict, Verdict::Fail);
        assert_eq!(chrony("1,2").verdict, Verdict::Unread);
        let late = TRACKING.replace("0.00018", "0.018");
        let fake = Fake::new().file("/commands/chronyc -c tracking", &late);
        let row =
            fake.file("/sys/class/ptp/ptp1/clock_name", "ena-ptp-05").check(CHECKS, "clock-sync");
        assert!(row.fix[0].contains("/dev/ptp1 "), "{row:?}");
        missing(CHECKS, "clock-sync");
    }

    #[test]
    fn systemd_says_less_and_passes_nowhere() {
        let systemd = |text: &str| {
            Fake::new().file("/commands/timedatectl show", text).check(CHECKS, "clock-sync").verdict
        };
        assert_eq!(systemd("NTP=yes\nNTPSynchronized=yes"), Verdict::Warn);
        assert_eq!(systemd("NTPSynchronized=no"), Verdict::Fail);
        let file = Fake::new().file("/run/systemd/timesync/synchronized", "");
        assert_eq!(file.check(CHECKS, "clock-sync").verdict, Verdict::Warn);
    }
}
