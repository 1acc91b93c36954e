//! `foreshock venues`: what can be heard where, how completely, what is known to be gone; and how the
//! feeds of a `run` on this machine are now.

use std::io::{self, Write};

use serde::Serialize;

use super::Failure;
use super::clock::Clock;
use super::format::Format;
use super::status::{Feed, Seen, runs};
use crate::config::Config;
use crate::event::Completeness;
use crate::ingest::exchange::{Exchange, Route};
use crate::ingest::intake::spoken;
use crate::ingest::node;
use crate::ingest::retired::RETIRED;
use crate::ingest::settings::ADDRESSES_MAX;

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
    sampling: String,
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
    now_ms: i64,
    routes: Vec<Row>,
    runs: Vec<Seen>,
    retired: Vec<Gone>,
}

/// Prints every route of every venue as `config` has it, and how the lines of running processes are.
///
/// # Errors
/// When standard output cannot be written.
pub fn venues(config: &Config, format: Format) -> Result<(), Failure> {
    let now_ms = Clock::start().run();
    let runs = runs(&config.run.status(), now_ms);
    let document = Document { now_ms, routes: rows(config), runs, retired: gone() };
    format.print(&document, table)
}

fn rows(config: &Config) -> Vec<Row> {
    let of = |exchange: &'static dyn Exchange| {
        let routes = exchange.routes().iter().map(move |route| row(config, exchange, route));
        routes.chain(node_row(config, exchange))
    };
    spoken().flat_map(of).collect()
}

fn row(config: &Config, exchange: &'static dyn Exchange, route: &Route) -> Row {
    let venue = exchange.venue();
    let own = config.feeds.venue(venue);
    let heartbeat = exchange.heartbeat();
    let watched = exchange.completeness() == Completeness::Watched && route.liquidations;
    let wanted = config.feeds.wanted(venue);
    let heard = format!(
        "; heard now: {} addresses, {} vaults",
        wanted.addresses.len(),
        wanted.users().len().min(ADDRESSES_MAX).saturating_sub(wanted.addresses.len())
    );
    Row {
        venue: venue.name(),
        route: route.name,
        enabled: own.enabled,
        lines: own.lines,
        url: own.urls.get(route.name).map_or(route.url, String::as_str).to_owned(),
        completeness: shows(config, exchange, route).map(Completeness::name),
        sampling: format!("{}{}", exchange.sampling(route), if watched { &heard } else { "" }),
        canary: exchange.canary(route),
        canary_ms: config.feeds.canary_ms,
        limits: exchange.limits(),
        heartbeat_ms: heartbeat.every_ms,
        heartbeat: heartbeat.text.unwrap_or("WebSocket ping"),
    }
}

/// How much of the truth about liquidations a route shows as it is configured; `None` where none come.
pub(super) fn shows(
    config: &Config,
    exchange: &dyn Exchange,
    route: &Route,
) -> Option<Completeness> {
    let shown = exchange.completeness();
    // Where only watched addresses show, nobody watched means nothing heard.
    let nobody = config.feeds.wanted(exchange.venue()).users().is_empty();
    let heard = route.liquidations && !(shown == Completeness::Watched && nobody);
    heard.then_some(shown)
}

/// The files of a node, where they are configured.
fn node_row(config: &Config, exchange: &'static dyn Exchange) -> Option<Row> {
    let own = config.feeds.venue(exchange.venue());
    Some(Row {
        venue: exchange.venue().name(),
        route: node::ROUTE,
        enabled: own.enabled,
        lines: 1,
        url: own.node?.display().to_string(),
        completeness: Some(Completeness::Complete.name()),
        sampling: "every fill of the venue, as the node writes it".to_owned(),
        canary: "any line",
        canary_ms: node::STALE_MS,
        limits: "none",
        heartbeat_ms: 0,
        heartbeat: "none",
    })
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

fn table<W: Write>(document: &Document, out: &mut W) -> io::Result<()> {
    for row in &document.routes {
        let Row { venue, route, url, sampling, canary, canary_ms, limits, .. } = row;
        let state = if row.enabled { "" } else { " (disabled)" };
        let lines = if row.lines > 1 { " x2" } else { "" };
        writeln!(out, "{:<20} {url}{lines}{state}", format!("{venue}/{route}"))?;
        let shows = row.completeness.unwrap_or("none on this route");
        writeln!(out, "    liquidations  {shows}: {sampling}")?;
        writeln!(out, "    canary        {canary}, missing after {canary_ms} ms")?;
        if row.heartbeat_ms > 0 {
            writeln!(out, "    heartbeat     {} every {} ms", row.heartbeat, row.heartbeat_ms)?;
        }
        writeln!(out, "    limits        {limits}")?;
    }
    for run in &document.runs {
        writeln!(out)?;
        running(run, document.now_ms, out)?;
    }
    writeln!(out, "\nretired")?;
    for Gone { venue, what, since, shows, instead } in &document.retired {
        writeln!(out, "    {venue}: {what}, since {since}: {shows}\n        use {instead}")?;
    }
    Ok(())
}

/// How the lines of one run are.
fn running(run: &Seen, now_ms: i64, out: &mut impl Write) -> io::Result<()> {
    let age = age(run.age_ms);
    match &run.why {
        None => writeln!(out, "run {}, told {age} ago", run.status.pid)?,
        Some(why) => writeln!(out, "run {}: STALE, told {age} ago: {why}", run.status.pid)?,
    }
    for feed in &run.status.feeds {
        line(feed, now_ms, out)?;
    }
    Ok(())
}

fn line(feed: &Feed, now_ms: i64, out: &mut impl Write) -> io::Result<()> {
    let Feed { venue, route, copy, state, code, why, .. } = feed;
    let ago = |at: Option<i64>| at.map_or("never".to_owned(), |at| age(now_ms - at) + " ago");
    let copy = if *copy == 1 { String::new() } else { format!("#{copy}") };
    let code = if *code == 0 { String::new() } else { format!("({code})") };
    write!(out, "    {:<20} {:<11}", format!("{venue}/{route}{copy}"), format!("{state}{code}"))?;
    write!(out, " for {:>7}", age(now_ms - feed.since_ms))?;
    write!(out, ", frame {}", ago(feed.last_frame_ms))?;
    if let Some(completeness) = &feed.completeness {
        let last = ago(feed.last_liquidation_ms);
        write!(out, ", liquidation {last} ({completeness})")?;
    }
    if let (Some(won), Some(beaten)) = (feed.won, feed.beaten) {
        let lead = feed.lead_mean_us.map_or("-".to_owned(), |us| format!("{us} us"));
        write!(out, ", first {won} of {} by {lead}", won + beaten)?;
    }
    if !why.is_empty() {
        write!(out, ": {why}")?;
    }
    writeln!(out)
}

/// A time in a unit that suits it.
fn age(ms: i64) -> String {
    match ms {
        ..10_000 => format!("{} ms", ms.max(0)),
        10_000..600_000 => format!("{} s", ms / 1_000),
        600_000..36_000_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}
