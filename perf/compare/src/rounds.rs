//! Runs contenders in turn, A B C D A B C D, and refuses what does not add up.
//!
//! Each run is two processes: the sender on one core, the contender on the other. Runs of the same load
//! follow each other, so that what the machine does to one it does to all; figures are medians over
//! the rounds.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::contender::{ALL, Who, warm};
use crate::figures::{Spread, spread};
use crate::flow::{Flow, Sum};
use crate::machine::{Counter, functions, profiled};
use crate::sender::Pace;

/// The core of contenders, and that of the sender.
const CORES: [&str; 2] = ["0", "1"];
/// A run that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(40);

/// What is sent, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load {
    /// Under TLS.
    pub tls: bool,
    /// Messages a second; `None` is flat out.
    pub rate: Option<u64>,
}

/// Every load.
#[must_use]
pub fn loads() -> Vec<Load> {
    let rates = [Some(1_000), Some(10_000), Some(100_000), None];
    [false, true].into_iter().flat_map(|tls| rates.map(|rate| Load { tls, rate })).collect()
}

impl Load {
    /// For the tables.
    #[must_use]
    pub fn name(&self) -> String {
        let wire = if self.tls { "TLS" } else { "plain" };
        match self.rate {
            Some(rate) => format!("{wire} {rate}/s"),
            None => format!("{wire} flat out"),
        }
    }

    fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Flat, Pace::Rate)
    }

    /// About a second each; flat out about as long as it takes.
    fn count(&self, who: Who) -> usize {
        match (self.rate, who) {
            (Some(1_000), _) => 1_500,
            (Some(10_000), _) => 12_000,
            (Some(_), Who::Naive) => 50_000,
            (Some(_), _) => 100_000,
            (None, Who::Floor) => 4_000_000,
            (None, Who::Foreshock) => 1_500_000,
            (None, Who::Baseline) => 800_000,
            (None, Who::Naive) => 30_000,
        }
    }
}

/// What one run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Run {
    /// From the wire to the decision.
    pub wire: Option<Spread>,
    /// From the return of the read to the decision.
    pub inside: Option<Spread>,
    /// From the return of the read to parsed, by the one that says it.
    pub parsed: Option<Spread>,
    /// How late the sender was, in its own doing and the contender's.
    pub late: Option<Spread>,
    /// From when the first message counts to the last decision, ns.
    pub whole: Option<u64>,
    /// Messages a second, once warm.
    pub rate: f64,
    /// Allocations for each message, once warm.
    pub allocations: f64,
}

/// All runs, by load and contender.
pub type Runs = BTreeMap<(Load, Who), Vec<Run>>;
/// Calls into the kernel for each message, by load and contender.
pub type Calls = BTreeMap<(Load, Who), f64>;

/// Where runs keep their files, and what they share.
#[derive(Debug)]
pub struct Stage {
    program: PathBuf,
    folder: PathBuf,
    idle: String,
    flow: Flow,
}

