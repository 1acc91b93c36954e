//! The live mode: real endpoints by default, every one of them overridable.
//!
//! Instruments are asked for over REST first, all venues at once, and a venue that does not answer
//! runs on what is known without asking. Then one line per route is opened; whatever may block lives
//! on the dial threads. The calling thread attends: it prints feed changes and watches the time.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::account::settle;
use super::clock::Clock;
use super::count::{Count, SoFar};
use super::crew::{Crew, Outcome, Stop};
use super::pipeline::{self, Pipeline};
use super::reload::{Reload, Takers};
use super::service::Herald;
use super::status::Board;
use super::{Failure, restore};
use crate::config::{Config, Layers};
use crate::event::Venue;
use crate::ingest::dial::{Dialer, Trust};
use crate::ingest::exchange::Exchange;
use crate::ingest::instrument::Instruments;
use crate::ingest::intake::{Intake, spoken};
use crate::ingest::line::ROUTES_MAX;
use crate::ingest::node::Node;
use crate::ingest::reader::Reader;
use crate::ingest::repair::Repair;
use crate::ingest::rest::Rest;
use crate::ingest::settings::Settings;
use crate::ingest::socket::{Setup, Socket};
use crate::ingest::source::{FeedChange, Source, Unheard};
use crate::publish::Sink;
use crate::publish::latency::ARRIVED;
use crate::publish::page::Wires;
use crate::ring::ring;
use crate::tap::Taps;

/// Feed changes waiting to be printed.
const NOTICES: usize = 1_024;
/// How often the attending thread looks at the time.
const LOOK: Duration = Duration::from_millis(50);

/// Runs until interrupted, or for `duration`.
///
/// # Errors
/// Bad certificates or endpoints; no venue was heard in the whole `duration`; broken books.
pub fn run(config: &Config, layers: &Layers, duration: Option<Duration>) -> Result<(), Failure> {
    let stop = Stop::default();
    pipeline::stop_on_signals(&stop)?;
    let deadline = duration.map(|duration| Instant::now() + duration);
    let reload = Reload::on_signal(config, layers)?;
    let attended =
        listen(config, Some(reload), &stop, |_, _| deadline.is_some_and(|d| Instant::now() >= d))?;
    let settled = settle(&attended.outcome, &mut std::io::stderr().lock());
    // Who asks for the end before its time does not ask whether anything had been heard.
    let asked = stop.requested() && deadline.is_none_or(|deadline| Instant::now() < deadline);
    if attended.heard == 0 && !asked {
        let line = "no venue was heard; the lines above say why each could not be reached";
        return Err(Failure::unreachable(line));
    }
    settled
}

/// What attending to a live pipeline came to.
pub struct Attended {
    /// What the threads counted.
    pub outcome: Outcome,
    /// Venues that were heard at least once: a set of bits.
    pub heard: u8,
}

/// Runs the live pipeline until `enough` says so or a stop is requested. `enough` is asked often and
/// told the venues that are live now (a set of bits) and how long it has been.
///
/// # Errors
/// When it cannot start.
pub fn listen(
    config: &Config,
    reload: Option<(Reload, Takers)>,
    stop: &Stop,
    enough: impl FnMut(u8, Duration) -> bool,
) -> Result<Attended, Failure> {
    let clock = Clock::start();
    let (layout, reason) = pipeline::layout(&config.run);
    eprintln!("layout {layout:?}: {reason}");
    let age_gate_ms = i64::try_from(config.feeds.age_gate_ms).unwrap_or(i64::MAX);
    let mut intake = Intake::new(age_gate_ms).telling_twins_apart().knowing(&config.feeds);
    // Stamps that nobody writes down are not asked for.
    let timed = config.feeds.kernel_stamps && (config.latency.is_on() || config.page.is_on());
    let feeds = Settings { kernel_stamps: timed, ..config.feeds.clone() };
    let sources = sources(&feeds, &mut intake, stop)?;
    let (outlet, events) = ring(config.run.event_ring);
    let (notices, heard) = bounded(NOTICES);
    let stamp = Box::new(move || clock.mono());
    let mut reader = Reader::new(sources, intake, outlet, stamp, notices);
    let mut wires = Wires::default();
    let (mut board, vitals) = Board::new(clock);
    let mut taps = Taps::default();
    reader = reader.telling(vitals).timing(timed.then(|| taps.tap(ARRIVED)));
    board.tell(wires.feeds());
    if let Err(why) = board.open(&config.run.status()) {
        eprintln!("status: {why}; `foreshock venues` will not show this run");
    }
    let ingest = Box::new(reader);
    let past = restore::past(config, clock.mono());
    eprint!("{}", past.words);
    let (sinks, manager) = manager(clock);
    let (reload, takers) = reload.unzip();
    let takers = takers.unwrap_or_default();
    let crew = Pipeline { ingest, events, taps, past, sinks, page: Some(wires), takers };
    let crew = crew.start(config, clock, stop)?;
    let beside = Beside { board: Some(board), manager, reload };
    Ok(attend(crew, &heard, stop, beside, enough))
}

