//! Instruments, asked for over REST before the feeds start.
//!
//! One request, one answer or one line saying why not: no redirect is followed, anything but 2xx is
//! an error, every wait is bounded. May wait: never called from a stage.

use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsConfigBuilder};
use ureq::{Agent, Body};

use super::dial::{certificates, http_hint};
use super::exchange::{Exchange, Listing};
use super::instrument::Instruments;

const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(20);
/// Largest answer taken, bytes.
const BODY_MAX: u64 = 32 << 20;

/// Asks venues over HTTPS.
#[derive(Clone, Debug)]
pub struct Rest {
    /// One per set of roots: the library cannot join its built-in roots with ours.
    agents: Vec<Agent>,
}

impl Rest {
    /// Believes the built-in roots, and the certificates in `pem` beside them.
    ///
    /// # Errors
    /// When `pem` holds no usable certificate.
    pub fn new(pem: Option<&[u8]>) -> Result<Self, String> {
        let extra = certificates(pem)?;
        let mut agents = vec![agent(RootCerts::WebPki)];
        if !extra.is_empty() {
            let owned = extra.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            agents.insert(0, agent(RootCerts::Specific(Arc::new(owned))));
        }
        Ok(Self { agents })
    }

    /// The instruments of a venue, as it lists them. Where an answer is missing, those known without
    /// asking stand in, and it is said, one line each. They are not added to a full list: a symbol
    /// that the venue has delisted would have it refuse the whole subscription.
    pub fn instruments(
        &self,
        exchange: &dyn Exchange,
        base: Option<&str>,
    ) -> (Instruments, Vec<String>) {
        let mut listed = Vec::new();
        let mut complaints = Vec::new();
        for listing in exchange.listings() {
            match self.fetch(listing, base).and_then(|body| exchange.listed(&body)) {
                Ok(instruments) => listed.extend(instruments),
                Err(why) => complaints.push(format!("{}: {why}", exchange.venue().name())),
            }
        }
        let mut known = Instruments::default();
        if !complaints.is_empty() || listed.is_empty() {
            known.extend(exchange.built_in());
        }
        known.extend(listed);
        (known, complaints)
    }

    /// The body of one answer. `base` replaces `https://host` of the request.
    ///
    /// # Errors
    /// One line: where, and why not.
    pub fn fetch(&self, listing: &Listing, base: Option<&str>) -> Result<Vec<u8>, String> {
        self.request(listing.url, listing.body, base)
    }

    /// The body of the answer to a GET.
    ///
    /// # Errors
    /// One line: where, and why not.
    pub fn get(&self, url: &str, base: Option<&str>) -> Result<Vec<u8>, String> {
        self.request(url, None, base)
    }

    fn request(
        &self,
        url: &str,
        body: Option<&str>,
        base: Option<&str>,
    ) -> Result<Vec<u8>, String> {
        let url = moved(url, base)?;
        let mut outcome = Err(format!("{url}: no agent"));
        for agent in &self.agents {
            let asked = ask(agent, &url, body);
            // Only a certificate that one set of roots does not know is worth another try.
            let again = matches!(&asked, Err(ureq::Error::Tls(_) | ureq::Error::Rustls(_)))
                || matches!(&asked, Err(ureq::Error::Io(e)) if is_tls(e));
            outcome = asked.map_err(|e| format!("{url}: {}", words(&e))).and_then(|mut answer| {
                let code = answer.status().as_u16();
                if !answer.status().is_success() {
                    return Err(format!("{url}: http {code}{}", http_hint(code)));
                }
                let body = answer.body_mut().with_config().limit(BODY_MAX).read_to_vec();
                body.map_err(|e| format!("{url}: {}", words(&e)))
            });
            if !again {
                break;
            }
        }
        outcome
    }
}

fn agent(roots: RootCerts) -> Agent {
    let tls: TlsConfigBuilder = TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        // A few requests at the start: a connection kept for another is only one more that can fail.
        .max_idle_connections(0)
        .user_agent(concat!("foreshock/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE));
    config.build().new_agent()
}

fn ask(
    agent: &Agent,
    url: &str,
    body: Option<&str>,
) -> Result<tungstenite::http::Response<Body>, ureq::Error> {
    match body {
        None => agent.get(url).call(),
        Some(body) => agent.post(url).header("Content-Type", "application/json").send(body),
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "dns: no such host".to_owned(),
        ureq::Error::BodyExceedsLimit(most) => format!("the answer is larger than {most} bytes"),
        ureq::Error::Io(e) if is_tls(e) => format!("tls: {e}"),
        other => other.to_string(),
    }
}

/// The request's URL at another origin, where one is given.
fn moved(url: &str, base: Option<&str>) -> Result<String, String> {
    let Some(base) = base else { return Ok(url.to_owned()) };
    let rest = url.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
    let (_, path) = rest.ok_or_else(|| format!("{url}: not an https URL with a path"))?;
    Ok(format!("{}/{path}", base.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_origin_keeps_the_path() {
        let url = "https://fapi.binance.com/fapi/v1/exchangeInfo?x=1";
        assert_eq!(
            moved(url, Some("https://localhost:9/binance/")).as_deref(),
            Ok("https://localhost:9/binance/fapi/v1/exchangeInfo?x=1")
        );
        assert_eq!(moved(url, None).as_deref(), Ok(url));
        assert!(moved("https://host", Some("https://x")).is_err());
    }
}
