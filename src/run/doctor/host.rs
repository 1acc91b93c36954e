//! The machine as its files show it, and what a check reads of it.
//!
//! Everything is read below a root, so that a test can build a machine in a folder. A [`Look`] notes
//! each path that a check asks for: how a finding was come by is never said from memory. What is
//! counted is read twice, a second apart ([`Host::watch`]). Programs that are asked (`ethtool`, `ss`)
//! have a deadline; below another root their answers are files in `commands/`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Scene;

/// Most bytes taken from one file or program.
const BYTES_MAX: u64 = 4 << 20;
/// Longest wait for a program.
const ANSWER: Duration = Duration::from_secs(3);
/// Most paths one pattern gives.
const PATHS_MAX: usize = 16_384;

/// Why a check has no finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cannot {
    /// Something could not be read: in words.
    Read(String),
    /// It does not apply: in words.
    Apply(String),
}

/// A machine below a root.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    then: BTreeMap<String, String>,
}

impl Host {
    /// The machine below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), then: BTreeMap::new() }
    }

    /// Whether it is the machine this runs on.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Keeps what these files hold now; a pattern may have `*` in its segments.
    pub fn watch(&mut self, patterns: &[String]) {
        for path in patterns.iter().flat_map(|pattern| self.list(pattern)).collect::<Vec<_>>() {
            if let Ok(text) = self.text(&path) {
                self.then.insert(path, text);
            }
        }
    }

    /// What a file holds, without the blanks at its end.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn text(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        let file = File::open(self.root.join(path.trim_start_matches('/')))?;
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// The paths that a pattern names, in a natural order: `cpu2` before `cpu10`.
    #[must_use]
    pub fn list(&self, pattern: &str) -> Vec<String> {
        let mut found = self.named(pattern);
        found.retain(|path| self.root.join(path.trim_start_matches('/')).exists());
        found.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        found
    }

    /// The same, whether they exist or not: a link to a socket leads nowhere.
    fn named(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for segment in pattern.split('/').filter(|segment| !segment.is_empty()) {
            found = match segment.split_once('*') {
                None => found.into_iter().map(|path| format!("{path}/{segment}")).collect(),
                Some((before, after)) => {
                    found.iter().flat_map(|path| self.within(path, before, after)).collect()
                }
            };
            found.truncate(PATHS_MAX);
        }
        found
    }

    /// What the links of a pattern point to, without `before` and `after`; others are left out.
    #[must_use]
    pub fn links(&self, pattern: &str, before: &str, after: &str) -> Vec<String> {
        let target = |path: String| {
            let to = std::fs::read_link(self.root.join(path.trim_start_matches('/'))).ok()?;
            Some(to.to_str()?.strip_prefix(before)?.strip_suffix(after)?.to_owned())
        };
        self.named(pattern).into_iter().filter_map(target).collect()
    }

    fn within(&self, folder: &str, before: &str, after: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(folder.trim_start_matches('/')));
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let fits = |name: &String| {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        };
        names.filter(fits).map(|name| format!("{folder}/{name}")).collect()
    }

    /// What a program prints.
    fn answer(&self, command: &[&str]) -> Result<String, String> {
        let line = command.join(" ");
        if !self.is_here() {
            return self.text(&format!("commands/{line}")).map_err(|e| format!("`{line}`: {e}"));
        }
        let (name, arguments) = command.split_first().ok_or("no command")?;
        let mut child = Command::new(name)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("`{line}`: {e}"))?;
        let mut out = child.stdout.take().ok_or("no output")?;
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(out.by_ref().take(BYTES_MAX).read_to_end(&mut bytes));
            bytes
        });
        let end = Instant::now() + ANSWER;
        while !reader.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        let late = !reader.is_finished();
        drop(child.kill());
        drop(child.wait());
        if late {
            // Whoever still holds its output may go on: the thread is left behind.
            return Err(format!("`{line}`: no answer in time"));
        }
        match reader.join() {
            Ok(bytes) if bytes.is_empty() => Err(format!("`{line}`: says nothing")),
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned()),
            Err(_) => Err(format!("`{line}`: its output was lost")),
        }
    }
}

/// What one check sees. It remembers what was asked for.
#[derive(Debug)]
pub struct Look<'a> {
    /// What is known about the machine, the configuration and the runs.
    pub scene: &'a Scene,
    read: RefCell<Vec<String>>,
}

impl<'a> Look<'a> {
    /// A look at the scene.
    #[must_use]
    pub fn at(scene: &'a Scene) -> Self {
        Self { scene, read: RefCell::default() }
    }

