//! `foreshock jitter`: how long a spinning thread does not run, core by core.
//!
//! ```text
//! gaps   the clock is read again and again; what passes between two readings beyond a floor was
//!        taken by somebody else: an interrupt, another thread, the hypervisor
//! wakes  a timer is asked for every millisecond; how late the thread is when it wakes
//! ```
//!
//! All cores are measured at once, each by a thread pinned to it: first the gaps for three fifths of the
//! time, then the wakes. The grade is by the longest gap: A below 10 us, B below 50 us, C below 1 ms, D
//! from there on. Made-up instants give the same arithmetic as real ones.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};
use serde::Serialize;

use super::Failure;
use super::clock::Clock;
use super::crew::pin;
use super::doctor::cpus::Cpus;
use super::doctor::host::Host;
use super::doctor::load::stolen;
use super::doctor::machine::Machine;
use super::doctor::print::{Paper, put};
use super::format::Format;
use super::status::runs;
use super::{doctor, pipeline};
use crate::config::Config;
use crate::time::{NS_PER_MS, NS_PER_S};

/// A gap shorter than this is the loop itself.
const FLOOR_NS: u64 = 1_000;
/// A gap from here on is told apart in the table.
const LONG_NS: u64 = 10_000;
/// The longest that is told apart; anything longer counts as this.
const LONGEST_NS: u64 = 60 * NS_PER_S;
const WAKE_EVERY_NS: u64 = NS_PER_MS;
/// Ticks of /proc/stat.
const TICK_MS: u64 = 10;

/// How still a core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Grade {
    /// Nothing took 10 us.
    A,
    /// Nothing took 50 us.
    B,
    /// Nothing took a millisecond.
    C,
    /// Something did.
    D,
}

impl Grade {
    /// By the longest gap, ns.
    #[must_use]
    pub const fn of(longest_ns: u64) -> Self {
        match longest_ns {
            ..10_000 => Self::A,
            10_000..50_000 => Self::B,
            50_000..1_000_000 => Self::C,
            _ => Self::D,
        }
    }
}

/// Lengths of time, ns.
#[derive(Clone, Debug)]
struct Lengths(Histogram<u64>);

impl Lengths {
    fn new() -> Result<Self, String> {
        Histogram::new_with_bounds(1, LONGEST_NS, 3)
            .map(Self)
            .map_err(|e| format!("histogram: {e}"))
    }

    fn add(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }
}

/// What was taken from one core.
#[derive(Clone, Debug)]
pub struct Hiccups {
    /// The core.
    pub core: usize,
    /// Why it could not be measured; its numbers are of no core in particular then.
    pub trouble: Option<String>,
    gaps: Lengths,
    wakes: Lengths,
    /// Gaps of at least 10 us.
    long: u64,
    /// What all gaps took.
    lost_ns: u64,
    spun_ns: u64,
    longest_ns: u64,
    last: Option<u64>,
    stolen_ms: u64,
}

impl Hiccups {
    /// Nothing yet.
    ///
    /// # Errors
    /// When there is no memory for a histogram.
    pub fn new(core: usize) -> Result<Self, String> {
        Ok(Self {
            core,
            trouble: None,
            gaps: Lengths::new()?,
            wakes: Lengths::new()?,
            long: 0,
            lost_ns: 0,
            spun_ns: 0,
            longest_ns: 0,
            last: None,
            stolen_ms: 0,
        })
    }

    /// The clock was read, and said this.
    pub fn read(&mut self, now_ns: u64) {
        let gap = now_ns.saturating_sub(self.last.replace(now_ns).unwrap_or(now_ns));
        self.spun_ns += gap;
        if gap >= FLOOR_NS {
            self.gaps.add(gap);
            self.long += u64::from(gap >= LONG_NS);
            self.lost_ns += gap;
            self.longest_ns = self.longest_ns.max(gap);
        }
    }

    /// The thread wanted to wake at one time, and did at another.
    pub fn woke(&mut self, wanted_ns: u64, now_ns: u64) {
        self.wakes.add(now_ns.saturating_sub(wanted_ns));
    }

