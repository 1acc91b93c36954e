//! `foreshock check`: what `run` would do, and where each value came from.

use std::io::{self, Write};

use toml::Value;

use super::venues::shows;
use super::{Failure, pipeline};
use crate::config::{Config, Layers};
use crate::ingest::intake::spoken;
use crate::ingest::retired::{RETIRED, Retired};

/// Prints the plan and every setting with its origin. The configuration has been checked already.
///
/// # Errors
/// When the layers cannot be read again.
pub fn check(config: &Config, layers: &Layers) -> Result<(), Failure> {
    let (_, origins) = layers.load().map_err(Failure::config)?;
    let effective = Value::try_from(config).map_err(|e| Failure::config(e.to_string()))?;
    let mut out = io::stdout().lock();
    let mut print = || -> io::Result<()> {
        let (layout, reason) = pipeline::layout(&config.run);
        writeln!(out, "# layout {layout:?}: {reason}")?;
        for exchange in spoken() {
            let venue = config.feeds.venue(exchange.venue());
            let name = exchange.venue().name();
            for route in exchange.routes() {
                let url = venue.urls.get(route.name).map_or(route.url, String::as_str);
                let state = if venue.enabled { "on " } else { "off" };
                let shows = shows(config, exchange, route).map_or("no liquidations", |c| c.name());
                writeln!(out, "# {state} {name}/{} {url} ({shows})", route.name)?;
            }
        }
        for Retired { venue, what, since, instead, .. } in RETIRED {
            writeln!(out, "# gone since {since}: {} {what}; use {instead}", venue.name())?;
        }
        let mut lines = Vec::new();
        flatten("", &effective, &mut lines);
        for (key, value) in lines {
            let origin = origins.get(&key).map_or("default", String::as_str);
            writeln!(out, "{:<60} # {origin}", format!("{key} = {value}"))?;
        }
        Ok(())
    };
    match print() {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::running(e)),
        _ => Ok(()),
    }
}

/// Dotted keys with their values, in order.
pub(super) fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, lines);
            }
        }
        value => lines.push((prefix.to_owned(), value.to_string())),
    }
}
