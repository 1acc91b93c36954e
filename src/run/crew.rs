//! Threads: who takes turns where, on which core, and what they do when there is nothing to do.
//!
//! A [`Crew`] is a list of benches; a bench is one thread with the stages that share it. Each pass
//! reads the clock before every stage's turn, so the end of one turn is the beginning of the next
//! and the longest turn of every stage is known: a stall hides in the latency of items.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use crate::ledger::Ledger;
use crate::publish::page::Heart;
use crate::stage::{Stage, Turn};
use crate::tap::Tap;
use crate::time::{NS_PER_S, Nanos, Now};

/// What a thread does after a pass in which no stage had work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Goes round again at once: lowest latency, one core burnt.
    Spin,
    /// Goes round 64 times, then yields the core to whoever else wants it.
    #[default]
    Yield,
    /// Sleeps for 50 us: next to no CPU, and that much more latency.
    Park,
}

/// Passes without work before [`Idle::Yield`] gives up the core.
const SPINS_BEFORE_YIELD: u32 = 64;
const PARK: Duration = Duration::from_micros(50);

/// Cores a mask of the kernel's default size can name.
const CORES_MAX: usize = 1_024;

/// Turns of one stage.
#[derive(Debug)]
pub struct Turns {
    /// The stage.
    pub stage: &'static str,
    /// The longest turn, ns.
    pub longest: u64,
    /// Where the lengths of turns that did something are recorded.
    tap: Option<Tap>,
}

impl Turns {
    fn record(&mut self, turn: Turn, from: Now, to: Now) {
        let ns = to.mono.since(from.mono);
        self.longest = self.longest.max(ns);
        let Some(tap) = self.tap.as_mut().filter(|_| turn == Turn::Worked) else { return };
        tap.record(ns.max(1));
        tap.offer_each_second(to.mono);
    }
}

/// Stages that share one thread.
#[derive(Default)]
pub struct Bench {
    /// The thread's name, at most 15 bytes.
    pub name: String,
    /// They take turns in this order; the lengths of their turns go into the tap.
    pub stages: Vec<(Box<dyn Stage>, Option<Tap>)>,
    /// The core to run on, if pinned.
    pub core: Option<usize>,
    /// What to do when there is nothing to do.
    pub idle: Idle,
    /// Told once a second that the thread goes round.
    pub heart: Option<Heart>,
    /// How often the thread has gone round.
    pub passes: Passes,
}

/// What is left when all threads have ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What all stages counted.
    pub ledger: Ledger,
    /// Turns per stage.
    pub turns: Vec<Turns>,
    /// Threads that could not be pinned, with the reason; and threads that panicked.
    pub troubles: Vec<String>,
}

/// How often a thread has gone round: it alone writes it, whoever wants to know that it lives reads it.
#[derive(Clone, Debug, Default)]
pub struct Passes(Arc<Alone>);

/// On cache lines of its own: two threads that count must not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone(AtomicU64);

/// The thread has ended in order.
const ENDED: u64 = u64::MAX;

impl Passes {
    /// Passes so far; `None` once the thread has ended in order.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        Some(self.0.0.load(Ordering::Relaxed)).filter(|&n| n != ENDED)
    }

    /// The thread has gone round for the `n`th time.
    pub fn set(&self, n: u64) {
        self.0.0.store(n, Ordering::Relaxed);
    }

    /// The thread ends in order.
    pub fn end(&self) {
        self.set(ENDED);
    }
}

/// A stop request that every thread sees.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks every stage for an orderly end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end has been asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The flag itself, for a signal handler.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

/// Running threads.
pub struct Crew {
    threads: Vec<(String, JoinHandle<Outcome>)>,
    passes: Vec<Passes>,
}

impl Crew {
    /// Starts one thread per bench.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(benches: Vec<Bench>, clock: Clock, stop: &Stop) -> std::io::Result<Self> {
        let mut threads = Vec::new();
        let passes = benches.iter().map(|bench| bench.passes.clone()).collect();
        for bench in benches {
            let stop = stop.clone();
            let name = bench.name.clone();
            let thread = thread::Builder::new()
                .name(name.clone())
                .spawn(move || run_pinned(bench, &clock, &stop))?;
            threads.push((name, thread));
        }
        Ok(Self { threads, passes })
    }

    /// How often each thread has gone round, as it goes on.
    #[must_use]
    pub fn passes(&self) -> Vec<Passes> {
        self.passes.clone()
    }

    /// Whether every thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(|(_, thread)| thread.is_finished())
    }

    /// Waits for all threads and adds up what they counted.
    #[must_use]
    pub fn join(self) -> Outcome {
        let mut all = Outcome::default();
        for (name, thread) in self.threads {
            match thread.join() {
                Ok(one) => {
                    for (count, n) in one.ledger.iter() {
                        all.ledger.add(count, n);
                    }
                    all.turns.extend(one.turns);
                    all.troubles.extend(one.troubles);
                }
                Err(_) => all.troubles.push(format!("thread {name} panicked; its counts are lost")),
            }
        }
        all
    }
}

fn run_pinned(mut bench: Bench, clock: &Clock, stop: &Stop) -> Outcome {
    let trouble = bench.core.and_then(|core| pin(core).err());
    let mut outcome = run(&mut bench, || clock.now(), stop);
    outcome.troubles.extend(trouble.map(|why| format!("thread {}: {why}", bench.name)));
    outcome
}

