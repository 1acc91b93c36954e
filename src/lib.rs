//! foreshock warns of crypto liquidation cascades before they run.
//!
//! # The map
//!
//! Three rooms, two doors. A folder is a thread: the room a line of code lives in decides what it
//! may do, and `tests/house.rs` enforces it.
//!
//! ```text
//!           ingest                        engine                          publish
//!  socket ─▶ frame ─▶ JSON ─▶ Event ═ring═▶ windows ─▶ kinematics ═ring═▶ batch ─▶ Redis
//!  file   ┘                  (64 B)        ─▶ risk ─▶ signal      Output           ├▶ journal
//!                                                                 (64 B)           ├▶ history
//!                                                                                  ├▶ console
//!                                                                                  ├▶ alerts
//!                                                                                  ├▶ latency
//!                                                                                  └▶ page
//! ```
//!
//! * What passes through the doors: [`time`], [`symbol`], [`event`], [`quote`], [`signal`], [`output`];
//!   how work is done: [`stage`] (take a turn), [`ring`] (bounded, counted), [`ledger`] (the books),
//!   [`tap`] (what threads time themselves), [`https`] and [`tls`] (spoken off the hot path).
//! * [`ingest`] turns bytes into events. It knows venues and nothing of risk.
//! * [`engine`] is arithmetic: no clock, no I/O, no lock, no allocation after start.
//! * [`publish`] tells the world. It knows sinks and nothing of venues' formats.
//! * [`simulate`] is the street outside: venues that speak their real wire format over real
//!   sockets, for the demo and the tests.
//! * [`config`] is what a user may set; [`run`] is the only place that sees every room.
//!
//! `ingest`, `engine` and `publish` do not name each other. Time is data: stages are told it, and
//! ticks travel in the ring like liquidations do, so that the same input gives the same bytes out.
#![forbid(unsafe_code)]

pub mod time;
pub mod symbol;
pub mod event;
pub mod quote;
pub mod signal;
pub mod output;
pub mod record;
pub mod stage;
pub mod ring;
pub mod ledger;
pub mod tap;
pub mod https;
pub mod tls;
pub mod ingest;
pub mod engine;
pub mod publish;
pub mod simulate;
pub mod config;
pub mod run;
