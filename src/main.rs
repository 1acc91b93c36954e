//! Arguments in, exit code out. Everything else is in the library.

mod manual;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use foreshock::config::{Config, Layers};
use foreshock::run::backtest::{Options, Rows};
use foreshock::run::export::What;
use foreshock::run::{self, Failure};
use foreshock::signal::Level;
use foreshock::symbol::Symbol;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Warns of crypto liquidation cascades before they run.
#[derive(Parser)]
#[command(name = "foreshock", version, max_term_width = 100, after_help = FIRST_STEPS)]
struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

const FIRST_STEPS: &str = "\
First steps:
  foreshock demo                      a simulated market cascades in front of you; no network
  foreshock top                       what it sees, in another terminal
  foreshock check                     what `run` would do, and where each setting came from
  foreshock doctor                    what costs latency on this machine, and how to mend it
  foreshock run --duration 60s        listen to the real venues for a minute

Exit codes: 0 ok, 1 failure while running, 2 usage, 3 bad configuration, 4 doctor: a check fails,
5 no venue reachable, 6 a replayed journal gave other signals than it holds, 130 and 143 ended at
once by a second SIGINT or SIGTERM (the first passes on what is in flight).";

#[derive(Args)]
struct SettingsArgs {
    /// Configuration file (TOML).
    #[arg(long, global = true, env = "FORESHOCK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one setting; may be repeated.
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Listens to the venues and publishes signals.
    #[command(after_help = RUN)]
    Run {
        /// How long to run; until interrupted when not given.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        duration: Option<Duration>,
    },
    /// Shows a run that is alive, at a glance in the terminal.
    #[command(after_help = TOP)]
    Top {
        /// Where its page is; where the settings say (`page.listen`) when not given.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// Lines instead of a screen, as for a pipe.
        #[arg(long)]
        plain: bool,
        /// Prints what is known now, and ends.
        #[arg(long)]
        once: bool,
        /// Between two blocks of lines, or two documents.
        #[arg(long, value_parser = pause, value_name = "TIME", default_value = "1s")]
        every: Duration,
        /// For people, or for programs: what /status says, one document a line.
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Simulated venues over real loopback TLS, through the whole live pipeline.
    #[command(after_help = "Example:\n  foreshock demo --seed 7 --set redis.url=redis://127.0.0.1")]
    Demo {
        /// The market that is simulated.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long the story takes, from quiet to calm.
        #[arg(long, value_parser = duration, value_name = "TIME", default_value = "40s")]
        duration: Duration,
    },
    /// Plays recordings through the pipeline and prints a SHA-256 of the signals.
    #[command(after_help = REPLAY, after_long_help = REPLAY)]
    Replay {
        /// Event CSVs, JSON lines with a `raw` field, captures, or one journal; gzip is unpacked.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Recorded seconds per second.
        #[arg(long, default_value = "max")]
        speed: Speed,
        /// Writes each signal as a line of JSON.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// At most this much recorded time.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        duration: Option<Duration>,
    },
    /// Plays labelled recordings through the engine: hits, leads, false alarms, rules to beat.
    #[command(after_help = BACKTEST, after_long_help = BACKTEST)]
    Backtest(Box<BacktestArgs>),
    /// Only the simulated venues, for others to connect to.
    #[command(after_help = "Example:\n  foreshock simulate --port 9443 --ca ca.pem")]
    Simulate {
        /// Port on 127.0.0.1; 0 for any free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// The market that is simulated.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where to write the certificate to trust.
        #[arg(long, default_value = "foreshock-ca.pem", value_name = "FILE")]
        ca: PathBuf,
        /// How long to run; until interrupted when not given.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        duration: Option<Duration>,
    },
    /// Reads raw messages of a venue, prints one JSON object per normalised event.
    #[command(after_help = "Example:\n  foreshock decode --venue okx messages.jsonl")]
    Decode {
        /// Whose messages they are.
        #[arg(long, value_name = "VENUE")]
        venue: String,
        /// One message a line, raw or as JSON with a `raw` field; standard input when not given.
        file: Option<PathBuf>,
    },
    /// Writes what the venues send, byte for byte, to a file that `replay` reads.
    #[command(after_help = "Example:\n  foreshock record today.fsraw --duration 1h")]
    Record {
        /// The file to make; it must not exist.
        file: PathBuf,
        /// How long to record; until interrupted when not given.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        duration: Option<Duration>,
    },
    /// Shows the latency percentiles of a `.hlog` file: a table and a plot, over time, or against another.
    #[command(after_help = "Examples:\n  foreshock latency demo.hlog --svg latency.svg\n  \
                            foreshock latency demo.hlog --series\n  \
                            foreshock latency today.hlog --against yesterday.hlog")]
    Latency {
        /// An interval log written by `run`, `demo` or `replay`.
        file: PathBuf,
        /// Shows how each stage changed against this log.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Shows each stage over time.
        #[arg(long, conflicts_with = "against")]
        series: bool,
        /// Also draws the percentiles into an SVG.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// How to print it; in JSON all times are nanoseconds.
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Lists what can be heard where, how completely, and what is known to be gone.
    #[command(after_help = "Example:\n  foreshock venues --format json")]
    Venues {
        /// How to print it.
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Shows what one signal rests on, lived again from the journal.
    #[command(
        after_help = "Example:\n  foreshock explain 1700000000000-12 --journal journal\n\nThe \
                            signal is SEQ or RUN-SEQ as in the stream `foreshock:signals`."
    )]
    Explain {
        /// The signal.
        #[arg(value_name = "SIGNAL")]
        signal: run::explain::Name,
        /// The journal: a directory or a file.
        #[arg(long, value_name = "DIR")]
        journal: PathBuf,
        /// Liquidations shown, newest last.
        #[arg(long, default_value_t = 40, value_name = "N")]
        events: usize,
    },
    /// Writes a journal as CSV or as lines of JSON.
    #[command(after_help = EXPORT)]
    Export {
        /// The journal: a directory or a file.
        #[arg(long, value_name = "DIR")]
        journal: PathBuf,
        /// What to write.
        #[arg(long)]
        what: WhatArg,
        /// How to write it.
        #[arg(long, default_value = "csv")]
        format: Rendering,
        /// Only this symbol, such as BTCUSDT or MARKET.
        #[arg(long, value_parser = symbol, value_name = "SYMBOL")]
        symbol: Option<Symbol>,
        /// Not before this: Unix ms, or UTC such as 2025-10-10T21:13:00Z.
        #[arg(long, value_parser = run::export::moment, value_name = "WHEN")]
        from: Option<i64>,
        /// Before this.
        #[arg(long, value_parser = run::export::moment, value_name = "WHEN")]
        to: Option<i64>,
        /// The file to write, which appears when it is whole; standard output when not given.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Tells people: tries the channels that are configured.
    #[command(after_help = "Example:\n  foreshock alert test --config foreshock.toml")]
    Alert {
        /// What to do.
        #[command(subcommand)]
        what: AlertCommand,
    },
    /// Checks the configuration; shows the plan and where each value came from.
    #[command(after_help = "Example:\n  foreshock check --set run.idle=park")]
    Check {
        /// How to print it.
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Checks this machine: what costs latency here, and the command that mends it. Changes nothing.
    #[command(after_help = "Examples:\n  foreshock doctor --venues\n  \
                            foreshock doctor --script > mend.sh    # read it before you run it\n\n\
                            Exit code 4 when a check fails. tuning.md has a section for each.")]
    Doctor {
        /// Also asks the venues: their clocks, addresses, and whether their feeds speak.
        #[arg(long)]
        venues: bool,
        /// Prints the commands that mend it as a shell script, instead of the findings.
        #[arg(long, conflicts_with = "format")]
        script: bool,
        /// How to print it.
        #[arg(long, default_value = "table")]
        format: Format,
        /// Where the machine's files are.
        #[arg(long, hide = true, default_value = "/", value_name = "DIR")]
        root: PathBuf,
    },
    /// Measures how long a spinning thread is kept from running, core by core.
    #[command(after_help = "Examples:\n  foreshock jitter --cpus 2,3 --duration 60s\n  \
                            foreshock jitter --format json")]
    Jitter {
        /// Cores, such as 2,3 or 2-5; those of the settings when not given.
        #[arg(long, value_name = "LIST")]
        cpus: Option<String>,
        /// How long to measure.
        #[arg(long, value_parser = duration, value_name = "TIME", default_value = "5s")]
        duration: Duration,
        /// How to print it.
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Prints what completes this command line in a shell.
    #[command(
        after_help = "Example:\n  foreshock completions bash > /etc/bash_completion.d/foreshock"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, of the program or of one command.
    #[command(
        after_help = "Examples:\n  foreshock man | man -l -\n  foreshock man doctor | man -l -"
    )]
    Man {
        /// The command.
        command: Option<String>,
    },
}

#[derive(Subcommand)]
enum AlertCommand {
    /// Sends one message to every channel and says what came of it.
    #[command(after_help = "Example:\n  foreshock alert test --config foreshock.toml")]
    Test,
}

const RUN: &str = "\
SIGTERM and SIGINT end it within 2 s, in order. SIGHUP (not at a terminal) reads the settings
again: thresholds of the engine, alerts and the console change while it runs, the journal notes
where, and each setting that is another is said, with what needs a restart. A file that is bad
changes nothing. SIGUSR1 begins a new latency log. systemd is told when it is ready, how it is,
and that its threads go round.

Example:
  foreshock run --set redis.url=redis://127.0.0.1:6379";

const TOP: &str = "\
On a terminal: 1-5 or Tab for a pane, j/k scroll, s sort, / filter, p pause, ? help, q quit. Colours unless
NO_COLOR is set. It looks over the page of a `run` or `demo` (`page.listen`), also through a tunnel.

Examples:
  foreshock top
  foreshock top --plain --every 10s >> glance.txt
  foreshock top --once --format json
  ssh -NL 9310:127.0.0.1:9310 engine & foreshock top --address 127.0.0.1:9310";

const REPLAY: &str = "\
A journal is lived with the settings it was written with, changes on the way among them. With --set
engine.KEY=VALUE it is lived with what is configured here, and exit code 6 says that other signals came of
it.

Examples:
  foreshock replay events.csv.gz
  foreshock replay --speed 10 --out signals.jsonl journal-*.fsj";

const EXPORT: &str = "\
An empty cell is a missing value; times are Unix ms. A journal that ends too early, as after a crash, is
written up to there (exit code 0); one that is damaged, as far as it is whole (exit code 1).

Examples:
  foreshock export --journal journal --what signals --output signals.csv
  foreshock export --journal journal --what state --symbol MARKET --from 2025-10-10T21:00:00Z";

#[derive(Clone, Copy, ValueEnum)]
enum WhatArg {
    /// Liquidations, in the columns that `replay` reads.
    Events,
    /// Signals.
    Signals,
    /// The last state of each second, lived again.
    State,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rendering {
    /// Comma-separated values.
    Csv,
    /// Lines of JSON.
    Json,
}

const BACKTEST: &str = "\
Moments (UTC; a lead is the moment minus the alarm, + is earlier):
  onset   first liquidation at which those of 10 s, from the label's start on, are more than
          m + 4 sqrt(m) + 3; m is their mean over the half hour before; else the label's start
  break   beginning of the first BTC candle whose high is --break % above its low (1 min; times the
          root of its minutes if longer)
  peak    the second with most USD within the minute that begins at the label's peak_ms

Alarms, the same for every detector: one ends when the detector was off for 60 s. A cascade is hit by
an alarm that stands between 60 s before its label and its end, in time by one that rises before its
peak; a hard negative by one that stands from 10 s before to 60 s after it.
Prices: a candle is shown to the engine after its end, as a walk over the time of the next one: the
regime sees how far the price moved, one to two candles late, and no single second of it.

Example:
  foreshock backtest --events data/*/events.csv.gz --prices data/prices/*.csv.gz \\
      --labels labels.csv --quiet quiet_intervals.csv --negatives hard_negatives.csv";

#[derive(Args)]
struct BacktestArgs {
    /// Recordings of events; a recording is named by its folder.
    #[arg(long, required_unless_present = "invent", num_args = 1.., value_name = "FILE")]
    events: Vec<PathBuf>,
    /// Candles (`ts_ms,open,high,low,close,volume`, the symbol in the name) and recorded trades.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    prices: Vec<PathBuf>,
    /// Labelled cascades: CSV with `dataset,start_ms,peak_ms,end_ms,kind`.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Quiet stretches: CSV with `dataset,start_ms,end_ms`.
    #[arg(long, value_name = "FILE")]
    quiet: Option<PathBuf>,
    /// Bursts that must not alarm, columns as in --labels.
    #[arg(long, value_name = "FILE")]
    negatives: Option<PathBuf>,
    /// Stretches that are left out of scoring, columns as in --labels.
    #[arg(long, value_name = "FILE")]
    ambiguous: Option<PathBuf>,
    /// The level that is an alarm.
    #[arg(long, default_value = "alert")]
    level: LevelArg,
    /// Whose alarms are compared with the rules: the whole market's, or any row's.
    #[arg(long, default_value = "MARKET", ignore_case = true)]
    symbol: RowsArg,
    /// How far a one-minute candle moves when the price breaks, per cent.
    #[arg(long = "break", default_value_t = 0.3, value_parser = percent, value_name = "PERCENT")]
    break_percent: f64,
    /// How the report is written.
    #[arg(long, default_value = "table")]
    format: Format,
    /// Draws each cascade into this folder.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Says what each idea of the engine adds: everything again without it.
    #[arg(long)]
    ablate: bool,
    /// Changes each threshold, and chooses all of them anew with a part of the data held out.
    #[arg(long)]
    hold_out: bool,
    /// Fits what the probability is worth, cross-validated by episode, and writes it as JSON.
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Plays so many invented markets of each plot: cascades, and what only looks like one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    invent: Option<u64>,
}

impl BacktestArgs {
    fn options(self) -> Options {
        Options {
            events: self.events,
            prices: self.prices,
            labels: self.labels,
            quiet: self.quiet,
            negatives: self.negatives,
            ambiguous: self.ambiguous,
            level: self.level.level(),
            rows: match self.symbol {
                RowsArg::Market => Rows::Market,
                RowsArg::Any => Rows::Any,
            },
            break_percent: self.break_percent,
            json: matches!(self.format, Format::Json),
            svg: self.svg,
            ablate: self.ablate,
            hold_out: self.hold_out,
            calibrate: self.calibrate,
            invent: self.invent.unwrap_or(0),
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum LevelArg {
    Watch,
    Alert,
    Critical,
    Extreme,
}

impl LevelArg {
    fn level(self) -> Level {
        match self {
            Self::Watch => Level::Watch,
            Self::Alert => Level::Alert,
            Self::Critical => Level::Critical,
            Self::Extreme => Level::Extreme,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum RowsArg {
    /// The row MARKET.
    #[value(name = "MARKET")]
    Market,
    /// Any row.
    #[value(name = "ANY")]
    Any,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl From<Format> for run::format::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Speed {
    /// As fast as the machine can.
    Max,
    /// As it happened.
    #[value(name = "1")]
    One,
    /// Ten times as fast.
    #[value(name = "10")]
    Ten,
}

impl Speed {
    fn per_second(self) -> Option<f64> {
        match self {
            Self::Max => None,
            Self::One => Some(1.0),
            Self::Ten => Some(10.0),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Completions { shell }) => {
            say(&manual::completions(Cli::command(), shell));
            Ok(())
        }
        Some(Command::Man { command }) => manual::page(Cli::command(), command.as_deref())
            .map(|page| say(&page))
            .map_err(Failure::usage),
        Some(command) => {
            load(cli.settings).and_then(|(config, layers)| obey(command, config, &layers))
        }
        None => greet(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.line.is_empty() {
                eprintln!("foreshock: {}", failure.line);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn load(args: SettingsArgs) -> Result<(Config, Layers), Failure> {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let layers = Layers { file: args.config, env, flags: args.set };
    let (config, _) = layers.load().map_err(Failure::config)?;
    Ok((config, layers))
}

fn obey(command: Command, config: Config, layers: &Layers) -> Result<(), Failure> {
    match command {
        Command::Run { duration } => run::live::run(&config, layers, duration),
        Command::Top { address, plain, once, every, format } => {
            let json = matches!(format, Format::Json);
            run::top::top(&config, &run::top::Options { address, plain, once, every, json })
        }
        Command::Demo { seed, duration } => run::demo::demo(config, seed, duration),
        Command::Replay { files, speed, out, duration } => run::replay::replay(
            &config,
            layers,
            &files,
            speed.per_second(),
            out.as_deref(),
            duration,
        ),
        Command::Backtest(args) => run::backtest::backtest(&config, &args.options()),
        Command::Simulate { port, seed, ca, duration } => {
            run::simulate::simulate(port, seed, &ca, duration)
        }
        Command::Decode { venue, file } => run::decode::decode(&venue, file.as_deref()),
        Command::Record { file, duration } => run::record::record(&config, &file, duration),
        Command::Latency { file, against, series, svg, format } => {
            let (against, svg) = (against.as_deref(), svg.as_deref());
            run::latency::latency(&file, against, series, svg, format.into())
        }
        Command::Venues { format } => run::venues::venues(&config, format.into()),
        Command::Explain { signal, journal, events } => {
            run::explain::explain(&config, layers, signal, &journal, events)
        }
        Command::Export { journal, what, format, symbol, from, to, output } => {
            let what = match what {
                WhatArg::Events => What::Events,
                WhatArg::Signals => What::Signals,
                WhatArg::State => What::State,
            };
            let json = format == Rendering::Json;
            let options = run::export::Options { journal, what, json, symbol, from, to, output };
            run::export::export(&config, layers, &options)
        }
        Command::Alert { what: AlertCommand::Test } => run::alert::test(&config),
        Command::Check { format } => run::check::check(&config, layers, format.into()),
        Command::Doctor { venues, script, format, root } => {
            let options =
                run::doctor::Options { venues, script, format: format.into(), root: &root };
            run::doctor::doctor(&config, options)
        }
        Command::Jitter { cpus, duration, format } => {
            run::jitter::jitter(&config, cpus.as_deref(), duration, format.into())
        }
        // Answered before any setting is read.
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

/// Writes to standard output; whoever reads it may stop early.
fn say(bytes: &[u8]) {
    let _ = io::stdout().lock().write_all(bytes);
}

/// Without a command: what it is and what to do next.
fn greet() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let help = Cli::command().render_help();
    let _ = if out.is_terminal() { write!(out, "{}", help.ansi()) } else { write!(out, "{help}") };
    Ok(())
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number such as 0.3")?;
    let fits = value > 0.0 && value <= 50.0;
    fits.then_some(value).ok_or_else(|| "must be above 0 and at most 50".to_owned())
}

fn symbol(text: &str) -> Result<Symbol, String> {
    Symbol::parse(text).ok_or_else(|| "expected a symbol such as BTCUSDT, or MARKET".to_owned())
}

/// A duration of at least 100ms: who asks more often only keeps the page busy.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = duration(text)?;
    let fits = pause >= Duration::from_millis(100);
    fits.then_some(pause).ok_or_else(|| "must be at least 100ms".to_owned())
}

/// `90`, `90s`, `15m`, `2h`, `250ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let ms = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        unit => return Err(format!("unknown unit {unit:?}: use ms, s, m, h or d")),
    };
    let n: u64 = digits.parse().map_err(|_| "expected a whole number and a unit, such as 90s")?;
    let ms = n.checked_mul(ms).filter(|&ms| (1..=31_536_000_000).contains(&ms));
    ms.map(Duration::from_millis).ok_or_else(|| "must be between 1ms and 365d".to_owned())
}
