//! What the server's errors mean: one row each, by SQLSTATE or by its class.

use std::io;

use crate::publish::redis::Foreign;

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// It passes by itself: try again soon.
    Wait,
    /// Somebody must change something: try again rarely.
    Change,
    /// Nothing: these rows will never get in.
    Drop,
}

/// SQLSTATE (five characters) or its class (two), what helps, and what the user reads.
pub const TABLE: [(&str, Cure, &str); 18] = [
    ("28P01", Cure::Change, "PostgreSQL refuses this user and password"),
    ("28", Cure::Change, "PostgreSQL does not let this user in: see pg_hba.conf"),
    ("3D000", Cure::Change, "there is no such database: create it"),
    ("42501", Cure::Change, "this PostgreSQL role may not do what is needed: see schema.sql"),
    ("42", Cure::Change, "the tables are not as schema.sql makes them"),
    ("25006", Cure::Wait, "this PostgreSQL is read-only"),
    ("53100", Cure::Wait, "the disk of PostgreSQL is full"),
    ("53300", Cure::Wait, "PostgreSQL has no connection left"),
    ("53", Cure::Wait, "PostgreSQL is out of something"),
    ("55P03", Cure::Wait, "somebody holds a lock on the table"),
    ("57014", Cure::Wait, "PostgreSQL takes too long"),
    ("57", Cure::Wait, "PostgreSQL is starting or stopping"),
    ("40", Cure::Wait, "PostgreSQL asks to try again"),
    ("23505", Cure::Drop, "these rows are there already, from another run of this number"),
    ("23", Cure::Drop, "PostgreSQL does not accept the rows"),
    ("22", Cure::Drop, "PostgreSQL does not understand the rows"),
    ("54", Cure::Drop, "the rows are too much for PostgreSQL"),
    ("0A", Cure::Change, "PostgreSQL cannot do what is needed"),
];

/// Why PostgreSQL is not taking what we have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the user reads.
    pub words: String,
    /// What helps.
    pub cure: Cure,
    /// Whether the server said so, about what it was asked; else it is the connection's.
    pub of_server: bool,
}

impl Trouble {
    /// What a server's error means.
    #[must_use]
    pub fn of_reply(state: &str, message: &str) -> Self {
        let class = state.get(..2).unwrap_or_default();
        let row = |key: &str| TABLE.iter().find(|(known, ..)| *known == key);
        match row(state).or_else(|| row(class)) {
            Some((_, cure, words)) => {
                let words = format!("{words} ({}: {})", Foreign(state), Foreign(message));
                Self { words, cure: *cure, of_server: true }
            }
            None => {
                let words = format!("PostgreSQL says {}: {}", Foreign(state), Foreign(message));
                Self { words, cure: Cure::Wait, of_server: true }
            }
        }
    }

    /// What an error of the connection means.
    #[must_use]
    pub fn of_transport(error: &io::Error) -> Self {
        Self::wait(match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                "PostgreSQL does not answer in time".to_owned()
            }
            _ => format!("cannot reach PostgreSQL: {}", Foreign(&error.to_string())),
        })
    }

    /// Something that passes by itself.
    #[must_use]
    pub fn wait(words: String) -> Self {
        Self { words, cure: Cure::Wait, of_server: false }
    }

    /// Something that somebody must change.
    #[must_use]
    pub fn change(words: impl Into<String>) -> Self {
        Self { words: words.into(), cure: Cure::Change, of_server: false }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::of_transport(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_error_has_its_words_and_the_exact_one_goes_before_its_class() {
        for (key, cure, words) in TABLE {
            let state = format!("{key:9<5}");
            let trouble = Trouble::of_reply(&state, "x");
            assert_eq!((trouble.cure, trouble.words.starts_with(words)), (cure, true), "{state}");
        }
        assert_eq!(Trouble::of_reply("XX000", "x").cure, Cure::Wait);
        assert_eq!(Trouble::of_reply("", "x").cure, Cure::Wait);
    }

    #[test]
    fn what_the_server_says_cannot_paint_the_terminal() {
        let trouble = Trouble::of_reply("42501", &format!("a\r\n\x1b[31m{}", "x".repeat(500)));
        assert!(trouble.words.chars().all(|c| !c.is_control()), "{}", trouble.words);
        assert!(trouble.words.len() < 350);
    }
}
