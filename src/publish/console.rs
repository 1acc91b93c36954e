//! Signals for people, one line each, and signals for programs, one JSON object per line.
//!
//! A terminal may be stopped (Ctrl-S) and a pipe may be full, so a live run writes through a [`Pen`]:
//! a thread of its own, and lines it cannot take are counted. Where every line must come out and
//! nobody is in a hurry (`replay`, `--out`), the sinks write straight to a file.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Sink;
use super::courier::{Courier, Errand};
use super::explain::Sentence;
use super::json;
use crate::ledger::{Counts, Ledger};
use crate::output::Message;
use crate::signal::{Kind, Level, Report};
use crate::stage::Turn;
use crate::time::{Millis, Now};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Whether to colour what goes to standard output.
    #[must_use]
    pub fn for_stdout(self) -> bool {
        let wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        match self {
            Self::Auto => io::stdout().is_terminal() && wanted(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// What the console shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Show heartbeats too, not only changes.
    pub heartbeats: bool,
    /// Colour.
    pub colour: Colour,
}

impl Settings {
    /// Whether the settings make sense together.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Bytes a parcel of text starts with.
const PARCEL_BYTES: usize = 4096;
/// Parcels of text on their way at most.
const PARCELS: usize = 256;

/// Where lines go.
enum Page {
    /// To a thread; what it cannot take is counted.
    Pen(Pen),
    /// Straight to the file; may wait.
    Direct(Box<dyn Write + Send>),
}

impl Page {
    fn line(&mut self, line: &str) -> bool {
        match self {
            Self::Pen(pen) => pen.line(line),
            Self::Direct(out) => out.write_all(line.as_bytes()).is_ok(),
        }
    }

    fn close(&mut self) -> bool {
        match self {
            Self::Pen(pen) => {
                pen.courier.end();
                true
            }
            Self::Direct(out) => out.flush().is_ok(),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Pen(pen) => pen.courier.is_done(),
            Self::Direct(_) => true,
        }
    }

    fn failed(&self) -> u64 {
        match self {
            Self::Pen(pen) => pen.failed.load(Ordering::Relaxed),
            Self::Direct(_) => 0,
        }
    }
}

/// A thread that writes lines, so that nobody waits for a terminal.
struct Pen {
    courier: Courier<Vec<u8>>,
    failed: Arc<AtomicU64>,
}

impl Pen {
    fn new(mut out: Box<dyn Write + Send>) -> io::Result<Self> {
        let failed = Arc::new(AtomicU64::new(0));
        let failures = Arc::clone(&failed);
        let work = move |errand: Errand<'_, Vec<u8>>| {
            if let Errand::Parcel(line) = errand {
                if out.write_all(line).and_then(|()| out.flush()).is_err() {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
                line.clear();
            }
        };
        let parcels = (0..PARCELS).map(|_| Vec::with_capacity(PARCEL_BYTES)).collect();
        let courier = Courier::start("console", parcels, Duration::from_secs(1), work)?;
        Ok(Self { courier, failed })
    }

    fn line(&mut self, line: &str) -> bool {
        let Some(mut parcel) = self.courier.blank() else { return false };
        parcel.extend_from_slice(line.as_bytes());
        self.courier.send(parcel).is_ok()
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
enum Style {
    People { heartbeats: bool, colour: bool },
    Programs,
}

/// A sink of lines.
pub struct Lines {
    page: Page,
    style: Style,
    line: String,
    written: u64,
    lost: u64,
}

impl Lines {
    /// Lines for people, written by a thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn console(
        settings: &Settings,
        colour: bool,
        out: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let style = Style::People { heartbeats: settings.heartbeats, colour };
        Ok(Self::new(Page::Pen(Pen::new(out)?), style))
    }

    /// Lines for programs, the reproducible form, written straight to `out`: give a buffered file.
    #[must_use]
    pub fn json(out: Box<dyn Write + Send>) -> Self {
        Self::new(Page::Direct(out), Style::Programs)
    }

    fn new(page: Page, style: Style) -> Self {
        Self { page, style, line: String::with_capacity(PARCEL_BYTES), written: 0, lost: 0 }
    }

    fn compose(&mut self, now: Now, message: &Message) -> bool {
        self.line.clear();
        match (self.style, message) {
            (Style::Programs, Message::Report(report)) if report.is_signal() => {
                json::reproducible(report, &mut self.line);
                self.line.push('\n');
            }
            (Style::People { heartbeats, colour }, Message::Report(report)) => {
                let shown = report.kind == Kind::Change || heartbeats;
                if shown && report.is_signal() {
                    signal_line(now, report, colour, &mut self.line);
                }
            }
            _ => {}
        }
        !self.line.is_empty()
    }
}

impl Sink for Lines {
    fn name(&self) -> &'static str {
        match self.style {
            Style::People { .. } => "console",
            Style::Programs => "out",
        }
    }

    fn write(&mut self, now: Now, batch: &[Message]) {
        for message in batch {
            if !self.compose(now, message) {
                continue;
            }
            let taken = self.page.line(&self.line);
            *(if taken { &mut self.written } else { &mut self.lost }) += 1;
        }
    }

    fn turn(&mut self, _: Now) -> Turn {
        if self.page.is_done() { Turn::Done } else { Turn::Idle }
    }

    fn close(&mut self, _: Now) {
        let flushed = self.page.close();
        self.lost += u64::from(!flushed);
    }

    fn count(&self, counts: &mut Counts) {
        let [lines, lost] = match self.style {
            Style::People { .. } => ["console_lines", "console_lost"],
            Style::Programs => ["out_lines", "out_lost"],
        };
        counts.add(lines, self.written);
        counts.add(lost, self.lost + self.page.failed());
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count(counts));
    }
}

/// `12:00:00.123 ALERT 64 % BTCUSDT HIGH 61/100: ...`
fn signal_line(now: Now, report: &Report, colour: bool, out: &mut String) {
    let clock = Clock(now.wall_of(report.at));
    let word = Painted { text: report.level.name(), paint: paint_of(report.level), colour };
    let percent = report.probability * 100.0;
    let mark = if report.kind == Kind::Heartbeat { " (still)" } else { "" };
    let (symbol, why) = (report.symbol, Sentence(report));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{clock} {word} {percent:.0} % {symbol}{mark} {why}");
}

fn paint_of(level: Level) -> &'static str {
    match level {
        Level::None => "32",
        Level::Watch => "36",
        Level::Alert => "33",
        Level::Critical => "31",
        Level::Extreme => "1;31",
    }
}

struct Painted<'a> {
    text: &'a str,
    paint: &'static str,
    colour: bool,
}

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.colour {
            write!(f, "\x1b[{}m{}\x1b[0m", self.paint, self.text)
        } else {
            f.write_str(self.text)
        }
    }
}

