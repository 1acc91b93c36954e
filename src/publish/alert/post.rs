//! One POST, and what came of it.
//!
//! Connect within 2 s, everything within 5 s. No redirect is followed and no proxy is asked. Only 2xx
//! is a delivery; 429, 408 and 5xx are worth another attempt, after `Retry-After` where it is said;
//! anything else is a refusal. The address is looked at before the connection is made ([`super::address`]).
//! No outcome ever repeats the URL: it may hold a token.

use std::time::{Duration, SystemTime};

use tungstenite::http::Response;
use ureq::tls::RootCerts;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Error, Timeout};

use super::address::{Checked, Refused};
use super::channel::Request;
use super::settings::Channel;
use crate::publish::redis::Foreign;
use crate::{https, tls};

const CONNECT: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(5);
/// Longest pause a server may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Largest answer read, bytes.
const ANSWER_MAX: u64 = 16 << 10;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has arrived.
    Delivered,
    /// It may do better later.
    Later {
        /// Why not now.
        why: String,
        /// How long the server wants to be left alone.
        after: Option<Duration>,
        /// Whether it may have arrived all the same.
        perhaps: bool,
    },
    /// It never will.
    Refused(String),
}

/// Posts.
#[derive(Clone, Debug)]
pub struct Post {
    agent: Agent,
}

impl Post {
    /// For one channel: its certificates, its addresses.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub fn new(channel: &Channel) -> Result<Self, String> {
        let config = https::config(roots(channel)?, CONNECT, WHOLE);
        let resolver = Checked::new(channel.allow_private);
        Ok(Self { agent: Agent::with_parts(config, DefaultConnector::default(), resolver) })
    }

    /// Makes one attempt.
    #[must_use]
    pub fn post(&self, request: &Request) -> Outcome {
        let mut post = self
            .agent
            .post(request.url.reveal())
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", &request.key);
        if let Some(bearer) = &request.bearer {
            post = post.header("Authorization", format!("Bearer {}", bearer.reveal()));
        }
        match post.send(request.body.as_str()) {
            Ok(answer) => answered(answer),
            Err(error) => failed(&error),
        }
    }
}

/// The certificates that are believed: those of the file, or the built-in ones.
fn roots(channel: &Channel) -> Result<RootCerts, String> {
    let own = tls::file_of_certificates(&channel.ca_file)?;
    Ok(own.map_or(RootCerts::WebPki, |certificates| https::roots(&certificates)))
}

fn answered(mut answer: Response<Body>) -> Outcome {
    let status = answer.status();
    let code = status.as_u16();
    if status.is_success() {
        return Outcome::Delivered;
    }
    if status.is_redirection() {
        return Outcome::Refused(format!("http {code}: redirects are not followed"));
    }
    let later = status.is_server_error() || matches!(code, 408 | 425 | 429);
    if !later {
        return Outcome::Refused(format!("http {code}"));
    }
    let after = https::retry_after(answer.headers(), SystemTime::now()).or_else(|| {
        let body = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec();
        body.ok().and_then(|body| said_in(&body))
    });
    let after = after.map(|after| after.min(RETRY_AFTER_MAX));
    Outcome::Later { why: format!("http {code}"), after, perhaps: false }
}

/// Discord says `{"retry_after": 0.5}`, Telegram `{"parameters": {"retry_after": 5}}`.
fn said_in(body: &[u8]) -> Option<Duration> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let said = body.get("retry_after").or_else(|| body.pointer("/parameters/retry_after"));
    seconds(said?.as_f64()?)
}

fn seconds(seconds: f64) -> Option<Duration> {
    let most = RETRY_AFTER_MAX.as_secs_f64();
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(most)))
}

fn failed(error: &Error) -> Outcome {
    let later = |why: String, perhaps| Outcome::Later { why, after: None, perhaps };
    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            later("cannot connect in time".to_owned(), false)
        }
        Error::Timeout(_) => later("no answer in time".to_owned(), true),
        Error::HostNotFound => later("dns: no such host".to_owned(), false),
        Error::ConnectionFailed => later("cannot connect".to_owned(), false),
        Error::Io(e) => {
            let tls = e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let refused = e.kind() == std::io::ErrorKind::ConnectionRefused;
            later(Foreign(&e.to_string()).to_string(), !tls && !refused)
        }
        Error::Tls(words) => later(format!("tls: {words}"), false),
        Error::Rustls(e) => later(format!("tls: {}", Foreign(&e.to_string())), false),
        Error::Other(e) => match e.downcast_ref::<Refused>() {
            Some(refused) => Outcome::Refused(refused.to_string()),
            None => later("cannot be sent".to_owned(), true),
        },
        // These print the URL.
        Error::BadUri(_) | Error::RequireHttpsOnly(_) | Error::Http(_) => {
            Outcome::Refused("not a URL that can be posted to".to_owned())
        }
        Error::Protocol(_) | Error::LargeResponseHeader(..) => {
            later("the answer is not HTTP".to_owned(), true)
        }
        _ => later("the answer cannot be read".to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, header: Option<&str>, body: &str) -> Outcome {
        let mut answer = Response::builder().status(code);
        if let Some(header) = header {
            answer = answer.header("Retry-After", header);
        }
        answered(answer.body(Body::builder().data(body.as_bytes().to_vec())).unwrap())
    }

    fn after(outcome: &Outcome) -> Option<u128> {
        match outcome {
            Outcome::Later { after, .. } => after.map(|after| after.as_millis()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_2xx_is_a_delivery() {
        for code in [200, 201, 202, 204] {
            assert_eq!(answer(code, None, ""), Outcome::Delivered);
        }
        for code in [300, 301, 302, 307, 308, 400, 401, 403, 404, 410, 413] {
            assert!(matches!(answer(code, None, ""), Outcome::Refused(_)), "{code}");
        }
        for code in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(answer(code, None, ""), Outcome::Later { .. }), "{code}");
        }
    }

    #[test]
    fn the_pause_a_server_asks_for_is_read_and_bounded() {
        assert_eq!(after(&answer(429, Some("7"), "")), Some(7_000));
        assert_eq!(after(&answer(503, Some("999999999999"), "")), Some(3_600_000));
        let year_3000 = Some("Wed, 01 Jan 3000 00:00:00 GMT");
        assert_eq!(after(&answer(503, year_3000, "")), Some(3_600_000), "a date");
        assert_eq!(after(&answer(503, Some("Thu, 01 Jan 1970 00:00:00 GMT"), "")), Some(0));
        assert_eq!(after(&answer(429, None, r#"{"retry_after":0.25}"#)), Some(250));
        let telegram = r#"{"ok":false,"parameters":{"retry_after":5}}"#;
        assert_eq!(after(&answer(429, None, telegram)), Some(5_000));
        for nonsense in ["-1", "nan", "soon", ""] {
            assert_eq!(after(&answer(429, Some(nonsense), "{")), None, "{nonsense}");
        }
    }

    #[test]
    fn an_error_never_repeats_the_url() {
        for error in [
            Error::BadUri("https://hunter2".into()),
            Error::RequireHttpsOnly("http://hunter2".into()),
        ] {
            assert!(!format!("{:?}", failed(&error)).contains("hunter2"));
        }
    }
}
