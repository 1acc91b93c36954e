//! `foreshock doctor` and `foreshock jitter` as a user meets them: exit codes, JSON, the script.
//!
//! Machines are folders (`--root`), so that what is found does not depend on where this runs; what is
//! true of every machine is asked of this one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/redis.rs"]
mod redis;
#[path = "support/scratch.rs"]
mod scratch;

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use scratch::Scratch;
use serde_json::Value;

fn foreshock(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(args)
        .env_remove("FORESHOCK_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The findings as JSON, and the exit code.
fn findings(args: &[&str]) -> (Value, i32) {
    let output = foreshock(&[&["doctor", "--format", "json"], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout);
    let json =
        json.unwrap_or_else(|e| panic!("{e}: {}{stderr}", String::from_utf8_lossy(&output.stdout)));
    (json, output.status.code().unwrap())
}

fn row<'j>(json: &'j Value, name: &str) -> &'j Value {
    let rows = json["checks"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// A machine in a folder.
fn machine(files: &[(&str, &str)]) -> Scratch {
    let scratch = Scratch::new("doctor");
    for (path, text) in files {
        let path = scratch.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    scratch
}

const SOURCE: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";
const THP: &str = "sys/kernel/mm/transparent_hugepage";

fn ill() -> Scratch {
    let (enabled, defrag) = (format!("{THP}/enabled"), format!("{THP}/defrag"));
    machine(&[
        (SOURCE, "hpet"),
        (&enabled, "[always] never"),
        (&defrag, "[never]"),
        ("proc/swaps", "Filename\n/evil\n$(touch pwned) partition 9 9 -1\n"),
        ("proc/sys/vm/swappiness", "60"),
        ("sys/devices/system/cpu/online", "0-3"),
        ("proc/self/status", "Cpus_allowed_list:\t0-3\n"),
        ("sys/devices/system/cpu/isolated", ""),
        ("proc/sys/kernel/core_pattern", "|/bin/x `id`\n#\u{1b}[31m"),
        ("proc/self/limits", "Max open files 100 100 files\n"),
    ])
}

#[test]
fn a_machine_that_fails_a_check_gives_code_4_and_one_that_does_not_gives_0() {
    let ill = ill();
    let (json, code) = findings(&["--root", ill.path().to_str().unwrap()]);
    assert_eq!(code, 4, "{json}");
    assert_eq!(row(&json, "clocksource")["verdict"], "fail");
    assert_eq!(json["first"][0], "clocksource");
    let well = machine(&[(SOURCE, "tsc"), ("proc/cpuinfo", "flags: constant_tsc nonstop_tsc\n")]);
    let (json, code) = findings(&["--root", well.path().to_str().unwrap()]);
    assert_eq!((code, &json["summary"]["fail"]), (0, &Value::from(0)), "{json}");
    assert_eq!(row(&json, "clocksource")["verdict"], "pass");
    assert_eq!(row(&json, "swap")["verdict"], "unread", "what cannot be read does not pass");
}

#[test]
fn the_script_holds_every_fix_is_a_shell_script_and_changes_nothing() {
    let ill = ill();
    let root = ill.path().to_str().unwrap();
    let (json, _) = findings(&["--root", root]);
    let output = foreshock(&["doctor", "--script", "--root", root]);
    assert_eq!(output.status.code(), Some(4));
    let script = String::from_utf8(output.stdout).unwrap();
    let mut short = 0;
    for row in json["checks"].as_array().unwrap() {
        if !matches!(row["verdict"].as_str(), Some("warn" | "fail")) {
            continue;
        }
        short += 1;
        let fix = row["fix"].as_array().unwrap();
        assert!(!fix.is_empty(), "{row} has no fix");
        for line in fix {
            assert!(
                script.lines().any(|l| l == line.as_str().unwrap()),
                "{line} is not in {script}"
            );
        }
    }
    assert!(short >= 5, "{json}");
    // What a file held is told in comments, and never obeyed.
    let foreign = |line: &&str| line.contains("pwned") || line.contains("`id`");
    assert!(script.lines().filter(foreign).all(|line| line.starts_with('#')), "{script}");
    assert!(!script.chars().any(|c| c.is_control() && c != '\n'), "{script}");
    let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{script}");
    assert_eq!(fs::read_to_string(ill.path().join(SOURCE)).unwrap(), "hpet");
}

#[test]
fn people_get_a_summary_and_what_to_do_first_without_colours_in_a_pipe() {
    let ill = ill();
    let output = foreshock(&["doctor", "--root", ill.path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b') && text.contains("FAIL clocksource"), "{text}");
    assert!(text.contains("1 fail, ") && text.contains("cannot be read here"), "{text}");
    assert!(text.contains("Begin with: clocksource"), "{text}");
    let long = text.lines().filter(|line| !line.contains(" fix ") && line.chars().count() > 100);
    assert_eq!(long.count(), 0, "{text}");
}

#[test]
fn tuning_md_names_every_check() {
    let root = machine(&[]);
    let (json, _) = findings(&["--root", root.path().to_str().unwrap()]);
    let text = include_str!("../tuning.md");
    for row in json["checks"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn this_machine_is_told_as_it_is_and_its_code_follows() {
    let (json, code) = findings(&[]);
    let failed = json["summary"]["fail"].as_u64().unwrap();
    assert_eq!(code, if failed > 0 { 4 } else { 0 });
    assert_eq!(json["checks"].as_array().unwrap().len(), 40);
    let counted: u64 =
        json["summary"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(counted, 40);
    assert_eq!(row(&json, "socket-options")["verdict"], "pass");
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn threads_of_a_run_are_looked_at_and_its_cores_left_in_peace() {
    let scratch = Scratch::new("doctor-run");
    let status = format!("run.status={}", scratch.path().join("status").display());
    let demo = Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(["demo", "--duration", "60s", "--set", &status, "--set", "run.idle=park"])
        .env_remove("FORESHOCK_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let demo = Running(demo.unwrap());
    let deadline = Instant::now() + Duration::from_secs(15);
    let json = loop {
        let (json, _) = findings(&["--set", &status]);
        if json["runs"].as_array().is_some_and(|runs| !runs.is_empty()) {
            break json;
        }
        assert!(Instant::now() < deadline, "the run never showed: {json}");
        sleep(Duration::from_millis(100));
    };
    assert_eq!(json["runs"][0], demo.0.id());
    for name in ["involuntary-switches", "page-faults"] {
        assert!(
            matches!(row(&json, name)["verdict"].as_str(), Some("pass" | "warn" | "info")),
            "{json}"
        );
    }
    assert_eq!(row(&json, "jitter")["verdict"], "skip");
    let refused = foreshock(&["jitter", "--set", &status]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.contains(&format!("run {} is alive", demo.0.id())), "{stderr}");
}

#[test]
fn redis_is_asked_where_it_is_configured() {
    if redis::skipped() {
        return;
    }
    let server = redis::Server::start(&[]);
    let set = format!("redis.url={}", server.url());
    let root = machine(&[]);
    let (json, _) = findings(&["--root", root.path().to_str().unwrap(), "--set", &set]);
    let found = row(&json, "redis")["found"].as_str().unwrap();
    assert!(found.contains("PING p50") && found.contains("noeviction"), "{found}");
    let set = format!("redis.url=unix://{}", server.socket().display());
    let (json, _) = findings(&["--root", root.path().to_str().unwrap(), "--set", &set]);
    assert!(row(&json, "redis")["found"].as_str().unwrap().contains("standalone"));
}

#[test]
fn jitter_gives_a_row_for_each_core_and_refuses_one_that_is_not_there() {
    let allowed = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first: usize = allowed.trim().split([',', '-']).next().unwrap().parse().unwrap();
    let core = first.to_string();
    let output = foreshock(&["jitter", "--cpus", &core, "--duration", "300ms", "--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cores = json["cores"].as_array().unwrap();
    assert_eq!((cores.len(), &cores[0]["core"]), (1, &Value::from(first)));
    assert!(cores[0]["spun_ms"].as_u64() > Some(0), "{json}");
    let table = foreshock(&["jitter", "--cpus", &core, "--duration", "100ms"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.lines().nth(1).unwrap().trim_start().starts_with(&core), "{table}");
    for absent in ["8000", "0-8000", "x"] {
        let refused = foreshock(&["jitter", "--cpus", absent, "--duration", "1s"]);
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.contains(absent), "{stderr}");
    }
}
