//! A capture: the frames of live connections as they came, with their connections and instruments.

use std::path::Path;

use super::{Entry, Recording};
use crate::ingest::capture::{Reader, Record};

/// A capture being read. Where a crash cut it off it ends.
pub struct CaptureFile {
    reader: Reader,
}

impl CaptureFile {
    /// Opens a file.
    ///
    /// # Errors
    /// One line: the path and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let reader = Reader::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self { reader })
    }
}

impl Recording for CaptureFile {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        Ok(self.reader.next_record()?.map(|record| match record {
            Record::Frame { venue, line, link, bytes, received } => {
                Entry::Captured { venue, line, link, bytes, received }
            }
            Record::Instruments { venue, known, received } => {
                Entry::Instruments { venue, known, received }
            }
        }))
    }

    fn has_links(&self) -> bool {
        true
    }
}
