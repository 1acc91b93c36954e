//! Puts the rooms together: two rings, three stages, as many threads as the layout says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::Failure;
use super::clock::Clock;
use super::crew::{Bench, Crew, Stop};
use super::reload::Takers;
use super::restore::Past;
use super::sinks::sinks;
use crate::config::{Config, Layout, Run};
use crate::engine::EngineStage;
use crate::event::Event;
use crate::publish::latency::ACKNOWLEDGED;
use crate::publish::page::{Heart, Opening, Wires};
use crate::publish::{Publisher, Sink};
use crate::ring::{Inlet, ring};
use crate::stage::Stage;
use crate::tap::{Tap, Taps};

/// What is needed to run.
pub struct Pipeline {
    /// The stage that fills the first ring.
    pub ingest: Box<dyn Stage>,
    /// The other end of that ring.
    pub events: Inlet<Event>,
    /// What is timed before the pipeline's own stages.
    pub taps: Taps,
    /// What an earlier run left; nothing for a run that stands alone.
    pub past: Past,
    /// Where messages go beside the sinks that are configured.
    pub sinks: Vec<Box<dyn Sink>>,
    /// What the page listens at; without it there is none, whatever is configured.
    pub page: Option<Wires>,
    /// Where other settings may come from, and what is made by them.
    pub takers: Takers,
}

impl Pipeline {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a sink cannot be opened, or the system refuses a thread.
    pub fn start(self, config: &Config, clock: Clock, stop: &Stop) -> Result<Crew, Failure> {
        let mut taps = self.taps;
        let mut page = self.page.filter(|_| config.page.is_on());
        let measured = config.latency.is_on() || page.is_some();
        let mut tap = |name| measured.then(|| taps.tap(name));
        let turns = [tap("turn_ingest"), tap("turn_engine"), tap("turn_publish")];
        let acknowledged = tap(ACKNOWLEDGED);
        let run = u64::try_from(clock.run()).unwrap_or(0).max(self.past.run + 1);
        let layout = layout(&config.run).0;
        let mut hearts =
            page.as_mut().map_or_else(Vec::new, |wires| hearts(layout, &config.run, wires));
        let opening = Opening {
            run: clock.run(),
            clock: Box::new(move || clock.now()),
            rings: [("event", config.run.event_ring), ("output", config.run.output_ring)],
        };
        let page = page.map(|wires| (opening, wires));
        let mut takers = self.takers;
        let tunings = std::mem::take(&mut takers.tunings);
        let mut sinks = sinks(config, run, &self.past, taps, acknowledged, page, takers)?;
        sinks.extend(self.sinks);
        let (outlet, lines) = ring(config.run.output_ring);
        let engine = self.past.engine(&config.engine);
        let engine = EngineStage::new(engine, vec![self.events], outlet).tuned_by(tunings);
        let publish = Publisher::new(lines, sinks);
        let stages: [Box<dyn Stage>; 3] = [self.ingest, Box::new(engine), Box::new(publish)];
        let [ingest, engine, publish] = stages;
        let [first, second, third] = turns;
        let stages = [(ingest, first), (engine, second), (publish, third)];
        let mut benches = benches(layout, &config.run, stages);
        benches.iter_mut().for_each(|bench| bench.heart = hearts.pop());
        Crew::start(benches, clock, stop).map_err(|e| Failure::running(format!("threads: {e}")))
    }
}

/// The layout to use, and why.
#[must_use]
pub fn layout(run: &Run) -> (Layout, String) {
    if let Some(layout) = run.layout {
        return (layout, "as configured".to_owned());
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (
        for_cores(cores),
        format!("{cores} cores: hot threads on one core cost each other milliseconds"),
    )
}

/// The layout that suits so many cores.
#[must_use]
pub const fn for_cores(cores: usize) -> Layout {
    match cores {
        0 | 1 => Layout::Inline,
        2 | 3 => Layout::Shared,
        _ => Layout::Dedicated,
    }
}

/// One thread of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its name, as `top -H` shows it.
    pub thread: &'static str,
    /// The setting that pins it.
    pub key: &'static str,
    /// The core it is pinned to, if any.
    pub core: Option<usize>,
}

/// The threads of a layout, hottest first.
#[must_use]
pub fn seats(layout: Layout, run: &Run) -> Vec<Seat> {
    let seat = |thread, key, core| Seat { thread, key, core };
    let reader = |thread| seat(thread, "run.reader_core", run.reader_core);
    let engine = seat("engine", "run.engine_core", run.engine_core);
    let publish = seat("publish", "run.publish_core", run.publish_core);
    match layout {
        Layout::Inline => vec![reader("foreshock")],
        Layout::Shared => vec![reader("reader+engine"), publish],
        Layout::Dedicated => vec![reader("reader"), engine, publish],
    }
}

/// A heart for each thread of the layout.
fn hearts(layout: Layout, run: &Run, wires: &mut Wires) -> Vec<Heart> {
    seats(layout, run).iter().map(|_| wires.heart()).collect()
}

fn benches(layout: Layout, run: &Run, stages: [(Box<dyn Stage>, Option<Tap>); 3]) -> Vec<Bench> {
    let [ingest, engine, publish] = stages;
    let shared = match layout {
        Layout::Inline => vec![vec![ingest, engine, publish]],
        Layout::Shared => vec![vec![ingest, engine], vec![publish]],
        Layout::Dedicated => vec![vec![ingest], vec![engine], vec![publish]],
    };
    let bench = |(seat, stages): (Seat, Vec<_>)| Bench {
        name: seat.thread.to_owned(),
        stages,
        core: seat.core,
        idle: run.idle,
        ..Bench::default()
    };
    seats(layout, run).into_iter().zip(shared).map(bench).collect()
}

/// SIGINT and SIGTERM ask for an orderly end; the second one ends at once.
///
/// # Errors
/// When the system refuses a handler.
pub fn stop_on_signals(stop: &Stop) -> Result<(), Failure> {
    static ARMED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let armed = ARMED.get_or_init(Arc::default);
    armed.store(false, Ordering::Release);
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the switch off and turns it on.
        let register = || {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(armed),
            )?;
            signal_hook::flag::register(signal, Arc::clone(armed))?;
            signal_hook::flag::register(signal, stop.flag())
        };
        register()
            .map_err(|e: std::io::Error| Failure::running(format!("signal {signal}: {e}")))?;
    }
    Ok(())
}
