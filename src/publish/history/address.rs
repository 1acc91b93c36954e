//! Where PostgreSQL is.
//!
//! `postgres://[user@]host[:port]/database` or `postgres://[user@]/database?host=/run/postgresql` for a
//! unix socket. The connection is private (TLS, the server's certificate checked against its name) unless
//! the server is on this machine or `sslmode=disable` says otherwise. A password is never part of it.

use std::fmt;
use std::net::IpAddr;

use crate::publish::redis::Place;

/// Name of the environment variable that holds the password.
pub const PASSWORD_VARIABLE: &str = "FORESHOCK_HISTORY_PASSWORD";

/// Who we are, and the database, where the address does not say.
const DEFAULT_NAME: &str = "foreshock";
const DEFAULT_PORT: u16 = 5432;

/// An address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub place: Place,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
}

impl Address {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// Says what is wrong, without repeating what may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("expected postgres://")?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err("expected postgres://".into());
        }
        if rest.contains('%') || rest.contains(char::is_control) {
            return Err("percent escapes and control characters are not understood here".into());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            return Err(format!("a password does not belong here: set {PASSWORD_VARIABLE}"));
        }
        let options = Options::parse(query)?;
        let place = place(host, &options)?;
        let tls = options.tls.unwrap_or(!is_here(&place));
        if tls && matches!(place, Place::Unix(_)) {
            return Err("a unix socket needs no sslmode".into());
        }
        let named = |name: &str, other: &str| if name.is_empty() { other } else { name }.to_owned();
        let user = named(user, DEFAULT_NAME);
        Ok(Self { place, database: named(database, DEFAULT_NAME), user, tls })
    }

    /// Whether nobody can listen in.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.tls || is_here(&self.place)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, database, .. } = self;
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => {
                write!(f, "postgres://{user}@[{host}]:{port}/{database}")
            }
            Place::Tcp(host, port) => write!(f, "postgres://{user}@{host}:{port}/{database}"),
            Place::Unix(path) => write!(f, "postgres://{user}@/{database} at {}", path.display()),
        }
    }
}

/// What follows the question mark.
#[derive(Default)]
struct Options<'a> {
    host: Option<&'a str>,
    port: Option<u16>,
    tls: Option<bool>,
}

impl<'a> Options<'a> {
    fn parse(query: &'a str) -> Result<Self, String> {
        let mut options = Self::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=').ok_or("expected name=value after the question mark")? {
                ("host", path) => options.host = Some(path),
                ("port", port) => options.port = Some(number(port)?),
                ("sslmode", mode) => options.tls = Some(private(mode)?),
                ("password", _) => {
                    return Err(format!(
                        "a password does not belong here: set {PASSWORD_VARIABLE}"
                    ));
                }
                _ => return Err("known after the question mark: host, port, sslmode".into()),
            }
        }
        Ok(options)
    }
}

fn private(mode: &str) -> Result<bool, String> {
    match mode {
        "disable" => Ok(false),
        "verify-full" => Ok(true),
        "allow" | "prefer" | "require" | "verify-ca" => Err(format!(
            "sslmode={mode} would trust whoever answers: use verify-full (and ca_file for a \
             certificate of your own), or disable"
        )),
        _ => Err("sslmode is disable or verify-full".into()),
    }
}

fn place(host: &str, options: &Options<'_>) -> Result<Place, String> {
    if let Some(folder) = options.host {
        if !folder.starts_with('/') || !host.is_empty() {
            return Err("host= is the folder of a unix socket: ?host=/run/postgresql".into());
        }
        let port = options.port.unwrap_or(DEFAULT_PORT);
        return Ok(Place::Unix(format!("{folder}/.s.PGSQL.{port}").into()));
    }
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        },
    };
    if host.is_empty() {
        return Err("no host".into());
    }
    let port = port.map(number).transpose()?.or(options.port).unwrap_or(DEFAULT_PORT);
    Ok(Place::Tcp(host.to_owned(), port))
}

fn number(port: &str) -> Result<u16, String> {
    port.parse().map_err(|_| "not a port".to_owned())
}

fn is_here(place: &Place) -> bool {
    match place {
        Place::Unix(_) => true,
        Place::Tcp(host, _) => {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let tcp = |host: &str, port| Place::Tcp(host.into(), port);
        let socket = |path: &str| Place::Unix(path.into());
        for (text, place, user, database, tls) in [
            ("postgres://localhost", tcp("localhost", 5432), "foreshock", "foreshock", false),
            ("postgresql://me@db.example:6000/h", tcp("db.example", 6000), "me", "h", true),
            ("postgres://db/h?sslmode=disable", tcp("db", 5432), "foreshock", "h", false),
            ("postgres://[::1]:1/h?sslmode=verify-full", tcp("::1", 1), "foreshock", "h", true),
            (
                "postgres:///h?host=/run/pg",
                socket("/run/pg/.s.PGSQL.5432"),
                "foreshock",
                "h",
                false,
            ),
            ("postgres://me@/?host=/p&port=7", socket("/p/.s.PGSQL.7"), "me", "foreshock", false),
        ] {
            let (user, database) = (user.to_owned(), database.to_owned());
            assert_eq!(Address::parse(text), Ok(Address { place, user, database, tls }), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_not_repeated() {
        for bad in [
            "",
            "h:5432",
            "http://h",
            "postgres://",
            "postgres://h:x",
            "postgres://h/d?x=1",
            "postgres://h/d?host=/run",
            "postgres:///d?host=run",
            "postgres://h%20/d",
            "postgres:///d?host=/run&sslmode=verify-full",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        for bad in ["postgres://u:hunter2@h/d", "postgres://h/d?password=hunter2"] {
            let error = Address::parse(bad).unwrap_err();
            assert!(error.contains(PASSWORD_VARIABLE) && !error.contains("hunter2"), "{error}");
        }
        let error = Address::parse("postgres://h/d?sslmode=require").unwrap_err();
        assert!(error.contains("verify-full"), "{error}");
    }
}
