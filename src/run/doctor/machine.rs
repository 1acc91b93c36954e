//! What kind of machine this is: metal, virtual, in a container; its kernel; and this binary on it.

use serde::Serialize;

use super::check::{Check, Finding, Level, Scope};
use super::host::{Cannot, Host, Look, field};

/// What kind of machine it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// What virtualises it; `None` on metal.
    pub hypervisor: Option<String>,
    /// What contains it; `None` outside of containers.
    pub container: Option<String>,
    /// The processor's name.
    pub processor: String,
}

impl Machine {
    /// Whether a hypervisor stands between it and the metal.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        self.hypervisor.is_some()
    }

    /// Whether it is a container.
    #[must_use]
    pub fn is_container(&self) -> bool {
        self.container.is_some()
    }

    /// Looks at a host.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        let cpuinfo = host.text("/proc/cpuinfo").unwrap_or_default();
        let processor = info(&cpuinfo, "model name").unwrap_or("unknown").to_owned();
        Self { hypervisor: hypervisor(host, &cpuinfo), container: container(host), processor }
    }

    /// What this kind of machine makes meaningless, in words; nothing on metal.
    #[must_use]
    pub fn caveats(&self) -> Vec<String> {
        let mut caveats = Vec::new();
        if let Some(name) = &self.hypervisor {
            caveats.push(format!(
                "a virtual machine ({name}): frequency, idle states, NUMA and sibling cores are the \
                 hypervisor's and what is shown of them is not judged; its own pauses show as steal \
                 and jitter, and no setting in here removes them"
            ));
        }
        if let Some(name) = &self.container {
            caveats.push(format!(
                "a container ({name}): kernel settings are the host's and are changed there; limits \
                 and quotas shown are the container's own"
            ));
        }
        caveats
    }
}

/// The first value behind `key` in /proc/cpuinfo.
fn info<'t>(cpuinfo: &'t str, key: &str) -> Option<&'t str> {
    let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

fn hypervisor(host: &Host, cpuinfo: &str) -> Option<String> {
    let dmi = ["sys_vendor", "product_name"]
        .map(|name| host.text(&format!("/sys/class/dmi/id/{name}")).unwrap_or_default());
    let named = dmi.join(" ").trim().to_owned();
    let xen = host.text("/sys/hypervisor/type").ok();
    let flagged = info(cpuinfo, "flags")
        .is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"));
    let known = ["KVM", "QEMU", "VMware", "VirtualBox", "Xen", "Firecracker", "Virtual Machine"];
    let by_name = known.iter().any(|name| named.contains(name));
    if !flagged && !by_name && xen.is_none() {
        return None;
    }
    let name = if named.is_empty() { xen.unwrap_or_default() } else { named };
    Some(if name.is_empty() { "its hypervisor does not say which".to_owned() } else { name })
}

fn container(host: &Host) -> Option<String> {
    for (path, name) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if !host.list(path).is_empty() {
            return Some(name.to_owned());
        }
    }
    if let Ok(manager) = host.text("/run/systemd/container") {
        return Some(manager);
    }
    let groups = host.text("/proc/1/cgroup").unwrap_or_default();
    let known = ["docker", "kubepods", "lxc", "containerd", "libpod"];
    known.iter().find(|name| groups.contains(**name)).map(|name| (*name).to_owned())
}

/// The machine, the kernel, the binary.
pub const CHECKS: &[Check] = &[
    Check {
        name: "machine",
        level: Level::Info,
        scope: Scope::Own,
        why: "A hypervisor or a container changes what the other findings mean.",
        ask: machine,
    },
    Check {
        name: "kernel",
        level: Level::Info,
        scope: Scope::Own,
        why: "Mitigations cost time at every system call; the preemption model decides how long the \
              kernel keeps a core.",
        ask: kernel,
    },
    Check {
        name: "binary",
        level: Level::Warn,
        scope: Scope::Own,
        why: "A debug build is many times slower, and one built for an old processor leaves its \
              newer instructions unused.",
        ask: binary,
    },
];

fn machine(look: &Look) -> Result<Finding, Cannot> {
    look.text("/proc/cpuinfo")?;
    look.note("/sys/class/dmi/id/*");
    look.note("/proc/1/cgroup");
    let Machine { hypervisor, container, processor } = &look.scene.machine;
    let kind = hypervisor.as_ref().map_or("metal".to_owned(), |name| format!("virtual ({name})"));
    let container = container.as_ref().map_or("none".to_owned(), Clone::clone);
    Ok(Finding::told(format!("{processor}; {kind}; container: {container}")))
}

