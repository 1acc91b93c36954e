//! A node's fills as they were written: one line per fill or block.
//!
//! Each line, or each part of a long one, becomes a frame of Hyperliquid at its own venue time.

use std::collections::VecDeque;
use std::fmt::Display;

use super::{Entry, Lines, Recording, read_line};
use crate::event::Venue;
use crate::ingest::node::pieces;

/// A file of a node.
pub struct NodeFile {
    name: String,
    input: Lines,
    line: Vec<u8>,
    number: u64,
    waiting: VecDeque<Vec<u8>>,
}

/// Whether a file that begins like this holds a node's fills.
pub fn is_fills(beginning: &[u8]) -> bool {
    let text = String::from_utf8_lossy(beginning);
    let keys = ["\"block_time\"", "\"block_number\"", "\"local_time\""];
    let block = text.starts_with('{') && keys.iter().any(|key| text.contains(key));
    block || text.starts_with("[\"0x")
}

impl NodeFile {
    /// Reads from `input`; `name` is for error lines.
    pub fn new(name: impl Display, input: Lines) -> Self {
        let (line, waiting) = (Vec::new(), VecDeque::new());
        Self { name: name.to_string(), input, line, number: 0, waiting }
    }
}

impl Recording for NodeFile {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        while self.waiting.is_empty() {
            self.number += 1;
            let more = read_line(&mut self.input, &mut self.line);
            if !more.map_err(|e| format!("{}, line {}: {e}", self.name, self.number))? {
                return Ok(None);
            }
            if !self.line.is_empty() {
                pieces(&self.line, &mut |piece| self.waiting.push_back(piece.to_vec()));
            }
        }
        let frame = |bytes| Entry::Frame { venue: Venue::Hyperliquid, bytes, received_ms: None };
        Ok(self.waiting.pop_front().map(frame))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn every_line_becomes_a_frame() {
        let text = "{\"block_time\":\"x\",\"events\":[]}\n\n[\"0xab\",{}]\n";
        let input: Lines = Box::new(BufReader::new(text.as_bytes()));
        let mut file = NodeFile::new("13", input);
        let mut frames = Vec::new();
        while let Some(Entry::Frame { bytes, venue, .. }) = file.next().unwrap() {
            assert_eq!(venue, Venue::Hyperliquid);
            frames.push(String::from_utf8(bytes).unwrap());
        }
        assert_eq!(frames, ["{\"block_time\":\"x\",\"events\":[]}", "[\"0xab\",{}]"]);
    }

    #[test]
    fn other_forms_are_not_mistaken_for_it() {
        for (beginning, fills) in [
            (&b"{\"block_time\":\"2025-10-10T21:16:04.831874+00:00\""[..], true),
            (b"{\"local_time\":\"x\",\"block_time\"", true),
            (b"[\"0xe92d2041199b18f611b137457f3acee8bedb22d3\",{", true),
            (b"{\"venue\":\"hyperliquid-node\",\"raw\":\"{", false),
            (b"ts_ms,recv_ms", false),
            (b"", false),
        ] {
            assert_eq!(is_fills(beginning), fills);
        }
    }
}
