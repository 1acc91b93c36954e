//! The server: who connects, what is asked, what is answered. Takes turns; nothing here waits.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::SockRef;

use super::client::{Client, Gone};
use super::health::Health;
use super::http::{Content, Guard, Request, head};
use super::metrics;
use super::picture::Picture;
use super::view::{self, Eye, Run};
use crate::ledger::Tally;
use crate::publish::latency::Digest;
use crate::symbol::Symbol;
use crate::time::{NS_PER_S, Nanos, Now};

/// Connections at the same time.
const CLIENTS: usize = 32;
/// Of these, streams: the rest is for whoever asks once.
const STREAMS: usize = 16;
/// Connections taken in one turn.
const ACCEPTS: usize = 8;
/// Bytes that wait in the kernel for one connection.
const KERNEL_BYTES: usize = 256 << 10;
/// While the port is taken, it is tried again this often.
const RETRY_NS: u64 = 5 * NS_PER_S;

const OK: &str = "200 OK";
const UNAVAILABLE: &str = "503 Service Unavailable";

const HTML: &str = include_str!("assets/index.html");
const CSS: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");

/// What the server counted.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Requests answered.
    pub answered: u64,
    /// Requests refused, by reason.
    pub refused: Tally,
    /// Connections cut off, by reason.
    pub dropped: Tally,
    /// Frames sent.
    pub frames: u64,
}

