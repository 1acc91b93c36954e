//! `foreshock export`: a journal as CSV or as lines of JSON.
//!
//! ```text
//! events    CSV: the columns that `replay` reads       JSON: as in `cascade:events:buffer`
//! signals   CSV: number, cause, measures, sentence     JSON: the form whose SHA-256 `replay` prints
//! state     CSV: the measures of each second           JSON: the same form
//! ```
//! A journal holds no states: its events are lived again by a fresh engine, and the last state that each
//! symbol had in a second is one row. Events are liquidations. What the CSV cannot say is left out of it
//! and counted: what an earlier run lived (it is there once already), and what came too late to count.
//!
//! CSV is RFC 4180 with `\n` for the end of a line; an empty cell is a missing value; times are Unix ms.
//! Text that a spreadsheet would take for a formula begins with an apostrophe; numbers never do. A file
//! appears under its name when it is whole.
//!
//! A journal that ends too early, as after a crash, is exported up to there, which is said (exit 0). One
//! that is damaged is exported as far as it is whole, which is said (exit 1).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use super::backtest::bar::{Bar, Share};
use super::tuned::Choice;
use crate::config::{Config, Layers};
use crate::engine::{Engine, Outbox};
use crate::event::{Body, Event, Flags, Venue};
use crate::output::Message;
use crate::publish::explain::Sentence;
use crate::publish::history::rows::{self, Cell};
use crate::publish::history::seconds::Seconds;
use crate::publish::json;
use crate::record::{EVENT_BYTES, REPORT_BYTES, Reader, files_in};
use crate::signal::Report;
use crate::symbol::Symbol;
use crate::time::{Millis, Nanos, Now};

/// What to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Liquidations.
    Events,
    /// Signals.
    Signals,
    /// The last state of each second of each symbol.
    State,
}

/// What to export, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The journal: a directory or a file.
    pub journal: PathBuf,
    /// What.
    pub what: What,
    /// Lines of JSON, not CSV.
    pub json: bool,
    /// This symbol alone.
    pub symbol: Option<Symbol>,
    /// Not before this, Unix ms.
    pub from: Option<i64>,
    /// Before this, Unix ms.
    pub to: Option<i64>,
    /// The file to write; standard output when not given.
    pub output: Option<PathBuf>,
}

impl Options {
    fn wants(&self, symbol: Symbol, at: Nanos) -> bool {
        let ms = at.millis();
        self.symbol.is_none_or(|wanted| wanted == symbol)
            && self.from.is_none_or(|from| ms >= from)
            && self.to.is_none_or(|to| ms < to)
    }
}

/// Exports a journal.
///
/// # Errors
/// A journal that cannot be read or is damaged, or a file that cannot be written (1).
pub fn export(config: &Config, layers: &Layers, options: &Options) -> Result<(), Failure> {
    let shown = options.journal.display();
    let failed = |e: io::Error| Failure::running(format!("{shown}: {e}"));
    let mut reader = Reader::open(&options.journal).map_err(failed)?;
    let total = length(&options.journal).map_err(failed)?;
    let bar = Bar::new(total);
    let place = Place::open(options.output.as_deref())?;
    let mut exporter = Exporter {
        options,
        choice: Choice::of(config, layers),
        out: BufWriter::new(place),
        line: String::new(),
        life: Life::default(),
        run: 0,
        told: Told::default(),
    };
    let written = exporter.whole(&mut reader, &mut bar.share(total));
    bar.end();
    let Exporter { out, told, .. } = exporter;
    let finished = written.and_then(|()| out.into_inner().map_err(|e| e.into_error())?.finish());
    match finished {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
        Err(e) => {
            let name = options.output.as_deref().unwrap_or(Path::new("standard output"));
            return Err(Failure::running(format!("{}: {e}", name.display())));
        }
        Ok(()) => {}
    }
    told.say(reader.missing());
    told.damage.map_or(Ok(()), |damage| {
        Err(Failure::running(format!("{damage}; what is whole is exported")))
    })
}

