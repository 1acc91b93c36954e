//! What each part of the engine adds: the same recordings without it.
//!
//! A factor is taken out by giving it no weight, its weight going to its fellows in proportion; so the
//! thresholds stay what they are. Gates and multipliers are taken out by making them neutral.

use toml::{Table, Value};

use crate::engine::Settings;

/// The engine without one part.
#[derive(Clone, Debug)]
pub struct Without {
    /// What is missing.
    pub part: String,
    /// The settings that leave it out.
    pub settings: Settings,
}

/// Neutral values: the name of a part, and the settings that take it out.
const NEUTRAL: [(&str, &[(&str, f64)]); 5] = [
    ("breadth gate", &[("market.breadth", 0.0)]),
    ("dispersion gate", &[("market.dispersion", 0.0), ("dispersion", 0.0)]),
    ("significance", &[("significance", 1e-9)]),
    ("regime", &[("regime.velocity_scales", 1.0), ("regime.volume_scales", 1.0)]),
    ("completeness", &[("completeness.sampled", 1.0), ("completeness.lossy", 1.0)]),
];

/// The engine without each of its parts in turn.
///
/// # Errors
/// When settings cannot be written down, which is a defect.
pub fn all(settings: &Settings) -> Result<Vec<Without>, String> {
    let table = Table::try_from(settings).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    for factor in factors(&table) {
        let mut changed = table.clone();
        for part in ["risk", "signal"] {
            if let Some(table) = changed.get_mut(part).and_then(Value::as_table_mut) {
                drop_weight(table, &factor);
            }
        }
        all.extend(without(&factor, changed));
    }
    for (part, values) in NEUTRAL {
        let mut changed = table.clone();
        let known = values.iter().filter(|(key, value)| set(&mut changed, key, *value)).count();
        if known > 0 {
            all.extend(without(part, changed));
        }
    }
    Ok(all)
}

/// Settings that do not pass their own check leave out more than can be left out.
fn without(part: &str, table: Table) -> Option<Without> {
    let settings: Settings = table.try_into().ok()?;
    settings.check().ok()?;
    Some(Without { part: part.to_owned(), settings })
}

/// The name of the factor that a key of a table is the weight of.
fn factor_of<'a>(key: &'a str, value: &Value) -> Option<&'a str> {
    let own = value.as_table().is_some_and(|table| table.contains_key("weight"));
    if own { Some(key) } else { key.strip_suffix("_weight") }
}

fn factors(table: &Table) -> Vec<String> {
    let mut names = Vec::new();
    for part in ["risk", "signal"] {
        let keys = table.get(part).and_then(Value::as_table).into_iter().flatten();
        for name in keys.filter_map(|(key, value)| factor_of(key, value)) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn weight_of(value: &mut Value) -> Option<&mut Value> {
    if value.is_table() { value.get_mut("weight") } else { Some(value) }
}

/// Gives `factor` no weight and its fellows its share.
fn drop_weight(table: &mut Table, factor: &str) {
    let mut weights: Vec<(bool, &mut Value)> = Vec::new();
    for (key, value) in table.iter_mut() {
        let Some(name) = factor_of(key, value) else { continue };
        let is_it = name == factor;
        weights.extend(weight_of(value).map(|weight| (is_it, weight)));
    }
    let number = |value: &Value| value.as_float().unwrap_or(0.0);
    let rest: f64 = weights.iter().filter(|(it, _)| !it).map(|(_, weight)| number(weight)).sum();
    if rest == 0.0 || weights.iter().all(|(it, _)| !it) {
        return;
    }
    for (is_it, weight) in weights {
        *weight = Value::Float(if is_it { 0.0 } else { number(weight) / rest });
    }
}

/// Sets what `key` names to `value`, every number of it if it is a list; `false` where nothing does.
fn set(table: &mut Table, key: &str, value: f64) -> bool {
    let Some((part, rest)) = key.split_once('.') else {
        return table.get_mut(key).is_some_and(|slot| fill(slot, value));
    };
    table.get_mut(part).and_then(Value::as_table_mut).is_some_and(|table| set(table, rest, value))
}

#[expect(clippy::cast_possible_truncation, reason = "small values of the table above")]
fn fill(slot: &mut Value, value: f64) -> bool {
    match slot {
        Value::Float(number) => *number = value,
        Value::Integer(number) => *number = value as i64,
        Value::Array(values) => return values.iter_mut().all(|slot| fill(slot, value)),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_factor_and_gate_is_left_out_once() {
        let all = all(&Settings::default()).unwrap();
        let parts: Vec<&str> = all.iter().map(|without| without.part.as_str()).collect();
        for part in ["velocity", "acceleration", "jerk", "volume", "correlation", "clustering"]
            .into_iter()
            .chain(NEUTRAL.map(|(part, _)| part))
        {
            assert_eq!(parts.iter().filter(|known| **known == part).count(), 1, "{part}");
        }
        for without in &all {
            assert_ne!(without.settings, Settings::default(), "{}", without.part);
        }
    }

    #[test]
    fn the_fellows_share_the_weight() {
        let all = all(&Settings::default()).unwrap();
        let velocity = all.iter().find(|without| without.part == "velocity").unwrap();
        let risk = &velocity.settings.risk;
        assert_eq!(risk.velocity.weight, 0.0);
        let before = Settings::default().risk;
        let grown = risk.volume.weight / before.volume.weight;
        assert!((grown - 1.0 / (1.0 - before.velocity.weight)).abs() < 1e-9);
        assert_eq!(velocity.settings.signal.velocity_weight, 0.0);
    }
}
