//! What one message says: a group of news in plain words, numbered.

use std::fmt::Write as _;

use super::storm::Group;
use crate::time::Millis;

/// News older than this is said to be late, ms.
const LATE_MS: i64 = 10_000;

/// A message on its way. It stays the same, byte for byte, however often it is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// `<run>-<n>`: the run and the number of the message within its channel, from 1.
    pub key: String,
    /// What people read.
    pub text: String,
    /// What it tells.
    pub group: Group,
    /// When it was written, wall clock.
    pub at: Millis,
}

impl Message {
    /// The message number `n` of a run, its text after the word `mark` where there is one.
    #[must_use]
    pub fn new(run: u64, n: u64, mark: &str, group: Group, at: Millis) -> Self {
        let space = if mark.is_empty() { "" } else { " " };
        let text = format!("{mark}{space}{}", text(&group, at));
        Self { key: format!("{run}-{n}"), text, group, at }
    }

    /// The text, marked when an earlier attempt may have arrived.
    #[must_use]
    pub fn marked(&self, again: bool) -> String {
        let mark = if again { "\n(sent again: the first may have arrived)" } else { "" };
        format!("{}{mark}", self.text)
    }

    /// A line that stands for the whole.
    #[must_use]
    pub fn headline(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// One line for one piece of news; for more, a line of counts, then those that matter most.
fn text(group: &Group, at: Millis) -> String {
    let mut out = String::new();
    if group.total() > 1 {
        let _ = write!(out, "{} changes:", group.total());
        for (i, (word, n)) in group.counts().iter().enumerate() {
            let _ = write!(out, "{} {n} {word}", if i == 0 { "" } else { "," });
        }
        out.push('\n');
    }
    for note in group.shown() {
        let late = at.0.saturating_sub(note.at.0);
        let _ = write!(out, "{note}");
        if late > LATE_MS {
            let _ = write!(out, " [{} late]", span(late));
        }
        out.push('\n');
    }
    let more = group.total().saturating_sub(group.shown().len() as u64);
    if more > 0 {
        let _ = writeln!(out, "and {more} more");
    }
    if group.missed() > 0 {
        let _ = writeln!(out, "{} earlier ones were not delivered", group.missed());
    }
    out.truncate(out.trim_end().len());
    out
}

/// A length of time as people say it.
fn span(ms: i64) -> String {
    match ms / 1_000 {
        s if s < 120 => format!("{s} s"),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::alert::note::{News, Note};
    use crate::publish::alert::storm::Storm;
    use crate::publish::explain::tests::sample;
    use crate::time::Nanos;

    fn message(notes: u64, missed: u64, at: i64) -> Message {
        let mut storm = Storm::new(0);
        for seq in 0..notes {
            storm.add(&Note { run: 7, at: Millis(1_000_000), news: News::Signal(sample(seq)) });
        }
        storm.miss(missed);
        Message::new(
            7,
            3,
            if notes > 1 { "X" } else { "" },
            storm.due(Nanos(0)).unwrap(),
            Millis(at),
        )
    }

    #[test]
    fn one_piece_of_news_is_one_line() {
        let message = message(1, 0, 1_000_500);
        assert_eq!((message.key.as_str(), message.text.lines().count()), ("7-3", 1));
        assert_eq!(message.headline(), message.text);
    }

    #[test]
    fn many_are_counted_and_what_was_not_delivered_is_said() {
        let text = message(12, 4, 1_000_500).text;
        assert!(text.starts_with("X 12 changes: 12 ALERT\nALERT 64 %"), "{text}");
        assert!(text.ends_with("and 7 more\n4 earlier ones were not delivered"), "{text}");
        assert_eq!(text.lines().count(), 8);
    }

    #[test]
    fn what_comes_late_says_so() {
        assert!(message(1, 0, 1_090_000).text.ends_with("[90 s late]"));
        assert!(message(1, 0, 999_999_000_000).text.ends_with("d late]"));
        assert!(message(1, 0, 1_000_000).marked(true).contains("sent again"));
    }
}