    /// How still the core is.
    #[must_use]
    pub fn grade(&self) -> Grade {
        Grade::of(self.longest_ns)
    }

    /// In a few words.
    #[must_use]
    pub fn words(&self) -> String {
        let longest = shown(self.longest_ns);
        format!(
            "core {}: {:?} (longest {longest}, {:.2} % lost)",
            self.core,
            self.grade(),
            self.lost()
        )
    }

    /// Per cent of the time that gaps took.
    fn lost(&self) -> f64 {
        100.0 * self.lost_ns as f64 / self.spun_ns.max(1) as f64
    }

    fn per_second(&self, n: u64) -> f64 {
        n as f64 * NS_PER_S as f64 / self.spun_ns.max(1) as f64
    }

    fn row(&self) -> Row {
        let wake = |quantile| self.wakes.0.value_at_quantile(quantile);
        Row {
            core: self.core,
            grade: self.grade(),
            spun_ms: self.spun_ns / NS_PER_MS,
            gaps_per_s: self.per_second(self.gaps.0.len()),
            long_gaps_per_s: self.per_second(self.long),
            gap_p99_ns: self.gaps.0.value_at_quantile(0.99),
            gap_max_ns: self.longest_ns,
            lost_percent: self.lost(),
            wakes: self.wakes.0.len(),
            wake_p50_ns: wake(0.5),
            wake_p99_ns: wake(0.99),
            wake_max_ns: self.wakes.0.max(),
            stolen_ms: self.stolen_ms,
        }
    }
}

/// One core, for a table or a program. Quantiles are within 0.1 %.
#[derive(Debug, Serialize)]
struct Row {
    core: usize,
    grade: Grade,
    spun_ms: u64,
    /// Gaps of at least 1 us.
    gaps_per_s: f64,
    /// Gaps of at least 10 us.
    long_gaps_per_s: f64,
    gap_p99_ns: u64,
    gap_max_ns: u64,
    lost_percent: f64,
    wakes: u64,
    wake_p50_ns: u64,
    wake_p99_ns: u64,
    wake_max_ns: u64,
    /// Taken by the hypervisor meanwhile, to 10 ms.
    stolen_ms: u64,
}

#[derive(Serialize)]
struct Document {
    duration_ms: u64,
    machine: Machine,
    caveats: Vec<String>,
    cores: Vec<Row>,
}

/// Measures the cores that the layout would use, or `cpus`, and prints what was found.
///
/// # Errors
/// A core does not exist or may not be used; a run would be disturbed; standard output is gone.
pub fn jitter(
    config: &Config,
    cpus: Option<&str>,
    duration: Duration,
    format: Format,
) -> Result<(), Failure> {
    let host = Host::at("/".as_ref());
    let cores = match cpus {
        Some(list) => named(list)?,
        None => own(config)?,
    };
    let found = measure(&cores, duration, io::stderr().is_terminal()).map_err(Failure::running)?;
    if let Some(trouble) = found.iter().find_map(|core| core.trouble.as_ref()) {
        return Err(Failure::usage(trouble));
    }
    let machine = Machine::of(&host);
    let document = Document {
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        caveats: machine.caveats(),
        machine,
        cores: found.iter().map(Hiccups::row).collect(),
    };
    format.print(&document, table)
}

/// The cores a user named.
fn named(list: &str) -> Result<Vec<usize>, Failure> {
    let plain = |c: char| c.is_ascii_digit() || c == ',' || c == '-';
    let cpus = Cpus::list(list);
    if cpus.is_empty() || !list.chars().all(plain) {
        return Err(Failure::usage(format!("--cpus {list}: expected a list such as 2,3 or 2-5")));
    }
    let online =
        Cpus::list(&fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default());
    let absent = cpus.without(&online);
    if !online.is_empty() && !absent.is_empty() {
        let line = format!("--cpus {list}: no core {absent} here (online: {online})");
        return Err(Failure::usage(line));
    }
    Ok(cpus.0.into_iter().collect())
}

