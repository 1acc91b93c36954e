//! From events to reports. Arithmetic only: no clock, no I/O, no lock, no allocation after start.
//!
//! [`Engine::take`] is a function of the engine's state and one event: the same events give the same
//! reports, whoever gives the turns. Time is the latest receive time seen; ticks are events. In the
//! order in which an event passes: [`grid`] finds its buckets, [`symbols`] its row, [`row`] counts it
//! in [`window`]s and [`seconds`]; [`kinematics`] makes motion of counts, [`factor`] and [`risk`]
//! scores of motion, [`signal`] a probability and a level. [`regime`] and [`quotes`] know what
//! surrounds it, [`feeds`] who can be heard. [`queue`] holds the rows that still move, [`stage`] is
//! the engine between its two doors.
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
pub mod kinematics;
pub mod factor;
pub mod risk;
pub mod regime;
pub mod feeds;
pub mod signal;
pub mod queue;
pub mod stage;

pub use settings::Settings;
pub use stage::EngineStage;

use self::factor::{Gate, scales, scores};
use self::feeds::Feeds;
use self::grid::{Grid, places};
use self::kinematics::motion;
use self::queue::Queue;
use self::regime::Reference;
use self::row::{Hit, MINUTE, Reading, Row};
use self::seconds::Watch;
use self::signal::{Surroundings, components, probability};
use self::symbols::{MARKET, OTHER, Symbols};
use self::window::Window;
use crate::event::{Body, Event, Flags};
use crate::ledger::Tally;
use crate::signal::{COMPONENT_COUNT, FACTOR_COUNT, FAST, Kind, Level, Report, SLOW, WINDOW_MS};
use crate::symbol::Symbol;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// Rows looked at for one event, at most; and rows asked whether it is time.
const LOOKS: usize = 256;
const PASSES: usize = 1_024;
/// A row that only decays slowly is looked at this often.
const SLOW_LOOK_NS: u64 = NS_PER_S;
/// How long known missing events cast a doubt.
const GAP_NS: u64 = 300 * NS_PER_S;
/// A window's money may fill this share of its integer, so that no sum ever overflows.
const MONEY_MAX: u64 = u64::MAX / 4;

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
        self.world.begin(event);
        match event.body {
            Body::Reset => self.reset(event.received, out),
            Body::Tick => {}
            Body::Feed { state, .. } => {
                self.world.feeds.state(event.venue, event.line, state);
            }
            Body::Liquidation { usd, .. } => {
                self.world.feeds.heard(event.venue);
                self.liquidation(event, usd, out);
            }
            _ => self.surrounding(event),
        }
        self.look_again(out);
    }

    /// Signals made so far.
    #[must_use]
    pub fn signals(&self) -> u64 {
        self.world.seq
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

    fn liquidation(&mut self, event: &Event, usd: Option<crate::event::Usd>, out: &mut Outbox) {
        if event.flags.has(Flags::BACKFILL.with(Flags::SNAPSHOT)) {
            self.world.tally.add("kept_out_of_rates", 1);
            return;
        }
        let row = self.symbols.row(event.symbol);
        if row == OTHER {
            self.world.tally.add("other_symbols", 1);
        }
        let at = event.at();
        self.rows[MARKET].advance(&self.world.grid, self.world.watch());
        let usd = usd.filter(|usd| self.world.believes(event, *usd, self.rows[MARKET].usd()));
        let hit = Hit { at, places: places(at), usd };
        if !self.rows[MARKET].put(event, &hit) {
            self.world.tally.add("late", 1);
            return;
        }
        let own = &mut self.rows[row];
        own.advance(&self.world.grid, self.world.watch());
        own.put(event, &hit);
        own.weigh(event.completeness, &self.world.settings.completeness);
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
        if event.symbol == Symbol::BTC {
            self.rows[MARKET].quotes.take(event);
            self.world.reference.take(event);
        }
    }

    /// Forgets everything but what numbers signals, episodes and events. What stands is ended.
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
            self.queue.push(row);
        }
    }

    /// Looks at the rows that are due, as far as there is room for what they may say.
    fn look_again(&mut self, out: &mut Outbox) {
        let mut looks = 0;
        for _ in 0..PASSES {
            let Some(i) = self.queue.first() else { return };
            let row = &mut self.rows[i];
            if row.due > self.world.grid.now || out.room() < 2 || looks == LOOKS {
                return;
            }
            self.queue.pop();
            row.queued = false;
            if self.world.is_time(row) {
                looks += 1;
                row.advance(&self.world.grid, self.world.watch());
                self.look(i, out);
            }
            if !self.rows[i].has_ended() {
                self.enqueue(i);
            }
        }
    }

    /// Judges a row that has been moved on to the present, and says what is to be said.
    fn look(&mut self, i: usize, out: &mut Outbox) {
        let (row, name) = (&mut self.rows[i], self.symbols.name(i));
        let verdict = self.world.judge(row, i == MARKET);
        let now = self.world.grid.now;
        row.looked = now;
        let before = row.standing.level;
        let next = row.standing.next(verdict.probability, now, &self.world.settings.levels);
        if next != before {
            if before == Level::None {
                self.world.episode += 1;
                row.standing.episode = self.world.episode;
            }
            row.standing.level = next;
            out.push(self.world.signal(row, name, &verdict, Kind::Change));
            if next == Level::None {
                row.standing.episode = 0;
            }
        } else if before != Level::None
            && now.since(row.standing.spoken) >= self.world.settings.heartbeat_ms * NS_PER_MS
        {
            out.push(self.world.signal(row, name, &verdict, Kind::Heartbeat));
        }
        let is_new = verdict.reading != row.said;
        if is_new && (row.said_at == Nanos(0) || now.since(row.said_at) >= self.world.state_ns()) {
            out.push(self.world.report(row, name, &verdict, Kind::State));
            row.said = verdict.reading;
            row.said_at = now;
        }
    }
}

