//! The tables, and the targets beside them.

use std::fmt::Write as _;

use crate::contender::{ALL, Who};
use crate::figures::{Spread, median};
use crate::machine::Counter;
use crate::rounds::{Calls, Load, Run, Runs, Stage, loads};

/// The largest burst on record: fills of one feed within one millisecond.
const BURST: usize = 22_558;
/// Most events of all symbols within ten seconds.
const BUSY: usize = 1_038;

/// The median over rounds of what `pick` finds in a run.
fn of(runs: &Runs, load: Load, who: Who, pick: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    median(runs.get(&(load, who))?.iter().filter_map(pick))
}

/// A figure, `-` where there is none.
fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// `None` also where there is nothing to divide by: the floor is decided when it is read.
fn ratio(above: Option<f64>, below: Option<f64>) -> Option<f64> {
    Some(above? / below.filter(|below| *below > 0.0)?)
}

/// A measurement.
#[derive(Debug)]
pub struct Measured<'a> {
    /// How often everything was run.
    pub rounds: usize,
    /// What foreshock does when nothing comes.
    pub idle: &'a str,
    /// The runs.
    pub runs: Runs,
    /// Calls into the kernel, and how they were counted; `None` where they cannot be.
    pub calls: Option<(Counter, Calls)>,
    /// Where foreshock's time goes flat out, plain and TLS.
    pub functions: [Vec<String>; 2],
}

/// Everything that is said about it.
#[must_use]
pub fn text(head: &str, measured: &Measured<'_>) -> String {
    let Measured { rounds, idle, runs, calls, functions } = measured;
    let mut text = format!("# Side by side\n\n```\n{head}```\n");
    let _ = writeln!(
        text,
        "Medians over {rounds} rounds of alternating runs, contender on core 0, sender on core 1; \
         foreshock inline, `run.idle={idle}`. Every message came and was decided, and counts and sums \
         were the sender's, in every run.\n"
    );
    let all = [
        targets(runs),
        wire(runs, "Wire to decision, us", |run| run.wire, 1_000.0),
        wire(runs, "Inside the process: read returned to decided, us", |run| run.inside, 1_000.0),
        parsed(runs),
        lateness(runs),
        flat(runs),
        each(runs, calls.as_ref().map(|(counter, calls)| (*counter, calls))),
        spent(functions),
    ];
    all.iter().for_each(|part| text.push_str(part));
    text
}

/// Where foreshock's time goes.
fn spent(functions: &[Vec<String>; 2]) -> String {
    let mut text = String::new();
    for (wire, lines) in
        ["plain", "TLS"].iter().zip(functions).filter(|(_, lines)| !lines.is_empty())
    {
        let lines = lines.join("\n");
        let _ = writeln!(
            text,
            "## foreshock flat out, {wire}: share of its time\n\n```\n{lines}\n```\n"
        );
    }
    text
}

/// The loads that were run, in order.
fn run_loads(runs: &Runs) -> Vec<Load> {
    loads().into_iter().filter(|load| runs.keys().any(|(of, _)| of == load)).collect()
}

fn paced(runs: &Runs) -> Vec<Load> {
    run_loads(runs).into_iter().filter(|load| load.rate.is_some()).collect()
}

fn wire(runs: &Runs, title: &str, pick: fn(&Run) -> Option<Spread>, unit: f64) -> String {
    let mut text = format!(
        "## {title}\n\n| load | who | p50 | p99 | p50 x floor | p99 x floor | baseline p50 x | baseline p99 x |\n|---|---|---:|---:|---:|---:|---:|---:|\n"
    );
    for load in paced(runs) {
        for who in ALL {
            let p50 = |who| of(runs, load, who, |run| pick(run).map(|s| s.p50 / unit));
            let p99 = |who| of(runs, load, who, |run| pick(run).map(|s| s.p99 / unit));
            let floor = |p: &dyn Fn(Who) -> Option<f64>| shown(ratio(p(who), p(Who::Floor)), 2);
            let below = |p: &dyn Fn(Who) -> Option<f64>| shown(ratio(p(Who::Baseline), p(who)), 2);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                load.name(),
                who.name(),
                shown(p50(who), 2),
                shown(p99(who), 2),
                floor(&p50),
                floor(&p99),
                below(&p50),
                below(&p99)
            );
        }
    }
    text + "\n"
}

