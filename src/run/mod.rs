//! The only place that sees every room: one file per mode, and what the modes share.
//!
//! [`clock`] is the only clock; [`crew`] gives the turns; [`pipeline`] puts the rooms together;
//! [`account`] prints what is known at the end, [`mod@format`] what a command found. A mode is one function:
//! arguments in, [`Failure`] out.

pub mod clock;
pub mod crew;
pub mod sinks;
pub mod count;
pub mod pipeline;
pub mod account;
pub mod format;
pub mod decode;
pub mod replay;
pub mod backtest;
pub mod simulate;
pub mod live;
pub mod demo;
pub mod latency;
pub mod explain;
pub mod export;
pub mod check;
pub mod doctor;
pub mod jitter;
pub mod status;
pub mod service;
pub mod reload;
pub mod shift;
pub mod venues;
pub mod record;
pub mod restore;
pub mod tuned;
pub mod alert;
pub mod top;

/// Why the program ends with something other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The documented exit code.
    pub code: u8,
    /// One line: what happened, where, and what to do next. Empty when it has been said already.
    pub line: String,
}

impl Failure {
    /// Something failed while running: 1.
    #[must_use]
    pub fn running(line: impl ToString) -> Self {
        Self { code: 1, line: line.to_string() }
    }

    /// The command line does not make sense: 2.
    #[must_use]
    pub fn usage(line: impl ToString) -> Self {
        Self { code: 2, line: line.to_string() }
    }

    /// The configuration is bad: 3.
    #[must_use]
    pub fn config(line: impl ToString) -> Self {
        Self { code: 3, line: line.to_string() }
    }

    /// The machine is not fit for it, as has been said: 4.
    #[must_use]
    pub fn unfit() -> Self {
        Self { code: 4, line: String::new() }
    }

    /// No venue could be reached: 5.
    #[must_use]
    pub fn unreachable(line: impl ToString) -> Self {
        Self { code: 5, line: line.to_string() }
    }

    /// A replay gave something else than the recording holds: 6.
    #[must_use]
    pub fn mismatch(line: impl ToString) -> Self {
        Self { code: 6, line: line.to_string() }
    }
}
