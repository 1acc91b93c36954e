//! How one connection to a venue is, as it is told to people and programs.

use serde::{Deserialize, Serialize};

/// One line, as it is. Times are wall clock ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Whose.
    pub venue: String,
    /// The name of its route.
    pub route: String,
    /// Which copy of the route, from 1.
    pub copy: u8,
    /// `connecting`, `live`, `quiet`, `suspect`, `stale`, `down` or `blocked`.
    pub state: String,
    /// HTTP status where the venue refused us, else 0.
    pub code: u16,
    /// Why, in words; empty when the state says it all.
    pub why: String,
    /// When its state last changed.
    pub since_ms: i64,
    /// When a frame last came.
    pub last_frame_ms: Option<i64>,
    /// When a liquidation last came.
    pub last_liquidation_ms: Option<i64>,
    /// How much of the truth about liquidations it shows; missing where none come.
    pub completeness: Option<String>,
    /// Frames so far.
    pub frames: u64,
    /// Events it brought before the venue's other lines, and after them; missing while it has not raced.
    pub won: Option<u64>,
    /// See `won`.
    pub beaten: Option<u64>,
    /// By how much it was ahead when it won, mean, us; missing while it has not won.
    pub lead_mean_us: Option<u64>,
    /// The same at most, us.
    pub lead_max_us: Option<u64>,
}

impl Feed {
    /// Whether anything can be heard on it.
    #[must_use]
    pub fn hears(&self) -> bool {
        matches!(self.state.as_str(), "live" | "quiet")
    }

    /// Whether liquidations come on it.
    #[must_use]
    pub fn is_rare(&self) -> bool {
        self.completeness.is_some()
    }

    /// What tells it from the venue's other lines: `linear`, `linear#2`.
    #[must_use]
    pub fn line(&self) -> String {
        match self.copy {
            0 | 1 => self.route.clone(),
            copy => format!("{}#{copy}", self.route),
        }
    }
}
