//! The settings that a journal was written with, for whoever lives it again.
//!
//! A replay must give the signals that the journal holds, so it is lived with the settings that stand in
//! it: those the run began with and, from each [`Body::Tuned`] on, those the event names. What is
//! configured here may be others, most of all after a reload: the file that was edited says what came last.
//! Only who gives a setting of the engine on the command line (`--set engine.…`) asks what would have been,
//! and is answered with it from beginning to end. A journal that tells no settings is of an earlier version,
//! or has lost its beginning; then what is configured counts.

use serde::Serialize;
use toml::Value;

use super::check::flatten;
use crate::config::{Config, Layers};
use crate::engine::{Engine, Outbox, Settings};
use crate::event::{Body, Event};
use crate::record::Reader;

/// Which settings count.
#[derive(Clone, Debug)]
pub struct Choice {
    configured: Settings,
    insists: bool,
}

impl Choice {
    /// What is configured, unless the journal knows better.
    #[must_use]
    pub fn of(config: &Config, layers: &Layers) -> Self {
        let insists = layers.flags.iter().any(|flag| flag.trim_start().starts_with("engine."));
        Self { configured: config.engine, insists }
    }

    /// What is configured here.
    #[must_use]
    pub fn configured(&self) -> &Settings {
        &self.configured
    }

    /// Those that the run began with, at its first record.
    ///
    /// # Errors
    /// They are there and cannot be understood.
    pub fn first(&self, reader: &Reader) -> Result<Settings, String> {
        match reader.settings() {
            Some((number, text)) if !self.insists => read(number, text),
            _ => Ok(self.configured),
        }
    }

    /// Those that an event says are in force from there on.
    ///
    /// # Errors
    /// They are not there, or cannot be understood.
    pub fn next(&self, event: &Event, reader: &Reader) -> Result<Option<(u64, Settings)>, String> {
        let Body::Tuned { number } = event.body else { return Ok(None) };
        if self.insists {
            return Ok(None);
        }
        match reader.settings() {
            Some((known, text)) if known == number => Ok(Some((number, read(number, text)?))),
            _ => Err(format!("settings {number} came into force and are not in it")),
        }
    }

    /// Gives the engine an event of the journal, with the settings that were in force.
    ///
    /// # Errors
    /// These are not known.
    pub fn take(
        &self,
        engine: &mut Engine,
        event: &Event,
        reader: &Reader,
        out: &mut Outbox,
    ) -> Result<(), String> {
        if let Some((_, settings)) = self.next(event, reader)? {
            engine.tune(&settings);
        }
        engine.take(event, out);
        Ok(())
    }
}

/// Settings as a journal keeps them.
#[must_use]
pub fn text(settings: &Settings) -> String {
    // Numbers and tables of numbers: there is nothing that TOML could not say.
    toml::to_string(settings).unwrap_or_default()
}

fn read(number: u64, text: &str) -> Result<Settings, String> {
    let settings: Result<Settings, String> = toml::from_str(text)
        .map_err(|e: toml::de::Error| e.message().lines().next().unwrap_or_default().to_owned());
    let checked =
        settings.and_then(|s| s.check().map(|()| s).map_err(|invalid| invalid.to_string()));
    checked.map_err(|why| {
        format!("settings {number} cannot be understood ({why}): are they of another version?")
    })
}

/// A setting that differs: its dotted key, and both values where there are any.
pub(super) type Difference = (String, Option<Value>, Option<Value>);

/// What differs between two sets of settings, by key.
///
/// # Errors
/// In words, when they cannot be told as TOML.
pub(super) fn differences<T: Serialize>(from: &T, to: &T) -> Result<Vec<Difference>, String> {
    let flat = |settings: &T| {
        let mut lines = Vec::new();
        flatten("", &Value::try_from(settings).map_err(|e| e.to_string())?, &mut lines);
        Ok::<_, String>(lines)
    };
    let (from, to) = (flat(from)?, flat(to)?);
    let mut keys: Vec<&String> = from.iter().chain(&to).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    let find = |lines: &[(String, Value)], key: &str| {
        lines.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
    };
    let both = |key: &String| (key.clone(), find(&from, key), find(&to, key));
    Ok(keys.into_iter().map(both).filter(|(_, from, to)| from != to).collect())
}

/// A difference in words, such as `levels.alert 0.5 -> 0.55`.
pub(super) fn shown((key, from, to): &Difference) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or("unset".to_owned(), Value::to_string);
    format!("{key} {} -> {}", value(from), value(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_text() {
        let mut settings = Settings::default();
        settings.levels.alert = 0.1 + 0.2;
        settings.proof.flat = 1.0 / 3.0;
        settings.regime.bounds[0] = f64::MIN_POSITIVE;
        assert_eq!(read(3, &text(&settings)), Ok(settings));
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_number() {
        for (text, words) in [
            ("levels = 7", "invalid type"),
            ("[levels]\nalarm = 0.5", "unknown field"),
            ("[levels]\nalert = 0.1", "levels.watch, alert, critical, extreme must be"),
        ] {
            let why = read(3, text).unwrap_err();
            assert!(why.starts_with("settings 3 cannot") && why.contains(words), "{why}");
            assert_eq!(why.lines().count(), 1);
        }
    }

    #[test]
    fn only_a_flag_of_the_engine_insists() {
        let insists = |flag: &str| {
            let layers = Layers { flags: vec![flag.to_owned()], ..Layers::default() };
            Choice::of(&Config::default(), &layers).insists
        };
        assert!(insists("engine.levels.alert=0.4") && !insists("run.layout=inline"));
    }

    #[test]
    fn differences_are_told_by_key() {
        let now = Settings::default();
        let mut wanted = now;
        wanted.levels.alert = 0.55;
        let told: Vec<_> = differences(&now, &wanted).unwrap().iter().map(shown).collect();
        assert_eq!(told, ["levels.alert 0.5 -> 0.55"]);
    }
}
