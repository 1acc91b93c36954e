//! The picture in Prometheus' text format.
//!
//! Names are `foreshock_<noun>_<unit>[_total]` in seconds and bytes; the labels are `venue`, `line`,
//! `stage`, `sink`, `level`, `reason` and `ring`, whose values come from tables in the program, so that
//! the number of series is bounded. What is not known has no sample. The latency of a stage is a
//! histogram with fixed bounds, so that those of several engines can be added up.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::beat::Beat;
use super::feed::Feed;
use super::health::Health;
use super::picture::{Picture, seconds};
use super::server::Books;
use super::view::{Run, counts};
use crate::publish::latency::Digest;
use crate::signal::Level;
use crate::time::Now;

/// Upper bounds of the latency buckets: ns, and how they are written, s.
const BOUNDS: [(u64, &str); 20] = [
    (500, "5e-07"),
    (1_000, "1e-06"),
    (2_500, "2.5e-06"),
    (5_000, "5e-06"),
    (10_000, "1e-05"),
    (25_000, "2.5e-05"),
    (50_000, "5e-05"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (10_000_000_000, "10"),
];

/// How a count of the pipeline is told: its name there, the metric, its one label (`""`: none; the
/// label's value is the count's own), a fixed label, what it means.
struct Told(&'static str, &'static str, &'static str, &'static str, &'static str);

const WRITTEN: &str = "Records a sink has written.";
const LOST: &str = "Records a sink could not take or write.";

/// Counts that only grow.
const COUNTERS: &[Told] = &[
    Told("frames", "frames_total", "", "", "Frames received from venues."),
    Told("decoded", "frames_decoded_total", "", "", "Frames that were decoded."),
    Told("ignored", "frames_ignored_total", "reason", "", "Frames that carry no event, by kind."),
    Told(
        "rejected",
        "frames_rejected_total",
        "reason",
        "",
        "Frames that could not be read, by reason.",
    ),
    Told(
        "refused",
        "items_refused_total",
        "reason",
        "",
        "Items of frames that were refused, by reason.",
    ),
    Told(
        "flagged",
        "events_flagged_total",
        "reason",
        "",
        "Events with something special about them.",
    ),
    Told("events", "events_total", "", "", "Events made of what venues sent."),
    Told("ticks", "ticks_total", "", "", "Events of our own: ticks and changes of feeds."),
    Told("offered", "events_offered_total", "", "", "Events offered to the first ring."),
    Told("pushed", "events_pushed_total", "", "", "Events that passed into the first ring."),
    Told(
        "dropped",
        "ring_dropped_total",
        "",
        "ring=\"event\"",
        "Items lost because a ring was full.",
    ),
    Told("consumed", "events_consumed_total", "", "", "Events taken by the engine."),
    Told("gaps", "feed_gaps_total", "", "", "Times the last line of a route fell silent."),
    Told("engine", "engine_events_total", "reason", "", "What the engine noticed about events."),
    Told("signals", "signals_made_total", "", "", "Signals made by the engine."),
    Told(
        "published",
        "signals_published_total",
        "",
        "",
        "Signals acknowledged, or handed to every sink.",
    ),
    Told(
        "evicted",
        "signals_evicted_total",
        "",
        "",
        "Signals given up because too many were waiting.",
    ),
    Told(
        "publish_broken",
        "output_lines_broken_total",
        "",
        "",
        "Lines of the second ring that did not fit.",
    ),
    Told("redis_attempts", "redis_connects_total", "", "", "Connections to Redis that were tried."),
    Told("redis_refused", "redis_refusals_total", "", "", "Replies of Redis that were errors."),
    Told("journal_bytes", "journal_written_bytes_total", "", "", "Bytes written to the journal."),
    Told("journal_records", "sink_written_total", "", "sink=\"journal\"", WRITTEN),
    Told("console_lines", "sink_written_total", "", "sink=\"console\"", WRITTEN),
    Told("alert_delivered", "sink_written_total", "", "sink=\"alert\"", WRITTEN),
    Told("journal_lost", "sink_lost_total", "", "sink=\"journal\"", LOST),
    Told("console_lost", "sink_lost_total", "", "sink=\"console\"", LOST),
    Told("alert_lost", "sink_lost_total", "", "sink=\"alert\"", LOST),
    Told("latency_failed", "sink_lost_total", "", "sink=\"latency\"", LOST),
    Told("page_lost", "sink_lost_total", "", "sink=\"page\"", LOST),
];

/// The text being written.
struct Text {
    out: String,
    last: String,
}

impl Text {
    /// What a metric is, once; its samples follow.
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        if self.last != name {
            let _ = writeln!(self.out, "# HELP foreshock_{name} {help}");
            let _ = writeln!(self.out, "# TYPE foreshock_{name} {kind}");
            name.clone_into(&mut self.last);
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _ = match labels {
            "" => writeln!(self.out, "foreshock_{name} {value}"),
            labels => writeln!(self.out, "foreshock_{name}{{{labels}}} {value}"),
        };
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.about(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.about(name, "counter", help);
        self.sample(name, "", number(value));
    }
}

/// A count as Prometheus has it: it knows no whole numbers.
#[expect(clippy::cast_precision_loss, reason = "exact below nine thousand million million")]
fn number(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "wall clock ms fit")]
fn since(now: Now, ms: i64) -> f64 {
    ((now.wall.0 - ms).max(0)) as f64 / 1e3
}

/// A label's value may hold anything.
fn quoted(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

/// All of it.
pub fn text(
    picture: &Picture,
    run: &Run,
    digest: Option<&Digest>,
    rings: &[(&'static str, usize)],
    books: &Books,
    streams: usize,
    now: Now,
) -> String {
    let mut text = Text { out: String::with_capacity(32 << 10), last: String::new() };
    about_the_run(&mut text, picture, run, now);
    stages(&mut text, picture, digest, now);
    feeds(&mut text, picture, now);
    counters(&mut text, picture, rings);
    signals(&mut text, picture);
    page(&mut text, books, streams);
    process(&mut text);
    text.out
}

fn about_the_run(text: &mut Text, picture: &Picture, run: &Run, now: Now) {
    text.about("build_info", "gauge", "The program that runs; always 1.");
    text.sample("build_info", &quoted("version", run.version), 1.0);
    #[expect(clippy::cast_precision_loss, reason = "wall clock ms fit")]
    let start = run.run as f64 / 1e3;
    text.gauge("run_start_time_seconds", "When the run began, Unix time.", start);
    let health = Health::of(picture, now);
    text.gauge("live", "Whether every loop goes round.", f64::from(health.is_live()));
    text.gauge("ready", "Whether enough venues are heard.", f64::from(health.is_ready()));
    let [all, heard, fresh] = health.venues;
    text.gauge("venues_expected", "Venues whose liquidations are to be heard.", number(all as u64));
    text.gauge("venues_heard", "Of these, venues that can be heard.", number(heard as u64));
    text.gauge(
        "venues_fresh",
        "Of these, venues that sent data within 10 s.",
        number(fresh as u64),
    );
    if let Some(age) = picture.tick_age(now.mono) {
        let help = "Age of the last tick that went through the whole pipeline.";
        text.gauge("tick_age_seconds", help, seconds(age));
    }
}

/// One number of a stage, of its thread's last beat and its longest turn, ns.
type OfStage<'a> = &'a dyn Fn(&Beat, u64) -> f64;

fn stages(text: &mut Text, picture: &Picture, digest: Option<&Digest>, now: Now) {
    let each: [(&str, &str, &str, OfStage<'_>); 3] = [
        (
            "stage_beat_age_seconds",
            "gauge",
            "Time since the stage's thread last said that it goes round.",
            &|beat, _| seconds(now.mono.since(beat.at)),
        ),
        (
            "stage_passes_total",
            "counter",
            "Passes of the loop that gives the stage its turns.",
            &|beat, _| number(beat.passes),
        ),
        (
            "stage_turn_longest_seconds",
            "gauge",
            "Longest turn of the stage in this run.",
            &|_, longest| seconds(longest),
        ),
    ];
    for (name, kind, help, of) in each {
        text.about(name, kind, help);
        for beat in picture.ears.iter().map(|ear| &ear.last).filter(|beat| beat.passes > 0) {
            for (stage, longest) in &beat.turns {
                text.sample(name, &quoted("stage", stage), of(beat, *longest));
            }
        }
    }
    let Some(digest) = digest else { return };
    let help = "Time between two points of the way, and length of turns.";
    text.about("stage_latency_seconds", "histogram", help);
    digest.show(|all| all.iter().for_each(|stage| histogram(text, stage.name, &stage.total)));
}

fn histogram(text: &mut Text, stage: &str, histogram: &Histogram<u64>) {
    let (mut below, mut sum) = ([0_u64; BOUNDS.len()], 0.0);
    for step in histogram.iter_recorded() {
        let (ns, n) = (step.value_iterated_to(), step.count_since_last_iteration());
        sum += seconds(ns) * number(n);
        for (count, _) in below.iter_mut().zip(BOUNDS).filter(|(_, (bound, _))| ns <= *bound) {
            *count += n;
        }
    }
    let label = quoted("stage", stage);
    for (count, (_, bound)) in below.into_iter().zip(BOUNDS) {
        text.sample(
            "stage_latency_seconds_bucket",
            &format!("{label},le=\"{bound}\""),
            number(count),
        );
    }
    let all = number(histogram.len());
    text.sample("stage_latency_seconds_bucket", &format!("{label},le=\"+Inf\""), all);
    text.sample("stage_latency_seconds_sum", &label, sum);
    text.sample("stage_latency_seconds_count", &label, all);
}

/// One number of a feed; `None` where it is not known.
type OfFeed<'a> = &'a dyn Fn(&Feed) -> Option<f64>;

fn feeds(text: &mut Text, picture: &Picture, now: Now) {
    text.about("venue_heard", "gauge", "Whether the venue's liquidations can be heard.");
    for (venue, heard) in picture.venues(now.mono) {
        text.sample("venue_heard", &quoted("venue", venue.name()), f64::from(heard));
    }
    text.about("gap_seconds_total", "counter", "How long the venue's liquidations were not heard.");
    for (venue, unheard) in picture.unheard() {
        text.sample("gap_seconds_total", &quoted("venue", venue), unheard);
    }
    let feeds = picture.feeds(now.mono).unwrap_or_default();
    let each: [(&str, &str, &str, OfFeed<'_>); 6] = [
        ("feed_up", "gauge", "Whether the line can be heard.", &|feed| {
            Some(f64::from(feed.hears()))
        }),
        (
            "feed_last_data_age_seconds",
            "gauge",
            "Time since the line last brought anything.",
            &|feed| feed.last_frame_ms.map(|ms| since(now, ms)),
        ),
        (
            "feed_last_liquidation_age_seconds",
            "gauge",
            "Time since the line last brought a liquidation.",
            &|feed| feed.last_liquidation_ms.map(|ms| since(now, ms)),
        ),
        ("feed_frames_total", "counter", "Frames the line brought.", &|feed| {
            Some(number(feed.frames))
        }),
        (
            "feed_won_total",
            "counter",
            "Events the line brought before the venue's other lines.",
            &|feed| feed.won.map(number),
        ),
        (
            "feed_beaten_total",
            "counter",
            "Events that another line of the venue brought before it.",
            &|feed| feed.beaten.map(number),
        ),
    ];
    for (name, kind, help, of) in each {
        for feed in feeds {
            let labels =
                format!("{},{}", quoted("venue", &feed.venue), quoted("line", &feed.line()));
            if let Some(value) = of(feed) {
                text.about(name, kind, help);
                text.sample(name, &labels, value);
            }
        }
    }
}

fn counters(text: &mut Text, picture: &Picture, rings: &[(&'static str, usize)]) {
    let counts = counts(picture);
    for Told(count, name, label, fixed, help) in COUNTERS {
        for (_, reason, n) in counts.iter().filter(|(known, ..)| known == count) {
            let is_sum = reason.is_empty();
            // Where the parts are told, their sum is not.
            if is_sum != label.is_empty() {
                continue;
            }
            text.about(name, "counter", help);
            let labels = if is_sum { (*fixed).to_owned() } else { quoted(label, reason) };
            text.sample(name, &labels, number(n));
        }
    }
    text.gauge(
        "signals_retained",
        "Signals that wait to be acknowledged.",
        number(counts.get("retained")),
    );
    if let Some((up, _)) = picture.redis() {
        text.about("sink_up", "gauge", "Whether the sink takes what it is given.");
        text.sample("sink_up", &quoted("sink", "redis"), f64::from(up));
    }
    let waiting = |ring: &str| {
        counts.iter().find(|(name, label, _)| (*name, *label) == ("waiting", ring)).map(|(.., n)| n)
    };
    let known: Vec<(&str, usize, u64)> =
        rings.iter().filter_map(|(ring, size)| Some((*ring, *size, waiting(ring)?))).collect();
    for (ring, size, n) in &known {
        text.about("ring_occupancy_ratio", "gauge", "How full the ring was at the last beat.");
        let ratio = number(*n) / number((*size).max(1) as u64);
        text.sample("ring_occupancy_ratio", &quoted("ring", ring), ratio);
    }
    for (ring, size, _) in &known {
        text.about("ring_capacity_items", "gauge", "Items the ring holds.");
        text.sample("ring_capacity_items", &quoted("ring", ring), number(*size as u64));
    }
}

fn signals(text: &mut Text, picture: &Picture) {
    text.about("signals_total", "counter", "Signals by the level they say, heartbeats included.");
    for (level, n) in Level::ALL.iter().zip(picture.by_level) {
        text.sample("signals_total", &quoted("level", level.name()), number(n));
    }
    let market = picture.rows.get(&crate::symbol::Symbol::MARKET).and_then(|row| row.report);
    if let Some(report) = market {
        text.gauge("market_risk_score", "Risk of the whole market, 0 to 100.", report.risk);
        let help = "Probability of a cascade of the whole market.";
        text.gauge("market_probability_ratio", help, report.probability);
    }
    text.gauge("symbols_known", "Symbols the page knows.", number(picture.rows.len() as u64));
}

fn page(text: &mut Text, books: &Books, streams: usize) {
    text.gauge("page_streams", "Browsers that are connected.", number(streams as u64));
    text.counter("page_requests_total", "Requests that were answered.", books.answered);
    text.counter("page_frames_total", "Frames sent to browsers.", books.frames);
    for (name, help, tally) in [
        ("page_requests_refused_total", "Requests that were refused.", &books.refused),
        ("page_clients_dropped_total", "Connections that were cut off.", &books.dropped),
    ] {
        for (reason, n) in tally.iter() {
            text.about(name, "counter", help);
            text.sample(name, &quoted("reason", reason), number(n));
        }
    }
}

/// What the system says of this process, where it says it.
fn process(text: &mut Text) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?.trim().split(' ').next()?.parse::<u64>().ok()
    });
    if let Some(kilobytes) = kilobytes {
        text.gauge(
            "resident_memory_bytes",
            "Memory of the process that is in RAM.",
            number(kilobytes << 10),
        );
    }
}
