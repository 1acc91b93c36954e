//! `foreshock explain`: what one signal rests on, lived again from the journal.
//!
//! The journal holds the engine's whole input. The events of the run are given to a fresh engine, up to
//! the signal; what it says then is compared with what is written, word for word. All that is printed
//! comes from that engine, so that it is the reason and not a story about it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;

use super::Failure;
use super::tuned::Choice;
use crate::config::{Config, Layers};
use crate::engine::{Engine, Outbox};
use crate::event::{Body, Event, FeedState, VENUES, Venue};
use crate::output::Message;
use crate::publish::explain::Sentence;
use crate::publish::json::venues_of;
use crate::record::Reader;
use crate::signal::{
    COMPONENT_NAMES, Cursor, FACTOR_NAMES, REPORT_WORDS, Report, WINDOW_NAMES, Words,
};
use crate::symbol::Symbol;
use crate::time::{NS_PER_S, Nanos};

/// Events of this time before the signal are kept.
const KEPT_NS: u64 = 300 * NS_PER_S;

/// The signal to explain: `SEQ`, or `RUN-SEQ` as in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Start of the run, wall clock ms; the last run that has such a signal when not given.
    pub run: Option<u64>,
    /// Number of the signal within the run.
    pub seq: u64,
}

impl std::str::FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().map_err(|_| "expected SEQ or RUN-SEQ");
        match text.split_once('-') {
            Some((run, seq)) => Ok(Self { run: Some(number(run)?), seq: number(seq)? }),
            None => Ok(Self { run: None, seq: number(text)? }),
        }
    }
}

/// Explains signal `name` of the journal at `path`, with the last `events` of its events.
///
/// # Errors
/// A journal that cannot be read or does not hold the signal (1), or a signal that is not reproduced (6).
pub fn explain(
    config: &Config,
    layers: &Layers,
    name: Name,
    path: &Path,
    events: usize,
) -> Result<(), Failure> {
    let (run, recorded) = find(name, path)?;
    let mut lived = live(&Choice::of(config, layers), path, run, &recorded)?;
    print!("{}", lived.text(run, events));
    let what = format!("signal {run}-{}", recorded.seq);
    match lived.report {
        Some(report) if words(&report) == words(&recorded) => {
            println!("reproduced bit for bit");
            Ok(())
        }
        Some(_) => Err(Failure::mismatch(format!(
            "{what} is written otherwise: was the engine configured otherwise?"
        ))),
        None => Err(Failure::mismatch(format!(
            "{what} is not made again: was the engine configured otherwise, or is the beginning of the \
             run missing?"
        ))),
    }
}

/// The recorded signal, and its run.
fn find(name: Name, path: &Path) -> Result<(u64, Report), Failure> {
    let mut reader = open(path)?;
    let mut found = None;
    while let Some(message) = reader.next() {
        let message = message.map_err(Failure::running)?;
        let Message::Report(report) = message else { continue };
        if report.seq == name.seq && name.run.is_none_or(|run| run == reader.run()) {
            found = Some((reader.run(), report));
        }
    }
    found.ok_or_else(|| {
        Failure::running(format!("{}: holds no signal of that number", path.display()))
    })
}

fn open(path: &Path) -> Result<Reader, Failure> {
    Reader::open(path).map_err(|e| Failure::running(format!("{}: {e}", path.display())))
}

/// What the engine knew when it made the signal.
struct Lived {
    engine: Option<Engine>,
    report: Option<Report>,
    symbol: Symbol,
    /// Liquidations that concern the row, newest last, of the last five minutes.
    events: VecDeque<Event>,
    feeds: Vec<(Venue, u8, FeedState, Nanos)>,
    now: Nanos,
    missing: u64,
}

