//! A test of this binary in a process of its own: in another network, under a tracer, with memory and
//! time of its own.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The process, and what it says. It is ended when this is dropped.
pub struct Other {
    child: Child,
    pub said: Lines<BufReader<ChildStdout>>,
}

/// The name of the setting that tells a test that it is the child.
pub const ROLE: &str = "FORESHOCK_CHILD";

/// What this process is to be, if it is somebody's child.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

impl Other {
    /// Runs the test `name` as `role`, behind `wrapper` (a command that runs a command).
    pub fn start(wrapper: &[&str], name: &str, role: &str) -> Self {
        let this = std::env::current_exe().unwrap();
        let this = this.to_str().unwrap();
        let all: Vec<&str> =
            wrapper.iter().copied().chain([this, "--exact", name, "--nocapture"]).collect();
        let mut child = Command::new(all[0])
            .args(&all[1..])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{all:?}: {e}"));
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said }
    }

    /// The rest of a line that begins so.
    pub fn says(&mut self, word: &str) -> Option<String> {
        let word = format!("{word} ");
        self.said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|l| Some(l.strip_prefix(&word)?.to_owned()))
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &self.child.id().to_string()]);
        assert!(kill.status().is_ok_and(|status| status.success()));
    }

    /// Waits for an end of its own.
    pub fn finish(mut self) {
        self.said.by_ref().for_each(drop);
        drop(self.child.wait());
    }
}

/// Whether a command is here and works.
pub fn works(command: &[&str]) -> bool {
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    let works = quiet(Command::new(command[0]).args(&command[1..]));
    if !works {
        eprintln!("skipped: `{}` does not work here", command.join(" "));
    }
    works
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