impl Stage {
    /// A stage whose files are in `folder`; `idle` is what foreshock does when nothing comes.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: &Path, idle: &str) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let (folder, idle) = (folder.to_owned(), idle.to_owned());
        Ok(Self { program, folder, idle, flow: Flow::default() })
    }

    /// All contenders over all loads, `rounds` times; `tell` hears how far it is.
    ///
    /// # Errors
    /// The first run that does not add up, in words.
    pub fn rounds(
        &self,
        loads: &[Load],
        rounds: usize,
        mut tell: impl FnMut(String),
    ) -> Result<Runs, String> {
        let mut runs = Runs::new();
        for round in 1..=rounds {
            for load in loads {
                tell(format!("round {round} of {rounds}: {}", load.name()));
                for who in ALL {
                    let run = self.run(load, who)?;
                    runs.entry((*load, who)).or_default().push(run);
                }
            }
        }
        Ok(runs)
    }

    /// Counts calls into the kernel, in runs of their own.
    ///
    /// # Errors
    /// A run that does not add up, in words.
    pub fn calls(&self, counter: Counter, loads: &[Load]) -> Result<Calls, String> {
        let mut calls = Calls::new();
        for load in loads {
            for who in ALL {
                let count = load.count(who);
                let out = self.folder.join("calls.txt");
                let before = counter.before(out.to_str().unwrap_or_default());
                self.played(load.tls, load.pace(), load.rate.is_some(), count, who, &before)?;
                let text = std::fs::read_to_string(&out).map_err(|e| format!("calls: {e}"))?;
                let n = counter.calls(&text).ok_or("calls: cannot be read")?;
                calls.insert((*load, who), n as f64 / count as f64);
            }
        }
        Ok(calls)
    }

    /// The functions in which foreshock spends its time flat out, a line each; none without perf.
    ///
    /// # Errors
    /// A run that does not add up, in words.
    pub fn functions(&self, tls: bool) -> Result<Vec<String>, String> {
        let out = self.folder.join("perf.data");
        let out = out.to_str().unwrap_or_default();
        let before = profiled(out);
        let (who, load) = (Who::Foreshock, Load { tls, rate: None });
        self.played(tls, Pace::Flat, false, load.count(who), who, &before)?;
        Ok(functions(out))
    }

    /// One run of a load.
    ///
    /// # Errors
    /// When it does not add up.
    pub fn run(&self, load: &Load, who: Who) -> Result<Run, String> {
        self.played(load.tls, load.pace(), load.rate.is_some(), load.count(who), who, &[])
    }

    /// A burst of `count` messages at once, to foreshock.
    ///
    /// # Errors
    /// When it does not add up.
    pub fn burst(&self, tls: bool, count: usize) -> Result<Run, String> {
        self.played(tls, Pace::Burst, true, count, Who::Foreshock, &[])
    }

    /// So many messages at a rate, to foreshock.
    ///
    /// # Errors
    /// When it does not add up.
    pub fn steady(&self, tls: bool, count: usize, rate: u64) -> Result<Run, String> {
        self.played(tls, Pace::Rate(rate), true, count, Who::Foreshock, &[])
    }

    fn played(
        &self,
        tls: bool,
        pace: Pace,
        stamped: bool,
        count: usize,
        who: Who,
        before: &[&str],
    ) -> Result<Run, String> {
        let [ca, sent, heard] = ["ca.pem", "sent", "heard"].map(|name| self.folder.join(name));
        let ca = tls.then_some(ca);
        let mut sender = Command::new(&self.program);
        sender.arg("send").arg("--pace").arg(pace_word(pace)).args(["--core", CORES[1]]);
        sender.arg("--count").arg(count.to_string()).arg("--stamps").arg(&sent);
        sender.args(ca.iter().flat_map(|ca| [Path::new("--ca"), ca]));
        let mut sender = Guard::spawn(&mut sender)?;
        let port = sender.line()?;
        let port = port.strip_prefix("port ").ok_or("sender: no port")?.trim().to_owned();
        let mut words = before.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let mut listener = Command::new(words.next().unwrap_or_default());
        listener.args(words);
        let scheme = if tls { "wss" } else { "ws" };
        listener.arg("listen").arg(who.name()).args(["--core", CORES[0], "--idle", &self.idle]);
        listener.arg("--url").arg(format!("{scheme}://127.0.0.1:{port}/market/ws"));
        listener.arg("--count").arg(count.to_string()).arg("--stamps").arg(&heard);
        listener.args(ca.iter().flat_map(|ca| [Path::new("--ca"), ca]));
        listener.args(stamped.then_some("--stamped"));
        let words = Guard::spawn(&mut listener)?.end()?;
        sender.end()?;
        let run = Run::of(&words, count)?;
        self.add_up(&words, count, who)?;
        if !stamped {
            return Ok(run);
        }
        run.stamped(&stamps(&sent)?, &stamps(&heard)?)
    }

    /// Refuses a run in which a message is missing or was misunderstood.
    fn add_up(&self, words: &str, count: usize, who: Who) -> Result<(), String> {
        let truth = self.flow.sum(count);
        let found = Sum {
            messages: number(words, "messages")?,
            bytes: if who == Who::Floor { number(words, "bytes")? } else { truth.bytes },
            micros: if who == Who::Floor { truth.micros } else { number(words, "micros")? },
        };
        if found == truth {
            return Ok(());
        }
        Err(format!("refused: {} came to {found:?}, and {truth:?} was sent", who.name()))
    }
}

impl Run {
    fn of(words: &str, count: usize) -> Result<Self, String> {
        let measured = (count - warm(count)) as f64;
        let nanos = number(words, "nanos")?.max(1) as f64;
        let allocations = number(words, "allocations")? as f64 / measured;
        let parsed = number(words, "parsed50").ok().zip(number(words, "parsed99").ok());
        let parsed = parsed.map(|(p50, p99)| Spread { p50: p50 as f64, p99: p99 as f64 });
        Ok(Self { rate: measured * 1e9 / nanos, allocations, parsed, ..Self::default() })
    }

