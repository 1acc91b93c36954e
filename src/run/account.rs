//! What is printed when a run ends: the books, the laws they obey, and the longest turns.

use std::io::{self, Write};

use super::Failure;
use super::crew::Outcome;
use crate::ledger::Ledger;

/// Prints the books to `out`.
///
/// # Errors
/// When a law is broken (a defect, never an operating condition), or a thread died.
pub fn settle(outcome: &Outcome, out: &mut impl Write) -> Result<(), Failure> {
    // A closed terminal must not hide the verdict, so writing may fail here.
    let _ = print(outcome, out);
    let broken: Vec<String> =
        outcome.ledger.laws().filter(|law| !law.holds).map(|law| law.text).collect();
    if !broken.is_empty() {
        return Err(Failure::running(format!("conservation broken: {}", broken.join("; "))));
    }
    match outcome.troubles.iter().find(|trouble| trouble.contains("panicked")) {
        Some(trouble) => Err(Failure::running(trouble)),
        None => Ok(()),
    }
}

fn print(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "conservation")?;
    for law in outcome.ledger.laws() {
        writeln!(out, "  {:<6} {}", if law.holds { "holds" } else { "BROKEN" }, law.text)?;
    }
    details(&outcome.ledger, out)?;
    for turns in &outcome.turns {
        let longest = turns.longest as f64 / 1e3;
        writeln!(out, "longest turn of {}: {longest:.1} us", turns.stage)?;
    }
    for trouble in &outcome.troubles {
        writeln!(out, "trouble: {trouble}")?;
    }
    Ok(())
}

/// Counts that no law mentions: by name, several on a line.
fn details(ledger: &Ledger, out: &mut impl Write) -> io::Result<()> {
    let in_laws: Vec<String> = ledger.laws().map(|law| law.text).collect();
    let mentioned =
        |name: &str| in_laws.iter().any(|text| text.split_whitespace().any(|word| word == name));
    let rest: Vec<String> = ledger
        .iter()
        .filter(|(name, n)| *n > 0 && !mentioned(name))
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    for line in rest.chunks(6) {
        writeln!(out, "  {}", line.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_law_is_a_failure_that_names_it() {
        let mut outcome = Outcome::default();
        outcome.ledger.add("pushed", 3);
        outcome.ledger.add("offered", 3);
        outcome.ledger.add("ticks", 3);
        outcome.ledger.add("consumed", 2);
        let failure = settle(&outcome, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.line, "conservation broken: pushed 3 = consumed 2");
    }
}
