//! Instruments, asked for over REST before the feeds start.
//!
//! One request, one answer or one line saying why not: no redirect is followed, anything but 2xx is
//! an error, every wait is bounded. May wait: never called from a stage.

use std::time::Duration;

use ureq::tls::RootCerts;
use ureq::{Agent, Body};

use super::dial::{certificates, http_hint};
use super::exchange::{Exchange, Listing};
use super::instrument::{Instrument, Instruments};
use crate::https;

const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(20);
/// Largest answer taken, bytes.
const BODY_MAX: u64 = 32 << 20;
/// Pages of one listing: a thousand instruments each.
const PAGES_MAX: usize = 20;

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
            agents.insert(0, agent(https::roots(&extra)));
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
            let ask = |more: &str| {
                let url = format!("{}{more}", listing.url);
                self.request(&url, listing.body, base)
            };
            if let Err(why) = whole(exchange, ask, &mut listed) {
                complaints.push(format!("{}: {why}", exchange.venue().name()));
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

/// All pages of a listing. What came before a page that could not be had is kept.
fn whole(
    exchange: &dyn Exchange,
    ask: impl Fn(&str) -> Result<Vec<u8>, String>,
    listed: &mut Vec<Instrument>,
) -> Result<(), String> {
    let mut more = String::new();
    for page in 1..=PAGES_MAX {
        let here = |why| if page == 1 { why } else { format!("page {page}: {why}") };
        let body = ask(&more).map_err(here)?;
        listed.extend(exchange.listed(&body).map_err(here)?);
        match exchange.next_page(&body).map_err(here)? {
            None => return Ok(()),
            Some(next) if next == more => return Err(format!("page {page} leads to itself")),
            Some(next) => more = next,
        }
    }
    Err(format!("more than {PAGES_MAX} pages: the rest was not asked for"))
}

fn agent(roots: RootCerts) -> Agent {
    https::config(roots, CONNECT, WHOLE).new_agent()
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
    use std::cell::Cell;

    use super::*;
    use crate::event::Venue;
    use crate::ingest::exchange::EXCHANGES;

    /// What came of a listing whose pages are given by what leads to them, and what was asked for.
    fn listed(
        answer: impl Fn(&str) -> Result<String, String>,
    ) -> (usize, Result<(), String>, usize) {
        let bybit = EXCHANGES.iter().find(|e| e.venue() == Venue::Bybit).unwrap();
        let (mut listed, asked) = (Vec::new(), Cell::new(0));
        let ask = |more: &str| {
            asked.set(asked.get() + 1);
            answer(more).map(String::into_bytes)
        };
        let whole = whole(*bybit, ask, &mut listed);
        (listed.len(), whole, asked.get())
    }

    fn page(name: &str, cursor: &str) -> String {
        format!(
            r#"{{"result":{{"list":[{{"symbol":"{name}USDT","contractType":"LinearPerpetual","quoteCoin":"USDT"}}],"nextPageCursor":"{cursor}"}}}}"#
        )
    }

    #[test]
    fn every_page_of_a_listing_is_asked_for_and_a_part_is_said_to_be_one() {
        let (n, whole, asked) = listed(|more| match more {
            "" => Ok(page("A", "x")),
            "&cursor=x" => Ok(page("B", "y")),
            _ => Ok(page("C", "")),
        });
        assert_eq!((n, whole, asked), (3, Ok(()), 3));
        let broken = |more: &str| match more {
            "" => Ok(page("A", "x")),
            _ => Err("http 503".to_owned()),
        };
        assert_eq!(listed(broken), (1, Err("page 2: http 503".to_owned()), 2));
        assert_eq!(
            listed(|_| Ok(page("A", "x"))),
            (2, Err("page 2 leads to itself".to_owned()), 2)
        );
        let endless =
            |more: &str| Ok(page("A", &format!("{}1", more.trim_start_matches("&cursor="))));
        let (n, whole, asked) = listed(endless);
        assert!(n == PAGES_MAX && asked == PAGES_MAX, "{n} {asked}");
        assert!(whole.unwrap_err().contains("more than 20 pages"));
    }

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
