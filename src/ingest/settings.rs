//! What a user may set about feeds. Every default is what a venue's documentation asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::dial::Endpoint;
use super::exchange::{Wanted, exchange};
use super::retired::{Retired, retired};
use crate::event::Venue;
use crate::symbol::Symbol;

/// Everything about feeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Per venue, by its name; a venue that is not listed has the defaults.
    pub venues: BTreeMap<String, VenueSettings>,
    /// A PEM file with certificates trusted beside the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Base assets whose trades, book top, mark, funding and open interest are heard.
    pub reference: Vec<String>,
    /// An event older than this on arrival is history, not news, ms.
    pub age_gate_ms: u64,
    /// A line on which nothing arrives for this long is dead, ms.
    pub dead_ms: u64,
    /// A line that is alive and subscribed, and gives no data for this long, is deaf, ms.
    pub canary_ms: u64,
    /// Bytes read from one line in one turn, at most.
    pub read_budget: usize,
    /// Whether the kernel is asked when it received what is read: shown as `kernel_to_read`.
    pub kernel_stamps: bool,
}

/// One venue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VenueSettings {
    /// Whether it is heard at all.
    pub enabled: bool,
    /// Other endpoints, by route name.
    pub urls: BTreeMap<String, String>,
    /// Another origin for REST: replaces `https://host` of every request.
    pub rest: Option<String>,
    /// Addresses whose fills are heard (Hyperliquid).
    pub addresses: Vec<String>,
    /// Vaults that take over positions (Hyperliquid): a trade of theirs is a suspected liquidation, and
    /// their fills are heard as far as the addresses leave room. The venue's own when not set.
    pub vaults: Option<Vec<String>>,
    /// Where a node of our own writes its fills (Hyperliquid `--write-fills`): a folder or a file.
    pub node: Option<PathBuf>,
    /// Lines per route: with 2 whatever comes first counts, and one of them may fail unnoticed.
    pub lines: u8,
    /// When each connection is replaced, every day, `HH:MM` in UTC: the new one is heard before the
    /// old one ends. Connections are replaced once a day in any case.
    pub rotate_at: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            venues: BTreeMap::new(),
            ca_file: None,
            reference: vec!["BTC".to_owned(), "ETH".to_owned()],
            age_gate_ms: 10_000,
            dead_ms: 4_500,
            canary_ms: 4_500,
            read_budget: 16 * 1024,
            kernel_stamps: true,
        }
    }
}

impl Default for VenueSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            urls: BTreeMap::new(),
            rest: None,
            addresses: Vec::new(),
            vaults: None,
            node: None,
            lines: 1,
            rotate_at: None,
        }
    }
}

/// Most addresses a venue lets one machine watch.
pub const ADDRESSES_MAX: usize = 10;

/// Most vaults whose trades are looked for.
const VAULTS_MAX: usize = 32;

/// Most lines per route.
const LINES_MAX: u64 = 2;

/// The minute of the day that `HH:MM` means.
#[must_use]
pub fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let part =
        |text: &str, below| text.parse::<u16>().ok().filter(|n| *n < below && text.len() == 2);
    Some(part(hours, 24)? * 60 + part(minutes, 60)?)
}

impl Settings {
    /// The settings of one venue.
    #[must_use]
    pub fn venue(&self, venue: Venue) -> VenueSettings {
        self.venues.get(venue.name()).cloned().unwrap_or_default()
    }

    /// What to subscribe to at one venue.
    #[must_use]
    pub fn wanted(&self, venue: Venue) -> Wanted {
        Wanted {
            reference: self.reference.iter().filter_map(|base| Symbol::of_base(base)).collect(),
            addresses: self.venue(venue).addresses,
            vaults: self.vaults(venue),
        }
    }

    /// The vaults of one venue.
    #[must_use]
    pub fn vaults(&self, venue: Venue) -> Vec<String> {
        self.venue(venue).vaults.unwrap_or_else(|| {
            let own = exchange(venue).map_or(&[][..], |spoken| spoken.vaults());
            own.iter().map(|&vault| vault.to_owned()).collect()
        })
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Says which setting is wrong, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        within("feeds.dead_ms", self.dead_ms, 1_000, 600_000)?;
        within("feeds.canary_ms", self.canary_ms, 1_000, 600_000)?;
        within("feeds.age_gate_ms", self.age_gate_ms, 1_000, 3_600_000)?;
        within("feeds.read_budget", self.read_budget as u64, 4_096, 1 << 20)?;
        if let Some(base) = self.reference.iter().find(|base| Symbol::of_base(base).is_none()) {
            return Err(format!("feeds.reference: {base:?} is not a base asset such as \"BTC\""));
        }
        self.venues.iter().try_for_each(|(name, venue)| venue.check(name))
    }
}