/// All that rows share.
#[derive(Debug)]
struct World {
    settings: Settings,
    risk_weights: [f64; FACTOR_COUNT],
    signal_weights: [f64; COMPONENT_COUNT],
    grid: Grid,
    reference: Reference,
    feeds: Feeds,
    breadth: Breadth,
    /// The second since which the engine has been listening; 0 before the first event.
    since: u64,
    gap_until: Nanos,
    /// Ordinal of the event in hand.
    ordinal: u64,
    /// When it was received.
    received: Nanos,
    seq: u64,
    episode: u64,
    tally: Tally,
}

/// What a look at a row found.
#[derive(Debug)]
struct Verdict {
    reading: Reading,
    breadth: u32,
    factors: [Option<f64>; FACTOR_COUNT],
    components: [Option<f64>; COMPONENT_COUNT],
    probability: f64,
    /// Share of the components' weight that is there.
    share: f64,
    scales: (f64, f64),
}

impl World {
    fn new(settings: &Settings) -> Self {
        Self {
            risk_weights: settings.risk.factors().map(|factor| factor.weight),
            signal_weights: settings.signal.weights(),
            settings: settings.clone(),
            grid: Grid::at(Nanos(0)),
            reference: Reference::new(&settings.regime),
            feeds: Feeds::default(),
            breadth: Breadth::default(),
            since: 0,
            gap_until: Nanos(0),
            ordinal: 0,
            received: Nanos(0),
            seq: 0,
            episode: 0,
            tally: Tally::default(),
        }
    }

    fn clear(&mut self, at: Nanos) {
        self.grid = Grid::at(at);
        self.reference.clear();
        self.feeds = Feeds::default();
        self.breadth = Breadth::default();
        self.since = at.0 / NS_PER_S;
        self.gap_until = Nanos(0);
    }

    /// The event in hand moves time.
    fn begin(&mut self, event: &Event) {
        self.ordinal += 1;
        self.received = event.received;
        self.grid.advance(event.received);
        if self.since == 0 {
            self.since = self.grid.now.0 / NS_PER_S;
        }
        self.reference.advance(self.grid.now);
        self.breadth.0.advance(self.grid.places[FAST]);
        if event.flags.has(Flags::GAP) {
            self.gap_until = self.grid.now.plus(GAP_NS);
        }
    }

