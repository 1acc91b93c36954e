//! What the tests of every venue share: a frame, its verdict, and what it says line by line.

use std::fmt::Write as _;

use super::{Desk, Exchange, Instrument, Items, Origin, Verdict};
use crate::event::{Body, Event, Usd};

/// A frame, its verdict, and its items, one per line:
/// `liquidation SYMBOL NAME side price quantity usd @time completeness flags`, `-` for what is missing.
pub type Sample = (&'static str, Verdict, &'static str);

/// Parses each sample on one desk, in order.
pub fn check(exchange: &dyn Exchange, samples: &[Sample]) {
    let mut desk = Desk::new(exchange);
    for (frame, verdict, items) in samples {
        let mut told = Told::default();
        let got = exchange.parse(frame.as_bytes(), &mut desk, &mut told);
        let lines = items.lines().map(|line| line.trim().to_owned());
        let expected: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        assert_eq!((got, told.0), (*verdict, expected), "\n{frame}");
    }
}

/// What an implied symbol means: market, contract, multiplier.
pub fn told(exchange: &dyn Exchange, symbol: &str) -> String {
    match exchange.implied(symbol) {
        Some(i) => format!("{} {:?} {}", i.symbol, i.contract, i.multiplier),
        None => "unknown".to_owned(),
    }
}

/// The names of listed instruments in order.
pub fn listed_names(listed: &[Instrument]) -> String {
    listed.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Told(Vec<String>);

impl Items for Told {
    fn event(&mut self, event: Event, origin: Origin<'_>) {
        let quantity = dash(origin.quantity);
        let what = match event.body {
            Body::Liquidation { side, price, usd } => format!(
                "{} {} {quantity} {}",
                side.map_or("-", |side| side.name()),
                dash(price.map(|p| p.get())),
                dash(usd.map(Usd::dollars))
            ),
            Body::Trade { taker, price, usd } => format!(
                "{} {} {quantity} {}",
                format!("{taker:?}").to_lowercase(),
                price.get(),
                dash(usd.map(Usd::dollars))
            ),
            Body::Fill { taker, price, usd } => {
                let taker = format!("{taker:?}").to_lowercase();
                format!("{taker} {} {quantity} {}", price.get(), usd.dollars())
            }
            Body::Book { depth_usd, bid, ask } => {
                format!("{} {} depth {}", bid.get(), ask.get(), dash(depth_usd))
            }
            Body::Mark { price, index } => {
                format!("{} index {}", price.get(), dash(index.map(|p| p.get())))
            }
            Body::Funding { rate, next_ms } => format!("{rate} next {next_ms}"),
            Body::OpenInterest { base, usd } => {
                format!("{} {}", dash(base.map(|b| b.get())), dash(usd.map(Usd::dollars)))
            }
            Body::Tick
            | Body::Reset
            | Body::Resume { .. }
            | Body::Stood { .. }
            | Body::Tuned { .. }
            | Body::Feed { .. } => "never parsed".to_owned(),
        };
        let kind = kind(&event.body);
        let name = if origin.symbol.is_empty() { "-" } else { origin.symbol };
        let time = dash(event.stamp.venue_ms());
        let seen = event.completeness.name();
        let mut line = format!("{kind} {} {name} {what} @{time} {seen}", event.symbol);
        for flag in event.flags.names() {
            let _ = write!(line, " {flag}");
        }
        self.0.push(line);
    }

    fn refuse(&mut self, reason: &'static str) {
        self.0.push(format!("refused {reason}"));
    }
}

fn dash(value: Option<impl std::fmt::Display>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Liquidation { .. } => "liquidation",
        Body::Fill { .. } => "fill",
        Body::Trade { .. } => "trade",
        Body::Book { .. } => "book",
        Body::Mark { .. } => "mark",
        Body::Funding { .. } => "funding",
        Body::OpenInterest { .. } => "open_interest",
        Body::Tick
        | Body::Reset
        | Body::Resume { .. }
        | Body::Stood { .. }
        | Body::Tuned { .. }
        | Body::Feed { .. } => "none",
    }
}
