//! A real redis-server of our own, ended with the test, and a client to look into it.
//!
//! Another server takes its place with `FORESHOCK_REDIS_SERVER=valkey-server` (or the path of one).
#![allow(dead_code, reason = "each test uses its own part")]

use std::fs::File;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Parser, RedisResult, Value};

use crate::scratch::Scratch;

/// Why there is nothing to test against, if that is wanted.
pub fn skipped() -> bool {
    let skip = std::env::var_os("FORESHOCK_SKIP_REDIS").is_some_and(|value| value == "1");
    if skip {
        eprintln!("skipped: FORESHOCK_SKIP_REDIS=1");
    }
    skip
}

/// A port where nobody listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub struct Server {
    pub scratch: Scratch,
    pub port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with further options, each `name value`.
    pub fn start(options: &[&str]) -> Self {
        let port = free_port();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { scratch: Scratch::new("redis"), port, options, child: None };
        server.launch();
        server
    }

    pub fn launch(&mut self) {
        let program = std::env::var("FORESHOCK_REDIS_SERVER");
        let program = program.unwrap_or_else(|_| "redis-server".to_owned());
        let mut command = Command::new(&program);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--unixsocket").arg(self.socket()).arg("--dir").arg(self.scratch.path());
        for option in &self.options {
            let (name, value) = option.split_once(' ').unwrap();
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        let log = File::create(self.scratch.path().join("log")).unwrap();
        let child = command.stdout(log).stderr(Stdio::null()).spawn().unwrap_or_else(|e| {
            panic!("{program}: {e}; install it (apt install redis-server) or set FORESHOCK_SKIP_REDIS=1")
        });
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(self.socket()).is_err()
            || TcpStream::connect(("127.0.0.1", self.port)).is_err()
        {
            assert!(Instant::now() < end, "redis-server does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let _ =
            File::open(self.scratch.path().join("log")).map(|mut f| f.read_to_string(&mut text));
        text
    }

    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("redis.sock")
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    /// Stops or continues the process.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    pub fn client(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Client { stream, parser: Parser::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal("-CONT");
        }
        self.kill();
    }
}

pub struct Client {
    stream: TcpStream,
    parser: Parser,
}

impl Client {
    pub fn send(&mut self, command: &[&str]) {
        use std::io::Write as _;
        let mut cmd = redis::Cmd::new();
        for argument in command {
            cmd.arg(*argument);
        }
        self.stream.write_all(&cmd.get_packed_command()).unwrap();
    }

    pub fn reply(&mut self) -> RedisResult<Value> {
        self.parser.parse_value(&mut self.stream)
    }

    /// The answer; a server that has just been started may have to load its data first.
    pub fn ask(&mut self, command: &[&str]) -> Value {
        loop {
            self.send(command);
            match self.reply().unwrap() {
                Value::ServerError(e) if e.code() == "LOADING" => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                answer => return answer,
            }
        }
    }

    pub fn text(&mut self, command: &[&str]) -> String {
        text_of(&self.ask(command))
    }

    pub fn number(&mut self, command: &[&str]) -> i64 {
        match self.ask(command) {
            Value::Int(n) => n,
            other => panic!("{command:?}: {other:?}"),
        }
    }

    pub fn list(&mut self, command: &[&str]) -> Vec<Value> {
        match self.ask(command) {
            Value::Array(values) => values,
            other => panic!("{command:?}: {other:?}"),
        }
    }

    /// Ids of all entries of a stream, with their fields.
    pub fn stream(&mut self, key: &str) -> Vec<(String, Vec<String>)> {
        let entry = |value: Value| match value {
            Value::Array(parts) => match &parts[..] {
                [id, Value::Array(fields)] => (text_of(id), fields.iter().map(text_of).collect()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        self.list(&["XRANGE", key, "-", "+"]).into_iter().map(entry).collect()
    }
}

pub fn text_of(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".into(),
        Value::Int(n) => n.to_string(),
        Value::Nil => "(nil)".into(),
        other => format!("{other:?}"),
    }
}