/// Where foreshock's time inside goes.
fn parsed(runs: &Runs) -> String {
    let mut text =
        "Of foreshock's, read returned to parsed, us (the rest is the end of the reader's turn, \
                    the rings and the engine's turn):\n\n"
            .to_owned();
    for load in paced(runs) {
        let pick = |pick: fn(Spread) -> f64| {
            shown(of(runs, load, Who::Foreshock, |run| run.parsed.map(|s| pick(s) / 1e3)), 2)
        };
        let _ =
            writeln!(text, "- {}: p50 {}, p99 {}", load.name(), pick(|s| s.p50), pick(|s| s.p99));
    }
    text + "\n"
}

/// How late the sender was: nobody's latency, and a sign of a machine that is not quiet.
fn lateness(runs: &Runs) -> String {
    let mut text = "## The sender, behind its schedule, us (p99)\n\n".to_owned();
    for load in paced(runs) {
        let late = |who| shown(of(runs, load, who, |run| run.late.map(|s| s.p99 / 1e3)), 1);
        let each: Vec<_> = ALL.iter().map(|who| format!("{} {}", who.name(), late(*who))).collect();
        let _ = writeln!(text, "- {}: {}", load.name(), each.join(", "));
    }
    text + "\n"
}

fn flat(runs: &Runs) -> String {
    let mut text = "## Flat out, one core, messages/s\n\n| wire | who | M/s | x baseline | x floor |\n|---|---|---:|---:|---:|\n".to_owned();
    for tls in [false, true] {
        let load = Load { tls, rate: None };
        let rate = |who| of(runs, load, who, |run| Some(run.rate / 1e6));
        for who in ALL.into_iter().filter(|who| rate(*who).is_some()) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                load.name(),
                who.name(),
                shown(rate(who), 3),
                shown(ratio(rate(who), rate(Who::Baseline)), 2),
                shown(ratio(rate(who), rate(Who::Floor)), 3)
            );
        }
    }
    text + "\n"
}

fn each(runs: &Runs, calls: Option<(Counter, &Calls)>) -> String {
    let mut text = "## For each message\n\n| load | who | allocations | calls into the kernel |\n|---|---|---:|---:|\n".to_owned();
    for load in run_loads(runs) {
        for who in ALL {
            let allocations = of(runs, load, who, |run| Some(run.allocations));
            let calls = calls.and_then(|(_, calls)| calls.get(&(load, who)).copied());
            let (allocations, calls) = (shown(allocations, 3), shown(calls, 3));
            let (load, who) = (load.name(), who.name());
            let _ = writeln!(text, "| {load} | {who} | {allocations} | {calls} |");
        }
    }
    let how = match calls {
        Some((Counter::Perf, _)) => {
            "counted by `perf stat`; whoever spins asks the kernel also when nothing came"
        }
        Some((Counter::Strace, _)) => "counted by `strace -c -f`, which slows the contender down",
        None => "not counted: neither perf nor strace works here",
    };
    format!("{text}\nCalls into the kernel: {how}.\n\n")
}

/// A target, and what was measured.
struct Target {
    name: String,
    value: Option<f64>,
    /// The value must not be above it (`true`) or below it.
    at_most: bool,
    bound: f64,
}

impl Target {
    fn line(&self) -> String {
        let Self { name, value, at_most, bound } = self;
        let met = value.map(|value| if *at_most { value <= *bound } else { value >= *bound });
        let verdict = met.map_or("not measured", |met| if met { "met" } else { "**missed**" });
        let sign = if *at_most { "<=" } else { ">=" };
        format!("| {name} | {} | {sign} {bound} | {verdict} |\n", shown(*value, 3))
    }
}

