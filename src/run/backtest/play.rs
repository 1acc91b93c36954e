//! One recording through the real engine: the same playback, ticks and resets as `replay`.
//!
//! What the engine reports and what the rules to beat say is noted at the same moments, from the same
//! events. The engine has two detectors: the row `MARKET`, and any row at all; each at every level.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::alarm::Alarms;
use super::moments::{Moment, Yardstick};
use super::prices::{Prices, Span, WARM_MS};
use super::rules::{RULES, Rules, SCALES};
use crate::engine::{Engine, Outbox, Settings};
use crate::event::{Body, Event, Flags};
use crate::ingest::intake::Intake;
use crate::ingest::playback::Playback;
use crate::ingest::recording::{self, Entry, Recording};
use crate::ring::ring;
use crate::signal::{Level, Report, RiskLevel, SLOW};
use crate::stage::{Stage, Turn};
use crate::symbol::Symbol;
use crate::time::{Nanos, Now};

/// Events further apart belong to different sessions, ms.
const SESSION_GAP_MS: i64 = 30 * 60_000;
/// Ticks go on for this long after a session, ms.
const TAIL_MS: i64 = 10_000;
const RING: usize = 4_096;

/// Levels from WATCH up.
pub const LEVELS: [Level; 4] = [Level::Watch, Level::Alert, Level::Critical, Level::Extreme];

/// The events of one file, and when there were any.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Name of its folder.
    pub name: String,
    entries: Vec<Entry>,
    /// First and last moment of each session, ms.
    pub sessions: Vec<Span>,
}

impl Dataset {
    /// Reads a recording whole.
    ///
    /// # Errors
    /// One line: the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut recording = recording::open(path)?;
        let shown = path.display();
        if recording.has_ticks() {
            return Err(format!(
                "{shown}: a journal has ticks of its own: give the events as CSV or raw lines"
            ));
        }
        let mut entries = Vec::new();
        while let Some(entry) = recording.next()? {
            entries.push(entry);
        }
        let sessions = sessions(&entries);
        if sessions.is_empty() {
            return Err(format!("{shown}: holds no event"));
        }
        Ok(Self { name: name(path), entries, sessions })
    }

    /// When prices are wanted: each session and the time before it, joined where they meet.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for &(from, until) in &self.sessions {
            let (from, until) = (from - WARM_MS, until + TAIL_MS);
            match spans.last_mut().filter(|last| from <= last.1) {
                Some(last) => last.1 = until,
                None => spans.push((from, until)),
            }
        }
        spans
    }

    /// Recorded time to play, ms.
    #[must_use]
    pub fn length_ms(&self) -> i64 {
        self.spans().iter().map(|(from, until)| until - from).sum()
    }
}

/// The folder of a file, or the file's own name without its endings.
fn name(path: &Path) -> String {
    let path: PathBuf = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let part = path.parent().and_then(Path::file_name).or(path.file_name());
    part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
}

fn sessions(entries: &[Entry]) -> Vec<Span> {
    let mut times: Vec<i64> = entries.iter().filter_map(Entry::at).map(Nanos::millis).collect();
    times.sort_unstable();
    let mut sessions: Vec<Span> = Vec::new();
    for at in times {
        match sessions.last_mut().filter(|last| at - last.1 <= SESSION_GAP_MS) {
            Some(last) => last.1 = at,
            None => sessions.push((at, at)),
        }
    }
    sessions
}

/// A recording in memory.
struct Kept(std::vec::IntoIter<Entry>);

impl Recording for Kept {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        Ok(self.0.next())
    }
}

/// A liquidation as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Print {
    /// When it was received, ms.
    pub at: i64,
    /// USD; 0 where unknown.
    pub usd: f64,
    /// Its price, if it is of the reference symbol.
    pub price: Option<f64>,
}

/// What the engine said of the watched row at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When, ms.
    pub at: i64,
    /// Liquidations per second over 10 s.
    pub velocity: f64,
    /// At 2 s, per second squared.
    pub acceleration: f64,
    /// At 2 s, per second cubed.
    pub jerk: f64,
    /// 0..100.
    pub risk: f64,
    /// 0..1.
    pub probability: f64,
}

