//! What the engine says of markets that never were; see [`invent`](super::invent).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::invent::{PLOTS, Plot, Story, tell};
use super::score::seconds;
use super::table::median;
use crate::engine::{Engine, Outbox, Settings};
use crate::event::Event;
use crate::signal::Level;
use crate::symbol::Symbol;
use crate::time::{NS_PER_MS, Nanos};

/// Ticks are this far apart.
const TICK_NS: u64 = 100 * NS_PER_MS;
/// The first seed. Those before it were looked at while conditions were made.
const FIRST: u64 = 1_000;
/// An alarm of a cascade counts until this long after its peak, ms.
const LATE_MS: i64 = 60_000;

/// How one story was taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    plot: Plot,
    seed: u64,
    has_price: bool,
    /// When the market, and any row, first stood at the level, ms before the peak; for what only looks
    /// like a cascade, before it begins.
    market: Option<i64>,
    any: Option<i64>,
}

/// Plays `each` stories of every plot.
#[must_use]
pub fn play(settings: &Settings, level: Level, each: u64) -> Vec<Taken> {
    let total = each * PLOTS.len() as u64;
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let plot = usize::try_from(i / each.max(1)).ok().and_then(|i| PLOTS.get(i));
            match plot {
                Some((plot, _)) if i < total => {
                    done.push(take(settings, level, *plot, FIRST + i % each))
                }
                _ => return done,
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<Taken> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.flat_map(|done| done.unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    all.sort_by_key(|taken| (taken.plot as u8, taken.seed));
    all
}

fn take(settings: &Settings, level: Level, plot: Plot, seed: u64) -> Taken {
    let story = tell(plot, seed);
    let (market, any) = first(settings, level, &story);
    let lead = |at: i64| story.peak.unwrap_or(story.begins) - at;
    let counts =
        |at: &i64| story.peak.is_none_or(|peak| *at >= story.begins && *at <= peak + LATE_MS);
    Taken {
        plot,
        seed,
        has_price: story.has_price,
        market: market.filter(counts).map(lead),
        any: any.filter(counts).map(lead),
    }
}

/// When the market, and any row, first stood at `level`, ms since 1970.
fn first(settings: &Settings, level: Level, story: &Story) -> (Option<i64>, Option<i64>) {
    let (mut engine, mut out) = (Engine::new(settings), Outbox::new());
    let (mut market, mut any) = (None, None);
    let mut take = |event: &Event| {
        out.clear();
        engine.take(event, &mut out);
        for report in out.reports().iter().filter(|report| report.level >= level) {
            any = any.or(Some(report.at.millis()));
            if report.symbol == Symbol::MARKET {
                market = market.or(Some(report.at.millis()));
            }
        }
    };
    let mut tick = story.events.first().map_or(Nanos(0), |first| first.received);
    for event in &story.events {
        while tick < event.received {
            take(&Event::tick(tick));
            tick = tick.plus(TICK_NS);
        }
        take(event);
    }
    (market, any)
}

/// Those of one plot, with or without a price.
struct Row<'a> {
    name: String,
    taken: Vec<&'a Taken>,
}

fn rows(all: &[Taken]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (plot, name) in PLOTS {
        for (has_price, said) in [(true, "price known"), (false, "no price")] {
            let of = |taken: &&Taken| taken.plot == plot && taken.has_price == has_price;
            let taken: Vec<_> = all.iter().filter(of).collect();
            rows.push(Row { name: format!("{name}, {said}"), taken });
        }
    }
    rows
}

impl Row<'_> {
    fn count(&self, is: impl Fn(&Taken) -> bool) -> usize {
        self.taken.iter().filter(|taken| is(taken)).count()
    }

    fn is_cascade(&self) -> bool {
        self.taken.first().is_some_and(|taken| taken.plot == Plot::Cascade)
    }

    fn in_time(&self) -> Option<usize> {
        let is_early = |taken: &Taken| taken.market.is_some_and(|lead| lead > 0);
        self.is_cascade().then(|| self.count(is_early))
    }

    fn lead(&self) -> Option<f64> {
        let leads = self.taken.iter().filter_map(|taken| taken.market).map(seconds).collect();
        self.is_cascade().then(|| median(leads)).flatten()
    }

    /// Seeds of cascades that were missed, or of what was taken for one.
    fn wrong(&self) -> Vec<u64> {
        let is_wrong = |taken: &&&Taken| taken.market.is_some() != self.is_cascade();
        self.taken.iter().filter(is_wrong).map(|taken| taken.seed).collect()
    }
}

/// As a table.
#[must_use]
pub fn text(all: &[Taken], level: Level) -> String {
    let mut text = format!(
        "\ninvented markets at {}: {} stories; what is in time rose before the peak\n\
         {:<26}{:>6}{:>8}{:>9}{:>9}{:>10}  wrong seeds\n",
        level.name(),
        all.len(),
        "plot",
        "n",
        "market",
        "any row",
        "in time",
        "to peak"
    );
    for row in rows(all) {
        let wrong: Vec<String> = row.wrong().iter().take(12).map(u64::to_string).collect();
        let _ = writeln!(
            text,
            "{:<26}{:>6}{:>8}{:>9}{:>9}{:>10}  {}",
            row.name,
            row.taken.len(),
            row.count(|taken| taken.market.is_some()),
            row.count(|taken| taken.any.is_some()),
            row.in_time().map_or("-".to_owned(), |n| n.to_string()),
            row.lead().map_or("-".to_owned(), |lead| format!("{lead:+.1}")),
            wrong.join(" ")
        );
    }
    text
}

/// As JSON.
#[must_use]
pub fn json(all: &[Taken], level: Level) -> Value {
    let row = |row: &Row<'_>| {
        json!({
            "plot": row.name,
            "stories": row.taken.len(),
            "market": row.count(|taken| taken.market.is_some()),
            "any_row": row.count(|taken| taken.any.is_some()),
            "in_time": row.in_time(),
            "median_lead_to_peak_s": row.lead(),
            "wrong_seeds": row.wrong(),
        })
    };
    json!({ "level": level.name(), "plots": rows(all).iter().map(row).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plot_is_played_whoever_plays_it() {
        let all = play(&Settings { max_symbols: 512, ..Settings::default() }, Level::Alert, 2);
        let played: Vec<_> = all.iter().map(|taken| (taken.plot, taken.seed)).collect();
        let expected: Vec<_> =
            PLOTS.iter().flat_map(|(plot, _)| [(*plot, FIRST), (*plot, FIRST + 1)]).collect();
        assert_eq!(played, expected);
        assert!(text(&all, Level::Alert).contains("14 stories"));
    }
}