    /// Where the check looked, in order.
    #[must_use]
    pub fn read(self) -> Vec<String> {
        self.read.into_inner()
    }

    /// Notes a place that is read in another way.
    pub fn note(&self, place: &str) {
        let mut read = self.read.borrow_mut();
        if !read.iter().any(|known| known == place) {
            read.push(place.to_owned());
        }
    }

    /// What a file holds.
    ///
    /// # Errors
    /// Names it when it cannot be read.
    pub fn text(&self, path: &str) -> Result<String, Cannot> {
        self.note(path);
        self.scene.host.text(path).map_err(|e| Cannot::Read(format!("{path}: {e}")))
    }

    /// The number a file holds.
    ///
    /// # Errors
    /// Names it when it cannot be read, or holds no number.
    pub fn number(&self, path: &str) -> Result<i64, Cannot> {
        let text = self.text(path)?;
        text.trim().parse().map_err(|_| Cannot::Read(format!("{path}: {text:?} is no number")))
    }

    /// Every file of a pattern with what it holds; those that cannot be read are left out.
    #[must_use]
    pub fn each(&self, pattern: &str) -> Vec<(String, String)> {
        self.note(pattern);
        let host = &self.scene.host;
        let held = |path: String| Some((path.clone(), host.text(&path).ok()?));
        host.list(pattern).into_iter().filter_map(held).collect()
    }

    /// What a watched file held then, and holds now.
    ///
    /// # Errors
    /// When it could not be read at one of the two times.
    pub fn twice(&self, path: &str) -> Result<(String, String), Cannot> {
        let now = self.text(path)?;
        let then = self.scene.host.then.get(path).cloned();
        Ok((then.ok_or_else(|| Cannot::Read(format!("{path}: was not there a second ago")))?, now))
    }

    /// What a program prints.
    ///
    /// # Errors
    /// When it is not there, says nothing or takes too long.
    pub fn answer(&self, command: &[&str]) -> Result<String, Cannot> {
        self.note(&format!("`{}`", command.join(" ")));
        self.scene.host.answer(command).map_err(Cannot::Read)
    }
}

/// The value behind `key:` in a file of such lines.
#[must_use]
pub fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
}

/// The chosen one of `always [madvise] never`; the whole text where nothing is in brackets.
#[must_use]
pub fn chosen(text: &str) -> &str {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(text.trim(), |(chosen, _)| chosen)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    impl Host {
        /// Takes what files held a second ago as given.
        pub fn remember(&mut self, then: BTreeMap<String, String>) {
            self.then = then;
        }

        /// Removes a machine that is only a folder.
        pub fn forget(&self) {
            assert!(self.root.starts_with(std::env::temp_dir()) || self.is_here());
            if !self.is_here() {
                drop(std::fs::remove_dir_all(&self.root));
            }
        }
    }

    #[test]
    fn a_look_remembers_what_it_read_and_names_what_is_missing() {
        let scene = Fake::new().file("/proc/a", "7\n").scene();
        let look = Look::at(&scene);
        assert_eq!(look.number("/proc/a"), Ok(7));
        let Err(Cannot::Read(why)) = look.number("/proc/b") else { panic!("not there") };
        assert!(why.starts_with("/proc/b: No such file"), "{why}");
        assert_eq!(look.read(), ["/proc/a", "/proc/b"]);
    }

    #[test]
    fn a_pattern_names_files_in_a_natural_order() {
        let fake = Fake::new().file("/c/cpu10/x", "b").file("/c/cpu2/x", "a").file("/c/cpu3/y", "");
        let scene = fake.scene();
        let found = Look::at(&scene).each("/c/cpu*/x");
        assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<String>(), "ab");
    }

    #[test]
    fn what_is_watched_is_known_then_and_now() {
        let mut scene = Fake::new().before("/proc/n", "1").file("/proc/n", "4").scene();
        assert_eq!(Look::at(&scene).twice("/proc/n"), Ok(("1".to_owned(), "4".to_owned())));
        scene.host.then.clear();
        assert!(matches!(Look::at(&scene).twice("/proc/n"), Err(Cannot::Read(_))));
    }

    #[test]
    fn a_program_that_hangs_or_is_missing_is_said_so() {
        let host = Host::at(Path::new("/"));
        assert_eq!(host.answer(&["echo", "a b"]), Ok("a b".to_owned()));
        assert!(host.answer(&["no-such-program-x"]).is_err());
        assert_eq!(host.answer(&["sleep", "60"]), Err("`sleep 60`: no answer in time".to_owned()));
    }
}
