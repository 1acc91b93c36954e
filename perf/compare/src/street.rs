//! Plays a capture as the venues it was recorded from, to a real `foreshock run`.
//!
//! ```text
//! wss://localhost:PORT/binance/market     https://localhost:PORT/binance/fapi/v1/exchangeInfo
//! ```
//! Threads accept, speak TLS and answer REST; one thread has all upgraded connections, sends what is
//! due, and between messages hears what the clients say. It is open-loop: a message is due when it is
//! due. How far the sending falls behind is kept, and how often a client's buffers were full, so that a
//! slow sender is told from a slow listener.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use foreshock::event::Venue;
use foreshock::ingest::exchange::exchange;
use foreshock::simulate::voice::{Answer, voices};
use hdrhistogram::Histogram;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::capture::{Capture, Route, listing, route_name};
use crate::{clock, server};

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// How often clients are heard while messages wait.
const HEAR_NS: u64 = 1_000_000;
/// All lines must be there within this.
const LINES_NS: u64 = 15_000_000_000;
/// Nothing was asked for so long: everything is subscribed.
const SETTLED_NS: u64 = 700_000_000;
/// What clients have not taken by then is given up.
const DRAIN_NS: u64 = 10_000_000_000;
const REQUEST: Duration = Duration::from_secs(5);

/// When messages are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, evenly.
    Rate(f64),
    /// As recorded, so many times as fast.
    Speed(f64),
}

/// A connection of a client.
struct Line {
    route: Route,
    socket: WebSocket<Stream>,
    /// Answers given so far.
    answered: usize,
    unsent: bool,
    gone: bool,
}

/// What the sending came to.
#[derive(Debug)]
pub struct Sent {
    /// Messages of the capture, by route.
    pub messages: BTreeMap<Route, u64>,
    /// Answers to subscriptions and heartbeats, by route.
    pub answers: BTreeMap<Route, u64>,
    /// How far behind schedule messages were handed over, ns.
    pub behind: Histogram<u64>,
    /// How often a client's buffers were full.
    pub held_up: u64,
    /// From the first message to the last, ns.
    pub took: u64,
    /// Everything left the process before patience ended.
    pub drained: bool,
}

/// The venues, listening.
pub struct Street {
    port: u16,
    ca_pem: String,
    capture: Arc<Capture>,
    lines: Receiver<Line>,
}

impl Street {
    /// Opens it on a free port.
    ///
    /// # Errors
    /// In words, when there is no port, certificate or thread.
    pub fn open(capture: Capture) -> Result<Self, String> {
        let words = |e: io::Error| format!("street: {e}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(words)?;
        let port = listener.local_addr().map_err(words)?.port();
        let (config, ca_pem) = server::identity()?;
        let (came, lines) = unbounded();
        let capture = Arc::new(capture);
        let known = capture.clone();
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (config, known, came) = (config.clone(), known.clone(), came.clone());
                // A connection that fails is the client's affair; it sees it fail.
                thread::spawn(move || drop(serve(tcp, config, &known, &came)));
            }
        });
        Ok(Self { port, ca_pem, capture, lines })
    }

    /// The certificate to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The settings of a foreshock that listens here and nowhere else.
    #[must_use]
    pub fn feeds(&self) -> String {
        let mut tables = String::new();
        for voice in voices() {
            let (venue, port) = (voice.venue(), self.port);
            let name = venue.name();
            let routes = self.capture.routes().into_iter().filter(|route| route.0 == venue);
            let urls: Vec<String> = routes
                .map(|route| {
                    let route = route_name(route);
                    format!(r#"{route} = "wss://localhost:{port}/{name}/{route}""#)
                })
                .collect();
            tables += &format!("[feeds.venues.{name}]\n");
            if urls.is_empty() {
                tables += "enabled = false\n";
                continue;
            }
            let urls = urls.join(", ");
            tables += &format!("rest = \"https://localhost:{port}/{name}\"\nurls = {{ {urls} }}\n");
        }
        tables
    }

    /// Waits for the lines, then plays until `most` ns have passed, from the beginning again where the
    /// capture is shorter; once through it where `most` is `None`.
    ///
    /// # Errors
    /// When lines stay away, or all have hung up.
    pub fn play(self, pace: Pace, most: Option<u64>) -> Result<Sent, String> {
        let mut player = Player {
            lines: Vec::new(),
            coming: self.lines,
            capture: self.capture,
            sent: Sent {
                messages: BTreeMap::new(),
                answers: BTreeMap::new(),
                behind: Histogram::new_with_bounds(1, 60_000_000_000, 3)
                    .map_err(|e| format!("histogram: {e}"))?,
                held_up: 0,
                took: 0,
                drained: false,
            },
            heard_at: 0,
        };
        player.gather()?;
        player.play(pace, most)?;
        player.drain();
        Ok(player.sent)
    }
}

