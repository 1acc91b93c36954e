//! Does it live, is it ready, is it fresh: three questions with three answers.
//!
//! *Live*: the loops go round. A tick is made ten times a second by the reader and goes through the
//! engine to the publisher, so its age at the end says that all three move; and each thread beats. No
//! timer takes part. *Ready*: enough venues can be heard to rely on what is said. *Fresh*: data came
//! from a venue within the last seconds. A quiet venue is ready and not fresh, and nothing is wrong.

use std::fmt::{self, Write as _};

use super::picture::Picture;
use crate::event::Venue;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos, Now};

/// Longest without a tick or a beat.
pub const DEAD_NS: u64 = 5 * NS_PER_S;
/// The beginning takes this long at most.
const BEGIN_NS: u64 = 15 * NS_PER_S;
/// Data is fresh for this long.
pub const FRESH_NS: u64 = 10 * NS_PER_S;

/// The answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What does not move, in words; empty while everything does.
    pub stuck: Vec<String>,
    /// Venues that are to be heard, those that are, those with fresh data.
    pub venues: [usize; 3],
    /// Venues that must be heard to be ready.
    pub needed: usize,
}

impl Health {
    /// As the picture is now.
    pub fn of(picture: &Picture, now: Now) -> Self {
        let venues: Vec<(Venue, bool)> = picture.venues(now.mono).collect();
        let heard = venues.iter().filter(|(_, heard)| *heard).count();
        let fresh = venues.iter().filter(|(venue, _)| is_fresh(picture, *venue, now)).count();
        let needed = venues.len().div_ceil(2).max(1);
        Self { stuck: stuck(picture, now.mono), venues: [venues.len(), heard, fresh], needed }
    }

    /// Whether the loops go round.
    pub fn is_live(&self) -> bool {
        self.stuck.is_empty()
    }

    /// Whether enough venues are heard.
    pub fn is_ready(&self) -> bool {
        let [_, heard, _] = self.venues;
        self.is_live() && heard >= self.needed
    }
}

fn is_fresh(picture: &Picture, venue: Venue, now: Now) -> bool {
    let feeds = picture.feeds(now.mono).unwrap_or_default().iter();
    let mut own = feeds.filter(|feed| feed.venue == venue.name() && feed.is_rare());
    let limit = i64::try_from(FRESH_NS / NS_PER_MS).unwrap_or(i64::MAX);
    own.any(|feed| feed.last_frame_ms.is_some_and(|last| now.wall.0 - last <= limit))
}

fn stuck(picture: &Picture, now: Nanos) -> Vec<String> {
    let mut stuck = Vec::new();
    let beginning = now.since(picture.begun) < BEGIN_NS;
    match picture.tick_age(now) {
        None if beginning => {}
        None => stuck.push("no tick has come through yet".to_owned()),
        Some(age) if age > DEAD_NS => {
            stuck.push(format!("no tick has come through for {} s", age / NS_PER_S));
        }
        Some(_) => {}
    }
    for beat in picture.ears.iter().map(|ear| &ear.last) {
        let age = now.since(beat.at);
        if age <= DEAD_NS || beat.passes == 0 && beginning {
            continue;
        }
        let mut line = String::from("no turn");
        for (stage, _) in &beat.turns {
            let _ = write!(line, " of {stage}");
        }
        match beat.passes {
            0 => line.push_str(" of a thread yet"),
            _ => line.push_str(&format!(" for {} s", age / NS_PER_S)),
        }
        stuck.push(line);
    }
    stuck
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [all, heard, fresh] = self.venues;
        for line in &self.stuck {
            writeln!(f, "stuck: {line}")?;
        }
        let fresh_s = FRESH_NS / NS_PER_S;
        writeln!(f, "live: {}", if self.is_live() { "yes" } else { "no" })?;
        let ready = if self.is_ready() { "yes" } else { "no" };
        writeln!(f, "ready: {ready} ({heard} of {all} venues heard, {} needed)", self.needed)?;
        writeln!(f, "fresh: {fresh} of {all} venues sent data within {fresh_s} s")
    }
}
