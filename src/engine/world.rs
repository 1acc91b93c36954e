//! What all rows share, and how a row is judged in its light.

use arrayvec::ArrayVec;

use super::calibration::calibrated;
use super::delay::Delays;
use super::evidence::{
    Condition, HINT, Signs, ascend, ease, hint, lasting, of_market, of_symbol, price, sustained,
    wide,
};
use super::factor::{Gate, scales, scores};
use super::feeds::Feeds;
use super::grid::Grid;
use super::kinematics::motion;
use super::majors::Majors;
use super::minute::{self, Money};
use super::pressure::Pressure;
use super::quotes::Quotes;
use super::regime::Reference;
use super::risk;
use super::row::{MINUTE, Row, View};
use super::seconds::Watch;
use super::settings::Settings;
use super::signal::{
    AROUND, Surroundings, around as around_of, components, share, telling, weighed,
};
use super::window::Window;
use crate::event::{Body, Event, Flags, Usd};
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
pub const CONDITIONS: usize = 7;
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
    /// Significance that leads to no level, whatever else there is.
    calm: f64,
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
    /// Whether the event in hand happened in an earlier run.
    pub relived: bool,
    /// Number of the last signal that somebody else made.
    pub given: u64,
    pub episode: u64,
    pub tally: Tally,
}

/// What decides the level of a row.
struct Finding {
    signs: Signs,
    around: [Option<f64>; AROUND],
    pressure: Option<f64>,
    /// Strength of the evidence, 0..1.
    raw: f64,
}

