//! Where the page of the run to look at is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::publish::page::Settings;

/// Longest address, bytes: a host name has at most 253.
const LONGEST: usize = 264;

/// `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// Reads an address as people have it: `HOST:PORT`, or the `http://HOST:PORT/` that a run prints.
    ///
    /// # Errors
    /// What it should look like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let (host, port) = bare.rsplit_once(':').unwrap_or((bare, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bracketed {
            Some(ip) => ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
            None => !host.is_empty() && host.chars().all(plain),
        };
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if is_host && is_port && bare.len() <= LONGEST {
            Ok(Self(bare.to_owned()))
        } else {
            Err("expected HOST:PORT such as 127.0.0.1:9310".to_owned())
        }
    }

    /// Where a page with these settings is found from this machine.
    ///
    /// # Errors
    /// When the settings do not say it.
    pub fn of(page: &Settings) -> Result<Self, String> {
        if !page.is_on() {
            return Err("page.listen is empty, so there is no page to look at".to_owned());
        }
        let parsed = page.listen.parse::<SocketAddr>();
        let mut place = parsed.map_err(|e| format!("page.listen = {:?}: {e}", page.listen))?;
        if place.port() == 0 {
            return Err(format!("page.listen = {:?} means any free port", page.listen));
        }
        // A page for whoever reaches the host listens at no address in particular.
        if place.ip().is_unspecified() {
            let loopback: (IpAddr, IpAddr) =
                ([127, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into());
            place.set_ip(if place.is_ipv4() { loopback.0 } else { loopback.1 });
        }
        Ok(Self(place.to_string()))
    }

    /// As it stands in a request.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_have_it() {
        for (text, place) in [
            ("127.0.0.1:9310", "127.0.0.1:9310"),
            ("http://127.0.0.1:34671/", "127.0.0.1:34671"),
            ("engine.lan:80", "engine.lan:80"),
            ("[::1]:9310", "[::1]:9310"),
        ] {
            assert_eq!(Place::parse(text).map(|place| place.to_string()).as_deref(), Ok(place));
        }
        for bad in [
            "",
            "9310",
            "localhost",
            ":9310",
            "a:0",
            "a:65536",
            "a:x",
            "a b:1",
            "::1:9310",
            "[x]:1",
        ] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        assert!(Place::parse("a:1\r\nX: y:1").is_err());
        assert!(Place::parse("https://a:1").is_err());
        assert!(Place::parse(&format!("{}:1", "a".repeat(300))).is_err());
    }

    #[test]
    fn a_page_for_everybody_is_found_on_loopback() {
        let at = |listen: &str| {
            let place = Place::of(&Settings { listen: listen.to_owned(), ..Settings::default() });
            place.map(|place| place.to_string()).map_err(|_| ())
        };
        assert_eq!(at("0.0.0.0:9310"), Ok("127.0.0.1:9310".to_owned()));
        assert_eq!(at("[::]:9310"), Ok("[::1]:9310".to_owned()));
        assert_eq!(at("10.1.2.3:9310"), Ok("10.1.2.3:9310".to_owned()));
        assert_eq!(at("127.0.0.1:0"), Err(()));
        assert_eq!(at(""), Err(()));
    }
}