impl VenueSettings {
    fn check(&self, name: &str) -> Result<(), String> {
        let known = Venue::named(name).filter(|venue| *venue != Venue::Other);
        let venue = known.ok_or_else(|| format!("feeds.venues.{name}: no such venue"))?;
        for (route, url) in &self.urls {
            let exists = |spoken: &dyn super::exchange::Exchange| {
                spoken.routes().iter().any(|known| known.name == route)
            };
            if exchange(venue).is_some_and(|spoken| !exists(spoken)) {
                return Err(format!("feeds.venues.{name}.urls.{route}: no such route"));
            }
            let fault = |e: &str| format!("feeds.venues.{name}.urls.{route}: {e}");
            let endpoint = Endpoint::parse(url).map_err(|e| fault(&e))?;
            if let Some(Retired { what, since, shows, instead, .. }) = retired(&endpoint, route) {
                return Err(fault(&format!(
                    "{url}: {what}: gone since {since} ({shows}); use {instead}"
                )));
            }
        }
        if self.rest.as_ref().is_some_and(|rest| !rest.starts_with("https://")) {
            return Err(format!("feeds.venues.{name}.rest: must begin with https://"));
        }
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(format!("feeds.venues.{name}.addresses: at most {ADDRESSES_MAX}"));
        }
        within(&format!("feeds.venues.{name}.lines"), u64::from(self.lines), 1, LINES_MAX)?;
        if self.rotate_at.as_deref().is_some_and(|at| minute_of_day(at).is_none()) {
            return Err(format!("feeds.venues.{name}.rotate_at: must be HH:MM, such as \"03:30\""));
        }
        if self.node.is_some() && venue != Venue::Hyperliquid {
            return Err(format!("feeds.venues.{name}.node: only hyperliquid has node files"));
        }
        let vaults = self.vaults.as_deref().unwrap_or_default();
        if vaults.len() > VAULTS_MAX {
            return Err(format!("feeds.venues.{name}.vaults: at most {VAULTS_MAX}"));
        }
        for (key, list) in [("addresses", self.addresses.as_slice()), ("vaults", vaults)] {
            if let Some(bad) = list.iter().find(|address| !is_address(address)) {
                return Err(format!("feeds.venues.{name}.{key}: {bad:?} is not 0x + 40 hex"));
            }
        }
        Ok(())
    }
}

fn is_address(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or("");
    digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{name}: {value} is not within {least}..={most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(text).map_err(|e| e.to_string())?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn nothing_said_means_every_venue() {
        let settings = parse("").unwrap();
        assert!(settings.venue(Venue::Okx).enabled);
        assert_eq!(settings.wanted(Venue::Okx).reference.first(), Some(&Symbol::BTC));
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (text, word) in [
            ("dead_ms = 3", "feeds.dead_ms"),
            ("deadms = 3000", "deadms"),
            ("reference = [\"B C\"]", "feeds.reference"),
            ("[venues.kraken]", "kraken"),
            ("[venues.okx]\nrest = \"http://okx.com\"", "https"),
            ("[venues.okx]\nurls = { public = \"ws://okx.com/x\" }", "loopback"),
            ("[venues.okx]\nlines = 3", "venues.okx.lines: 3 is not within 1..=2"),
            ("[venues.okx]\nrotate_at = \"24:00\"", "rotate_at: must be HH:MM"),
            (
                "[venues.binance]\nurls = { market = \"wss://fstream.binance.com/ws\" }",
                "use wss://fstream.binance.com/market/ws",
            ),
            ("canary_ms = 1", "feeds.canary_ms"),
            ("[venues.hyperliquid]\naddresses = [\"0x12\"]", "0x12"),
            ("[venues.hyperliquid]\nvaults = [\"0x12\"]", "vaults: \"0x12\""),
            ("[venues.okx]\nnode = \"x\"", "only hyperliquid"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