    fn watch(&self) -> Watch<'_> {
        Watch { rhythm: &self.settings.rhythm, live: self.feeds.live, since: self.since }
    }

    fn state_ns(&self) -> u64 {
        self.settings.state_ms * NS_PER_MS
    }

    /// Whether the event's value counts; the event itself does in any case.
    fn believes(&mut self, event: &Event, usd: crate::event::Usd, so_far: u64) -> bool {
        if event.flags.has(Flags::OUTLIER) {
            self.tally.add("outliers", 1);
            return false;
        }
        if usd.micros() > MONEY_MAX - so_far.min(MONEY_MAX) {
            self.tally.add("money_beyond_counting", 1);
            return false;
        }
        true
    }

    /// Whether a row that was due is to be looked at now: one that decays slowly is, less often.
    fn is_time(&self, row: &Row) -> bool {
        !row.is_slow() || self.grid.now.since(row.looked) >= SLOW_LOOK_NS
    }

    fn judge(&self, row: &Row, is_market: bool) -> Verdict {
        let reading = row.read(&self.grid);
        let settings = &self.settings;
        let breadth = if is_market {
            self.breadth.read(&self.grid)
        } else {
            u32::from(reading.now[FAST].events > 0)
        };
        let scales_now = self.reference.scales();
        let (dispersion, least) = if is_market {
            (settings.market.dispersion, settings.market.breadth)
        } else {
            (settings.dispersion, 0)
        };
        let gate = Gate { dispersion, breadth: least, symbols: breadth };
        let factors = if self.feeds.live == 0 {
            [None; FACTOR_COUNT]
        } else {
            scores(
                row,
                &reading,
                settings,
                scales(settings, is_market, row.shown, scales_now),
                gate,
            )
        };
        let around = Surroundings {
            oi_change: row.quotes.oi_change,
            funding: row.quotes.funding,
            volatility: self.reference.volatility,
        };
        let components = components(&factors, around, settings);
        let (probability, share) = probability(&components, &self.signal_weights);
        Verdict { reading, breadth, factors, components, probability, share, scales: scales_now }
    }

    /// A numbered signal.
    fn signal(&mut self, row: &mut Row, name: Symbol, verdict: &Verdict, kind: Kind) -> Report {
        self.seq += 1;
        row.standing.spoken = self.grid.now;
        Report { seq: self.seq, ..self.report(row, name, verdict, kind) }
    }

    fn report(&self, row: &Row, name: Symbol, verdict: &Verdict, kind: Kind) -> Report {
        let reading = &verdict.reading;
        let (risk, _) = risk::risk(&verdict.factors, &self.risk_weights);
        let coverage = verdict.share * self.feeds.share();
        let arrivals = reading.now[MINUTE].arrivals;
        let (velocity_scale, volume_scale) = verdict.scales;
        Report {
            kind,
            episode: row.standing.episode,
            cause: self.ordinal,
            received: self.received,
            counts: reading.now.map(|load| load.events),
            usd: reading.now.map(|load| load.usd),
            fast: motion(
                reading.fast.map(|load| load.events),
                reading.fast.map(|load| load.usd),
                WINDOW_MS[FAST] as f64 / 1e3,
            ),
            slow: motion(
                reading.slow.map(|load| load.events),
                reading.slow.map(|load| load.usd),
                WINDOW_MS[SLOW] as f64 / 1e3,
            ),
            imbalance: row.imbalance(&self.grid),
            breadth: verdict.breadth,
            dispersion: reading.now[FAST].arrivals,
            clustering: row.seconds.clustering,
            correlation: row.seconds.correlation,
            factors: verdict.factors,
            risk,
            risk_level: risk::level(risk, &self.settings.risk.levels),
            confidence: risk::confidence(&verdict.factors, &self.risk_weights, arrivals, coverage),
            components: verdict.components,
            probability: verdict.probability,
            level: row.standing.level,
            regime: self.reference.regime,
            liquidity: self.reference.liquidity,
            trend: self.reference.trend,
            regime_since: self.reference.since,
            volatility: self.reference.volatility,
            velocity_scale,
            volume_scale,
            btc_price: self.reference.price,
            price: row.quotes.price,
            oi_change: row.quotes.oi_change,
            funding: row.quotes.funding,
            by_venue: row.seconds.by_venue(),
            live: self.feeds.live,
            expected: self.feeds.expected,
            gap: self.grid.now < self.gap_until,
            coverage,
            ..Report::empty(name, self.grid.now)
        }
    }
}

/// Symbols seen in 2 s, each counted in the bucket it was last seen in.
#[derive(Debug, Default)]
struct Breadth(Window<u32, 1>);

impl Breadth {
    /// A symbol that was last seen in bucket `seen` is seen in bucket `place`.
    fn see(&mut self, seen: &mut u64, place: u64) {
        if place > *seen {
            self.0.take_back(*seen, 1);
            self.0.put(place, 1);
            *seen = place;
        }
    }

    fn read(&self, grid: &Grid) -> u32 {
        let [symbols] = self.0.read(grid.rest[FAST]);
        symbols
    }
}
