//! The program itself, as a service would run it, and a simulated street that it listens to.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use foreshock::event::Venue;
use foreshock::record::files_in;
use foreshock::simulate::market::Schedule;
use foreshock::simulate::street::Street;

use crate::scratch::Scratch;
use crate::street::feeds;

/// Venues that everybody can hear.
pub const HEARD: [Venue; 3] = [Venue::Binance, Venue::Bybit, Venue::Okx];

/// How long anything may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A street in a long cascade, and the program that listens to it.
pub struct Scene {
    pub street: Street,
    folder: Scratch,
    child: Option<Child>,
}

impl Scene {
    pub fn open() -> Self {
        let schedule =
            Schedule { quiet_s: 1.0, build_s: 1.0, cascade_s: 60.0, lines: 1, ..Schedule::demo() };
        let street = Street::start(7, schedule, 0).unwrap();
        let scene = Self { street, folder: Scratch::new("service"), child: None };
        fs::write(scene.file("ca.pem"), scene.street.ca_pem()).unwrap();
        scene.configure("");
        scene
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration, with `more` at its beginning.
    pub fn configure(&self, more: &str) {
        let quoted = |name: &str| format!("{:?}", self.file(name).display().to_string());
        let mut text = format!("{more}\n[run]\nstatus = {}\n", quoted("status"));
        text += &format!("[journal]\ndirectory = {}\n", quoted("journal"));
        text += &format!("[feeds]\nca_file = {}\n", quoted("ca.pem"));
        text += &feeds(&self.street, &HEARD);
        fs::write(self.file("config.toml"), text).unwrap();
    }

    pub fn start(&mut self, environment: &[(&str, &str)], sets: &[&str]) {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let child = Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(["run", "--config"])
            .arg(self.file("config.toml"))
            .args(sets)
            .env_remove("FORESHOCK_CONFIG")
            .env_remove("WATCHDOG_PID")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(self.file("shown")).unwrap())
            .stderr(File::create(self.file("said")).unwrap())
            .spawn();
        self.child = Some(child.unwrap());
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.file("said")).unwrap()
    }

    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.said()) {
            assert!(Instant::now() < end, "not {what}: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn until_live(&self) {
        let live = |said: &str| said.lines().filter(|line| line.ends_with(" live")).count();
        self.until("live", |said| live(said) >= 5);
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Another command, over the journal's file of the last run; without a configuration.
    pub fn of_journal(&self, arguments: &[&str]) -> Output {
        let file = files_in(&self.file("journal")).unwrap().pop().unwrap();
        let file = file.display().to_string();
        let arguments = arguments.iter().map(|&word| if word == "FILE" { &file } else { word });
        Command::new(env!("CARGO_BIN_EXE_foreshock"))
            .args(arguments)
            .env_remove("FORESHOCK_CONFIG")
            .output()
            .unwrap()
    }

    pub fn end(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