/// Everything noted of one run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The row `MARKET`, by level.
    pub market: [Alarms; LEVELS.len()],
    /// Any row, by level.
    pub any: [Alarms; LEVELS.len()],
    /// The risk of `MARKET`, from HIGH on.
    pub risk: Alarms,
    /// The rules, by scale and rule.
    pub rules: [[Alarms; RULES.len()]; SCALES.len()],
    /// Every liquidation.
    pub prints: Vec<Print>,
    /// Reports of `MARKET` within the stretches that were asked for.
    pub samples: Vec<Sample>,
    /// Strongest evidence of `MARKET` in each second in which there was any; by second.
    pub seconds: BTreeMap<i64, f64>,
    /// What `MARKET` showed at each liquidation.
    pub moments: Vec<Moment>,
    /// Rows that were no event.
    pub refused: u64,
}

/// What to note besides alarms.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Stretches of which samples are kept.
    pub samples: Vec<Span>,
    /// Whether the evidence of each second is kept.
    pub seconds: bool,
    /// Moments are kept for the level that begins at this probability.
    pub moments: Option<f64>,
}

/// Plays `dataset` with `prices`; tells `progress` how many milliseconds were played, now and then.
///
/// # Errors
/// When a file of trades cannot be read.
pub fn play(
    dataset: &Dataset,
    prices: &Prices,
    settings: &Settings,
    wish: &Wish,
    progress: &mut dyn FnMut(i64),
) -> Result<Trace, String> {
    let (outlet, mut inlet) = ring(RING);
    let mut recordings = prices.recordings(&dataset.spans())?;
    recordings.push(Box::new(Kept(dataset.entries.clone().into_iter())));
    let mut playback = Playback::new(recordings, Intake::new(i64::MAX), outlet, None, None)?;
    let trouble = playback.trouble();
    let mut player = Player::new(settings, wish);
    loop {
        let turn = playback.turn(Now::default());
        while let Some(event) = inlet.pop() {
            player.take(&event);
        }
        progress(player.played);
        if turn == Turn::Done {
            break;
        }
    }
    if let Some(trouble) = trouble.get() {
        return Err(trouble.clone());
    }
    player.reset();
    player.trace.refused = refused(dataset);
    Ok(player.trace)
}

/// The engine and the rules, side by side.
struct Player<'a> {
    engine: Engine,
    outbox: Outbox,
    rules: Rules,
    wish: &'a Wish,
    trace: Trace,
    /// Rows that stand at each level.
    standing: [BTreeSet<Symbol>; LEVELS.len()],
    /// The last known evidence of `MARKET`.
    evidence: f64,
    yardstick: Option<Yardstick>,
    last: Nanos,
    played: i64,
}

impl<'a> Player<'a> {
    fn new(settings: &Settings, wish: &'a Wish) -> Self {
        Self {
            engine: Engine::new(settings),
            outbox: Outbox::new(),
            rules: Rules::default(),
            wish,
            trace: Trace::default(),
            standing: Default::default(),
            evidence: 0.0,
            yardstick: wish.moments.map(|bound| Yardstick::new(settings, bound)),
            last: Nanos::default(),
            played: 0,
        }
    }

    fn take(&mut self, event: &Event) {
        let is_news = match event.body {
            Body::Reset => self.reset(),
            Body::Liquidation { .. } => self.print(event),
            _ => self.rules.advance(event.received),
        };
        if is_news {
            self.note_rules(event.received.millis());
        }
        self.outbox.clear();
        self.engine.take(event, &mut self.outbox);
        if event.body != Body::Reset {
            let outbox = std::mem::take(&mut self.outbox);
            outbox.reports().iter().for_each(|report| self.report(report));
            self.outbox = outbox;
            self.played += event.received.millis() - self.last_millis(event);
        }
        self.last = event.received;
        self.note_second();
        if matches!(event.body, Body::Liquidation { .. }) {
            self.note_moment();
        }
    }

    fn last_millis(&self, event: &Event) -> i64 {
        if self.last == Nanos::default() { event.received.millis() } else { self.last.millis() }
    }

