//! A secret of every kind, and everywhere it must not turn up.
//!
//! The program runs with a canary in each: the Redis password, a bot's token, the URLs of webhooks, the
//! password of a mail server. What it says, what it writes (journal, latency log, status), what
//! it puts into Redis, its command line and the names of its threads are then searched. What a user puts
//! into the environment stays in `/proc/<pid>/environ`, which only that user and root can read and a
//! program cannot take back; a secret from a file of mode 0600 is not even there, and that is shown too.
//! (Panics say a place in the source and a text that is ours; no secret is part of one, and the type
//! that holds them shows none to a formatter.)
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use foreshock::publish::redis::STREAM;
use scratch::Scratch;
use server::{Server, skipped};

const CANARY: &str = "CANARY5c0e";

/// Each secret: the variable it comes from, the setting that names its file, and the secret.
fn secrets() -> Vec<(&'static str, String)> {
    let url = |place: &str| format!("https://localhost:1/{place}/{CANARY}");
    vec![
        ("FORESHOCK_REDIS_PASSWORD", CANARY.to_owned()),
        ("FORESHOCK_ALERT_WEBHOOK_TOKEN", url("hook")),
        ("FORESHOCK_ALERT_BEARER_TOKEN", CANARY.to_owned()),
        ("FORESHOCK_ALERT_TELEGRAM_TOKEN", format!("123:{CANARY}")),
        ("FORESHOCK_ALERT_DISCORD_TOKEN", url("discord")),
        ("FORESHOCK_ALERT_SLACK_TOKEN", url("slack")),
        ("FORESHOCK_ALERT_MAIL_TOKEN", CANARY.to_owned()),
    ]
}

struct Scene {
    folder: Scratch,
    by_file: bool,
}

impl Scene {
    /// Every sink there is; the places of all alerts fail.
    fn new(redis: &str, by_file: bool) -> Self {
        let scene = Self { folder: Scratch::new("secrets"), by_file };
        let mut text = format!(
            "[run]\nstatus = {:?}\n[journal]\ndirectory = {:?}\n[latency]\nfile = {:?}\n",
            scene.path("status"),
            scene.path("journal"),
            scene.path("log.hlog")
        );
        text += &format!("[redis]\nurl = {redis:?}\n{}", scene.file("password_file", 0));
        for (i, (kind, name, more)) in [
            ("webhook", "webhook", ""),
            ("webhook", "bearer", "url = \"https://localhost:1/x\"\n"),
            ("telegram", "telegram", "chat = \"-5\"\nurl = \"https://localhost:1\"\n"),
            ("discord", "discord", ""),
            ("slack", "slack", ""),
            (
                "mail",
                "mail",
                "url = \"localhost:1\"\nfrom = \"a@b\"\nto = [\"c@d\"]\nuser = \"me\"\nprivacy = \"tls\"\n",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            text += &format!(
                "[[alert.channel]]\nkind = {kind:?}\nname = {name:?}\nlevel = \"WATCH\"\n\
                 allow_private = true\n{more}{}",
                scene.file("token_file", i + 1)
            );
        }
        fs::write(scene.path("foreshock.toml"), text).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The setting that leads to the file of a secret, if they are in files.
    fn file(&self, setting: &str, i: usize) -> String {
        if !self.by_file {
            return String::new();
        }
        let path = self.path(&format!("secret-{i}"));
        fs::write(&path, &secrets()[i].1).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        format!("{setting} = {path:?}\n")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foreshock"));
        command.args(args).arg("--config").arg(self.path("foreshock.toml"));
        command.env_remove("FORESHOCK_CONFIG").stdin(Stdio::null());
        if !self.by_file {
            command.envs(secrets());
        }
        command
    }

    fn start(&self, args: &[&str]) -> Child {
        let open = |name: &str| File::create(self.path(name)).unwrap();
        self.command(args).stdout(open("stdout")).stderr(open("stderr")).spawn().unwrap()
    }
}

fn clean(place: &str, bytes: &[u8]) {
    let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    assert!(!found, "{place} holds a secret: {}", String::from_utf8_lossy(bytes));
}

fn clean_output(place: &str, output: &Output) {
    clean(place, &output.stdout);
    clean(place, &output.stderr);
}

/// Every file under `folder` but those that hold the secrets; gives how many there were.
fn clean_files(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files += clean_files(&path);
        } else if !entry.file_name().to_string_lossy().starts_with("secret-") {
            clean(&path.display().to_string(), &fs::read(&path).unwrap());
            files += 1;
        }
    }
    files
}

