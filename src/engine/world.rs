//! What all rows share, and how a row is judged in its light.

use arrayvec::ArrayVec;

use super::calibration::calibrated;
use super::delay::Delays;
use super::evidence::{
    Condition, HINT, Signs, hint, lasting, of_market, of_symbol, sustained, wide,
};
use super::factor::{Gate, scales, scores};
use super::feeds::Feeds;
use super::grid::Grid;
use super::kinematics::motion;
use super::majors::Majors;
use super::minute;
use super::pressure::Pressure;
use super::regime::Reference;
use super::risk;
use super::row::{MINUTE, Row, View};
use super::seconds::Watch;
use super::settings::Settings;
use super::signal::{Surroundings, components, context, weighed};
use super::window::Window;
use crate::event::{Event, Flags, Usd};
use crate::ledger::Tally;
use crate::signal::{COMPONENT_COUNT, FACTOR_COUNT, FAST, Kind, Level, Report, SLOW, WINDOW_MS};
use crate::symbol::Symbol;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// How long known missing events cast a doubt.
const GAP_NS: u64 = 300 * NS_PER_S;
/// A window's money may fill this share of its integer, so that no sum ever overflows.
const MONEY_MAX: u64 = u64::MAX / 4;
/// A row that only decays slowly is looked at this often.
const SLOW_LOOK_NS: u64 = NS_PER_S;

/// Conditions of one row, at most.
pub const CONDITIONS: usize = 6;
/// Evidence from which risk may be HIGH.
const HINTED: f64 = 0.3;
/// Seconds that the three windows of 2 s take.
const LAGS_S: u64 = 6;
/// Seconds of 10 in which a sampled source shows a symbol that is at its limit.
const SATURATED: u32 = 6;
/// A row whose sources show less than this is sampled.
const FULL: f64 = 0.75;

/// All that rows share.
#[derive(Debug)]
pub struct World {
    pub settings: Settings,
    risk_weights: [f64; FACTOR_COUNT],
    signal_weights: [f64; COMPONENT_COUNT],
    pub grid: Grid,
    pub reference: Reference,
    pub feeds: Feeds,
    pub breadth: Breadth,
    pub majors: Majors,
    pub pressure: Pressure,
    delays: Delays,
    /// Symbols that were ever liquidated.
    pub universe: usize,
    /// The second since which the engine has been listening; 0 before the first event.
    since: u64,
    gap_until: Nanos,
    /// Ordinal of the event in hand.
    ordinal: u64,
    /// When it was received.
    received: Nanos,
    pub seq: u64,
    pub episode: u64,
    pub tally: Tally,
}

/// What a look at a row found.
#[derive(Debug)]
pub struct Verdict {
    breadth: u32,
    factors: [Option<f64>; FACTOR_COUNT],
    components: [Option<f64>; COMPONENT_COUNT],
    /// Strength of the evidence, 0..1.
    raw: f64,
    pub probability: f64,
    significance: Option<f64>,
    pressure: Option<f64>,
    /// Share of the components' weight that is there.
    share: f64,
    scales: (f64, f64),
}

impl World {
    pub fn new(settings: &Settings) -> Self {
        Self {
            risk_weights: settings.risk.factors().map(|factor| factor.weight),
            signal_weights: settings.signal.weights(),
            settings: settings.clone(),
            grid: Grid::at(Nanos(0)),
            reference: Reference::new(&settings.regime),
            feeds: Feeds::default(),
            breadth: Breadth::default(),
            majors: Majors::default(),
            pressure: Pressure::default(),
            delays: Delays::default(),
            universe: 0,
            since: 0,
            gap_until: Nanos(0),
            ordinal: 0,
            received: Nanos(0),
            seq: 0,
            episode: 0,
            tally: Tally::default(),
        }
    }

