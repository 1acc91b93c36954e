//! A machine in a folder, for the tests of the checks.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Scene;
use super::check::{Check, Level, Row, Verdict, judge};
use super::cpus::Cpus;
use super::host::Host;
use super::machine::Machine;
use crate::config::Config;

/// A machine being built.
pub struct Fake {
    root: PathBuf,
    then: BTreeMap<String, String>,
    config: Config,
    machine: Machine,
    runs: Vec<u32>,
}

impl Fake {
    /// With nothing on it.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("fsk-doctor-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let (config, machine) = (Config::default(), Machine::default());
        Self { root, then: BTreeMap::new(), config, machine, runs: Vec::new() }
    }

    /// With a file.
    pub fn file(self, path: &str, text: &str) -> Self {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// With a link.
    pub fn link(self, path: &str, to: &str) -> Self {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, path).unwrap();
        self
    }

    /// With files, each `path text`.
    pub fn files(self, files: &[(&str, &str)]) -> Self {
        files.iter().fold(self, |fake, (path, text)| fake.file(path, text))
    }

    /// A file held this a second ago.
    pub fn before(mut self, path: &str, text: &str) -> Self {
        self.then.insert(path.to_owned(), text.to_owned());
        self
    }

    /// With a setting.
    pub fn set(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Whether it is virtual.
    pub fn virtual_machine(mut self, is: bool) -> Self {
        self.machine.hypervisor = is.then(|| "KVM".to_owned());
        self
    }

    /// A container.
    pub fn container(mut self) -> Self {
        self.machine.container = Some("docker".to_owned());
        self
    }

    /// A run of this process id is alive.
    pub fn run(mut self, pid: u32) -> Self {
        self.runs.push(pid);
        self
    }

    /// The scene, with CPUs 2 and 3 to be judged.
    pub fn scene(self) -> Scene {
        let mut host = Host::at(&self.root);
        host.remember(self.then);
        Scene {
            host,
            config: self.config,
            machine: self.machine,
            cpus: Cpus::list("2-3"),
            proposed: false,
            runs: self.runs,
            hiccups: Err("not measured: a machine in a folder".to_owned()),
            venues: None,
        }
    }

    /// Makes one check on it.
    pub fn check(self, checks: &[Check], name: &str) -> Row {
        let check = checks.iter().find(|check| check.name == name).unwrap();
        judge("g", check, &self.scene())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.host.forget();
    }
}

/// Every check finds what it should: passes, falls short with a way to mend it, and never passes where
/// nothing can be read.
pub fn three_ways(checks: &[Check], name: &str, good: &[(&str, &str)], bad: &[(&str, &str)]) {
    let passed = Fake::new().files(good).check(checks, name);
    assert_eq!(passed.verdict, Verdict::Pass, "{passed:?}");
    let short = Fake::new().files(bad).check(checks, name);
    let check = checks.iter().find(|check| check.name == name).unwrap();
    let worst = if check.level == Level::Fail { Verdict::Fail } else { Verdict::Warn };
    assert_eq!(short.verdict, worst, "{short:?}");
    assert!(!short.fix.is_empty(), "{short:?}");
    missing(checks, name);
}

/// Where there are no files, nothing passes.
pub fn missing(checks: &[Check], name: &str) {
    let row = Fake::new().check(checks, name);
    assert_eq!(row.verdict, Verdict::Unread, "{row:?}");
    assert!(!row.read.is_empty() && !row.found.is_empty(), "{row:?}");
}