/// Time of day, UTC.
pub(super) struct Clock(pub(super) Millis);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.0.rem_euclid(86_400_000);
        let (s, m, h) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
        write!(f, "{h:02}:{m:02}:{s:02}.{:03}", ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::publish::explain::tests::sample;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn run(mut sink: Lines, batch: &[Message]) -> Lines {
        let now = Now::at_millis(1_760_130_000_001);
        sink.write(now, batch);
        sink.close(now);
        while sink.turn(now) != Turn::Done {
            std::thread::yield_now();
        }
        sink
    }

    #[test]
    fn people_get_one_line_per_change() {
        let out = Shared::default();
        let heartbeat = Report { kind: Kind::Heartbeat, ..sample(2) };
        let state = Report { kind: Kind::State, ..sample(3) };
        let batch = [sample(1), heartbeat, state].map(Message::Report);
        let sink = Lines::console(&Settings::default(), false, Box::new(out.clone())).unwrap();
        let sink = run(sink, &batch);
        let text = out.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("21:00:00.001 ALERT 64 % BTCUSDT HIGH 61/100: vel"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!((sink.written, sink.lost), (1, 0));
    }

    #[test]
    fn programs_get_the_reproducible_form_of_every_signal() {
        let out = Shared::default();
        let heartbeat = Report { kind: Kind::Heartbeat, ..sample(2) };
        let batch = [sample(1), heartbeat].map(Message::Report);
        run(Lines::json(Box::new(out.clone())), &batch);
        let mut expected = String::new();
        json::reproducible(&sample(1), &mut expected);
        expected.push('\n');
        json::reproducible(&heartbeat, &mut expected);
        assert_eq!(out.text(), expected + "\n");
    }

    #[test]
    fn a_stopped_terminal_costs_lines_and_not_time() {
        struct Stopped(crossbeam_channel::Receiver<()>);
        impl Write for Stopped {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go, stopped) = crossbeam_channel::bounded(0);
        let out = Box::new(Stopped(stopped));
        let mut sink = Lines::console(&Settings::default(), false, out).unwrap();
        let batch = vec![Message::Report(sample(1)); PARCELS + 44];
        sink.write(Now::default(), &batch);
        assert_eq!(sink.written + sink.lost, batch.len() as u64);
        assert!(sink.lost >= 43, "{}", sink.lost);
        drop(go);
    }
}