fn kernel(look: &Look) -> Result<Finding, Cannot> {
    let version = look.text("/proc/version")?;
    let words: Vec<&str> = version.split_ascii_whitespace().collect();
    let release = words.get(2).copied().unwrap_or("unknown");
    let models = ["PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT"];
    let model = models.iter().find(|model| words.contains(*model)).copied();
    let mode = look.text("/sys/kernel/debug/sched/preempt").ok();
    let mode = mode.as_deref().and_then(|text| text.split_once('(')?.1.split_once(')'));
    let all = look.each("/sys/devices/system/cpu/vulnerabilities/*");
    let mitigated = all.iter().filter(|(_, text)| text.starts_with("Mitigation")).count();
    let open = all.iter().filter(|(_, text)| text.starts_with("Vulnerable")).count();
    Ok(Finding::told(format!(
        "{release}, {}{}; {mitigated} mitigations on, {open} weaknesses left open, of {} known",
        model.unwrap_or("no preemption"),
        mode.map_or(String::new(), |(mode, _)| format!(" ({mode})")),
        all.len()
    )))
}

/// What this binary was built to use.
const BUILT_FOR: [(&str, bool); 4] = [
    ("avx2", cfg!(target_feature = "avx2")),
    ("bmi2", cfg!(target_feature = "bmi2")),
    ("aes", cfg!(target_feature = "aes")),
    ("avx512f", cfg!(target_feature = "avx512f")),
];

fn binary(look: &Look) -> Result<Finding, Cannot> {
    look.note("how this binary was built");
    let text = look.text("/proc/cpuinfo")?;
    let flags = info(&text, "flags").or(info(&text, "Features")).unwrap_or("");
    let has = |name: &str| flags.split_ascii_whitespace().any(|flag| flag == name);
    let unused: Vec<_> =
        BUILT_FOR.iter().filter(|(name, used)| !used && has(name)).map(|(name, _)| *name).collect();
    let unused = match unused.as_slice() {
        [] => "none of its instructions unused".to_owned(),
        names => format!("the compiler was not told of {}", names.join(", ")),
    };
    let built = if cfg!(debug_assertions) { "debug" } else { "release" };
    let panic = if cfg!(panic = "abort") { "abort" } else { "unwind" };
    let found = format!("{built} build, allocator mimalloc, panic {panic}; {unused}");
    if cfg!(debug_assertions) {
        let fix = "cargo build --release".to_owned();
        return Ok(Finding::short(found, [fix]));
    }
    Ok(Finding::told(found))
}

/// Whether a status file grants a capability, by its bit.
#[must_use]
pub fn capable(status: &str, bit: u32) -> Option<bool> {
    let mask = u64::from_str_radix(field(status, "CapEff")?, 16).ok()?;
    Some(mask >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn of(files: &[(&str, &str)]) -> Machine {
        let fake = files.iter().fold(Fake::new(), |fake, (path, text)| fake.file(path, text));
        Machine::of(&fake.scene().host)
    }

    #[test]
    fn a_machine_is_known_by_its_processor_its_board_and_its_first_process() {
        let metal = of(&[("/proc/cpuinfo", "model name\t: Xeon\nflags\t: sse avx2\n")]);
        assert_eq!((metal.is_virtual(), metal.is_container()), (false, false));
        assert_eq!(metal.processor, "Xeon");
        assert!(metal.caveats().is_empty());
        let flagged = of(&[("/proc/cpuinfo", "flags : sse hypervisor\n")]);
        assert!(flagged.is_virtual() && flagged.caveats()[0].contains("does not say which"));
        let named = of(&[("/sys/class/dmi/id/sys_vendor", "QEMU")]);
        assert_eq!(named.hypervisor.as_deref(), Some("QEMU"));
        let amazon = of(&[("/sys/class/dmi/id/sys_vendor", "Amazon EC2")]);
        assert_eq!(amazon.hypervisor, None, "a metal instance has Amazon's board too");
        assert_eq!(of(&[("/.dockerenv", "")]).container.as_deref(), Some("docker"));
        assert_eq!(
            of(&[("/proc/1/cgroup", "0::/kubepods/x")]).container.as_deref(),
            Some("kubepods")
        );
    }

    #[test]
    fn the_kernel_and_the_binary_are_told() {
        let version = "Linux version 6.18.1 (x) #1 SMP PREEMPT_RT @0";
        let fake = Fake::new().file("/proc/version", version);
        let fake = fake.file("/sys/devices/system/cpu/vulnerabilities/mds", "Mitigation: x");
        let scene = fake.file("/proc/cpuinfo", "flags : avx2 bmi2 aes").scene();
        let found = kernel(&Look::at(&scene)).unwrap();
        assert_eq!(
            found.found,
            "6.18.1, PREEMPT_RT; 1 mitigations on, 0 weaknesses left open, of 1 known"
        );
        assert!(binary(&Look::at(&scene)).unwrap().found.contains("debug build"));
        let bare = Fake::new().scene();
        for check in CHECKS {
            assert!(
                matches!((check.ask)(&Look::at(&bare)), Err(Cannot::Read(_))),
                "{}",
                check.name
            );
        }
    }

    #[test]
    fn a_capability_is_a_bit() {
        assert_eq!(capable("CapEff:\t0000000000800000", 23), Some(true));
        assert_eq!(capable("CapEff:\t0000000000000000", 23), Some(false));
        assert_eq!(capable("", 23), None);
    }
}