/// What is attended to beside the feeds.
#[derive(Default)]
pub(super) struct Beside {
    board: Option<Board>,
    manager: Option<Manager>,
    reload: Option<Reload>,
}

/// Who is told how the run is, beside its user, and how many signals it made.
type Manager = (Herald, SoFar);

/// The service manager, if there is one, and the sink that counts for it.
fn manager(clock: Clock) -> (Vec<Box<dyn Sink>>, Option<Manager>) {
    let herald = Herald::find(clock).unwrap_or_else(|why| {
        eprintln!("service manager: {why}; it is told nothing");
        None
    });
    let Some(herald) = herald else { return (Vec::new(), None) };
    let count = Count::default();
    let so_far = count.so_far();
    (vec![Box::new(count)], Some((herald, so_far)))
}

/// Prints feed changes, and shows how the lines are, until the threads have ended.
pub(super) fn attend(
    crew: Crew,
    notices: &Receiver<FeedChange>,
    stop: &Stop,
    beside: Beside,
    mut enough: impl FnMut(u8, Duration) -> bool,
) -> Attended {
    let Beside { mut board, mut manager, mut reload } = beside;
    let began = Instant::now();
    let (mut live, mut heard) = (0, 0);
    if let Some((herald, _)) = &mut manager {
        herald.watch(crew.passes());
    }
    while !crew.is_finished() {
        match notices.recv_timeout(LOOK) {
            Ok(change) => {
                say(&change);
                if let Some(board) = &mut board {
                    board.say(&change);
                }
                if let Some((herald, _)) = &mut manager {
                    herald.hear(&change);
                }
                if change.line == 0 {
                    live &= !change.venue.bit();
                    live |= if change.state.hears() { change.venue.bit() } else { 0 };
                }
                heard |= if change.state.hears() { change.venue.bit() } else { 0 };
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
        }
        if let Some(board) = &mut board {
            board.turn();
        }
        if let Some(reload) = &mut reload {
            reload.turn();
        }
        if let Some((herald, so_far)) = &mut manager {
            herald.turn(so_far.signals(), stop.requested());
        }
        if enough(live, began.elapsed()) {
            stop.request();
        }
    }
    if let Some((herald, so_far)) = &mut manager {
        herald.turn(so_far.signals(), true);
    }
    let mut outcome = crew.join();
    if let Some(reload) = &mut reload {
        reload.ledger().iter().for_each(|(count, n)| outcome.ledger.add(count, n));
    }
    Attended { outcome, heard }
}

/// One line for a person. What a venue wrote has been made harmless where it came in.
fn say(change: &FeedChange) {
    let FeedChange { venue, line, route, state, code, why, .. } = change;
    let copy = line / ROUTES_MAX;
    let copy = if copy == 0 { String::new() } else { format!("#{}", copy + 1) };
    let code = if *code == 0 { String::new() } else { format!("({code})") };
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    eprintln!("feed {}/{route}{copy} {}{code}{why}", venue.name(), state.name());
    if matches!(change.code, 403 | 451) {
        eprintln!("feed {}: the venue refuses this address; check your region", venue.name());
    }
}

/// One live line per route of every venue that is enabled; their instruments go to `intake`.
pub(super) fn sources(
    feeds: &Settings,
    intake: &mut Intake,
    stop: &Stop,
) -> Result<Vec<Box<dyn Source>>, Failure> {
    let pem = feeds.ca_file.as_ref().map(|path| {
        std::fs::read(path).map_err(|e| Failure::config(format!("{}: {e}", path.display())))
    });
    let pem = pem.transpose()?;
    let trust = Trust::new(pem.as_deref()).map_err(Failure::config)?;
    let rest = Rest::new(pem.as_deref()).map_err(Failure::config)?;
    let enabled: Vec<_> = spoken().filter(|e| feeds.venue(e.venue()).enabled).collect();
    let mut lines = Vec::new();
    let mut besides: Vec<Box<dyn Source>> = Vec::new();
    for (exchange, instruments) in ask_all(&enabled, &rest, feeds, stop) {
        if exchange.venue() == Venue::Okx {
            let first: Vec<_> = feeds.reference.iter().map(|base| format!("{base}-USDT")).collect();
            let base = feeds.venue(Venue::Okx).rest;
            let started = Repair::start(rest.clone(), base, &instruments, &first);
            let started = started.map_err(|e| Failure::running(format!("repair thread: {e}")))?;
            besides.push(Box::new(started));
        }
        let setups = Setup::of(exchange, feeds, &instruments).map_err(Failure::config)?;
        let rare = setups.iter().any(|setup| setup.plan.rare);
        besides.extend(beside(exchange.venue(), feeds, rare)?);
        lines.extend(setups);
        if let Some(desk) = intake.desk(exchange.venue()) {
            desk.instruments = instruments;
        }
    }
    if lines.is_empty() && !stop.requested() {
        return Err(Failure::config("feeds: every venue is disabled; enable at least one"));
    }
    let threads = |e: std::io::Error| Failure::running(format!("dial threads: {e}"));
    let dialer = Dialer::start(lines.len(), &trust).map_err(threads)?;
    let open = |line| {
        let socket = Socket::new(line, dialer.clone())?;
        let socket = if feeds.kernel_stamps { socket.timing_arrivals() } else { socket };
        Ok(Box::new(socket) as Box<dyn Source>)
    };
    let open =
        |line| open(line).map_err(|e: std::io::Error| Failure::running(format!("poll: {e}")));
    lines.into_iter().map(open).chain(besides.into_iter().map(Ok)).collect()
}

/// What is heard of a venue beside its connections: its node's files; or that nothing is.
fn beside(venue: Venue, feeds: &Settings, rare: bool) -> Result<Option<Box<dyn Source>>, Failure> {
    if let Some(at) = feeds.venue(venue).node {
        let node = Node::start(at).map_err(|e| Failure::running(format!("node thread: {e}")))?;
        return Ok(Some(Box::new(node)));
    }
    let why = "its liquidations are not heard: no address, vault or node is configured";
    let unheard = || Box::new(Unheard::new(venue, ROUTES_MAX - 1, "fills", why)) as Box<_>;
    Ok((!rare).then(unheard))
}

/// Asks every venue for its instruments at once, and says which did not answer. Nobody waits for the
/// others when `stop` is asked for: an answer may take long.
pub(super) fn ask_all(
    enabled: &[&'static dyn Exchange],
    rest: &Rest,
    feeds: &Settings,
    stop: &Stop,
) -> Vec<(&'static dyn Exchange, Instruments)> {
    let (tell, answers) = bounded(enabled.len());
    for (i, &exchange) in enabled.iter().enumerate() {
        let base = feeds.venue(exchange.venue()).rest;
        let (tell, rest) = (tell.clone(), rest.clone());
        thread::spawn(move || tell.send((i, rest.instruments(exchange, base.as_deref()))));
    }
    drop(tell);
    let mut asked: BTreeMap<usize, Instruments> = BTreeMap::new();
    while !stop.requested() {
        match answers.recv_timeout(LOOK) {
            Ok((i, (instruments, complaints))) => {
                for complaint in complaints {
                    eprintln!("instruments: {complaint}; going on with those known without asking");
                }
                asked.insert(i, instruments);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    asked.into_iter().filter_map(|(i, found)| Some((*enabled.get(i)?, found))).collect()
}
