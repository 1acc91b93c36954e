//! A recorded capture, made ready to be played again as if it happened now.
//!
//! What `foreshock record` wrote is read whole: data in the order in which it came, per route; what a
//! venue answered to subscriptions, to be said again when it is asked; and its instruments. Old venue
//! times would be history to the one who listens, and the age gate, an hour at most, would keep them out
//! of every rate. So times are moved: a number of thirteen digits within a day of the message's own time
//! is a time in milliseconds, and gets the distance between now and when the message was received. What
//! the venue took to tell it stays as it was recorded.

use std::collections::BTreeMap;
use std::path::Path;

use foreshock::event::Venue;
use foreshock::ingest::Frame;
use foreshock::ingest::capture::{Reader, Record};
use foreshock::ingest::exchange::{Control, Verdict, exchange};
use foreshock::ingest::instrument::{Contract, Instrument, strip_usd};
use foreshock::ingest::intake::Intake;
use foreshock::ingest::line::ROUTES_MAX;

use crate::flow::digits;

const DAY_MS: i64 = 86_400_000;

/// A venue and which of its routes.
pub type Route = (Venue, usize);

/// A message that came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// On which route.
    pub route: Route,
    /// When it was received, ms since the Unix epoch.
    pub wall_ms: i64,
    /// When, on a steady clock, ns.
    pub at: u64,
    bytes: Vec<u8>,
    /// Where a time stands, and which.
    times: Vec<(usize, i64)>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// In the order in which they came.
    pub messages: Vec<Recorded>,
    /// What each route answered to subscriptions, in order.
    pub answers: BTreeMap<Route, Vec<String>>,
    /// What each venue lists.
    pub listed: BTreeMap<Venue, Vec<Instrument>>,
}

impl Capture {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is no capture, is damaged, or holds no message.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut reader = Reader::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let (mut capture, mut intake) = (Self::default(), Intake::new(i64::MAX));
        while let Some(record) = reader.next_record()? {
            capture.add(record, &mut intake);
        }
        if capture.messages.is_empty() {
            return Err(format!("{}: no message of a venue in it", path.display()));
        }
        Ok(capture)
    }

    fn add(&mut self, record: Record, intake: &mut Intake) {
        match record {
            Record::Instruments { venue, known, .. } => {
                if let Some(desk) = intake.desk(venue) {
                    desk.instruments.extend(known.iter().cloned());
                }
                self.listed.insert(venue, known);
            }
            // A second line says what the first does.
            Record::Frame { line: ROUTES_MAX.., .. } => {}
            Record::Frame { venue, line, link, bytes, received } => {
                let route = (venue, usize::from(line));
                let frame = Frame { venue, line, link, bytes: &bytes, received };
                let (verdict, _) = intake.frame(&frame);
                match verdict {
                    Verdict::Control(Control::Ack | Control::Refused) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        self.answers.entry(route).or_default().push(text);
                    }
                    // Said when it is asked for, or about a connection that is no more.
                    Verdict::Control(_) => {}
                    _ => {
                        let (wall_ms, at) = (received.wall.0, received.mono.0);
                        let times = times(&bytes, wall_ms);
                        self.messages.push(Recorded { route, wall_ms, at, bytes, times });
                    }
                }
            }
        }
    }

    /// Every route on which something came.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let mut routes: Vec<Route> = self.messages.iter().map(|message| message.route).collect();
        routes.sort_unstable();
        routes.dedup();
        routes
    }
}

impl Recorded {
    /// The message as of `now_ms`.
    #[must_use]
    pub fn moved(&self, now_ms: i64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (at, ms) in &self.times {
            let moved = digits(ms + now_ms - self.wall_ms);
            bytes[*at..*at + moved.len()].copy_from_slice(&moved);
        }
        bytes
    }
}

/// The numbers of exactly thirteen digits that are a time near `around`.
fn times(bytes: &[u8], around: i64) -> Vec<(usize, i64)> {
    let (mut found, mut begin) = (Vec::new(), 0);
    for run in bytes.split_inclusive(|byte| !byte.is_ascii_digit()) {
        let digits = run.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&run[..digits]).unwrap_or_default();
        let number = text.parse::<i64>().ok().filter(|_| digits == 13);
        found.extend(number.filter(|ms| (ms - around).abs() < DAY_MS).map(|ms| (begin, ms)));
        begin += run.len();
    }
    found
}

/// The name of a route.
#[must_use]
pub fn route_name((venue, nth): Route) -> &'static str {
    exchange(venue).and_then(|exchange| exchange.routes().get(nth)).map_or("", |route| route.name)
}

