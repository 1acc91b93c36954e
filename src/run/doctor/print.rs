//! What was found, for people, for programs, and as a script.

use std::io::{self, Write};

use serde::Serialize;

use super::check::{Row, Verdict};
use super::machine::Machine;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What kind of machine it is.
    pub machine: Machine,
    /// What that makes meaningless.
    pub caveats: Vec<String>,
    /// The cores that were judged.
    pub hot_cores: String,
    /// Whether nobody configured them.
    pub hot_cores_proposed: bool,
    /// Processes of runs that were looked at.
    pub runs: Vec<u32>,
    /// How many of each verdict.
    pub summary: Summary,
    /// Names of the checks to mend first.
    pub first: Vec<&'static str>,
    /// The checks, in order.
    pub checks: Vec<Row>,
}

/// How many checks came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Must be mended.
    pub fail: usize,
    /// Cost tail latency.
    pub warn: usize,
    /// As they should be.
    pub pass: usize,
    /// Good to know.
    pub info: usize,
    /// Could not be read.
    pub unread: usize,
    /// Do not apply.
    pub skip: usize,
}

impl Summary {
    /// Counts rows.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        Self {
            fail: count(Verdict::Fail),
            warn: count(Verdict::Warn),
            pass: count(Verdict::Pass),
            info: count(Verdict::Info),
            unread: count(Verdict::Unread),
            skip: count(Verdict::Skip),
        }
    }

    fn line(self) -> String {
        let Self { fail, warn, pass, info, unread, skip } = self;
        format!(
            "{fail} fail, {warn} warn, {pass} pass, {unread} cannot be read here, {info} for \
             information, {skip} left out"
        )
    }
}

/// Names of the checks to mend first: those that fail, then those that warn, in their order.
#[must_use]
pub fn first(rows: &[Row]) -> Vec<&'static str> {
    const SHOWN: usize = 3;
    let of = |verdict| rows.iter().filter(move |row| row.verdict == verdict);
    of(Verdict::Fail).chain(of(Verdict::Warn)).map(|row| row.name).take(SHOWN).collect()
}

/// How wide, and whether in colours.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// Columns.
    pub width: usize,
    /// Whether verdicts are coloured.
    pub colours: bool,
}

impl Paper {
    /// What standard output is: where it is no terminal, 100 columns without colours.
    #[must_use]
    pub fn of_stdout() -> Self {
        let out = io::stdout();
        let size = rustix::termios::tcgetwinsize(&out).ok();
        let is_terminal = io::IsTerminal::is_terminal(&out);
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let columns = size.filter(|_| is_terminal).map_or(100, |size| usize::from(size.ws_col));
        Self { width: columns.clamp(40, 140), colours: is_terminal && !plain }
    }

    fn verdict(self, verdict: Verdict) -> String {
        let word = verdict.word();
        let colour = match verdict {
            _ if !self.colours => return word.to_owned(),
            Verdict::Fail => 31,
            Verdict::Warn => 33,
            Verdict::Pass => 32,
            Verdict::Info => 36,
            Verdict::Unread | Verdict::Skip => 35,
        };
        format!("\x1b[{colour}m{word}\x1b[0m")
    }
}

/// Columns before the text of a check.
const INDENT: usize = 30;
/// Columns before what is said about it.
const DEEPER: usize = 13;

/// For people.
///
/// # Errors
/// When it cannot be written.
pub fn table(report: &Report, paper: Paper, out: &mut impl Write) -> io::Result<()> {
    let plain = |text: &str, out: &mut _| put(out, "", text, 2, paper.width);
    for caveat in &report.caveats {
        plain(&format!("This is {caveat}."), out)?;
    }
    let proposed = if report.hot_cores_proposed { " (proposed: none is configured)" } else { "" };
    plain(&format!("Judged for hot threads on cores {}{proposed}.", report.hot_cores), out)?;
    let mut group = "";
    for row in &report.checks {
        if row.group != group {
            group = row.group;
            writeln!(out, "\n{group}")?;
        }
        let head = format!("  {} {:<22} ", paper.verdict(row.verdict), row.name);
        put(out, &head, &row.found, INDENT, paper.width)?;
        let mut say = |key: &str, text: &str| {
            put(out, &format!("       {key:<6}"), text, DEEPER, paper.width)
        };
        say("why", row.why)?;
        if !row.read.is_empty() {
            say("read", &row.read.join(" "))?;
        }
        row.note.map_or(Ok(()), |note| say("note", note))?;
        // A command is copied: it is never broken.
        row.fix.iter().try_for_each(|line| writeln!(out, "       {:<6}{line}", "fix"))?;
    }
    writeln!(out)?;
    plain(&report.summary.line(), out)?;
    match report.first.as_slice() {
        [] => writeln!(out, "Nothing to mend."),
        names => plain(
            &format!(
                "Begin with: {}. `foreshock doctor --script` prints the commands.",
                names.join(", ")
            ),
            out,
        ),
    }
}

