//! From bytes to events.
//!
//! A [`source::Source`] gives the frames that are ready, without waiting: a live socket or a file. Everything
//! from the first byte of JSON on is the same code in every mode: [`reader`] asks each source in
//! turn, has the venue's [`exchange`] file parse each frame, moves events back inside their frame by
//! the venue's own spacing, and pushes them through the first door.

pub mod instrument;
pub mod exchange;
pub mod skew;
pub mod intake;
pub mod capture;
pub mod recording;
pub mod playback;
pub mod settings;
pub mod source;
pub mod backoff;
pub mod link;
pub mod line;
pub mod twins;
pub mod coverage;
pub mod content;
pub mod parts;
pub mod arrival;
pub mod wire;
pub mod resolve;
pub mod dial;
pub mod retired;
pub mod socket;
pub mod rest;
pub mod repair;
pub mod node;
pub mod vitals;
pub mod reader;
pub mod decode;

use crate::event::Venue;
use crate::time::Now;

/// One message as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Whose format it is in.
    pub venue: Venue,
    /// Which of the venue's lines carried it.
    pub line: u8,
    /// Which connection ([`twins::link_of`]); [`twins::ALONE`] where there is only one.
    pub link: u32,
    /// The payload: JSON, or a venue's bare text.
    pub bytes: &'a [u8],
    /// When it was read.
    pub received: Now,
}
