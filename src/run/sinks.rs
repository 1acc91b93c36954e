//! The sinks that the configuration asks for.

use std::io;

use super::Failure;
use super::reload::Takers;
use super::restore::Past;
use super::shift::Shift;
use super::tuned;
use crate::config::Config;
use crate::publish::Sink;
use crate::publish::alert::Alerts;
use crate::publish::console::Lines;
use crate::publish::history::History;
use crate::publish::journal::{Journal, Note, Notes};
use crate::publish::latency::Latency;
use crate::publish::page::{Opening, Page, Wires};
use crate::publish::redis::Redis;
use crate::tap::{Tap, Taps};

/// Builds them, in the order in which they are handed each batch. `run` is the run's number, `past` what
/// it goes on with; `acknowledged` takes how long Redis needs; `page` is what the page shows and hears
/// beside them; `takers` is where what comes of other settings is found.
///
/// # Errors
/// When one cannot be started; a server that is not there is no error.
pub fn sinks(
    config: &Config,
    run: u64,
    past: &Past,
    taps: Taps,
    acknowledged: Option<Tap>,
    page: Option<(Opening, Wires)>,
    takers: Takers,
) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    let mut status = None;
    if config.redis.is_on() {
        let redis = Redis::open(&config.redis, run, acknowledged, &past.former);
        let redis = redis.map_err(|e| Failure::config(format!("redis: {e}")))?;
        status = Some(redis.status());
        sinks.push(Box::new(redis));
    }
    if config.journal.is_on() {
        let place = config.journal.directory.display();
        let first = Note { number: 0, text: tuned::text(&config.engine).into() };
        let notes = Notes { first, others: takers.notes };
        let journal = Journal::beginning_with(&config.journal, run, &past.events, Some(notes));
        sinks.push(Box::new(journal.map_err(failed(&format!("journal {place}")))?));
    }
    if config.history.is_on() {
        let history = History::open(&config.history, run, past.events.len() as u64);
        sinks.push(Box::new(history.map_err(|e| Failure::config(format!("history: {e}")))?));
    }
    if config.latency.is_on() || page.is_some() {
        let place = config.latency.file.display();
        let digest = page.as_ref().map(|(_, wires)| wires.digest()).unwrap_or_default();
        let latency = Latency::telling(&config.latency, taps, digest, takers.renew);
        sinks.push(Box::new(latency.map_err(failed(&format!("latency log {place}")))?));
    }
    if config.alert.is_on() || takers.alerts.is_some() {
        let goes_on = config.journal.is_on() && config.journal.restore;
        let past = goes_on.then_some((&past.former, config.journal.directory.as_path()));
        let alerts = Alerts::after(&config.alert, run, status.clone(), past, takers.alerts);
        sinks.push(Box::new(alerts.map_err(|e| Failure::config(format!("alert: {e}")))?));
    }
    if let Some((opening, mut wires)) = page {
        if let Some(status) = status {
            wires.redis(status);
        }
        let page = Page::open(&config.page, opening, wires);
        sinks.push(Box::new(page.map_err(failed("page"))?));
    }
    let console = console(config)?;
    sinks.push(match takers.console {
        Some(relief) => Box::new(Shift::new(console, relief)),
        None => console,
    });
    Ok(sinks)
}

/// What the terminal shows.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn console(config: &Config) -> Result<Box<dyn Sink>, Failure> {
    let colour = config.console.colour.for_stdout();
    let console = Lines::console(&config.console, colour, Box::new(io::stdout()));
    Ok(Box::new(console.map_err(failed("console"))?))
}

fn failed(what: &str) -> impl Fn(io::Error) -> Failure {
    move |e| Failure::running(format!("{what}: {e}"))
}
