//! Where and with what it was measured.

use std::fs;
use std::process::{Command, Stdio};

/// What a command prints, in one line; `unknown` when it cannot be run.
#[must_use]
pub fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// The lines that head a record.
#[must_use]
pub fn words(command: &str) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]) != "unknown";
    let commit = said("git", &["rev-parse", "HEAD"]);
    let lines = [
        ("command", command.to_owned()),
        ("date", said("date", &["-u", "+%FT%TZ"])),
        ("commit", format!("{commit}{}", if changed { " with changes" } else { "" })),
        ("machine", format!("{cores} x {model}, Linux {}", said("uname", &["-r"]))),
        ("rustc", said("rustc", &["--version"])),
        ("build", build()),
    ];
    lines.iter().map(|(name, value)| format!("{name:<8} {value}\n")).collect()
}

/// How it was built, and whether that was made for speed.
fn build() -> String {
    let own = |key: &str| std::env::var(key).ok();
    match (own("CARGO_PROFILE_RELEASE_LTO"), cfg!(debug_assertions)) {
        (_, true) => "debug: these figures mean nothing".to_owned(),
        (Some(lto), _) => format!("release with lto={lto}: for trying out, not for records"),
        (None, _) => "release profile as committed".to_owned(),
    }
}

/// How calls into the kernel can be counted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `perf stat`, which costs next to nothing.
    Perf,
    /// `strace -c -f`, which slows the program down.
    Strace,
}

impl Counter {
    /// The first that works.
    #[must_use]
    pub fn find() -> Option<Self> {
        let works = |counter: &Self| {
            let words = counter.before("/dev/null");
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        [Self::Perf, Self::Strace].into_iter().find(works)
    }

    /// The words before the program that is looked at.
    #[must_use]
    pub fn before(self, out: &str) -> Vec<&str> {
        match self {
            Self::Perf => {
                vec!["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o", out, "--"]
            }
            Self::Strace => vec!["strace", "-f", "-c", "-o", out],
        }
    }

    /// The number of calls in what it wrote.
    #[must_use]
    pub fn calls(self, text: &str) -> Option<u64> {
        match self {
            Self::Perf => {
                let line = text.lines().find(|line| line.contains("sys_enter"))?;
                line.split(',').next()?.parse().ok()
            }
            Self::Strace => {
                let line = text.lines().find(|line| line.ends_with("total"))?;
                line.split_whitespace().nth(3)?.parse().ok()
            }
        }
    }
}

/// The words before a program whose time is looked at by function.
#[must_use]
pub fn profiled(out: &str) -> Vec<&str> {
    vec!["perf", "record", "--quiet", "-F", "1999", "-o", out, "--"]
}

/// The functions that took most of the time, a line each.
#[must_use]
pub fn functions(out: &str) -> Vec<String> {
    let arguments = ["report", "-i", out, "--stdio", "--no-children", "--percent-limit", "0.8"];
    let text = said("perf", &[&arguments[..], &["-F", "overhead,symbol"]].concat());
    let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains('%'));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_either_tool_writes() {
        let perf = "# started on Fri\n\n1234,,raw_syscalls:sys_enter,5678,100.00,,\n";
        assert_eq!(Counter::Perf.calls(perf), Some(1_234));
        let strace =
            "  1.00 0.1 2 33 recvfrom\n100.00    0.066666           3     20121        12 total\n";
        assert_eq!(Counter::Strace.calls(strace), Some(20_121));
    }
}