    fn stamped(mut self, sent: &[[u64; 2]], heard: &[[u64; 2]]) -> Result<Self, String> {
        if sent.len() != heard.len() {
            return Err(format!("refused: {} stamps sent, {} heard", sent.len(), heard.len()));
        }
        let warm = warm(sent.len());
        let backwards = sent
            .iter()
            .zip(heard)
            .any(|([from, _], [read, decided])| decided < from || decided < read || *read < 1_000);
        if backwards {
            return Err("refused: a message was decided before it was sent or read".to_owned());
        }
        let pairs = || sent.iter().zip(heard).skip(warm);
        self.wire = spread(pairs().map(|([from, _], [_, decided])| decided - from).collect());
        self.inside = spread(pairs().map(|(_, [read, decided])| decided - read).collect());
        let ends = sent.first().zip(heard.last());
        self.whole = ends.map(|([from, _], [_, decided])| decided - from);
        self.late = spread(pairs().map(|([from, due], _)| from.saturating_sub(*due)).collect());
        Ok(self)
    }
}

fn pace_word(pace: Pace) -> String {
    match pace {
        Pace::Rate(rate) => rate.to_string(),
        Pace::Flat => "flat".to_owned(),
        Pace::Burst => "burst".to_owned(),
    }
}

fn number(words: &str, name: &str) -> Result<u64, String> {
    let mut pairs = words.lines().filter_map(|line| line.split_once(' '));
    let found = pairs.find(|(key, _)| *key == name).and_then(|(_, n)| n.trim().parse().ok());
    found.ok_or_else(|| format!("no {name} in {words:?}"))
}

/// Pairs of stamps as bytes.
#[must_use]
pub fn stamp_bytes(stamps: &[[u64; 2]]) -> Vec<u8> {
    stamps.iter().flatten().flat_map(|stamp| stamp.to_le_bytes()).collect()
}

fn stamps(path: &Path) -> Result<Vec<[u64; 2]>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    Ok(bytes.chunks_exact(16).map(|pair| [word(&pair[..8]), word(&pair[8..])]).collect())
}

/// A process that does not outlive us.
struct Guard {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Guard {
    fn spawn(command: &mut Command) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|e| format!("{name}: {e}"))?;
        let output = child.stdout.take().ok_or("no output")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|e| format!("output: {e}"))?;
        Ok(line)
    }

    /// Waits for its end; gives what it printed.
    fn end(mut self) -> Result<String, String> {
        let by = Instant::now() + PATIENCE;
        while Instant::now() < by {
            if let Some(status) = self.child.try_wait().map_err(|e| format!("wait: {e}"))? {
                let mut text = String::new();
                self.output.read_to_string(&mut text).map_err(|e| format!("output: {e}"))?;
                return if status.success() { Ok(text) } else { Err(format!("refused: {status}")) };
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("refused: it did not end".to_owned())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        Stage::new(&std::env::temp_dir().join("compare-rounds-test"), "spin").unwrap()
    }

    fn words(sum: Sum) -> String {
        let Sum { messages, bytes, micros } = sum;
        format!("messages {messages}\nbytes {bytes}\nmicros {micros}\nnanos 5\nallocations 0\n")
    }

    #[test]
    fn a_run_that_lost_or_misread_anything_is_refused() {
        let stage = stage();
        let truth = stage.flow.sum(100);
        for who in ALL {
            assert_eq!(stage.add_up(&words(truth), 100, who), Ok(()));
            let lost = Sum { messages: 99, ..truth };
            assert!(stage.add_up(&words(lost), 100, who).unwrap_err().starts_with("refused: "));
        }
        let misread = Sum { micros: truth.micros + 1, ..truth };
        assert!(stage.add_up(&words(misread), 100, Who::Foreshock).is_err());
        assert!(stage.add_up(&words(misread), 100, Who::Baseline).is_err());
        let cut_wrongly = Sum { bytes: truth.bytes - 1, ..truth };
        assert!(stage.add_up(&words(cut_wrongly), 100, Who::Floor).is_err());
        assert!(stage.add_up("messages 100\n", 100, Who::Naive).is_err());
    }

    #[test]
    fn stamps_that_cannot_be_are_refused() {
        let sent = vec![[10_000, 9_000]; 10];
        let run = Run::default().stamped(&sent, &[[12_000, 13_000]; 10]).unwrap();
        assert_eq!(run.wire, Some(Spread { p50: 3_000.0, p99: 3_000.0 }));
        assert_eq!(run.inside, Some(Spread { p50: 1_000.0, p99: 1_000.0 }));
        assert_eq!(run.late, Some(Spread { p50: 1_000.0, p99: 1_000.0 }));
        for wrong in [[12_000, 9_999], [14_000, 13_000], [1, 13_000]] {
            let mut heard = vec![[12_000, 13_000]; 10];
            heard[3] = wrong;
            assert!(Run::default().stamped(&sent, &heard).is_err(), "{wrong:?}");
        }
        assert!(Run::default().stamped(&sent, &[[12_000, 13_000]; 9]).is_err());
    }
}
