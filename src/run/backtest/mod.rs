//! `foreshock backtest`: how early, how often, how wrongly the engine would have warned.
//!
//! [`play`] sends recordings (and [`prices`]) through the real engine, as `replay` does, and notes its
//! [`alarm`]s beside those of the [`rules`] to beat; [`labels`] say what was there; [`score`] brings
//! them together; [`table`] and [`json`] say it, [`picture`] shows it. From the [`moments`] that were
//! kept, [`ablate`] says what each idea adds and [`held`] what the thresholds are worth where they were
//! not chosen; [`calibrate`] says what the probability is worth. [`invent`] tells markets that never
//! were, [`invented`] what the engine says of them.

pub mod labels;
pub mod prices;
pub mod alarm;
pub mod moments;
pub mod rules;
pub mod play;
pub mod score;
pub mod bar;
pub mod table;
pub mod json;
pub mod picture;
pub mod ablate;
pub mod held;
pub mod calibrate;
pub mod invent;
pub mod invented;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::alarm::Alarms;
use self::bar::Bar;
use self::picture::Scene;
use self::play::{Dataset, LEVELS, Trace};
use self::prices::{Prices, Span};
use self::rules::{RULES, SCALES};
use self::score::{Cascade, Known, Lists, Score};
use super::Failure;
use crate::config::Config;
use crate::engine::Settings;
use crate::engine::calibration::calibrated;
use crate::signal::Level;
use crate::symbol::Symbol;

/// Which rows of the engine may alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The row `MARKET`.
    Market,
    /// Any row.
    Any,
}

/// What to play, against what, and what to say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Recordings of events; the name of the folder is the dataset's.
    pub events: Vec<PathBuf>,
    /// Candles and recorded trades.
    pub prices: Vec<PathBuf>,
    /// Labelled cascades.
    pub labels: Option<PathBuf>,
    /// Quiet stretches.
    pub quiet: Option<PathBuf>,
    /// Bursts at a flat price.
    pub negatives: Option<PathBuf>,
    /// Neither.
    pub ambiguous: Option<PathBuf>,
    /// An alarm is this level, or above.
    pub level: Level,
    /// Whose alarms the rules are compared with.
    pub rows: Rows,
    /// How far a candle of one minute moves when the price breaks, per cent.
    pub break_percent: f64,
    /// JSON instead of tables.
    pub json: bool,
    /// Where a picture of each cascade is written.
    pub svg: Option<PathBuf>,
    /// Whether it is asked what each idea adds.
    pub ablate: bool,
    /// Whether thresholds are changed, and chosen anew on what is left when a part is held out.
    pub hold_out: bool,
    /// Where the calibration of the probability is written.
    pub calibrate: Option<PathBuf>,
    /// So many invented markets of each plot are played.
    pub invent: u64,
}

/// Plays, scores, says.
///
/// # Errors
/// Unreadable input, or a picture or table that cannot be written (1).
pub fn backtest(config: &Config, options: &Options) -> Result<(), Failure> {
    run(config, options).map_err(Failure::running)
}

fn run(config: &Config, options: &Options) -> Result<(), String> {
    let input = Input::read(options)?;
    let level = LEVELS.iter().position(|level| *level == options.level).unwrap_or(1);
    let bound = config.engine.levels.bounds()[level];
    let wish = Wish {
        samples: options.svg.is_some(),
        seconds: true,
        moments: (options.ablate || options.hold_out).then_some(bound),
        is_blind: false,
    };
    let played = input.play(&config.engine, &wish)?;
    let report = Report { level: options.level, rows: options.rows, played: &played };
    if let Some(dir) = &options.svg {
        draw(dir, &report, &input.prices, &config.engine)?;
    }
    let mut more = More {
        calibration: options.calibrate.is_some().then(|| calibrate::calibrate(&played)),
        ..More::default()
    };
    if let (Some(path), Some(calibration)) = (&options.calibrate, &more.calibration) {
        write(path, &format!("{:#}\n", calibration.table))?;
    }
    if options.ablate {
        more.ablations = ablate::all(&input, &config.engine, &report)?;
    }
    if options.hold_out {
        more.held = Some(held::hold_out(&played, ablate::hold(&config.engine)));
    }
    if options.invent > 0 {
        more.invented = Some(invented::play(&config.engine, options.level, options.invent));
    }
    if options.json {
        println!("{}", json::write(&report, &more));
    } else {
        print!("{}", table::write(&report, &more));
    }
    Ok(())
}

