//! A real PostgreSQL of our own, ended with the test, and psql to look into it.
#![allow(dead_code, reason = "each test uses its own part")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::scratch::Scratch;

/// Who may come in how.
const ACCESS: &str = "\
local all guarded scram-sha-256
local all old md5
local all clear password
local all all trust
host  all all 127.0.0.1/32 scram-sha-256
";

/// Where the programs are: Debian does not put them into the path.
fn programs() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let whole = |bin: &PathBuf| {
            ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).is_file())
        };
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut found: Vec<_> = std::env::split_paths(&path).filter(whole).collect();
        found.extend(versions.map(|version| version.path().join("bin")).filter(whole));
        found.pop()
    });
    found.as_deref()
}

/// Why there is nothing to test against, if that is so.
pub fn skipped() -> bool {
    if programs().is_none() {
        eprintln!("skipped: no PostgreSQL server here (apt install postgresql)");
        return true;
    }
    if is_root() && !quiet(Command::new("setpriv").arg("--version")) {
        eprintln!("skipped: PostgreSQL does not run as root, and there is no setpriv");
        return true;
    }
    if is_root() && !quiet(Command::new("id").arg("postgres")) {
        eprintln!("skipped: PostgreSQL does not run as root, and there is no user postgres");
        return true;
    }
    false
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// A program of PostgreSQL, run by somebody who may.
fn command(program: &str) -> Command {
    let path = programs().unwrap().join(program);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
    command.current_dir("/");
    command
}

fn give_to_postgres(path: &Path) {
    if is_root() {
        assert!(quiet(Command::new("chown").arg("postgres:postgres").arg(path)));
    }
}

pub struct Server {
    pub scratch: Scratch,
    pub port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Makes and starts a server with further options, each `name=value`.
    pub fn start(options: &[&str]) -> Self {
        let scratch = Scratch::new("postgres");
        give_to_postgres(scratch.path());
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { scratch, port, options, child: None };
        let mut initdb = command("initdb");
        initdb.arg("-D").arg(server.data()).args(["-U", "postgres", "--no-sync", "-A", "trust"]);
        initdb.args(["-E", "UTF8", "--locale=C"]);
        assert!(quiet(&mut initdb), "initdb fails");
        fs::write(server.data().join("pg_hba.conf"), ACCESS).unwrap();
        server.certify();
        server.launch();
        server.psql("CREATE ROLE foreshock LOGIN; CREATE DATABASE foreshock OWNER foreshock");
        server
    }

    /// A certificate for `localhost`, which a server with `ssl=on` shows; its own authority.
    fn certify(&self) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.certificate(), own.cert.pem()).unwrap();
        let key = self.data().join("server.key");
        fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        give_to_postgres(&key);
        give_to_postgres(&self.certificate());
    }

    pub fn certificate(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// Starts it. Right after a kill the old one's children may still be there: it is tried again.
    pub fn launch(&mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let mut postgres = command("postgres");
            postgres.arg("-D").arg(self.data()).arg("-k").arg(self.scratch.path());
            let port = format!("port={}", self.port);
            for option in ["listen_addresses=127.0.0.1", &port, "fsync=off", "autovacuum=off"] {
                postgres.args(["-c", option]);
            }
            for option in &self.options {
                postgres.args(["-c", option]);
            }
            let log = File::create(self.scratch.path().join("log")).unwrap();
            postgres.stderr(log).stdout(Stdio::null());
            let mut child = postgres.spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                if self.try_psql("postgres", "SELECT 1").is_ok() {
                    self.child = Some(child);
                    return;
                }
                assert!(Instant::now() < end, "does not start: {}", self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(Instant::now() < end, "does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// The address for a role.
    pub fn url(&self, role: &str) -> String {
        let folder = self.scratch.path().display();
        format!("postgres://{role}@/foreshock?host={folder}&port={}", self.port)
    }

    /// kill -9 of the postmaster: the others follow by themselves.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal to every process of the server.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let mut kill = Command::new("kill");
        kill.args([name, &pid.to_string()]).args(children.split_whitespace());
        // One that has just ended is no matter.
        quiet(&mut kill);
    }

    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(programs().unwrap().join("psql"));
        psql.arg("-h").arg(self.scratch.path()).args(["-U", "postgres", "-d", database]);
        psql.args(["-p", &self.port.to_string()]).args([
            "-XqAt",
            "-F",
            "|",
            "-P",
            "null=(null)",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]);
        let done = psql.output().unwrap();
        if done.status.success() {
            return Ok(String::from_utf8(done.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }

    /// Runs statements one by one as the superuser.
    pub fn psql(&self, statements: &str) {
        for sql in statements.split("; ") {
            self.try_psql("postgres", sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }

    /// The rows of a query over the history.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let text = self.try_psql("foreshock", sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }

    /// The only cell of a query over the history.
    pub fn cell(&self, sql: &str) -> String {
        self.rows(sql).concat().concat()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            self.child = None;
            quiet(Command::new("kill").args(["-CONT", &pid]));
            // An immediate end takes the children with it.
            quiet(Command::new("kill").args(["-QUIT", &pid]));
            let _ = child.wait();
        }
    }
}