fn live(choice: &Choice, path: &Path, run: u64, recorded: &Report) -> Result<Lived, Failure> {
    let mut reader = open(path)?;
    let mut out = Outbox::new();
    let unknown = |why: String| Failure::running(format!("{}: {why}", path.display()));
    let mut lived = Lived {
        engine: None,
        report: None,
        symbol: recorded.symbol,
        events: VecDeque::new(),
        feeds: Vec::new(),
        now: Nanos(0),
        missing: 0,
    };
    while let Some(message) = reader.next() {
        let message = message.map_err(Failure::running)?;
        let Message::Event(event) = message else { continue };
        if reader.run() != run {
            continue;
        }
        lived.missing = reader.missing();
        lived.note(&event);
        out.clear();
        let engine = match &mut lived.engine {
            Some(engine) => engine,
            none => none.insert(Engine::new(&choice.first(&reader).map_err(unknown)?)),
        };
        choice.take(engine, &event, &reader, &mut out).map_err(unknown)?;
        lived.report = out.reports().iter().find(|report| report.seq == recorded.seq).copied();
        if lived.report.is_some() || engine.signals() > recorded.seq {
            break;
        }
    }
    Ok(lived)
}

/// A report's words, without the one that differs between two runs over the same input.
fn words(report: &Report) -> [u64; REPORT_WORDS] {
    let mut words = [0; REPORT_WORDS];
    Report { taken: Nanos(0), ..*report }.put(&mut Cursor::new(&mut words));
    words
}

impl Lived {
    fn note(&mut self, event: &Event) {
        self.now = self.now.max(event.received);
        match event.body {
            Body::Liquidation { .. } if self.concerns(event) => {
                self.events.push_back(*event);
                while self.events.front().is_some_and(|e| self.now.since(e.at()) > KEPT_NS) {
                    self.events.pop_front();
                }
            }
            Body::Feed { state, .. } => {
                self.feeds.retain(|(venue, line, ..)| (*venue, *line) != (event.venue, event.line));
                self.feeds.push((event.venue, event.line, state, event.received));
                self.feeds.sort_by_key(|(venue, line, ..)| (*venue, *line));
            }
            _ => {}
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        self.symbol == Symbol::MARKET || self.symbol == event.symbol
    }

    fn text(&mut self, run: u64, events: usize) -> String {
        let mut out = String::new();
        let Some(report) = self.report else { return out };
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, run, &report, events);
        out
    }

    fn write(
        &mut self,
        out: &mut String,
        run: u64,
        report: &Report,
        events: usize,
    ) -> std::fmt::Result {
        let level = report.level.name();
        writeln!(
            out,
            "signal {run}-{} {} {level} {}",
            report.seq,
            report.symbol,
            report.kind.name()
        )?;
        writeln!(out, "  {}", Sentence(report))?;
        writeln!(out, "  at {} ms, episode {}", report.at.millis(), report.episode)?;
        writeln!(
            out,
            "  probability {:.3}, evidence {:.3}, confidence {:.2}",
            report.probability, report.evidence, report.confidence
        )?;
        if let Some(engine) = &mut self.engine {
            conditions(out, engine, report)?;
        }
        windows(out, report)?;
        scores(out, report)?;
        surroundings(out, report)?;
        self.write_feeds(out, report)?;
        self.write_events(out, events)
    }

    fn write_feeds(&self, out: &mut String, report: &Report) -> std::fmt::Result {
        let names = |bits| venues_of(bits).collect::<Vec<_>>().join(" ");
        writeln!(out, "feeds: live {}, expected {}", names(report.live), names(report.expected))?;
        for (venue, line, state, since) in &self.feeds {
            let age = self.now.since(*since) as f64 / NS_PER_S as f64;
            writeln!(out, "  {}/{line} {} for {age:.1} s", venue.name(), state.name())?;
        }
        for (venue, n) in VENUES.into_iter().zip(report.by_venue).filter(|(_, n)| *n > 0) {
            writeln!(out, "  {} liquidated {n} in 10 s", venue.name())?;
        }
        if report.saturated {
            writeln!(out, "  sampled sources are at the limit of what they show")?;
        }
        if report.gap || self.missing > 0 {
            writeln!(out, "  events are missing; {} were never written", self.missing)?;
        }
        Ok(())
    }

