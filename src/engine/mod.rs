//! From events to reports. Arithmetic only: no clock, no I/O, no lock, no allocation after start.
//!
//! [`Engine::take`] is a function of the engine's state and one event: the same events give the same
//! reports, whoever gives the turns. Time is the latest receive time seen; ticks are events. In the
//! order in which an event passes: [`grid`] finds its buckets, [`symbols`] its row, [`row`] counts it
//! in [`window`]s and, by the second, on [`wheel`]s; [`past`] says what is usual, [`minute`] and
//! [`majors`] what lasts, [`evidence`] how far that is from usual, [`calibration`] how probable a
//! cascade is, and [`signal`] which level that makes. What is reported besides, [`kinematics`] makes
//! of counts, and [`factor`] and [`risk`] of motion. `world` brings them together. [`regime`],
//! [`quotes`] and [`pressure`] know what surrounds it, [`feeds`] who can be heard, [`delay`] what
//! comes late. [`queue`] holds the rows that still move, [`stage`] is the engine between its two
//! doors.
//!
//! # What is said, and when
//! A row is looked at on each of its liquidations, and every [`Settings::state_ms`] while it still
//! decays (once a second when only its windows of 30 s and more do). A look says: `Change`, when the
//! level changes; `Heartbeat`, while it stands; `State`, when the counts differ from what was last
//! said. One event leads to at most [`Outbox::ROOM`] reports; rows that must wait are first in line
//! at the next event. A row's last state is all zeros.

pub mod settings;
pub mod grid;
pub mod symbols;
pub mod window;
pub mod seconds;
pub mod quotes;
pub mod row;
pub mod wheel;
pub mod past;
pub mod minute;
pub mod majors;
pub mod kinematics;
pub mod factor;
pub mod risk;
pub mod regime;
pub mod feeds;
pub mod delay;
pub mod pressure;
pub mod evidence;
pub mod calibration;
pub mod signal;
mod world;
pub mod queue;
pub mod stage;

pub use settings::Settings;
pub use stage::EngineStage;

use arrayvec::ArrayVec;

use self::evidence::Condition;
use self::majors::MAJORS;
use self::queue::Queue;
use self::regime::Reference;
use self::row::{Hit, Row};
use self::symbols::{MARKET, OTHER, Symbols};
use self::world::{CONDITIONS, Verdict, World};
use crate::event::{Body, Event, Flags, Usd};
use crate::ledger::Tally;
use crate::signal::{FACTOR_COUNT, FAST, Kind, Level, Report};
use crate::symbol::Symbol;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// Rows looked at for one event, at most; and rows asked whether it is time.
const LOOKS: usize = 256;
const PASSES: usize = 1_024;

/// What one event led to.
#[derive(Debug)]
pub struct Outbox {
    reports: Box<[Report]>,
    len: usize,
}

impl Outbox {
    /// Reports one event can lead to.
    pub const ROOM: usize = 16;

    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let empty = Report::empty(Symbol::NONE, Nanos(0));
        Self { reports: std::iter::repeat_n(empty, Self::ROOM).collect(), len: 0 }
    }

    /// The reports, in the order they were made.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        self.reports.get(..self.len).unwrap_or(&[])
    }

    /// Takes the reports out.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    fn room(&self) -> usize {
        Self::ROOM - self.len
    }

    fn push(&mut self, report: Report) {
        if let Some(slot) = self.reports.get_mut(self.len) {
            *slot = report;
            self.len += 1;
        }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    rows: Box<[Row]>,
    symbols: Symbols,
    queue: Queue,
    world: World,
}