/// What was asked for beside the report.
#[derive(Debug, Default)]
pub struct More {
    /// What each idea adds.
    pub ablations: Vec<ablate::Group>,
    /// What thresholds are worth.
    pub held: Option<held::Held>,
    /// What the probability is worth.
    pub calibration: Option<calibrate::Calibration>,
    /// Markets that never were.
    pub invented: Option<Vec<invented::Taken>>,
}

/// A picture of each cascade.
fn draw(
    dir: &Path,
    report: &Report<'_>,
    prices: &Prices,
    settings: &Settings,
) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    for played in report.played {
        for (i, cascade) in played.known.cascades.iter().enumerate() {
            let scene = Scene {
                name: &played.name,
                cascade,
                trace: &played.trace,
                series: prices.series(Symbol::BTC, picture::span(cascade)),
                levels: &settings.levels,
                report,
            };
            let file = format!("{}-{}-{}.svg", played.name, i + 1, cascade.label.kind);
            write(&dir.join(file), &picture::svg(&scene))?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// What to note besides alarms.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    /// The engine's words around each cascade.
    samples: bool,
    /// The strongest evidence of each second.
    seconds: bool,
    /// What the market showed at each liquidation, for the level that begins at this probability.
    moments: Option<f64>,
    /// The engine is shown no prices.
    is_blind: bool,
}

/// Everything that was read.
struct Input {
    datasets: Vec<Dataset>,
    prices: Prices,
    lists: Lists,
}

impl Input {
    fn read(options: &Options) -> Result<Self, String> {
        let list = |path: &Option<PathBuf>| path.as_deref().map_or(Ok(Vec::new()), labels::read);
        let lists = Lists {
            labels: list(&options.labels)?,
            quiet: list(&options.quiet)?,
            negatives: list(&options.negatives)?,
            ambiguous: list(&options.ambiguous)?,
            break_percent: options.break_percent,
        };
        let datasets: Result<Vec<_>, _> =
            options.events.iter().map(|path| Dataset::read(path)).collect();
        let datasets = datasets?;
        let spans: Vec<_> = datasets.iter().flat_map(Dataset::spans).collect();
        Ok(Self { prices: Prices::read(&options.prices, &spans)?, datasets, lists })
    }

    /// Plays all recordings, as many at a time as there are cores. The order of the results is that
    /// of the recordings.
    fn play(&self, settings: &Settings, wish: &Wish) -> Result<Vec<Played>, String> {
        let bar = Bar::new(self.datasets.iter().map(Dataset::length_ms).sum());
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((i, dataset)) = self.take(&next) {
                done.push((i, self.play_one(dataset, settings, wish, &bar)));
            }
            done
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut all: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..cores.min(self.datasets.len())).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined.flat_map(|done| done.unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        });
        bar.end();
        all.sort_by_key(|(i, _)| *i);
        all.into_iter().map(|(_, played)| played).collect()
    }

    fn take(&self, next: &AtomicUsize) -> Option<(usize, &Dataset)> {
        let i = next.fetch_add(1, Ordering::Relaxed);
        Some((i, self.datasets.get(i)?))
    }

    fn play_one(
        &self,
        dataset: &Dataset,
        settings: &Settings,
        wish: &Wish,
        bar: &Bar,
    ) -> Result<Played, String> {
        let mut share = bar.share(dataset.length_ms());
        let progress = &mut |ms| share.reached(ms);
        let labels = self.lists.labels.iter().filter(|label| label.dataset == dataset.name);
        let around = labels.map(|label| (label.start - AROUND_MS, label.end + AROUND_MS));
        let samples = if wish.samples { around.collect() } else { Vec::new() };
        let prices = if wish.is_blind { &Prices::default() } else { &self.prices };
        let wish = play::Wish { samples, seconds: wish.seconds, moments: wish.moments };
        let trace = play::play(dataset, prices, settings, &wish, progress)?;
        let known = Known::of(dataset, &self.lists, &trace.prints, &self.prices);
        Ok(Played { name: dataset.name.clone(), sessions: dataset.sessions.clone(), trace, known })
    }
}

/// What the engine said is kept from this long before a cascade's label to this long after it, ms.
const AROUND_MS: i64 = 1_200_000;

/// One recording, played.
#[derive(Clone, Debug)]
pub struct Played {
    /// Name of the dataset.
    pub name: String,
    /// From and until of each session, ms.
    pub sessions: Vec<Span>,
    /// What was noted.
    pub trace: Trace,
    /// What was known.
    pub known: Known,
}

