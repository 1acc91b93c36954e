//! The headers of the frames a venue sends, followed as the bytes pass.
//!
//! The WebSocket library looks at a frame when all of it is there, and puts the parts of a message
//! together without telling of them. Both can be abused: a bad header followed by silence is not seen,
//! and two bytes make an empty part, so that thousands of them cost far more than what they carry. So
//! the headers are read before the library gets the bytes:
//!
//! ```text
//! at byte 2 of a header: no reserved bit, no mask, a kind that exists, no long or parted control frame
//! parts beyond one a message, over a connection  <=  64 + payload / 1 KiB, of which 64 can be saved
//! ```
//!
//! The bytes before a bad header are passed on, so that no message before it is lost.

use std::fmt;

use arrayvec::ArrayVec;

/// So many parts beyond the last of a message may come, and one more for each [`EACH`] bytes.
const SPARE: u64 = 64;
const EACH: u64 = 1_024;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const KIND: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// Kinds from here on are control frames.
const CONTROL: u8 = 8;
const CONTROL_MAX: u8 = 125;

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A bit that nothing was agreed for.
    Reserved,
    /// Servers do not mask.
    Masked,
    /// A kind of frame that does not exist.
    Kind,
    /// A control frame that is long, or comes in parts.
    Control,
    /// A message in parts that carry next to nothing.
    Crumbs,
}

impl Fault {
    /// The kind of loss, as it is counted.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crumbs => "abuse",
            _ => "protocol",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserved => "a frame with a reserved bit",
            Self::Masked => "a masked frame",
            Self::Kind => "a frame of a kind that does not exist",
            Self::Control => "a control frame that is too long or in parts",
            Self::Crumbs => "a message in parts that carry next to nothing",
        })
    }
}

impl std::error::Error for Fault {}

/// Where in the stream we are.
#[derive(Clone, Debug)]
pub struct Parts {
    place: Place,
    /// Of the header that is being read: two bytes, then its length in up to eight.
    header: ArrayVec<u8, 10>,
    /// Parts that may come yet.
    spare: u64,
    /// Bytes of payload towards the next.
    saved: u64,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the HTTP head; whether its last line has ended with nothing after it yet.
    Head(bool),
    Header,
    /// So many bytes of payload to go.
    Payload(u64),
}

impl Default for Parts {
    fn default() -> Self {
        let place = Place::Head(false);
        Self { place, header: ArrayVec::new(), spare: SPARE, saved: 0, fault: None }
    }
}

impl Parts {
    /// From here on, so many parts may come, whatever they carry.
    pub fn spare(&mut self, parts: u64) {
        self.spare = parts;
    }

    /// What was found wrong. Nothing is followed after it.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Follows `bytes`; gives how many of them stand before a bad header.
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        // A header that began with earlier bytes leaves nothing before it here.
        let (mut rest, mut good) = (bytes, 0);
        while self.fault.is_none()
            && let Some((&byte, after)) = rest.split_first()
        {
            match self.place {
                Place::Head(at_end) => {
                    self.place = head(byte, at_end);
                    rest = after;
                }
                Place::Payload(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    rest = rest.get(here..).unwrap_or_default();
                    self.place = payload(left - here as u64);
                }
                Place::Header => {
                    if self.header.is_empty() {
                        good = bytes.len() - rest.len();
                    }
                    self.header.push(byte);
                    rest = after;
                    self.fault = self.judge().err();
                }
            }
        }
        if self.fault.is_some() { good } else { bytes.len() }
    }

    /// Looks at what there is of a header.
    fn judge(&mut self) -> Result<(), Fault> {
        let [first, second, length @ ..] = self.header.as_slice() else { return Ok(()) };
        let (kind, short) = (first & KIND, second & LENGTH);
        if first & RESERVED != 0 {
            return Err(Fault::Reserved);
        }
        if second & MASKED != 0 {
            return Err(Fault::Masked);
        }
        if !matches!(kind, 0..=2 | 8..=10) {
            return Err(Fault::Kind);
        }
        if kind >= CONTROL && (first & FIN == 0 || short > CONTROL_MAX) {
            return Err(Fault::Control);
        }
        let bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if length.len() < bytes {
            return Ok(());
        }
        let long = length.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        let carried = if bytes == 0 { u64::from(short) } else { long };
        let is_last = first & FIN != 0;
        self.header.clear();
        self.place = payload(carried);
        if kind >= CONTROL { Ok(()) } else { self.part(carried, is_last) }
    }

    fn part(&mut self, carried: u64, is_last: bool) -> Result<(), Fault> {
        self.saved = self.saved.saturating_add(carried);
        if self.spare < SPARE {
            self.spare = (self.spare + self.saved / EACH).min(SPARE);
        }
        self.saved %= EACH;
        if !is_last {
            self.spare = self.spare.checked_sub(1).ok_or(Fault::Crumbs)?;
        }
        Ok(())
    }
}

