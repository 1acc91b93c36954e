//! What a user may set, and where each value came from.
//!
//! Layers, each over the one before: defaults, the file (TOML), the environment
//! (`FORESHOCK_SECTION__KEY=value`), flags (`--set section.key=value`). Unknown keys are errors with
//! a suggestion; a value out of range is an error that says the range. Secrets are not settings: they
//! come from the environment or a file of mode 0600, and are never shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::run::crew::Idle;
use crate::{engine, ingest, publish};

/// Everything a user may set. Each room owns its own part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads and rings.
    pub run: Run,
    /// Venues and connections.
    pub feeds: ingest::settings::Settings,
    /// Windows, factors and levels.
    pub engine: engine::Settings,
    /// What the terminal shows.
    pub console: publish::console::Settings,
    /// What is kept on disk.
    pub journal: publish::journal::Settings,
    /// Where signals go for other programs.
    pub redis: publish::redis::Settings,
    /// Where liquidations, states and signals are kept for good.
    pub history: publish::history::Settings,
    /// Where latency histograms are logged.
    pub latency: publish::latency::Settings,
    /// Which people are told what.
    pub alert: publish::alert::Settings,
    /// Where the page for the browser is, and what programs ask over HTTP.
    pub page: publish::page::Settings,
}

/// How threads share the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Reader, engine and publisher each on a thread of its own.
    Dedicated,
    /// Reader and engine take turns on one thread, the publisher has another.
    Shared,
    /// Everything takes turns on one thread.
    Inline,
}

/// Threads and rings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// How threads share the cores; chosen from the cores that are there when not set.
    pub layout: Option<Layout>,
    /// What the hot threads do when there is nothing to do.
    pub idle: Idle,
    /// Core of the reader (and of the engine when they share); not pinned when not set.
    pub reader_core: Option<usize>,
    /// Core of the engine in the dedicated layout.
    pub engine_core: Option<usize>,
    /// Core of the publisher.
    pub publish_core: Option<usize>,
    /// Events the first ring holds.
    pub event_ring: usize,
    /// Lines the second ring holds.
    pub output_ring: usize,
    /// The folder where a run tells how its feeds are; one for each user when not set.
    pub status: Option<PathBuf>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            layout: None,
            idle: Idle::Yield,
            reader_core: None,
            engine_core: None,
            publish_core: None,
            event_ring: 1 << 16,
            output_ring: 1 << 16,
            status: None,
        }
    }
}

impl Run {
    /// The folder where runs tell how their feeds are.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.status.clone().unwrap_or_else(crate::run::status::folder)
    }

    fn check(&self) -> Result<(), String> {
        for (key, size) in [("event_ring", self.event_ring), ("output_ring", self.output_ring)] {
            if !(64..=1 << 22).contains(&size) {
                return Err(format!("run.{key}: {size} is not within 64..=4194304"));
            }
        }
        let cores = [self.reader_core, self.engine_core, self.publish_core];
        let mut pinned: Vec<usize> = cores.into_iter().flatten().collect();
        pinned.sort_unstable();
        match pinned.windows(2).find(|pair| pair.first() == pair.last()) {
            Some([core, ..]) => {
                Err(format!("run: two threads are pinned to core {core}; give each its own"))
            }
            _ => Ok(()),
        }
    }
}

impl Config {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// One line: the key, its value, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        self.run.check()?;
        self.feeds.check()?;
        self.engine.check().map_err(|e| format!("engine: {e}"))?;
        self.console.check().map_err(|e| format!("console: {e}"))?;
        self.journal.check().map_err(|e| format!("journal: {e}"))?;
        self.redis.check().map_err(|e| format!("redis: {e}"))?;
        self.history.check().map_err(|e| format!("history: {e}"))?;
        self.latency.check().map_err(|e| format!("latency: {e}"))?;
        self.alert.check().map_err(|e| format!("alert: {e}"))?;
        self.page.check().map_err(|e| format!("page: {e}"))
    }
}

/// Where a value came from, by dotted key; keys that are not listed have their default.
pub type Origins = BTreeMap<String, String>;

/// The layers over the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file, if any.
    pub file: Option<PathBuf>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// `section.key=value`.
    pub flags: Vec<String>,
}

const ENV_PREFIX: &str = "FORESHOCK_";

impl Layers {
    /// Puts the layers together.
    ///
    /// # Errors
    /// One line: which layer, where in it, what is wrong, and the nearest right name.
    pub fn load(&self) -> Result<(Config, Origins), String> {
        let mut table = Table::new();
        let mut origins = Origins::new();
        if let Some(path) = &self.file {
            overlay(&mut table, read_file(path)?, &path.display().to_string(), "", &mut origins);
        }
        for (name, text) in &self.env {
            let Some(key) = env_key(name) else { continue };
            assign(&mut table, &key, value(text), name, &mut origins)?;
        }
        for flag in &self.flags {
            let (key, text) = flag
                .split_once('=')
                .ok_or_else(|| format!("--set {flag}: expected section.key=value"))?;
            assign(&mut table, key.trim(), value(text.trim()), "--set", &mut origins)?;
        }
        let config: Config = Value::Table(table).try_into().map_err(|e: toml::de::Error| {
            format!("configuration: {}", suggest(e.message().lines().next().unwrap_or_default()))
        })?;
        config.check()?;
        Ok((config, origins))
    }
}