fn serve(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    capture: &Capture,
    came: &Sender<Line>,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(REQUEST))?;
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, tcp);
    let request = server::request(&mut stream)?;
    let mut parts = request.path.splitn(3, '/').skip(1);
    let venue = parts.next().and_then(Venue::named).ok_or(ErrorKind::NotFound)?;
    let below = parts.next().unwrap_or("");
    let Some(key) = request.key else {
        let known = capture.listed.get(&venue).map_or(&[][..], Vec::as_slice);
        return rest(&mut stream, listing(venue, &format!("/{below}"), known));
    };
    let routes = exchange(venue).map_or(&[][..], |exchange| exchange.routes());
    let nth = routes.iter().position(|route| route.name == below).ok_or(ErrorKind::NotFound)?;
    server::upgrade(&mut stream, &key)?;
    stream.sock.set_nonblocking(true)?;
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024).write_buffer_size(0);
    let socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let line = Line { route: (venue, nth), socket, answered: 0, unsent: false, gone: false };
    drop(came.send(line));
    Ok(())
}

fn rest(stream: &mut Stream, body: Option<String>) -> io::Result<()> {
    let (status, body) = match body {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Has the connections, and the books.
struct Player {
    lines: Vec<Line>,
    coming: Receiver<Line>,
    capture: Arc<Capture>,
    sent: Sent,
    /// When a client last said something.
    heard_at: u64,
}

impl Player {
    /// Waits until every route has a client that has nothing more to ask.
    fn gather(&mut self) -> Result<(), String> {
        let by = clock::now() + LINES_NS;
        loop {
            self.hear();
            let missing: Vec<Route> =
                self.capture.routes().into_iter().filter(|route| !self.has(*route)).collect();
            let now = clock::now();
            if missing.is_empty() && now > self.heard_at + SETTLED_NS {
                return Ok(());
            }
            if now > by {
                let name = |route: &Route| format!("{}/{}", route.0.name(), route_name(*route));
                let missing: Vec<String> = missing.iter().map(name).collect();
                return Err(format!("nobody listens to {}", missing.join(", ")));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn has(&self, route: Route) -> bool {
        self.lines.iter().any(|line| line.route == route)
    }

    fn play(&mut self, pace: Pace, most: Option<u64>) -> Result<(), String> {
        let capture = self.capture.clone();
        let ahead_ns = clock::wall_ms().unsigned_abs() * 1_000_000 - clock::now();
        let first = capture.messages.first().map_or(0, |message| message.at);
        let last = capture.messages.last().map_or(0, |message| message.at);
        let (start, length) = (clock::now(), capture.messages.len());
        let mut heard = start;
        for n in 0.. {
            let (lap, message) = (n / length, &capture.messages[n % length]);
            let ns = match pace {
                Pace::Rate(rate) => n as f64 * 1e9 / rate,
                Pace::Speed(speed) => {
                    let recorded = (last - first) * lap as u64 + (message.at - first);
                    recorded as f64 / speed
                }
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "ns of hours"
            )]
            let due = start + ns as u64;
            if most.map_or(lap > 0, |most| due - start >= most) {
                break;
            }
            let mut now = clock::now();
            while now < due {
                if now > heard + HEAR_NS {
                    self.hear();
                    heard = now;
                } else if due - now > 2 * HEAR_NS {
                    thread::sleep(Duration::from_nanos(HEAR_NS / 2));
                }
                now = clock::now();
            }
            // A sender that is behind must hear pings all the same.
            if now > heard + 50 * HEAR_NS {
                self.hear();
                heard = now;
            }
            if self.lines.is_empty() {
                return Err("every client has hung up".to_owned());
            }
            let _ = self.sent.behind.record((now - due).max(1));
            let ms = i64::try_from((now + ahead_ns) / 1_000_000).unwrap_or(0);
            let text = String::from_utf8_lossy(&message.moved(ms)).into_owned();
            self.say(message.route, text);
            self.sent.took = clock::now() - start;
        }
        Ok(())
    }

    fn say(&mut self, route: Route, text: String) {
        let Some(line) = self.lines.iter_mut().find(|line| line.route == route) else { return };
        *self.sent.messages.entry(route).or_default() += 1;
        self.sent.held_up += u64::from(line.put(text));
    }

    /// Hears what clients say, and answers.
    fn hear(&mut self) {
        while let Ok(line) = self.coming.try_recv() {
            self.heard_at = clock::now();
            self.lines.push(line);
        }
        for line in &mut self.lines {
            while let Some(text) = line.next() {
                self.heard_at = clock::now();
                for answer in answers(line, &text, &self.capture) {
                    *self.sent.answers.entry(line.route).or_default() += 1;
                    line.put(answer);
                }
            }
            if line.unsent {
                line.flush();
            }
        }
        self.lines.retain(|line| !line.gone);
    }

    fn drain(&mut self) {
        let by = clock::now() + DRAIN_NS;
        while clock::now() < by && self.lines.iter().any(|line| line.unsent) {
            self.hear();
        }
        self.sent.drained = self.lines.iter().all(|line| !line.unsent);
    }
}

/// What the venue says to a client: that its heartbeat was heard, or what was recorded.
fn answers(line: &mut Line, text: &str, capture: &Capture) -> Vec<String> {
    let (venue, _) = line.route;
    if text == "ping" || text.contains(r#""ping""#) {
        let voice = voices().into_iter().find(|voice| voice.venue() == venue);
        let said = voice.map(|voice| voice.answer(&[], route_name(line.route), text));
        let said = said.into_iter().flatten();
        return said
            .filter_map(|a| if let Answer::Say(text) = a { Some(text) } else { None })
            .collect();
    }
    let Some(recorded) = capture.answers.get(&line.route) else { return Vec::new() };
    let wanted = exchange(venue).map_or(1, |exchange| exchange.answers(text)) as usize;
    let begin = line.answered;
    line.answered += wanted;
    (begin..line.answered).map(|n| recorded[n % recorded.len()].clone()).collect()
}

impl Line {
    /// The next thing the client says.
    fn next(&mut self) -> Option<String> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(_) => {}
                Err(Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => {
                    self.gone = true;
                    return None;
                }
            }
        }
    }

    /// Whether the client's buffers were full.
    fn put(&mut self, text: String) -> bool {
        if let Err(e) = self.socket.write(Message::text(text)) {
            self.fail(&e);
        }
        self.flush();
        self.unsent
    }

    fn flush(&mut self) {
        self.unsent = false;
        if let Err(e) = self.socket.flush() {
            self.fail(&e);
        }
    }

    fn fail(&mut self, error: &Error) {
        match error {
            Error::Io(e) if e.kind() == ErrorKind::WouldBlock => self.unsent = true,
            _ => self.gone = true,
        }
    }
}
