//! What a check is, and what comes of it.
//!
//! A check is one row: a name, what it costs when it is not met, and a function that looks. The
//! function finds, it does not judge: [`judge`] does, by the machine. What a virtual machine makes
//! meaningless is told as information, what a container cannot set is said to be the host's.

use serde::Serialize;

use super::Scene;
use super::host::{Cannot, Look};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// Costs tail latency.
    Warn,
    /// The numbers are wrong, or latency is not worth measuring.
    Fail,
}

/// Whose a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process can change it, or whoever starts it.
    Own,
    /// The kernel's: a container cannot change it.
    Kernel,
    /// The metal's: a virtual machine sees only what the hypervisor pretends.
    Metal,
}

/// One check.
pub struct Check {
    /// Its name, as in tuning.md.
    pub name: &'static str,
    /// How bad it is when it is not met.
    pub level: Level,
    /// Whose it is.
    pub scope: Scope,
    /// Why it matters.
    pub why: &'static str,
    /// Looks.
    pub ask: fn(&Look) -> Result<Finding, Cannot>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How short it falls; `None` when all is well.
    pub short: Option<Short>,
    /// In words.
    pub found: String,
    /// Shell commands that mend it.
    pub fix: Vec<String>,
}

/// How short a finding falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// As bad as the check says.
    Plain,
    /// This bad.
    At(Level),
}

impl Finding {
    /// All is well.
    pub fn good(found: impl Into<String>) -> Self {
        Self { short: None, found: found.into(), fix: Vec::new() }
    }

    /// Neither good nor bad.
    pub fn told(found: impl Into<String>) -> Self {
        Self { short: Some(Short::At(Level::Info)), ..Self::good(found) }
    }

    /// Not as it should be; the commands mend it.
    pub fn short(found: impl Into<String>, fix: impl IntoIterator<Item = String>) -> Self {
        Self { short: Some(Short::Plain), found: found.into(), fix: fix.into_iter().collect() }
    }

    /// The same, this bad.
    #[must_use]
    pub fn at(self, level: Level) -> Self {
        Self { short: self.short.map(|_| Short::At(level)), ..self }
    }

    /// Good when there is nothing to complain of, else all complaints in one.
    pub fn of(complaints: &[String], good: impl Into<String>, fix: Vec<String>) -> Self {
        if complaints.is_empty() {
            return Self::good(good);
        }
        Self::short(complaints.join("; "), fix)
    }
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Good to know.
    Info,
    /// Costs tail latency.
    Warn,
    /// Must be mended.
    Fail,
    /// Could not be read here: not known, which is not the same as good.
    Unread,
    /// Does not apply, or was not asked for.
    Skip,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Unread => "????",
            Self::Skip => "skip",
        }
    }
}

/// A check that has been made.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which group it belongs to.
    pub group: &'static str,
    /// The check's name.
    pub name: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// What was found; where nothing could be, why not.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// Where it looked.
    pub read: Vec<String>,
    /// Shell commands that mend it.
    pub fix: Vec<String>,
    /// What this machine changes about it.
    pub note: Option<&'static str>,
}

const BY_HYPERVISOR: &str = "a virtual machine sees what its hypervisor pretends: not judged here";
const BY_HOST: &str = "in a container this is its host's to change";

/// Makes one check.
#[must_use]
pub fn judge(group: &'static str, check: &Check, scene: &Scene) -> Row {
    let look = Look::at(scene);
    let asked = (check.ask)(&look);
    let read = look.read();
    let Check { name, why, level, scope, .. } = *check;
    let (verdict, found, fix) = match asked {
        Ok(finding) => (weigh(finding.short, level), finding.found, finding.fix),
        Err(Cannot::Read(why)) => (Verdict::Unread, format!("cannot be read here: {why}"), vec![]),
        Err(Cannot::Apply(why)) => (Verdict::Skip, why, vec![]),
    };
    let bad = matches!(verdict, Verdict::Warn | Verdict::Fail);
    let (verdict, note) = match scope {
        Scope::Metal if bad && scene.machine.is_virtual() => (Verdict::Info, Some(BY_HYPERVISOR)),
        Scope::Kernel | Scope::Metal if bad && scene.machine.is_container() => {
            (verdict, Some(BY_HOST))
        }
        _ => (verdict, None),
    };
    Row { group, name, verdict, found: one_line(&found), why, read, fix, note }
}

fn weigh(short: Option<Short>, level: Level) -> Verdict {
    let level = match short {
        None => return Verdict::Pass,
        Some(Short::Plain) => level,
        Some(Short::At(level)) => level,
    };
    match level {
        Level::Info => Verdict::Info,
        Level::Warn => Verdict::Warn,
        Level::Fail => Verdict::Fail,
    }
}

/// What was read may hold anything: one line, nothing that a terminal or a shell would obey.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn row(scope: Scope, fake: Fake, ask: fn(&Look) -> Result<Finding, Cannot>) -> Row {
        let check = Check { name: "x", level: Level::Fail, scope, why: "", ask };
        judge("g", &check, &fake.scene())
    }

    fn short(_: &Look) -> Result<Finding, Cannot> {
        Ok(Finding::short("bad\n\u{1b}[31m", ["true".to_owned()]))
    }

    #[test]
    fn what_a_virtual_machine_makes_meaningless_is_only_told() {
        let machine = |virtual_| Fake::new().virtual_machine(virtual_);
        assert_eq!(row(Scope::Metal, machine(true), short).verdict, Verdict::Info);
        assert_eq!(row(Scope::Metal, machine(false), short).verdict, Verdict::Fail);
        assert_eq!(row(Scope::Kernel, machine(true), short).verdict, Verdict::Fail);
        let contained = row(Scope::Kernel, Fake::new().container(), short);
        assert_eq!((contained.verdict, contained.note), (Verdict::Fail, Some(BY_HOST)));
    }

    #[test]
    fn what_cannot_be_read_never_passes_and_foreign_text_obeys_nobody() {
        let unread = row(Scope::Own, Fake::new(), |look| Ok(Finding::good(look.text("/x")?)));
        assert_eq!((unread.verdict, unread.read), (Verdict::Unread, vec!["/x".to_owned()]));
        assert!(unread.found.starts_with("cannot be read here: /x"), "{}", unread.found);
        assert!(!row(Scope::Own, Fake::new(), short).found.contains(char::is_control));
    }
}