/// A detector that alarms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detector {
    /// The engine, at [`LEVELS`] of this position and above.
    Engine(Rows, usize),
    /// The risk of `MARKET`, from HIGH on.
    Risk,
    /// A rule of [`RULES`], at [`SCALES`] of this position.
    Rule(usize, usize),
}

impl Detector {
    /// What it is called in tables.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Engine(Rows::Market, _) => "foreshock MARKET".to_owned(),
            Self::Engine(Rows::Any, _) => "foreshock any row".to_owned(),
            Self::Risk => "risk of HIGH".to_owned(),
            Self::Rule(rule, scale) => {
                let name = RULES.get(rule).copied().unwrap_or_default();
                let scale = SCALES.get(scale).copied().unwrap_or(1.0);
                if scale == 1.0 { name.to_owned() } else { format!("{name} x{scale}") }
            }
        }
    }

    fn alarms(self, trace: &Trace) -> Option<&Alarms> {
        match self {
            Self::Engine(Rows::Market, level) => trace.market.get(level),
            Self::Engine(Rows::Any, level) => trace.any.get(level),
            Self::Risk => Some(&trace.risk),
            Self::Rule(rule, scale) => trace.rules.get(scale)?.get(rule),
        }
    }
}

impl Played {
    /// How a detector did on this recording.
    #[must_use]
    pub fn score(&self, detector: Detector) -> Score {
        detector.alarms(&self.trace).map(|alarms| self.known.score(alarms)).unwrap_or_default()
    }

    /// The highest probability of `MARKET` within stretches of time, ms; 0 where it said nothing.
    pub fn highest(&self, spans: impl IntoIterator<Item = Span>) -> f64 {
        let seconds = |(from, until): Span| from / 1_000..=until.max(from) / 1_000;
        let said = spans.into_iter().flat_map(|span| self.trace.seconds.range(seconds(span)));
        calibrated(said.map(|(_, &evidence)| evidence).fold(0.0, f64::max))
    }

    /// The highest before the peak of each cascade, in quiet time, and on hard negatives.
    #[must_use]
    pub fn heights(&self) -> (Vec<f64>, f64, f64) {
        let known = &self.known;
        let rise = |cascade: &Cascade| (cascade.label.start - score::EARLY_MS, cascade.peak);
        (
            known.cascades.iter().map(|cascade| self.highest([rise(cascade)])).collect(),
            self.highest(known.quiet.iter().copied()),
            self.highest(known.negatives.iter().map(|one| (one.start, one.end))),
        )
    }
}

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The level that is an alarm.
    pub level: Level,
    /// Whose alarms the rules are compared with.
    pub rows: Rows,
    /// The recordings.
    pub played: &'a [Played],
}

impl Report<'_> {
    /// The engine's detector that the rules are compared with.
    #[must_use]
    pub fn own(&self) -> Detector {
        Detector::Engine(self.rows, self.level_index())
    }

    fn level_index(&self) -> usize {
        LEVELS.iter().position(|level| *level == self.level).unwrap_or(1)
    }

    /// The engine's two and its risk, then the rules as they are written.
    #[must_use]
    pub fn detectors(&self) -> Vec<Detector> {
        let level = self.level_index();
        let written = SCALES.iter().position(|&scale| scale == 1.0).unwrap_or_default();
        let own = [Rows::Market, Rows::Any].map(|rows| Detector::Engine(rows, level));
        let own = own.into_iter().chain([Detector::Risk]);
        own.chain((0..RULES.len()).map(|rule| Detector::Rule(rule, written))).collect()
    }

    /// False alarms over all recordings: in quiet time, and on hard negatives.
    #[must_use]
    pub fn false_alarms(&self, detector: Detector) -> usize {
        let scores = self.played.iter().map(|played| played.score(detector));
        scores.map(|score| score.quiet + score.negatives).sum()
    }

    /// Each rule with the lowest thresholds at which it gives no more false alarms than the engine's
    /// detector; `None` where it always does.
    #[must_use]
    pub fn matched(&self) -> Vec<Option<Detector>> {
        let most = self.false_alarms(self.own());
        let scaled = |rule| {
            let mut all = (0..SCALES.len()).map(|scale| Detector::Rule(rule, scale));
            all.find(|&detector| self.false_alarms(detector) <= most)
        };
        (0..RULES.len()).map(scaled).collect()
    }
}
