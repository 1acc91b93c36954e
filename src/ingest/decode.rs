//! Raw messages to normalised events, for people: the function behind `foreshock decode`.
//!
//! Input is one message per line, bare or as the `raw` field of a JSON object; output is one JSON
//! object per event. The report says what became of every frame and item, and its sums close:
//! `frames = decoded + ignored + rejected`.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::exchange::{Control, Desk, Exchange, Items, Origin, Verdict};
use crate::event::{Body, Event, Flags, Price, Side, Taker, Usd};
use crate::ledger::Tally;

/// Longest line that is read, bytes; the rest of a longer one is skipped and the line rejected.
pub const LINE_MAX: usize = 4 << 20;

/// What became of the input.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Lines that held a frame.
    pub frames: u64,
    /// Frames that were understood.
    pub decoded: u64,
    /// Events that came of them.
    pub events: u64,
    /// Events of instruments whose contract size is not known.
    pub unknown_instruments: u64,
    /// Frames understood and of no interest, by name.
    pub ignored: Tally,
    /// Frames not understood, by reason.
    pub rejected: Tally,
    /// Items refused inside decoded frames, by reason.
    pub refused: Tally,
}

impl Counts {
    /// Whether every frame is accounted for.
    #[must_use]
    pub fn close(&self) -> bool {
        self.frames == self.decoded + self.ignored.total() + self.rejected.total()
    }

    fn verdict(&mut self, verdict: Verdict) {
        self.frames += 1;
        match verdict {
            Verdict::Decoded => self.decoded += 1,
            Verdict::Ignored(name) => self.ignored.add(name, 1),
            Verdict::Rejected(reason) => self.rejected.add(reason, 1),
            Verdict::Control(control) => self.ignored.add(Control::name(control), 1),
        }
    }

    fn report(&self, report: &mut impl Write) -> io::Result<()> {
        let Self { frames, decoded, events, unknown_instruments, ignored, rejected, refused } =
            self;
        let (quiet, bad, items) = (ignored.total(), rejected.total(), refused.total());
        writeln!(report, "frames {frames} = decoded {decoded} + ignored {quiet} + rejected {bad}")?;
        writeln!(report, "events {events}, of unknown instruments {unknown_instruments}")?;
        writeln!(report, "items refused {items}")?;
        for (what, tally) in [("ignored", ignored), ("rejected", rejected), ("refused", refused)] {
            for (name, n) in tally.iter() {
                writeln!(report, "{what} {name} {n}")?;
            }
        }
        Ok(())
    }
}

/// Decodes every line of `input` as messages of one venue.
///
/// # Errors
/// When reading or writing fails. Bad messages are counted, never errors.
pub fn decode(
    exchange: &dyn Exchange,
    input: impl BufRead,
    out: &mut impl Write,
    report: &mut impl Write,
) -> io::Result<Counts> {
    let mut desk = Desk::new(exchange);
    let mut counts = Counts::default();
    let mut lines = Lines { input, line: Vec::new() };
    while let Some(line) = lines.next()? {
        let Some(line) = line else {
            counts.verdict(Verdict::Rejected("too_large"));
            continue;
        };
        if line.is_empty() {
            continue;
        }
        let mut printer = Printer { counts: &mut counts, out: &mut *out, failed: None };
        let verdict = match wrapped(line) {
            Some(raw) => exchange.parse(raw.as_bytes(), &mut desk, &mut printer),
            None => exchange.parse(line, &mut desk, &mut printer),
        };
        if let Some(error) = printer.failed {
            return Err(error);
        }
        counts.verdict(verdict);
    }
    out.flush()?;
    counts.report(report)?;
    Ok(counts)
}

/// A line that carries its message in a field.
#[derive(Deserialize)]
struct Wrapped {
    raw: String,
}

fn wrapped(line: &[u8]) -> Option<String> {
    serde_json::from_slice(line).ok().map(|Wrapped { raw }| raw)
}

/// Lines of bounded length, without their ends.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line; `Some(None)` when it was too long and has been skipped.
    fn next(&mut self) -> io::Result<Option<Option<&[u8]>>> {
        self.line.clear();
        let limit = LINE_MAX as u64 + 1;
        if self.input.by_ref().take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.len() > LINE_MAX && !self.line.ends_with(b"\n") {
            self.input.skip_until(b'\n')?;
            return Ok(Some(None));
        }
        Ok(Some(Some(self.line.trim_ascii())))
    }
}

/// Prints events as they come. A failed write is kept until the frame is done.
struct Printer<'a, W> {
    counts: &'a mut Counts,
    out: &'a mut W,
    failed: Option<io::Error>,
}

impl<W: Write> Items for Printer<'_, W> {
    fn event(&mut self, event: Event, origin: Origin<'_>) {
        self.counts.events += 1;
        self.counts.unknown_instruments += u64::from(event.flags.has(Flags::UNKNOWN_INSTRUMENT));
        let printed = serde_json::to_writer(&mut *self.out, &Line::new(&event, origin))
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        if let Err(error) = printed {
            self.failed.get_or_insert(error);
        }
    }

    fn refuse(&mut self, reason: &'static str) {
        self.counts.refused.add(reason, 1);
    }
}

/// One event as it is printed: the first keys always there, those of other kinds where they apply.
#[derive(Serialize)]
struct Line<'a> {
    venue: &'static str,
    kind: &'static str,
    symbol: &'a str,
    venue_symbol: Option<&'a str>,
    liquidated: Option<&'static str>,
    price: Option<f64>,
    quantity: Option<f64>,
    notional_usd: Option<f64>,
    venue_time_ms: Option<i64>,
    completeness: &'static str,
    flags: Vec<&'static str>,
    #[serde(flatten)]
    more: More,
}

