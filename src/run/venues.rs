//! `foreshock venues`: what can be heard where, how completely, and what is known to be gone.

use std::io::{self, Write};

use serde::Serialize;

use super::Failure;
use crate::config::Config;
use crate::event::Completeness;
use crate::ingest::exchange::{Exchange, Route};
use crate::ingest::intake::spoken;
use crate::ingest::retired::RETIRED;

/// How to print it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
}

/// One connection as it is configured.
#[derive(Debug, Serialize)]
struct Row {
    venue: &'static str,
    route: &'static str,
    enabled: bool,
    lines: u8,
    url: String,
    /// How much of the truth about liquidations it shows; none come on this route when missing.
    completeness: Option<&'static str>,
    sampling: &'static str,
    canary: &'static str,
    canary_ms: u64,
    limits: &'static str,
    heartbeat_ms: u64,
    heartbeat: &'static str,
}

#[derive(Serialize)]
struct Gone {
    venue: &'static str,
    what: &'static str,
    since: &'static str,
    shows: &'static str,
    instead: &'static str,
}

#[derive(Serialize)]
struct Document {
    routes: Vec<Row>,
    retired: Vec<Gone>,
}

/// Prints every route of every venue as `config` has it.
///
/// # Errors
/// When standard output cannot be written.
pub fn venues(config: &Config, format: Format) -> Result<(), Failure> {
    let document = Document { routes: rows(config), retired: gone() };
    let mut out = io::stdout().lock();
    let printed = match format {
        Format::Table => table(&document, &mut out),
        Format::Json => serde_json::to_writer_pretty(&mut out, &document)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    match printed {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::running(e)),
        _ => Ok(()),
    }
}

fn rows(config: &Config) -> Vec<Row> {
    let of = |exchange: &'static dyn Exchange| {
        exchange.routes().iter().map(move |route| row(config, exchange, route))
    };
    spoken().flat_map(of).collect()
}

fn row(config: &Config, exchange: &'static dyn Exchange, route: &Route) -> Row {
    let venue = exchange.venue();
    let own = config.feeds.venue(venue);
    let heartbeat = exchange.heartbeat();
    let watched = exchange.completeness() == Completeness::Watched;
    // Where only watched addresses show, nobody watched means nothing heard.
    let shows = route.liquidations && !(watched && own.addresses.is_empty());
    Row {
        venue: venue.name(),
        route: route.name,
        enabled: own.enabled,
        lines: own.lines,
        url: own.urls.get(route.name).map_or(route.url, String::as_str).to_owned(),
        completeness: shows.then(|| exchange.completeness().name()),
        sampling: exchange.sampling(route),
        canary: exchange.canary(route),
        canary_ms: config.feeds.canary_ms,
        limits: exchange.limits(),
        heartbeat_ms: heartbeat.every_ms,
        heartbeat: heartbeat.text.unwrap_or("WebSocket ping"),
    }
}

fn gone() -> Vec<Gone> {
    let gone = |r: &crate::ingest::retired::Retired| Gone {
        venue: r.venue.name(),
        what: r.what,
        since: r.since,
        shows: r.shows,
        instead: r.instead,
    };
    RETIRED.iter().map(gone).collect()
}

fn table(document: &Document, out: &mut impl Write) -> io::Result<()> {
    for row in &document.routes {
        let Row { venue, route, url, sampling, canary, canary_ms, limits, .. } = row;
        let state = if row.enabled { "" } else { " (disabled)" };
        let lines = if row.lines > 1 { " x2" } else { "" };
        writeln!(out, "{:<20} {url}{lines}{state}", format!("{venue}/{route}"))?;
        let shows = row.completeness.unwrap_or("none on this route");
        writeln!(out, "    liquidations  {shows}: {sampling}")?;
        writeln!(out, "    canary        {canary}, missing after {canary_ms} ms")?;
        writeln!(out, "    heartbeat     {} every {} ms", row.heartbeat, row.heartbeat_ms)?;
        writeln!(out, "    limits        {limits}")?;
    }
    writeln!(out, "\nretired")?;
    for Gone { venue, what, since, shows, instead } in &document.retired {
        writeln!(out, "    {venue}: {what}, since {since}: {shows}\n        use {instead}")?;
    }
    Ok(())
}