/// See the module.
pub struct Server {
    place: SocketAddr,
    listener: Option<TcpListener>,
    tried: Nanos,
    guard: Guard,
    clients: Vec<Client>,
    books: Books,
    run: Run,
    digest: Option<Arc<Digest>>,
    rings: [(&'static str, usize); 2],
}

/// What a server shows beside the picture.
pub struct Show {
    /// Which run it is.
    pub run: Run,
    /// Its latencies, where they are measured.
    pub digest: Option<Arc<Digest>>,
    /// The rings and their sizes.
    pub rings: [(&'static str, usize); 2],
}

/// Listens at `place`. Gives where, or why not.
pub fn listen(place: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(place)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Server {
    /// A server at `place`; without a listener it tries again by itself.
    pub fn new(
        place: SocketAddr,
        listener: Option<TcpListener>,
        hosts: &[String],
        show: Show,
    ) -> Self {
        let guard = Guard { is_loopback: place.ip().is_loopback(), hosts: hosts.to_vec() };
        let Show { run, digest, rings } = show;
        let (clients, books) = (Vec::with_capacity(CLIENTS), Books::default());
        Self { place, listener, tried: Nanos(0), guard, clients, books, run, digest, rings }
    }

    /// Does what can be done now.
    pub fn turn(&mut self, picture: &Picture, now: Now) {
        self.retry(now.mono);
        self.accept(now.mono);
        let mut clients = std::mem::take(&mut self.clients);
        let mut streams = clients.iter().filter(|client| client.is_stream()).count();
        clients.retain_mut(|client| {
            let was_stream = client.is_stream();
            self.serve(client, picture, streams < STREAMS, now);
            streams += usize::from(client.is_stream() && !was_stream);
            self.keep(client.turn(now.mono))
        });
        self.clients = clients;
    }

    fn retry(&mut self, now: Nanos) {
        if self.listener.is_some() || now.since(self.tried) < RETRY_NS {
            return;
        }
        if self.tried != Nanos(0) {
            self.listener = listen(self.place).ok();
            if self.listener.is_some() {
                eprintln!("page: http://{}/ (the port is free now)", self.place);
            }
        }
        self.tried = now;
    }

    fn accept(&mut self, now: Nanos) {
        for _ in 0..ACCEPTS {
            let Some(Ok((socket, _))) = self.listener.as_ref().map(TcpListener::accept) else {
                return;
            };
            if self.clients.len() >= CLIENTS {
                self.books.dropped.add("too_many", 1);
            } else if socket.set_nonblocking(true).is_ok() {
                // A frame is written at once; waiting for more would only make it late.
                let _ = socket.set_nodelay(true);
                // What waits in the kernel is bounded too.
                let _ = SockRef::from(&socket).set_send_buffer_size(KERNEL_BYTES);
                self.clients.push(Client::new(socket, now));
            }
        }
    }

    fn keep(&mut self, gone: Option<Gone>) -> bool {
        let reason = match gone {
            None => return true,
            Some(Gone::Done) => return false,
            Some(Gone::Late) => "late",
            Some(Gone::Stalled) => "stalled",
            Some(Gone::Full) => "full",
        };
        self.books.dropped.add(reason, 1);
        false
    }

    fn serve(&mut self, client: &mut Client, picture: &Picture, room: bool, now: Now) {
        match client.ask(&self.guard) {
            Ok(None) => {}
            Ok(Some(request)) => {
                self.books.answered += 1;
                self.answer(client, &request, picture, room, now);
            }
            Err(refusal) => {
                self.books.refused.add(refusal.reason, 1);
                plain(client, refusal.status, now);
            }
        }
        let (run, digest) = (&self.run, self.digest.as_deref());
        let framed = client.frame(now.mono, |eye, everything| {
            view::frame(picture, run, digest, eye, everything, now)
        });
        self.books.frames += u64::from(framed);
    }

    fn answer(
        &mut self,
        client: &mut Client,
        request: &Request,
        picture: &Picture,
        room: bool,
        now: Now,
    ) {
        if request.path == "/events" && !request.head_only {
            if !room {
                self.books.refused.add("streams", 1);
                return plain(client, UNAVAILABLE, now);
            }
            let symbol = request.value("symbol").and_then(|name| Symbol::parse(&name));
            let listed = request.value("list").and_then(|n| n.parse().ok());
            let eye = Eye::on(symbol.unwrap_or(Symbol::MARKET)).listing(listed);
            return client.stream(&head(OK, Content::Events, None), eye, now.mono);
        }
        let (status, content, body) = self.body(&request.path, picture, now);
        let head = head(status, content, Some(body.len()));
        let body = if request.head_only { &[] } else { body.as_bytes() };
        client.answer(&head, body, now.mono);
    }

    fn body(
        &self,
        path: &str,
        picture: &Picture,
        now: Now,
    ) -> (&'static str, Content, std::borrow::Cow<'static, str>) {
        let health = || Health::of(picture, now);
        let verdict = |good: bool| if good { OK } else { UNAVAILABLE };
        match path {
            "/" => (OK, Content::Html, HTML.into()),
            "/page.css" => (OK, Content::Css, CSS.into()),
            "/page.js" => (OK, Content::Script, SCRIPT.into()),
            "/icon.svg" => (OK, Content::Svg, ICON.into()),
            "/events" => (OK, Content::Events, "".into()),
            "/livez" => (verdict(health().is_live()), Content::Text, health().to_string().into()),
            "/readyz" => (verdict(health().is_ready()), Content::Text, health().to_string().into()),
            "/status" => {
                let status = view::status(picture, &self.run, self.digest.as_deref(), now);
                (OK, Content::Json, status.into())
            }
            "/metrics" => (OK, Content::Metrics, self.metrics(picture, now).into()),
            _ => ("404 Not Found", Content::Text, "404 Not Found\n".into()),
        }
    }

    fn metrics(&self, picture: &Picture, now: Now) -> String {
        let streams = self.clients.iter().filter(|client| client.is_stream()).count();
        let digest = self.digest.as_deref();
        metrics::text(picture, &self.run, digest, &self.rings, &self.books, streams, now)
    }
}

/// An answer of one line, which is its status.
fn plain(client: &mut Client, status: &'static str, now: Now) {
    let body = format!("{status}\n");
    client.answer(&head(status, Content::Text, Some(body.len())), body.as_bytes(), now.mono);
}
