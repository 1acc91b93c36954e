//! Measures foreshock beside the kernel's floor and what one would otherwise write; see `run.sh`.

use std::alloc::{GlobalAlloc, Layout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use compare::contender::{Task, Who};
use compare::flow::Flow;
use compare::machine::Counter;
use compare::rounds::{Load, Stage, loads, stamp_bytes};
use compare::sender::Pace;
use compare::table::Measured;
use compare::{clock, listen, machine, sender, server, table};
use foreshock::run::crew::{self, Idle};
use mimalloc::MiMalloc;

/// Counts who asks for memory; foreshock's own allocator gives it.
struct Counting;

// SAFETY: every call goes on unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        clock::memory_asked();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        clock::memory_asked();
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Stands in front of the C library's: every TCP stream of std, and of tokio, which uses it, reads with
/// it. Notes when bytes came.
///
/// # Safety
/// As `recv(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(
    fd: libc::c_int,
    buffer: *mut libc::c_void,
    length: libc::size_t,
    flags: libc::c_int,
) -> libc::ssize_t {
    let nobody = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the caller's promises are passed on as they are; recvfrom without an address is recv.
    let n = unsafe { libc::syscall(libc::SYS_recvfrom, fd, buffer, length, flags, nobody, nobody) };
    if n > 0 {
        clock::bytes_came();
    }
    isize::try_from(n).unwrap_or(-1)
}

#[derive(Parser)]
#[command(about = "foreshock beside the kernel's floor and what one would otherwise write")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All contenders over all loads, in turn; prints the tables and appends them to a record.
    Run {
        /// Rounds; figures are medians over them.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Only the loads whose name has this in it.
        #[arg(long, default_value = "")]
        only: String,
        /// What foreshock does when nothing comes: spin or yield.
        #[arg(long, default_value = "spin")]
        idle: String,
        /// The record to write.
        #[arg(long)]
        record: Option<PathBuf>,
    },
    /// Bursts far above the largest on record, to foreshock.
    Bursts {
        /// The record to write.
        #[arg(long)]
        record: Option<PathBuf>,
    },
    /// Plays the venue, for one listener.
    Send {
        #[arg(long)]
        pace: String,
        #[arg(long)]
        count: usize,
        #[arg(long)]
        ca: Option<PathBuf>,
        #[arg(long)]
        stamps: PathBuf,
        #[arg(long)]
        core: Option<usize>,
    },
    /// Is one listener.
    Listen {
        who: Contender,
        #[arg(long)]
        url: String,
        #[arg(long)]
        count: usize,
        #[arg(long)]
        ca: Option<PathBuf>,
        #[arg(long)]
        stamps: PathBuf,
        #[arg(long)]
        stamped: bool,
        #[arg(long)]
        core: Option<usize>,
        #[arg(long, default_value = "spin")]
        idle: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Contender {
    Floor,
    Foreshock,
    Baseline,
    Naive,
}

fn main() -> ExitCode {
    match work(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("compare: {why}");
            ExitCode::FAILURE
        }
    }
}

fn work(command: Command) -> Result<(), String> {
    match command {
        Command::Run { rounds, only, idle, record } => {
            measure(rounds, &only, &idle, record.as_deref())
        }
        Command::Bursts { record } => bursts(record.as_deref()),
        Command::Send { pace, count, ca, stamps, core } => {
            settle_on(core)?;
            let pace = match pace.as_str() {
                "flat" => Pace::Flat,
                "burst" => Pace::Burst,
                rate => Pace::Rate(rate.parse().map_err(|e| format!("--pace {rate}: {e}"))?),
            };
            let flow = Flow::default();
            let stream = server::one_client(ca.as_deref(), |port| println!("port {port}"))?;
            let sent = sender::send(stream, &flow, count, pace);
            let sent = sent.map_err(|e| format!("sender: {e}"))?;
            write(&stamps, &stamp_bytes(&sent))
        }
        Command::Listen { who, url, count, ca, stamps, stamped, core, idle } => {
            settle_on(core)?;
            let who = match who {
                Contender::Floor => Who::Floor,
                Contender::Foreshock => Who::Foreshock,
                Contender::Baseline => Who::Baseline,
                Contender::Naive => Who::Naive,
            };
            let idle = match idle.as_str() {
                "spin" => Idle::Spin,
                "park" => Idle::Park,
                _ => Idle::Yield,
            };
            let book = listen(who, &Task { url, ca, count, stamped }, idle)?;
            write(&stamps, &stamp_bytes(book.stamps()))?;
            print!("{}", book.words());
            Ok(())
        }
    }
}

/// Pins the process and everything it will start; asks for priority, which only root may have.
fn settle_on(core: Option<usize>) -> Result<(), String> {
    // SAFETY: no pointers; a refusal changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    core.map_or(Ok(()), crew::pin)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("foreshock-compare-{}", std::process::id()))
}

fn measure(rounds: usize, only: &str, idle: &str, record: Option<&Path>) -> Result<(), String> {
    let folder = folder();
    let stage = Stage::new(&folder, idle)?;
    let wanted: Vec<Load> = loads().into_iter().filter(|load| load.name().contains(only)).collect();
    let runs = stage.rounds(&wanted, rounds, |words| eprintln!("{words}"))?;
    let counter = Counter::find();
    let counted: Vec<Load> =
        wanted.iter().filter(|load| matches!(load.rate, None | Some(10_000))).copied().collect();
    let calls = counter.map(|counter| stage.calls(counter, &counted)).transpose()?;
    let functions = [false, true].map(|tls| match (counter, only) {
        (Some(Counter::Perf), "") => stage.functions(tls),
        _ => Ok(Vec::new()),
    });
    let [plain, tls] = functions;
    let functions = [plain?, tls?];
    let _ = std::fs::remove_dir_all(&folder);
    let head = machine::words(&command());
    let measured = Measured { rounds, idle, runs, calls: counter.zip(calls), functions };
    let text = table::text(&head, &measured);
    keep(record, &text)
}

fn keep(record: Option<&Path>, text: &str) -> Result<(), String> {
    println!("{text}");
    record.map_or(Ok(()), |path| write(path, text.as_bytes()))
}

fn bursts(record: Option<&Path>) -> Result<(), String> {
    let folder = folder();
    let stage = Stage::new(&folder, "spin")?;
    let text = table::bursts(&stage)?;
    let _ = std::fs::remove_dir_all(&folder);
    keep(record, &format!("# Bursts\n\n```\n{}```\n{text}", machine::words(&command())))
}

/// What was typed.
fn command() -> String {
    std::env::var("COMPARE_COMMAND")
        .unwrap_or_else(|_| std::env::args().collect::<Vec<_>>().join(" "))
}
