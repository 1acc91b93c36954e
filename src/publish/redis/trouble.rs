//! What the server's errors mean: one row each.

use std::fmt;
use std::time::Duration;

use crate::tls;

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// It passes by itself: try again soon.
    Wait,
    /// Somebody must change something: try again rarely, so that no lock-out or log flood results.
    Change,
}

/// Between two attempts that only a change can help.
pub const RARELY: Duration = Duration::from_secs(5);

/// The server's code, what helps, and what the user reads.
pub const TABLE: [(&str, Cure, &str); 16] = [
    ("OOM", Cure::Wait, "Redis is out of memory: raise maxmemory or free some"),
    ("MISCONF", Cure::Wait, "Redis refuses writes because it cannot save to its disk"),
    ("READONLY", Cure::Wait, "this Redis is a read-only replica"),
    ("LOADING", Cure::Wait, "Redis is loading its data"),
    ("MASTERDOWN", Cure::Wait, "this replica has lost its master"),
    ("CLUSTERDOWN", Cure::Wait, "the Redis cluster is down"),
    ("TRYAGAIN", Cure::Wait, "the Redis cluster is moving slots"),
    ("BUSY", Cure::Wait, "Redis is busy with a script"),
    ("NOREPLICAS", Cure::Wait, "Redis has too few replicas to accept writes"),
    ("MOVED", Cure::Change, "this is a cluster node: name a single server"),
    ("ASK", Cure::Change, "this is a cluster node: name a single server"),
    ("CROSSSLOT", Cure::Change, "this is a cluster node: name a single server"),
    ("NOAUTH", Cure::Change, "Redis wants a password: set FORESHOCK_REDIS_PASSWORD"),
    ("WRONGPASS", Cure::Change, "Redis refuses this user and password"),
    ("NOPERM", Cure::Change, "this Redis user may not run our commands or touch our keys"),
    ("WRONGTYPE", Cure::Change, "a key of ours holds something else: delete it"),
];

/// Why Redis is not taking what we have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the user reads.
    pub words: String,
    /// What helps.
    pub cure: Cure,
}

impl Trouble {
    /// What a server's error means.
    #[must_use]
    pub fn of_reply(code: &str, details: &str) -> Self {
        let row = TABLE.iter().find(|(known, ..)| *known == code);
        if let Some((code, cure, words)) = row {
            return Self { words: format!("{words} ({code})"), cure: *cure };
        }
        let words = format!("Redis answers {} {}", Foreign(code), Foreign(details));
        let password = details.contains("AUTH") || details.contains("password");
        Self { words, cure: if password { Cure::Change } else { Cure::Wait } }
    }

    /// What an error of the connection to `host` means.
    #[must_use]
    pub fn of_transport(error: &std::io::Error, host: &str) -> Self {
        if let Some(why) = tls::said(error) {
            let (said, cure) = (tls::words(host, why), Cure::Change);
            return Self { words: format!("{}{}", Foreign(&said), remedy(why)), cure };
        }
        let words = match error.kind() {
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => {
                "Redis does not answer in time".to_owned()
            }
            _ => format!("cannot reach Redis: {}", Foreign(&error.to_string())),
        };
        Self { words, cure: Cure::Wait }
    }
}

/// What helps where TLS does not come about.
fn remedy(error: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription, CertificateError as Wrong, Error};
    match error {
        Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature) => {
            "; name its authority in redis.ca_file"
        }
        Error::InvalidCertificate(Wrong::ExpiredContext { .. }) => ", or renew the certificate",
        Error::InvalidCertificate(Wrong::NotValidForNameContext { .. }) => {
            "; use a name that it is for in redis.url"
        }
        Error::InvalidMessage(_) => "; redis:// is without TLS",
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "; set redis.cert_file and redis.key_file"
        }
        _ => "",
    }
}

/// Foreign text, made harmless: no control characters, at most 200 bytes.
#[derive(Debug)]
pub struct Foreign<'a>(pub &'a str);

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = 200_usize;
        for c in self.0.chars() {
            left = left.saturating_sub(c.len_utf8());
            if left == 0 {
                return f.write_str("...");
            }
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_error_has_its_words() {
        for (code, cure, words) in TABLE {
            let trouble = Trouble::of_reply(code, "whatever the server says");
            assert_eq!(
                (trouble.cure, trouble.words.as_str()),
                (cure, &*format!("{words} ({code})"))
            );
        }
    }

    #[test]
    fn what_the_server_says_cannot_paint_the_terminal() {
        let trouble = Trouble::of_reply("ERR", &format!("a\r\n\x1b[31m{}", "x".repeat(500)));
        assert!(trouble.words.chars().all(|c| !c.is_control()), "{}", trouble.words);
        assert!(trouble.words.len() < 260);
        assert_eq!(Trouble::of_reply("ERR", "AUTH called without any").cure, Cure::Change);
    }
}
