//! A stage takes turns and is told the time. It never waits.
//!
//! A thread of its own, a thread it shares, or a test gives the turns; the stage cannot tell which.

use crate::ledger::{Counts, Ledger};
use crate::time::Now;

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was done; more may be waiting.
    Worked,
    /// Nothing to do now.
    Idle,
    /// Nothing will ever be done again: the input has ended and everything has been passed on. The
    /// stage is dropped then, which ends its side of the rings.
    Done,
}

/// One step of the pipeline.
pub trait Stage: Send {
    /// The name its thread gets, at most 15 bytes.
    fn name(&self) -> &'static str;

    /// Does what can be done now, without waiting, and bounded: one turn takes well under 1 ms.
    fn turn(&mut self, now: Now) -> Turn;

    /// Asks for an orderly end: inputs stop, what is in flight is passed on, then turns say `Done`.
    /// A stage whose input is a ring needs nothing here: it ends when the ring has ended.
    fn stop(&mut self) {}

    /// What was counted so far, for whoever watches it at work: asked about once a second, on the
    /// stage's own thread, so nothing here allocates.
    fn count(&self, _counts: &mut Counts) {}

    /// What was counted, for the conservation laws printed at exit.
    fn ledger(&self, ledger: &mut Ledger);
}
