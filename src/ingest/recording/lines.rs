//! Raw messages, one JSON object a line: `{"venue": "...", "raw": "...", "recv_ts": seconds}`.
//!
//! `venue` may carry a suffix after `-` (`binance-usdm`); lines of venues that are not spoken are
//! counted as refused. Without `recv_ts` the message happens when the one before it did, or at its
//! own venue time if that is later.

use std::fmt::Display;

use serde::Deserialize;

use super::{Entry, Lines, Recording, read_line};
use crate::event::Venue;

/// A file of raw messages.
pub struct LineFile {
    name: String,
    input: Lines,
    line: Vec<u8>,
    number: u64,
}

#[derive(Deserialize)]
struct Row {
    venue: String,
    raw: String,
    recv_ts: Option<Seconds>,
}

/// Seconds since the Unix epoch, as recorders write them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn millis(&self) -> Option<i64> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        (1.0..1e11).contains(&seconds).then(|| to_ms(seconds))
    }
}

impl LineFile {
    /// Reads from `input`; `name` is for error lines.
    pub fn new(name: impl Display, input: Lines) -> Self {
        Self { name: name.to_string(), input, line: Vec::new(), number: 0 }
    }
}

impl Recording for LineFile {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        self.number += 1;
        let more = read_line(&mut self.input, &mut self.line);
        if !more.map_err(|e| format!("{}, line {}: {e}", self.name, self.number))? {
            return Ok(None);
        }
        Ok(Some(parse(&self.line)))
    }
}

fn parse(line: &[u8]) -> Entry {
    let Ok(row) = serde_json::from_slice::<Row>(line) else { return Entry::Refused("line") };
    let spoken = row.venue.split('-').next().and_then(Venue::named);
    let Some(venue) = spoken.filter(|venue| *venue != Venue::Other) else {
        return Entry::Refused("venue");
    };
    let received_ms = row.recv_ts.as_ref().and_then(Seconds::millis);
    Entry::Frame { venue, bytes: row.raw.into_bytes(), received_ms }
}

#[expect(clippy::cast_possible_truncation, reason = "range checked by the caller")]
fn to_ms(seconds: f64) -> i64 {
    (seconds * 1e3).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_frame_and_a_bad_one_is_refused_by_reason() {
        let line =
            br#"{"venue":"binance-usdm","raw":"{}","recv_ts":1791091175.5,"kind":"recorded"}"#;
        let frame = Entry::Frame {
            venue: Venue::Binance,
            bytes: b"{}".to_vec(),
            received_ms: Some(1_791_091_175_500),
        };
        assert_eq!(parse(line), frame);
        let text = br#"{"venue":"binance-usdm","raw":"{}","recv_ts":"1791091175.5000"}"#;
        assert_eq!(parse(text), frame);
        assert_eq!(parse(br#"{"venue":"ftx","raw":"{}"}"#), Entry::Refused("venue"));
        assert_eq!(parse(br#"{"venue":"okx","raw":7}"#), Entry::Refused("line"));
        assert_eq!(parse(b"\xff"), Entry::Refused("line"));
    }
}
