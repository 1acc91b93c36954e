//! What OKX liquidated while we did not hear it, asked for over REST when we hear it again.
//!
//! A thread asks, family by family (`BTC-USDT`), newest first and page by page, back to where the gap
//! began. The answers enter like any frame, in the shape of the venue's own messages, over a line of
//! their own: what had been heard is recognised ([`twins`](super::twins)), the rest is
//! [`BACKFILL`](crate::event::Flags::BACKFILL), kept out of the rates. No other venue that is spoken has
//! a public history of liquidations.

use std::io;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};

use super::Frame;
use super::instrument::Instruments;
use super::rest::Rest;
use super::source::{Heard, Read, Source};
use super::twins::{REPAIR, link_of};
use crate::event::Venue;
use crate::ledger::Ledger;
use crate::time::{Millis, Now};

const URL: &str = "https://www.okx.com/api/v5/public/liquidation-orders?instType=SWAP&state=filled";
/// Forty requests in two seconds are allowed; this is a quarter.
const BETWEEN: Duration = Duration::from_millis(200);
/// Pages asked for one family, families asked for, gaps and answers waiting.
const PAGES: usize = 10;
const FAMILIES: usize = 100;
const WAITING: usize = 64;

/// A stretch that was not heard, wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From here...
    pub from: Millis,
    /// ...to here.
    pub to: Millis,
}

/// What a request came to.
enum Answer {
    /// Rows, as the venue would have sent them.
    Rows(Vec<u8>),
    /// Nothing usable, and why.
    Failed,
}

/// The source of what was missed.
#[derive(Debug)]
pub struct Repair {
    gaps: Option<Sender<Gap>>,
    answers: Receiver<Answer>,
    asked: u64,
    unasked: u64,
    failed: u64,
}

impl Repair {
    /// Asks for the families of `known`, those in `first` before the others. `base` replaces the origin
    /// of every request.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        rest: Rest,
        base: Option<String>,
        known: &Instruments,
        first: &[String],
    ) -> io::Result<Self> {
        let (gaps, incoming) = bounded(WAITING);
        let (outgoing, answers) = bounded(WAITING);
        let families = families(known, first);
        let work = move || {
            for gap in incoming {
                for family in &families {
                    if family_since(&rest, base.as_deref(), family, gap, &outgoing).is_err() {
                        return;
                    }
                }
            }
        };
        thread::Builder::new().name("repair".to_owned()).spawn(work)?;
        Ok(Self { gaps: Some(gaps), answers, asked: 0, unasked: 0, failed: 0 })
    }
}

impl Source for Repair {
    fn name(&self) -> String {
        "okx/repair".to_owned()
    }

    fn read(&mut self, now: Now, most: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        if self.gaps.is_none() {
            return Read::Ended;
        }
        let mut given = 0;
        for answer in self.answers.try_iter().take(most) {
            match answer {
                Answer::Failed => self.failed += 1,
                Answer::Rows(bytes) => {
                    given += 1;
                    let link = link_of(REPAIR, 1);
                    let bytes = &bytes;
                    take(Frame { venue: Venue::Okx, line: REPAIR, link, bytes, received: now });
                }
            }
        }
        if given > 0 { Read::Frames } else { Read::Idle }
    }

    fn heal(&mut self, venue: Venue, gap: Gap) {
        let Some(gaps) = self.gaps.as_ref().filter(|_| venue == Venue::Okx) else { return };
        match gaps.try_send(gap) {
            Ok(()) => self.asked += 1,
            Err(_) => self.unasked += 1,
        }
    }

    fn stop(&mut self) {
        self.gaps = None;
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add("repair_gaps", self.asked);
        ledger.add("repair_gaps_left_out", self.unasked);
        ledger.add("repair_requests_failed", self.failed);
    }
}

/// The families of linear and inverse swaps: `BTC-USDT` of `BTC-USDT-SWAP`.
fn families(known: &Instruments, first: &[String]) -> Vec<String> {
    let mut families = first.to_vec();
    for instrument in known.sorted() {
        if let Some(family) = instrument.name.strip_suffix("-SWAP")
            && !families.iter().any(|known| known == family)
        {
            families.push(family.to_owned());
        }
    }
    families.truncate(FAMILIES);
    families
}

