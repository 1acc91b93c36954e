//! What crosses the second door, in lines of one cache line each.
//!
//! The engine passes on every event it took ([`Output::Event`], so that sinks see the tape and the
//! journal holds the engine's whole input) and its reports. A [`Report`] is longer than a line and
//! travels as [`REPORT_LINES`] consecutive [`Part`]s; [`Assembler`] puts it together again.

use crate::event::Event;
use crate::signal::{Cursor, REPORT_WORDS, Report, Words};

/// Payload words of one part.
const PART_WORDS: usize = 6;
/// Lines one report takes.
pub const REPORT_LINES: usize = REPORT_WORDS.div_ceil(PART_WORDS);

/// One line of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Position within the report, from 0.
    pub index: u8,
    /// The payload.
    pub words: [u64; PART_WORDS],
}

/// One line through the door.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    /// An event the engine took.
    Event(Event),
    /// A line of a report.
    Part(Part),
}

const _: () = assert!(size_of::<Output>() == 64 && align_of::<Output>() == 64);

/// The lines of a report, in order.
#[must_use]
pub fn lines(report: &Report) -> [Output; REPORT_LINES] {
    let mut words = [0; REPORT_LINES * PART_WORDS];
    report.put(&mut Cursor::new(&mut words));
    let mut index = 0;
    [(); REPORT_LINES].map(|()| {
        let mut part = Part { index, words: [0; PART_WORDS] };
        let start = usize::from(index) * PART_WORDS;
        part.words.copy_from_slice(&words[start..start + PART_WORDS]);
        index += 1;
        Output::Part(part)
    })
}

/// What the lines said.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "passed by reference, one at a time")]
pub enum Message {
    /// An event the engine took.
    Event(Event),
    /// A state or a signal.
    Report(Report),
}

/// Puts reports together from their lines.
#[derive(Debug)]
pub struct Assembler {
    words: [u64; REPORT_LINES * PART_WORDS],
    next: usize,
    broken: u64,
}

impl Default for Assembler {
    fn default() -> Self {
        Self { words: [0; REPORT_LINES * PART_WORDS], next: 0, broken: 0 }
    }
}

impl Assembler {
    /// Takes the next line; gives a message when it is complete.
    pub fn take(&mut self, line: &Output) -> Option<Message> {
        match line {
            Output::Event(event) => Some(Message::Event(*event)),
            Output::Part(part) => self.take_part(part).map(Message::Report),
        }
    }

    fn take_part(&mut self, part: &Part) -> Option<Report> {
        if usize::from(part.index) != self.next {
            // Lines are pushed in order by one thread, so this is damage on disk, never on a ring.
            self.broken += 1;
            self.next = 0;
            if part.index != 0 {
                return None;
            }
        }
        let start = self.next * PART_WORDS;
        self.words.get_mut(start..start + PART_WORDS)?.copy_from_slice(&part.words);
        self.next += 1;
        if self.next < REPORT_LINES {
            return None;
        }
        self.next = 0;
        let report = Report::get(&mut Cursor::new(&mut self.words));
        self.broken += u64::from(report.is_none());
        report
    }

    /// Lines that did not fit.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::Symbol;
    use crate::time::Nanos;

    #[test]
    fn a_report_crosses_in_lines_between_events() {
        let report = Report::empty(Symbol::MARKET, Nanos(5));
        let mut assembler = Assembler::default();
        let mut out = Vec::new();
        for line in lines(&report) {
            out.extend(assembler.take(&line));
        }
        assert_eq!(out, [Message::Report(report)]);
        assert_eq!(assembler.broken(), 0);
    }

    #[test]
    fn a_missing_line_is_counted_and_the_next_report_is_whole() {
        let report = Report::empty(Symbol::MARKET, Nanos(5));
        let mut assembler = Assembler::default();
        let all = lines(&report);
        let mut got = 0;
        for line in all.iter().skip(1).chain(all.iter()) {
            got += usize::from(assembler.take(line).is_some());
        }
        assert_eq!(got, 1);
        assert!(assembler.broken() > 0);
    }
}
