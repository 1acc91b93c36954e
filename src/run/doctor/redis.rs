//! Redis, where one is configured: how long it takes to answer, and whether it will keep what it is given.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use redis::{Parser, Value};
use rustls::StreamOwned;

use super::check::{Check, Finding, Level, Scope};
use super::host::{Cannot, Look, field};
use crate::publish::redis::{Address, Place, Secret, Settings, Trust};

/// Redis.
pub const CHECKS: &[Check] = &[Check {
    name: "redis",
    level: Level::Warn,
    scope: Scope::Own,
    why: "A Redis that answers late delays every signal; one that is full and evicts nothing refuses \
          them.",
    ask: redis,
}];

/// How often it is asked, how long each answer may take, and what 99 % of them may take.
const PINGS: u64 = 200;
const DEADLINE: Duration = Duration::from_secs(1);
const P99_MAX_NS: u64 = 1_000_000;
/// All of it, however slowly it answers.
const WHOLE: Duration = Duration::from_secs(5);

fn redis(look: &Look) -> Result<Finding, Cannot> {
    let settings = &look.scene.config.redis;
    if !settings.is_on() {
        return Err(Cannot::Apply("no Redis is configured (redis.url)".to_owned()));
    }
    let address = Address::parse(&settings.url).map_err(Cannot::Read)?;
    look.note(&format!("PING, INFO and CONFIG GET at {address}"));
    match Told::by(settings, &address) {
        Ok(told) => Ok(told.judge()),
        Err(why) => {
            let fix = "redis-cli ping # start it, or mend redis.url and the password".to_owned();
            Ok(Finding::short(format!("{address}: {why}"), [fix]).at(Level::Fail))
        }
    }
}

/// What the server told.
#[derive(Debug, Default)]
struct Told {
    p50_ns: u64,
    p99_ns: u64,
    info: String,
    policy: String,
}

impl Told {
    fn by(settings: &Settings, address: &Address) -> Result<Self, String> {
        let trust = Trust::find(settings, address)?;
        let mut link = Link::open(&address.place, trust.as_ref()).map_err(|e| e.to_string())?;
        if let Some(password) = Secret::find(&settings.password_file)? {
            let user = address.user.clone();
            let words: Vec<&str> =
                ["AUTH"].into_iter().chain(user.as_deref()).chain([password.reveal()]).collect();
            link.ask(&words)?;
        }
        let mut times = Histogram::<u64>::new(3).map_err(|e| e.to_string())?;
        let end = Instant::now() + WHOLE;
        for _ in 0..PINGS {
            let began = Instant::now();
            link.ask(&["PING"])?;
            let passed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            times.saturating_record(passed);
            if Instant::now() > end {
                break;
            }
        }
        // Both may be forbidden to this user; that is no fault of the server's.
        let info = link.ask(&["INFO"]).unwrap_or_default();
        let policy = link.ask(&["CONFIG", "GET", "maxmemory-policy"]).unwrap_or_default();
        let policy = policy.lines().last().unwrap_or_default().to_owned();
        Ok(Self {
            p50_ns: times.value_at_quantile(0.5),
            p99_ns: times.value_at_quantile(0.99),
            info,
            policy,
        })
    }

