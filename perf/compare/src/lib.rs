//! Ratios, measured side by side in one run.
//!
//! ```text
//! sender ── loopback, ws or wss ──▶ floor | foreshock | baseline | naive
//!    └─ when each message left ─┐        ┌─ when it was read and decided
//!                               └─ match ┘  by position: one connection keeps the order
//! ```
//!
//! A [`sender`] plays a venue, open-loop: every message has its time, whatever the other side does. One
//! contender at a time listens, in a process of its own: the [`floor`] reads and stamps; [`own`] is
//! foreshock's own parts; [`usual`] is what one would otherwise write, with windows kept up or walked
//! anew. All are told the same [`flow`] and must have understood all of it: [`rounds`] refuses a run
//! in which a count or a sum is not the sender's.
//!
//! Beside it, [`street`] plays a recorded [`capture`] to a real `foreshock run`, for the program `load`.

pub mod clock;
pub mod flow;
pub mod server;
pub mod sender;
pub mod contender;
mod floor;
mod own;
mod windows;
mod usual;
pub mod figures;
pub mod machine;
pub mod rounds;
pub mod table;
pub mod capture;
pub mod street;

use contender::{Book, Task, Who};
use foreshock::run::crew::Idle;

/// Lets `who` listen until all messages have come.
///
/// # Errors
/// In words, whatever kept it from it.
pub fn listen(who: Who, task: &Task, idle: Idle) -> Result<Book, String> {
    match who {
        Who::Floor => floor::run(task),
        Who::Foreshock => own::run(task, idle),
        Who::Baseline => usual::run::<usual::Kept>(task),
        Who::Naive => usual::run::<usual::Walked>(task),
    }
}
