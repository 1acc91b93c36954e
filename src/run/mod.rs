//! The only place that sees every room: builds the pipeline for each mode and gives the turns.
//!
//! [`clock`] is the only clock; [`crew`] names, pins and runs the threads.

pub mod clock;
pub mod crew;