/// What a look at a row found.
#[derive(Debug)]
pub struct Verdict {
    breadth: u32,
    pub factors: [Option<f64>; FACTOR_COUNT],
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
            calm: calm(settings),
            settings: *settings,
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
            relived: false,
            given: 0,
            episode: 0,
            tally: Tally::default(),
        }
    }

    /// Takes other settings, and everything that follows from them alone.
    pub fn tune(&mut self, settings: &Settings) {
        self.risk_weights = settings.risk.factors().map(|factor| factor.weight);
        self.signal_weights = settings.signal.weights();
        self.calm = calm(settings);
        self.settings = *settings;
        self.reference.tune(&settings.regime);
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
        self.relived = event.flags.has(Flags::RELIVED);
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

    /// Whether the event's value counts, beside what is known of its symbol; the event itself does in
    /// any case.
    pub fn believes(&mut self, event: &Event, usd: Usd, quotes: &Quotes, so_far: u64) -> bool {
        let Body::Liquidation { price, .. } = event.body else { return false };
        let is_off = price.is_some_and(|price| quotes.quote.is_off(price.get(), event.received));
        if is_off || event.flags.has(Flags::OUTLIER) {
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

    /// The probability that decides the level; `None` where a row without one stays without.
    #[inline]
    pub fn probability(&self, row: &Row, is_market: bool) -> Option<f64> {
        let view = row.view(&self.grid);
        let is_calm = row.standing.level == Level::None && self.is_calm(row, view, is_market);
        let probability = || calibrated(self.find(row, view, is_market).raw);
        debug_assert!(!is_calm || probability() < self.settings.levels.bounds()[0]);
        (!is_calm).then(probability)
    }

    /// Whether nothing can come of a row: whatever else evidence asks for, it asks for significance
    /// or for a minute that stands out, so that these alone can rule it out.
    #[inline(always)]
    fn is_calm(&self, row: &Row, view: View<'_>, is_market: bool) -> bool {
        if self.minute(row, is_market).is_some() {
            return false;
        }
        let [sudden, sustained] = self.significance(row, view);
        let limit = self.calm * ease(self.reference.moved, self.reference.swing);
        let is_calm = |significance: Option<f64>| significance.is_none_or(|it| it < limit);
        let bound = self.settings.levels.bounds()[0];
        is_calm(sudden)
            && is_calm(sustained)
            && self.pressure(is_market).is_none_or(|it| calibrated(it.min(HINT)) < bound)
    }

    fn minute(&self, row: &Row, is_market: bool) -> Option<f64> {
        let scale = self.settings.proof.minute_scale;
        if is_market { self.majors.weight(scale) } else { row.minute.weight(scale) }
    }

    /// Of the arrivals of 2 s and of 10 s.
    #[inline]
    fn significance(&self, row: &Row, view: View<'_>) -> [Option<f64>; 2] {
        let arrivals = [view.arrivals(FAST), view.arrivals(SLOW)];
        [row.past.significance(0, arrivals[0]), row.past.significance(1, arrivals[1])]
    }

    fn pressure(&self, is_market: bool) -> Option<f64> {
        if is_market { self.pressure.read(&self.grid, &self.settings.push) } else { None }
    }

    /// What decides the level.
    #[inline(always)]
    fn find(&self, row: &Row, view: View<'_>, is_market: bool) -> Finding {
        let around = Surroundings {
            oi_change: row.quotes.oi_change,
            funding: row.quotes.funding,
            volatility: self.reference.volatility,
        };
        let around = around_of(around, &self.settings);
        let signs = self.signs(row, view, is_market);
        let pressure = self.pressure(is_market);
        let raw = if self.feeds.live != 0 {
            let strength = self.strength(&signs, row.shown, is_market);
            weighed(strength, telling(&around, &self.signal_weights)).max(pushed(pressure))
        } else {
            0.0
        };
        Finding { signs, around, pressure, raw }
    }

    /// Everything that is found.
    #[inline(never)]
    pub fn judge(&self, row: &Row, is_market: bool) -> Verdict {
        let (view, settings) = (row.view(&self.grid), &self.settings);
        let Finding { signs, around, pressure, raw } = self.find(row, view, is_market);
        let breadth = self.breadth_of(view, is_market);
        let (dispersion, least) = if is_market {
            (settings.market.dispersion, settings.market.breadth)
        } else {
            (settings.dispersion, 0)
        };
        let listened = self.grid.second.saturating_sub(self.since) > LAGS_S;
        let gate = Gate { dispersion, breadth: least, symbols: breadth, listened };
        let regime = self.reference.scales();
        let factors = if self.feeds.live != 0 {
            scores(row, view, settings, scales(settings, is_market, row.shown, regime), gate)
        } else {
            [None; FACTOR_COUNT]
        };
        let components = components(&factors, around);
        Verdict {
            significance: signs.sudden,
            pressure,
            raw,
            probability: calibrated(raw),
            breadth,
            factors,
            components,
            share: share(&components, &self.signal_weights),
            scales: regime,
        }
    }

    /// The conditions that evidence of a row rests on.
    pub fn conditions(&self, row: &Row, is_market: bool) -> ArrayVec<Condition, CONDITIONS> {
        let (view, proof) = (row.view(&self.grid), &self.settings.proof);
        let signs = self.signs(row, view, is_market);
        let mut all = ArrayVec::new();
        if is_market && self.universe > 1 {
            all.extend(wide(&signs, proof));
            all.extend(price(&signs, proof));
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

    #[inline(always)]
    fn strength(&self, signs: &Signs, shown: f64, is_market: bool) -> f64 {
        let proof = &self.settings.proof;
        if is_market { of_market(signs, proof) } else { of_symbol(signs, proof, shown) }
    }

    /// What is observed of a row. The minute of the market is that of its majors.
    #[inline(always)]
    fn signs(&self, row: &Row, view: View<'_>, is_market: bool) -> Signs {
        let [sudden, sustained] = self.significance(row, view);
        let [fast, slow] = [minute::FAST, minute::SLOW].map(|span| row.minute.money(span));
        let rest = |money: Money| (money.sum - u64::from(money.event)) as f64;
        Signs {
            moved: self.reference.moved,
            swing: self.reference.swing,
            sudden,
            sustained,
            dispersion: f64::from(view.arrivals(FAST)),
            breadth: f64::from(self.breadth_of(view, is_market)),
            universe: self.universe as f64,
            majors: self.majors.recent(),
            money: (rest(fast), rest(slow)),
            seconds: f64::from(slow.seconds),
            weight: self.minute(row, is_market),
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
        let of_row = || row.minute.money(minute::SLOW).seconds;
        let busy = if name == Symbol::MARKET { self.majors.busy() } else { of_row() };
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
            price: row.quotes.quote.price,
            oi_change: row.quotes.oi_change,
            funding: row.quotes.funding,
            by_venue: row.seconds.by_venue(),
            live: self.feeds.live,
            expected: self.feeds.expected,
            shown: self.feeds.shown,
            gap: self.grid.now < self.gap_until,
            coverage,
            ..Report::empty(name, self.grid.now)
        }
    }
}

/// The significance below which a row reaches no level in any surroundings. Each step from one to the
/// other rises, so halving finds it; a hair less, since it is compared after a multiplication.
fn calm(settings: &Settings) -> f64 {
    let rungs = &settings.proof.significance;
    let reaches = |significance| {
        calibrated(weighed(ascend(significance, rungs), 1.0)) >= settings.levels.bounds()[0]
    };
    let (mut below, mut above) = (0.0, rungs[3]);
    for _ in 0..60 {
        let middle = (below + above) / 2.0;
        if reaches(middle) { above = middle } else { below = middle }
    }
    below * (1.0 - 1e-9)
}

/// What pressure adds: a hint.
fn pushed(pressure: Option<f64>) -> f64 {
    pressure.map_or(0.0, |pressure| pressure.min(HINT))
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