/// `FORESHOCK_RUN__EVENT_RING` is `run.event_ring`; names without `__` are not settings.
fn env_key(name: &str) -> Option<String> {
    let path = name.strip_prefix(ENV_PREFIX)?;
    path.contains("__").then(|| path.to_lowercase().replace("__", "."))
}

fn read_file(path: &Path) -> Result<Table, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    let fail = |e: toml::de::Error| {
        let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let first = e.message().lines().next().unwrap_or_default().to_owned();
        format!("{shown}, line {line}: {}", suggest(&first))
    };
    // Once into the real type, so that an error knows its line.
    toml::from_str::<Config>(&text).map_err(fail)?;
    toml::from_str(&text).map_err(fail)
}

/// A TOML value where the text is one, else the text itself.
fn value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("v = {text}"));
    parsed.ok().and_then(|mut t| t.remove("v")).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn overlay(to: &mut Table, from: Table, origin: &str, prefix: &str, origins: &mut Origins) {
    for (key, value) in from {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (to.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(more)) => {
                overlay(inner, more, origin, &path, origins);
            }
            (_, Value::Table(more)) => {
                let mut inner = Table::new();
                overlay(&mut inner, more, origin, &path, origins);
                to.insert(key, Value::Table(inner));
            }
            (_, value) => {
                origins.insert(path, origin.to_owned());
                to.insert(key, value);
            }
        }
    }
}

fn assign(
    to: &mut Table,
    key: &str,
    value: Value,
    origin: &str,
    origins: &mut Origins,
) -> Result<(), String> {
    let mut layer = value;
    for part in key.rsplit('.') {
        if part.is_empty() {
            return Err(format!("{origin}: {key:?} is not a dotted key"));
        }
        layer = Value::Table(Table::from_iter([(part.to_owned(), layer)]));
    }
    if let Value::Table(layer) = layer {
        overlay(to, layer, origin, "", origins);
    }
    Ok(())
}

/// Adds the nearest known name to "unknown field `x`, expected one of `a`, `b`".
fn suggest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next().filter(|_| message.starts_with("unknown")) else {
        return message.to_owned();
    };
    let near = names
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3);
    match near {
        Some((_, name)) => format!("unknown key `{unknown}`; did you mean `{name}`?"),
        None => message.replacen("field", "key", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)], flags: &[&str]) -> Result<(Config, Origins), String> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Layers { file: None, env, flags }.load()
    }

    #[test]
    fn later_layers_win_and_every_value_knows_its_origin() {
        let env = [("FORESHOCK_RUN__EVENT_RING", "128"), ("FORESHOCK_RUN__LAYOUT", "inline")];
        let (config, origins) = load(&env, &["run.event_ring=256"]).unwrap();
        assert_eq!((config.run.event_ring, config.run.layout), (256, Some(Layout::Inline)));
        assert_eq!(origins["run.event_ring"], "--set");
        assert_eq!(origins["run.layout"], "FORESHOCK_RUN__LAYOUT");
    }

    #[test]
    fn an_unknown_key_gets_a_suggestion_and_a_range_is_named() {
        let error = load(&[], &["run.evnt_ring=128"]).unwrap_err();
        assert!(error.contains("did you mean `event_ring`"), "{error}");
        let error = load(&[], &["run.event_ring=1"]).unwrap_err();
        assert!(error.contains("run.event_ring: 1 is not within 64"), "{error}");
        let error = load(&[], &["run.reader_core=1", "run.publish_core=1"]).unwrap_err();
        assert!(error.contains("core 1;"), "{error}");
    }

    #[test]
    fn a_secret_in_the_environment_is_not_a_setting() {
        assert!(load(&[("FORESHOCK_REDIS_PASSWORD", "hunter2")], &[]).is_ok());
    }

    #[test]
    fn an_error_in_a_file_names_its_line() {
        let path = std::env::temp_dir().join(format!("foreshock-{}.toml", std::process::id()));
        std::fs::write(&path, "[run]\nevent_ring = 128\nlayuot = \"inline\"\n").unwrap();
        let error = Layers { file: Some(path.clone()), ..Layers::default() }.load().unwrap_err();
        std::fs::remove_file(path).unwrap();
        assert!(error.contains("line 3") && error.contains("did you mean `layout`"), "{error}");
    }
}
