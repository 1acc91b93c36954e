//! The page in the browser, and what programs ask over HTTP: `/metrics`, `/livez`, `/readyz`, `/status`.
//!
//! ```text
//! publisher ─▶ sink ═parcel═▶ page thread: picture ─▶ server ─▶ browsers, Prometheus
//! crew ─beats─▶ ┘   feeds ─▶ ┘   latencies ─▶ ┘
//! ```
//!
//! The sink puts the latest of each symbol into a parcel ([`parcel`]) and hands it over ten times a
//! second; while the thread has the other one, the parcel goes on taking what is newest. Whatever a
//! browser does costs the hot threads nothing. The thread keeps the [`picture`] and gives the
//! [`server`] turns; a stream of server-sent events brings browsers what they have not seen ([`view`]).
//! Nothing on the page comes from elsewhere, and nothing it shows is ever markup.

mod beat;
mod client;
mod feed;
mod health;
mod http;
mod metrics;
mod parcel;
mod picture;
mod server;
mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

pub use self::beat::{Beat, Heart, STAGES_MAX};
pub use self::feed::Feed;
pub use self::picture::ROWS;
pub use self::view::PERCENTILES;

use self::beat::Ear;
use self::parcel::Parcel;
use self::picture::Picture;
use self::server::{Server, Show, listen};
use self::view::Run;
use super::Sink;
use super::courier::{Courier, Errand};
use super::latency::Digest;
use super::redis::Status;
use crate::ledger::{Counts, Ledger};
use crate::output::Message;
use crate::stage::Turn;
use crate::time::{NS_PER_MS, Nanos, Now};

/// Between two parcels.
const PARCEL_NS: u64 = 100 * NS_PER_MS;
/// The thread looks at its sockets at least this often.
const LOOK: Duration = Duration::from_millis(20);
/// Longest mark, bytes; and names of ours at most.
const MARK_MAX: usize = 40;
const HOSTS_MAX: usize = 16;

/// Where the page is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `ADDRESS:PORT` to listen at, port 0 for any free one; empty for no page.
    pub listen: String,
    /// Names under which a browser may ask for it, beside `localhost`: those of a proxy before it.
    pub hosts: Vec<String>,
    /// Stands at the top of the page; empty for nothing.
    pub mark: String,
    /// Whether any free port will do when the one to listen at is taken.
    #[serde(skip)]
    pub anywhere: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let listen = "127.0.0.1:9310".to_owned();
        Self { listen, hosts: Vec::new(), mark: String::new(), anywhere: false }
    }
}

impl Settings {
    /// Whether a page is wanted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), String> {
        if self.is_on() {
            self.place()?;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let named = |host: &String| !host.is_empty() && host.chars().all(plain);
        if self.hosts.len() > HOSTS_MAX || !self.hosts.iter().all(named) {
            return Err(format!("hosts: at most {HOSTS_MAX} names, without a port"));
        }
        if self.mark.len() > MARK_MAX || self.mark.chars().any(char::is_control) {
            return Err(format!("mark: at most {MARK_MAX} bytes on one line"));
        }
        Ok(())
    }

    fn place(&self) -> Result<SocketAddr, String> {
        let parsed = self.listen.parse();
        parsed.map_err(|_| format!("listen = {:?}: an address such as 127.0.0.1:9310", self.listen))
    }
}

/// The ends at which the page's thread listens, beside the sink's.
#[derive(Debug, Default)]
pub struct Wires {
    ears: Vec<Ear>,
    feeds: Option<Receiver<Vec<Feed>>>,
    digest: Arc<Digest>,
    redis: Option<Arc<Status>>,
}

impl Wires {
    /// For a thread of the pipeline.
    pub fn heart(&mut self) -> Heart {
        let (heart, ear) = beat::pair();
        self.ears.push(ear);
        heart
    }

    /// For whoever knows how the feeds are: all of them, about once a second.
    pub fn feeds(&mut self) -> Sender<Vec<Feed>> {
        let (tell, told) = bounded(1);
        self.feeds = Some(told);
        tell
    }

    /// How the sink is that keeps account of signals.
    pub fn redis(&mut self, status: Arc<Status>) {
        self.redis = Some(status);
    }