    /// Everything that stands ends with its session.
    fn reset(&mut self) -> bool {
        let at = self.last.millis();
        for (i, standing) in self.standing.iter_mut().enumerate() {
            standing.clear();
            self.trace.market[i].set(at, false);
            self.trace.any[i].set(at, false);
        }
        self.trace.rules.iter_mut().flatten().for_each(|alarms| alarms.set(at, false));
        self.rules = Rules::default();
        self.trace.risk.set(at, false);
        self.evidence = 0.0;
        false
    }

    /// Notes a liquidation; whether it counts.
    fn print(&mut self, event: &Event) -> bool {
        let Body::Liquidation { usd, price, .. } = event.body else { return false };
        if event.flags.has(Flags::BACKFILL.with(Flags::SNAPSHOT)) {
            return false;
        }
        let price = price.filter(|_| event.symbol == Symbol::BTC).map(|price| price.get());
        let usd = usd.map_or(0.0, |usd| usd.dollars());
        self.trace.prints.push(Print { at: event.received.millis(), usd, price });
        self.rules.hit(event.received, usd);
        true
    }

    fn note_rules(&mut self, at: i64) {
        for (alarms, scale) in self.trace.rules.iter_mut().zip(SCALES) {
            for (alarms, on) in alarms.iter_mut().zip(self.rules.alarms(scale)) {
                alarms.set(at, on);
            }
        }
    }

    fn note_second(&mut self) {
        if self.wish.seconds && self.evidence > 0.0 {
            let second = self.last.millis().div_euclid(1_000);
            let highest = self.trace.seconds.entry(second).or_default();
            *highest = highest.max(self.evidence);
        }
    }

    fn note_moment(&mut self) {
        let Some(yardstick) = &self.yardstick else { return };
        let conditions = self.engine.conditions(Symbol::MARKET);
        let factors = self.engine.factors(Symbol::MARKET);
        self.trace.moments.push(yardstick.measure(self.last.millis(), &conditions, factors));
    }

    fn report(&mut self, report: &Report) {
        let at = report.at.millis();
        let is_market = report.symbol == Symbol::MARKET;
        for (i, level) in LEVELS.into_iter().enumerate() {
            let stands = report.level >= level;
            let standing = &mut self.standing[i];
            if stands {
                standing.insert(report.symbol);
            } else {
                standing.remove(&report.symbol);
            }
            self.trace.any[i].set(at, !standing.is_empty());
            if is_market {
                self.trace.market[i].set(at, stands);
            }
        }
        if is_market {
            self.trace.risk.set(at, report.risk_level >= RiskLevel::High);
            self.evidence = report.evidence;
            self.sample(at, report);
        }
    }

    fn sample(&mut self, at: i64, report: &Report) {
        if self.wish.samples.iter().any(|&(from, until)| (from..=until).contains(&at)) {
            self.trace.samples.push(Sample {
                at,
                velocity: report.velocity(SLOW),
                acceleration: report.fast.acceleration,
                jerk: report.fast.jerk,
                risk: report.risk,
                probability: report.probability,
            });
        }
    }
}

fn refused(dataset: &Dataset) -> u64 {
    dataset.entries.iter().filter(|entry| matches!(entry, Entry::Refused(_))).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Entry {
        Entry::Event(Event::tick(Nanos::from_millis(ms)))
    }

    #[test]
    fn a_gap_of_more_than_half_an_hour_parts_sessions() {
        let entries = [at(1), Entry::Refused("x"), at(1_800_001), at(3_600_002), at(3_600_003)];
        assert_eq!(sessions(&entries), [(1, 1_800_001), (3_600_002, 3_600_003)]);
    }

    #[test]
    fn prices_are_wanted_once_where_sessions_are_near() {
        let sessions =
            vec![(10_000_000, 10_100_000), (12_000_000, 12_100_000), (90_000_000, 90_000_001)];
        let dataset = Dataset { name: String::new(), entries: Vec::new(), sessions };
        let expected = [
            (10_000_000 - WARM_MS, 12_100_000 + TAIL_MS),
            (90_000_000 - WARM_MS, 90_000_001 + TAIL_MS),
        ];
        assert_eq!(dataset.spans(), expected);
    }
}