fn targets(runs: &Runs) -> String {
    let at = |tls| Load { tls, rate: Some(10_000) };
    type Pick = fn(&Run) -> Option<f64>;
    let p50: Pick = |run| run.wire.map(|s| s.p50);
    let p99: Pick = |run| run.wire.map(|s| s.p99);
    let in50: Pick = |run| run.inside.map(|s| s.p50);
    let in99: Pick = |run| run.inside.map(|s| s.p99);
    let own = |tls, pick: Pick| of(runs, at(tls), Who::Foreshock, pick);
    let floor = |tls, pick: Pick| ratio(own(tls, pick), of(runs, at(tls), Who::Floor, pick));
    let below = |tls, pick: Pick| ratio(of(runs, at(tls), Who::Baseline, pick), own(tls, pick));
    let flat = |tls| {
        let load = Load { tls, rate: None };
        let rate = |who| of(runs, load, who, |run| Some(run.rate));
        ratio(rate(Who::Foreshock), rate(Who::Baseline))
    };
    let allocations = |tls| own(tls, |run| Some(run.allocations));
    let most =
        |name: &str, value, bound| Target { name: name.to_owned(), value, at_most: true, bound };
    let least =
        |name: &str, value, bound| Target { name: name.to_owned(), value, at_most: false, bound };
    let us = |value: Option<f64>| value.map(|ns| ns / 1_000.0);
    let all = [
        most("plain 10,000/s, p50, x floor", floor(false, p50), 1.25),
        least("plain 10,000/s, p50, baseline x", below(false, p50), 2.2),
        most("plain 10,000/s, p99, x floor", floor(false, p99), 1.6),
        least("plain 10,000/s, p99, baseline x", below(false, p99), 3.0),
        least("TLS 10,000/s, p50, baseline x", below(true, p50), 1.6),
        least("TLS 10,000/s, p99, baseline x", below(true, p99), 2.0),
        most("inside, plain 10,000/s, p50, us", us(own(false, in50)), 0.5),
        most("inside, plain 10,000/s, p99, us", us(own(false, in99)), 1.0),
        least("inside, plain 10,000/s, p50, baseline x", below(false, in50), 3.0),
        least("inside, plain 10,000/s, p99, baseline x", below(false, in99), 7.0),
        least("flat out plain, x baseline (tape and tungstenite)", flat(false), 1.8),
        least("flat out plain, x baseline (scanners and slices)", flat(false), 4.0),
        least("flat out TLS, x baseline (tape and tungstenite)", flat(true), 1.7),
        least("flat out TLS, x baseline (scanners and slices)", flat(true), 4.0),
        most("allocations for each message, plain", allocations(false), 0.01),
        most("allocations for each message, TLS", allocations(true), 1.01),
    ];
    let lines: String = all.iter().map(Target::line).collect();
    format!("## Targets\n\n| what | measured | target | |\n|---|---:|---:|---|\n{lines}\n")
}

/// Bursts, and busy seconds, of ten and a hundred times the largest on record.
///
/// # Errors
/// When a run loses anything.
pub fn bursts(stage: &Stage) -> Result<String, String> {
    let mut text = format!(
        "## Far above the largest on record\n\nA burst is {BURST} messages and its multiples, all due at \
         once; a busy stretch {BUSY} messages in 10 s and its multiples. Latency is from when a message \
         was due (burst) or left (busy).\n\n| what | wire | messages | p50 us | p99 us | drained in ms | M/s |\n\
         |---|---|---:|---:|---:|---:|---:|\n"
    );
    for (tls, wire) in [(false, "plain"), (true, "TLS")] {
        for times in [1, 10, 100] {
            let count = BURST * times;
            let run = stage.burst(tls, count)?;
            let drained = run.whole.map(|ns| ns as f64 / 1e6);
            let line = row(&format!("burst x {times}"), wire, count, &run, drained);
            text.push_str(&line);
        }
        for times in [10, 100] {
            let rate = (BUSY * times / 10) as u64;
            let count = usize::try_from(rate * 2).unwrap_or(usize::MAX);
            let run = stage.steady(tls, count, rate)?;
            text.push_str(&row(&format!("busy x {times}, 2 s of it"), wire, count, &run, None));
        }
    }
    Ok(text + "\n")
}

fn row(what: &str, wire: &str, count: usize, run: &Run, drained: Option<f64>) -> String {
    let spread = run.wire.unwrap_or_default();
    let (p50, p99) = (spread.p50 / 1e3, spread.p99 / 1e3);
    let rate = drained.map(|ms| count as f64 / ms / 1e3);
    let (drained, rate) = (shown(drained, 1), shown(rate, 3));
    format!("| {what} | {wire} | {count} | {p50:.1} | {p99:.1} | {drained} | {rate} |\n")
}