    fn write_events(&self, out: &mut String, events: usize) -> std::fmt::Result {
        let shown = self.events.len().min(events);
        writeln!(out, "events: the last {shown} of {} in 300 s", self.events.len())?;
        for event in self.events.iter().skip(self.events.len() - shown) {
            let Body::Liquidation { side, price, usd } = event.body else { continue };
            let age = self.now.since(event.at()) as f64 / NS_PER_S as f64;
            let side = side.map_or("-", |side| side.name());
            let usd = usd.map_or(f64::NAN, |usd| usd.dollars());
            let price = price.map_or(f64::NAN, |price| price.get());
            let venue = event.venue.name();
            writeln!(
                out,
                "  -{age:.3} s {venue} {} {side} {usd:.0} USD at {price} {}",
                event.symbol,
                event.completeness.name()
            )?;
        }
        Ok(())
    }
}

fn conditions(out: &mut String, engine: &mut Engine, report: &Report) -> std::fmt::Result {
    writeln!(out, "evidence (0.3 WATCH, 0.5 ALERT, 0.7 CRITICAL, 0.9 EXTREME):")?;
    for condition in engine.conditions(report.symbol) {
        let score = condition.score;
        writeln!(out, "  {:<18} {:>14.2} -> {score:.3}", condition.name, condition.value)?;
    }
    if let Some(pressure) = report.pressure {
        writeln!(out, "  {:<18} {:>14} -> {pressure:.3}", "pressure", "")?;
    }
    writeln!(out, "  symbols in all: {}", engine.universe())
}

fn windows(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "windows: events, per second, USD")?;
    for (i, name) in WINDOW_NAMES.iter().enumerate() {
        let usd = report.value_velocity(i) * crate::signal::WINDOW_MS[i] as f64 / 1e3;
        let count = report.counts[i];
        writeln!(out, "  {name:>5} {count:>7} {:>9.2} {usd:>14.0}", report.velocity(i))?;
    }
    let (fast, slow) = (report.fast, report.slow);
    writeln!(
        out,
        "  acceleration {:.2}/s2 ({:.1} sd), jerk {:.2}/s3 ({:.1} sd) at 2 s; {:.3}/s2, {:.4}/s3 at 10 s",
        fast.acceleration,
        fast.acceleration_sd,
        fast.jerk,
        fast.jerk_sd,
        slow.acceleration,
        slow.jerk
    )?;
    writeln!(out, "  breadth {}, dispersion {}", report.breadth, report.dispersion)
}

fn scores(out: &mut String, report: &Report) -> std::fmt::Result {
    let shown = |score: Option<f64>| score.map_or("-".to_owned(), |score| format!("{score:.2}"));
    writeln!(out, "risk {:.1} {}: factors 0..100", report.risk, report.risk_level.name())?;
    for (name, score) in FACTOR_NAMES.iter().zip(report.factors) {
        writeln!(out, "  {name:<18} {:>8}", shown(score))?;
    }
    writeln!(out, "components 0..1, coverage {:.2}", report.coverage)?;
    for (name, score) in COMPONENT_NAMES.iter().zip(report.components) {
        writeln!(out, "  {name:<18} {:>8}", shown(score))?;
    }
    Ok(())
}

fn surroundings(out: &mut String, report: &Report) -> std::fmt::Result {
    let shown =
        |value: Option<f64>| value.map_or("not known".to_owned(), |value| value.to_string());
    writeln!(
        out,
        "regime {} {} {}: rungs of velocity x{}, of volume x{}",
        report.regime.name(),
        report.liquidity.name(),
        report.trend.name(),
        report.velocity_scale,
        report.volume_scale
    )?;
    writeln!(out, "  volatility {}, BTC {}", shown(report.volatility), shown(report.btc_price))?;
    writeln!(out, "  open interest {}, funding {}", shown(report.oi_change), shown(report.funding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_by_number_or_by_run_and_number() {
        assert_eq!("7".parse(), Ok(Name { run: None, seq: 7 }));
        assert_eq!("1700-7".parse(), Ok(Name { run: Some(1_700), seq: 7 }));
        assert!("x-7".parse::<Name>().is_err() && "".parse::<Name>().is_err());
    }
}