/// The cores of the layout; all where none is pinned. Whoever is running there is left in peace.
fn own(config: &Config) -> Result<Vec<usize>, Failure> {
    let seen = runs(&config.run.status(), Clock::start().run());
    if let Some(run) = seen.iter().find(|run| run.fresh) {
        return Err(Failure::usage(format!(
            "run {} is alive, and spinning would take its cores from it; name others with --cpus, or \
             the same to measure all the same",
            run.status.pid
        )));
    }
    let layout = pipeline::layout(&config.run).0;
    let pinned: Vec<_> =
        pipeline::seats(layout, &config.run).iter().filter_map(|seat| seat.core).collect();
    if !pinned.is_empty() {
        return Ok(pinned);
    }
    let allowed = doctor::allowed_here();
    eprintln!(
        "jitter: no core is pinned in the settings: all that may be used are measured ({allowed})"
    );
    Ok(allowed.0.into_iter().collect())
}

/// Measures these cores at once.
///
/// # Errors
/// When the system gives no thread.
pub fn measure(
    cores: &[usize],
    duration: Duration,
    progress: bool,
) -> Result<Vec<Hiccups>, String> {
    let before = fs::read_to_string("/proc/stat").unwrap_or_default();
    let began = Instant::now();
    let mut threads = Vec::new();
    for &core in cores {
        let work = move || measure_one(core, duration);
        let builder = thread::Builder::new().name(format!("jitter-{core}"));
        threads.push(builder.spawn(work).map_err(|e| format!("threads: {e}"))?);
    }
    while progress && threads.iter().any(|thread| !thread.is_finished()) {
        let passed = began.elapsed().min(duration).as_secs();
        eprint!("\r\x1b[2Kjitter: {passed} of {} s", duration.as_secs());
        // Rarely: whoever prints takes time from somebody.
        thread::sleep(Duration::from_millis(500));
    }
    let mut found = Vec::new();
    for thread in threads {
        found.push(thread.join().map_err(|_| "a measuring thread panicked".to_owned())??);
    }
    if progress {
        eprint!("\r\x1b[2K");
    }
    let after = fs::read_to_string("/proc/stat").unwrap_or_default();
    let of =
        |stat: &str, core| stolen(stat).iter().find(|(c, _)| *c == core).map_or(0, |(_, n)| *n);
    for core in &mut found {
        core.stolen_ms = of(&after, core.core).saturating_sub(of(&before, core.core)) * TICK_MS;
    }
    Ok(found)
}

fn measure_one(core: usize, duration: Duration) -> Result<Hiccups, String> {
    let mut hiccups = Hiccups::new(core)?;
    if let Err(why) = pin(core) {
        hiccups.trouble = Some(why);
        return Ok(hiccups);
    }
    let whole = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let began = monotonic();
    let (turn, end) = (began.saturating_add(whole / 5 * 3), began.saturating_add(whole));
    let mut now = began;
    while now < turn {
        now = monotonic();
        hiccups.read(now);
    }
    let mut wanted = now;
    loop {
        wanted += WAKE_EVERY_NS;
        if wanted >= end {
            return Ok(hiccups);
        }
        // Interrupted by a signal it wakes early, and that is no lateness.
        if clock_nanosleep_absolute(ClockId::Monotonic, &timespec(wanted)).is_ok() {
            hiccups.woke(wanted, monotonic());
        }
    }
}

fn monotonic() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec.cast_unsigned().saturating_mul(NS_PER_S).saturating_add(tv_nsec.cast_unsigned())
}

fn timespec(ns: u64) -> Timespec {
    let (seconds, rest) = (ns / NS_PER_S, ns % NS_PER_S);
    Timespec { tv_sec: seconds.cast_signed(), tv_nsec: rest.cast_signed() }
}

