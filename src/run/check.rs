//! `foreshock check`: what `run` would do, and where each value came from.

use std::io::{self, StdoutLock, Write};

use serde::Serialize;
use toml::Value;

use super::format::Format;
use super::venues::shows;
use super::{Failure, pipeline};
use crate::config::{Config, Layers};
use crate::ingest::exchange::{Exchange, Route};
use crate::ingest::intake::spoken;
use crate::ingest::retired::RETIRED;

/// Everything that is told.
#[derive(Serialize)]
struct Document {
    layout: Layout,
    feeds: Vec<Feed>,
    retired: Vec<Gone>,
    settings: Vec<Setting>,
}

/// Who shares a thread.
#[derive(Serialize)]
struct Layout {
    name: String,
    reason: String,
}

/// A route of a venue.
#[derive(Serialize)]
struct Feed {
    venue: &'static str,
    route: &'static str,
    url: String,
    enabled: bool,
    /// How completely its liquidations are shown, if at all.
    liquidations: Option<&'static str>,
}

/// An endpoint that is no more.
#[derive(Serialize)]
struct Gone {
    venue: &'static str,
    what: &'static str,
    since: &'static str,
    instead: &'static str,
}

/// A setting in force.
#[derive(Serialize)]
struct Setting {
    key: String,
    value: Value,
    origin: String,
}

/// Prints the plan and every setting with its origin. The configuration has been checked already.
///
/// # Errors
/// When the layers cannot be read again.
pub fn check(config: &Config, layers: &Layers, format: Format) -> Result<(), Failure> {
    let (_, origins) = layers.load().map_err(Failure::config)?;
    let effective = Value::try_from(config).map_err(|e| Failure::config(e.to_string()))?;
    let (layout, reason) = pipeline::layout(&config.run);
    let mut lines = Vec::new();
    flatten("", &effective, &mut lines);
    let setting = |(key, value): (String, Value)| {
        let origin = origins.get(&key).map_or("default", String::as_str).to_owned();
        Setting { key, value, origin }
    };
    let gone = RETIRED.iter().map(|r| {
        let (venue, what, since, instead) = (r.venue.name(), r.what, r.since, r.instead);
        Gone { venue, what, since, instead }
    });
    let document = Document {
        layout: Layout { name: format!("{layout:?}"), reason },
        feeds: feeds(config),
        retired: gone.collect(),
        settings: lines.into_iter().map(setting).collect(),
    };
    format.print(&document, table)
}

fn feeds(config: &Config) -> Vec<Feed> {
    let routes = spoken().flat_map(|exchange| exchange.routes().iter().map(move |r| (exchange, r)));
    let feed = |(exchange, route): (&'static dyn Exchange, &'static Route)| {
        let own = config.feeds.venue(exchange.venue());
        Feed {
            venue: exchange.venue().name(),
            route: route.name,
            url: own.urls.get(route.name).map_or(route.url, String::as_str).to_owned(),
            enabled: own.enabled,
            liquidations: shows(config, exchange, route).map(|shown| shown.name()),
        }
    };
    routes.map(feed).collect()
}

fn table(document: &Document, out: &mut StdoutLock<'static>) -> io::Result<()> {
    let Layout { name, reason } = &document.layout;
    writeln!(out, "# layout {name}: {reason}")?;
    for Feed { venue, route, url, enabled, liquidations } in &document.feeds {
        let state = if *enabled { "on " } else { "off" };
        let shows = liquidations.unwrap_or("no liquidations");
        writeln!(out, "# {state} {venue}/{route} {url} ({shows})")?;
    }
    for Gone { venue, what, since, instead } in &document.retired {
        writeln!(out, "# gone since {since}: {venue} {what}; use {instead}")?;
    }
    for Setting { key, value, origin } in &document.settings {
        writeln!(out, "{:<60} # {origin}", format!("{key} = {value}"))?;
    }
    Ok(())
}

/// Dotted keys with their values, in order.
pub(super) fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, Value)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, lines);
            }
        }
        value => lines.push((prefix.to_owned(), value.clone())),
    }
}