/// Keys of kinds other than liquidations.
#[derive(Default, Serialize)]
struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    taker: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bid: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth_usd: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_funding_ms: Option<i64>,
}

impl<'a> Line<'a> {
    fn new(event: &'a Event, origin: Origin<'a>) -> Self {
        let line = Self {
            venue: event.venue.name(),
            kind: "",
            symbol: event.symbol.as_str(),
            venue_symbol: Some(origin.symbol).filter(|name| !name.is_empty()),
            liquidated: None,
            price: None,
            quantity: origin.quantity,
            notional_usd: None,
            venue_time_ms: event.stamp.venue_ms(),
            completeness: event.completeness.name(),
            flags: event.flags.names().collect(),
            more: More::default(),
        };
        line.with(event.body)
    }

    fn with(self, body: Body) -> Self {
        let dollars = |usd: Option<Usd>| usd.map(Usd::dollars);
        let number = |price: Option<Price>| price.map(Price::get);
        match body {
            Body::Liquidation { side, price, usd } => Self {
                kind: "liquidation",
                liquidated: side.map(Side::name),
                price: number(price),
                notional_usd: dollars(usd),
                ..self
            },
            Body::Trade { taker, price, usd } => self.taken("trade", taker, price, dollars(usd)),
            Body::Fill { taker, price, usd } => {
                self.taken("fill", taker, price, Some(usd.dollars()))
            }
            Body::Book { depth_usd, bid, ask } => {
                let (bid, ask) = (Some(bid.get()), Some(ask.get()));
                let more = More { bid, ask, depth_usd: depth_usd.map(u32::from), ..self.more };
                Self { kind: "book", more, ..self }
            }
            Body::Mark { price, index } => {
                let more = More { index: number(index), ..self.more };
                Self { kind: "mark", price: Some(price.get()), more, ..self }
            }
            Body::Funding { rate, next_ms } => {
                let next_funding_ms = Some(next_ms).filter(|ms| *ms > 0);
                let more = More { rate: Some(rate), next_funding_ms, ..self.more };
                Self { kind: "funding", more, ..self }
            }
            Body::OpenInterest { usd, .. } => {
                Self { kind: "open_interest", notional_usd: dollars(usd), ..self }
            }
            Body::Tick
            | Body::Reset
            | Body::Resume { .. }
            | Body::Stood { .. }
            | Body::Tuned { .. }
            | Body::Feed { .. } => self,
        }
    }

    fn taken(self, kind: &'static str, taker: Taker, price: Price, usd: Option<f64>) -> Self {
        let taker = Some(if taker == Taker::Buy { "buy" } else { "sell" });
        let more = More { taker, ..self.more };
        Self { kind, price: Some(price.get()), notional_usd: usd, more, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Venue;
    use crate::ingest::exchange::exchange;

    fn decoded(venue: Venue, input: &[u8]) -> (String, String, Counts) {
        let (mut out, mut report) = (Vec::new(), Vec::new());
        let counts = decode(exchange(venue).unwrap(), input, &mut out, &mut report).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(report).unwrap(), counts)
    }

    const TRADE: &str =
        r#"{"e":"aggTrade","s":"BTCUSDT","p":"60000","q":"0.5","T":1790000000003,"m":false}"#;

    #[test]
    fn bare_and_wrapped_lines_give_the_same_event() {
        let wrapped = format!("{{\"raw\":{},\"venue\":\"x\"}}", serde_json::json!(TRADE));
        let (out, _, counts) =
            decoded(Venue::Binance, format!("{TRADE}\n\n{wrapped}\r\n").as_bytes());
        let line = r#"{"venue":"binance","kind":"trade","symbol":"BTCUSDT","venue_symbol":"BTCUSDT","liquidated":null,"price":60000.0,"quantity":0.5,"notional_usd":30000.0,"venue_time_ms":1790000000003,"completeness":"complete","flags":[],"taker":"buy"}"#;
        assert_eq!(out, format!("{line}\n{line}\n"));
        assert_eq!((counts.frames, counts.events, counts.close()), (2, 2, true));
    }

    #[test]
    fn every_line_is_accounted_for() {
        let mut input = Vec::new();
        for line in [
            TRADE.as_bytes(),
            b"\xff\xfe",
            b"{\"e\":\"kline\"}",
            b"{\"result\":null,\"id\":1}",
            b"x",
        ] {
            input.extend_from_slice(line);
            input.push(b'\n');
        }
        input.extend(b"9".repeat(LINE_MAX + 5));
        input.push(b'\n');
        input.extend(br#"{"e":"aggTrade","s":"ETHBTC"}"#);
        let (_, report, counts) = decoded(Venue::Binance, &input);
        assert!(counts.close(), "{counts:?}");
        assert_eq!(
            report,
            "frames 7 = decoded 2 + ignored 2 + rejected 3\n\
             events 1, of unknown instruments 0\nitems refused 1\n\
             ignored kline 1\nignored ack 1\n\
             rejected utf8 1\nrejected json 1\nrejected too_large 1\nrefused quote 1\n"
        );
    }

    #[test]
    fn what_is_unknown_is_null_and_counted() {
        let frame = r#"{"arg":{"channel":"liquidation-orders"},"data":[{"instId":"NEW-USDT-SWAP","details":[{"bkPx":"1","posSide":"long","side":"sell","sz":"3","ts":"1790000000003"}]}]}"#;
        let (out, _, counts) = decoded(Venue::Okx, frame.as_bytes());
        assert!(
            out.contains(r#""liquidated":"long","price":1.0,"quantity":null,"notional_usd":null"#)
        );
        assert!(out.contains(r#""flags":["unknown_instrument"]"#));
        assert_eq!(counts.unknown_instruments, 1);
    }
}