    pub fn clear(&mut self, at: Nanos) {
        self.grid = Grid::at(at);
        self.reference.clear();
        self.feeds = Feeds::default();
        self.breadth = Breadth::default();
        self.majors = Majors::default();
        self.pressure = Pressure::default();
        self.delays = Delays::default();
        self.universe = 0;
        self.since = at.0 / NS_PER_S;
        self.gap_until = Nanos(0);
    }

    /// The event in hand moves time.
    pub fn begin(&mut self, event: &Event) {
        self.ordinal += 1;
        self.received = event.received;
        self.grid.advance(event.received);
        if self.since == 0 {
            self.since = self.grid.second;
        }
        self.reference.advance(self.grid.now);
        self.breadth.0.advance(self.grid.places[FAST]);
        self.majors.advance(self.grid.now.0 / NS_PER_S, self.since);
        self.pressure.advance(&self.grid);
        if event.flags.has(Flags::GAP) {
            self.gap_until = self.grid.now.plus(GAP_NS);
        }
    }

    pub fn watch(&self) -> Watch<'_> {
        Watch { rhythm: &self.settings.rhythm, live: self.feeds.live, since: self.since }
    }

    pub fn state_ns(&self) -> u64 {
        self.settings.state_ms * NS_PER_MS
    }

    /// When the event counts.
    pub fn place(&mut self, event: &Event) -> Nanos {
        let (at, late) = self.delays.place(event);
        if late {
            self.tally.add("moved_back", 1);
        }
        at
    }

    /// Whether the event's value counts; the event itself does in any case.
    pub fn believes(&mut self, event: &Event, usd: Usd, so_far: u64) -> bool {
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
    pub fn is_time(&self, row: &Row, is_market: bool) -> bool {
        let is_slow = row.is_slow() && !(is_market && self.pressure.is_alive());
        !is_slow || self.grid.now.since(row.looked) >= SLOW_LOOK_NS
    }

    /// What decides the level, and nothing else: the parts of a verdict that do not lead to its
    /// probability fall away when it is compiled in here.
    pub fn probability(&self, row: &Row, is_market: bool) -> f64 {
        self.weigh(row, is_market).probability
    }

    /// Everything that is found.
    #[inline(never)]
    pub fn judge(&self, row: &Row, is_market: bool) -> Verdict {
        self.weigh(row, is_market)
    }

    #[inline(always)]
    fn weigh(&self, row: &Row, is_market: bool) -> Verdict {
        let view = row.view(&self.grid);
        let settings = &self.settings;
        let breadth = self.breadth_of(view, is_market);
        let scales_now = self.reference.scales();
        let (dispersion, least) = if is_market {
            (settings.market.dispersion, settings.market.breadth)
        } else {
            (settings.dispersion, 0)
        };
        let listened = self.grid.second.saturating_sub(self.since) > LAGS_S;
        let gate = Gate { dispersion, breadth: least, symbols: breadth, listened };
        let scales = scales(settings, is_market, row.shown, scales_now);
        let is_heard = self.feeds.live != 0;
        let factors =
            if is_heard { scores(row, view, settings, scales, gate) } else { [None; FACTOR_COUNT] };
        let around = Surroundings {
            oi_change: row.quotes.oi_change,
            funding: row.quotes.funding,
            volatility: self.reference.volatility,
        };
        let components = components(&factors, around, settings);
        let (context, share) = context(&components, &self.signal_weights);
        let signs = self.signs(row, view, breadth, is_market);
        let pressure = is_market.then(|| self.pressure.read(&self.grid, &settings.push)).flatten();
        let strength = if is_heard { self.strength(&signs, row.shown, is_market) } else { 0.0 };
        let pushed = pressure.map_or(0.0, |pressure| pressure.min(HINT));
        let raw = if is_heard { weighed(strength, context).max(pushed) } else { 0.0 };
        Verdict {
            significance: signs.sudden,
            pressure,
            raw,
            probability: calibrated(raw),
            breadth,
            factors,
            components,
            share,
            scales: scales_now,
        }
    }

    /// The conditions that evidence of a row rests on.
    pub fn conditions(&self, row: &Row, is_market: bool) -> ArrayVec<Condition, CONDITIONS> {
        let (view, proof) = (row.view(&self.grid), &self.settings.proof);
        let signs = self.signs(row, view, self.breadth_of(view, is_market), is_market);
        let mut all = ArrayVec::new();
        if is_market && self.universe > 1 {
            all.extend(wide(&signs, proof));
        } else {
            all.extend(sustained(&signs, proof, row.shown));
        }
        all.extend(lasting(&signs, proof));
        all.push(hint(&signs, proof));
        all
    }

    fn breadth_of(&self, view: View<'_>, is_market: bool) -> u32 {
        if is_market { self.breadth.read(&self.grid) } else { u32::from(view.now(FAST).events > 0) }
    }

    fn strength(&self, signs: &Signs, shown: f64, is_market: bool) -> f64 {
        let proof = &self.settings.proof;
        if is_market { of_market(signs, proof) } else { of_symbol(signs, proof, shown) }
    }

    /// What is observed of a row. The minute of the market is that of its majors.
    fn signs(&self, row: &Row, view: View<'_>, breadth: u32, is_market: bool) -> Signs {
        let scale = self.settings.proof.minute_scale;
        let rest = |span| {
            let money = row.minute.money(span);
            (money.sum - u64::from(money.event)) as f64
        };
        Signs {
            moved: self.reference.moved,
            sudden: row.past.significance(0, view.arrivals(FAST)),
            sustained: row.past.significance(1, view.arrivals(SLOW)),
            dispersion: f64::from(view.arrivals(FAST)),
            breadth: f64::from(breadth),
            universe: self.universe as f64,
            majors: self.majors.recent(),
            money: (rest(minute::FAST), rest(minute::SLOW)),
            seconds: f64::from(row.minute.seconds(10)),
            weight: if is_market { self.majors.weight(scale) } else { row.minute.weight(scale) },
        }
    }

    /// A numbered signal.
    pub fn signal(&mut self, row: &mut Row, name: Symbol, verdict: &Verdict, kind: Kind) -> Report {
        self.seq += 1;
        row.standing.spoken = self.grid.now;
        Report { seq: self.seq, ..self.report(row, name, verdict, kind) }
    }

    /// Whether a sampled source shows all it can: a symbol nearly every second.
    fn is_saturated(&self, row: &Row, name: Symbol) -> bool {
        let busy = if name == Symbol::MARKET { self.majors.busy() } else { row.minute.seconds(10) };
        row.shown < FULL && busy >= SATURATED
    }

    pub fn report(&self, row: &Row, name: Symbol, verdict: &Verdict, kind: Kind) -> Report {
        let reading = row.read(&self.grid);
        let (risk, _) = risk::risk(&verdict.factors, &self.risk_weights);
        let has_evidence = row.standing.level > Level::None || verdict.raw >= HINTED;
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
            risk_level: risk::level(risk, has_evidence, &self.settings.risk.levels),
            confidence: risk::confidence(&verdict.factors, &self.risk_weights, arrivals, coverage),
            components: verdict.components,
            probability: verdict.probability,
            evidence: verdict.raw,
            significance: verdict.significance,
            pressure: verdict.pressure,
            saturated: self.is_saturated(row, name),
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
pub struct Breadth(Window<u32, 1>);

impl Breadth {
    /// A symbol that was last seen in bucket `seen` is seen in bucket `place`.
    pub fn see(&mut self, seen: &mut u64, place: u64) {
        if place > *seen {
            self.0.take_back(*seen, 1);
            self.0.put(place, 1);
            *seen = place;
        }
    }

    pub fn read(&self, grid: &Grid) -> u32 {
        let [symbols] = self.0.read(grid.rest[FAST]);
        symbols
    }
}
