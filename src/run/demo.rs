//! `foreshock demo`: a simulated street, listened to by the live pipeline, unchanged.
//!
//! The venues live in this process but are reached like the real ones: TLS on loopback, WebSockets,
//! their own wire formats, REST for the instruments. Only endpoints, certificate and the watched
//! address differ from `run`.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::account::settle;
use super::crew::Stop;
use super::live::listen;
use super::{Failure, pipeline};
use crate::config::Config;
use crate::event::VENUES;
use crate::publish::latency::summarise;
use crate::simulate::market::{Act, Schedule};
use crate::simulate::street::Street;
use crate::simulate::voice::WATCHED;

/// Longest wait for the lines to connect and, at the end, for what is in flight.
const SLACK: Duration = Duration::from_secs(12);
/// How long the pipeline listens on when the story is over.
const AFTERMATH: Duration = Duration::from_millis(1_500);

/// Plays the story of `seed` in `duration`.
///
/// # Errors
/// When the street cannot be opened, nothing was heard, or the books do not balance.
pub fn demo(mut config: Config, seed: u64, duration: Duration) -> Result<(), Failure> {
    let stop = Stop::default();
    pipeline::stop_on_signals(&stop)?;
    let schedule = Schedule::demo().within(duration);
    let street = Street::start(seed, schedule, 0).map_err(Failure::running)?;
    let certificate = Temporary::named("pem").write(street.ca_pem())?;
    point_at(&mut config, &street, &certificate.0);
    config.journal.restore = false;
    // Nobody may take a story for the market.
    config.alert.mark = "DEMO".to_owned();
    config.page.mark = "DEMO".to_owned();
    config.page.anywhere = true;
    let _log = log_latency(&mut config);
    eprintln!("demo: four simulated venues on 127.0.0.1:{}, seed {seed}", street.port());
    let mut progress = Progress::default();
    let mut over: Option<Duration> = None;
    let attended = listen(&config, None, &stop, |_, elapsed| {
        progress.show(&street, elapsed);
        if street.act() == Act::Over {
            over.get_or_insert(elapsed);
        }
        over.is_some_and(|over| elapsed >= over + AFTERMATH) || elapsed > duration + SLACK
    })?;
    progress.clear();
    street.stop();
    print_street(&street);
    eprintln!("{}", summarise(&config.latency.file).map_err(Failure::running)?.table());
    settle(&attended.outcome, &mut io::stderr().lock())?;
    if attended.heard == 0 {
        return Err(Failure::unreachable("none of the simulated venues was heard"));
    }
    Ok(())
}

/// The latency log: where the user wants it, else in a file of its own, removed at the end.
fn log_latency(config: &mut Config) -> Option<Temporary> {
    if config.latency.is_on() {
        return None;
    }
    let file = Temporary::named("hlog");
    config.latency.file.clone_from(&file.0);
    Some(file)
}

/// Points every endpoint at the street.
pub(super) fn point_at(config: &mut Config, street: &Street, certificate: &std::path::Path) {
    let feeds = &mut config.feeds;
    feeds.ca_file = Some(certificate.to_owned());
    for (venue, route, url) in street.urls() {
        let settings = feeds.venues.entry(venue.name().to_owned()).or_default();
        settings.urls.insert(route.to_owned(), url);
        settings.rest = Some(street.rest(venue));
        if venue == crate::event::Venue::Hyperliquid {
            settings.addresses = vec![WATCHED.to_owned()];
        }
    }
}

/// A file that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn named(extension: &str) -> Self {
        let name = format!("foreshock-demo-{}.{extension}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn write(self, text: &str) -> Result<Self, Failure> {
        let written = fs::write(&self.0, text);
        written.map_err(|e| Failure::running(format!("{}: {e}", self.0.display())))?;
        Ok(self)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// One line on a terminal, rewritten; one line per act elsewhere.
#[derive(Default)]
struct Progress {
    act: Option<Act>,
    shown_s: u64,
    on_terminal: bool,
}

impl Progress {
    fn show(&mut self, street: &Street, elapsed: Duration) {
        self.on_terminal = io::stderr().is_terminal();
        let act = street.act();
        let changed = self.act.replace(act) != Some(act);
        let told: u64 = VENUES.iter().map(|venue| street.sent(*venue).liquidations).sum();
        let line = format!("demo: {act:?}, {told} liquidations announced, {} s", elapsed.as_secs());
        if !self.on_terminal && changed {
            eprintln!("{line}");
        } else if self.on_terminal && (changed || self.shown_s != elapsed.as_secs()) {
            self.shown_s = elapsed.as_secs();
            eprint!("\r\x1b[2K{line}");
            let _ = io::stderr().flush();
        }
    }

    fn clear(&self) {
        if self.on_terminal {
            eprint!("\r\x1b[2K");
        }
    }
}

fn print_street(street: &Street) {
    for venue in VENUES {
        let sent = street.sent(venue);
        if sent.messages > 0 {
            eprintln!(
                "street {}: {} liquidations happened, {} announced in {} messages",
                venue.name(),
                sent.happened,
                sent.liquidations,
                sent.messages
            );
        }
    }
}