/// Asks page by page. An error means that nobody listens any more.
fn family_since(
    rest: &Rest,
    base: Option<&str>,
    family: &str,
    gap: Gap,
    answers: &Sender<Answer>,
) -> Result<(), ()> {
    let mut before: Option<i64> = None;
    for _ in 0..PAGES {
        let after = before.map_or_else(String::new, |ms| format!("&after={ms}"));
        let url = format!("{URL}&uly={family}{after}");
        let page = rest.get(&url, base).ok().and_then(|body| page(&body, gap));
        thread::sleep(BETWEEN);
        let Some(page) = page else { return answers.send(Answer::Failed).map_err(drop) };
        if let Some(rows) = page.rows {
            answers.send(Answer::Rows(rows)).map_err(drop)?;
        }
        match page.oldest.filter(|oldest| *oldest > gap.from.0 && before != Some(*oldest)) {
            Some(oldest) => before = Some(oldest),
            None => break,
        }
    }
    Ok(())
}

/// One answer: the rows within the gap, and the time of its oldest row.
#[derive(Debug, PartialEq)]
struct Page {
    rows: Option<Vec<u8>>,
    oldest: Option<i64>,
}

/// `None` when the answer makes no sense. Rows are not judged here: the venue's parser does that.
fn page(body: &[u8], gap: Gap) -> Option<Page> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    if answer.get("code").and_then(Value::as_str) != Some("0") {
        return None;
    }
    let time = |order: &Value| order.get("ts").and_then(Value::as_str)?.parse::<i64>().ok();
    let mut oldest: Option<i64> = None;
    let mut any = false;
    for instrument in answer.get_mut("data")?.as_array_mut()? {
        let details = instrument.get_mut("details")?.as_array_mut()?;
        let earliest = details.iter().filter_map(time).min();
        oldest = oldest.into_iter().chain(earliest).min();
        details.retain(|order| time(order).is_some_and(|ms| (gap.from.0..=gap.to.0).contains(&ms)));
        any |= !details.is_empty();
    }
    let data = answer.get_mut("data").map(Value::take)?;
    let frame = json!({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": data});
    Some(Page { rows: any.then(|| frame.to_string().into_bytes()), oldest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::exchange::{EXCHANGES, Exchange};

    const GAP: Gap = Gap { from: Millis(1_790_000_001_000), to: Millis(1_790_000_002_000) };

    #[test]
    fn only_what_lies_in_the_gap_is_taken() {
        let order = |ts: i64| json!({"bkPx":"1","posSide":"long","side":"sell","sz":"1","ts":ts.to_string()});
        let details: Vec<_> =
            [500, 1_000, 1_700, 2_001].map(|ms| order(1_790_000_000_000 + ms)).to_vec();
        let body =
            json!({"code":"0","data":[{"instId":"BTC-USDT-SWAP","details":details}]}).to_string();
        let page = page(body.as_bytes(), GAP).unwrap();
        assert_eq!(page.oldest, Some(1_790_000_000_500));
        let rows = String::from_utf8(page.rows.unwrap()).unwrap();
        assert!(rows.contains("01000") && rows.contains("01700"), "{rows}");
        assert!(!rows.contains("00500") && !rows.contains("02001"), "{rows}");
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for body in ["", "{}", "[]", r#"{"code":"51155","data":[]}"#, r#"{"code":"0","data":[7]}"#]
        {
            assert_eq!(page(body.as_bytes(), GAP), None, "{body}");
        }
        let empty = page(br#"{"code":"0","data":[]}"#, GAP);
        assert_eq!(empty, Some(Page { rows: None, oldest: None }));
    }

    #[test]
    fn families_are_of_swaps_and_those_that_matter_come_first() {
        let mut known = Instruments::default();
        let okx = EXCHANGES.iter().find(|exchange| exchange.venue() == Venue::Okx).unwrap();
        known.extend(Exchange::built_in(*okx));
        let families = families(&known, &["SOL-USDT".to_owned()]);
        assert_eq!(families.first().map(String::as_str), Some("SOL-USDT"));
        assert_eq!(families.iter().filter(|family| *family == "SOL-USDT").count(), 1);
        assert!(families.iter().any(|family| family == "BTC-USD"));
    }
}