    /// For whoever measures latencies.
    #[must_use]
    pub fn digest(&self) -> Arc<Digest> {
        Arc::clone(&self.digest)
    }
}

/// What the page must know of the run it shows.
pub struct Opening {
    /// The run's number: its start, wall clock ms.
    pub run: i64,
    /// The run's clock.
    pub clock: Box<dyn Fn() -> Now + Send>,
    /// The rings and their sizes: `event`, `output`.
    pub rings: [(&'static str, usize); 2],
}

/// The sink.
pub struct Page {
    courier: Courier<Box<Parcel>>,
    parcel: Option<Box<Parcel>>,
    sent: Nanos,
    lost: u64,
    place: SocketAddr,
}

impl Page {
    /// Starts the server and says where it is. A port that is taken is said and tried again; the run
    /// goes on without the page.
    ///
    /// # Errors
    /// When the address makes no sense, or the system gives no thread.
    pub fn open(settings: &Settings, opening: Opening, wires: Wires) -> io::Result<Self> {
        let wanted = settings.place().map_err(io::Error::other)?;
        let (place, listener) = find(wanted, settings.anywhere);
        let Opening { run, clock, rings } = opening;
        let Wires { ears, feeds, digest, redis } = wires;
        let (version, mark) = (env!("CARGO_PKG_VERSION"), settings.mark.clone());
        let show = Show { run: Run { run, version, mark }, digest: Some(digest), rings };
        let mut server = Server::new(place, listener, &settings.hosts, show);
        let mut picture = Picture::new(clock().mono, ears, feeds, redis);
        let work = move |errand: Errand<'_, Box<Parcel>>| {
            if let Errand::Parcel(parcel) = errand {
                picture.take(parcel);
                parcel.clear();
            }
            let now = clock();
            picture.turn(now);
            server.turn(&picture, now);
        };
        let blank = || Box::new(Parcel::new());
        let courier = Courier::start("page", vec![blank()], LOOK, work)?;
        Ok(Self { courier, parcel: Some(blank()), sent: Nanos(0), lost: 0, place })
    }

    /// Where it listens.
    #[must_use]
    pub fn place(&self) -> SocketAddr {
        self.place
    }

    fn send(&mut self, now: Now) {
        let Some(blank) = self.courier.blank() else { return };
        if let Some(mut full) = self.parcel.replace(blank) {
            full.now = now;
            self.lost += full.lost;
            // The thread is gone only after the end, when there is nobody to show anything to.
            let _ = self.courier.send(full);
        }
        self.sent = now.mono;
    }
}

/// Listens at `wanted`, or at any free port; says where, or what to do.
fn find(wanted: SocketAddr, anywhere: bool) -> (SocketAddr, Option<std::net::TcpListener>) {
    let first = listen(wanted);
    let found = match first {
        Err(_) if anywhere => listen(SocketAddr::new(wanted.ip(), 0)),
        first => first,
    };
    match found {
        Ok(listener) => {
            let place = listener.local_addr().unwrap_or(wanted);
            let who =
                if place.ip().is_loopback() { "" } else { " (for whoever reaches this host)" };
            eprintln!("page: http://{place}/{who}");
            (place, Some(listener))
        }
        Err(e) => {
            eprintln!(
                "page: {wanted}: {e}; the run goes on without it and tries again every 5 s; another \
                 port: --set page.listen={}:0, none: --set page.listen=",
                wanted.ip()
            );
            (wanted, None)
        }
    }
}

impl Sink for Page {
    fn name(&self) -> &'static str {
        "page"
    }

    fn write(&mut self, _: Now, batch: &[Message]) {
        let Some(parcel) = &mut self.parcel else { return };
        for message in batch {
            match message {
                Message::Event(event) => parcel.event(event),
                Message::Report(report) => parcel.report(report),
            }
        }
    }

    fn turn(&mut self, now: Now) -> Turn {
        if self.courier.is_done() {
            return Turn::Done;
        }
        if now.mono.since(self.sent) >= PARCEL_NS {
            self.send(now);
        }
        Turn::Idle
    }

    fn close(&mut self, now: Now) {
        self.send(now);
        self.courier.end();
    }

    fn count(&self, counts: &mut Counts) {
        counts.add("page_lost", self.lost);
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count(counts));
    }
}