fn table<W: Write>(document: &Document, out: &mut W) -> io::Result<()> {
    let heads = [
        "core", "grade", "gaps/s", ">=10us/s", "p99", "longest", "lost %", "wake p50", "p99",
        "max", "stolen",
    ];
    for head in heads {
        write!(out, "{head:>9}")?;
    }
    writeln!(out)?;
    for row in &document.cores {
        write!(out, "{:>9}{:>9}", row.core, format!("{:?}", row.grade))?;
        write!(out, "{:>9.0}{:>9.1}", row.gaps_per_s, row.long_gaps_per_s)?;
        write!(out, "{:>9}{:>9}", shown(row.gap_p99_ns), shown(row.gap_max_ns))?;
        write!(out, "{:>9.3}{:>9}", row.lost_percent, shown(row.wake_p50_ns))?;
        write!(out, "{:>9}{:>9}", shown(row.wake_p99_ns), shown(row.wake_max_ns))?;
        writeln!(out, "{:>9}", format!("{} ms", row.stolen_ms))?;
    }
    writeln!(out, "\ngrade by the longest gap: A < 10 us, B < 50 us, C < 1 ms, D worse")?;
    let width = Paper::of_stdout().width;
    for caveat in &document.caveats {
        put(out, "", &format!("This is {caveat}."), 2, width)?;
    }
    Ok(())
}

/// A length of time in a unit that suits it.
fn shown(ns: u64) -> String {
    match ns {
        ..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Hiccups {
        /// A core with these gaps, 100 ns of spinning before each.
        pub fn of(core: usize, gaps: &[u64]) -> Self {
            let mut hiccups = Self::new(core).unwrap();
            let mut now = 5;
            hiccups.read(now);
            for gap in gaps {
                now += 100;
                hiccups.read(now);
                now += gap;
                hiccups.read(now);
            }
            hiccups
        }
    }

    #[test]
    fn what_passes_between_two_readings_is_a_gap_from_the_floor_on() {
        let row = Hiccups::of(3, &[999, 1_000, 20_000, 30_000]).row();
        assert_eq!((row.gap_max_ns, row.grade, row.core), (30_000, Grade::B, 3));
        let spun = 400.0 + 999.0 + 51_000.0;
        assert!((row.lost_percent - 100.0 * 51_000.0 / spun).abs() < 1e-9, "{row:?}");
        assert!((row.gaps_per_s - 3.0 * 1e9 / spun).abs() < 1e-3, "{row:?}");
        assert!((row.long_gaps_per_s - 2.0 * 1e9 / spun).abs() < 1e-3, "{row:?}");
    }

    #[test]
    fn the_longest_gap_gives_the_grade() {
        for (ns, grade) in [
            (0, Grade::A),
            (9_999, Grade::A),
            (10_000, Grade::B),
            (49_999, Grade::B),
            (50_000, Grade::C),
            (999_999, Grade::C),
            (1_000_000, Grade::D),
            (u64::MAX, Grade::D),
        ] {
            assert_eq!(Grade::of(ns), grade, "{ns}");
        }
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_takes_nothing() {
        let mut hiccups = Hiccups::new(0).unwrap();
        [50_000, 50_000, 40_000].into_iter().for_each(|now| hiccups.read(now));
        assert_eq!((hiccups.longest_ns, hiccups.grade()), (0, Grade::A));
        hiccups.read(100 * LONGEST_NS);
        assert_eq!(hiccups.grade(), Grade::D);
    }

    #[test]
    fn lateness_is_from_the_time_that_was_wanted() {
        let mut hiccups = Hiccups::new(0).unwrap();
        (1..=99).for_each(|i| hiccups.woke(i * 1_000, i * 1_000 + 60));
        hiccups.woke(1_000, 1_000_000);
        let row = hiccups.row();
        assert_eq!((row.wakes, row.wake_p50_ns), (100, 60));
        assert!((998_000..=1_000_000).contains(&row.wake_max_ns), "{row:?}");
        hiccups.woke(10, 0);
        assert_eq!(hiccups.wakes.0.min(), 1, "early is not late");
    }

    #[test]
    fn a_list_of_cores_is_checked_before_anything_spins() {
        for bad in ["", "x", "0,x", "1;2", "900000"] {
            let refused = named(bad).unwrap_err();
            assert!(refused.code == 2 && refused.line.starts_with("--cpus"), "{refused:?}");
        }
        assert_eq!(named("0").unwrap(), [0]);
    }
}
