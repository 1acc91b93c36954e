//! Plays a capture to a real `foreshock run`, and shows what that made of it; see `perf/load.sh`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use compare::capture::{Capture, Route, route_name};
use compare::street::{Pace, Sent, Street};

/// A capture, played open-loop over loopback TLS as the venues it came from.
#[derive(Parser)]
#[command(name = "load")]
struct Cli {
    /// What `foreshock record` wrote.
    capture: PathBuf,
    /// Messages a second, evenly, whatever the recorded pace was.
    #[arg(long, conflicts_with = "speed")]
    rate: Option<f64>,
    /// The recorded pace, so many times as fast.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Plays for so many seconds, from the beginning again where the capture is shorter; once through
    /// it when not given.
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// The foreshock to run.
    #[arg(long, default_value = "target/release/foreshock")]
    foreshock: PathBuf,
    /// Where settings, logs and latencies are left.
    #[arg(long, default_value = "target/load")]
    folder: PathBuf,
    /// Settings for it, beside those that point it here; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

fn main() -> ExitCode {
    match work(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether foreshock counted what was sent.
fn work(cli: &Cli) -> Result<bool, String> {
    let capture = Capture::read(&cli.capture)?;
    let (messages, routes) = (capture.messages.len(), capture.routes());
    println!("{}: {messages} messages on {} routes", cli.capture.display(), routes.len());
    let street = Street::open(capture)?;
    let run = Run::start(cli, &street)?;
    let pace = cli.rate.map_or(Pace::Speed(cli.speed), Pace::Rate);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ns of hours")]
    let most = cli.duration.map(|seconds| (seconds * 1e9) as u64);
    let sent = street.play(pace, most)?;
    // What left last is still on its way through.
    std::thread::sleep(Duration::from_millis(500));
    let (log, latencies) = run.end()?;
    say(&sent);
    let equal = compared(&sent, &log);
    let broken = log.contains("BROKEN");
    for line in log.lines().filter(|line| line.contains("conservation") || line.contains("BROKEN"))
    {
        println!("{line}");
    }
    println!("\n{latencies}");
    Ok(equal && !broken && sent.drained)
}

/// A foreshock that runs.
struct Run {
    child: Child,
    program: PathBuf,
    log: PathBuf,
    latencies: PathBuf,
}

impl Run {
    fn start(cli: &Cli, street: &Street) -> Result<Self, String> {
        let folder = &cli.folder;
        let words = |e: std::io::Error| format!("{}: {e}", folder.display());
        fs::create_dir_all(folder).map_err(words)?;
        let folder = fs::canonicalize(folder).map_err(words)?;
        let [ca, settings, log, latencies] =
            ["ca.pem", "load.toml", "run.log", "load.hlog"].map(|name| folder.join(name));
        let _ = fs::remove_file(&latencies);
        fs::write(&ca, street.ca_pem()).map_err(words)?;
        let text = format!(
            "[feeds]\nca_file = {ca:?}\n[latency]\nfile = {latencies:?}\n{}",
            street.feeds()
        );
        fs::write(&settings, text).map_err(words)?;
        let out = File::create(&log).map_err(words)?;
        let errors = out.try_clone().map_err(words)?;
        let mut command = Command::new(&cli.foreshock);
        command.arg("--config").arg(&settings);
        command.args(cli.set.iter().flat_map(|set| ["--set", set]));
        command.arg("run").stdin(Stdio::null()).stdout(out).stderr(errors);
        let program = cli.foreshock.clone();
        let child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        Ok(Self { child, program, log, latencies })
    }

    /// Ends it in order; gives what it said, and its latencies.
    fn end(mut self) -> Result<(String, String), String> {
        let pid = i32::try_from(self.child.id()).map_err(|e| format!("pid: {e}"))?;
        // SAFETY: no pointers; the child is ours and not waited for yet, so the number is its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let by = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().map_err(|e| format!("wait: {e}"))?.is_none() {
            if Instant::now() > by {
                return Err("foreshock did not end".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(&self.log).map_err(|e| format!("log: {e}"))?;
        Ok((log, latencies(&self.program, &self.latencies)?))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn latencies(program: &Path, log: &Path) -> Result<String, String> {
    let output = Command::new(program).arg("latency").arg(log).output();
    let output = output.map_err(|e| format!("{}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text + &String::from_utf8_lossy(&output.stderr))
}

/// The sender's side: a slow sender is told from a slow foreshock.
fn say(sent: &Sent) {
    let all: u64 = sent.messages.values().sum();
    let seconds = sent.took as f64 / 1e9;
    println!(
        "sent         {all} messages in {seconds:.2} s, {:.0}/s",
        all as f64 / seconds.max(1e-9)
    );
    let behind = &sent.behind;
    let at = |quantile| behind.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "behind       p50 {:.1} us, p99 {:.1} us, most {:.1} us (the sender's own: of its schedule)",
        at(0.5),
        at(0.99),
        behind.max() as f64 / 1e3
    );
    println!("held up      {} times foreshock's buffers were full", sent.held_up);
    println!("drained      {}", if sent.drained { "all of it" } else { "NO: not all was taken" });
}

/// Prints what was sent beside what foreshock counted, route by route.
fn compared(sent: &Sent, log: &str) -> bool {
    let mut equal = true;
    for (&route, messages) in &sent.messages {
        let messages = messages + sent.answers.get(&route).copied().unwrap_or(0);
        let heard = heard(route, log);
        let verdict = if heard == Some(messages) { "equal" } else { "NOT EQUAL" };
        equal &= heard == Some(messages);
        let heard = heard.map_or_else(|| "none".to_owned(), |n| n.to_string());
        let (venue, name) = (route.0.name(), route_name(route));
        println!("{venue}/{name}: sent {messages} with answers, foreshock read {heard}: {verdict}");
    }
    equal
}

fn heard(route: Route, log: &str) -> Option<u64> {
    let key = format!("line_frames{{{}/{}}} ", route.0.name(), route_name(route));
    let rest = log.split(&key).nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