/// Bytes of a journal.
fn length(path: &Path) -> io::Result<i64> {
    let files = if path.is_dir() { files_in(path)? } else { vec![path.to_owned()] };
    let bytes: u64 = files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum();
    Ok(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// What is to be said at the end.
#[derive(Default)]
struct Told {
    rows: u64,
    relived: u64,
    backfill: u64,
    torn: Vec<String>,
    damage: Option<String>,
}

impl Told {
    fn say(&self, missing: u64) {
        for torn in &self.torn {
            eprintln!("export: {torn}, as after a crash; what is whole is exported");
        }
        if missing > 0 {
            eprintln!("export: {missing} events of this journal were never written, or are gone");
        }
        if self.relived + self.backfill > 0 {
            let Self { relived, backfill, .. } = self;
            eprintln!(
                "export: left out {relived} liquidations lived again from an earlier run and {backfill} \
                 that came too late to count"
            );
        }
        eprintln!("export: {} rows", self.rows);
    }
}

/// An engine that lives a run again.
#[derive(Default)]
struct Life {
    /// None before a run, or where it is not known how it goes on.
    engine: Option<Engine>,
    out: Outbox,
    seconds: Seconds,
}

struct Exporter<'a, W> {
    options: &'a Options,
    choice: Choice,
    out: W,
    line: String,
    life: Life,
    run: u64,
    told: Told,
}

impl<W: Write> Exporter<'_, W> {
    fn whole(&mut self, reader: &mut Reader, progress: &mut Share<'_>) -> io::Result<()> {
        self.header()?;
        let mut bytes = 0;
        while let Some(message) = reader.next() {
            match message {
                Ok(message) => {
                    let read = match message {
                        Message::Event(_) => EVENT_BYTES,
                        Message::Report(_) => REPORT_BYTES,
                    };
                    bytes += i64::try_from(read).unwrap_or(0);
                    self.enter(reader.run(), reader)?;
                    self.take(&message, reader)?;
                }
                Err(damage) if damage.torn => self.told.torn.push(damage.to_string()),
                Err(damage) => drop(self.told.damage.get_or_insert(damage.to_string())),
            }
            progress.reached(bytes);
        }
        self.enter(0, reader)
    }

    fn header(&mut self) -> io::Result<()> {
        if self.options.json {
            return Ok(());
        }
        if self.options.what == What::Events {
            self.line.push_str("ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd");
            return self.end_line();
        }
        let line = &mut self.line;
        let mut name = |name: &'static str, cell: Cell<'_>| {
            comma(line);
            line.push_str(name);
            if matches!(cell, Cell::Time(_)) {
                line.push_str("_ms");
            }
        };
        cells(self.options.what, &Report::empty(Symbol::NONE, Nanos(0)), 0, &mut name);
        self.end_line()
    }

    /// Another run begins: what the one before it had last is told, and a fresh engine goes on.
    fn enter(&mut self, run: u64, reader: &Reader) -> io::Result<()> {
        if run == self.run {
            return Ok(());
        }
        while let Some(report) = self.life.seconds.any() {
            self.report(&report)?;
        }
        self.life = Life::default();
        if self.options.what == What::State && run > 0 {
            self.life.engine = self.known(self.choice.first(reader)).map(|s| Engine::new(&s));
        }
        self.run = run;
        Ok(())
    }

    /// What is not known is said, and what rests on it is left out.
    fn known<T>(&mut self, known: Result<T, String>) -> Option<T> {
        let run = self.run;
        known.map_err(|why| self.told.damage.get_or_insert(format!("run {run}: {why}"))).ok()
    }

    fn take(&mut self, message: &Message, reader: &Reader) -> io::Result<()> {
        match (self.options.what, message) {
            (What::Events, Message::Event(event)) => self.event(event),
            (What::Signals, Message::Report(report)) => self.report(report),
            (What::State, Message::Event(event)) => self.live(event, reader),
            _ => Ok(()),
        }
    }

    fn live(&mut self, event: &Event, reader: &Reader) -> io::Result<()> {
        let Life { engine, out, .. } = &mut self.life;
        out.clear();
        let Some(engine) = engine else { return Ok(()) };
        let lived = self.choice.take(engine, event, reader, out);
        if self.known(lived).is_none() {
            self.life.engine = None;
            return Ok(());
        }
        for i in 0..self.life.out.reports().len() {
            let report = self.life.out.reports().get(i).copied().filter(|r| !r.is_signal());
            if let Some(former) = report.and_then(|report| self.life.seconds.put(&report)) {
                self.report(&former)?;
            }
        }
        let now = Now { mono: event.received, wall: Millis(event.received.millis()) };
        while let Some(report) = self.life.seconds.due(now) {
            self.report(&report)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let is_liquidation = matches!(event.body, Body::Liquidation { .. });
        if !is_liquidation || !self.options.wants(event.symbol, event.received) {
            return Ok(());
        }
        if event.flags.has(Flags::RELIVED) {
            self.told.relived += 1;
            return Ok(());
        }
        if self.options.json {
            let now = Now { mono: event.received, wall: Millis(event.received.millis()) };
            json::liquidation(event, now, &mut self.line);
            return self.end_row();
        }
        if event.flags.has(Flags::BACKFILL) {
            self.told.backfill += 1;
            return Ok(());
        }
        liquidation(&mut self.line, event);
        self.end_row()
    }

    fn report(&mut self, report: &Report) -> io::Result<()> {
        if !self.options.wants(report.symbol, report.at) {
            return Ok(());
        }
        if self.options.json {
            json::reproducible(report, &mut self.line);
            return self.end_row();
        }
        let line = &mut self.line;
        cells(self.options.what, report, self.run, &mut |_, value| {
            comma(line);
            cell(line, value);
        });
        self.end_row()
    }

    fn end_row(&mut self) -> io::Result<()> {
        self.told.rows += 1;
        self.end_line()
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

/// The columns of a signal or a state.
fn cells(what: What, report: &Report, run: u64, put: rows::Put<'_>) {
    let now = Now { mono: report.at, wall: Millis(report.at.millis()) };
    if what == What::State {
        return rows::state(report, run, now, put);
    }
    put("seq", report.seq.into());
    put("kind", report.kind.name().into());
    put("episode", report.episode.into());
    put("cause", report.cause.into());
    rows::state(report, run, now, put);
    put("explanation", Sentence(report).to_string().as_str().into());
}

/// The columns that `replay` reads. The quantity is not known to the micro-dollar and stays empty.
fn liquidation(line: &mut String, event: &Event) {
    let Body::Liquidation { side, price, usd } = event.body else { return };
    let received = event.received.millis();
    let name = name_of(event);
    let values = [
        Cell::Int(event.stamp.venue_ms().unwrap_or(received)),
        Cell::Int(received),
        event.venue.name().into(),
        name.into(),
        side.map(|side| side.name()).into(),
        price.map(|price| price.get()).into(),
        Cell::Missing,
    ];
    for (i, value) in (0..).zip(values) {
        line.push_str(if i == 0 { "" } else { "," });
        cell(line, value);
    }
    line.push(',');
    if let Some(micros) = usd.map(|usd| usd.micros()) {
        // Writing to a String cannot fail.
        let _ = write!(line, "{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    }
}

/// The name by which the venue's own rule finds the symbol again: Hyperliquid names the coin alone.
fn name_of(event: &Event) -> &str {
    let symbol = event.symbol.as_str();
    match event.venue {
        Venue::Hyperliquid => symbol.strip_suffix("USDT").unwrap_or(symbol),
        _ => symbol,
    }
}

fn comma(line: &mut String) {
    if !line.is_empty() {
        line.push(',');
    }
}

fn cell(line: &mut String, value: Cell<'_>) {
    // Writing to a String cannot fail.
    let _ = match value {
        Cell::Missing => Ok(()),
        Cell::Int(value) | Cell::Time(Millis(value)) => write!(line, "{value}"),
        Cell::Float(value) => write!(line, "{value}"),
        Cell::Flag(value) => write!(line, "{value}"),
        Cell::Text(value) => {
            text(line, value);
            Ok(())
        }
    };
}

/// Text as a cell: no formula, and in quotes where it would end the cell.
fn text(line: &mut String, text: &str) {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let apostrophe = if formula { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) {
        // Writing to a String cannot fail.
        let _ = write!(line, "\"{apostrophe}{}\"", text.replace('"', "\"\""));
    } else {
        line.push_str(apostrophe);
        line.push_str(text);
    }
}

/// Where it goes. A file has another name until it is whole.
enum Place {
    Stdout(io::Stdout),
    File { file: File, new: PathBuf, path: PathBuf },
}

impl Place {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        let mut new = path.as_os_str().to_owned();
        new.push(format!(".new-{}", std::process::id()));
        let (new, path) = (PathBuf::from(new), path.to_owned());
        let file = File::create_new(&new)
            .map_err(|e| Failure::running(format!("{}: {e}", new.display())))?;
        Ok(Self::File { file, new, path })
    }

    fn finish(mut self) -> io::Result<()> {
        match &mut self {
            Self::Stdout(out) => out.flush(),
            Self::File { file, new, path } => {
                file.sync_all()?;
                fs::rename(new, path)
            }
        }
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::File { new, .. } = self {
            // Gone already when it was finished.
            drop(fs::remove_file(new));
        }
    }
}

/// A moment: Unix ms, `2025-10-10`, or `2025-10-10T21:13:00.5Z`; always UTC.
///
/// # Errors
/// Says what is expected.
pub fn moment(text: &str) -> Result<i64, String> {
    let wrong = || "expected Unix ms or a time in UTC such as 2025-10-10T21:13:00Z".to_owned();
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    day(date).zip(of_day(time)).map(|(day, ms)| day * 86_400_000 + ms).ok_or_else(wrong)
}

/// Days since 1970 of `2025-10-10`. Years begin in March, so that the leap day is their last.
fn day(date: &str) -> Option<i64> {
    let [year, month, day]: [i64; 3] = numbers(date, '-')?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    let year = if month < 3 { year - 1 } else { year };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(365 * year + year / 4 - year / 100 + year / 400 + in_year - 719_468)
}

/// Milliseconds of `21:13`, `21:13:05` or `21:13:05.25`.
fn of_day(time: &str) -> Option<i64> {
    let (clock, part) = time.split_once('.').unwrap_or((time, ""));
    let clock = if clock.matches(':').count() == 1 { format!("{clock}:00") } else { clock.into() };
    let [hour, minute, second]: [i64; 3] = numbers(&clock, ':')?;
    let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let ms: i64 = format!("{part:0<3}").parse().ok().filter(|_| digits)?;
    let fits = hour < 24 && minute < 60 && second < 60;
    fits.then_some(((hour * 60 + minute) * 60 + second) * 1_000 + ms)
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(between);
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_never_a_formula() {
        for (value, expected) in [
            (Cell::Text("BTCUSDT"), "BTCUSDT"),
            (Cell::Text("a,b"), "\"a,b\""),
            (Cell::Text("say \"x\""), "\"say \"\"x\"\"\""),
            (Cell::Text("two\nlines"), "\"two\nlines\""),
            (Cell::Text("-1USDT"), "'-1USDT"),
            (Cell::Text("=1+1,2"), "\"'=1+1,2\""),
            (Cell::Text("@x"), "'@x"),
            (Cell::Float(-0.1), "-0.1"),
            (Cell::Int(-3), "-3"),
            (Cell::Missing, ""),
            (Cell::Time(Millis(5)), "5"),
        ] {
            let mut line = String::new();
            cell(&mut line, value);
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_moment_is_milliseconds_or_a_time_in_utc() {
        for (text, ms) in [
            ("1760130000000", 1_760_130_000_000),
            ("2025-10-10T21:00:00Z", 1_760_130_000_000),
            ("2025-10-10 21:00", 1_760_130_000_000),
            ("2025-10-10T21:00:00.25", 1_760_130_000_250),
            ("1970-01-01", 0),
            ("2024-02-29", 1_709_164_800_000),
            ("2000-03-01", 951_868_800_000),
        ] {
            assert_eq!(moment(text), Ok(ms), "{text}");
        }
        for bad in
            ["", "yesterday", "2025-02-29", "2025-13-01", "2025-1", "2025-10-10T25:00", "+-1-2"]
        {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