/// Writes `text` behind `head`, broken between words and indented from the second line on.
///
/// # Errors
/// When it cannot be written.
pub fn put(
    out: &mut impl Write,
    head: &str,
    text: &str,
    indent: usize,
    width: usize,
) -> io::Result<()> {
    write!(out, "{head}")?;
    let mut column = if head.is_empty() { 0 } else { indent };
    let begin = column;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > begin && column + 1 + length > width {
            write!(out, "\n{:indent$}{word}", "")?;
            column = indent + length;
        } else {
            let blank = if column == begin { "" } else { " " };
            write!(out, "{blank}{word}")?;
            column += blank.len() + length;
        }
    }
    writeln!(out)
}

/// As a shell script that mends what fails or warns. Nobody runs it but the user.
///
/// # Errors
/// When it cannot be written.
pub fn script(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "#!/bin/sh")?;
    writeln!(
        out,
        "# What `foreshock doctor` would change here. Nothing has been changed yet: read it, then run"
    )?;
    writeln!(
        out,
        "# it as root. tuning.md says for each how to see that it took, and how to undo it."
    )?;
    for caveat in &report.caveats {
        writeln!(out, "# This is {caveat}.")?;
    }
    for row in &report.checks {
        if matches!(row.verdict, Verdict::Fail | Verdict::Warn) {
            writeln!(out, "\n# {} {}: {}", row.verdict.word(), row.name, row.found)?;
            row.note.map_or(Ok(()), |note| writeln!(out, "# {note}"))?;
            row.fix.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, verdict: Verdict, fix: &[&str]) -> Row {
        let (found, why) = ("one two three four five six seven".to_owned(), "it matters");
        let fix = fix.iter().map(|&line| line.to_owned()).collect();
        Row { group: "g", name, verdict, found, why, read: vec!["/p".to_owned()], fix, note: None }
    }

    fn report(checks: Vec<Row>) -> Report {
        Report {
            machine: Machine::default(),
            caveats: Vec::new(),
            hot_cores: "2-3".to_owned(),
            hot_cores_proposed: false,
            runs: Vec::new(),
            summary: Summary::of(&checks),
            first: first(&checks),
            checks,
        }
    }

    fn table_of(report: &Report, paper: Paper) -> String {
        let mut out = Vec::new();
        table(report, paper, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_keep_within_the_terminal_and_a_command_is_never_broken() {
        let long = "echo aaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
        let report = report(vec![row("a", Verdict::Warn, &[long])]);
        let text = table_of(&report, Paper { width: 44, colours: false });
        assert!(text.contains(long), "{text}");
        let wide = text.lines().filter(|line| line.len() > 44).count();
        assert_eq!(wide, 1, "{text}");
        assert!(text.contains("0 fail, 1 warn, 0 pass"), "{text}");
        assert!(!text.contains('\x1b') && text.contains("Begin with: a."), "{text}");
        assert!(
            table_of(&report, Paper { width: 44, colours: true }).contains("\x1b[33mwarn\x1b[0m")
        );
    }

    #[test]
    fn what_fails_comes_before_what_warns() {
        let rows = [
            ("a", Verdict::Warn),
            ("b", Verdict::Pass),
            ("c", Verdict::Fail),
            ("d", Verdict::Info),
        ];
        let rows = rows.map(|(name, verdict)| row(name, verdict, &[])).to_vec();
        assert_eq!(first(&rows), ["c", "a"]);
        let all_well = report(vec![row("a", Verdict::Pass, &[])]);
        assert!(
            table_of(&all_well, Paper { width: 80, colours: false }).contains("Nothing to mend.")
        );
    }

    #[test]
    fn a_script_holds_what_fails_or_warns_and_nothing_else() {
        let rows = vec![
            row("a", Verdict::Warn, &["echo a"]),
            row("b", Verdict::Info, &["echo b"]),
            row("c", Verdict::Fail, &["echo c"]),
        ];
        let mut out = Vec::new();
        script(&report(rows), &mut out).unwrap();
        let commands: Vec<_> =
            out.split(|b| *b == b'\n').filter(|l| l.starts_with(b"echo")).collect();
        assert_eq!(commands, [b"echo a", b"echo c"]);
    }
}