impl Engine {
    /// An engine that knows nothing yet; everything it will ever need is allocated here. The
    /// settings have passed [`Settings::check`]; the number of rows is kept within its limits even
    /// so.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let rows = settings.max_symbols.clamp(3, settings::SYMBOLS_MAX);
        Self {
            rows: (0..rows).map(|_| Row::new()).collect(),
            symbols: Symbols::new(rows),
            queue: Queue::new(rows),
            world: World::new(settings),
        }
    }

    /// Takes one event, and adds what it leads to to `out`, which is empty.
    pub fn take(&mut self, event: &Event, out: &mut Outbox) {
        self.pass(event, out);
        if self.world.relived {
            // What was to be said of it was said when it happened.
            out.clear();
        }
    }

    #[inline]
    fn pass(&mut self, event: &Event, out: &mut Outbox) {
        self.world.begin(event);
        match event.body {
            Body::Reset => self.reset(event.received, out),
            // Whoever hands in the event has handed in the settings as well.
            Body::Tick | Body::Tuned { .. } => {}
            Body::Resume { seq, episode } => {
                self.world.given = seq.saturating_sub(self.made());
                (self.world.seq, self.world.episode) = (seq, episode);
            }
            Body::Feed { state, .. } => {
                self.world.feeds.state(event.venue, event.line, state);
            }
            Body::Stood { level, episode } => self.stood(event.symbol, level, episode),
            Body::Liquidation { usd, .. } => {
                self.world.feeds.heard(event.venue);
                self.liquidation(event, usd, out);
            }
            _ => self.surrounding(event),
        }
        self.look_again(out);
    }

    /// Judges by other settings from here on, which have passed [`Settings::check`]. What was counted and
    /// what was said stays. The number of rows stays too: they were made at the start.
    pub fn tune(&mut self, settings: &Settings) {
        let max_symbols = self.world.settings.max_symbols;
        self.world.tune(&Settings { max_symbols, ..*settings });
    }

    /// The latest moment anything was received.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.world.grid.now
    }

    /// Number of the last signal.
    #[must_use]
    pub fn signals(&self) -> u64 {
        self.world.seq
    }

    /// Signals made so far, those of earlier runs left out.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.world.seq - self.world.given
    }

    /// The conditions that evidence about `symbol` rests on now; none where it has no row.
    #[must_use]
    pub fn conditions(&mut self, symbol: Symbol) -> ArrayVec<Condition, CONDITIONS> {
        let row = if symbol == Symbol::MARKET { MARKET } else { self.symbols.row(symbol) };
        self.rows[row].advance(&self.world.grid, self.world.watch());
        self.world.conditions(&self.rows[row], row == MARKET)
    }

    /// The scores of the risk factors of `symbol` now; of nothing where it has no row.
    #[must_use]
    pub fn factors(&mut self, symbol: Symbol) -> [Option<f64>; FACTOR_COUNT] {
        let row = if symbol == Symbol::MARKET { MARKET } else { self.symbols.row(symbol) };
        self.rows[row].advance(&self.world.grid, self.world.watch());
        self.world.judge(&self.rows[row], row == MARKET).factors
    }

    /// Symbols that were liquidated since the last reset.
    #[must_use]
    pub fn universe(&self) -> usize {
        self.world.universe
    }

    /// What was counted besides.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.world.tally
    }

    /// Rows in use, `MARKET` and `OTHER` included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.symbols.used()
    }

    /// The reference market.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.world.reference
    }

    /// Takes over a level that others were told.
    #[cold]
    fn stood(&mut self, symbol: Symbol, level: Level, episode: u64) {
        let row = if symbol == Symbol::MARKET { MARKET } else { self.symbols.row(symbol) };
        if row == OTHER && symbol != Symbol::OTHER {
            return;
        }
        let standing = &mut self.rows[row].standing;
        (standing.level, standing.episode) = (level, episode);
        standing.spoken = self.world.grid.now;
        self.enqueue(row);
    }

    fn liquidation(&mut self, event: &Event, usd: Option<Usd>, out: &mut Outbox) {
        // A suspicion is told and not counted: it may be a vault trading out of what it took over.
        if event.flags.has(Flags::BACKFILL.with(Flags::SNAPSHOT).with(Flags::SUSPECTED)) {
            self.world.tally.add("kept_out_of_rates", 1);
            return;
        }
        self.world.feeds.shown.note(event.venue, event.completeness);
        let row = self.symbols.row(event.symbol);
        if row == OTHER {
            self.world.tally.add("other_symbols", 1);
        }
        let at = self.world.place(event);
        self.rows[MARKET].advance(&self.world.grid, self.world.watch());
        let (quotes, so_far) = (&self.rows[row].quotes, self.rows[MARKET].usd());
        let usd = usd.filter(|usd| self.world.believes(event, *usd, quotes, so_far));
        let hit = Hit { at, places: self.world.grid.places(at), usd };
        if !self.rows[MARKET].put(event, &hit) {
            self.world.tally.add("late", 1);
            return;
        }
        self.rows[MARKET].weigh(event.completeness, &self.world.settings.completeness);
        let own = &mut self.rows[row];
        own.advance(&self.world.grid, self.world.watch());
        own.put(event, &hit);
        own.weigh(event.completeness, &self.world.settings.completeness);
        self.world.universe = self.symbols.used() - OTHER - 1;
        self.world.majors.put(event.symbol, at.0 / NS_PER_S, usd.map_or(0, Usd::micros));
        self.world.breadth.see(&mut own.seen, hit.places[FAST]);
        for row in [row, MARKET] {
            self.look(row, out);
            self.enqueue(row);
        }
    }

    fn surrounding(&mut self, event: &Event) {
        if event.flags.has(Flags::BACKFILL) {
            self.world.tally.add("kept_out_of_rates", 1);
            return;
        }
        self.world.feeds.heard(event.venue);
        if event.flags.has(Flags::OUTLIER) {
            return;
        }
        let row = self.symbols.row(event.symbol);
        if row != OTHER {
            self.rows[row].quotes.take(event);
        }
        if MAJORS.contains(&event.symbol) {
            self.world.pressure.take(event, &self.world.grid);
            self.enqueue(MARKET);
        }
        if event.symbol == Symbol::BTC {
            self.rows[MARKET].quotes.take(event);
            self.world.reference.take(event);
        }
    }

    /// Forgets everything but what numbers signals, episodes and events. What stands is ended.
    #[cold]
    #[inline(never)]
    fn reset(&mut self, at: Nanos, out: &mut Outbox) {
        self.world.clear(at);
        self.queue.clear();
        for (i, row) in self.rows.iter_mut().enumerate().take(self.symbols.used()) {
            let standing = row.standing;
            *row = Row::new();
            if standing.level != Level::None && out.room() > 0 {
                row.standing.episode = standing.episode;
                let verdict = self.world.judge(row, i == MARKET);
                out.push(self.world.signal(row, self.symbols.name(i), &verdict, Kind::Change));
                row.standing.episode = 0;
            } else if standing.level != Level::None {
                self.world.tally.add("episodes_cut", 1);
            }
        }
        self.symbols.clear();
    }

    fn enqueue(&mut self, row: usize) {
        let waiting = &mut self.rows[row];
        if !waiting.queued {
            waiting.queued = true;
            waiting.due = self.world.grid.now.plus(self.world.state_ns());
            if row != MARKET {
                self.queue.push(row);
            }
        }
    }

    /// Looks at the rows that are due, as far as there is room for what they may say. The market does
    /// not wait in line behind hundreds of symbols.
    fn look_again(&mut self, out: &mut Outbox) {
        let mut looks = 0;
        let market = &self.rows[MARKET];
        if market.queued && market.due <= self.world.grid.now && out.room() >= 2 {
            self.look_once_more(MARKET, out);
        }
        for _ in 0..PASSES {
            let Some(i) = self.queue.first() else { return };
            let row = &self.rows[i];
            if row.due > self.world.grid.now || out.room() < 2 || looks == LOOKS {
                return;
            }
            self.queue.pop();
            looks += usize::from(self.look_once_more(i, out));
        }
    }

    /// Looks at a row that is due, if it is time; lets it wait again unless it has ended.
    fn look_once_more(&mut self, i: usize, out: &mut Outbox) -> bool {
        let row = &mut self.rows[i];
        row.queued = false;
        let is_time = self.world.is_time(row, i == MARKET);
        if is_time {
            row.advance(&self.world.grid, self.world.watch());
            self.look(i, out);
        }
        if !self.rows[i].has_ended() {
            self.enqueue(i);
        }
        is_time
    }

    /// Judges a row that has been moved on to the present, and says what is to be said. Most of what
    /// is reported is worked out only where something may be.
    fn look(&mut self, i: usize, out: &mut Outbox) {
        let row = &self.rows[i];
        let now = self.world.grid.now;
        if row.said_at == Nanos(0) || now.since(row.said_at) >= self.world.state_ns() {
            let verdict = self.world.judge(row, i == MARKET);
            if let Some((level, kind)) = self.decide(i, verdict.probability) {
                self.speak(i, level, kind, &verdict, out);
            }
            self.state(i, &verdict, out);
        } else {
            let probability = self.world.probability(row, i == MARKET);
            self.rows[i].looked = now;
            let decided = probability.and_then(|probability| self.decide(i, probability));
            if let Some((level, kind)) = decided {
                let verdict = self.world.judge(&self.rows[i], i == MARKET);
                self.speak(i, level, kind, &verdict, out);
            }
        }
    }

    /// The level that follows, and whether that is to be said.
    #[inline]
    fn decide(&mut self, i: usize, probability: f64) -> Option<(Level, Kind)> {
        let (row, now, settings) = (&mut self.rows[i], self.world.grid.now, &self.world.settings);
        row.looked = now;
        if self.world.relived {
            return None;
        }
        let before = row.standing.level;
        let next = row.standing.next(probability, now, &settings.levels);
        if next != before {
            return Some((next, Kind::Change));
        }
        let is_repeated = before != Level::None
            && now.since(row.standing.spoken) >= settings.heartbeat_ms * NS_PER_MS;
        is_repeated.then_some((next, Kind::Heartbeat))
    }

    #[inline(never)]
    fn speak(&mut self, i: usize, level: Level, kind: Kind, verdict: &Verdict, out: &mut Outbox) {
        let (row, name) = (&mut self.rows[i], self.symbols.name(i));
        if row.standing.level == Level::None {
            self.world.episode += 1;
            row.standing.episode = self.world.episode;
        }
        row.standing.level = level;
        out.push(self.world.signal(row, name, verdict, kind));
        if level == Level::None {
            row.standing.episode = 0;
        }
    }

    #[inline(never)]
    fn state(&mut self, i: usize, verdict: &Verdict, out: &mut Outbox) {
        let (row, name) = (&mut self.rows[i], self.symbols.name(i));
        let reading = row.read(&self.world.grid);
        if reading != row.said {
            out.push(self.world.report(row, name, verdict, Kind::State));
            row.said = reading;
            row.said_at = self.world.grid.now;
        }
    }
}
