//! Where Redis is, and how to prove who we are.
//!
//! `redis://[user@]host[:port][/db]`, `rediss://` for the same over TLS, or `unix:///path[?db=n]`. A password is never part of an
//! address, which ends up in process lists and logs: it comes from the environment or from a file
//! that only its owner can read.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Name of the environment variable that holds the password.
pub const PASSWORD_VARIABLE: &str = "FORESHOCK_REDIS_PASSWORD";

const SCHEMES: &str = "expected redis://, rediss:// or unix://";

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// An address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub place: Place,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// ACL user; `None` for the default one.
    pub user: Option<String>,
    /// Number of the database.
    pub db: u32,
}

impl Address {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// Says what is wrong, without repeating what may be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(SCHEMES)?;
        match scheme {
            "redis" | "valkey" => tcp(rest, false),
            "rediss" | "valkeys" => tcp(rest, true),
            "unix" => unix(rest),
            _ => Err(SCHEMES.into()),
        }
    }
}

impl Place {
    /// The host; the path of a socket.
    #[must_use]
    pub fn host(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Tcp(host, _) => host.into(),
            Self::Unix(path) => path.to_string_lossy(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = match &self.place {
            Place::Tcp(host, port) => (host, port),
            Place::Unix(path) => return write!(f, "unix://{}", path.display()),
        };
        let scheme = if self.tls { "rediss" } else { "redis" };
        let is_v6 = host.contains(':');
        let (open, close) = if is_v6 { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{host}{close}:{port}")
    }
}

fn tcp(rest: &str, tls: bool) -> Result<Address, String> {
    let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host_port) = match authority.rsplit_once('@') {
        Some((user, host_port)) => (Some(user), host_port),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(format!("a password does not belong here: set {PASSWORD_VARIABLE}"));
    }
    let (host, port) = host_and_port(host_port)?;
    let user = user.filter(|user| !user.is_empty()).map(str::to_owned);
    Ok(Address { place: Place::Tcp(host, port), tls, user, db: database(db)? })
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("no host".into());
    }
    let port = port.map_or(Ok(6379), |port| port.parse().map_err(|_| "not a port".to_owned()))?;
    Ok((host.to_owned(), port))
}

fn unix(rest: &str) -> Result<Address, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let db = query.strip_prefix("db=").unwrap_or(query);
    if !path.starts_with('/') {
        return Err("a unix socket needs an absolute path: unix:///run/redis.sock".into());
    }
    Ok(Address { place: Place::Unix(path.into()), tls: false, user: None, db: database(db)? })
}

fn database(text: &str) -> Result<u32, String> {
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| "not a database number".into()) }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The password from the environment, else from `file` unless its path is empty.
    ///
    /// # Errors
    /// When the file cannot be read, or others than its owner can read it.
    pub fn find(file: &Path) -> Result<Option<Self>, String> {
        Self::named(PASSWORD_VARIABLE, file)
    }

    /// A secret from the environment variable `variable`, else from `file` unless its path is empty.
    ///
    /// # Errors
    /// When the file cannot be read, or others than its owner can read it.
    pub fn named(variable: &str, file: &Path) -> Result<Option<Self>, String> {
        if let Some(text) = std::env::var(variable).ok().filter(|text| !text.is_empty()) {
            return Ok(Some(Self(text)));
        }
        if file.as_os_str().is_empty() { Ok(None) } else { Self::read(file).map(Some) }
    }

    /// A secret from a file.
    ///
    /// # Errors
    /// When it cannot be read, or others than its owner can read it.
    pub fn read(file: &Path) -> Result<Self, String> {
        let name = file.display();
        let metadata = fs::metadata(file).map_err(|e| format!("{name}: {e}"))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(format!("{name}: others can read it; chmod 600 {name}"));
        }
        let text = fs::read_to_string(file).map_err(|e| format!("{name}: {e}"))?;
        Ok(Self(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let tcp = |host: &str, port| Place::Tcp(host.into(), port);
        for (text, place, user, db) in [
            ("redis://h", tcp("h", 6379), None, 0),
            ("redis://me@10.0.0.1:7000/3", tcp("10.0.0.1", 7000), Some("me"), 3),
            ("valkey://[::1]:1", tcp("::1", 1), None, 0),
            ("rediss://me@h/1", tcp("h", 6379), Some("me"), 1),
            ("valkeys://[::1]:7", tcp("::1", 7), None, 0),
            ("unix:///run/r.sock", Place::Unix("/run/r.sock".into()), None, 0),
            ("unix:///r.sock?db=2", Place::Unix("/r.sock".into()), None, 2),
        ] {
            let tls = text.starts_with("rediss") || text.starts_with("valkeys");
            let address = Address { place, tls, user: user.map(str::to_owned), db };
            assert_eq!(Address::parse(text), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_not_repeated() {
        for bad in ["", "h:6379", "http://h", "rediss://", "redis://", "redis://h:x", "unix://a"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        for scheme in ["redis", "rediss"] {
            let error = Address::parse(&format!("{scheme}://u:hunter2@h")).unwrap_err();
            assert!(error.contains(PASSWORD_VARIABLE) && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(Address::parse("valkeys://[::1]:7").unwrap().to_string(), "rediss://[::1]:7");
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "(hidden)");
    }
}
