//! A journal: the engine's input as it was, so that a run can be lived again.
//!
//! Events come back bit for bit, ticks and resets among them; the signals recorded beside them are
//! passed over here (the replay compares them at the end). A journal that a crash cut off is read
//! up to its last whole block.

use std::path::Path;

use super::{Entry, Recording};
use crate::output::Message;
use crate::record::Reader;

/// A journal being read.
pub struct JournalFile {
    reader: Reader,
    run: Option<u64>,
}

impl JournalFile {
    /// Opens a file, or all files of a folder in order.
    ///
    /// # Errors
    /// One line: the path and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let reader = Reader::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self { reader, run: None })
    }

    fn event(&mut self, message: Message) -> Result<Option<Entry>, String> {
        let run = *self.run.get_or_insert(self.reader.run());
        if run != self.reader.run() {
            let other = self.reader.run();
            return Err(format!("the journal goes from run {run} to run {other}: replay one run"));
        }
        match message {
            Message::Event(event) => Ok(Some(Entry::Event(event))),
            Message::Report(_) => Ok(None),
        }
    }
}

impl Recording for JournalFile {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        loop {
            match self.reader.next() {
                None => return Ok(None),
                Some(Ok(message)) => {
                    if let Some(entry) = self.event(message)? {
                        return Ok(Some(entry));
                    }
                }
                // What a crash cut off was never whole; everything before it was.
                Some(Err(damage)) if damage.torn => {}
                Some(Err(damage)) => return Err(damage.to_string()),
            }
        }
    }

    fn has_ticks(&self) -> bool {
        true
    }
}