/// The head ends with an empty line. As lenient about carriage returns as the library is.
fn head(byte: u8, at_end: bool) -> Place {
    match (byte, at_end) {
        (b'\n', true) => Place::Header,
        (b'\n', false) => Place::Head(true),
        (b'\r', _) => Place::Head(at_end),
        _ => Place::Head(false),
    }
}

fn payload(left: u64) -> Place {
    if left == 0 { Place::Header } else { Place::Payload(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `bytes` in pieces of `step` after a head; gives what went through and the fault.
    fn passed(bytes: &[u8], step: usize) -> (usize, Option<Fault>) {
        let mut parts = Parts::default();
        parts.pass(b"HTTP/1.1 101 \x81\xff\r\nA: b\r\n\r\n");
        let mut through = 0;
        for piece in bytes.chunks(step) {
            let good = parts.pass(piece);
            through += good;
            if parts.fault.is_some() {
                return (through, parts.fault);
            }
            assert_eq!(good, piece.len());
        }
        (through, None)
    }

    fn frame(first: u8, carried: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match carried {
            0..126 => frame.push(u8::try_from(carried).unwrap()),
            126..65_536 => {
                frame.push(126);
                frame.extend(u16::try_from(carried).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((carried as u64).to_be_bytes());
            }
        }
        // A payload that looks like bad headers.
        frame.extend(vec![0xff; carried]);
        frame
    }

    #[test]
    fn f12_a_bad_header_is_seen_at_its_second_byte_and_what_came_before_passes() {
        let good =
            [frame(0x81, 5), frame(0x89, 125), frame(0x82, 300), frame(0x81, 70_000)].concat();
        for step in [1, 2, 3, 7, 1_000, usize::MAX] {
            assert_eq!(passed(&good, step), (good.len(), None), "{step}");
            for (bad, fault) in [
                ([0xc1, 1], Fault::Reserved),
                ([0x91, 0], Fault::Reserved),
                ([0x81, 0x81], Fault::Masked),
                ([0x83, 0], Fault::Kind),
                ([0x8b, 0], Fault::Kind),
                ([0x09, 0], Fault::Control),
                ([0x89, 126], Fault::Control),
            ] {
                let (through, found) = passed(&[&good, &bad[..]].concat(), step);
                assert_eq!(found, Some(fault), "{step}");
                // A first byte that came alone had gone through already.
                assert!((good.len()..=good.len() + 1).contains(&through), "{step} {through}");
            }
        }
    }

    /// The fault of `times` messages in `n` parts of `part` bytes, and one byte with the last.
    fn parted(part: usize, n: usize, times: usize) -> Option<Fault> {
        let middle = vec![frame(0x00, part); n.saturating_sub(2)].concat();
        let message = match n {
            1 => frame(0x81, part),
            _ => [frame(0x01, part), middle, frame(0x80, part)].concat(),
        };
        passed(&message.repeat(times), 4_096).1
    }

    #[test]
    fn f9_parts_must_carry_something() {
        assert_eq!(parted(0, 1, 10_000), None, "an empty message is one message");
        assert_eq!(parted(0, 65, 1), None);
        assert_eq!(parted(0, 66, 1), Some(Fault::Crumbs));
        assert_eq!(parted(0, 3, 32), None);
        assert_eq!(parted(0, 3, 33), Some(Fault::Crumbs), "over all messages");
        assert_eq!(parted(1_024, 500, 3), None);
        assert_eq!(parted(512, 100, 1), None);
        assert_eq!(parted(512, 100, 2), Some(Fault::Crumbs));
        let with_pings = frame(0x89, 100).repeat(1_000);
        assert_eq!(passed(&with_pings, 100).1, None, "control frames are counted elsewhere");
    }

    #[test]
    fn f9_what_is_saved_is_bounded_and_no_part_more() {
        let parted = [frame(0x01, 0), frame(0x80, 0)].concat();
        // With nothing spent there is nothing to earn back, and with one only that one.
        for spent in [&[][..], &parted] {
            let rich = [frame(0x82, 1 << 20), frame(0x01, 0), frame(0x00, 0).repeat(64)].concat();
            let rich = [spent, &rich].concat();
            let (through, fault) = passed(&rich, 4_096);
            assert_eq!((through, fault), (rich.len() - 2, Some(Fault::Crumbs)));
        }
    }

    #[test]
    fn f9_a_head_with_bare_line_feeds_ends_as_well() {
        let mut parts = Parts::default();
        assert_eq!(parts.pass(b"HTTP/1.1 101 x\na: b\n\n\xff\x00"), 21);
        assert_eq!(parts.fault(), Some(Fault::Reserved));
        assert_eq!(parts.pass(b"more"), 0, "nothing passes after it");
    }
}