    fn judge(&self) -> Finding {
        let of = |key| field(&self.info, key).unwrap_or("unknown");
        let number = |key| of(key).parse::<u64>().unwrap_or(0);
        let (used, most) = (number("used_memory"), number("maxmemory"));
        let server = field(&self.info, "valkey_version")
            .map_or_else(|| format!("redis {}", of("redis_version")), |v| format!("valkey {v}"));
        let us = |ns: u64| ns as f64 / 1e3;
        let policy = if self.policy.is_empty() { "unknown" } else { &self.policy };
        let found = format!(
            "{server}, {}: PING p50 {:.0} us, p99 {:.0} us; {} MiB used of {}, {policy}",
            of("redis_mode"),
            us(self.p50_ns),
            us(self.p99_ns),
            used >> 20,
            if most == 0 { "no limit".to_owned() } else { format!("{} MiB", most >> 20) }
        );
        let full = most > 0 && used >= most / 20 * 19;
        let mut fix = Vec::new();
        if self.p99_ns >= P99_MAX_NS {
            fix.push("export FORESHOCK_REDIS__URL=unix:///run/redis/redis.sock # the same machine, no TCP".to_owned());
            fix.push("redis-cli --latency-history # then: redis-cli latency doctor".to_owned());
        }
        if full {
            fix.push("redis-cli config set maxmemory 0 # or more than it has now".to_owned());
        }
        if fix.is_empty() { Finding::good(found) } else { Finding::short(found, fix) }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection on which every call may last a second.
struct Link {
    stream: Box<dyn Stream>,
    parser: Parser,
}

impl Link {
    fn open(place: &Place, trust: Option<&Trust>) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match place {
            Place::Unix(path) => {
                let unix = UnixStream::connect(path)?;
                unix.set_read_timeout(Some(DEADLINE))?;
                unix.set_write_timeout(Some(DEADLINE))?;
                Box::new(unix)
            }
            Place::Tcp(host, port) => {
                let mut found = (host.as_str(), *port).to_socket_addrs()?;
                let address = found.next().ok_or(io::ErrorKind::NotFound)?;
                let tcp = TcpStream::connect_timeout(&address, DEADLINE)?;
                tcp.set_nodelay(true)?;
                tcp.set_read_timeout(Some(DEADLINE))?;
                tcp.set_write_timeout(Some(DEADLINE))?;
                match trust {
                    Some(trust) => {
                        let tls = trust.begin().map_err(io::Error::other)?;
                        Box::new(StreamOwned::new(tls, tcp))
                    }
                    None => Box::new(tcp),
                }
            }
        };
        Ok(Self { stream, parser: Parser::new() })
    }

    /// Sends a command; the reply as lines of text.
    fn ask(&mut self, words: &[&str]) -> Result<String, String> {
        let (name, arguments) = words.split_first().ok_or("no command")?;
        let mut command = redis::cmd(name);
        arguments.iter().for_each(|argument| {
            command.arg(*argument);
        });
        self.stream.write_all(&command.get_packed_command()).map_err(|e| e.to_string())?;
        // The parser's words may quote what was sent; its kind does not.
        let reply = self.parser.parse_value(&mut self.stream);
        let reply = reply.map_err(|e| format!("{name}: {}", e.category()))?;
        lines(&reply).ok_or_else(|| format!("{name}: refused"))
    }
}

fn lines(reply: &Value) -> Option<String> {
    match reply {
        Value::SimpleString(text) => Some(text.clone()),
        Value::Okay => Some("OK".to_owned()),
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).replace('\r', "")),
        Value::Array(all) => {
            all.iter().map(lines).collect::<Option<Vec<_>>>().map(|all| all.join("\n"))
        }
        Value::Nil | Value::Int(_) => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::Fake;
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn told(p99_ns: u64, used: u64, most: u64) -> Finding {
        let info = format!(
            "redis_version:7.2\nredis_mode:standalone\nused_memory:{used}\nmaxmemory:{most}\n"
        );
        Told { p50_ns: 40_000, p99_ns, info, policy: "noeviction".to_owned() }.judge()
    }

    #[test]
    fn late_answers_and_a_full_memory_are_complained_of() {
        let good = told(900_000, 50 << 20, 100 << 20);
        assert_eq!(good.short, None);
        assert!(
            good.found.contains("redis 7.2, standalone: PING p50 40 us, p99 900 us; 50 MiB"),
            "{good:?}"
        );
        assert!(told(1_000_000, 0, 0).fix[0].contains("unix://"));
        assert!(told(1, 96 << 20, 100 << 20).fix[0].contains("maxmemory"));
        assert_eq!(told(1, 96 << 20, 0).short, None, "no limit is never full");
    }

    fn at(url: String) -> super::super::check::Row {
        Fake::new().set(|config| config.redis.url = url).check(CHECKS, "redis")
    }

    #[test]
    fn without_redis_it_is_left_out_and_one_that_is_gone_fails() {
        assert_eq!(at(String::new()).verdict, Verdict::Skip);
        assert_eq!(at("unix:///no/such/socket".to_owned()).verdict, Verdict::Fail);
    }

    #[test]
    fn a_server_that_speaks_the_protocol_is_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut buffer = [0; 256];
            while let Ok(n @ 1..) = client.read(&mut buffer) {
                let info = buffer[..n].windows(4).any(|word| word == b"INFO");
                let reply: &[u8] =
                    if info { b"$18\r\nvalkey_version:8.1\r\n" } else { b"+PONG\r\n" };
                client.write_all(reply).unwrap();
            }
        });
        let row = at(url);
        assert!(row.found.starts_with("valkey 8.1"), "{row:?}");
    }
}
