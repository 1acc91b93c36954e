//! What a channel has been told, on disk, for the run that comes after a sudden end.
//!
//! One small file for each channel, beside the journal that holds the signals themselves. It is written
//! before each attempt and after it, always whole (a new file takes the old one's place):
//!
//! ```text
//! told <run>-<seq>                     the last signal that was delivered, or given up
//! sending <key> <run>-<seq>            a message on its way, and the last signal in it
//! ```
//!
//! What the journal has after `told` was never delivered. What was on its way may have arrived: it is sent
//! once more under the same key, and says so. A channel without a file begins with what comes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Run and number of a signal.
pub type Id = (u64, u64);

/// What is known of the channel's past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The last signal that is settled.
    pub upto: Id,
    /// Key of a message on its way, and the last signal in it.
    pub sending: Option<(String, Id)>,
}

impl Told {
    fn text(&self) -> String {
        let (run, seq) = self.upto;
        let sending = self.sending.as_ref();
        let sending = sending.map(|(key, (run, seq))| format!("sending {key} {run}-{seq}\n"));
        format!("told {run}-{seq}\n{}", sending.unwrap_or_default())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let upto = id(lines.next()?.strip_prefix("told ")?)?;
        let sending = lines.next().and_then(|line| {
            let (key, last) = line.strip_prefix("sending ")?.split_once(' ')?;
            Some((key.to_owned(), id(last)?))
        });
        Some(Self { upto, sending })
    }
}

fn id(text: &str) -> Option<Id> {
    let (run, seq) = text.split_once('-')?;
    Some((run.parse().ok()?, seq.parse().ok()?))
}

/// The file.
#[derive(Debug)]
pub struct Receipt {
    file: PathBuf,
    told: Told,
    broken: bool,
}

impl Receipt {
    /// The receipt of `channel` in `folder`; where there is none that can be read, it begins after `last`.
    #[must_use]
    pub fn open(folder: &Path, channel: &str, last: Id) -> Self {
        let file = Self::file(folder, channel);
        let told = fs::read_to_string(&file).ok().and_then(|text| Told::parse(&text));
        let is_new = told.is_none();
        let told = told.unwrap_or(Told { upto: last, sending: None });
        let mut receipt = Self { file, told, broken: false };
        if is_new {
            receipt.keep();
        }
        receipt
    }

    /// The receipt of a channel that comes while a run goes on: whatever there was, it begins after `last`.
    #[must_use]
    pub fn anew(folder: &Path, channel: &str, last: Id) -> Self {
        Self::forget(folder, channel);
        Self::open(folder, channel, last)
    }

    /// Forgets what a channel of that name was told by earlier runs.
    pub fn forget(folder: &Path, channel: &str) {
        // One that cannot be removed cannot be replaced either, and that is said when it is written.
        let _ = fs::remove_file(Self::file(folder, channel));
    }

    fn file(folder: &Path, channel: &str) -> PathBuf {
        folder.join(format!("alert-{channel}.told"))
    }

    /// What it says.
    #[must_use]
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// A message goes out now.
    pub fn sending(&mut self, key: &str, last: Id) {
        self.told.sending = Some((key.to_owned(), last));
        self.keep();
    }

    /// It has certainly not arrived.
    pub fn returned(&mut self) {
        self.told.sending = None;
        self.keep();
    }

    /// It has arrived, or never will.
    pub fn settled(&mut self, last: Id) {
        self.told = Told { upto: self.told.upto.max(last), sending: None };
        self.keep();
    }

    /// Says once when it cannot be kept: alerts go on, but a sudden end may repeat or lose some.
    fn keep(&mut self) {
        let result = replace(&self.file, &self.told.text());
        if let (Err(e), false) = (&result, self.broken) {
            eprintln!("alert: {}: {e}; what was told is not remembered", self.file.display());
        }
        self.broken = result.is_err();
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_not() {
        let sending = Some(("7-3".to_owned(), (7, 15)));
        for told in [Told { upto: (7, 12), sending }, Told::default()] {
            assert_eq!(Told::parse(&told.text()), Some(told));
        }
        for text in ["", "told", "told 7", "told 7-x\n", "sending 7-3 7-15\n"] {
            assert_eq!(Told::parse(text), None, "{text}");
        }
        let half = Told::parse("told 7-12\nsending 7-3").unwrap();
        assert_eq!(half, Told { upto: (7, 12), sending: None });
    }

    #[test]
    fn a_receipt_outlives_its_channel() {
        let folder = std::env::temp_dir().join(format!("fsk-receipt-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut receipt = Receipt::open(&folder, "a", (7, 3));
        assert_eq!(receipt.told().upto, (7, 3), "what was before is not told");
        receipt.sending("8-1", (8, 4));
        let again = Receipt::open(&folder, "a", (9, 9));
        assert_eq!(again.told().sending, Some(("8-1".to_owned(), (8, 4))));
        receipt.returned();
        assert_eq!(Receipt::open(&folder, "a", (9, 9)).told().sending, None);
        receipt.settled((8, 4));
        assert_eq!(Receipt::open(&folder, "a", (0, 0)).told().upto, (8, 4));
        fs::remove_dir_all(&folder).unwrap();
    }
}