/// Gives turns on this thread until every stage is done.
///
/// A stage that is done is dropped at once, after its books are taken: that ends its side of the
/// rings, which is how the stage behind it learns that nothing more will come.
pub fn run(bench: &mut Bench, mut now: impl FnMut() -> Now, stop: &Stop) -> Outcome {
    let mut outcome = Outcome::default();
    let mut places: Vec<Place> = bench.stages.drain(..).map(Place::new).collect();
    let mut stopped = false;
    let mut idle_passes = 0;
    let (heart, passes) = (bench.heart.take(), bench.passes.clone());
    let mut pulse = Pulse { heart, gone_round: 0, passes, told: Nanos::default() };
    let mut time = now();
    while !places.is_empty() {
        if !stopped && stop.requested() {
            stopped = true;
            places.iter_mut().for_each(|place| place.stage.stop());
        }
        let mut worked = false;
        let mut done = false;
        for place in &mut places {
            let turn = place.stage.turn(time);
            let end = now();
            place.turns.record(turn, time, end);
            time = end;
            worked |= turn == Turn::Worked;
            place.done = turn == Turn::Done;
            done |= place.done;
        }
        if done {
            for place in places.extract_if(.., |place| place.done) {
                place.stage.ledger(&mut outcome.ledger);
                outcome.turns.push(place.turns);
            }
        }
        pulse.turn(&places, time);
        idle_passes = if worked { 0 } else { idle_passes + 1 };
        rest(bench.idle, idle_passes);
        if idle_passes > 0 && bench.idle != Idle::Spin {
            time = now();
        }
    }
    bench.passes.end();
    outcome
}

/// Tells that the loop goes round.
struct Pulse {
    heart: Option<Heart>,
    /// Passes so far, and where others read them.
    gone_round: u64,
    passes: Passes,
    told: Nanos,
}

impl Pulse {
    fn turn(&mut self, places: &[Place], now: Now) {
        self.gone_round += 1;
        self.passes.set(self.gone_round);
        let Some(heart) = &self.heart else { return };
        if now.mono.since(self.told) < NS_PER_S {
            return;
        }
        self.told = now.mono;
        heart.beat(|beat| {
            (beat.at, beat.passes) = (now.mono, self.gone_round);
            for place in places {
                let _ = beat.turns.try_push((place.turns.stage, place.turns.longest));
                place.stage.count(&mut beat.counts);
            }
        });
    }
}

/// A stage at work.
struct Place {
    stage: Box<dyn Stage>,
    turns: Turns,
    done: bool,
}

impl Place {
    fn new((stage, tap): (Box<dyn Stage>, Option<Tap>)) -> Self {
        let turns = Turns { stage: stage.name(), longest: 0, tap };
        Self { stage, turns, done: false }
    }
}

fn rest(idle: Idle, idle_passes: u32) {
    match idle {
        _ if idle_passes == 0 => {}
        Idle::Spin => std::hint::spin_loop(),
        Idle::Yield if idle_passes < SPINS_BEFORE_YIELD => std::hint::spin_loop(),
        Idle::Yield => thread::yield_now(),
        Idle::Park => thread::sleep(PARK),
    }
}

/// Pins this thread to `core` and verifies that it took.
///
/// The id is the one the user gave: an isolated core is not in the process's default mask, so a list
/// of "available" cores would not show it.
///
/// # Errors
/// Says what the kernel allows instead.
pub fn pin(core: usize) -> Result<(), String> {
    // core_affinity writes into a mask of 1,024 cores and aborts beyond it.
    let asked =
        core < CORES_MAX && core_affinity::set_for_current(core_affinity::CoreId { id: core });
    let allowed = allowed_cores();
    if asked && allowed.as_deref() == Some(&core.to_string()) {
        return Ok(());
    }
    Err(format!(
        "cannot run on core {core} (allowed: {}); check that it exists and that the cgroup's cpuset \
         contains it",
        allowed.as_deref().unwrap_or("unknown")
    ))
}

/// The kernel's own word on where this thread may run (`0-1`, `3`).
fn allowed_cores() -> Option<String> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_is_verified_and_a_core_that_is_not_there_is_an_error() {
        thread::spawn(|| assert_eq!(pin(0), Ok(()))).join().unwrap();
        for absent in [900, 4_000] {
            let error = thread::spawn(move || pin(absent).unwrap_err()).join().unwrap();
            assert!(error.contains(&format!("core {absent}")), "{error}");
        }
    }

    struct Countdown(u32);

    impl Stage for Countdown {
        fn name(&self) -> &'static str {
            "countdown"
        }
        fn turn(&mut self, _: Now) -> Turn {
            self.0 = self.0.saturating_sub(1);
            if self.0 == 0 { Turn::Done } else { Turn::Worked }
        }
        fn stop(&mut self) {
            self.0 = 1;
        }
        fn ledger(&self, ledger: &mut Ledger) {
            ledger.add("ended", 1);
        }
    }

    #[test]
    fn stages_take_turns_until_all_are_done_or_a_stop_is_asked() {
        let bench = || Bench {
            stages: vec![(Box::new(Countdown(3)), None), (Box::new(Countdown(u32::MAX)), None)],
            ..Bench::default()
        };
        let stop = Stop::default();
        let mut bench = bench();
        let passes = bench.passes.clone();
        let mut ms = 0;
        let outcome = run(
            &mut bench,
            || {
                ms += 1;
                if ms == 90 {
                    assert!(passes.count() > Some(40), "two turns a pass");
                }
                if ms == 100 {
                    stop.request();
                }
                Now::at_millis(ms)
            },
            &stop,
        );
        assert_eq!(outcome.ledger.get("ended"), 2);
        assert_eq!(passes.count(), None, "it has ended in order");
        assert!(outcome.turns.iter().all(|t| t.longest == 1_000_000));
    }
}
