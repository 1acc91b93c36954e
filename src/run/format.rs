//! How a command prints what it found: for people, or as one JSON document.

use std::io::{self, ErrorKind, StdoutLock, Write as _};

use serde::Serialize;

use super::Failure;

/// How to print it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
}

impl Format {
    /// Prints `document`, as a table by what `table` writes. A reader that has seen enough is no failure.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print<T: Serialize>(
        self,
        document: &T,
        table: impl FnOnce(&T, &mut StdoutLock<'static>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let printed = match self {
            Self::Table => table(document, &mut out),
            Self::Json => serde_json::to_writer_pretty(&mut out, document)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out)),
        };
        match printed {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::running(e)),
            _ => Ok(()),
        }
    }
}