/// What others can see of a process, and what it was given.
fn clean_process(child: &Child, environ: bool) {
    let here = PathBuf::from(format!("/proc/{}", child.id()));
    clean("cmdline", &fs::read(here.join("cmdline")).unwrap());
    let mut threads = 0;
    for task in fs::read_dir(here.join("task")).unwrap().map(Result::unwrap) {
        // A thread may have ended meanwhile.
        let Ok(name) = fs::read(task.path().join("comm")) else { continue };
        clean("comm", &name);
        threads += 1;
    }
    assert!(threads > 8, "all of it is up: {threads} threads");
    if environ {
        clean("environ", &fs::read(here.join("environ")).unwrap());
    }
}

/// A whole story with every sink at work; the places of alerts refuse.
fn live_through(scene: &Scene, redis_words: &str) {
    let mut child = scene.start(&["demo", "--duration", "10s"]);
    let end = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(scene.path("stderr")).unwrap().contains("cannot connect") {
        assert!(Instant::now() < end, "no alert was tried");
        assert!(child.try_wait().unwrap().is_none(), "it ended before an alert was tried");
        thread::sleep(Duration::from_millis(50));
    }
    clean_process(&child, scene.by_file);
    // While it runs its status is there as well.
    assert!(clean_files(scene.folder.path()) >= 6);
    assert!(child.wait().unwrap().success());
    let said = fs::read_to_string(scene.path("stderr")).unwrap();
    assert!(said.contains(redis_words), "{said}");
    for kind in ["webhook", "bearer", "telegram", "discord", "slack", "mail"] {
        assert!(said.contains(&format!("alert {kind}: ")), "{kind}: {said}");
    }
    // The configuration, what was said, the journal, the latency log.
    assert!(clean_files(scene.folder.path()) >= 5);
    assert!(fs::read_dir(scene.path("journal")).unwrap().count() > 0);
}

#[test]
fn s3_no_secret_from_the_environment_turns_up_anywhere() {
    if skipped() {
        return;
    }
    let password = format!("requirepass {CANARY}");
    let server = Server::start(&[&password, "rdbcompression no"]);
    let scene = Scene::new(&server.url(), false);
    live_through(&scene, "demo: ");
    let mut client = server.client();
    client.ask(&["AUTH", CANARY]);
    assert!(client.number(&["XLEN", STREAM]) > 0, "Redis was written to");
    assert_eq!(client.text(&["SAVE"]), "OK");
    clean("Redis", &fs::read(server.scratch.path().join("dump.rdb")).unwrap());
    for args in [
        &["check"][..],
        &["check", "--format", "json"],
        &["venues", "--format", "json"],
        &["alert", "test"],
    ] {
        clean_output(args[0], &scene.command(args).output().unwrap());
    }
}

#[test]
fn s3_no_secret_from_a_file_turns_up_anywhere_not_even_in_the_environment() {
    if skipped() {
        return;
    }
    // Another password: it is refused.
    let server = Server::start(&["requirepass other"]);
    let scene = Scene::new(&server.url(), true);
    live_through(&scene, "Redis refuses this user and password");
    for args in [&["check"][..], &["venues", "--format", "json"], &["alert", "test"]] {
        clean_output(args[0], &scene.command(args).output().unwrap());
    }
}

#[test]
fn s3_a_secret_in_the_wrong_place_is_refused_and_not_repeated() {
    let folder = Scratch::new("secrets");
    let path = folder.path().join("foreshock.toml");
    for config in [
        format!("[redis]\nurl = \"redis://me:{CANARY}@h\"\n"),
        format!("[redis]\nurl = \"rediss://:{CANARY}@h:1/0\"\n"),
        format!("[redis]\nurl = \"{CANARY}\"\n"),
        format!("[redis]\nurl = \"redis://me:{CANARY}@h\n"),
        format!("[redis]\npassword = \"{CANARY}\"\n"),
        format!("[[alert.channel]]\nkind = \"slack\"\nurl = \"https://h/{CANARY}\"\n"),
        format!("[[alert.channel]]\nkind = \"webhook\"\nurl = \"http://h/{CANARY}\"\n"),
        format!("[[alert.channel]]\nkind = \"webhook\"\nurl = \"https://u:{CANARY}@h/\"\n"),
        format!("[[alert.channel]]\nkind = \"telegram\"\ntoken = \"1:{CANARY}\"\nchat = \"5\"\n"),
        format!(
            "[[alert.channel]]\nkind = \"mail\"\nurl = \"u:{CANARY}@h\"\nfrom = \"a@b\"\nto = [\"c@d\"]\n"
        ),
    ] {
        fs::write(&path, &config).unwrap();
        for args in [&["check"][..], &["run", "--duration", "1s"], &["alert", "test"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_foreshock"));
            command.args(args).arg("--config").arg(&path).env_remove("FORESHOCK_CONFIG");
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert_eq!(output.status.code(), Some(3), "{config}");
            clean_output(&config, &output);
        }
    }
}