/// A venue's answer over REST about what it lists; `None` for any other question.
#[must_use]
pub fn listing(venue: Venue, path: &str, known: &[Instrument]) -> Option<String> {
    let inverse = path.starts_with("/dapi") || path.contains("category=inverse");
    let asked = ["exchangeInfo", "instruments-info", "public/instruments", "/info"];
    asked.iter().any(|word| path.contains(word)).then_some(())?;
    let here = known.iter().filter(|instrument| {
        let apart = matches!(venue, Venue::Binance | Venue::Bybit);
        !apart || matches!(instrument.contract, Contract::Usd(_)) == inverse
    });
    let rows: Vec<String> = here.map(|instrument| row(venue, instrument)).collect();
    let rows = rows.join(",");
    Some(match venue {
        Venue::Binance => format!(r#"{{"symbols":[{rows}]}}"#),
        Venue::Bybit => {
            format!(r#"{{"retCode":0,"result":{{"list":[{rows}],"nextPageCursor":""}}}}"#)
        }
        Venue::Okx => format!(r#"{{"code":"0","data":[{rows}],"msg":""}}"#),
        Venue::Hyperliquid | Venue::Other => format!(r#"{{"universe":[{rows}]}}"#),
    })
}

fn row(venue: Venue, instrument: &Instrument) -> String {
    let name = &instrument.name;
    let pair = name.split('_').next().unwrap_or(name);
    let (size, inverse) = match instrument.contract {
        Contract::Coins(size) => (size, false),
        Contract::Usd(size) => (size, true),
    };
    match (venue, inverse) {
        (Venue::Binance, false) => {
            let coin = strip_usd(pair).unwrap_or(pair);
            format!(r#"{{"symbol":"{name}","baseAsset":"{coin}","quoteAsset":"USDT"}}"#)
        }
        (Venue::Binance, true) => {
            let coin = pair.strip_suffix("USD").unwrap_or(pair);
            format!(
                r#"{{"symbol":"{name}","baseAsset":"{coin}","quoteAsset":"USD","contractSize":{size}}}"#
            )
        }
        (Venue::Bybit, false) => {
            format!(r#"{{"symbol":"{name}","contractType":"LinearPerpetual","quoteCoin":"USDT"}}"#)
        }
        (Venue::Bybit, true) => {
            format!(r#"{{"symbol":"{name}","contractType":"InversePerpetual","quoteCoin":"USD"}}"#)
        }
        (Venue::Okx, _) => {
            let coin = name.split('-').next().unwrap_or(name);
            let (kind, unit) = if inverse { ("inverse", "USD") } else { ("linear", coin) };
            format!(
                r#"{{"instId":"{name}","ctVal":"{size}","ctMult":"1","ctValCcy":"{unit}","ctType":"{kind}"}}"#
            )
        }
        (Venue::Hyperliquid | Venue::Other, _) => format!(r#"{{"name":"{name}"}}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foreshock::event::VENUES;

    #[test]
    fn times_are_moved_and_other_numbers_are_not() {
        let text =
            br#"{"E":1790000000123,"T":"1790000000001","id":17900000000019,"n":1690000000000}"#;
        let wall_ms = 1_790_000_000_130;
        let recorded = Recorded {
            route: (Venue::Binance, 0),
            wall_ms,
            at: 0,
            bytes: text.to_vec(),
            times: times(text, wall_ms),
        };
        assert_eq!(recorded.moved(wall_ms), text);
        let moved = recorded.moved(wall_ms + 1_000_000_000);
        let expected =
            br#"{"E":1791000000123,"T":"1791000000001","id":17900000000019,"n":1690000000000}"#;
        assert_eq!(moved, expected);
    }

    #[test]
    fn what_is_listed_is_what_was_known() {
        for venue in VENUES {
            let Some(exchange) = exchange(venue) else { continue };
            let known = exchange.built_in();
            let mut found: Vec<Instrument> = Vec::new();
            for listed in exchange.listings() {
                let path = &listed.url[listed.url[8..].find('/').unwrap() + 8..];
                found.extend(
                    exchange.listed(listing(venue, path, &known).unwrap().as_bytes()).unwrap(),
                );
            }
            let sorted = |mut all: Vec<Instrument>| {
                all.sort_by(|a, b| a.name.cmp(&b.name));
                all
            };
            assert_eq!(sorted(found), sorted(known), "{}", venue.name());
        }
    }
}
